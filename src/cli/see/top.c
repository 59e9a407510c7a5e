/*
 * steward top: samples of a run, drawn again and again. It reads what pagers write into the ledger anyway, so that nothing
 * in the run knows of it.
 *
 *     sample ──► rows (sort, filter, tree), events ──► screen ──► canvas ──► terminal, or text (--once)
 */
#include <langinfo.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/commands.h"
#include "cli/msg.h"
#include "cli/see/interval.h"
#include "cli/see/screen.h"
#include "cli/see/show.h"
#include "cli/see/terminal.h"
#include "cli/see/top.h"
#include "live/clock.h"

#define SCHEMA 1

enum top_option { OPT_INTERVAL, OPT_ONCE, OPT_JSON };

static const struct option_row rows[] = {
	[OPT_INTERVAL] = { "interval", 'd', "TIME", "between two looks: 1s (default), 200ms" },
	[OPT_ONCE] = { "once", '\0', NULL, "print one screen and end; rates are those since the start, or of --interval" },
	[OPT_JSON] = { "json", '\0', NULL, "with --once: print it as JSON" },
};

static int set_option(void *ctx, unsigned row, const char *value)
{
	struct top *t = ctx;

	switch ((enum top_option)row) {
	case OPT_INTERVAL:
		return interval_parse(value, &t->interval_ns);
	case OPT_ONCE:
		t->once = true;
		return 0;
	case OPT_JSON:
		t->as_json = true;
		return 0;
	}
	return EXIT_USAGE;
}

const struct option_set top_options = {
	.command = "top",
	.usage = "[OPTION…] [RUN]",
	.summary = "Shows a run at work: its memory, faults and processes, again and again. RUN is the pid of a steward run, or of a "
		   "process in one; it can be left out where there is one only.",
	.rows = rows,
	.nr = ARRAY_SIZE(rows),
	.mixed = true,
	.set = set_option,
};

/* --- what is shown --- */

/* The newest sample becomes the one before. */
static int look(struct top *t)
{
	struct sample old = t->before;
	int err;

	t->before = t->now;
	t->now = old;
	err = sample_take(&t->now, t->ledger);
	if (err != 0)
		return err;
	if (t->before.ns != 0)
		events_add(&t->events, &t->before, &t->now);
	t->ended = !t->now.watched && t->now.nr == 0;
	if (t->mode == TOP_HEAP)
		top_look_at_heap(t);
	return t->err;
}

static void draw(struct top *t, struct canvas *c)
{
	const struct screen s = {
		.before = &t->before, .now = &t->now,
		.ns = t->before.ns != 0 ? t->now.ns - t->before.ns : t->now.age_ns,
		.rows = &t->rows, .how = &t->how, .events = &t->events, .interval_ns = t->interval_ns,
		.first = t->first, .paused = t->paused, .help = t->mode == TOP_HELP, .still = t->once,
		.heap = t->mode == TOP_HEAP ? &t->heap : NULL, .prompt = t->mode > TOP_HEAP ? t->prompt : NULL,
	};

	t->fit = screen_draw(c, &s);
}

/* --- once --- */

static int write_once(const struct top *t)
{
	static struct json j;

	json_init(&j, STDOUT_FILENO);
	json_object(&j, NULL);
	json_u64(&j, "schema", SCHEMA);
	json_u64(&j, "interval_ns", t->before.ns != 0 ? t->now.ns - t->before.ns : t->now.age_ns);
	show_json_run(&j, &t->now);
	show_json_rises(&j, "in_interval", t->before.counter, t->now.counter);
	json_hist(&j, "fault_ns", &t->now.fault_ns);
	json_array(&j, "processes");
	for (unsigned i = 0; i < t->rows.nr; i++) {
		static const uint64_t none[VM_COUNTER_NR];

		json_object(&j, NULL);
		show_json_process(&j, t->rows.row[i].p);
		show_json_rises(&j, "in_interval", none, t->rows.row[i].rise);
		json_object_end(&j);
	}
	json_array_end(&j);
	json_object_end(&j);
	return show_finish(&j);
}

static int print_once(struct top *t, struct canvas *c)
{
	char text[4 * CANVAS_COLS_MAX + 1];
	const char *cols = getenv("COLUMNS");

	canvas_init(c, SCREEN_HEAD_ROWS + MAX(t->rows.nr, 1u), cols != NULL && atoi(cols) > 0 ? (unsigned)atoi(cols) : SCREEN_COLS,
		    strcmp(nl_langinfo(CODESET), "UTF-8") == 0);
	draw(t, c);
	for (unsigned row = 0; row < c->rows; row++) {
		canvas_text(c, row, text);
		puts(text);
	}
	return show_finish(NULL);
}

static int once(struct top *t, struct canvas *c)
{
	int err = look(t);

	if (err == 0 && t->interval_ns != 0) {
		nanosleep(&(struct timespec){ .tv_sec = (time_t)(t->interval_ns / 1000000000),
					      .tv_nsec = (long)(t->interval_ns % 1000000000) }, NULL);
		err = look(t);
	}
	if (err == 0)
		err = rows_make(&t->rows, &t->before, &t->now, &t->how);
	if (err != 0)
		return err;
	return t->as_json ? write_once(t) : print_once(t, c);
}

/* --- again and again --- */

static int live(struct top *t, struct canvas *c)
{
	uint64_t next = now_ns();
	int err = terminal_open();

	if (err != 0)
		return err;
	while (err == 0 && !t->quit) {
		uint64_t now = now_ns();

		if (now >= next) {
			if (!t->paused && !t->ended)
				err = look(t);
			next = now + t->interval_ns;
		}
		if (err == 0)
			err = rows_make(&t->rows, &t->before, &t->now, &t->how);
		if (err != 0)
			break;
		terminal_size(c);
		draw(t, c);
		top_scroll(t, 0);
		terminal_paint(c);
		int key = terminal_key(next > now ? next - now : 0);

		if (key == TERMINAL_GONE)
			err = 1;
		/* A new size of the window is no answer to anything. */
		else if (key != TERMINAL_NONE && key != TERMINAL_OTHER)
			top_press(t, key);
		if (err == 0)
			err = t->err;
		next = MIN(next, now_ns() + t->interval_ns);
	}
	terminal_close();
	return err;
}

int top_main(int argc, char **argv)
{
	static struct canvas c;
	struct top t = { .interval_ns = 0 };
	struct runs_one run;
	int err, first;

	err = options_parse(&top_options, argc, argv, &t, &first);
	if (err != 0)
		return err;
	if (argc - first > 1)
		return msg_fail(EXIT_USAGE, argv[first + 1], "one run at a time; leave it out");
	if (t.as_json && !t.once)
		return msg_fail(EXIT_USAGE, "--json", "it is for --once; steward stat --json prints a line for each interval");
	if (!t.once && (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO)))
		return msg_fail(EXIT_USAGE, "top", "standard %s is no terminal; steward top --once prints one screen",
				isatty(STDIN_FILENO) ? "output" : "input");
	err = runs_open(&run, argv[first], !t.once);
	if (err != 0)
		return err;
	t.ledger = run.ledger;
	setlocale(LC_CTYPE, "");
	if (t.interval_ns == 0 && !t.once)
		t.interval_ns = 1000000000;
	err = t.once ? once(&t, &c) : live(&t, &c);
	rows_free(&t.rows);
	heapview_free(&t.heap);
	sample_free(&t.before);
	sample_free(&t.now);
	runs_close(&run);
	return err;
}
