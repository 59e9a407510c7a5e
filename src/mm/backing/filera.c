/*
 * File read-ahead.
 *
 *      window                            next window
 *     ┌───────────────┬────────────────┐┌─ … ─┐
 *     │ being read    │ async          ││     │
 *     └───────────────┴────────────────┘└─ … ─┘
 *     start           ▲ marked page    start + size
 *
 * A read that misses opens a window; a read that comes to its marked page has
 * the next window read while it goes on, so a reader that is not faster than
 * the disk never waits again. Nothing is seen of reads that hit, which is what
 * makes it cheap.
 *
 * A miss (Linux: page_cache_sync_ra) is one of
 *
 *     the file's start, a read larger than a window,
 *     or where the last read ended                    a first window: 4 or 2 times the request
 *     more cached pages just before it than it asks   somebody reads here, though this state knows
 *                                                     nothing of it: as many again
 *     else                                            random: what was asked for, the state stays
 *
 * and the marked page (page_cache_async_ra) either ours, then the window moves
 * on and grows, 4 or 2 times up to ra_pages; or that of another reader whose
 * state was overwritten (interleaved reads of one descriptor): the run of cached
 * pages after it is what that reader's window was.
 *
 * Mapped files have no requests, only faults. A miss reads around the page, for
 * a program touches what lies about, with the mark a quarter before the end. A
 * file whose mapping misses a hundred times more than it hits is read one page
 * a fault (mmap_miss).
 *
 * Facts: mm/readahead.c and do_sync_mmap_readahead, do_async_mmap_readahead of
 * mm/filemap.c in Linux 6.12, for pages of the base size: large folios, which
 * some file systems have, round windows to their size. Where a marked page is
 * followed by a full window of cached pages, 6.12's page_cache_next_miss says
 * on some builds that the page behind is missing; here, as documented there and
 * in later kernels, nothing more is read.
 */
#include "mm/backing/filera.h"

#include "base/assert.h"
#include "mm/backing/pagecache.h"

#define MISS_LIMIT 100                  /* MMAP_LOTSAMISS */
#define MISS_MAX ((uint32_t)MISS_LIMIT * 10)
#define NEVER (UINT64_MAX >> 12)        /* page of position -1: no read ended there */

void filera_init(struct file_ra *ra, uint32_t ra_pages, uint32_t io_pages)
{
	*ra = (struct file_ra){ .ra_pages = ra_pages, .io_pages = MAX(io_pages, ra_pages), .prev = NEVER };
}

/* The largest window for this request. */
static uint64_t window_max(const struct file_ra *ra, uint64_t n)
{
	return n > ra->ra_pages && ra->io_pages > ra->ra_pages ? MIN(n, ra->io_pages) : ra->ra_pages;
}

static uint64_t window_first(uint64_t n, uint64_t max)
{
	uint64_t size = 1;

	while (size < n)
		size <<= 1;
	if (size <= max / 32)
		return size * 4;
	return size <= max / 4 ? size * 2 : max;
}

static uint64_t window_next(uint64_t size, uint64_t max)
{
	if (size < max / 16)
		return size * 4;
	return size <= max / 2 ? size * 2 : max;
}

static void plan_none(struct filera_plan *plan)
{
	*plan = (struct filera_plan){ .mark = FILERA_NO_MARK };
}

/* n pages, the mark `async` pages before their end. None lie beyond the end of the file, and then the mark moves down. */
static void plan_range(struct filera_plan *plan, const struct vm_file *file, uint64_t start, uint64_t n, uint64_t async)
{
	plan_none(plan);
	if (start >= file->size_pages)
		return;
	n = MIN(n, file->size_pages - start);
	plan->start = start;
	plan->n = (uint32_t)n;
	if (async > 0 && async <= n)
		plan->mark = start + n - async;
}

static void plan_window(struct filera_plan *plan, struct file_ra *ra, const struct vm_file *file)
{
	plan_range(plan, file, ra->start, ra->size, ra->async);
}

/* Cached pages in a row just before pgoff, up to max. */
static uint64_t run_before(const struct vm_file *file, uint64_t pgoff, uint64_t max)
{
	uint64_t n = 0;

	while (n < max && n < pgoff && pagecache_get(file, pgoff - 1 - n) != NULL)
		n++;
	return n;
}

/* The same just behind it. */
static uint64_t run_after(const struct vm_file *file, uint64_t pgoff, uint64_t max)
{
	uint64_t n = 0;

	while (n < max && pagecache_get(file, pgoff + 1 + n) != NULL)
		n++;
	return n;
}

