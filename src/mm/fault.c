/*
 * The page fault.
 *
 *     no area ........................ FAULT_INVALID
 *     entry none ..................... minor: frames of zeros
 *     entry present .................. spurious, or the host dropped the page: zeros again; where the engine has
 *                                      page tables: a right that came back, or a write to what others share
 *     entry soft ..................... soft: the sample was hot; map it back, activate
 *     entry swap ..................... major: frames, read the stores, map (swapin.c)
 *     any, and its frame is locked ... wait: whoever holds it wakes the access
 *
 * Both the minor and the major fault serve more than the page touched when the
 * stream detector (readahead.c) says so, because one delivery costs as much as
 * a dozen pages. Extra pages never dig below MIN and are dropped at the first
 * difficulty; the page touched may use half of the reserve below MIN. The other
 * half belongs to reclaim: a batch of STORE_BATCH pages needs at most
 * STORE_BATCH pool frames and one slot chunk (16 frames and their tables), so
 * that evicting can always go on (law L3). MIN is never below 128 KiB... for a
 * zone of any useful size it is hundreds of frames.
 *
 * Follows mm/memory.c do_anonymous_page and do_swap_page.
 */
#include <errno.h>

#include "base/assert.h"
#include "mm/backing/readahead.h"
#include "mm/fault.h"
#include "mm/reclaim/gather.h"
#include "mm/reclaim/reclaim.h"
#include "mm/swapin.h"

#define ZERO_RUN_MAX 16
#define BLOCKS_WANTED_MAX 16 /* a stream that ends leaves no more behind than 16 blocks put together for nothing */
#define HALF_BLOCK_ORDER (BLOCK_ORDER - 1) /* moved in one call they cost little more than 16 do */

/* NULL: not without the half of the reserve that is reclaim's. */
struct frame *fault_frame(struct machine *m)
{
	if (machine_charged(m) >= m->limit)
		return NULL;
	struct frame *f = frame_alloc(&m->phys, m->local_node, 0, MIGRATE_MOVABLE, ALLOC_LOW);

	/* With accessed bits, whoever faults reclaims, and needs no reserve for it. */
	if (f != NULL || machine_has_accessed(m) ||
	    phys_free_frames(&m->phys, 0) <= phys_wmark(&m->phys, 0, WMARK_MIN) / 2)
		return f;
	return frame_alloc(&m->phys, 0, 0, MIGRATE_MOVABLE, ALLOC_RESERVE);
}

/* A block of 1 << *order frames for a run, or half a block of the largest kind if there is none (gather.c hears of it); *order says which. */
static struct frame *alloc_block(struct machine *m, unsigned *order)
{
	struct frame *f = frame_alloc(&m->phys, m->local_node, *order, MIGRATE_MOVABLE, ALLOC_LOW);

	if (f != NULL || *order <= HALF_BLOCK_ORDER)
		return f;
	m->blocks_wanted = MIN(m->blocks_wanted + 1, BLOCKS_WANTED_MAX);
	*order = HALF_BLOCK_ORDER;
	return frame_alloc(&m->phys, 0, *order, MIGRATE_MOVABLE, ALLOC_LOW);
}

/* Contiguous ones, because the engine moves contiguous homes in one call. */
static unsigned block_frames(struct machine *m, unsigned n, struct frame **frames)
{
	unsigned got = 0;

	while (n - got > 1) {
		unsigned order = MIN(32 - (unsigned)__builtin_clz(n - got - 1), (unsigned)BLOCK_ORDER);
		struct frame *f = alloc_block(m, &order);

		if (f == NULL)
			break;
		frame_split(&m->phys, f, order);
		for (unsigned i = 0; i < 1u << order; i++) {
			if (got < n)
				frames[got++] = f + i;
			else
				frame_free(&m->phys, f + i, 0);
		}
	}
	return got;
}

/*
 * If neither a block nor half of one is free, frames come one by one, from the smallest blocks: so these
 * are used up, and larger ones get the time to merge.
 */
