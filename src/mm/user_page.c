#include "mm/user_page.h"

#include "base/assert.h"
#include "mm/reclaim/reclaim.h"

int user_page_add(struct mm *mm, vpn_t vpn, struct frame *f, enum lru_arrival how)
{
	struct machine *m = mm->machine;
	int err = pt_set(&mm->pt, vpn, pte_present_make(frame_pfn(&m->phys, f), PTE_USER | PTE_WRITE));

	if (err != 0)
		return err;
	f->user.mm = mm;
	f->user.vpn = vpn;
	f->swap = (swp_t){ 0 };
	f->flags = FRAME_AWAY;
	m->policy->arrive(m, lruvec_of(m, f), f, how);
	mm->rss++;
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
	f->flags = FRAME_READAHEAD;
	lru_add(lruvec_of(m, f), f, LRU_SAMPLE);
	mm->rss++;
}

void user_page_free(struct machine *m, struct frame *f)
{
	ASSERT(!(f->flags & (FRAME_LRU | FRAME_LOCKED)));
	if (!swp_none(f->swap))
		swap_uncache(&m->swap, f->swap);
	f->flags = 0;
	frame_free(&m->phys, f, 0);
}

unsigned frame_referenced(struct machine *m, struct frame *f)
{
	if (m->ops->test_and_clear_accessed == NULL)
		return 0;
	return m->ops->test_and_clear_accessed(m, f->user.mm, f->user.vpn);
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
	pt_set(&f->user.mm->pt, f->user.vpn, pte_present_make(frame_pfn(&m->phys, f), PTE_USER | PTE_WRITE));
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

	lru_del(lruvec_of(m, f), f);
	user_page_free(m, f);
	mm->rss--;
}

void user_page_drop_range(struct mm *mm, vpn_t start, vpn_t end)
{
	vpn_t at = start;
	pte_t pte;

	for (; pt_next(&mm->pt, at, end, &at, &pte); at.n++)
		drop_one(mm, at);
}
