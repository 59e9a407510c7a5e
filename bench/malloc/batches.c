/*
 * batches: a handful of blocks of one size made, and all freed again, in the order in which they were made and
 * in the reverse one; for sizes up to 1 KiB, one after the other. All is warm: what is measured is
 * instructions.
 */
#include "bench.h"

static size_t threads = 1, batch = 100, rounds = 24000, size_max = 1024;

static void run(void *arg, size_t me)
{
	struct block *blocks = arg;

	(void)me;
	for (size_t size = 16; size <= size_max; size *= 2) {
		for (size_t i = 0; i < rounds; i++) {
			for (size_t k = 0; k < batch; k++)
				blocks[k] = block_new(size);
			for (size_t k = 0; k < batch; k++)
				block_free(&blocks[i % 2 != 0 ? k : batch - 1 - k]);
		}
	}
}

int main(int argc, char **argv)
{
	const struct bench_option options[] = { { "threads", &threads }, { "batch", &batch }, { "rounds", &rounds },
		{ "size-max", &size_max }, { NULL, NULL } };

	bench_options(argc, argv, options);
	bench_threads(threads, run, bench_table(threads * batch, sizeof(struct block)), batch * sizeof(struct block));
	bench_report("threads=%zu rounds=%zu", threads, rounds);
	return 0;
}
