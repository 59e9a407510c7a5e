/*
 * What the allocator's bench programs have in common: options, time, threads, and blocks whose contents are
 * checked.
 *
 * A program measures the allocator that it is started with (LD_PRELOAD), so its own tables come from mmap
 * (bench_table): the heap holds nothing but the blocks of the pattern. Each prints one line, `NAME seconds=S
 * KEY=VALUE…`, and ends with status 1 when a block does not hold what was stored in it.
 */
#ifndef STW_BENCH_MALLOC_BENCH_H
#define STW_BENCH_MALLOC_BENCH_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

/* One number that the command line may change: --name N. A table of them ends with a name of NULL. */
struct bench_option {
	const char *name;
	size_t *value;
};

/* Reads --name N …; ends the program with status 2 and a usage line on anything else. Starts the clock of bench_report. */
void bench_options(int argc, char **argv, const struct bench_option *options);

/* Prints the line of the program: its name, the seconds since bench_options, and what the format says. */
__attribute__((format(printf, 1, 2))) void bench_report(const char *format, ...);

/* Zeroed memory outside of the heap, never given back. */
void *bench_table(size_t n, size_t size);

/* Runs run(args, 0), run(args + size, 1), … in n threads and waits for all. */
void bench_threads(size_t n, void (*run)(void *arg, size_t i), void *args, size_t size);

/* Resident KiB of this process now. */
size_t bench_rss_kib(void);

/* Ends the program with status 1 and one line. */
__attribute__((noreturn)) void bench_out_of_memory(size_t size);
__attribute__((noreturn)) void bench_wrong(const void *p, size_t size, size_t offset);

/*
 * The contents of a block: a word every 64 bytes, of large blocks every page, and its last eight bytes. Each
 * depends on the block's tag and on where it is, so that a block that overlaps another, moved or was written
 * late is noticed. Size ≥ 8.
 */
static inline uint64_t bench_word(uint64_t tag, size_t offset)
{
	return (tag + offset) * 0x9e3779b97f4a7c15u;
}

static inline size_t bench_stride(size_t size)
{
	return size <= 16384 ? 64 : 4096;
}

static inline void bench_fill(void *p, size_t size, uint64_t tag)
{
	uint64_t word = bench_word(tag, size);

	memcpy((char *)p + size - 8, &word, 8);
	for (size_t at = 0; at + 8 <= size; at += bench_stride(size)) {
		word = bench_word(tag, at);
		memcpy((char *)p + at, &word, 8);
	}
}

/* Of the last eight bytes only what no other word of the block has overwritten. */
static inline void bench_check(const void *p, size_t size, uint64_t tag)
{
	size_t at = 0;
	uint64_t word;

	for (; at + 8 <= size; at += bench_stride(size)) {
		memcpy(&word, (const char *)p + at, 8);
		if (word != bench_word(tag, at))
			bench_wrong(p, size, at);
	}
	memcpy(&word, (const char *)p + size - 8, 8);
	if (at - bench_stride(size) + 16 <= size && word != bench_word(tag, size))
		bench_wrong(p, size, size - 8);
}

/* Before it is freed: who holds the same block still, with the same size and tag, will notice. */
static inline void bench_spoil(void *p)
{
	memset(p, 0, 8);
}

/* A block whose tag is its address. */
struct block {
	void *p; /* NULL: none */
	size_t size;
};

/* A block that some call of the malloc family has returned for size bytes. */
static inline struct block block_of(void *p, size_t size)
{
	struct block b = { p, size };

	if (p == NULL)
		bench_out_of_memory(size);
	bench_fill(p, size, (uintptr_t)p);
	return b;
}

static inline struct block block_new(size_t size)
{
	return block_of(malloc(size), size);
}

static inline void block_free(struct block *b)
{
	if (b->p == NULL)
		return;
	bench_check(b->p, b->size, (uintptr_t)b->p);
	bench_spoil(b->p);
	free(b->p);
	b->p = NULL;
}

#ifdef __cplusplus
}
#endif

#endif
