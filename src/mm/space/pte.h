/*
 * Page table entries. Layout of x86-64 (Intel SDM vol. 3, 4.5) where the
 * hardware has a say; the rest is software's, as in Linux.
 *
 *   none      0
 *   present   P=1, pfn in bits 12..51, flag bits below
 *   soft      P=0, SOFT=1, pfn: resident but unmapped; a touch is a soft fault
 *   swap      P=0, SOFT=0, not 0: area in bits 59..63, slot in bits 12..58
 */
#ifndef STW_MM_SPACE_PTE_H
#define STW_MM_SPACE_PTE_H

#include "mm/types.h"

typedef struct {
	uint64_t v;
} pte_t;

#define PTE_PRESENT ((uint64_t)1 << 0)
#define PTE_WRITE ((uint64_t)1 << 1)
#define PTE_USER ((uint64_t)1 << 2)
#define PTE_ACCESSED ((uint64_t)1 << 5)
#define PTE_DIRTY ((uint64_t)1 << 6)
#define PTE_HUGE ((uint64_t)1 << 7)
#define PTE_SOFT ((uint64_t)1 << 9)
#define PTE_NX ((uint64_t)1 << 63)
#define PTE_PFN_SHIFT 12
#define PTE_PFN_MASK (((uint64_t)1 << 52) - ((uint64_t)1 << PTE_PFN_SHIFT))

static inline pte_t pte_none(void) { return (pte_t){ 0 }; }
static inline pte_t pte_make(pfn_t pfn, uint64_t flags)
{
	return (pte_t){ (uint64_t)pfn.n << PTE_PFN_SHIFT | flags };
}
static inline pte_t pte_present_make(pfn_t pfn, uint64_t flags) { return pte_make(pfn, flags | PTE_PRESENT); }
static inline pte_t pte_soft_make(pfn_t pfn) { return pte_make(pfn, PTE_SOFT); }
static inline pte_t pte_swap_make(swp_t s)
{
	return (pte_t){ (uint64_t)swp_area(s) << 59 | swp_slot(s) << PTE_PFN_SHIFT };
}

static inline bool pte_is_none(pte_t e) { return e.v == 0; }
static inline bool pte_is_present(pte_t e) { return (e.v & PTE_PRESENT) != 0; }
static inline bool pte_is_accessed(pte_t e) { return (e.v & (PTE_PRESENT | PTE_ACCESSED)) == (PTE_PRESENT | PTE_ACCESSED); }
static inline bool pte_is_soft(pte_t e) { return (e.v & (PTE_PRESENT | PTE_SOFT)) == PTE_SOFT; }
static inline bool pte_is_swap(pte_t e) { return e.v != 0 && (e.v & (PTE_PRESENT | PTE_SOFT)) == 0; }
/* For present and soft entries. */
static inline pfn_t pte_pfn(pte_t e) { return (pfn_t){ (uint32_t)((e.v & PTE_PFN_MASK) >> PTE_PFN_SHIFT) }; }
static inline swp_t pte_swp(pte_t e)
{
	return swp_make((unsigned)(e.v >> 59), (e.v & (((uint64_t)1 << 59) - 1)) >> PTE_PFN_SHIFT);
}

#endif
