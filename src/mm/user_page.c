#include "mm/user_page.h"

#include "base/assert.h"
#include "mm/huge.h"
#include "mm/reclaim/reclaim.h"

/* What a page gets that somebody else has mapped, or whose access is not known. */
#define PROT_ALL (PTE_USER | PTE_WRITE)

uint64_t user_prot(const struct vma *vma, enum fault_access access)
{
	if (access == FAULT_ANY)
		return PROT_ALL;
	return PTE_USER | PTE_ACCESSED | (vma->flags & VMA_WRITE ? PTE_WRITE : 0) | (vma->flags & VMA_EXEC ? 0 : PTE_NX) |
	       (access == FAULT_WRITE ? PTE_DIRTY : 0);
}

int user_page_add(struct mm *mm, vpn_t vpn, struct frame *f, uint64_t prot, enum lru_arrival how)
{
	struct machine *m = mm->machine;
	int err = pt_set(&mm->pt, vpn, pte_present_make(frame_pfn(&m->phys, f), prot));

	if (err != 0)
		return err;
	f->user.mm = mm;
	f->user.vpn = vpn;
	f->swap = (swp_t){ 0 };
	f->flags = (f->flags & FRAME_WORKINGSET) | FRAME_AWAY;
	m->policy->arrive(m, lruvec_of(m, f), f, how);
	mm->rss++;
	m->charged++;
	STEP(m, PLACE, .mm = mm, .vpn = vpn, .pfn = frame_pfn(&m->phys, f), .list = f->list, .arg = 1);
	return 0;
}

void user_page_add_soft(struct mm *mm, vpn_t vpn, struct frame *f)
{
	struct machine *m = mm->machine;

	/* Replaces an entry: cannot fail. */
	pt_set(&mm->pt, vpn, pte_soft_make(frame_pfn(&m->phys, f)));
	f->user.mm = mm;
	f->user.vpn = vpn;
	f->swap = (swp_t){ 0 };
	f->flags = (f->flags & FRAME_WORKINGSET) | FRAME_READAHEAD;
	if (machine_has_accessed(m))
		m->policy->arrive(m, lruvec_of(m, f), f, ARRIVE_NEW);
	else
		lru_add(lruvec_of(m, f), f, LRU_SAMPLE);
	mm->rss++;
	m->charged++;
}

/* A frame that fork shared holds a reference to the family of its areas. */
static void family_put(struct frame *f)
{
	if (f->flags & FRAME_SHARED)
		rmap_put(f->shared.family);
	f->flags &= (uint16_t)~FRAME_SHARED;
}

void user_page_free(struct machine *m, struct frame *f)
{
	family_put(f);
	ASSERT(!(f->flags & (FRAME_LRU | FRAME_LOCKED)));
	if (!swp_none(f->swap))
		swap_uncache(&m->swap, f->swap);
	f->flags = 0;
	m->charged--;
	frame_free(&m->phys, f, 0);
}

/* One entry that names a frame; a huge one if that is the head of a huge page. */
struct mapper {
	struct mm *mm;
	vpn_t vpn;
	pte_t *entry;
};

typedef void see_mapper(struct machine *m, struct frame *f, const struct mapper *at, void *ctx);

/* Calls see() for every entry that names the frame of a shared or a file's page. see() may change the entry. */
static void each_of_many(struct machine *m, struct frame *f, see_mapper *see, void *ctx)
{
	pfn_t pfn = frame_pfn(&m->phys, f);
	bool file = f->flags & FRAME_FILE;
	uint64_t pgoff = file ? f->cache.pgoff : f->shared.pgoff;
	struct rmap *r = file ? &f->cache.file->rmap : f->shared.family;

	for (struct vma *vma = rmap_first(r, pgoff); vma != NULL; vma = rmap_next(r, vma, pgoff)) {
		struct mapper at = { .mm = vma->mm, .vpn = vma_vpn(vma, pgoff) };

		at.entry = pt_find(&at.mm->pt, at.vpn);
		if (at.entry != NULL && !(at.entry->v & PTE_HUGE) && (pte_is_present(*at.entry) || pte_is_soft(*at.entry)) &&
		    pte_pfn(*at.entry).n == pfn.n)
			see(m, f, &at, ctx);
	}
}

/* The same for any user page. */
static inline __attribute__((always_inline)) void each_mapper(struct machine *m, struct frame *f, see_mapper *see, void *ctx)
{
	if (unlikely(f->flags & (FRAME_SHARED | FRAME_FILE))) {
		each_of_many(m, f, see, ctx);
		return;
	}
	struct mapper at = { f->user.mm, f->user.vpn, pt_find(&f->user.mm->pt, f->user.vpn) };

	see(m, f, &at, ctx);
}

static void see_referenced(struct machine *m, struct frame *f, const struct mapper *at, void *ctx)
{
	unsigned *n = ctx;

	(void)f;
	*n += pte_is_accessed(*at->entry) && m->ops->test_and_clear_accessed(m, at->mm, at->vpn, at->entry);
}

unsigned frame_referenced(struct machine *m, struct frame *f)
{
	unsigned n = 0;

	if (machine_has_accessed(m))
		each_mapper(m, f, see_referenced, &n);
	return n;
}

void frames_prefetch(struct machine *m, const struct frame *f, unsigned n)
{
	if (!machine_has_accessed(m))
		return;
	for (unsigned i = 0; i < n && f != NULL; i++, f = TAILQ_PREV(f, frame_list, link))
		if (!(f->flags & (FRAME_SHARED | FRAME_FILE)))
			pt_prefetch(&f->user.mm->pt, f->user.vpn);
}

