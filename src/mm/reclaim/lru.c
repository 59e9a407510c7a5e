#include "mm/reclaim/lru.h"

#include <string.h>

#include "base/assert.h"

void lru_init(struct lruvec *v)
{
	for (unsigned i = 0; i < NR_LRU; i++) {
		TAILQ_INIT(&v->list[i]);
		v->nr[i] = 0;
	}
	v->age = v->aged = 0;
	v->age_order = 0;
	memset(v->private, 0, sizeof(v->private));
}

void lru_add_tail(struct lruvec *v, struct frame *f, enum lru_list list)
{
	lru_account_add(v, f, list);
	TAILQ_INSERT_TAIL(&v->list[list], f, link);
}

void lru_replace(struct lruvec *v, struct frame *listed, struct frame *f)
{
	TAILQ_INSERT_BEFORE(listed, f, link);
	TAILQ_REMOVE(&v->list[listed->list], listed, link);
}

uint64_t lru_of_policy(const struct lruvec *v)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < NR_POLICY_LRU; i++)
		n += v->nr[i];
	return n;
}

uint64_t lru_unmapped(const struct lruvec *v)
{
	return v->nr[LRU_SAMPLE] + v->nr[LRU_REFUSED];
}

uint64_t lru_resident(const struct lruvec *v)
{
	return lru_of_policy(v) + lru_unmapped(v);
}

void lru_check(const struct lruvec *v, const struct phys *p)
{
	for (unsigned i = 0; i < NR_LRU; i++) {
		struct frame *f;
		uint64_t n = 0;

		TAILQ_FOREACH(f, &v->list[i], link) {
			ASSERT(frame_pfn(p, f).n < p->nr_frames);
			ASSERT(f->flags & FRAME_LRU);
			ASSERT(f->list == i);
			ASSERT((i != LRU_SAMPLE && i != LRU_REFUSED) || !(f->flags & FRAME_AWAY));
			n += frame_pages(f);
		}
		ASSERT(n == v->nr[i]);
	}
}
