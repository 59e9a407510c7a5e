#include "mm/reclaim/lru.h"

#include "base/assert.h"

void lru_init(struct lru *l)
{
	for (unsigned i = 0; i < NR_LRU; i++) {
		TAILQ_INIT(&l->list[i]);
		l->nr[i] = 0;
	}
	l->age = 0;
}

/* ACTIVE has its flag; NEW is mapped (away), INACTIVE is not. */
enum lru_list lru_list_of(const struct frame *f)
{
	if (f->flags & FRAME_ACTIVE)
		return LRU_ACTIVE;
	return (f->flags & FRAME_AWAY) ? LRU_NEW : LRU_INACTIVE;
}

static void account_add(struct lru *l, struct frame *f, enum lru_list list)
{
	DEBUG_ASSERT(!(f->flags & FRAME_LRU));
	DEBUG_ASSERT((list == LRU_INACTIVE) == !(f->flags & FRAME_AWAY));
	f->flags = (uint16_t)(f->flags & ~FRAME_ACTIVE) | FRAME_LRU | (list == LRU_ACTIVE ? FRAME_ACTIVE : 0);
	l->nr[list]++;
}

void lru_add(struct lru *l, struct frame *f, enum lru_list list)
{
	account_add(l, f, list);
	TAILQ_INSERT_HEAD(&l->list[list], f, link);
}

void lru_add_tail(struct lru *l, struct frame *f, enum lru_list list)
{
	account_add(l, f, list);
	TAILQ_INSERT_TAIL(&l->list[list], f, link);
}

void lru_del(struct lru *l, struct frame *f)
{
	enum lru_list list = lru_list_of(f);

	DEBUG_ASSERT(f->flags & FRAME_LRU);
	TAILQ_REMOVE(&l->list[list], f, link);
	l->nr[list]--;
	f->flags &= (uint16_t)~(FRAME_LRU | FRAME_ACTIVE);
}

void lru_replace(struct lru *l, struct frame *listed, struct frame *f)
{
	TAILQ_INSERT_BEFORE(listed, f, link);
	TAILQ_REMOVE(&l->list[lru_list_of(listed)], listed, link);
}

void lru_check(const struct lru *l, const struct phys *p)
{
	for (unsigned i = 0; i < NR_LRU; i++) {
		struct frame *f;
		uint64_t n = 0;

		TAILQ_FOREACH(f, &l->list[i], link) {
			ASSERT(frame_pfn(p, f).n < p->nr_frames);
			ASSERT(f->flags & FRAME_LRU);
			ASSERT(lru_list_of(f) == i);
			n++;
		}
		ASSERT(n == l->nr[i]);
	}
}
