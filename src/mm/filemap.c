/*
 * Pages of files.
 *
 *   fault, page cached ......... minor: mapped, with its cached neighbours around it (fault-around, 16 pages)
 *   fault, page not cached ..... major: read with what read-ahead says (filera.c), then as above
 *   write to a private mapping . the page is copied and is anonymous memory from then on
 *   write to a shared mapping .. the page is dirty: it can be written by whoever has it mapped so
 *   read(2), write(2) .......... through the cache, nothing is mapped
 *
 * A page of a file has one reference from the cache and one from each entry that maps it. Nobody may write through an
 * entry to a clean page: the first write is a fault (page_mkwrite), which makes it dirty; write-back takes the right
 * away again.
 *
 * Reclaim drops clean pages and leaves dirty ones to the flusher, which it asks to hurry (m->flush_wanted): one write
 * of many pages in order costs the disk as much as one of a single page.
 */
#include "mm/filemap.h"

#include <errno.h>

#include "base/assert.h"
#include "mm/fault.h"
#include "mm/reclaim/reclaim.h"
#include "mm/shmem.h"

#define FAULT_AROUND 16 /* pages: Linux's fault_around_bytes */
#define NO_SHADOW (-1)

/* A page that somebody else had read before, and pays for: it is there and stays. */
static struct frame *cache_elsewhere(struct machine *m, struct vm_file *file, uint64_t pgoff)
{
	struct frame *f = frame_alloc(&m->phys, m->local_node, 0, MIGRATE_MOVABLE, ALLOC_LOW);
	int32_t shadow;

	if (f == NULL)
		return NULL;
	if (pagecache_add(file, pgoff, f, &shadow) != 0) {
		frame_free(&m->phys, f, 0);
		return NULL;
	}
	lru_add(lruvec_of(m, f), f, LRU_UNEVICTABLE);
	return f;
}

/* A frame for page pgoff, in the cache and on the lists. */
static struct frame *cache_page(struct machine *m, struct vm_file *file, uint64_t pgoff)
{
	int32_t shadow = NO_SHADOW;

	if (pagecache_elsewhere(file, pgoff))
		return cache_elsewhere(m, file, pgoff);
	struct frame *f = fault_frame(m);

	if (f == NULL)
		return NULL;
	if (pagecache_add(file, pgoff, f, &shadow) != 0) {
		frame_free(&m->phys, f, 0);
		return NULL;
	}
	struct lruvec *v = lruvec_of(m, f);
	bool hot = shadow != NO_SHADOW && workingset_hot(m, v, workingset_file_distance(v, (uint16_t)shadow), true);

	m->ops->file_fill(m, f);
	m->charged++;
	m->policy->arrive(m, v, f, hot ? ARRIVE_REFAULT : ARRIVE_NEW);
	COUNT_N(m, workingset_refault, shadow != NO_SHADOW);
	COUNT_N(m, workingset_activate, hot);
	return f;
}

/* Frames for what of the plan is not cached, as far as there are any. Returns how many. */
static unsigned cache_window(struct machine *m, struct vm_file *file, const struct filera_plan *plan)
{
	unsigned n = 0;

	for (uint64_t p = plan->start; p < plan->start + plan->n; p++) {
		if (pagecache_get(file, p) != NULL)
			continue;
		struct frame *f = cache_page(m, file, p);

		if (f == NULL)
			break;
		if (p == plan->mark)
			f->flags |= FRAME_READAHEAD;
		n++;
	}
	return n;
}

static void count_read(struct machine *m, unsigned n)
{
	COUNT_N(m, pgfilein, n);
	STEP(m, FILE_READ, .arg = n);
}

/* Reads what of the plan is not cached, as far as there are frames; the page `needed` first. False: no frame for it. */
static bool carry_out(struct machine *m, struct vm_file *file, const struct filera_plan *plan, uint64_t needed)
{
	unsigned n = 0;

	if (pagecache_get(file, needed) == NULL) {
		if (cache_page(m, file, needed) == NULL)
			return false;
		n++;
	}
	n += cache_window(m, file, plan);
	if (n > 0 && !pagecache_elsewhere(file, needed))
		m->ops->file_read(m, file, plan->n > 0 ? plan->start : needed, n);
	count_read(m, n);
	return true;
}

/* The window after the one that is being used: nobody waits for it. */
static void read_on(struct machine *m, struct vm_file *file, const struct filera_plan *plan)
{
	unsigned n = cache_window(m, file, plan);

	if (n > 0 && !pagecache_elsewhere(file, plan->start))
		m->ops->file_read_ahead(m, file, plan->start, n);
	count_read(m, n);
}

/* Present, without the right to write: a shared mapping gets it with the first write, unless there is no disk to hear of it. */
static int map_page(struct mm *mm, const struct vma *vma, vpn_t vpn, struct frame *f, uint64_t prot)
{
	struct machine *m = mm->machine;
	bool writable = (vma->flags & VMA_SHARED) && vma->file->swap_backed;
	int err = pt_set(&mm->pt, vpn, pte_present_make(frame_pfn(&m->phys, f), prot & ~(writable ? 0 : PTE_WRITE)));

	if (err != 0)
		return err;
	f->refs++;
	mm->rss_file++;
	STEP(m, MAP_FILE, .mm = mm, .vpn = vpn, .pfn = frame_pfn(&m->phys, f), .list = f->list);
	return 0;
}