static unsigned single_frames(struct machine *m, unsigned got, unsigned n, struct frame **frames)
{
	for (; got < n; got++) {
		frames[got] = frame_alloc(&m->phys, 0, 0, MIGRATE_MOVABLE, ALLOC_MIN);
		if (frames[got] == NULL)
			break;
	}
	return got;
}

unsigned fault_frames(struct machine *m, unsigned n, struct frame **frames)
{
	if (n == 1 || machine_charged(m) + n > m->limit) {
		frames[0] = fault_frame(m);
		return frames[0] != NULL;
	}
	unsigned got = block_frames(m, n, frames);

	if (got == 0) {
		frames[0] = fault_frame(m);
		got = frames[0] != NULL;
	}
	return got > 0 ? single_frames(m, got, n, frames) : 0;
}

static void free_frames(struct machine *m, struct frame **frames, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		frame_free(&m->phys, frames[i], 0);
}

bool fault_frames_spare(struct machine *m, unsigned n, struct frame **frames)
{
	if (machine_charged(m) + n > m->limit)
		return false;
	unsigned got = single_frames(m, block_frames(m, n, frames), n, frames);

	if (got < n)
		free_frames(m, frames, got);
	return got == n;
}

enum fault_result fault_map_failed(int err)
{
	return err == -ENOMEM ? FAULT_NOMEM : FAULT_RETRY;
}

/* The longest run around fault in which the plan and the page table agree that it is to be filled. */
static void zero_run(struct mm *mm, vpn_t fault, const struct ra_plan *plan, vpn_t *start, unsigned *n)
{
	uint64_t lo = fault.n, hi = fault.n;

	for (unsigned i = 1; i < plan->n; i++) {
		uint64_t v = plan->vpn[i].n;

		if ((v != hi + 1 && v + 1 != lo) || !pte_is_none(pt_get(&mm->pt, plan->vpn[i])))
			break;
		lo = MIN(lo, v);
		hi = MAX(hi, v);
	}
	start->n = lo;
	*n = (unsigned)(hi - lo) + 1;
}

/* The run was not mapped as a whole: leaves that were reserved for it and stayed empty go back. It touches two at most. */
static void unreserve(struct mm *mm, vpn_t start, unsigned n)
{
	const vpn_t ends[] = { start, { start.n + n - 1 } };

	for (unsigned i = 0; i < ARRAY_SIZE(ends); i++)
		if (pte_is_none(pt_get(&mm->pt, ends[i])))
			pt_set(&mm->pt, ends[i], pte_none());
}

void fault_plan(struct vma *vma, vpn_t vpn, unsigned max, struct ra_plan *plan)
{
	if (max > 1) {
		readahead_plan(vma, vpn, max, plan);
		return;
	}
	plan->hit = false;
	plan->n = 1;
	plan->vpn[0] = vpn;
}

/* A read of memory that nobody has written to: the page of zeros will do. */
static enum fault_result fault_zero(struct mm *mm, const struct vma *vma, vpn_t vpn, enum fault_access access)
{
	struct machine *m = mm->machine;
	uint64_t prot = user_prot(vma, access) & ~PTE_WRITE;

	if (pt_set(&mm->pt, vpn, pte_present_make(frame_pfn(&m->phys, m->zero), prot)) != 0)
		return FAULT_NOMEM;
	COUNT(m, pgminor);
	STEP(m, ZERO, .mm = mm, .vpn = vpn, .pfn = frame_pfn(&m->phys, m->zero));
	return FAULT_DONE;
}

static enum fault_result fault_minor(struct mm *mm, struct vma *vma, vpn_t vpn, enum fault_access access)
{
	struct machine *m = mm->machine;
	struct frame *frames[ZERO_RUN_MAX];
	struct ra_plan plan;
	vpn_t start, reserved;
	unsigned n, nr_reserved;

