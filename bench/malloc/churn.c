/*
 * churn: small blocks replaced at random, each by the thread that made it. The commonest pattern of all:
 * nothing but malloc's and free's shortest way, and how near to each other blocks of one size lie. --blind 1: blocks
 * are not looked at before they are freed.
 */
#include "base/rand.h"
#include "bench.h"

static size_t threads = 1, slots = 20000, steps = 10000000, size_max = 512, blind;

static void churn(void *arg, size_t me)
{
	struct block *blocks = arg;
	struct rand r;

	rand_seed(&r, me);
	for (size_t i = 0; i < steps / threads; i++) {
		struct block *b = &blocks[rand_below(&r, slots)];

		if (blind)
			free(b->p);
		else
			block_free(b);
		/* Small ones are commoner: the smaller of two draws. */
		size_t one = rand_below(&r, size_max - 7), two = rand_below(&r, size_max - 7);

		*b = block_new(8 + (one < two ? one : two));
	}
	for (size_t i = 0; i < slots; i++)
		block_free(&blocks[i]);
}

int main(int argc, char **argv)
{
	const struct bench_option options[] = { { "threads", &threads }, { "slots", &slots }, { "steps", &steps },
		{ "size-max", &size_max }, { "blind", &blind }, { NULL, NULL } };

	bench_options(argc, argv, options);
	bench_threads(threads, churn, bench_table(threads * slots, sizeof(struct block)), slots * sizeof(struct block));
	bench_report("threads=%zu steps=%zu", threads, steps);
	return 0;
}
