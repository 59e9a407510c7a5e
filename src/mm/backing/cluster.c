#include "mm/backing/cluster.h"

#define PROBE_EVERY 32 /* clusters of one page, then one of PROBE_SIZE: the program may have changed */
#define PROBE_SIZE 4

/* Grows with the hits of the last cluster, shrinks by half without (mm/swap_state.c __swapin_nr_pages). */
static unsigned next_size(struct cluster *c)
{
	unsigned size = 1;

	if (c->hits > 0)
		for (size = 2; size < c->hits + 2u && size < CLUSTER_MAX;)
			size *= 2;
	size = MAX(size, c->size / 2u);
	c->quiet = size > 1 ? 0 : c->quiet + 1;
	if (c->quiet >= PROBE_EVERY) {
		size = PROBE_SIZE;
		c->quiet = 0;
	}
	c->hits = 0;
	c->size = (uint16_t)size;
	return size;
}

/* The handle of the page at vpn if it is in this area's store, else none. */
static bool handle_in(struct swap *s, struct pagetable *pt, vpn_t vpn, unsigned area, uint64_t *handle)
{
	pte_t pte = pt_get(pt, vpn);

	if (!pte_is_swap(pte) || swp_area(pte_swp(pte)) != area)
		return false;
	const struct swap_slot *slot = swap_slot_of(s, pte_swp(pte));

	*handle = slot->handle;
	return !(slot->flags & SLOT_SAME);
}

unsigned cluster_plan(struct cluster *c, struct swap *s, struct pagetable *pt, vpn_t fault, vpn_t start,
		      vpn_t end, vpn_t *neighbours)
{
	unsigned area = swp_area(pte_swp(pt_get(pt, fault))), n = 0;
	uint64_t at, handle;

	if (s->area[area].store->ops->read_locked || !handle_in(s, pt, fault, area, &at))
		return 0;
	unsigned wanted = next_size(c) - 1;

	for (uint64_t i = 1; n < wanted && fault.n + i < end.n; i++) {
		vpn_t v = { fault.n + i };

		if (!handle_in(s, pt, v, area, &handle) || handle != at + i)
			break;
		neighbours[n++] = v;
	}
	for (uint64_t i = 1; n < wanted && fault.n >= start.n + i; i++) {
		vpn_t v = { fault.n - i };

		if (!handle_in(s, pt, v, area, &handle) || handle + i != at)
			break;
		neighbours[n++] = v;
	}
	return n;
}