/* Page pgoff of a request for n is not cached. */
static void miss(struct file_ra *ra, struct vm_file *file, uint64_t pgoff, uint64_t n, struct filera_plan *plan)
{
	uint64_t max = window_max(ra, n), history;

	if (pgoff == 0 || n > max || pgoff - ra->prev <= 1) {
		ra->start = pgoff;
		ra->size = (uint32_t)window_first(n, max);
		ra->async = ra->size > n ? ra->size - (uint32_t)n : ra->size / 2;
		plan_window(plan, ra, file);
		return;
	}
	history = run_before(file, pgoff, max);
	if (history <= n) {
		plan_range(plan, file, pgoff, n, 0);
		return;
	}
	/* Cached from the beginning on: most likely all of the file is wanted. */
	if (history == pgoff)
		history *= 2;
	ra->start = pgoff;
	ra->size = (uint32_t)MIN(history + n, max);
	ra->async = 1;
	plan_window(plan, ra, file);
}

/* Page pgoff, of which and what follows n are asked for, was marked. */
static void marked(struct file_ra *ra, struct vm_file *file, uint64_t pgoff, uint64_t n, struct filera_plan *plan)
{
	uint64_t max = window_max(ra, n), run;

	plan_none(plan);
	if (ra->ra_pages == 0)
		return;
	if (pgoff == ra->start + ra->size - ra->async) {
		ra->start += ra->size;
		ra->size = (uint32_t)MAX(ra->size, window_next(ra->size, max));
	} else {
		run = run_after(file, pgoff, max);
		if (run >= max)
			return;
		ra->start = pgoff + 1 + run;
		ra->size = (uint32_t)window_next(run + 1 + n, max);
	}
	ra->async = ra->size;
	plan_window(plan, ra, file);
}

uint64_t filera_read(struct file_ra *ra, struct vm_file *file, uint64_t pgoff, uint64_t n, enum filera_hint hint,
		     struct filera_plan *plan)
{
	uint64_t done = 0;

	plan_none(plan);
	while (done < n) {
		struct frame *frame = pagecache_get(file, pgoff + done);

		if (frame == NULL)
			break;
		done++;
		if (frame->flags & FRAME_READAHEAD) {
			frame->flags &= (uint16_t)~FRAME_READAHEAD;
			marked(ra, file, pgoff + done - 1, n - done + 1, plan);
			break;
		}
	}
	if (done == n)
		ra->prev = pgoff + n;
	if (done > 0)
		return done;
	if (ra->ra_pages == 0)
		plan_range(plan, file, pgoff, 1, 0);
	else if (hint == FILERA_RANDOM)
		plan_range(plan, file, pgoff, MIN(n, ra->io_pages), 0);
	else
		miss(ra, file, pgoff, n, plan);
	return 0;
}

void filera_fault(struct file_ra *ra, struct vm_file *file, uint64_t pgoff, enum filera_hint hint,
		  struct filera_plan *plan)
{
	plan_none(plan);
	if (hint == FILERA_RANDOM || ra->ra_pages == 0)
		return;
	if (hint == FILERA_SEQUENTIAL) {
		miss(ra, file, pgoff, ra->ra_pages, plan);
		return;
	}
	if (ra->mmap_miss < MISS_MAX)
		ra->mmap_miss++;
	if (ra->mmap_miss > MISS_LIMIT)
		return;
	ra->start = pgoff - MIN(pgoff, ra->ra_pages / 2);
	ra->size = ra->ra_pages;
	ra->async = ra->ra_pages / 4;
	plan_window(plan, ra, file);
}

void filera_fault_cached(struct file_ra *ra, struct vm_file *file, uint64_t pgoff, enum filera_hint hint,
			 struct filera_plan *plan)
{
	struct frame *frame = pagecache_get(file, pgoff);

	plan_none(plan);
	ASSERT(frame != NULL);
	if (hint == FILERA_RANDOM || ra->ra_pages == 0)
		return;
	filera_around(ra, 1);
	if (frame->flags & FRAME_READAHEAD) {
		frame->flags &= (uint16_t)~FRAME_READAHEAD;
		marked(ra, file, pgoff, ra->ra_pages, plan);
	}
}

void filera_around(struct file_ra *ra, uint32_t n)
{
	ra->mmap_miss -= MIN(ra->mmap_miss, n);
}

void filera_check(const struct file_ra *ra)
{
	ASSERT(ra->async <= ra->size);
	ASSERT(ra->io_pages >= ra->ra_pages);
	ASSERT(ra->size <= MAX(ra->io_pages, ra->ra_pages));
	ASSERT(ra->mmap_miss <= MISS_MAX);
}
