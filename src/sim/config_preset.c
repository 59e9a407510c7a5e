/*
 * What the CPUs that people ask about have for address translation.
 *
 * Such tables grow stale, and a wrong one is worse than none (cachegrind turned its cache simulation off for that
 * reason), so each row says where its figures are from and when they were read. Times are not published anywhere for
 * most of them: a hit in a second-level TLB is taken as 7 to 9 cycles and a walker's load as one of the second-level
 * cache, at the clock of the part. Page-walk caches of AMD and of Intel are estimates in the sizes of ChampSim's.
 *
 * What struct sim_config cannot say is left out: TLBs for stores alone (Ice Lake has 16 entries), and 1 GiB pages.
 */
#include "sim/config_keys.h"

#include <string.h>

#define DATA SIM_TLB_DATA
#define CODE SIM_TLB_CODE
#define SMALL SIM_TLB_4K
#define LARGE SIM_TLB_2M

static const struct cpu {
	struct sim_cpu_preset is;
	bool asid;
	double walk_step_ns;
	struct sim_tlb_config tlb[SIM_TLBS_MAX]; /* up to the first without entries */
	struct sim_pwc_config pwc[SIM_PWCS_MAX];
} cpus[] = {
	{
		{ "zen4", "AMD Zen 4",
		  "CPUID 80000005h and 80000006h of a Zen 4, 2026; the second level's ways are coded as 8 to 15 there and taken "
		  "as 12; times and page-walk caches are estimates" },
		true, 3,
		{
			{ "L1 data", 1, SMALL | LARGE | DATA, SIM_LRU, 72, 0, 0 },
			{ "L1 code", 1, SMALL | LARGE | CODE, SIM_LRU, 64, 0, 0 },
			{ "L2 data", 2, SMALL | LARGE | DATA, SIM_LRU, 3072, 12, 1.8 },
			{ "L2 code", 2, SMALL | LARGE | CODE, SIM_LRU, 512, 8, 1.8 },
		},
		{ { 1, 64, 0 }, { 2, 16, 0 }, { 3, 4, 0 } },
	},
	{
		{ "skylake", "Intel Skylake",
		  "Intel's optimization manual 248966-045 (2022), table 2-15, as quoted in Intel's forum; replacement, times and "
		  "page-walk caches are estimates" },
		true, 3.5,
		{
			{ "L1 data", 1, SMALL | DATA, SIM_PLRU, 64, 4, 0 },
			{ "L1 data 2M", 1, LARGE | DATA, SIM_PLRU, 32, 4, 0 },
			{ "L1 code", 1, SMALL | CODE, SIM_PLRU, 128, 8, 0 },
			{ "L1 code 2M", 1, LARGE | CODE, SIM_PLRU, 8, 0, 0 },
			{ "L2", 2, SMALL | LARGE | DATA | CODE, SIM_LRU, 1536, 12, 2.2 },
		},
		{ { 1, 32, 4 }, { 2, 4, 0 }, { 3, 2, 0 } },
	},
	{
		{ "icelake", "Intel Ice Lake (Sunny Cove)",
		  "commonly quoted figures, 2026, not checked with Intel's manual; replacement, times and page-walk caches are "
		  "estimates" },
		true, 3.5,
		{
			{ "L1 data", 1, SMALL | DATA, SIM_PLRU, 64, 4, 0 },
			{ "L1 data 2M", 1, LARGE | DATA, SIM_PLRU, 32, 4, 0 },
			{ "L1 code", 1, SMALL | CODE, SIM_PLRU, 128, 8, 0 },
			{ "L1 code 2M", 1, LARGE | CODE, SIM_PLRU, 16, 0, 0 },
			{ "L2", 2, SMALL | LARGE | DATA | CODE, SIM_PLRU, 2048, 16, 2.2 },
		},
		{ { 1, 32, 4 }, { 2, 4, 0 }, { 3, 2, 0 } },
	},
	{
		{ "p6", "Intel Pentium II and III",
		  "descriptors 01h to 04h of CPUID leaf 2, from memory, 2026, not checked with Intel's manual; times are "
		  "estimates" },
		false, 12,
		{
			{ "data", 1, SMALL | DATA, SIM_PLRU, 64, 4, 0 },
			{ "data 4M", 1, LARGE | DATA, SIM_PLRU, 8, 4, 0 },
			{ "code", 1, SMALL | CODE, SIM_PLRU, 32, 4, 0 },
			{ "code 4M", 1, LARGE | CODE, SIM_LRU, 2, 0, 0 },
		},
		{ { 0 } },
	},
	{
		{ "champsim", "ChampSim's default core",
		  "champsim_config.json and the walker's defaults (PSCL2 to 5), read 2026-11; 4 GHz; the walker's load is an "
		  "estimate" },
		true, 2.5,
		{
			{ "DTLB", 1, SMALL | DATA, SIM_LRU, 64, 4, 0 },
			{ "ITLB", 1, SMALL | CODE, SIM_LRU, 64, 4, 0 },
			{ "STLB", 2, SMALL | DATA | CODE, SIM_LRU, 1536, 12, 2 },
		},
		{ { 1, 32, 8 }, { 2, 8, 4 }, { 3, 4, 4 }, { 4, 2, 2 } },
	},
	{
		{ "virtuoso", "Virtuoso's mmu_base",
		  "mmu_base of the Virtuoso project, noted 2026; ways of the second level and times are estimates" },
		true, 2.5,
		{
			{ "L1 data", 1, SMALL | DATA, SIM_LRU, 64, 4, 0 },
			{ "L1 data 2M", 1, LARGE | DATA, SIM_LRU, 64, 4, 0 },
			{ "L1 code", 1, SMALL | CODE, SIM_LRU, 64, 4, 0 },
			{ "L2", 2, SMALL | LARGE | DATA | CODE, SIM_LRU, 2048, 16, 2.5 },
		},
		{ { 1, 32, 4 }, { 2, 32, 4 }, { 3, 32, 4 } },
	},
};

bool config_preset(struct sim_config *c, const char *name)
{
	const struct cpu *cpu = cpus;

	while (cpu < cpus + ARRAY_SIZE(cpus) && strcmp(cpu->is.name, name) != 0)
		cpu++;
	if (cpu == cpus + ARRAY_SIZE(cpus))
		return false;
	c->asid = cpu->asid;
	c->walk_step_ns = cpu->walk_step_ns;
	memcpy(c->tlb, cpu->tlb, sizeof(c->tlb));
	memcpy(c->pwc, cpu->pwc, sizeof(c->pwc));
	for (c->nr_tlbs = 0; c->nr_tlbs < SIM_TLBS_MAX && c->tlb[c->nr_tlbs].entries != 0;)
		c->nr_tlbs++;
	for (c->nr_pwcs = 0; c->nr_pwcs < SIM_PWCS_MAX && c->pwc[c->nr_pwcs].entries != 0;)
		c->nr_pwcs++;
	return true;
}

bool sim_cpu_preset(unsigned n, struct sim_cpu_preset *preset)
{
	if (n >= ARRAY_SIZE(cpus))
		return false;
	*preset = cpus[n].is;
	return true;
}
