/* The table of policies. The first one is what an engine without accessed bits runs if it is not told otherwise. */
#include "mm/machine.h"

static const struct policy *const policies[] = {
	&policy_second_chance,
	&policy_two_list,
	&policy_clock,
	&policy_mglru,
	&policy_s3fifo,
	&policy_random,
	/* These need accessed bits, or more. */
	&policy_fifo,
	&policy_lru,
	&policy_opt,
};

const struct policy *policy_nth(unsigned n)
{
	return n < ARRAY_SIZE(policies) ? policies[n] : NULL;
}

static bool same_name(const char *a, const char *b)
{
	while (*a != '\0' && *a == *b)
		a++, b++;
	return *a == *b;
}

const struct policy *policy_find(const char *name)
{
	for (unsigned i = 0; i < ARRAY_SIZE(policies); i++)
		if (same_name(policies[i]->name, name))
			return policies[i];
	return NULL;
}

int policy_init(struct machine *m)
{
	for (unsigned node = 0; node < m->phys.nr_nodes; node++) {
		int err = m->policy->init == NULL ? 0 : m->policy->init(m, &m->lruvec[node]);

		if (err != 0)
			return err;
	}
	return 0;
}

void policy_destroy(struct machine *m)
{
	for (unsigned node = 0; m->policy->destroy != NULL && node < m->phys.nr_nodes; node++)
		m->policy->destroy(m, &m->lruvec[node]);
}
