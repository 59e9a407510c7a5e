/* steward plan: how much memory the program of a trace needs. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/commands.h"
#include "cli/msg.h"
#include "cli/plan/plan.h"
#include "cli/sim/args.h"
#include "cli/trace/tracefile.h"

#define SLOWDOWN_MAX 1000000 /* per mille */

enum { OPT_SLOWDOWN = SIMARGS_ROWS, OPT_POINTS, OPT_OUTPUT, OPT_JSON };

static const struct option_row rows[] = {
	SIMARGS_OPTIONS,
	[OPT_SLOWDOWN] = { "slowdown", '\0', "PERCENT", "how much longer it may take, as in 5% (the default)" },
	[OPT_POINTS] = { "points", '\0', "N", "sizes to begin with, 4 to 64 (default: 16)" },
	[OPT_OUTPUT] = { "output", 'o', "FILE", "the same as a page for a browser" },
	[OPT_JSON] = { "json", '\0', "FILE", "all figures as JSON" },
};

struct plan_args {
	struct simargs sim;
	struct plan_request request;
	const char *json, *output;
};

/* "5%", "2.5%": tenths of a per cent. */
static int set_slowdown(struct plan_args *o, const char *value)
{
	char *end, *rest;
	unsigned long whole = strtoul(value, &end, 10), tenth = 0;

	rest = end;
	if (*end == '.' && end[1] >= '0' && end[1] <= '9') {
		tenth = (unsigned long)(end[1] - '0');
		rest = end + 2;
	}
	if (value[0] < '0' || value[0] > '9' || strcmp(rest, "%") != 0)
		return msg_fail(EXIT_USAGE, "--slowdown", "\"%s\" is not a share; write it as 5%% or 2.5%%", value);
	if (whole > SLOWDOWN_MAX / 10)
		return msg_fail(EXIT_USAGE, "--slowdown", "\"%s\" is too much; %d%% is the most", value, SLOWDOWN_MAX / 10);
	o->request.slowdown_permille = whole * 10 + tenth;
	return 0;
}

static int set_points(struct plan_args *o, const char *value)
{
	char *end;
	unsigned long n = strtoul(value, &end, 10);

	if (value[0] < '0' || value[0] > '9' || *end != '\0' || n < PLAN_POINTS_MIN || n > PLAN_POINTS_MAX)
		return msg_fail(EXIT_USAGE, "--points", "\"%s\" is not a number from %d to %d; give one", value, PLAN_POINTS_MIN,
				PLAN_POINTS_MAX);
	o->request.points = (unsigned)n;
	return 0;
}

static int set_option(void *ctx, unsigned row, const char *value)
{
	struct plan_args *o = ctx;

	switch (row) {
	case OPT_SLOWDOWN:
		return set_slowdown(o, value);
	case OPT_POINTS:
		return set_points(o, value);
	case OPT_OUTPUT:
		o->output = value;
		return 0;
	case OPT_JSON:
		o->json = value;
		return 0;
	default:
		return simargs_option(&o->sim, row, value);
	}
}

const struct option_set plan_options = {
	.command = "plan",
	.usage = "[OPTION…] TRACE",
	.summary = "Simulates a trace with many sizes of memory and says how little is enough.",
	.rows = rows,
	.nr = ARRAY_SIZE(rows),
	.mixed = true,
	.set = set_option,
};

/* It is read once for each size. */
static int check_trace(const char *name)
{
	struct stat st;

	if (strcmp(name, "-") == 0 || (stat(name, &st) == 0 && !S_ISREG(st.st_mode)))
		return msg_fail(EXIT_USAGE, name, "it is read many times, so it must be a file; save it as one");
	return 0;
}

int plan_make(struct plan *p)
{
	int status = check_trace(p->request->trace);

	if (status == 0)
		status = plan_look(p);
	return status == 0 ? plan_run(p) : status;
}

void plan_free(struct plan *p)
{
	locality_destroy(p->locality);
	p->locality = NULL;
}

int plan_main(int argc, char **argv)
{
	static struct plan plan;
	struct plan_args o = { .request = { .slowdown_permille = PLAN_SLOWDOWN, .points = PLAN_POINTS } };
	int rest, status;

	status = options_parse(&plan_options, argc, argv, &o, &rest);
	if (status != 0)
		return status;
	if (rest == argc)
		return msg_fail(EXIT_USAGE, "plan", "no trace given; steward record -o T.stw -- CMD makes one");
	if (argc - rest > 1)
		return msg_fail(EXIT_USAGE, argv[rest + 1], "one trace at a time; leave it out");
	o.request.trace = argv[rest];
	status = simargs_config(&o.sim, &o.request.machine);
	plan.request = &o.request;
	if (status == 0)
		status = plan_make(&plan);
	/* JSON on standard output has it for itself. */
	if (status == 0 && (o.json == NULL || strcmp(o.json, "-") != 0))
		status = plan_print(&plan);
	if (status == 0 && o.json != NULL)
		status = plan_json(&plan, o.json);
	if (status == 0 && o.output != NULL)
		status = plan_html(&plan, o.output);
	plan_free(&plan);
	return status;
}
