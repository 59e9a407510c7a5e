/*
 * threads: threads that live for a few hundred blocks and leave some of them behind, for others to free. What
 * does a thread's start and end cost, is what it cached given on, and who takes what it left?
 */
#include "base/rand.h"
#include "bench.h"

static size_t rounds = 1000, threads = 8, blocks = 200, leftovers = 20, size_max = 1024;

struct worker {
	struct block *mine; /* its blocks; those it leaves are the first ones */
	struct rand r;
};

static void work(void *arg, size_t me)
{
	struct worker *w = arg;

	(void)me;
	/* What the thread of the round before has left. */
	for (size_t i = 0; i < leftovers; i++)
		block_free(&w->mine[i]);
	for (size_t i = 0; i < blocks; i++)
		w->mine[i] = block_new(8 + rand_below(&w->r, size_max - 7));
	for (size_t i = leftovers; i < blocks; i++)
		block_free(&w->mine[i]);
}

int main(int argc, char **argv)
{
	const struct bench_option options[] = { { "rounds", &rounds }, { "threads", &threads }, { "blocks", &blocks },
		{ "leftovers", &leftovers }, { "size-max", &size_max }, { NULL, NULL } };

	bench_options(argc, argv, options);
	struct worker *workers = bench_table(threads, sizeof(*workers));
	struct block *table = bench_table(threads * blocks, sizeof(*table));

	for (size_t i = 0; i < threads; i++) {
		workers[i].mine = &table[i * blocks];
		rand_seed(&workers[i].r, i);
	}
	for (size_t i = 0; i < rounds; i++)
		bench_threads(threads, work, workers, sizeof(*workers));
	for (size_t i = 0; i < threads * blocks; i++)
		block_free(&table[i]);
	bench_report("threads=%zu", rounds * threads);
	return 0;
}
