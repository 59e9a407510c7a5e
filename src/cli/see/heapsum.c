/* Counts are of about one moment: what exceeds the whole by that is cut, so that parts are never more than it. */
#include "cli/see/heapsum.h"

#include "malloc/slab.h"

/* Counts that may be a little below zero. */
static uint64_t clamp(uint64_t count, uint64_t most)
{
	return (int64_t)count < 0 ? 0 : MIN(count, most);
}

uint64_t heap_used_slots(const struct heap_class *c)
{
	return clamp(c->used, c->slots);
}

struct heap_sum heap_sum(const struct heap_counts *c)
{
	struct heap_sum s = { .meta = c->meta };
	uint64_t left = clamp(c->heaps, INT64_MAX);

	s.mapped = clamp(c->mapped, INT64_MAX);
	s.held = left + s.mapped + s.meta;
	for (unsigned i = 0; i < HEAP_CLASSES; i++) {
		s.slots += c->class[i].slots * class_bytes(i);
		s.free_slots += (c->class[i].slots - heap_used_slots(&c->class[i])) * class_bytes(i);
	}
	s.free_chunks = clamp(c->free, left);
	left -= s.free_chunks;
	s.slots = MIN(s.slots, left);
	s.free_slots = MIN(s.free_slots, s.slots);
	left -= s.free_slots;
	s.cached = clamp(c->cached, left);
	s.live = left - s.cached + s.mapped;
	return s;
}