static bool is_unmapped(const struct frame *f)
{
	return (f->flags & FRAME_LRU) && (lru_list_of(f) == LRU_SAMPLE || lru_list_of(f) == LRU_REFUSED);
}

/* A cached page is touched: minor, unless it was taken away to see whether it would be. */
static void touched(struct machine *m, struct frame *f)
{
	struct lruvec *v = lruvec_of(m, f);

	if (!is_unmapped(f)) {
		COUNT(m, pgminor);
		return;
	}
	lru_del(v, f);
	m->policy->arrive(m, v, f, ARRIVE_SOFT);
	v->age++;
	COUNT(m, pgsoft);
	COUNT(m, pgactivate);
}

/* The neighbours that are cached are mapped as well; it is no use of them. */
static void fault_around(struct mm *mm, struct vma *vma, vpn_t vpn)
{
	struct machine *m = mm->machine;
	uint64_t lo = MAX(vma->start.n, ALIGN_DOWN(vpn.n, FAULT_AROUND));
	uint64_t hi = MIN(vma->end.n, ALIGN_DOWN(vpn.n, FAULT_AROUND) + FAULT_AROUND);
	uint32_t n = 0;

	for (uint64_t at = lo; at < hi; at++) {
		struct frame *f = at == vpn.n ? NULL : pagecache_get(vma->file, vma_pgoff(vma, (vpn_t){ at }));

		if (f == NULL || (f->flags & FRAME_LOCKED) || is_unmapped(f) || !pte_is_none(pt_get(&mm->pt, (vpn_t){ at })))
			continue;
		if (map_page(mm, vma, (vpn_t){ at }, f, user_prot(vma, FAULT_READ) & ~PTE_ACCESSED) != 0)
			break;
		n++;
	}
	if (n > 0)
		filera_around(&vma->file->ra, n);
	COUNT_N(m, pgaround, n);
}

static enum fault_result cached(struct mm *mm, struct vma *vma, vpn_t vpn, struct frame *f, enum fault_access access)
{
	if (access == FAULT_WRITE && !(vma->flags & VMA_SHARED))
		return fault_copy(mm, vma, vpn, f);
	if (map_page(mm, vma, vpn, f, user_prot(vma, access) & ~PTE_DIRTY) != 0)
		return FAULT_NOMEM;
	if (access == FAULT_WRITE && !(pt_get(&mm->pt, vpn).v & PTE_WRITE))
		return fault_protected(mm, vma, vpn, pt_get(&mm->pt, vpn));
	fault_around(mm, vma, vpn);
	return FAULT_DONE;
}

enum fault_result fault_file(struct mm *mm, struct vma *vma, vpn_t vpn, enum fault_access access,
			     struct fault_report *report)
{
	struct machine *m = mm->machine;
	struct vm_file *file = vma->file;
	uint64_t pgoff = vma_pgoff(vma, vpn);
	struct filera_plan plan;

	if (pgoff >= file->size_pages)
		return FAULT_INVALID;
	struct frame *f;

	if (file->swap_backed) {
		enum fault_result r = FAULT_DONE;

		f = pagecache_get(file, pgoff);
		if (f != NULL)
			touched(m, f);
		else
			r = shmem_page(m, file, pgoff, &f, report);
		return r == FAULT_DONE ? cached(mm, vma, vpn, f, access) : r;
	}
	f = pagecache_get(file, pgoff);
	if (f != NULL) {
		filera_fault_cached(&file->ra, file, pgoff, FILERA_NORMAL, &plan);
		if (plan.n > 0)
			read_on(m, file, &plan);
		touched(m, f);
		return cached(mm, vma, vpn, f, access);
	}
	filera_fault(&file->ra, file, pgoff, FILERA_NORMAL, &plan);
	if (!carry_out(m, file, &plan, pgoff))
		return FAULT_NOMEM;
	bool major = !pagecache_elsewhere(file, pgoff);

	COUNT_N(m, pgmajfault, major);
	COUNT_N(m, pgminor, !major);
	if (report != NULL)
		report->major = major;
	return cached(mm, vma, vpn, pagecache_get(file, pgoff), access);
}

/* folio_mark_accessed: used once, then twice, then it is the list's to say. */
static void mark_used(struct machine *m, struct frame *f)
{
	struct lruvec *v = lruvec_of(m, f);

	if (!(f->flags & FRAME_REFERENCED)) {
		f->flags |= FRAME_REFERENCED;
		return;
	}
	f->flags &= (uint16_t)~FRAME_REFERENCED;
	if (!(f->flags & FRAME_LRU) || lru_list_of(f) == LRU_ACTIVE_FILE || lru_list_of(f) == LRU_UNEVICTABLE)
		return;
	lru_del(v, f);
	m->policy->arrive(m, v, f, ARRIVE_SOFT);
	COUNT(m, pgactivate);
}

