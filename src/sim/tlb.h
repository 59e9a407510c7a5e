/*
 * One set-associative cache of translations: a TLB, or a page-walk cache. It
 * knows keys and recency; what a translation means is mmu.c's. See tlb.c.
 */
#ifndef STW_SIM_TLB_H
#define STW_SIM_TLB_H

#include "base/rand.h"
#include "mm/types.h"
#include "sim/config.h"

/* What is translated: the number of a page of some size. Numbers of different sizes are different keys. */
static inline uint64_t tlb_page(uint64_t number, bool huge) { return number << 1 | huge; }

struct tlb_slot {
	uint64_t page;   /* tlb_page; TLB_NO_PAGE: never used */
	uint64_t serial; /* of the fill, never the same again; live if above tlb->floor */
	uint32_t next;   /* slot in the same bucket, + 1 */
	uint16_t asid;
	/* The translation: mmu.c's. */
	uint8_t grants;  /* 1 << enum mmu_access */
	pfn_t pfn;       /* of the page's first frame */
};

#define TLB_NO_PAGE UINT64_MAX

/*
 * Law: in each set the first full ways are live; a slot that was ever used is in the bucket of its key and in its key's
 * set; no two live slots have the same key; stamps of a set are different, or
 * 0; no serial is above tlb->serial.
 */
struct tlb {
	struct tlb_slot *slots;  /* set by set */
	uint64_t *stamps;        /* of each slot: when this way of its set was used last; outlives the translation */
	uint64_t *bounds;        /* of each group of ways of a wide set: no stamp in it is below */
	uint32_t *full;          /* of each set: all ways below this one have a translation */
	uint32_t *buckets;       /* first slot of the chain, + 1 */
	uint32_t sets, ways;
	unsigned bucket_shift;   /* of a hash of 64 bits */
	bool huge;               /* a huge page was ever here */
	uint8_t replacement;     /* enum sim_replacement */
	uint64_t serial;         /* of the last fill */
	uint64_t floor;          /* fills up to this one are flushed */
	struct rand rand;        /* for SIM_RANDOM: one number a victim */
};

/* ways 0: fully associative. entries is ways times a power of two. 0 or -ENOMEM. */
int tlb_init(struct tlb *t, uint32_t entries, uint32_t ways, enum sim_replacement replacement, uint64_t seed);
void tlb_destroy(struct tlb *t);

/* The live slot of a key, or NULL. Who uses it says so: *tlb_stamp() = now. */
static inline struct tlb_slot *tlb_find(const struct tlb *t, uint64_t page, unsigned asid);
/* A slot for a key that has none, stamped with now, which grows from call to call. The caller fills in what it means. */
struct tlb_slot *tlb_insert(struct tlb *t, uint64_t page, unsigned asid, uint64_t now);
/* The translation is gone; its way is the next to be filled, and as old as it was. */
static inline void tlb_remove(struct tlb *t, struct tlb_slot *s)
{
	uint32_t i = (uint32_t)(s - t->slots), set = i / t->ways;

	s->serial = 0;
	t->full[set] = MIN(t->full[set], i - set * t->ways);
}

static inline uint64_t *tlb_stamp(const struct tlb *t, const struct tlb_slot *s) { return &t->stamps[s - t->slots]; }

void tlb_flush(struct tlb *t);
void tlb_flush_asid(struct tlb *t, unsigned asid);
void tlb_check(const struct tlb *t);

static inline uint32_t tlb_bucket(const struct tlb *t, uint64_t page, unsigned asid)
{
	/* Fibonacci hashing: Knuth, The Art of Computer Programming, vol. 3, 6.4. */
	return (uint32_t)(((page ^ (uint64_t)asid << 40) * 0x9e3779b97f4a7c15u) >> t->bucket_shift);
}

static inline struct tlb_slot *tlb_find(const struct tlb *t, uint64_t page, unsigned asid)
{
	uint32_t i = t->buckets[tlb_bucket(t, page, asid)];

	while (i != 0) {
		struct tlb_slot *s = &t->slots[i - 1];

		if (s->page == page && s->asid == asid && s->serial > t->floor)
			return s;
		i = s->next;
	}
	return NULL;
}

#endif