	if (m->zero != NULL && !mm->no_zero && access != FAULT_WRITE)
		return fault_zero(mm, vma, vpn, access);
	if (fault_huge(mm, vma, vpn, access))
		return FAULT_DONE;
	/* The table before the page, as in Linux: at a limit, the order decides which of the two reclaim comes before. */
	if (machine_has_accessed(m) && pt_reserve(&mm->pt, vpn, (vpn_t){ vpn.n + 1 }) != 0)
		return FAULT_NOMEM;
	fault_plan(vma, vpn, m->streams ? ZERO_RUN_MAX : 1, &plan);
	if (m->precise)
		plan.n = 1;
	zero_run(mm, vpn, &plan, &start, &n);
	unsigned got = fault_frames(m, n, frames);
	if (got == 0)
		return FAULT_NOMEM;
	if (got < n) {
		/* Not all: only the page touched, wherever it lies in the run. */
		free_frames(m, frames + 1, got - 1);
		start = vpn;
		got = n = 1;
	}
	if (pt_reserve(&mm->pt, start, (vpn_t){ start.n + n }) != 0) {
		free_frames(m, frames, got);
		return FAULT_NOMEM;
	}
	reserved = start;
	nr_reserved = n;
	int mapped = m->ops->map(m, mm, start, frames, n, true);
	if (mapped == -EEXIST && n > 1) {
		/* A page we did not know of is in the way; the one touched may still be free. */
		free_frames(m, frames + 1, n - 1);
		start = vpn;
		n = 1;
		mapped = m->ops->map(m, mm, start, frames, 1, true);
	}
	if (mapped == -EEXIST) {
		/* Present already, only not counted yet. */
		m->ops->wake(m, mm, vpn);
		mapped = 1;
	}
	if (mapped < 0) {
		free_frames(m, frames, n);
		unreserve(mm, reserved, nr_reserved);
		return fault_map_failed(mapped);
	}
	for (int i = 0; i < mapped; i++)
		user_page_add(mm, (vpn_t){ start.n + (uint64_t)i }, frames[i], user_prot(vma, access), ARRIVE_NEW);
	free_frames(m, frames + mapped, n - (unsigned)mapped);
	if ((unsigned)mapped < nr_reserved)
		unreserve(mm, reserved, nr_reserved);
	COUNT(m, pgminor);
	COUNT_N(m, pgfill_ahead, (unsigned)mapped - 1);
	/* The run stopped short of the page touched: its access comes again. */
	return vpn.n < start.n + (uint64_t)mapped ? FAULT_DONE : FAULT_RETRY;
}

/* mprotect has given back a right that the entry still lacks; that to write is fault_protected's. */
static enum fault_result fault_regained(struct mm *mm, const struct vma *vma, vpn_t vpn, pte_t pte, struct frame *f)
{
	struct machine *m = mm->machine;
	uint64_t v = pte.v | PTE_USER | PTE_ACCESSED;

	pt_set(&mm->pt, vpn, (pte_t){ vma->flags & VMA_EXEC ? v & ~PTE_NX : v });
	m->ops->unmap(m, mm, vpn, &f, 1);
	COUNT(m, pgspurious);
	return FAULT_DONE;
}

static enum fault_result fault_present(struct mm *mm, vpn_t vpn, struct frame *f)
{
	struct machine *m = mm->machine;
	int mapped = m->ops->map(m, mm, vpn, &f, 1, true);

	if (mapped != 1 && mapped != -EEXIST)
		return fault_map_failed(mapped);
	if (mapped == -EEXIST)
		m->ops->wake(m, mm, vpn);
	COUNT(m, pgspurious);
	return FAULT_DONE;
}

static enum fault_result fault_soft(struct mm *mm, const struct vma *vma, vpn_t vpn, struct frame *f,
				    enum fault_access access)
{
	struct machine *m = mm->machine;
	struct lruvec *v = lruvec_of(m, f);
	int mapped = m->ops->map(m, mm, vpn, &f, 1, false);

