/* What a program says of its pages before, or instead of, touching them. */
#include <errno.h>
#include <sys/mman.h>

#include "base/sys.h"
#include "embed/error.h"
#include "embed/memory.h"
#include "mm/user_page.h"

#define STEP_PAGES 64 /* after so many the locks are given up for a moment: others wait for faults */

/* The frame of the page if it is mapped, and nobody works on it; else NULL. Lock held. */
static struct frame *mapped(struct memory *mem, vpn_t vpn)
{
	pte_t pte = user_page_settled(&mem->mm, vpn);

	return pte_is_present(pte) ? pfn_frame(&mem->m.phys, pte_pfn(pte)) : NULL;
}

static bool is_pinned(const struct frame *f)
{
	return (f->flags & FRAME_LRU) && lru_list_of(f) == LRU_UNEVICTABLE;
}

/* Calls see() for each page of the range until it fails, with both locks, which are given up now and then. */
static int each(struct memory *mem, uint64_t start, uint64_t end, int (*see)(struct memory *mem, vpn_t vpn))
{
	vpn_t at = vpn_of(start), stop = vpn_of(end);
	uint64_t signals;
	int err = 0;

	while (at.n < stop.n && err == 0) {
		memory_enter(mem, &signals);
		for (unsigned i = 0; i < STEP_PAGES && at.n < stop.n && err == 0; i++, at.n++)
			err = see(mem, at);
		memory_leave(mem, &signals);
	}
	return err;
}

static int bring(struct memory *mem, vpn_t vpn)
{
	return mapped(mem, vpn) != NULL ? 0 : memory_page(mem, vpn);
}

int memory_prefetch(struct stw_region *r, uint64_t start, uint64_t end)
{
	struct memory *mem = memory_of(r);
	uint64_t most = mem->nr_frames / 2 << PAGE_SHIFT;

	return each(mem, start, MIN(end, start + most), bring);
}

int memory_get(struct stw_region *r, const struct stw_range *ranges, size_t n)
{
	uint64_t start, end;
	int err = 0;

	for (size_t i = 0; i < n && err == 0; i++) {
		err = region_range(r, ranges[i].offset, ranges[i].bytes, false, &start, &end);
		if (err == 0)
			err = memory_prefetch(r, start, end);
	}
	return err;
}

int memory_flush(struct stw_region *r, uint64_t start, uint64_t end)
{
	(void)r;
	(void)start;
	(void)end;
	return 0;
}

static int cool(struct memory *mem, vpn_t vpn)
{
	struct frame *f = mapped(mem, vpn);

	if (f == NULL || is_pinned(f))
		return 0;
	struct lruvec *v = lruvec_of(&mem->m, f);
	enum lru_list list = lru_list_of(f);

	lru_del(v, f);
	lru_add_tail(v, f, list);
	return 0;
}

int memory_cold(struct stw_region *r, uint64_t start, uint64_t end)
{
	return each(memory_of(r), start, end, cool);
}

int memory_discard(struct stw_region *r, uint64_t start, uint64_t end)
{
	struct memory *mem = memory_of(r);
	vpn_t from = vpn_of(start), to = vpn_of(end);
	uint64_t signals;

	memory_unpin(r, start, end);
	memory_enter(mem, &signals);
	int err = mm_drop(&mem->mm, from, to);
	/* Also ends the SIGBUS of pages that could not be had. */
	if (err == 0)
		err = sys_madvise((void *)(uintptr_t)start, end - start, MADV_DONTNEED);
	memory_leave(mem, &signals);
	return err == 0 ? 0 : error_set(err, "cannot discard: %s", error_words(err));
}

static int pin(struct memory *mem, vpn_t vpn)
{
	int err = 0;
	struct frame *f;

	/* What serves it may be a page that another thread has just placed, and the pager taken again. */
	while ((f = mapped(mem, vpn)) == NULL && err == 0)
		err = memory_page(mem, vpn);
	if (err != 0 || is_pinned(f))
		return err;
	if (mem->pinned >= mem->nr_frames / 2)
		return error_set(-ENOMEM, "more than half of the budget of %zu bytes would be pinned", mem->budget);
	lru_del(lruvec_of(&mem->m, f), f);
	lru_add(lruvec_of(&mem->m, f), f, LRU_UNEVICTABLE);
	mem->pinned++;
	return 0;
}

int memory_pin(struct stw_region *r, uint64_t start, uint64_t end)
{
	struct memory *mem = memory_of(r);

	if ((end - start) >> PAGE_SHIFT > mem->nr_frames / 2)
		return error_set(-ENOMEM, "%llu bytes are more than half of the budget of %zu",
				 (unsigned long long)(end - start), mem->budget);
	return each(mem, start, end, pin);
}

static int unpin(struct memory *mem, vpn_t vpn)
{
	struct frame *f = mapped(mem, vpn);

	if (f == NULL || !is_pinned(f))
		return 0;
	lru_del(lruvec_of(&mem->m, f), f);
	mem->m.policy->arrive(&mem->m, lruvec_of(&mem->m, f), f, ARRIVE_NEW);
	mem->pinned--;
	return 0;
}

int memory_unpin(struct stw_region *r, uint64_t start, uint64_t end)
{
	return each(memory_of(r), start, end, unpin);
}
