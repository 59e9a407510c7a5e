#include "cli/sim/args.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/machine_file.h"
#include "cli/msg.h"
#include "cli/policies.h"
#include "cli/trace/tracefile.h"

int simargs_option(struct simargs *a, unsigned row, const char *value)
{
	if (row == SIMARGS_MACHINE)
		a->machine = value;
	if (row == SIMARGS_POLICY)
		a->policy = value;
	if (row != SIMARGS_SET)
		return 0;
	if (a->nr_sets == SIMARGS_SETS_MAX)
		return msg_fail(EXIT_USAGE, "--set", "more than %d of them; put them into a machine file", SIMARGS_SETS_MAX);
	a->set[a->nr_sets++] = value;
	return 0;
}

int simargs_config(const struct simargs *a, struct sim_config *c)
{
	int status = machine_load(c, a->machine, a->set, a->nr_sets);

	if (status != 0)
		return status;
	if (a->policy != NULL)
		snprintf(c->policy, sizeof(c->policy), "%s", a->policy);
	status = policy_number(a->policy != NULL ? "--policy" : "vm.policy", c->policy, false);
	if (status < 0)
		return -status;
	if (!c->accessed_bits && !policy_find(c->policy)->sampled)
		return msg_fail(EXIT_USAGE, c->policy, "this policy needs accessed bits; set vm.accessed_bits to yes");
	return 0;
}

/* Policies that know what comes: the trace is read once before it is replayed. */
int simargs_foresee(struct sim *s, char **traces, unsigned n)
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

int simargs_replay(struct sim *s, char **traces, unsigned n, struct steps *steps)
{
	struct tracefile file[SIM_SOURCES_MAX];
	struct trace_reader *reader[SIM_SOURCES_MAX] = { NULL };
	unsigned have = 0, source;
	struct trace_error error;
	int status = simargs_foresee(s, traces, n);

	for (; have < n && status == 0; have += status == 0) {
		status = tracefile_open(&file[have], traces[have]);
		reader[have] = file[have].reader;
	}
	if (status == 0 && steps->max > 0 && steps_play(steps, s, reader[0], &error) != 0)
		status = tracefile_fail(&file[0], &error);
	if (status == 0 && sim_replay(s, reader, n, &source, &error) != 0)
		status = tracefile_fail(&file[source], &error);
	while (have-- > 0)
		tracefile_close(&file[have]);
	return status;
}
