/*
 * survivors: sizes from a few bytes to 64 KiB, most blocks short-lived, a few that stay long between them;
 * some zeroed, some aligned, and now and then one that another thread frees. What a busy application does.
 */
#include <stdatomic.h>

#include "base/rand.h"
#include "bench.h"

enum { EXCHANGE = 256 };

static size_t threads = 2, steps = 1600000, young = 500, old = 8000, size_max = 65536;

/* Blocks that change hands: one that is put here is freed by whoever puts the next. */
static _Atomic(void *) exchange[EXCHANGE];

/* Log-uniform in [8, size_max): as many between 8 and 16 as between 4 and 8 KiB. */
static size_t any_size(struct rand *r)
{
	size_t size = (size_t)8 << rand_below(r, 13);

	while (size * 2 > size_max)
		size /= 2;
	return size + rand_below(r, size);
}

static struct block make(struct rand *r)
{
	size_t size = any_size(r), how = rand_below(r, 16), align = (size_t)16 << rand_below(r, 5);
	void *p;

	if (how == 0)
		return block_of(aligned_alloc(align, (size + align - 1) & ~(align - 1)), size);
	if (how > 2)
		return block_new(size);
	p = calloc(1, size);
	for (size_t at = 0; p != NULL && at < size; at += bench_stride(size))
		if (((const unsigned char *)p)[at] != 0)
			bench_wrong(p, size, at);
	return block_of(p, size);
}

/* Only the address changes hands, so all these blocks have one size. */
static void give(struct rand *r)
{
	uint64_t *mine = malloc(64), *other;

	if (mine == NULL)
		bench_out_of_memory(64);
	mine[0] = (uintptr_t)mine;
	mine[7] = ~(uintptr_t)mine;
	other = atomic_exchange(&exchange[rand_below(r, EXCHANGE)], mine);
	if (other != NULL && (other[0] != (uintptr_t)other || other[7] != ~(uintptr_t)other))
		bench_wrong(other, 64, 0);
	free(other);
}

static void live(void *arg, size_t me)
{
	struct block *blocks = arg; /* young, then old */
	struct rand r;

	rand_seed(&r, me);
	for (size_t i = 0; i < steps / threads; i++) {
		struct block *b = &blocks[i % young];

		block_free(b);
		*b = make(&r);
		if (rand_below(&r, 16) == 0) { /* it stays, in place of one that was here long enough */
			struct block *veteran = &blocks[young + rand_below(&r, old)];

			block_free(veteran);
			*veteran = *b;
			b->p = NULL;
		}
		if (i % 8 == 0)
			give(&r);
	}
	for (size_t i = 0; i < young + old; i++)
		block_free(&blocks[i]);
}

int main(int argc, char **argv)
{
	const struct bench_option options[] = { { "threads", &threads }, { "steps", &steps }, { "young", &young }, { "old", &old },
		{ "size-max", &size_max }, { NULL, NULL } };

	bench_options(argc, argv, options);
	bench_threads(threads, live, bench_table(threads * (young + old), sizeof(struct block)), (young + old) * sizeof(struct block));
	bench_report("threads=%zu steps=%zu", threads, steps);
	return 0;
}
