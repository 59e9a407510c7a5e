/*
 * steward record: a program's use of memory, as a trace. The command runs as if nobody watched: its output, its
 * status and its signals are its own. The trace is complete when the command has ended, however it has; until then
 * it lies under another name beside its own, so that what has the name is whole.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/commands.h"
#include "cli/exact.h"
#include "cli/msg.h"

enum record_option { OPT_OUTPUT, OPT_EXACT };

struct record {
	const char *output;
	char *tmp;         /* NULL: output is no regular file and is written directly */
	int fd;
	bool exact;
	struct program program;
	struct recording recording;
	struct trace_writer *writer;
	struct outcome outcome;
};

static const struct option_row rows[] = {
	[OPT_OUTPUT] = { "output", 'o', "FILE", "the trace (trace.stw)" },
	[OPT_EXACT] = { "exact", '\0', NULL, "every load and store, under valgrind: a thousand times slower" },
};

static int set_option(void *ctx, unsigned row, const char *value)
{
	struct record *r = ctx;

	switch ((enum record_option)row) {
	case OPT_OUTPUT:
		if (value[0] == '\0')
			return msg_fail(EXIT_USAGE, "--output", "the file name is empty; give one");
		r->output = value;
		return 0;
	case OPT_EXACT:
		r->exact = true;
		return 0;
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

static int open_output(struct record *r)
{
	struct stat st;

	if (stat(r->output, &st) == 0 && !S_ISREG(st.st_mode))
		r->fd = open(r->output, O_WRONLY | O_CLOEXEC);
	else if (asprintf(&r->tmp, "%s.tmp", r->output) < 0)
		r->tmp = NULL;
	else
		r->fd = open(r->tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	if (r->fd >= 0)
		return 0;
	return msg_fail(EXIT_STEWARD, r->output, "cannot be written (%s); give --output another file", strerror(errno));
}

static void drop_output(struct record *r)
{
	if (r->fd >= 0)
		close(r->fd);
	if (r->tmp != NULL)
		unlink(r->tmp);
}

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
	if (close(r->fd) != 0 && err == 0)
		err = -errno;
	r->fd = -1;
	if (err == 0 && r->tmp != NULL && rename(r->tmp, r->output) != 0)
		err = -errno;
	if (err == 0)
		return 0;
	drop_output(r);
	return msg_fail(1, r->output, "the trace cannot be written (%s); give --output another file", strerror(-err));
}

static int run(struct record *r, char **argv)
{
	int err = exact_find(argv[0], &r->program);

	if (err == 0)
		err = open_output(r);
	if (err != 0)
		return err;
	if (trace_writer_open(&r->writer, r->fd, false) != 0) {
		drop_output(r);
		return msg_fail(EXIT_STEWARD, "record", "%s; try again with more memory", strerror(ENOMEM));
	}
	r->recording.write = write_event;
	r->recording.ctx = r->writer;
	note_command(r, argv);
	err = exact_record(&r->program, argv, &r->recording, &r->outcome);
	if (err != 0) {
		trace_writer_abort(r->writer);
		drop_output(r);
		return err;
	}
	err = finish(r);
	return r->outcome.status != 0 ? r->outcome.status : err;
}

int record_main(int argc, char **argv)
{
	struct record r = { .output = "trace.stw", .fd = -1 };
	int first, err;

	err = options_parse(&record_options, argc, argv, &r, &first);
	if (err != 0)
		return err;
	argv += first;
	if (argv[0] == NULL)
		return msg_fail(EXIT_USAGE, "record", "no command given; steward record [OPTION…] [--] COMMAND [ARG…]");
	if (!r.exact)
		return msg_fail(EXIT_USAGE, "record", "there is no other way yet; give --exact");
	err = run(&r, argv);
	recording_free(&r.recording);
	free(r.tmp);
	return err;
}
