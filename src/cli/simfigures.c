#include "cli/simfigures.h"

const char *const figures_fault_name[SIM_NR_FAULTS] = { "minor", "soft", "cow", "major" };
const char *const figures_end_name[SIM_NR_ENDS] = { "runs", "exited", "killed by the OOM killer", "killed: a page was lost",
						    "not forked: its parent was killed" };

uint64_t figures_faults(const struct sim *s, enum sim_fault kind)
{
	uint64_t n = 0;

	for (uint32_t i = 0; i < s->nr_tasks; i++)
		n += s->task[i] != NULL ? s->task[i]->faults[kind] : 0;
	return n;
}

uint64_t figures_all_faults(const struct sim *s)
{
	uint64_t n = 0;

	for (unsigned k = 0; k < SIM_NR_FAULTS; k++)
		n += figures_faults(s, (enum sim_fault)k);
	return n;
}

double figures_own_time(const struct sim *s)
{
	double most = 0;

	for (unsigned i = 0; i < s->config.cpus; i++)
		most = MAX(most, s->cpu[i].own_ns);
	return most;
}

uint64_t figures_walks(const struct sim *s)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < s->config.cpus; i++)
		n += mmu_stat(s->cpu[i].mmu)->walks;
	return n;
}

uint64_t figures_tlb_hits(const struct sim *s)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < s->config.cpus; i++)
		for (unsigned t = 0; t < s->config.nr_tlbs; t++)
			n += mmu_stat(s->cpu[i].mmu)->hits[t];
	return n;
}

uint64_t figures_shootdowns(const struct sim *s)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < s->config.cpus; i++)
		n += s->cpu[i].shootdowns;
	return n;
}
