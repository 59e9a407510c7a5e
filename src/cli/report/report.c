/* steward report: what steward run --record has written, as a page for a browser. */
#include <errno.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/figures/failif.h"
#include "cli/msg.h"
#include "cli/report/report.h"

#define INPUTS_MAX 2

enum { OPT_OUTPUT, OPT_FAIL_IF };

static const struct option_row rows[] = {
	[OPT_OUTPUT] = { "output", 'o', "FILE", "the page (- for standard output)" },
	[OPT_FAIL_IF] = FAILIF_OPTION,
};

struct report_args {
	const char *output;
	struct failif failif;
};

static int set_option(void *ctx, unsigned row, const char *value)
{
	struct report_args *a = ctx;

	if (row == OPT_FAIL_IF)
		return failif_add(&a->failif, value);
	a->output = value;
	return 0;
}

const struct option_set report_options = {
	.command = "report",
	.usage = "[OPTION…] FILE [FILE]",
	.summary = "Makes a page for a browser of a recorded run; of two recordings, side by side.",
	.rows = rows,
	.nr = ARRAY_SIZE(rows),
	.mixed = true,
	.set = set_option,
};

/* Damage is told, and the rest is shown. */
static int read_one(struct history *h, const char *path, const struct failif *failif)
{
	int err = history_read(h, path);

	if (err != 0)
		return err;
	if (h->file.damage_at != 0)
		msg_note("%s: byte %llu: cut or damaged; what can be read is shown", path, (unsigned long long)h->file.damage_at);
	return failif_check(failif, history_figures, h);
}

static int write_page(const struct report_args *a, const struct history *run, char *const *path, unsigned nr)
{
	struct html h;
	int err = html_begin(&h, "steward report");

	if (err != 0)
		return msg_fail(1, a->output, "no memory for the page; free some");
	for (unsigned i = 0; i < nr; i++)
		h.failed |= report_run(&h, &run[i], path[i]) != 0;
	return html_finish(&h, a->output);
}

static int make_report(const struct report_args *a, char *const *path, unsigned nr)
{
	static struct history run[INPUTS_MAX];
	unsigned read = 0;
	int err = 0;

	for (; read < nr && err == 0; read++)
		err = read_one(&run[read], path[read], &a->failif);
	if (err == 0 && a->output != NULL)
		err = write_page(a, run, path, nr);
	for (unsigned i = 0; i < nr && err == 0; i++)
		err = failif_test(&a->failif, history_figures, &run[i]);
	while (read > 0)
		history_free(&run[--read]);
	return err;
}

int report_main(int argc, char **argv)
{
	struct report_args a = { 0 };
	int first, err;

	err = options_parse(&report_options, argc, argv, &a, &first);
	if (err != 0)
		return err;
	if (first == argc)
		return msg_fail(EXIT_USAGE, "report", "no recording given; steward run --record F.stwrun -- CMD makes one");
	if (argc - first > INPUTS_MAX)
		return msg_fail(EXIT_USAGE, argv[first + INPUTS_MAX], "two recordings at most; leave it out");
	if (a.output == NULL && a.failif.nr == 0)
		return msg_fail(EXIT_USAGE, "report", "no file to write to; give one with -o out.html");
	return make_report(&a, argv + first, (unsigned)(argc - first));
}
