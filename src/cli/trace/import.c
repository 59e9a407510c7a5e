/* steward import: a trace in somebody else's format becomes one of Steward's. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/fmt.h"
#include "cli/commands.h"
#include "cli/msg.h"
#include "cli/outfile.h"
#include "sim/import/import.h"

enum import_option { OPT_FROM, OPT_OUTPUT };

struct job {
	const struct importer *from; /* NULL: not given */
	const char *output;
};

#define FORMATS "lackey|perf|csv|oracle-general|drmemtrace|champsim"

static const struct option_row rows[] = {
	[OPT_FROM] = { "from", '\0', "FORMAT", FORMATS },
	[OPT_OUTPUT] = { "output", 'o', "FILE", "the trace to write; - is standard output" },
};

static int set_option(void *ctx, unsigned row, const char *value)
{
	struct job *job = ctx;
	char names[128];
	struct fmt f;

	if (row == OPT_OUTPUT) {
		job->output = value;
		return value[0] != '\0' ? 0 : msg_fail(EXIT_USAGE, "--output", "the file name is empty; give one");
	}
	job->from = importer_find(value);
	if (job->from != NULL)
		return 0;
	fmt_init(&f, names, sizeof(names));
	for (unsigned i = 0; i < nr_importers; i++) {
		fmt_str(&f, i == 0 ? "" : i + 1 < nr_importers ? ", " : " or ");
		fmt_str(&f, importers[i].name);
	}
	return msg_fail(EXIT_USAGE, "--from", "\"%s\" is unknown; use %s", value, names);
}

const struct option_set import_options = {
	.command = "import",
	.usage = "--from FORMAT -o FILE IN",
	.summary = "Makes a trace from IN (- is standard input), which may be packed with gzip, xz, zstd or zip.",
	.rows = rows,
	.nr = ARRAY_SIZE(rows),
	.set = set_option,
};

static int say_unwritten(const struct job *job, int err)
{
	return msg_fail(1, job->output, "it cannot be written (%s); make room or give -o another file", strerror(-err));
}

/* What went wrong, and where; returns the exit status. */
static int say(const struct job *job, const char *in, const struct import_error *e)
{
	static const char *const places[] = {
		[IMPORT_LINE] = "line", [IMPORT_BYTE] = "byte", [IMPORT_PACKED_BYTE] = "byte (packed)",
	};
	unsigned long long at = e->at;

	if (e->where == IMPORT_OUTPUT)
		return say_unwritten(job, e->err);
	if (e->err != -EBADMSG && e->err != -ENODATA)
		return msg_fail(1, in, "%s (%s); correct that and try again", e->what, strerror(-e->err));
	if (e->where == IMPORT_NOWHERE)
		return msg_fail(EXIT_USAGE, in, "%s; --from %s takes %s", e->what, job->from->name, job->from->text);
	return msg_fail(EXIT_USAGE, in, "%s %llu: %s; --from %s takes %s", places[e->where], at, e->what,
			job->from->name, job->from->text);
}

static int convert(const struct job *job, const char *in, int fd)
{
	struct import_error error;
	struct outfile out;
	int err = outfile_open(&out, job->output);

	if (err != 0)
		return msg_fail(EXIT_USAGE, job->output, "it cannot be written (%s); give -o another file",
				strerror(-err));
	if (isatty(out.fd)) {
		outfile_drop(&out);
		return msg_fail(EXIT_USAGE, job->output, "a trace is no text for a terminal; give -o a file");
	}
	if (import_run(job->from, fd, out.fd, &error) != 0) {
		outfile_drop(&out);
		return say(job, in, &error);
	}
	err = outfile_commit(&out);
	return err == 0 ? 0 : say_unwritten(job, err);
}

int import_main(int argc, char **argv)
{
	struct job job = { 0 };
	int nr, fd = STDIN_FILENO, err;

	err = options_parse_all(&import_options, argc, argv, &job, &nr);
	if (err != 0)
		return err;
	if (job.from == NULL)
		return msg_fail(EXIT_USAGE, "import", "the format is missing; write --from %s", FORMATS);
	if (job.output == NULL)
		return msg_fail(EXIT_USAGE, "import", "the output is missing; write -o FILE");
	if (nr == 0)
		return msg_fail(EXIT_USAGE, "import", "the input is missing; name a file, or -");
	if (nr > 1)
		return msg_fail(EXIT_USAGE, argv[2], "one input at a time; leave it out");
	const char *in = argv[1];

	if (strcmp(in, "-") != 0)
		fd = open(in, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return msg_fail(EXIT_USAGE, in, "it cannot be opened (%s); check the name", strerror(errno));
	err = convert(&job, fd == STDIN_FILENO ? "standard input" : in, fd);
	if (fd != STDIN_FILENO)
		close(fd);
	return err;
}
