/*
 * steward stat: a line for each interval, as vmstat has it. Rates are differences of two samples by the time between
 * them; sizes are those at the end of it. Without an interval there is one line, since the start.
 *
 * RUN and INTERVAL can both be left out, and both are numbers; so an interval in front has a unit: 1s.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/commands.h"
#include "cli/msg.h"
#include "cli/see/interval.h"
#include "cli/see/sample.h"
#include "cli/see/show.h"

#define HEAD_EVERY 20 /* lines, on a terminal: less than it has */

struct stat_args {
	const char *run;       /* NULL: the only one */
	uint64_t interval_ns;  /* 0: once */
	uint64_t count;        /* lines */
	bool as_json;
};

static const struct option_row rows[] = {
	{ "json", '\0', NULL, "print a JSON object a line" },
};

static int set_option(void *ctx, unsigned row, const char *value)
{
	(void)row;
	(void)value;
	((struct stat_args *)ctx)->as_json = true;
	return 0;
}

const struct option_set stat_options = {
	.command = "stat",
	.usage = "[OPTION…] [RUN] [INTERVAL [COUNT]]",
	.summary = "Prints sizes and rates of a run every INTERVAL (1s, 200ms; behind RUN seconds: 1), COUNT times; once, since its "
		   "start, without.",
	.rows = rows,
	.nr = ARRAY_SIZE(rows),
	.mixed = true,
	.set = set_option,
};

static int parse_count(const char *text, uint64_t *count)
{
	char *end;

	errno = 0;
	*count = strtoull(text, &end, 10);
	if (text[0] >= '0' && text[0] <= '9' && *end == '\0' && errno == 0 && *count > 0)
		return 0;
	return msg_fail(EXIT_USAGE, text, "not a number of lines; write it as 10");
}

static int parse_operands(struct stat_args *a, char **argv, int n)
{
	int i = 0, err = 0;

	a->count = UINT64_MAX;
	if (i < n && !interval_has_unit(argv[i]))
		a->run = argv[i++];
	if (i < n)
		err = interval_parse(argv[i++], &a->interval_ns);
	if (err == 0 && i < n)
		err = parse_count(argv[i++], &a->count);
	if (err == 0 && i < n)
		err = msg_fail(EXIT_USAGE, argv[i], "one too many; steward stat %s", stat_options.usage);
	if (a->interval_ns == 0)
		a->count = 1;
	return err;
}

/* --- a line --- */

static void print_head(void)
{
	printf("%5s %5s %5s %5s %5s %5s %6s %6s %6s %6s %6s %5s\n", "FREE", "LOW", "HIGH", "RES", "POOL", "SWAP", "MINOR", "SOFT",
	       "MAJOR", "IN", "OUT", "STALL");
}

static void print_line(const struct sample *before, const struct sample *now, uint64_t ns)
{
	static const enum vm_counter rates[] = { VM_pgminor, VM_pgsoft, VM_pgmajfault, VM_pswpin, VM_pswpout };
	const struct ledger_frames *f = &now->frames;
	bool engaged = f->online > 0;

	printf("%5s %5s %5s %5s %5s %5s", engaged ? show_pages(f->free) : "-", engaged ? show_pages(f->low) : "-",
	       engaged ? show_pages(f->high) : "-", show_pages(sample_resident(&now->use)), show_pages(now->use.pool),
	       show_pages(now->use.swapped));
	for (unsigned i = 0; i < ARRAY_SIZE(rates); i++)
		printf(" %6s", show_count(sample_rate(sample_rise(before->counter, now->counter, rates[i]), ns)));
	printf(" %5s\n", show_share(sample_rise(before->counter, now->counter, VM_stall_ns), ns));
}

static int write_line(const struct sample *before, const struct sample *now, uint64_t ns)
{
	static struct json j;

	json_init_line(&j, STDOUT_FILENO);
	json_object(&j, NULL);
	json_u64(&j, "interval_ns", ns);
	show_json_run(&j, now);
	json_u64(&j, "processes", now->nr);
	show_json_rises(&j, "in_interval", before->counter, now->counter);
	json_object_end(&j);
	return show_finish(&j);
}

static int show_line(const struct stat_args *a, uint64_t line, const struct sample *before, const struct sample *now)
{
	/* Since the start: before is zero, and so is its clock. */
	uint64_t ns = before->ns != 0 ? now->ns - before->ns : now->age_ns;

	if (a->as_json)
		return write_line(before, now, ns);
	if (line == 0 || (line % HEAD_EVERY == 0 && isatty(STDOUT_FILENO)))
		print_head();
	print_line(before, now, ns);
	return show_finish(NULL);
}

/* --- lines --- */

/* At fixed times, so that a slow terminal does not make intervals longer. */
static void sleep_until(struct timespec *next, uint64_t interval_ns)
{
	uint64_t ns = (uint64_t)next->tv_nsec + interval_ns;

	next->tv_sec += (time_t)(ns / 1000000000);
	next->tv_nsec = (long)(ns % 1000000000);
	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, next, NULL) == EINTR)
		;
}

static bool over(const struct sample *s)
{
	return !s->watched && s->nr == 0;
}

static int show(const struct stat_args *a, const struct ledger *l)
{
	struct sample before = { 0 }, now = { 0 };
	struct timespec next;
	int err = 0;

	clock_gettime(CLOCK_MONOTONIC, &next);
	if (a->interval_ns != 0)
		err = sample_take(&before, l);
	for (uint64_t line = 0; line < a->count && err == 0; line++) {
		struct sample swap = before;

		if (a->interval_ns != 0)
			sleep_until(&next, a->interval_ns);
		err = sample_take(&now, l);
		if (err != 0 || (a->interval_ns != 0 && over(&now)))
			break;
		err = show_line(a, line, &before, &now);
		before = now;
		now = swap;
	}
	sample_free(&before);
	sample_free(&now);
	return err;
}

int stat_main(int argc, char **argv)
{
	struct stat_args a = { 0 };
	struct runs_one run;
	int err, first;

	err = options_parse(&stat_options, argc, argv, &a, &first);
	if (err == 0)
		err = parse_operands(&a, argv + first, argc - first);
	if (err == 0)
		err = runs_open(&run, a.run, false);
	if (err != 0)
		return err;
	err = show(&a, run.ledger);
	runs_close(&run);
	return err;
}
