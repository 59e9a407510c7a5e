/*
 * sharing: does the allocator put blocks of different threads into one cache line? (Berger et al., Hoard,
 * ASPLOS 2000.) Each thread takes a tiny block, writes it many times, frees it, and so on.
 *
 * --handed 0 (cache-thrash, active): the threads' own blocks share a line only if the allocator hands out one
 * line to several threads.
 * --handed 1 (cache-scratch, passive): before, one thread makes a block for each, side by side, which its new
 * owner frees: an allocator that gives it back to whoever frees makes them share.
 */
#include "bench.h"

static size_t threads = 2, rounds = 200000, writes = 1000, size = 8, handed;

static void scratch(void *arg, size_t me)
{
	struct block *inherited = arg;

	(void)me;
	block_free(inherited);
	for (size_t i = 0; i < rounds / threads; i++) {
		volatile unsigned char *p = malloc(size);

		if (p == NULL)
			bench_out_of_memory(size);
		for (size_t at = 0; at < size; at++)
			p[at] = (unsigned char)i;
		for (size_t w = 0; w < writes; w++)
			p[w % size]++;
		for (size_t at = 0; at < size; at++)
			if (p[at] != (unsigned char)(i + writes / size + (at < writes % size)))
				bench_wrong((const void *)p, size, at);
		free((void *)p);
	}
}

int main(int argc, char **argv)
{
	const struct bench_option options[] = { { "threads", &threads }, { "rounds", &rounds }, { "writes", &writes },
		{ "size", &size }, { "handed", &handed }, { NULL, NULL } };

	bench_options(argc, argv, options);
	struct block *blocks = bench_table(threads, sizeof(*blocks));

	for (size_t i = 0; handed && i < threads; i++)
		blocks[i] = block_new(size);
	bench_threads(threads, scratch, blocks, sizeof(*blocks));
	bench_report("threads=%zu handed=%zu", threads, handed);
	return 0;
}