bool frame_executable(const struct frame *f)
{
	return (f->flags & FRAME_FILE) && f->cache.file->executable;
}

static void see_mlocked(struct machine *m, struct frame *f, const struct mapper *at, void *ctx)
{
	const struct vma *vma = vma_find(&at->mm->vmas, at->vpn);

	(void)m;
	(void)f;
	*(bool *)ctx |= vma != NULL && (vma->flags & VMA_LOCKED);
}

bool user_page_mlocked(struct machine *m, struct frame *f)
{
	bool locked = false;

	if (m->mlocked)
		each_mapper(m, f, see_mlocked, &locked);
	return locked;
}

static void see_unmap(struct machine *m, struct frame *f, const struct mapper *at, void *ctx)
{
	bool *dirty = ctx;
	pte_t pte = *at->entry;

	if (!pte_is_present(pte))
		return;
	m->ops->unmap(m, at->mm, at->vpn, &f, 1);
	*dirty |= (pte.v & PTE_DIRTY) != 0;
	if (f->flags & FRAME_FILE) {
		pt_set(&at->mm->pt, at->vpn, pte_none());
		at->mm->rss_file--;
		f->refs--;
	} else {
		*at->entry = pte_soft_make(pte_pfn(pte));
	}
}

bool user_page_unmap(struct machine *m, struct frame *f)
{
	bool dirty = false;

	each_mapper(m, f, see_unmap, &dirty);
	f->flags &= (uint16_t)~FRAME_AWAY;
	/* The copy is of no use; and the next time there is no entry that says so. */
	if (dirty && !(f->flags & FRAME_FILE) && !swp_none(f->swap)) {
		swap_uncache(&m->swap, f->swap);
		f->swap = (swp_t){ 0 };
	}
	return dirty;
}

static void see_to_swap(struct machine *m, struct frame *f, const struct mapper *at, void *ctx)
{
	swp_t entry = *(swp_t *)ctx;

	*at->entry = pte_swap_make(entry);
	at->mm->rss--;
	at->mm->swapents++;
	if (f->refs > 1) {
		f->refs--;
		ASSERT(swap_dup(&m->swap, entry));
	}
}

void user_page_to_swap(struct machine *m, struct frame *f, swp_t entry)
{
	each_mapper(m, f, see_to_swap, &entry);
	DEBUG_ASSERT(f->refs == 1);
}

/* What the frame holds, but for its place on a list. */
static void settle_in(struct machine *m, struct frame *f, const struct frame *page)
{
	f->flags = page->flags;
	f->list = page->list;
	f->score = page->score;
	f->user = page->user;
	f->swap = page->swap;
	/* Replaces an entry: cannot fail. */
	pt_set(&f->user.mm->pt, f->user.vpn, pte_present_make(frame_pfn(&m->phys, f), PROT_ALL));
}

void user_page_exchange(struct machine *m, struct frame *a, struct frame *b)
{
	const struct frame page_a = *a, page_b = *b;

	DEBUG_ASSERT((a->flags & b->flags & FRAME_AWAY) && a->refs == 1 && b->refs == 1);
	DEBUG_ASSERT((a->flags & (FRAME_LOCKED | FRAME_LRU)) == FRAME_LOCKED);
	DEBUG_ASSERT(!(b->flags & FRAME_LOCKED) == !!(b->flags & FRAME_LRU));
	if (b->flags & FRAME_LRU)
		lru_replace(lruvec_of(m, b), b, a);
	settle_in(m, a, &page_b);
	settle_in(m, b, &page_a);
}

void user_page_unlock(struct machine *m, struct frame *f)
{
	bool waited = f->flags & FRAME_WAITED;

	f->flags &= (uint16_t)~(FRAME_LOCKED | FRAME_WAITED);
	if (waited)
		m->ops->wake(m, f->user.mm, f->user.vpn);
}

pte_t user_page_settled(struct mm *mm, vpn_t vpn)
{
	struct machine *m = mm->machine;

	for (;;) {
		pte_t pte = pt_get(&mm->pt, vpn);

		if (!pte_is_present(pte) && !pte_is_soft(pte))
			return pte;
		if (!(pfn_frame(&m->phys, pte_pfn(pte))->flags & FRAME_LOCKED))
			return pte;
		m->ops->relax(m);
	}
}

static void drop_one(struct mm *mm, vpn_t vpn)
{
	struct machine *m = mm->machine;
	pte_t pte = user_page_settled(mm, vpn);

	if (pte_is_none(pte))
		return;
	pt_set(&mm->pt, vpn, pte_none());
	if (pte_is_swap(pte)) {
		swap_put(&m->swap, pte_swp(pte));
		mm->swapents--;
		return;
	}
	struct frame *f = pfn_frame(&m->phys, pte_pfn(pte));

	if (f == m->zero)
		return;
	if (f->flags & FRAME_FILE) {
		mm->rss_file--;
		f->refs--;
		if (pte.v & PTE_DIRTY)
			pagecache_set_dirty(f);
		return;
	}
	mm->rss--;
	if (f->refs > 1) {
		f->refs--;
		return;
	}
	lru_del(lruvec_of(m, f), f);
	user_page_free(m, f);
}

void user_page_drop_range(struct mm *mm, vpn_t start, vpn_t end)
{
	vpn_t at = start;
	pte_t pte;

	huge_drop_range(mm, start, end);
	for (; pt_next(&mm->pt, at, end, &at, &pte); at.n++)
		drop_one(mm, at);
}
