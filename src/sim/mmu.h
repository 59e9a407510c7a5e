/*
 * The hardware side of an address space: TLBs, page-walk caches, the walker
 * that sets accessed and dirty bits. One struct mmu a CPU; see mmu.c.
 */
#ifndef STW_SIM_MMU_H
#define STW_SIM_MMU_H

#include "mm/space/pagetable.h"
#include "sim/config.h"
#include "sim/tlb.h"

enum mmu_access { MMU_READ, MMU_WRITE, MMU_EXEC, MMU_NR_ACCESSES };

enum mmu_result {
	MMU_HIT,         /* a TLB had it */
	MMU_WALKED,      /* the tables had it */
	MMU_NOT_PRESENT, /* page fault: no entry, or not present */
	MMU_PROTECTED,   /* page fault: the rights do not allow it */
};

/*
 * Counters of one CPU. touches = sum of hits + walks - faults: a touch that faults is counted when it comes again and
 * succeeds, but its walk was made.
 */
struct mmu_stat {
	uint64_t hits[SIM_TLBS_MAX];  /* of each TLB */
	uint64_t touches;
	uint64_t walks;               /* misses of all TLBs, and first writes to a page that was only read */
	uint64_t walk_loads;          /* entries that walks read */
	uint64_t pwc_hits[SIM_PWCS_MAX];
	uint64_t faults;              /* walks that ended in a page fault */
	uint64_t flushes;             /* of everything, or of one ASID */
	uint64_t invalidations;       /* single pages */
};

#define MMU_FRONT 512 /* entries; a power of two */

/* What the lookup of the TLBs found for one page and kind of access; good as long as the slot is what it was. */
struct mmu_front {
	uint64_t key;            /* tag, vpn, access */
	uint64_t serial;         /* of the slot's fill */
	struct tlb_slot *slot;
	pfn_t pfn;
	uint32_t tlb;
};

enum { MMU_DATA, MMU_CODE, MMU_KINDS }; /* how == MMU_EXEC */

/* A TLB that is searched for translations of a kind, for pages of one size. */
struct mmu_place {
	struct tlb *tlb; /* NULL: that was all */
	uint8_t index;   /* of the TLB */
	uint8_t level;   /* from 0; behind the last place, the number of levels */
	bool huge;
};

#define MMU_PLACES (2 * 2) /* levels, sizes */

/* A page-walk cache. */
struct mmu_pwc {
	struct tlb *tlb; /* NULL: that was all */
	uint8_t index, level;
	uint8_t shift;   /* of the page number that an entry of the level stands for */
};

/*
 * Here for mmu_touch's sake; others use the functions.
 * Law: a front entry of this tag whose slot has its serial says what the plain lookup finds: that slot, first.
 */
struct mmu {
	uint64_t tag;            /* in bits 54 to 63, not 0: another after a flush, and for another address space */
	struct mmu_stat stat;
	struct mmu_front front[MMU_FRONT];
	const struct sim_config *config;
	struct pagetable *pt;
	unsigned asid;
	bool mixed;              /* entries of other address spaces may be cached */
	unsigned shift[PT_LEVELS_MAX];     /* of the page number that an entry of a level stands for */
	bool huge;               /* a huge page may be cached */
	/* In the order in which they are searched: first those that are enough while huge is false, then all. */
	struct mmu_place place[2][MMU_KINDS][MMU_PLACES + 1];
	uint8_t places[2][MMU_KINDS];      /* how many */
	struct mmu_pwc walk_cache[PT_LEVELS_MAX]; /* from the lowest level up */
	uint8_t root;            /* the highest level */
	uint8_t near;            /* walks from this level on end at a leaf that pt_above finds; 1, or 0 where two nodes are a level */
	double hit_ns[MMU_KINDS][SIM_TLBS_MAX], miss_ns[MMU_KINDS];
	struct tlb tlb[SIM_TLBS_MAX], pwc[SIM_PWCS_MAX];
};

/* config has passed sim_config_check and must outlive it; random replacement takes its seed. NULL: no memory. */
struct mmu *mmu_create(const struct sim_config *config, unsigned cpu);
/* m may be NULL. */
void mmu_destroy(struct mmu *m);

/*
 * The address space that accesses go to from now on, NULL for none; flushes if there are no ASIDs and it is another.
 * asid < 65536, one for each pt; before it serves another pt it must be flushed. pt has the geometry of config.
 */
void mmu_switch(struct mmu *m, struct pagetable *pt, unsigned asid);

enum mmu_result mmu_touch_slow(struct mmu *m, vpn_t vpn, enum mmu_access how, uint64_t n, pfn_t *pfn, double *ns);
/* The same for a touch that comes again after a fault, when no other was made since: no TLB has it, as it was found then. */
enum mmu_result mmu_touch_again(struct mmu *m, vpn_t vpn, enum mmu_access how, uint64_t n, pfn_t *pfn, double *ns);

static inline struct mmu_front *mmu_front(struct mmu *m, vpn_t vpn, enum mmu_access how)
{
	return &m->front[(vpn.n ^ vpn.n >> 9 ^ (uint64_t)how << 7) % MMU_FRONT];
}

static inline uint64_t mmu_front_key(const struct mmu *m, vpn_t vpn, enum mmu_access how)
{
	return m->tag | vpn.n << 2 | how;
}

/* As mmu_touch, for touches that the front knows of; false: nothing happened, mmu_touch does it. */
static inline bool mmu_hit(struct mmu *m, vpn_t vpn, enum mmu_access how, uint64_t n, pfn_t *pfn, double *ns)
{
	const struct mmu_front *f = mmu_front(m, vpn, how);

	if (unlikely(f->key != mmu_front_key(m, vpn, how) || f->slot->serial != f->serial))
		return false;
	m->stat.touches += n;
	m->stat.hits[f->tlb] += n;
	f->slot->stamp = m->stat.touches;
	*pfn = f->pfn;
	*ns += (double)n * m->hit_ns[how == MMU_EXEC][f->tlb];
	return true;
}

/*
 * n touches in a row of one page, n ≥ 1. *pfn: of the 4 KiB frame. Adds what they cost beyond the program's own time
 * to *ns. The result is that of the first. On a fault nothing is cached, *pfn is as it was and no touch counts; the
 * touch comes again after it.
 */
static inline enum mmu_result mmu_touch(struct mmu *m, vpn_t vpn, enum mmu_access how, uint64_t n, pfn_t *pfn,
					double *ns)
{
	return likely(mmu_hit(m, vpn, how, n, pfn, ns)) ? MMU_HIT : mmu_touch_slow(m, vpn, how, n, pfn, ns);
}

/*
 * The translations of [vpn, vpn + n) are forgotten, and what the page-walk caches know of the address space (Intel SDM
 * vol. 3, 4.10.4.1: INVLPG). More than 33 pages flush all of it (Linux: tlb_single_page_flush_ceiling). Without ASIDs
 * only the address space that accesses go to has any.
 */
void mmu_invalidate(struct mmu *m, unsigned asid, vpn_t vpn, uint64_t n);
/* All translations of all address spaces. */
void mmu_flush(struct mmu *m);
/* Does a TLB hold a translation of vpn? For tests and `explain walk`. tlb: the first one that does, may be NULL. */
bool mmu_holds(const struct mmu *m, unsigned asid, vpn_t vpn, unsigned *tlb);

const struct mmu_stat *mmu_stat(const struct mmu *m);
void mmu_check(struct mmu *m);

#endif
