/*
 * grow: blocks that realloc makes larger, as strings, vectors and output buffers do. First many strings in
 * turn, a few bytes at a time, so that each has neighbours in its way; then a few buffers by a half each time,
 * up to sizes where copying costs more than moving page tables (mremap).
 */
#include "base/rand.h"
#include "bench.h"

static size_t strings = 1000, string_max = 8192, string_rounds = 20, buffers = 2, buffer_max = 64 << 20, buffer_rounds = 2;

/* The contents of a block that moves keep the tag that they had where they were. */
static void regrow(struct block *b, size_t size, uint64_t tag)
{
	void *p = realloc(b->p, size);

	if (p == NULL)
		bench_out_of_memory(size);
	if (b->p != NULL)
		bench_check(p, b->size, tag);
	bench_fill(p, size, tag);
	b->p = p;
	b->size = size;
}

static void grow_strings(struct block *table)
{
	struct rand r;

	rand_seed(&r, 1);
	for (size_t left = strings; left != 0;) {
		size_t i = rand_below(&r, strings);

		if (table[i].size >= string_max)
			continue;
		regrow(&table[i], table[i].size + 16 + rand_below(&r, 256), i);
		left -= table[i].size >= string_max;
	}
	for (size_t i = 0; i < strings; i++) {
		free(table[i].p);
		table[i] = (struct block){ NULL, 0 };
	}
}

static void grow_buffers(struct block *table)
{
	for (size_t size = 4096; size < buffer_max; size += size / 2)
		for (size_t i = 0; i < buffers; i++)
			regrow(&table[i], size, i);
	for (size_t i = 0; i < buffers; i++) {
		free(table[i].p);
		table[i] = (struct block){ NULL, 0 };
	}
}

int main(int argc, char **argv)
{
	const struct bench_option options[] = { { "strings", &strings }, { "string-max", &string_max },
		{ "string-rounds", &string_rounds }, { "buffers", &buffers }, { "buffer-max", &buffer_max },
		{ "buffer-rounds", &buffer_rounds }, { NULL, NULL } };

	bench_options(argc, argv, options);
	struct block *table = bench_table(strings + buffers, sizeof(*table));

	for (size_t i = 0; i < string_rounds; i++)
		grow_strings(table);
	for (size_t i = 0; i < buffer_rounds; i++)
		grow_buffers(table);
	bench_report("strings=%zu buffers=%zu", strings * string_rounds, buffers * buffer_rounds);
	return 0;
}
