/* steward report: recordings, traces and simulations as a page for a browser. */
#include <errno.h>
#include <stdio.h>
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
	.summary = "Makes a page for a browser of a recorded run, a trace or a simulation; of two, side by side.",
	.rows = rows,
	.nr = ARRAY_SIZE(rows),
	.mixed = true,
	.set = set_option,
};

/* --- inputs --- */

struct input {
	const struct report_kind *kind;
	void *what;
	const char *path;
};

/* By how it begins. 0, or the exit status after having said why. */
static int find_kind(struct input *in)
{
	static const struct report_kind *const kinds[] = { &report_recording, &report_trace, &report_sim };
	char begin[16] = "";
	FILE *f = fopen(in->path, "re");

	if (f == NULL)
		return msg_fail(EXIT_USAGE, in->path, "it cannot be opened (%s); check the name", strerror(errno));
	size_t n = fread(begin, 1, sizeof(begin) - 1, f);

	fclose(f);
	for (unsigned i = 0; i < ARRAY_SIZE(kinds); i++) {
		if (n >= strlen(kinds[i]->begins) && memcmp(begin, kinds[i]->begins, strlen(kinds[i]->begins)) == 0) {
			in->kind = kinds[i];
			return 0;
		}
	}
	return msg_fail(EXIT_USAGE, in->path, "byte 0: neither a recording of steward run nor a trace nor the JSON of steward sim; name one");
}

static int read_one(struct input *in, const char *path, const struct failif *failif)
{
	int err;

	in->path = path;
	err = find_kind(in);
	if (err != 0)
		return err;
	in->what = in->kind->read(path, &err);
	return in->what != NULL ? failif_check(failif, in->kind->figures, in->what) : err;
}

static int write_page(const struct report_args *a, const struct input *in, unsigned nr)
{
	struct html h;

	if (html_begin(&h, "steward report") != 0)
		return msg_fail(1, a->output, "no memory for the page; free some");
	for (unsigned i = 0; i < nr; i++)
		h.failed |= in[i].kind->put(&h, in[i].what, in[i].path) != 0;
	return html_finish(&h, a->output);
}

static int make_report(const struct report_args *a, char *const *path, unsigned nr)
{
	struct input in[INPUTS_MAX] = { 0 };
	int err = 0;

	for (unsigned i = 0; i < nr && err == 0; i++)
		err = read_one(&in[i], path[i], &a->failif);
	if (err == 0 && a->output != NULL)
		err = write_page(a, in, nr);
	for (unsigned i = 0; i < nr && err == 0; i++)
		err = failif_test(&a->failif, in[i].kind->figures, in[i].what);
	for (unsigned i = 0; i < nr; i++)
		if (in[i].what != NULL)
			in[i].kind->free(in[i].what);
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
		return msg_fail(EXIT_USAGE, "report", "no file given; steward run --record F.stwrun -- CMD makes one");
	if (argc - first > INPUTS_MAX)
		return msg_fail(EXIT_USAGE, argv[first + INPUTS_MAX], "two files at most; leave it out");
	if (a.output == NULL && a.failif.nr == 0)
		return msg_fail(EXIT_USAGE, "report", "no file to write to; give one with -o out.html");
	return make_report(&a, argv + first, (unsigned)(argc - first));
}
