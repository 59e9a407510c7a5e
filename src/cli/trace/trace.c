/* steward trace: what is in a trace. */
#include "cli/trace/trace.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/msg.h"

enum trace_option { OPT_JSON, OPT_FROM, OPT_COUNT };

static const struct option_row rows[] = {
	[OPT_JSON] = { "json", '\0', "FILE", "info: write it as JSON to FILE as well; -: to standard output only" },
	[OPT_FROM] = { "from", '\0', "N", "dump: begin with event N (0)" },
	[OPT_COUNT] = { "count", '\0', "N", "dump: print N events at most" },
};

static int parse_count(const char *name, const char *text, uint64_t *n)
{
	char *end;

	errno = 0;
	*n = strtoull(text, &end, 10);
	if (text[0] >= '0' && text[0] <= '9' && *end == '\0' && errno == 0)
		return 0;
	return msg_fail(EXIT_USAGE, name, "\"%s\" is not a number of events; write it as 1000", text);
}

static int set_option(void *ctx, unsigned row, const char *value)
{
	struct trace_request *o = ctx;

	switch ((enum trace_option)row) {
	case OPT_FROM:
		o->from_given = true;
		return parse_count("--from", value, &o->from);
	case OPT_COUNT:
		o->count_given = true;
		return parse_count("--count", value, &o->count);
	case OPT_JSON:
		break;
	}
	o->json = value;
	return value[0] != '\0' ? 0 : msg_fail(EXIT_USAGE, "--json", "the file name is empty; give one");
}

const struct option_set trace_options = {
	.command = "trace",
	.usage = "info|dump [OPTION…] FILE",
	.summary = "Says what is in a trace: a summary (info), or its events (dump). FILE - is standard input.",
	.rows = rows,
	.nr = ARRAY_SIZE(rows),
	.set = set_option,
};

int trace_main(int argc, char **argv)
{
	struct trace_request o = { .count = UINT64_MAX };
	struct tracefile t;
	int nr, err;

	err = options_parse_all(&trace_options, argc, argv, &o, &nr);
	if (err != 0)
		return err;
	if (nr == 0)
		return msg_fail(EXIT_USAGE, "trace", "info or dump is missing; steward trace %s", trace_options.usage);
	bool info = strcmp(argv[1], "info") == 0;

	if (!info && strcmp(argv[1], "dump") != 0)
		return msg_fail(EXIT_USAGE, argv[1], "trace knows info and dump only; steward trace %s",
				trace_options.usage);
	if (nr == 1)
		return msg_fail(EXIT_USAGE, "trace", "no trace given; name a file, or -");
	if (nr > 2)
		return msg_fail(EXIT_USAGE, argv[3], "one trace at a time; leave it out");
	if (info && (o.from_given || o.count_given))
		return msg_fail(EXIT_USAGE, o.from_given ? "--from" : "--count", "it is for dump only; leave it out");
	if (!info && o.json != NULL)
		return msg_fail(EXIT_USAGE, "--json", "it is for info only; leave it out");
	err = tracefile_open(&t, argv[2]);
	if (err != 0)
		return err;
	err = info ? trace_info(&t, &o) : trace_dump(&t, &o);
	tracefile_close(&t);
	return err;
}
