/* steward sim: traces replayed on a modelled machine. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/machine_file.h"
#include "cli/msg.h"
#include "cli/policies.h"
#include "cli/simreport.h"
#include "cli/tracefile.h"

#define SETS_MAX 64

enum { OPT_MACHINE, OPT_SET, OPT_POLICY, OPT_JSON, OPT_TIMELINE };

static const struct option_row rows[] = {
	[OPT_MACHINE] = { "machine", 'm', "FILE", "the machine (default: a laptop of 8 GiB)" },
	[OPT_SET] = { "set", 's', "KEY=VALUE", "change a key of the machine, as in limit.size=512M" },
	[OPT_POLICY] = { "policy", 'p', "NAME", "replacement policy; help lists them" },
	[OPT_JSON] = { "json", '\0', "FILE", "all figures and the timeline as JSON" },
	[OPT_TIMELINE] = { "timeline", 't', NULL, "how memory, faults and reclaim went over time" },
};

struct sim_args {
	const char *machine, *policy, *json;
	const char *set[SETS_MAX];
	unsigned nr_sets;
	bool timeline;
};

static int set_option(void *ctx, unsigned row, const char *value)
{
	struct sim_args *o = ctx;

	switch (row) {
	case OPT_MACHINE:
		o->machine = value;
		return 0;
	case OPT_SET:
		if (o->nr_sets == SETS_MAX)
			return msg_fail(EXIT_USAGE, "--set", "more than %d of them; put them into a machine file", SETS_MAX);
		o->set[o->nr_sets++] = value;
		return 0;
	case OPT_POLICY:
		o->policy = value;
		return 0;
	case OPT_JSON:
		o->json = value;
		return 0;
	default:
		o->timeline = true;
		return 0;
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

/* Policies that know what comes: the trace is read once before it is replayed. */
static int foresee(struct sim *s, char **traces, unsigned n)
{
	const char *dir = getenv("TMPDIR");
	struct trace_error error;
	struct tracefile file;
	int status, err;

	if (!s->m.policy->foresight)
		return 0;
	if (n > 1 || strcmp(traces[0], "-") == 0)
		return msg_fail(EXIT_USAGE, s->m.policy->name, "it reads the trace twice, and only one; give the name of one file");
	if (dir == NULL || dir[0] == '\0')
		dir = "/var/tmp";
	status = tracefile_open(&file, traces[0]);
	if (status != 0)
		return status;
	err = foresight_read(&s->foresight, file.reader, dir, &error);
	if (err != 0 && error.err != 0)
		status = tracefile_fail(&file, &error);
	else if (err == -ENOMEM)
		status = msg_fail(1, s->m.policy->name, "no memory for the pages of the trace; take a shorter one");
	else if (err != 0)
		status = msg_fail(1, dir, "no room for 8 bytes an access of the trace (%s); set TMPDIR to a larger disk", strerror(-err));
	tracefile_close(&file);
	return status;
}

static int replay_all(struct sim *s, char **traces, unsigned n)
{
	struct tracefile file[SIM_SOURCES_MAX];
	struct trace_reader *reader[SIM_SOURCES_MAX];
	unsigned have = 0, source;
	struct trace_error error;
	int status = 0;

	for (; have < n && status == 0; have += status == 0) {
		status = tracefile_open(&file[have], traces[have]);
		reader[have] = file[have].reader;
	}
	if (status == 0 && sim_replay(s, reader, n, &source, &error) != 0)
		status = tracefile_fail(&file[source], &error);
	while (have-- > 0)
		tracefile_close(&file[have]);
	return status;
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
	status = machine_load(&config, o.machine, o.set, o.nr_sets);
	if (status != 0)
		return status;
	if (o.policy != NULL)
		snprintf(config.policy, sizeof(config.policy), "%s", o.policy);
	status = policy_number(o.policy != NULL ? "--policy" : "vm.policy", config.policy, false);
	if (status < 0)
		return -status;
	if (!config.accessed_bits && !policy_find(config.policy)->sampled)
		return msg_fail(EXIT_USAGE, config.policy, "this policy needs accessed bits; set vm.accessed_bits to yes");
	struct sim *s = sim_create(&config, &error);

	if (s == NULL)
		return msg_fail(1, "sim", "%s; take a smaller machine", error.text);
	status = foresee(s, argv + rest, (unsigned)(argc - rest));
	if (status == 0)
		status = replay_all(s, argv + rest, (unsigned)(argc - rest));
	if (status == 0)
		status = simreport_print(s, o.timeline);
	if (status == 0 && o.json != NULL)
		status = simreport_json(s, o.json);
	sim_destroy(s);
	return status;
}
