#include "malloc/heapstat.h"

#include <string.h>

#include "malloc/meta.h"

static void add_slab(void *ctx, struct slab *slab)
{
	struct arena_stat *s = ctx;
	struct class_stat *c = &s->classes[slab->class];
	size_t slots = slab_is_dissolved(slab) ? slab->used : slab->nr_slots;
	size_t free_slots = slab_free_slots(slab) - (slab->nr_slots - slots);

	c->slabs += !slab_is_dissolved(slab);
	c->slots += slots;
	c->free += free_slots;
	s->free_bytes += free_slots * slab->slot_bytes;
}

bool arena_stat(struct arena *a, struct arena_stat *s)
{
	memset(s, 0, sizeof(*s));
	if (!arena_lock(a))
		return false;
	s->top = a->top_fresh - (uintptr_t)a->top;
	s->bytes = arena_bytes(a);
	s->bytes_max = a->segment_bytes_max;
	s->free_bytes = arena_free_bytes(a);
	s->free_chunks = a->free_chunks + (a->top != NULL);
	slab_each(a, add_slab, s);
	arena_unlock(a);
	return true;
}

static void add_arena(struct arena_stat *sum, const struct arena_stat *s)
{
	sum->bytes += s->bytes;
	sum->bytes_max += s->bytes_max;
	sum->free_bytes += s->free_bytes;
	sum->free_chunks += s->free_chunks;
	sum->top += s->top;
	for (unsigned class = 0; class < NR_CLASSES; class++) {
		sum->classes[class].slabs += s->classes[class].slabs;
		sum->classes[class].slots += s->classes[class].slots;
		sum->classes[class].free += s->classes[class].free;
	}
}

void heap_stat(struct heap_stat *s)
{
	struct arena_stat one;
	size_t not_used;

	memset(s, 0, sizeof(*s));
	for (unsigned i = 0; i < ARENAS_MAX; i++) {
		struct arena *a = arena_nth(i);

		if (a == NULL || !arena_stat(a, &one))
			continue;
		s->arenas++;
		add_arena(&s->sum, &one);
	}
	tcache_count(&s->caches);
	s->mapped = param_get(&mapped_stat.count);
	s->mapped_bytes = param_get(&mapped_stat.bytes);
	s->mapped_max = param_get(&mapped_stat.count_max);
	s->mapped_bytes_max = param_get(&mapped_stat.bytes_max);
	s->meta_bytes = meta_bytes(&s->meta_mapped);
	s->held_bytes = s->sum.bytes + s->mapped_bytes + s->meta_bytes;
	not_used = s->sum.free_bytes + s->caches.bytes;
	s->used_bytes = s->mapped_bytes + s->sum.bytes - MIN(not_used, s->sum.bytes);
}

/* What is counted one after the other may not fit together for a moment. */
size_t heap_slots_used(const struct heap_stat *s, unsigned class)
{
	const struct class_stat *c = &s->sum.classes[class];
	size_t not_used = c->free + s->caches.slots[class];

	return c->slots - MIN(not_used, c->slots);
}
