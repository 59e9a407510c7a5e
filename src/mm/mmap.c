/*
 * Changes of the address space. The engine calls these after the fact: in the
 * live engine the host kernel has already mapped, unmapped or moved the pages,
 * and the manager follows. What can fail (a split needs a struct vma) is done
 * first, so that -ENOMEM changes nothing.
 */
#include <errno.h>

#include "mm/huge.h"
#include "mm/user_page.h"

int mm_map(struct mm *mm, vpn_t start, vpn_t end, uint32_t vma_flags, struct vm_file *file, uint64_t pgoff)
{
	mm->machine->mlocked |= (vma_flags & VMA_LOCKED) != 0;
	if (file == NULL)
		pgoff = start.n;
	else if (vma_flags & VMA_EXEC)
		file->executable = true;
	return vma_insert(&mm->vmas, start, end, vma_flags, file, pgoff) == NULL ? -ENOMEM : 0;
}

int mm_protect(struct mm *mm, vpn_t start, vpn_t end, uint32_t rights)
{
	const uint32_t all = VMA_READ | VMA_WRITE | VMA_EXEC;
	int err = huge_split_range(mm, start, end);

	if (err == 0)
		err = vma_change(&mm->vmas, start, end, rights, all & ~rights);
	vpn_t at = start;
	pte_t pte;

	/* Rights that are lost are lost at once; what is gained, the next fault grants. */
	for (; err == 0 && pt_next(&mm->pt, at, end, &at, &pte); at.n++) {
		if (!pte_is_present(pte))
			continue;
		uint64_t v = (pte.v & ~(rights & VMA_WRITE ? 0 : PTE_WRITE)) | (rights & VMA_EXEC ? 0 : PTE_NX);

		/* PROT_NONE: still there, but no touch may find it. */
		if (!(rights & VMA_READ))
			v &= ~PTE_USER;
		pt_set(&mm->pt, at, (pte_t){ v });
	}
	return err;
}

int mm_unmap(struct mm *mm, vpn_t start, vpn_t end)
{
	int err = huge_split_borders(mm, start, end);

	if (err == 0)
		err = vma_remove(&mm->vmas, start, end);
	if (err == 0)
		user_page_drop_range(mm, start, end);
	return err;
}

int mm_drop(struct mm *mm, vpn_t start, vpn_t end)
{
	int err = huge_split_borders(mm, start, end);

	if (err == 0)
		user_page_drop_range(mm, start, end);
	return err;
}

/*
 * Makes sure that the entries of [from, end) have leaves at their new place, or
 * (reserve false) gives those back that were made for it. An area may be huge
 * and its pages few, so leaves are made for the pages that there are.
 */
static int move_leaves(struct mm *mm, vpn_t from, vpn_t end, uint64_t offset, bool reserve)
{
	vpn_t at = from;
	pte_t pte;

	while (pt_next(&mm->pt, at, end, &at, &pte)) {
		vpn_t to = { at.n + offset };
		uint64_t next = ((to.n >> mm->pt.width[0]) + 1) << mm->pt.width[0];
		int err = reserve ? pt_reserve(&mm->pt, to, (vpn_t){ to.n + 1 }) : pt_set(&mm->pt, to, pte_none());

		if (err != 0) {
			move_leaves(mm, from, at, offset, false);
			return err;
		}
		at.n = next - offset;
	}
	return 0;
}

/*
 * mm_move reserved the leaf of `to`. It can be gone only if it is also the leaf
 * of pages that were discarded while we waited for them: then a frame and a
 * leaf were freed a moment ago, and reclaim is freeing more.
 */
static void move_one(struct mm *mm, vpn_t from, vpn_t to)
{
	struct machine *m = mm->machine;
	pte_t pte = user_page_settled(mm, from);

	while (!pte_is_none(pte) && pt_set(&mm->pt, to, pte) != 0) {
		m->ops->relax(m);
		pte = user_page_settled(mm, from);
	}
	if (pte_is_none(pte))
		return;
	pt_set(&mm->pt, from, pte_none());
	if (pte_is_swap(pte))
		return;
	struct frame *f = pfn_frame(&m->phys, pte_pfn(pte));

	/* A frame that several entries may name knows none of them. */
	if (f != m->zero && !(f->flags & (FRAME_FILE | FRAME_SHARED)))
		f->user.vpn = to;
}

int mm_move(struct mm *mm, vpn_t from, vpn_t to, uint64_t n)
{
	vpn_t at = from, end = { from.n + n };
	uint64_t offset = to.n - from.n;
	pte_t pte;
	int err = huge_split_range(mm, from, end);

	if (err == 0)
		err = move_leaves(mm, from, end, offset, true);
	if (err != 0)
		return err;
	err = vma_move(&mm->vmas, from, to, n);
	if (err != 0) {
		move_leaves(mm, from, end, offset, false);
		return err;
	}
	for (; pt_next(&mm->pt, at, end, &at, &pte); at.n++)
		move_one(mm, at, (vpn_t){ at.n + offset });
	return 0;
}
