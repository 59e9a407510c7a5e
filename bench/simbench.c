/*
 * simbench mmu: how fast the modelled hardware is, in million touches a second
 * of CPU time.
 *
 * Streams of page numbers are made beforehand and replayed through mmu_touch,
 * one touch a call. The best of ROUNDS counts: what disturbs only slows down.
 * Two machines: TLBs as Intel's Golden Cove has them (set-associative), and as
 * AMD's Zen 3 (a fully associative first level).
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/rand.h"
#include "sim/mmu.h"

enum { PAGES = 100000, FRAMES = 1024, STREAM = 1 << 20, ROUNDS = 5 };

static vpn_t stream[STREAM];

struct pattern {
	const char *name;
	uint32_t pages;
	bool zipf;
};

static const struct pattern patterns[] = {
	{ "1 page", 1, false },
	{ "32 pages", 32, false },
	{ "1000 pages", 1000, false },
	{ "100k pages, zipf 0.99", PAGES, true },
	{ "100k pages, uniform", PAGES, false },
};

#define PAGING .walk_step_ns = 5, .levels = 4, .bits = { 9, 9, 9, 9 }, .nr_pwcs = 3, \
	.pwc = { { 1, 32, 4 }, { 2, 4, 0 }, { 3, 2, 0 } }
#define L1D (SIM_TLB_DATA | SIM_TLB_4K)
#define L2 (SIM_TLB_DATA | SIM_TLB_CODE | SIM_TLB_4K | SIM_TLB_2M)

static const struct sim_config machines[] = {
	{ .name = "96 in 6 ways, 2048 in 16", PAGING, .nr_tlbs = 3, .tlb = {
		{ "L1D 4K", 1, L1D, SIM_PLRU, 96, 6, 0 },
		{ "L1D 2M", 1, SIM_TLB_DATA | SIM_TLB_2M, SIM_PLRU, 32, 4, 0 },
		{ "L2", 2, L2, SIM_PLRU, 2048, 16, 2 } } },
	{ .name = "72 fully associative, 3072 in 12", PAGING, .nr_tlbs = 2, .tlb = {
		{ "L1D", 1, L1D | SIM_TLB_2M, SIM_LRU, 72, 0, 0 },
		{ "L2", 2, L2, SIM_LRU, 3072, 12, 2 } } },
};

static double cpu_seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec * 1e-9;
}

static void *must(void *p)
{
	if (p != NULL)
		return p;
	fprintf(stderr, "simbench: no memory\n");
	exit(1);
}

/* Page i of the range, scattered, so that hot pages are not neighbours (one to one: 40503 is a prime). */
static vpn_t page(uint32_t i, uint32_t pages)
{
	return (vpn_t){ 0x7f0000000 + (uint64_t)i * 40503 % pages };
}

/* Ranks by inverting their distribution function. */
static void make_stream(const struct pattern *p)
{
	double *sum = must(malloc(p->pages * sizeof(*sum))), total = 0;
	struct rand rand;

	rand_seed(&rand, 1);
	for (uint32_t i = 0; i < p->pages; i++)
		sum[i] = total += p->zipf ? pow(i + 1, -0.99) : 1;
	for (size_t i = 0; i < STREAM; i++) {
		double u = (double)rand_below(&rand, (uint64_t)1 << 53) * 0x1p-53 * total;
		uint32_t low = 0, high = p->pages - 1;

		while (low < high) {
			uint32_t middle = (low + high) / 2;

			if (sum[middle] > u)
				high = middle;
			else
				low = middle + 1;
		}
		stream[i] = page(low, p->pages);
	}
	free(sum);
}

static void make_table(struct pagetable *pt, struct phys *phys)
{
	static const struct phys_zone_config zone = { .name = "NORMAL", .spanned = FRAMES };
	struct frame *frames = must(calloc(FRAMES, sizeof(*frames)));
	void *bytes = must(aligned_alloc(PAGE_SIZE, FRAMES * PAGE_SIZE));

	phys_init(phys, bytes, frames, FRAMES, &zone, 1, NULL);
	phys_online(phys, (pfn_t){ 0 }, FRAMES);
	pt_init(pt, phys, 4, NULL);
	for (uint32_t i = 0; i < PAGES; i++)
		if (pt_set(pt, page(i, PAGES), pte_present_make((pfn_t){ i }, PTE_USER | PTE_WRITE | PTE_NX)) != 0)
			must(NULL);
}

static void run(const struct sim_config *machine, const struct pattern *p, struct pagetable *pt)
{
	struct mmu *m = must(mmu_create(machine, 0));
	double best = INFINITY, ns = 0;
	uint64_t sum = 0;
	pfn_t pfn = { 0 };

	make_stream(p);
	mmu_switch(m, pt, 0);
	for (unsigned round = 0; round < ROUNDS; round++) {
		double start = cpu_seconds();

		for (size_t i = 0; i < STREAM; i++) {
			mmu_touch(m, stream[i], i % 4 == 0 ? MMU_WRITE : MMU_READ, 1, &pfn, &ns);
			sum += pfn.n;
		}
		best = MIN(best, cpu_seconds() - start);
	}

	const struct mmu_stat *s = mmu_stat(m);

	printf("  %-22s %7.1f M/s   %5.1f %% level 1, %5.1f %% level 2, %5.1f %% walks (check %" PRIx64 ")\n", p->name,
	       STREAM / best / 1e6, 100 * (double)s->hits[0] / (double)s->touches,
	       100 * (double)s->hits[machine->nr_tlbs - 1] / (double)s->touches,
	       100 * (double)s->walks / (double)s->touches, sum ^ (uint64_t)ns);
	mmu_destroy(m);
}

int main(int argc, char **argv)
{
	struct pagetable pt;
	struct phys phys;

	if (argc != 2 || strcmp(argv[1], "mmu") != 0) {
		fprintf(stderr, "usage: simbench mmu\n");
		return 2;
	}
	make_table(&pt, &phys);
	for (size_t i = 0; i < ARRAY_SIZE(machines); i++) {
		printf("%s\n", machines[i].name);
		for (size_t k = 0; k < ARRAY_SIZE(patterns); k++)
			run(&machines[i], &patterns[k], &pt);
	}
	return 0;
}
