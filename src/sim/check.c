/*
 * The laws of a modelled machine as a whole, which no single structure can know: what page tables, page cache and swap
 * say of each other. Linear in the machine.
 *
 *      frame's refs   = entries that name it + 1 if the page cache does
 *      slot's uses    = entries that name it, in page tables and in files without a disk
 *      charged frames = those on the lists
 *      a TLB          names no frame that its page table does not
 */
#include "sim/engine.h"

#include <stdlib.h>

#include "base/assert.h"

#define SLOTS_SEEN 65536 /* of each area */

struct seen {
	uint32_t *frame, *slot;
};

static void see_slot(const struct seen *seen, swp_t entry)
{
	if (swp_slot(entry) < SLOTS_SEEN)
		seen->slot[swp_area(entry) * SLOTS_SEEN + swp_slot(entry)]++;
}

/* The TLBs may know less than the tables, and never more. */
static void check_tlbs(struct sim *s, struct sim_task *t, vpn_t vpn, pte_t pte)
{
	for (unsigned i = 0; i < s->config.cpus; i++)
		if (t->cpus & UINT64_C(1) << i)
			ASSERT(pte_is_present(pte) || !mmu_holds(s->cpu[i].mmu, t->asid, vpn, NULL));
}

static void see_space(struct sim *s, struct mm *mm, const struct seen *seen)
{
	vpn_t at = { 0 }, end = { UINT64_C(1) << PT_VPN_BITS_MAX };
	pte_t pte;

	for (; pt_next(&mm->pt, at, end, &at, &pte); at.n++) {
		check_tlbs(s, (struct sim_task *)mm, at, pte);
		if (pte_is_swap(pte))
			see_slot(seen, pte_swp(pte));
		else
			seen->frame[pte_pfn(pte).n]++;
	}
}

static void see_files(struct sim *s, const struct seen *seen)
{
	const struct vm_file *f;

	TAILQ_FOREACH(f, &s->m.pagecache.files, link) {
		for (struct frame *p = pagecache_next(f, 0, UINT64_MAX); p != NULL;
		     p = pagecache_next(f, p->cache.pgoff + 1, UINT64_MAX))
			seen->frame[frame_pfn(&s->m.phys, p).n]++;
		for (uint64_t i = 0; f->nr_swapped > 0 && i < f->size_pages; i++)
			if (!swp_none(pagecache_swapped(f, i)))
				see_slot(seen, pagecache_swapped(f, i));
	}
}

static void check_frames(const struct sim *s, const struct seen *seen)
{
	uint64_t listed = 0;

	for (uint32_t i = 0; i < s->nr_frames; i++) {
		const struct frame *f = &s->frames[i];

		if (!(f->flags & FRAME_LRU)) {
			ASSERT(seen->frame[i] == 0 || f == s->m.zero);
			continue;
		}
		ASSERT(f->refs == seen->frame[i]);
		if (!(f->flags & FRAME_FILE) || !pagecache_elsewhere(f->cache.file, f->cache.pgoff))
			listed += f->flags & FRAME_HUGE ? 1u << FRAME_HUGE_ORDER : 1;
		/* A huge page is one frame to the lists. */
		if (f->flags & FRAME_HUGE)
			i += (1u << FRAME_HUGE_ORDER) - 1;
	}
	ASSERT(listed == s->m.charged);
}

static void check_slots(struct sim *s, const struct seen *seen)
{
	for (unsigned area = 0; area < s->m.swap.nr_areas; area++) {
		uint64_t n = MIN(s->m.swap.area[area].nr_slots, (uint64_t)SLOTS_SEEN);

		for (uint64_t i = 1; i < n; i++) {
			const struct swap_slot *slot = swap_slot_of(&s->m.swap, swp_make(area, i));
			uint32_t uses = (slot->flags & (SLOT_USED | SLOT_CACHED)) == SLOT_USED ? slot->uses : 0;

			ASSERT(uses == seen->slot[area * SLOTS_SEEN + i]);
		}
	}
}

void sim_check(struct sim *s)
{
	struct seen seen = {
		.frame = calloc(s->nr_frames, sizeof(*seen.frame)),
		.slot = calloc(SWAP_AREAS * (size_t)SLOTS_SEEN, sizeof(*seen.slot)),
	};
	struct mm *mm;

	TAILQ_FOREACH(mm, &s->m.mms, link) {
		mm_check(mm);
		if (seen.frame != NULL && seen.slot != NULL)
			see_space(s, mm, &seen);
	}
	phys_check(&s->m.phys);
	pagecache_check(&s->m.pagecache);
	for (unsigned i = 0; i < s->config.cpus; i++)
		mmu_check(s->cpu[i].mmu);
	if (seen.frame != NULL && seen.slot != NULL) {
		see_files(s, &seen);
		check_frames(s, &seen);
		check_slots(s, &seen);
	}
	free(seen.frame);
	free(seen.slot);
}
