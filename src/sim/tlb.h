/*
 * One set-associative cache of translations: a TLB, or a page-walk cache. It
 * knows keys and recency; what a translation means is mmu.c's. See tlb.c.
 */
#ifndef STW_SIM_TLB_H
#define STW_SIM_TLB_H

#include "base/rand.h"
#include "mm/types.h"
#include "sim/config.h"

/* What is translated: the number of a page of some size in an address space. */
struct tlb_key {
	uint64_t page;   /* numbers of different sizes are different */
	uint64_t hash;
	uint16_t asid;
};

static inline struct tlb_key tlb_key(uint64_t number, bool huge, uint16_t asid)
{
	uint64_t page = number << 1 | huge;

	/* Fibonacci hashing: Knuth, The Art of Computer Programming, vol. 3, 6.4. */
	return (struct tlb_key){ page, (page ^ (uint64_t)asid << 40) * 0x9e3779b97f4a7c15u, asid };
}

struct tlb_slot {
	uint64_t page;   /* of the key; TLB_NO_PAGE: never used, or removed */
	uint64_t serial; /* of the fill, never the same again; live if above tlb->floor; 0: removed */
	uint64_t stamp;  /* when this way of its set was used last; outlives the translation */
	uint32_t next;   /* slot in the same bucket, + 1 */
	uint16_t asid;
	/* The translation: mmu.c's. */
	uint8_t grants;  /* 1 << enum mmu_access */
	pfn_t pfn;       /* of the page's first frame */
};

#define TLB_NO_PAGE UINT64_MAX
#define TLB_COUNT_BITS 21 /* entries are 2^20 at most (config_keys.c) */

/* A place in the row of a set. */
struct tlb_place {
	uint64_t listed;         /* the way's stamp when it got this place: it has not been used before, perhaps since */
	uint32_t way;
};

struct tlb_set {
	uint64_t placed;         /* all ways below this one have had a translation since the last flush, and a place; with the floor */
	uint32_t hole;           /* all ways below this one that are placed have a translation; TLB_NO_HOLE: all at all */
	uint32_t oldest;         /* place that the row begins with, 0 to ways; 0 while not all ways are placed */
};

#define TLB_NO_HOLE UINT32_MAX

/*
 * Counts that a flush brings to 0 stand above the floor for which they are good: floor << TLB_COUNT_BITS | count.
 *
 * Law: in each set all ways that are placed and below the hole are live, those not placed are not; a live slot is in the
 * bucket of its key and in its key's set; a bucket has live slots only, of keys that belong there; no two live slots have
 * the same key; stamps of a set are different, or 0; no serial is above tlb->serial. The row of a set has the placed ways,
 * each once, in order of listed, which is no later than the way's stamp.
 */
struct tlb {
	struct tlb_slot *slots;  /* set by set */
	struct tlb_place *rows;  /* set by set, with as much room again for them to move on */
	struct tlb_set *set;
	uint64_t *buckets;       /* first slot of the chain, + 1; 0: none; with the floor */
	uint32_t sets, ways;
	unsigned bucket_shift;   /* of a hash of 64 bits */
	bool huge;               /* a huge page was ever here */
	uint8_t replacement;     /* enum sim_replacement */
	uint64_t serial;         /* of the last fill */
	uint64_t floor;          /* fills up to this one are flushed */
	uint64_t zero;           /* what a count is after the last flush: floor << TLB_COUNT_BITS */
	struct rand rand;        /* for SIM_RANDOM: one number a victim */
};

/* ways 0: fully associative. entries is ways times a power of two. 0 or -ENOMEM. */
int tlb_init(struct tlb *t, uint32_t entries, uint32_t ways, enum sim_replacement replacement, uint64_t seed);
void tlb_destroy(struct tlb *t);

/* The live slot of a key, or NULL. Who uses it says so: its stamp = now. */
static inline struct tlb_slot *tlb_find(const struct tlb *t, struct tlb_key key);
/* A translation for a key that has none, stamped with now, which grows from call to call. */
static inline struct tlb_slot *tlb_insert(struct tlb *t, struct tlb_key key, uint8_t grants, pfn_t pfn, uint64_t now);
/* The translation is gone; its way is the next to be filled, and as old as it was. */
void tlb_remove(struct tlb *t, struct tlb_slot *s);

void tlb_flush(struct tlb *t);
void tlb_flush_asid(struct tlb *t, unsigned asid);
void tlb_check(const struct tlb *t);

/* What is left of a count with a floor. */
static inline uint32_t tlb_count(const struct tlb *t, uint64_t count)
{
	/* Those of an older floor are below zero. */
	return likely(count - t->zero < 1 << TLB_COUNT_BITS) ? (uint32_t)(count - t->zero) : 0;
}

static inline struct tlb_slot *tlb_find(const struct tlb *t, struct tlb_key key)
{
	uint32_t i = tlb_count(t, t->buckets[key.hash >> t->bucket_shift]);

	while (i != 0) {
		struct tlb_slot *s = &t->slots[i - 1];

		if (s->page == key.page && s->asid == key.asid)
			return s;
		i = s->next;
	}
	return NULL;
}

/* The next way of a set that has some which are not placed. */
static inline uint32_t tlb_place_next(struct tlb *t, uint32_t set, uint32_t placed, uint64_t now)
{
	t->rows[2 * set * t->ways + placed] = (struct tlb_place){ .listed = now, .way = placed };
	t->set[set].oldest = 0;
	t->set[set].placed = t->zero + placed + 1;
	return placed;
}

/* For tlb_insert. The way of a set that a translation goes to, where it is not simply the next; in no chain any more. */
uint32_t tlb_victim(struct tlb *t, uint32_t set, uint64_t now);

static inline struct tlb_slot *tlb_insert(struct tlb *t, struct tlb_key key, uint8_t grants, pfn_t pfn, uint64_t now)
{
	uint32_t set = (uint32_t)(key.page >> 1) & (t->sets - 1), placed = tlb_count(t, t->set[set].placed);
	bool next = placed < t->ways && t->set[set].hole == TLB_NO_HOLE;
	uint32_t i = set * t->ways + (likely(next) ? tlb_place_next(t, set, placed, now) : tlb_victim(t, set, now));
	uint64_t *bucket = &t->buckets[key.hash >> t->bucket_shift];
	struct tlb_slot *s = &t->slots[i];

	s->page = key.page;
	s->serial = ++t->serial;
	s->stamp = now;
	s->next = tlb_count(t, *bucket);
	s->asid = key.asid;
	s->grants = grants;
	s->pfn = pfn;
	*bucket = t->zero + i + 1;
	if (unlikely(key.page & 1))
		t->huge = true;
	return s;
}

#endif
