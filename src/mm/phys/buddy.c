/*
 * The buddy system (Knowlton 1965; Linux mm/page_alloc.c: __rmqueue_smallest,
 * expand, __free_one_page).
 *
 * Free memory is kept as blocks of 2^order frames that start at a multiple of
 * their size. The buddy of a block is the other half of the block twice as
 * large, so its frame number differs in exactly one bit:
 *
 *	pfn        8       10       12               16
 *	order 3    |--------------------------------|
 *	order 2    |---------------|----------------|   12 = 8 ^ (1 << 2)
 *	order 1    |-------|-------|                    10 = 8 ^ (1 << 1)
 *
 * Allocation takes the smallest block that is large enough and gives the upper
 * halves back until it has the right size. Freeing merges with the buddy as
 * long as that one is free and whole.
 *
 * Invariants (phys_check executes them):
 * 1. A free block is described by its head only: FRAME_BUDDY, order, refs 0.
 *    The frames behind the head have flags 0 and refs 0.
 * 2. A free block's buddy is never a free block of the same order: whatever
 *    can be merged is merged. Hence an aligned run of free frames can always
 *    be allocated.
 * 3. A block never leaves its zone, and never holds a frame that is not
 *    online: such a frame has no FRAME_BUDDY, therefore merging stops there.
 * 4. Only heads are written. Memory nobody uses costs the frame table, which
 *    is populated on first touch, two or three frames for every 4 MiB.
 *
 * Cost: at most one step an order, and no scan. An order-0 allocation that
 * finds a block of order 0 touches the zone and two frames.
 *
 * The depth of an allocation decides what it must leave behind (struct zone,
 * wmark and lowmem_reserve). High-order requests are not tested for the
 * fragmentation of the rest, because a block that exists may be taken: nobody
 * compacts memory here.
 *
 * Not here: migrate types (without compaction nothing would use them) and
 * per-CPU lists (the machine's lock is taken for more than one frame's work,
 * so they would save nothing).
 */
#include "base/assert.h"
#include "mm/phys/buddy.h"

static bool in_zone(const struct zone *z, uint32_t pfn, unsigned order)
{
	return pfn >= z->start.n && (uint64_t)pfn + (1u << order) <= (uint64_t)z->start.n + z->spanned;
}

/* Is there a free block of exactly this order at pfn? Reads a frame that may never have been online: all zeroes, not free. */
static bool block_is_free(const struct phys *p, const struct zone *z, uint32_t pfn, unsigned order)
{
	return in_zone(z, pfn, order) && (p->frames[pfn].flags & FRAME_BUDDY) && p->frames[pfn].order == order;
}

static void block_insert(struct zone *z, struct frame *f, unsigned order, bool tail)
{
	struct free_area *area = &z->area[order];

	f->flags = FRAME_BUDDY;
	f->order = (uint8_t)order;
	if (tail)
		TAILQ_INSERT_TAIL(&area->list, f, link);
	else
		TAILQ_INSERT_HEAD(&area->list, f, link);
	area->nr_free++;
}

static void block_remove(struct zone *z, struct frame *f, unsigned order)
{
	struct free_area *area = &z->area[order];

	TAILQ_REMOVE(&area->list, f, link);
	area->nr_free--;
	f->flags = 0;
}

/* A frame as its new owner gets it: nothing of the last owner is left. */
static void frame_hand_out(struct frame *f, unsigned zone, unsigned order)
{
	f->flags = 0;
	f->order = (uint8_t)order;
	f->zone = (uint8_t)zone;
	f->refs = 1;
	f->private[0] = f->private[1] = 0;
	f->swap.v = 0;
}

/* Takes a block out of a zone, whatever its watermarks; NULL if it has none that is large enough. */
static struct frame *zone_take(struct phys *p, unsigned zone, unsigned order)
{
	struct zone *z = &p->zones[zone];
	unsigned have = order;
	struct frame *f;

	while (have <= MAX_PAGE_ORDER && TAILQ_EMPTY(&z->area[have].list))
		have++;
	if (have > MAX_PAGE_ORDER)
		return NULL;
	f = TAILQ_FIRST(&z->area[have].list);
	block_remove(z, f, have);
	while (have > order) {
		have--;
		block_insert(z, f + (1u << have), have, false);
	}
	z->free -= 1u << order;
	frame_hand_out(f, zone, order);
	return f;
}

/* What must stay free in zone z when somebody who asked for zone asked digs that deep. */
static uint64_t floor_of(const struct zone *z, unsigned asked, enum alloc_depth depth)
{
	switch (depth) {
	case ALLOC_LOW: return (uint64_t)z->wmark[WMARK_LOW] + z->lowmem_reserve[asked];
	case ALLOC_MIN: return (uint64_t)z->wmark[WMARK_MIN] + z->lowmem_reserve[asked];
	case ALLOC_RESERVE: break;
	}
	return 0;
}

