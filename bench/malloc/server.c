/*
 * server: what a server with a thread per connection does (Larson and Krishnan, Memory allocation for long-
 * running server applications, ISMM 1998). A thread inherits the blocks of the one before it, replaces them at
 * random, and hands them to its successor: most blocks are freed by a thread that did not make them, and
 * threads come and go.
 */
#include <pthread.h>
#include <stdio.h>

#include "base/rand.h"
#include "bench.h"

static size_t threads = 2, slots = 2000, steps = 120000, generations = 60, size_min = 8, size_max = 1000;

static void *serve(void *arg)
{
	struct block *blocks = arg;
	struct rand r;

	rand_seed(&r, (uintptr_t)arg ^ (uintptr_t)blocks[0].p);
	for (size_t i = 0; i < steps; i++) {
		struct block *b = &blocks[rand_below(&r, slots)];

		block_free(b);
		*b = block_new(size_min + rand_below(&r, size_max - size_min + 1));
	}
	return NULL;
}

/* One line of inheritance: a generation begins when the one before it has ended. */
static void *line(void *arg)
{
	struct block *blocks = arg;

	for (size_t i = 0; i < generations; i++) {
		pthread_t thread;

		if (pthread_create(&thread, NULL, serve, blocks) != 0) {
			fprintf(stderr, "server: cannot start a thread\n");
			exit(1);
		}
		pthread_join(thread, NULL);
	}
	for (size_t i = 0; i < slots; i++)
		block_free(&blocks[i]);
	return NULL;
}

int main(int argc, char **argv)
{
	const struct bench_option options[] = { { "threads", &threads }, { "slots", &slots }, { "steps", &steps },
		{ "generations", &generations }, { "size-min", &size_min }, { "size-max", &size_max }, { NULL, NULL } };

	bench_options(argc, argv, options);
	bench_threads(threads, line, bench_table(threads * slots, sizeof(struct block)), slots * sizeof(struct block));
	bench_report("threads=%zu generations=%zu", threads, generations);
	return 0;
}
