/*
 * Read-ahead of files, as Linux does it: which pages to read when a read(2) or
 * a fault of a mapped file misses the page cache or meets the marked page. Only
 * ranges are computed; who reads them is the caller. The caller holds the
 * machine's lock.
 */
#ifndef STW_MM_BACKING_FILERA_H
#define STW_MM_BACKING_FILERA_H

#include "base/types.h"

#define FILERA_PAGES 32  /* Linux's default of 128 KiB */
#define FILERA_NO_MARK UINT64_MAX

struct vm_file;

/*
 * State of one open file. Law: async ≤ size.
 */
struct file_ra {
	uint64_t start;     /* the window: first page */
	uint32_t size;      /* … pages; 0: none yet */
	uint32_t async;     /* … the next one is read when a read comes to the async last pages of this one */
	uint32_t ra_pages;  /* the largest window; 0: no read-ahead */
	uint32_t io_pages;  /* the largest request of the device: a read larger than ra_pages may go up to it */
	uint32_t mmap_miss; /* faults that missed, less those that hit */
	uint64_t prev;      /* page in which the last read(2) ended: the one behind it if it ended at a border */
};

enum filera_hint {
	FILERA_NORMAL,
	FILERA_RANDOM,     /* POSIX_FADV_RANDOM, MADV_RANDOM */
	FILERA_SEQUENTIAL, /* MADV_SEQUENTIAL; a descriptor's is ra_pages * 2 instead, as in Linux */
};

/* Read pages [start, start + n) less those that are cached; page `mark`, if it is among them, gets FRAME_READAHEAD. */
struct filera_plan {
	uint64_t start;
	uint32_t n; /* 0: nothing to do */
	uint64_t mark; /* or FILERA_NO_MARK */
};

/* ra_pages: see struct file_ra; io_pages 0: as ra_pages. */
void filera_init(struct file_ra *ra, uint32_t ra_pages, uint32_t io_pages);

/*
 * One step of a read of [pgoff, pgoff + n), n ≥ 1, within the file. Returns how many pages of its beginning are cached
 * and can be copied before the next step; 0: the first one is not, and the plan, when carried out, brings it. If the
 * last of them was marked, the mark is off now and the plan is the window after it, which nobody needs to wait for.
 */
uint64_t filera_read(struct file_ra *ra, struct vm_file *file, uint64_t pgoff, uint64_t n, enum filera_hint hint,
		     struct filera_plan *plan);

/* A fault of a mapped page that is not cached. The plan includes it; the caller's own read of it if n is 0. */
void filera_fault(struct file_ra *ra, struct vm_file *file, uint64_t pgoff, enum filera_hint hint,
		  struct filera_plan *plan);
/* A fault of a mapped page that is cached: minor, but it may be the marked one. */
void filera_fault_cached(struct file_ra *ra, struct vm_file *file, uint64_t pgoff, enum filera_hint hint,
			 struct filera_plan *plan);
/* Fault-around mapped n pages besides the one that faulted: as many misses are made up for. */
void filera_around(struct file_ra *ra, uint32_t n);

void filera_check(const struct file_ra *ra);

#endif