enum fault_result file_access(struct machine *m, struct vm_file *file, uint64_t pgoff, uint64_t n, bool write,
			      uint64_t *done)
{
	struct filera_plan plan;

	for (*done = 0; *done < n; ++*done) {
		uint64_t p = pgoff + *done;
		struct frame *f = pagecache_get(file, p);

		if (!write) {
			filera_read(&file->ra, file, p, n - *done, FILERA_NORMAL, &plan);
			if (f == NULL && !carry_out(m, file, &plan, p))
				return FAULT_NOMEM;
			if (f != NULL && plan.n > 0)
				read_on(m, file, &plan);
		} else if (f == NULL && cache_page(m, file, p) == NULL) {
			/* A page that is written as a whole need not be read. */
			return FAULT_NOMEM;
		}
		f = pagecache_get(file, p);
		if (f == NULL)
			return FAULT_NOMEM;
		mark_used(m, f);
		if (write)
			pagecache_set_dirty(f);
	}
	return FAULT_DONE;
}

/* Nobody may write to it unseen while it is being written. */
static void write_protect(struct machine *m, struct frame *f)
{
	uint64_t pgoff = f->cache.pgoff;
	struct rmap *r = &f->cache.file->rmap;

	for (struct vma *vma = rmap_first(r, pgoff); vma != NULL; vma = rmap_next(r, vma, pgoff)) {
		vpn_t vpn = vma_vpn(vma, pgoff);
		pte_t pte = pt_get(&vma->mm->pt, vpn);

		if (!pte_is_present(pte) || pte_pfn(pte).n != frame_pfn(&m->phys, f).n || !(pte.v & PTE_WRITE))
			continue;
		pt_set(&vma->mm->pt, vpn, (pte_t){ pte.v & ~(PTE_WRITE | PTE_DIRTY) });
		m->ops->unmap(m, vma->mm, vpn, &f, 1);
	}
}

/* From `from` on, up to n pages in order. */
static unsigned flush_file(struct machine *m, struct vm_file *file, unsigned n)
{
	unsigned done = 0;
	uint64_t at = 0;

	while (done < n) {
		struct frame *f = pagecache_next_tagged(file, at, UINT64_MAX, PAGECACHE_DIRTY);
		uint64_t first;
		unsigned run = 0;

		if (f == NULL)
			break;
		first = at = f->cache.pgoff;
		while (f != NULL && f->cache.pgoff == at && done + run < n) {
			write_protect(m, f);
			pagecache_start_writeback(f);
			pagecache_end_writeback(f);
			run++;
			at++;
			f = pagecache_next_tagged(file, at, at, PAGECACHE_DIRTY);
		}
		m->ops->file_write(m, file, first, run);
		COUNT_N(m, pgfileout, run);
		done += run;
	}
	return done;
}

unsigned file_flush(struct machine *m, struct vm_file *file, unsigned n)
{
	unsigned done = 0;

	if (file != NULL)
		return flush_file(m, file, n);
	while (done < n && (file = TAILQ_FIRST(&m->pagecache.dirty)) != NULL)
		done += flush_file(m, file, n - done);
	return done;
}

static void drop_page(void *ctx, struct frame *f)
{
	struct machine *m = ctx;

	lru_del(lruvec_of(m, f), f);
	m->charged += pagecache_elsewhere(f->cache.file, f->cache.pgoff);
	user_page_free(m, f);
}

void file_resize(struct machine *m, struct vm_file *file, uint64_t pages)
{
	struct vma *vma;

	for (vma = rmap_first_in(&file->rmap, pages, UINT64_MAX); vma != NULL;
	     vma = rmap_next_in(&file->rmap, vma, pages, UINT64_MAX)) {
		uint64_t from = MAX(pages, vma->pgoff);

		user_page_drop_range(vma->mm, vma_vpn(vma, from), vma->end);
		for (vpn_t at = vma_vpn(vma, from); at.n < vma->end.n; at.n++)
			m->ops->unmap(m, vma->mm, at, NULL, 1);
	}
	pagecache_truncate(file, pages, drop_page, m);
	/* What is written behind it later is new, and the writer pays. */
	file->pages_elsewhere = MIN(file->pages_elsewhere, pages);
}

unsigned file_evict(struct machine *m, struct frame **frames, unsigned n)
{
	unsigned freed = 0;

	for (unsigned i = 0; i < n; i++) {
		struct frame *f = frames[i];

		if (!(f->flags & FRAME_DIRTY) && user_page_unmap(m, f))
			pagecache_set_dirty(f);
		if (f->flags & (FRAME_DIRTY | FRAME_WRITEBACK)) {
			m->flush_wanted = true;
			m->policy->arrive(m, lruvec_of(m, f), f, ARRIVE_BACK);
			STEP(m, DIRTY, .pfn = frame_pfn(&m->phys, f), .list = f->list, .arg = f->cache.pgoff);
			continue;
		}
		STEP(m, DROP, .pfn = frame_pfn(&m->phys, f), .arg = f->cache.pgoff);
		pagecache_evict(f, workingset_file_shadow(lruvec_of(m, f)));
		user_page_free(m, f);
		freed++;
	}
	return freed;
}