	if (mapped == -EEXIST) {
		m->ops->wake(m, mm, vpn);
		return mm_readopt(mm, vpn) == 0 ? FAULT_DONE : FAULT_NOMEM;
	}
	if (mapped != 1)
		return fault_map_failed(mapped);
	f->flags |= FRAME_AWAY;
	pt_set(&mm->pt, vpn, pte_present_make(frame_pfn(&m->phys, f), user_prot(vma, access) & ~(f->refs > 1 ? PTE_WRITE : 0)));
	COUNT(m, pgsoft);
	if (machine_has_accessed(m)) {
		/* Its place on the lists is the accessed bit's business. */
		COUNT_N(m, swap_ra_hit, (f->flags & FRAME_READAHEAD) != 0);
		f->flags &= (uint16_t)~FRAME_READAHEAD;
		return FAULT_DONE;
	}
	lru_del(v, f);
	if (f->flags & FRAME_READAHEAD) {
		/* Its first touch: worth having been read, but not hot yet. */
		f->flags &= (uint16_t)~FRAME_READAHEAD;
		m->policy->arrive(m, v, f, ARRIVE_NEW);
		COUNT(m, swap_ra_hit);
		return FAULT_DONE;
	}
	m->policy->arrive(m, v, f, ARRIVE_SOFT);
	v->age++;
	COUNT(m, pgactivate);
	return FAULT_DONE;
}

/* Does the area allow it? */
static bool allowed(const struct vma *vma, enum fault_access access)
{
	static const uint32_t right[] = { 0, VMA_READ, VMA_WRITE, VMA_EXEC };

	return access == FAULT_ANY || (vma->flags & right[access]) != 0;
}

enum fault_result mm_fault(struct mm *mm, vpn_t vpn, enum fault_access access, struct fault_report *report)
{
	struct machine *m = mm->machine;
	struct vma *vma = vma_find(&mm->vmas, vpn);

	STEP(m, FAULT, .mm = mm, .vpn = vpn, .arg = access);
	if (vma == NULL || !allowed(vma, access))
		return FAULT_INVALID;
	pte_t pte = pt_get(&mm->pt, vpn);

	if (pte_is_none(pte))
		return vma->file != NULL ? fault_file(mm, vma, vpn, access, report) : fault_minor(mm, vma, vpn, access);
	if (pte_is_swap(pte))
		return swapin_fault(mm, vma, vpn, access, report);
	struct frame *f = pfn_frame(&m->phys, pte_pfn(pte));

	if (f->flags & FRAME_LOCKED) {
		f->flags |= FRAME_WAITED;
		return FAULT_WAIT;
	}
	if (pte_is_soft(pte)) {
		bool ahead = (f->flags & FRAME_READAHEAD) != 0;
		enum fault_result r = fault_soft(mm, vma, vpn, f, access);

		STEP(m, SOFT, .mm = mm, .vpn = vpn, .pfn = frame_pfn(&m->phys, f), .list = f->list);
		/* Either its stream goes on, or it was worth having been read with its neighbour. */
		if (ahead && r == FAULT_DONE && !swapin_reached(mm, vma, vpn))
			m->cluster.hits++;
		return r;
	}
	if (access == FAULT_WRITE && !(pte.v & PTE_WRITE))
		return fault_protected(mm, vma, vpn, pte);
	return access == FAULT_ANY ? fault_present(mm, vpn, f) : fault_regained(mm, vma, vpn, pte, f);
}

int mm_peek(struct mm *mm, vpn_t vpn, void *page)
{
	struct machine *m = mm->machine;

	if (vma_find(&mm->vmas, vpn) == NULL)
		return -EFAULT;
	pte_t pte = pt_get(&mm->pt, vpn);

	if (pte_is_none(pte))
		return 0;
	if (pte_is_present(pte))
		return -EEXIST;
	if (pte_is_soft(pte)) {
		__builtin_memcpy(page, frame_home(&m->phys, pfn_frame(&m->phys, pte_pfn(pte))), PAGE_SIZE);
		return 1;
	}
	struct swap_read r = { .entry = pte_swp(pte), .page = page };

	swap_read(&m->swap, &r, 1, machine_lock, machine_unlock, m);
	return r.err == 0 ? 1 : r.err;
}
