/*
 * The heap as a list of regions, for pictures of it.
 *
 * Arenas are walked chunk by chunk under their lock, one after the other.
 * Blocks in mappings of their own stand in a table as they come and go: nobody
 * may look at a block that its owner can give back at this moment.
 */
#include "malloc/heapmap.h"

#include "malloc/addrtable.h"
#include "malloc/arena.h"
#include "malloc/pagemap.h"
#include "malloc/slab.h"
#include "steward/malloc.h"

#define API __attribute__((visibility("protected")))

enum { ADDR, BYTES, ENTRY_WORDS };

static struct addr_table mapped_blocks = { .words = ENTRY_WORDS };

struct visitor {
	void (*fn)(void *ctx, const struct stw_heap_region *region);
	void *ctx;
};

/* Without memory for the table the block is missing in pictures, and nothing else. */
void heapmap_mapped(const void *mem, size_t bytes)
{
	uintptr_t entry[ENTRY_WORDS] = { [ADDR] = (uintptr_t)mem, [BYTES] = bytes };

	addr_insert(&mapped_blocks, entry);
}

void heapmap_unmapped(const void *mem)
{
	addr_remove(&mapped_blocks, (uintptr_t)mem, NULL);
}

static void visit_chunk(const struct visitor *v, unsigned arena, const struct chunk *c)
{
	const struct slab *s = pagemap_slab(chunk_mem(c));
	struct stw_heap_region r = { .addr = c, .bytes = chunk_size(c), .arena = arena };

	r.kind = chunk_inuse(c) ? STW_HEAP_USED : STW_HEAP_FREE;
	if (s != NULL && s->base == (uintptr_t)chunk_mem(c) && !slab_is_dissolved(s)) {
		r.kind = STW_HEAP_SLAB;
		r.slot_bytes = s->slot_bytes;
		r.slots = s->nr_slots;
		r.slots_used = s->nr_slots - slab_free_slots(s);
	}
	v->fn(v->ctx, &r);
}

static void visit_arena(const struct visitor *v, struct arena *a, unsigned number)
{
	for (const struct segment *s = a->segments; s != NULL; s = s->next) {
		uintptr_t stop = s == a->current ? (uintptr_t)a->top : s->end - CHUNK_ALIGN;

		/* What is shorter than a chunk is a fence. */
		for (const struct chunk *c = s->first; (uintptr_t)c < stop; c = chunk_next(c))
			if (chunk_size(c) >= CHUNK_MIN)
				visit_chunk(v, number, c);
	}
	if (a->top != NULL && a->top_fresh > (uintptr_t)a->top)
		v->fn(v->ctx, &(struct stw_heap_region){ .addr = a->top, .bytes = a->top_fresh - (uintptr_t)a->top,
							 .kind = STW_HEAP_TOP, .arena = number });
}

static void visit_mapped(void *ctx, const uintptr_t *entry)
{
	const struct visitor *v = ctx;

	v->fn(v->ctx, &(struct stw_heap_region){ .addr = (void *)entry[ADDR], .bytes = entry[BYTES],
						 .kind = STW_HEAP_MAPPED });
}

API void stw_heap_map(void (*fn)(void *ctx, const struct stw_heap_region *region), void *ctx)
{
	struct visitor v = { .fn = fn, .ctx = ctx };
	uintptr_t entry[ENTRY_WORDS];

	for (unsigned i = 0; i < ARENAS_MAX; i++) {
		struct arena *a = arena_nth(i);

		if (a == NULL || !arena_lock(a))
			continue;
		visit_arena(&v, a, i);
		arena_unlock(a);
	}
	addr_each(&mapped_blocks, entry, visit_mapped, &v);
}
