/*
 * The lists of resident user pages of one node (Linux's lruvec).
 *
 * Lists 0 to 7 are the policy's. The names are those of the classical ones, which two of the policies use; others have
 * names of their own for the numbers. On an engine without an accessed bit there is one list more in front of the way
 * out, the sample: pages that are resident but unmapped, so that the next touch is a fault and proves them hot
 * (Babaoglu & Joy 1981). Those of them that no store takes, because it would gain nothing, stay as they are and are off the
 * way: what nobody has touched has not changed, so it would be refused again.
 *
 *      first touch, refault ──► the policy's lists ──► evicted                        with accessed bits
 *
 *      first touch, refault ──► the policy's lists ──► SAMPLE ──► evicted             without
 *                                     ▲                   │ touched: soft fault
 *                                     ├───────────────────┘                  │ refused
 *                                     └─────────────────────── REFUSED ◄─────┘
 */
#ifndef STW_MM_RECLAIM_LRU_H
#define STW_MM_RECLAIM_LRU_H

#include "base/assert.h"
#include "mm/phys/phys.h"

struct machine;

enum lru_list {
	LRU_INACTIVE_ANON,
	LRU_ACTIVE_ANON,
	LRU_INACTIVE_FILE,
	LRU_ACTIVE_FILE,
	NR_POLICY_LRU = 8,
	LRU_SAMPLE = NR_POLICY_LRU,
	LRU_UNEVICTABLE, /* locked by mlock: nobody looks at them */
	LRU_REFUSED,     /* unmapped as those of the sample, but no store takes them as they are: until they are touched, or there is another */
	NR_LRU,
};

/* Law: nr[l] is the number of pages on list[l], where a huge page is many; every frame on list l has FRAME_LRU and frame->list == l. */
struct lruvec {
	struct frame_list list[NR_LRU]; /* head: youngest */
	uint64_t nr[NR_LRU];
	uint64_t age;         /* evictions and activations so far: Linux's nonresident_age */
	uint64_t aged;        /* workingset.c: when its hand last went on */
	uint8_t age_order;    /* … and how many of age make a step of the shadow: a power of two */
	uint64_t private[24]; /* the policy's */
};

void lru_init(struct lruvec *v);
/* Puts an unlisted user frame at the young end. */
static inline void lru_add(struct lruvec *v, struct frame *f, enum lru_list list);
/* At the old end: the next to go. */
void lru_add_tail(struct lruvec *v, struct frame *f, enum lru_list list);
/* Takes the frame off its list. */
static inline void lru_del(struct lruvec *v, struct frame *f);
/* The unlisted frame gets the place of the listed one, whose flags do not change yet. */
void lru_replace(struct lruvec *v, struct frame *listed, struct frame *f);
/* Pages on the policy's lists, however many of these it uses: all that reclaim may look at, less those that are unmapped. */
uint64_t lru_of_policy(const struct lruvec *v);
/* Pages that are resident but unmapped. */
uint64_t lru_unmapped(const struct lruvec *v);
/* Pages on all lists that reclaim may look at. */
uint64_t lru_resident(const struct lruvec *v);
void lru_check(const struct lruvec *v, const struct phys *p);

static inline uint64_t frame_pages(const struct frame *f)
{
	return f->flags & FRAME_HUGE ? 1u << FRAME_HUGE_ORDER : 1;
}

/* What an add does besides. */
static inline void lru_account_add(struct lruvec *v, struct frame *f, enum lru_list list)
{
	DEBUG_ASSERT(!(f->flags & FRAME_LRU));
	DEBUG_ASSERT((list != LRU_SAMPLE && list != LRU_REFUSED) || !(f->flags & FRAME_AWAY));
	f->flags |= FRAME_LRU;
	f->list = list;
	v->nr[list] += frame_pages(f);
}

static inline void lru_add(struct lruvec *v, struct frame *f, enum lru_list list)
{
	lru_account_add(v, f, list);
	TAILQ_INSERT_HEAD(&v->list[list], f, link);
}

static inline void lru_del(struct lruvec *v, struct frame *f)
{
	DEBUG_ASSERT(f->flags & FRAME_LRU);
	TAILQ_REMOVE(&v->list[f->list], f, link);
	v->nr[f->list] -= frame_pages(f);
	f->flags &= (uint16_t)~FRAME_LRU;
}

static inline enum lru_list lru_list_of(const struct frame *f) { return (enum lru_list)f->list; }

#endif
