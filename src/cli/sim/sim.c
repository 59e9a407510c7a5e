/* steward sim: traces replayed on a modelled machine. */
#include <string.h>

#include "cli/commands.h"
#include "cli/figures/failif.h"
#include "cli/msg.h"
#include "cli/sim/args.h"
#include "cli/sim/html.h"
#include "cli/sim/report.h"

enum { OPT_JSON = SIMARGS_ROWS, OPT_REPORT, OPT_STEPS, OPT_TIMELINE, OPT_FAIL_IF };

static const struct option_row rows[] = {
	SIMARGS_OPTIONS,
	[OPT_JSON] = { "json", '\0', "FILE", "all figures and the timeline as JSON" },
	[OPT_REPORT] = { "report", 'r', "FILE", "the same as a page for a browser" },
	[OPT_STEPS] = { "steps", '\0', "=N", "in the page, the first N events (200) to be played step by step" },
	[OPT_TIMELINE] = { "timeline", 't', NULL, "how memory, faults and reclaim went over time" },
	[OPT_FAIL_IF] = FAILIF_OPTION,
};

struct sim_args {
	struct simargs sim;
	const char *json, *report;
	bool timeline;
	struct steps steps;
	struct failif failif;
};

static int set_option(void *ctx, unsigned row, const char *value)
{
	struct sim_args *o = ctx;

	switch (row) {
	case OPT_JSON:
		o->json = value;
		return 0;
	case OPT_REPORT:
		o->report = value;
		return 0;
	case OPT_STEPS:
		return steps_set(&o->steps, value);
	case OPT_TIMELINE:
		o->timeline = true;
		return 0;
	case OPT_FAIL_IF:
		return failif_add(&o->failif, value);
	default:
		return simargs_option(&o->sim, row, value);
	}
}

const struct option_set sim_options = {
	.command = "sim",
	.usage = "[OPTION…] TRACE…",
	.summary = "Replays traces on a modelled machine and says what its memory management did.",
	.rows = rows,
	.nr = ARRAY_SIZE(rows),
	.mixed = true,
	.set = set_option,
};

static int write_report(const void *sim, int fd)
{
	return simreport_write(sim, fd);
}

int sim_main(int argc, char **argv)
{
	struct sim_args o = { 0 };
	struct sim_config_error error;
	struct sim_config config;
	int rest, status;

	status = options_parse(&sim_options, argc, argv, &o, &rest);
	if (status != 0)
		return status;
	if (rest == argc)
		return msg_fail(EXIT_USAGE, "sim", "no trace given; steward record -o T.stw -- CMD makes one");
	if (argc - rest > SIM_SOURCES_MAX)
		return msg_fail(EXIT_USAGE, "sim", "more than %d traces; replay some of them", SIM_SOURCES_MAX);
	if (o.steps.max > 0 && o.report == NULL)
		return msg_fail(EXIT_USAGE, "--steps", "they are played in a page; give --report FILE, too");
	if (o.steps.max > 0 && argc - rest > 1)
		return msg_fail(EXIT_USAGE, "--steps", "they are those of one trace; leave the others out");
	status = simargs_config(&o.sim, &config);
	if (status != 0)
		return status;
	struct sim *s = sim_create(&config, &error);

	if (s == NULL)
		return msg_fail(1, "sim", "%s; take a smaller machine", error.text);
	status = failif_check(&o.failif, write_report, s);
	if (status == 0)
		status = simargs_replay(s, argv + rest, (unsigned)(argc - rest), &o.steps);
	/* JSON on standard output has it for itself. */
	if (status == 0 && (o.json == NULL || strcmp(o.json, "-") != 0))
		status = simreport_print(s, o.timeline);
	if (status == 0 && o.json != NULL)
		status = simreport_json(s, o.json);
	if (status == 0 && o.report != NULL)
		status = simhtml_write(s, &o.steps, o.report);
	if (status == 0)
		status = failif_test(&o.failif, write_report, s);
	steps_free(&o.steps);
	sim_destroy(s);
	return status;
}
