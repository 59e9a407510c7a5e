/*
 * steward record: a program's use of memory, as a trace. The command runs as if nobody watched: its output, its
 * status and its signals are its own. The trace is complete when the command has ended, however it has; until then
 * it lies under another name beside its own, so that what has the name is whole.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/record/exact.h"
#include "cli/msg.h"
#include "cli/outfile.h"
#include "cli/record/sampled.h"

#define INTERVAL_MIN_MS 1
#define INTERVAL_MAX_MS 60000

enum record_option { OPT_OUTPUT, OPT_EXACT, OPT_INTERVAL };

struct record {
	const char *output;
	struct outfile out;
	bool exact;
	unsigned interval_ms;
	struct program program;
	struct recording recording;
	struct trace_writer *writer;
	struct outcome outcome;
};

static const struct option_row rows[] = {
	[OPT_OUTPUT] = { "output", 'o', "FILE", "the trace (trace.stw)" },
	[OPT_EXACT] = { "exact", '\0', NULL, "every load and store, under valgrind: a thousand times slower" },
	[OPT_INTERVAL] = { "interval", '\0', "MS", "of samples: which pages are touched in each (100)" },
};

static int parse_interval(struct record *r, const char *text)
{
	char *end;
	unsigned long ms = strtoul(text, &end, 10);

	if (text[0] < '0' || text[0] > '9' || *end != '\0' || ms < INTERVAL_MIN_MS || ms > INTERVAL_MAX_MS)
		return msg_fail(EXIT_USAGE, "--interval", "\"%s\" is not a number of milliseconds from %d to %d; give one", text,
				INTERVAL_MIN_MS, INTERVAL_MAX_MS);
	r->interval_ms = (unsigned)ms;
	return 0;
}

static int set_option(void *ctx, unsigned row, const char *value)
{
	struct record *r = ctx;

	switch ((enum record_option)row) {
	case OPT_OUTPUT:
		if (value[0] == '\0')
			return msg_fail(EXIT_USAGE, "--output", "the file name is empty; give one");
		if (strcmp(value, "-") == 0)
			return msg_fail(EXIT_USAGE, "--output", "standard output is the command's; give a file or a pipe's name");
		r->output = value;
		return 0;
	case OPT_EXACT:
		r->exact = true;
		return 0;
	case OPT_INTERVAL:
		return parse_interval(r, value);
	}
	return EXIT_USAGE;
}

const struct option_set record_options = {
	.command = "record",
	.usage = "[OPTION…] [--] COMMAND [ARG…]",
	.summary = "Runs COMMAND and writes what it does to its memory as a trace.",
	.rows = rows,
	.nr = ARRAY_SIZE(rows),
	.set = set_option,
};

static int write_event(void *ctx, const struct trace_event *e)
{
	return trace_write(ctx, e);
}

static void note_command(struct record *r, char **argv)
{
	char text[TRACE_TEXT_MAX + 1];
	size_t len = 0;

	for (; *argv != NULL && len < sizeof(text) - 1; argv++)
		len += (size_t)snprintf(text + len, sizeof(text) - len, "%s%s", len > 0 ? " " : "", *argv);
	recording_note(&r->recording, "command", text);
	recording_note(&r->recording, "recorder", "steward " STW_VERSION);
}

/* The command has ended. 0, or 1 after having said why there is no trace. */
static int finish(struct record *r)
{
	int err = trace_writer_close(r->writer);

	if (r->recording.err != 0)
		err = r->recording.err;
	if (err != 0)
		outfile_drop(&r->out);
	else
		err = outfile_commit(&r->out);
	if (err == 0)
		return 0;
	return msg_fail(1, r->output, "the trace cannot be written (%s); give --output another file", strerror(-err));
}

static int run(struct record *r, char **argv)
{
	int err = r->exact ? exact_find(argv[0], &r->program) : program_find(argv[0], &r->program);

	if (err != 0)
		return err;
	err = outfile_open(&r->out, r->output);
	if (err != 0)
		return msg_fail(EXIT_STEWARD, r->output, "cannot be written (%s); give --output another file", strerror(-err));
	if (trace_writer_open(&r->writer, r->out.fd, !r->exact) != 0) {
		outfile_drop(&r->out);
		return msg_fail(EXIT_STEWARD, "record", "%s; try again with more memory", strerror(ENOMEM));
	}
	r->recording.write = write_event;
	r->recording.ctx = r->writer;
	note_command(r, argv);
	if (r->exact)
		err = exact_record(&r->program, argv, &r->recording, &r->outcome);
	else
		err = sampled_record(&r->program, argv, r->interval_ms, &r->recording, &r->outcome);
	if (err != 0) {
		trace_writer_abort(r->writer);
		outfile_drop(&r->out);
		return err;
	}
	err = finish(r);
	return r->outcome.status != 0 ? supervise_end(&r->outcome) : err;
}

int record_main(int argc, char **argv)
{
	struct record r = { .output = "trace.stw", .interval_ms = INTERVAL_MS };
	int first, err;

	err = options_parse(&record_options, argc, argv, &r, &first);
	if (err != 0)
		return err;
	argv += first;
	if (argv[0] == NULL)
		return msg_fail(EXIT_USAGE, "record", "no command given; steward record [OPTION…] [--] COMMAND [ARG…]");
	err = run(&r, argv);
	recording_free(&r.recording);
	return err;
}
