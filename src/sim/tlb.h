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
	uint32_t next;   /* slot in the same bucket, + 1 */
	uint16_t asid;
	/* The translation: mmu.c's. */
	uint8_t grants;  /* 1 << enum mmu_access */
	pfn_t pfn;       /* of the page's first frame */
};

#define TLB_NO_PAGE UINT64_MAX

/* A place in the row of a set. */
struct tlb_place {
	uint64_t listed;         /* the way's stamp when it got this place: it has not been used before, perhaps since */
	uint32_t way;
};

struct tlb_set {
	uint64_t floor;          /* tlb->floor, when a translation was put here last; if it is another now, there is none */
	uint32_t full;           /* all ways below this one have a translation */
	uint32_t placed;         /* all ways below this one have had one since the last flush, and a place */
	uint32_t oldest;         /* place that the row begins with */
};

/*
 * Law: in each set the first full ways are live, those not placed are not; a live slot is in the bucket of
 * its key and in its key's set; a bucket whose first slot is live has live ones only, of keys that belong there, any other
 * is as good as empty; no two live slots have the same key; stamps of a set are different, or
 * 0; no serial is above tlb->serial. The row of a set, a ring, has the placed ways, each once, in order of listed, which is
 * no later than the way's stamp.
 */
struct tlb {
	struct tlb_slot *slots;  /* set by set */
	uint64_t *stamps;        /* of each slot: when this way of its set was used last; outlives the translation */
	struct tlb_place *rows;  /* set by set */
	struct tlb_set *set;
	uint32_t *buckets;       /* first slot of the chain, + 1; 0: none */
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
static inline struct tlb_slot *tlb_find(const struct tlb *t, struct tlb_key key);
/* A slot for a key that has none, stamped with now, which grows from call to call. The caller fills in what it means. */
struct tlb_slot *tlb_insert(struct tlb *t, const struct tlb_key *key, uint64_t now);
/* The translation is gone; its way is the next to be filled, and as old as it was. */
void tlb_remove(struct tlb *t, struct tlb_slot *s);

static inline uint64_t *tlb_stamp(const struct tlb *t, const struct tlb_slot *s) { return &t->stamps[s - t->slots]; }

void tlb_flush(struct tlb *t);
void tlb_flush_asid(struct tlb *t, unsigned asid);
void tlb_check(const struct tlb *t);

static inline struct tlb_slot *tlb_find(const struct tlb *t, struct tlb_key key)
{
	uint32_t i = t->buckets[key.hash >> t->bucket_shift];

	if (i == 0 || t->slots[i - 1].serial <= t->floor)
		return NULL;
	do {
		struct tlb_slot *s = &t->slots[i - 1];

		if (s->page == key.page && s->asid == key.asid)
			return s;
		i = s->next;
	} while (i != 0);
	return NULL;
}

#endif
