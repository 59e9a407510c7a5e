/*
 * The hardware side of an address space: TLBs, page-walk caches, the walker
 * that sets accessed and dirty bits. One struct mmu a CPU; see mmu.c.
 */
#ifndef STW_SIM_MMU_H
#define STW_SIM_MMU_H

#include "mm/space/pagetable.h"
#include "sim/config.h"

enum mmu_access { MMU_READ, MMU_WRITE, MMU_EXEC };

enum mmu_result {
	MMU_HIT,         /* a TLB had it */
	MMU_WALKED,      /* the tables had it */
	MMU_NOT_PRESENT, /* page fault: no entry, or not present */
	MMU_PROTECTED,   /* page fault: the rights do not allow it */
};

/* Counters of one CPU. */
struct mmu_stat {
	uint64_t hits[SIM_TLBS_MAX];  /* of each TLB */
	uint64_t touches;
	uint64_t walks;               /* misses of all TLBs */
	uint64_t walk_loads;          /* entries that walks read */
	uint64_t pwc_hits[SIM_PWCS_MAX];
	uint64_t flushes;             /* whole */
	uint64_t invalidations;       /* single pages */
};

struct mmu;

/* config must outlive it; random replacement takes its seed. NULL: no memory. */
struct mmu *mmu_create(const struct sim_config *config, unsigned cpu);
void mmu_destroy(struct mmu *m);

/* The address space that accesses go to from now on; flushes if there are no ASIDs. asid < 65536, one for each pt. */
void mmu_switch(struct mmu *m, struct pagetable *pt, unsigned asid);

/*
 * n touches in a row of one page. *pfn: of the 4 KiB frame. Adds what they cost beyond the program's own time to
 * *ns. On a fault nothing is cached; the touch comes again after it.
 */
enum mmu_result mmu_touch(struct mmu *m, vpn_t vpn, enum mmu_access how, uint64_t n, pfn_t *pfn, double *ns);

/* The translations of [vpn, vpn + n) are forgotten; more than 33 pages flush all (Linux: tlb_single_page_flush_ceiling). */
void mmu_invalidate(struct mmu *m, unsigned asid, vpn_t vpn, uint64_t n);
void mmu_flush(struct mmu *m);
/* Does a TLB hold a translation of vpn? For tests and `explain walk`. tlb: which one, may be NULL. */
bool mmu_holds(const struct mmu *m, unsigned asid, vpn_t vpn, unsigned *tlb);

const struct mmu_stat *mmu_stat(const struct mmu *m);

#endif
