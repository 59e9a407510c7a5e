/*
 * server: what a server with a thread per connection does (Larson and Krishnan, Memory allocation for long-
 * running server applications, ISMM 1998). A thread inherits the blocks of the one before it, replaces them at
 * random, and hands them to its successor: most blocks are freed by a thread that did not make them, and
 * threads come and go.
 */
#include "base/rand.h"
#include "bench.h"

static size_t threads = 2, slots = 2000, steps = 120000, generations = 60, size_min = 8, size_max = 1000;

/* One line of inheritance. */
struct line {
	struct block *blocks;
	struct rand r;
};

static void serve(void *arg, size_t me)
{
	struct line *l = arg;

	(void)me;
	for (size_t i = 0; i < steps; i++) {
		struct block *b = &l->blocks[rand_below(&l->r, slots)];

		block_free(b);
		*b = block_new(size_min + rand_below(&l->r, size_max - size_min + 1));
	}
}

/* A generation begins when the one before it has ended. */
static void line(void *arg, size_t me)
{
	struct line *l = arg;

	l->blocks = bench_table(slots, sizeof(struct block));
	rand_seed(&l->r, me);
	for (size_t i = 0; i < generations; i++)
		bench_threads(1, serve, l, 0);
	for (size_t i = 0; i < slots; i++)
		block_free(&l->blocks[i]);
}

int main(int argc, char **argv)
{
	const struct bench_option options[] = { { "threads", &threads }, { "slots", &slots }, { "steps", &steps },
		{ "generations", &generations }, { "size-min", &size_min }, { "size-max", &size_max }, { NULL, NULL } };

	bench_options(argc, argv, options);
	bench_threads(threads, line, bench_table(threads, sizeof(struct line)), sizeof(struct line));
	bench_report("threads=%zu generations=%zu", threads, generations);
	return 0;
}
