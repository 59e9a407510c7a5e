/*
 * System calls whose buffers lie in paged-out memory. One file per family of
 * calls; syscalls.c holds the table of modes and the region they all work on.
 *
 * The region is larger than the memory that the test grants, so a random place
 * in it is paged out as a rule; no mode touches its buffer before the call.
 */
#ifndef SYSCALLS_H
#define SYSCALLS_H

#include "base/page.h"

enum { FILE_PAGES = 512, CALLS = 300 };

extern unsigned char *base; /* the region */
extern size_t pages;
extern uint32_t *gens;      /* per page: the generation that it holds; its tag is its address */
extern uint64_t seed;
extern int file;            /* a temporary file of FILE_PAGES pages: page i holds tag i, generation 7 */

/* One line on stderr with the mode and errno, and the end of the program. */
__attribute__((noreturn, format(printf, 1, 2)))
void die(const char *fmt, ...);

#define must(cond, ...) \
	do { \
		if (!(cond)) \
			die(__VA_ARGS__); \
	} while (0)

static inline unsigned char *page_at(size_t i)
{
	return base + i * PAGE;
}

/* The first of n neighbouring pages somewhere in the region. */
static inline size_t pick(size_t n)
{
	return below64(&seed, pages - n);
}

/* Fills n pages with their next generation. */
void restore(size_t i, size_t n);
void verify(size_t i, size_t n);
/* The n pages at p must be pages first.. of the file. */
void verify_file_pages(const unsigned char *p, size_t n, size_t first);
/* An empty unlinked file in $TMPDIR. */
int temp_file(void);
/* The mode cannot run on this machine; said on stdout. */
void skip(const char *why);

typedef void mode_fn(void);

mode_fn mode_read, mode_write, mode_pread_pwrite, mode_readv_writev, mode_direct, mode_huge;
mode_fn mode_io_uring, mode_io_uring_fixed;
mode_fn mode_send_recv, mode_sendmsg, mode_pipe, mode_vmsplice, mode_process_vm;
mode_fn mode_getdents, mode_small, mode_futex, mode_poll, mode_sigaltstack;

#endif
