/*
 * Changes of the address space. The engine calls these after the fact: in the
 * live engine the host kernel has already mapped, unmapped or moved the pages,
 * and the manager follows. What can fail (a split needs a struct vma) is done
 * first, so that -ENOMEM changes nothing.
 */
#include <errno.h>

#include "base/assert.h"
#include "mm/user_page.h"

int mm_map(struct mm *mm, vpn_t start, vpn_t end, uint32_t vma_flags)
{
	return vma_insert(&mm->vmas, start, end, vma_flags, NULL, start.n) == NULL ? -ENOMEM : 0;
}

int mm_unmap(struct mm *mm, vpn_t start, vpn_t end)
{
	int err = vma_remove(&mm->vmas, start, end);

	if (err == 0)
		user_page_drop_range(mm, start, end);
	return err;
}

void mm_drop(struct mm *mm, vpn_t start, vpn_t end)
{
	user_page_drop_range(mm, start, end);
}

static void move_one(struct mm *mm, vpn_t from, vpn_t to)
{
	struct machine *m = mm->machine;
	pte_t pte = user_page_settled(mm, from);

	if (pte_is_none(pte))
		return;
	/* mm_move reserved the nodes. */
	int err = pt_set(&mm->pt, to, pte);
	ASSERT(err == 0);
	pt_set(&mm->pt, from, pte_none());
	if (!pte_is_swap(pte))
		pfn_frame(&m->phys, pte_pfn(pte))->user.vpn = to;
}

int mm_move(struct mm *mm, vpn_t from, vpn_t to, uint64_t n)
{
	vpn_t at = from, end = { from.n + n };
	pte_t pte;
	int err = pt_reserve(&mm->pt, to, (vpn_t){ to.n + n });

	if (err == 0)
		err = vma_move(&mm->vmas, from, to, n);
	if (err != 0)
		return err;
	for (; pt_next(&mm->pt, at, end, &at, &pte); at.n++)
		move_one(mm, at, (vpn_t){ to.n + (at.n - from.n) });
	return 0;
}
