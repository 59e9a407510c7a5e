/*
 * fork and copy on write (Linux mm/memory.c copy_page_range, do_wp_page).
 *
 *      parent's entry                   child's entry
 *      none                             none
 *      swap                             the same slot, one use more
 *      page of a private area           the same frame, one mapping more; neither may write to it
 *      page of a file, shared area      none: a fault finds it in the page cache
 *
 * A frame that is shared cannot name the one page that maps it; instead it names the family of areas that came from
 * one another by fork (rmap.c), in which reclaim looks for its pages. The family is made when an area is first
 * copied. Whoever writes gets a frame of their own, unless they are the last who has it.
 */
#include <errno.h>

#include "base/assert.h"
#include "mm/fault.h"

static int share_page(struct mm *parent, struct mm *child, struct vma *vma, vpn_t vpn, pte_t pte)
{
	struct machine *m = parent->machine;

	if (pte_is_swap(pte)) {
		int err = pt_set(&child->pt, vpn, pte);

		if (err != 0)
			return err;
		if (!swap_dup(&m->swap, pte_swp(pte))) {
			pt_set(&child->pt, vpn, pte_none());
			return -ENOMEM;
		}
		child->swapents++;
		return 0;
	}
	struct frame *f = pfn_frame(&m->phys, pte_pfn(pte));

	if (f->flags & FRAME_FILE)
		return 0;
	pte_t readable = { pte.v & ~PTE_WRITE };
	int err = pt_set(&child->pt, vpn, readable);

	if (err != 0)
		return err;
	pt_set(&parent->pt, vpn, readable);
	if (f == m->zero)
		return 0;
	if (!(f->flags & FRAME_SHARED)) {
		f->flags |= FRAME_SHARED;
		f->shared.family = rmap_get(vma->anon);
		f->shared.pgoff = vma_pgoff(vma, vpn);
	}
	f->refs++;
	child->rss++;
	return 0;
}

/* The area with all that it has. */
static int copy_area(struct mm *parent, struct mm *child, struct vma *vma)
{
	bool shared = vma->flags & VMA_SHARED;
	int err = shared ? 0 : huge_split_range(parent, vma->start, vma->end);
	vpn_t at = vma->start;
	pte_t pte;

	if (err == 0 && !shared)
		err = vma_share(vma, &parent->machine->rmap_cache);
	if (err == 0 && vma_copy(&child->vmas, vma) == NULL)
		err = -ENOMEM;
	for (; err == 0 && !shared && pt_next(&parent->pt, at, vma->end, &at, &pte); at.n++)
		err = share_page(parent, child, vma, at, pte);
	return err;
}

int mm_fork(struct mm *parent, struct mm *child)
{
	struct vma *vma;
	int err = 0;

	child->no_zero = parent->no_zero;
	TAILQ_FOREACH(vma, &parent->vmas.list, link) {
		err = copy_area(parent, child, vma);
		if (err != 0)
			break;
	}
	return err;
}

/* The last one who has it keeps it: no family is needed any more. */
static void reuse(struct mm *mm, vpn_t vpn, struct frame *f)
{
	if (!(f->flags & FRAME_SHARED))
		return;
	rmap_put(f->shared.family);
	f->flags &= (uint16_t)~FRAME_SHARED;
	f->user.mm = mm;
	f->user.vpn = vpn;
}

enum fault_result fault_copy(struct mm *mm, const struct vma *vma, vpn_t vpn, struct frame *f)
{
	struct machine *m = mm->machine;
	bool mapped = pte_is_present(pt_get(&mm->pt, vpn));
	struct frame *own = fault_frame(m);

	if (own == NULL)
		return FAULT_NOMEM;
	if (pt_reserve(&mm->pt, vpn, (vpn_t){ vpn.n + 1 }) != 0) {
		frame_free(&m->phys, own, 0);
		return FAULT_NOMEM;
	}
	m->ops->copy(m, own, f == m->zero ? NULL : f);
	if (mapped)
		m->ops->unmap(m, mm, vpn, &own, 1);
	if (mapped && f != m->zero) {
		f->refs--;
		if (f->flags & FRAME_FILE)
			mm->rss_file--;
		else
			mm->rss--;
	}
	user_page_add(mm, vpn, own, user_prot(vma, FAULT_WRITE), ARRIVE_NEW);
	COUNT(m, pgcow);
	STEP(m, COPY, .mm = mm, .vpn = vpn, .pfn = frame_pfn(&m->phys, own), .arg = frame_pfn(&m->phys, f).n);
	return FAULT_DONE;
}

enum fault_result fault_protected(struct mm *mm, struct vma *vma, vpn_t vpn, pte_t pte)
{
	struct machine *m = mm->machine;
	struct frame *f = pfn_frame(&m->phys, pte_pfn(pte));
	bool last = f != m->zero && !(f->flags & FRAME_FILE) && f->refs == 1;

	if (!last && !(vma->flags & VMA_SHARED))
		return fault_copy(mm, vma, vpn, f);
	if (last)
		reuse(mm, vpn, f);
	if (f->flags & FRAME_FILE)
		pagecache_set_dirty(f);
	pt_set(&mm->pt, vpn, pte_present_make(pte_pfn(pte), user_prot(vma, FAULT_WRITE)));
	m->ops->unmap(m, mm, vpn, &f, 1);
	COUNT(m, pgreuse);
	STEP(m, REUSE, .mm = mm, .vpn = vpn, .pfn = pte_pfn(pte));
	return FAULT_DONE;
}
