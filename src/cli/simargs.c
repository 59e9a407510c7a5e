#include "cli/simargs.h"

#include <stdio.h>

#include "cli/machine_file.h"
#include "cli/msg.h"
#include "cli/tracefile.h"

int simargs_set(struct simargs *a, const char *assignment)
{
	if (a->nr_sets == SIMARGS_SETS_MAX)
		return msg_fail(EXIT_USAGE, "--set", "more than %d of them; put them into a machine file", SIMARGS_SETS_MAX);
	a->set[a->nr_sets++] = assignment;
	return 0;
}

static int bad_policy(const char *name)
{
	char known[512] = "";
	size_t len = 0;
	const struct policy *p;

	for (unsigned i = 0; (p = policy_nth(i)) != NULL && len < sizeof(known); i++)
		len += (size_t)snprintf(known + len, sizeof(known) - len, "%s%s", i == 0 ? "" : ", ", p->name);
	return msg_fail(EXIT_USAGE, name, "no such policy; there are %s", known);
}

int simargs_config(const struct simargs *a, struct sim_config *c)
{
	int status = machine_load(c, a->machine, a->set, a->nr_sets);

	if (status != 0)
		return status;
	if (a->policy != NULL)
		snprintf(c->policy, sizeof(c->policy), "%s", a->policy);
	return policy_find(c->policy) != NULL ? 0 : bad_policy(c->policy);
}

int simargs_replay(struct sim *s, char **traces, unsigned n)
{
	struct tracefile file[SIM_SOURCES_MAX];
	struct trace_reader *reader[SIM_SOURCES_MAX] = { NULL };
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
