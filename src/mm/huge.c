/*
 * Transparent huge pages: one entry of the level above the leaves maps a block of 2 MiB (Linux mm/huge_memory.c).
 *
 *      first write in an aligned range of an anonymous area with nothing in it, and a free block of order 9:
 *      one fault for 512 pages, one translation in the TLB, no leaf table
 *
 * To the lists such a page is one frame, the head, FRAME_HUGE, which counts for all. Whoever wants a part of it, an
 * munmap, an mprotect, fork, or reclaim, splits it first: the entry becomes a leaf of 512, the block 512 frames, which
 * go where the head is. Linux can do more without a split (fork, mprotect, swap by clusters); what that saves is time,
 * not memory.
 *
 * A page that was split stays so: there is no khugepaged here.
 */
#include <errno.h>

#include "base/assert.h"
#include "mm/fault.h"

bool fault_huge(struct mm *mm, struct vma *vma, vpn_t vpn, enum fault_access access)
{
	struct machine *m = mm->machine;
	uint64_t n = m->thp ? pt_huge_pages(&mm->pt) : 0;
	vpn_t start = { n != 0 ? ALIGN_DOWN(vpn.n, n) : 0 }, at;
	pte_t pte;

	if (n == 0 || start.n < vma->start.n || start.n + n > vma->end.n || machine_charged(m) + n > m->limit)
		return false;
	if (pt_next(&mm->pt, start, (vpn_t){ start.n + n }, &at, &pte))
		return false;
	struct frame *f = frame_alloc(&m->phys, m->local_node, FRAME_HUGE_ORDER, MIGRATE_MOVABLE, ALLOC_LOW);

	if (f == NULL)
		return false;
	if (pt_set_huge(&mm->pt, start, pte_present_make(frame_pfn(&m->phys, f), user_prot(vma, access) | PTE_HUGE)) != 0) {
		frame_free(&m->phys, f, FRAME_HUGE_ORDER);
		return false;
	}
	for (uint64_t i = 0; i < n; i++) {
		struct frame *page = f + i;

		m->ops->map(m, mm, (vpn_t){ start.n + i }, &page, 1, true);
	}
	f->user.mm = mm;
	f->user.vpn = start;
	f->swap = (swp_t){ 0 };
	f->flags = FRAME_AWAY | FRAME_HUGE;
	m->policy->arrive(m, lruvec_of(m, f), f, ARRIVE_NEW);
	mm->rss += n;
	m->charged += n;
	COUNT(m, pgminor);
	COUNT(m, thp_fault_alloc);
	STEP(m, PLACE, .mm = mm, .vpn = start, .pfn = frame_pfn(&m->phys, f), .list = f->list, .arg = n);
	return true;
}

int huge_split(struct machine *m, struct frame *f)
{
	struct lruvec *v = lruvec_of(m, f);
	struct mm *mm = f->user.mm;
	vpn_t vpn = f->user.vpn;
	bool listed = f->flags & FRAME_LRU;
	int err = pt_reserve(&mm->pt, vpn, (vpn_t){ vpn.n + 1 });

	if (err != 0)
		return err;
	if (listed)
		lru_del(v, f);
	uint16_t flags = f->flags & (uint16_t)~FRAME_HUGE;

	/* Each of them is as if it had just been handed out. */
	f->flags = 0;
	frame_split(&m->phys, f, FRAME_HUGE_ORDER);
	for (unsigned i = 0; i < 1u << FRAME_HUGE_ORDER; i++) {
		f[i].zone = f->zone;
		f[i].user.mm = mm;
		f[i].user.vpn = (vpn_t){ vpn.n + i };
		f[i].swap = (swp_t){ 0 };
		f[i].flags = flags;
		if (listed || i > 0)
			lru_add_tail(v, &f[i], lru_list_of(f));
	}
	/* The one translation that there was is not what the tables say any more. */
	m->ops->unmap(m, mm, vpn, &f, 1);
	COUNT(m, thp_split_page);
	return 0;
}

/* The head of the huge page at vpn. */
static struct frame *head_at(struct mm *mm, vpn_t vpn)
{
	struct frame *f = pfn_frame(&mm->machine->phys, pte_pfn(pt_get(&mm->pt, vpn)));

	return f - (vpn.n & (pt_huge_pages(&mm->pt) - 1));
}

/* The next huge page of [at, end), whose start *at becomes. */
static bool next_huge(struct mm *mm, vpn_t *at, vpn_t end)
{
	uint64_t n = pt_huge_pages(&mm->pt);
	pte_t pte;

	while (pt_next(&mm->pt, *at, end, at, &pte)) {
		if (pte.v & PTE_HUGE)
			return true;
		at->n = ALIGN_DOWN(at->n, n) + n;
	}
	return false;
}

int huge_split_range(struct mm *mm, vpn_t start, vpn_t end)
{
	vpn_t at = start;

	if (!mm->machine->thp)
		return 0;
	while (next_huge(mm, &at, end)) {
		int err = huge_split(mm->machine, head_at(mm, at));

		if (err != 0)
			return err;
	}
	return 0;
}

int huge_split_borders(struct mm *mm, vpn_t start, vpn_t end)
{
	const vpn_t border[] = { start, end };

	for (unsigned i = 0; mm->machine->thp && i < ARRAY_SIZE(border); i++) {
		int err = 0;

		if ((border[i].n & (pt_huge_pages(&mm->pt) - 1)) != 0 && pt_is_huge(&mm->pt, border[i]))
			err = huge_split(mm->machine, head_at(mm, border[i]));
		if (err != 0)
			return err;
	}
	return 0;
}

void huge_drop_range(struct mm *mm, vpn_t start, vpn_t end)
{
	struct machine *m = mm->machine;
	vpn_t at = start;

	while (m->thp && next_huge(mm, &at, end)) {
		uint64_t n = pt_huge_pages(&mm->pt);
		struct frame *f = head_at(mm, at);

		pt_set_huge(&mm->pt, at, pte_none());
		lru_del(lruvec_of(m, f), f);
		f->flags = 0;
		frame_free(&m->phys, f, FRAME_HUGE_ORDER);
		mm->rss -= n;
		m->charged -= n;
		at.n += n;
	}
}
