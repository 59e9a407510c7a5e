/*
 * big: blocks of 5 to 25 MiB, replaced at random, as image and tensor programs do. An allocator that gives
 * each back to the kernel at once pays for every page again; one that keeps them all pays in memory.
 */
#include "base/rand.h"
#include "bench.h"

static size_t slots = 10, steps = 250, min_mib = 5, max_mib = 25;

int main(int argc, char **argv)
{
	const struct bench_option options[] = { { "slots", &slots }, { "steps", &steps }, { "min-mib", &min_mib },
		{ "max-mib", &max_mib }, { NULL, NULL } };
	size_t live = 0, peak = 0;
	struct rand r;

	bench_options(argc, argv, options);
	struct block *blocks = bench_table(slots, sizeof(*blocks));

	rand_seed(&r, 1);
	for (size_t i = 0; i < steps; i++) {
		struct block *b = &blocks[rand_below(&r, slots)];

		live -= b->p != NULL ? b->size : 0;
		block_free(b);
		*b = block_new((min_mib << 20) + rand_below(&r, (max_mib - min_mib) << 20));
		live += b->size;
		peak = peak < live ? live : peak;
	}
	for (size_t i = 0; i < slots; i++)
		block_free(&blocks[i]);
	bench_report("steps=%zu live_kib=%zu", steps, peak / 1024);
	return 0;
}