/* One pass over the zonelist, no waking. *above: some zone would have stayed above its floor. */
static struct frame *take_near(struct phys *p, unsigned node, unsigned order, enum alloc_depth depth, bool *above)
{
	const uint8_t *list = p->zonelist[node];

	for (unsigned i = 0; i < p->nr_zones; i++) {
		struct zone *z = &p->zones[list[i]];
		struct frame *f;

		if (z->free < floor_of(z, list[0], depth) + (1u << order))
			continue;
		*above = true;
		f = zone_take(p, list[i], order);
		if (likely(f != NULL))
			return f;
	}
	return NULL;
}

/* Every node is below LOW: all their kswapds have work. The zonelist holds each node's zones together. */
static void wake_nodes(struct phys *p, unsigned node)
{
	unsigned last = PHYS_NODES_MAX;

	if (p->wake_kswapd == NULL)
		return;
	for (unsigned i = 0; i < p->nr_zones; i++) {
		unsigned n = p->zones[p->zonelist[node][i]].node;

		if (n != last)
			p->wake_kswapd(p->ctx, n);
		last = n;
	}
}

static bool must_fail(struct phys *p)
{
	if (p->fail_nth > 1) {
		p->fail_nth--;
		return false;
	}
	if (!p->fail_forever)
		p->fail_nth = 0;
	return true;
}

struct frame *frame_alloc(struct phys *p, unsigned node, unsigned order, enum alloc_depth depth)
{
	bool above = false;
	struct frame *f;

	DEBUG_ASSERT(node < p->nr_nodes && order <= MAX_PAGE_ORDER);
	if (unlikely(p->fail_nth != 0) && must_fail(p))
		return NULL;
	f = take_near(p, node, order, depth, &above);
	if (likely(f != NULL) || depth != ALLOC_LOW)
		return f;
	/* With a zone above LOW only fragmentation stands in the way, and kswapd does not cure that. */
	if (!above)
		wake_nodes(p, node);
	return take_near(p, node, order, ALLOC_MIN, &above);
}

/* Is the frame part of a free block? Then freeing it is a double free. */
static inline bool frame_is_free(const struct phys *p, const struct frame *f)
{
	uint32_t pfn = frame_pfn(p, f).n;

	for (unsigned order = 0; order <= MAX_PAGE_ORDER; order++) {
		const struct frame *head = &p->frames[ALIGN_DOWN(pfn, 1u << order)];

		if ((head->flags & FRAME_BUDDY) && head->order >= order)
			return true;
	}
	return false;
}

/*
 * Would the block merge once its own buddy came back? Then it goes to the tail
 * of its list, where it is taken last and has time to grow (Linux: buddy_merge_likely).
 */
static bool merge_likely(const struct phys *p, const struct zone *z, uint32_t pfn, unsigned order)
{
	if (order + 1 >= MAX_PAGE_ORDER)
		return false;
	uint32_t parent = ALIGN_DOWN(pfn, 2u << order);

	return block_is_free(p, z, parent ^ (2u << order), order + 1);
}

static inline void block_free(struct phys *p, struct frame *f, unsigned order, bool last)
{
	uint32_t pfn = frame_pfn(p, f).n;
	struct zone *z = zone_of(p, pfn);

	ASSERT(f->flags == 0);
	DEBUG_ASSERT(order <= MAX_PAGE_ORDER && ALIGN_DOWN(pfn, 1u << order) == pfn && in_zone(z, pfn, order));
	DEBUG_ASSERT(!frame_is_free(p, f));
	f->refs = 0;
	z->free += 1u << order;
	while (order < MAX_PAGE_ORDER) {
		uint32_t buddy = pfn ^ (1u << order);

		if (!block_is_free(p, z, buddy, order))
			break;
		block_remove(z, &p->frames[buddy], order);
		pfn &= buddy;
		order++;
	}
	block_insert(z, &p->frames[pfn], order, last || merge_likely(p, z, pfn, order));
}

void frame_free(struct phys *p, struct frame *f, unsigned order)
{
	block_free(p, f, order, false);
}

void buddy_free_last(struct phys *p, struct frame *f, unsigned order)
{
	block_free(p, f, order, true);
}

void frame_split(struct phys *p, struct frame *f, unsigned order)
{
	unsigned zone = (unsigned)(zone_of(p, frame_pfn(p, f).n) - p->zones);

	DEBUG_ASSERT(f->flags == 0);
	for (uint32_t i = 0; i < 1u << order; i++)
		frame_hand_out(&f[i], zone, 0);
}
