/*
 * The page verifier: memory operations under pressure, every page checked.
 * One file per family of operations; verifier.c holds the table of modes and
 * the helpers that all of them use.
 */
#ifndef VERIFIER_H
#define VERIFIER_H

#include "base/page.h"

/*
 * Pages whose expected generations stand in a table beside them. Generation 0
 * means never written: the page must read as zeros. tag_base is what the pages
 * believe to be their base address; it differs from base after an mremap.
 */
struct region {
	unsigned char *base;
	uint64_t tag_base;
	size_t pages;
	uint32_t *gen;
};

/* Prints the message to stderr and ends the process with status 1 (async-signal-safe enough for a forked child). */
__attribute__((noreturn, format(printf, 1, 2)))
void die(const char *fmt, ...);

#define must(cond, ...) \
	do { \
		if (!(cond)) \
			die(__VA_ARGS__); \
	} while (0)

/* An anonymous private mapping of n pages, or the end of the program. */
unsigned char *map_anon(size_t n);

/* A temporary file of n pages without a name, or the end of the program. */
int temp_file(size_t n);

void region_make(struct region *r, size_t pages);
void region_free(struct region *r);

static inline unsigned char *region_page(const struct region *r, size_t i)
{
	return r->base + i * PAGE;
}

static inline uint64_t region_tag(const struct region *r, size_t i)
{
	return r->tag_base + i * PAGE;
}

/* Rewrites page i with its next generation. */
void region_write(struct region *r, size_t i);
/* Page i must hold its generation. */
void region_check(const struct region *r, size_t i, const char *when);
void region_fill(struct region *r, size_t from, size_t to);
void region_check_all(const struct region *r, const char *when);
/* Checks n random pages of the region. */
void region_sample(const struct region *r, uint64_t *seed, size_t n, const char *when);
/* A number that depends on every page's generation and place; the pages have been checked. */
uint64_t region_digest(const struct region *r);

/* Waits for the child and demands exit status 0. */
void child_must_succeed(int pid, const char *what);

/* A mode works on about n pages and returns its digest. */
typedef uint64_t mode_fn(size_t n, uint64_t seed);

mode_fn mode_random_read, mode_random_write, mode_sequential, mode_same_filled;
mode_fn mode_fork_read, mode_fork_write, mode_fork_nested, mode_fork_threads, mode_fork_orphan;
mode_fn mode_mremap, mode_madvise, mode_mprotect, mode_munmap, mode_raw, mode_brk, mode_bss, mode_shared, mode_file, mode_mlock;
mode_fn mode_populate;
mode_fn mode_model, mode_mixed, mode_fork_inherit, mode_fork_heirs;
mode_fn mode_threads, mode_atomic, mode_churn, mode_signals;
mode_fn mode_recursion, mode_main_stack, mode_coroutines;
mode_fn mode_spawn, mode_exec;

#endif
