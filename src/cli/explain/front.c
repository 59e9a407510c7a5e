#include "cli/explain/front.h"

#include <stdio.h>

#include "cli/explain/heap.h"
#include "cli/table.h"
#include "malloc/pagemap.h"
#include "malloc/tcache.h"

/* The cache before the call. */
static struct {
	const struct slab *slab; /* free: the block's */
	unsigned class;
	uint32_t slots, slabs;   /* at hand of the class; made for it */
	const struct chunk *chunks[NR_CHUNK_STACKS * CHUNK_STACK_MAX];
	unsigned nr_chunks;
} before;

/* The chunks in the thread's cache at this moment. */
static unsigned cached_chunks(const struct chunk **chunks)
{
	const struct tcache *t = tcache_own;
	unsigned n = 0;

	for (unsigned i = 0; t != NULL && i < NR_CHUNK_STACKS; i++)
		for (unsigned j = 0; j < t->stacks[i].n; j++)
			chunks[n++] = t->stacks[i].chunks[j].chunk;
	return n;
}

static bool is_in(const struct chunk *const *chunks, unsigned n, const struct chunk *c)
{
	for (unsigned i = 0; i < n; i++)
		if (chunks[i] == c)
			return true;
	return false;
}

static bool is_cached(const struct chunk *c)
{
	const struct chunk *chunks[ARRAY_SIZE(before.chunks)];

	return is_in(chunks, cached_chunks(chunks), c);
}

static void look(unsigned class)
{
	const struct tcache *t = tcache_own;

	before.class = class;
	before.slots = t != NULL ? tcache_held(t, class) : 0;
	before.slabs = t != NULL ? t->bins[class].nr_slabs : 0;
	before.nr_chunks = cached_chunks(before.chunks);
}

void front_before_malloc(uint64_t bytes)
{
	look(bytes <= SLOT_MAX ? slot_class(bytes) : 0);
}

void front_before_free(const void *mem)
{
	before.slab = pagemap_slab(mem);
	look(before.slab != NULL ? before.slab->class : 0);
}

static void tell_class(unsigned class)
{
	printf("  class     slots of %zu bytes, for requests of %zu to %zu\n", class_bytes(class),
	       class == 0 ? 0 : class_bytes(class - 1) + 1, class_bytes(class));
}

static void tell_refill(const struct slab *s)
{
	const struct bin *b = &tcache_own->bins[before.class];
	uint32_t held = tcache_held(tcache_own, before.class);

	printf("  cache     has no free slot of the class\n");
	if (b->nr_slabs > before.slabs)
		printf("  slab      made of a chunk of the arena, %zu bytes, %u slots\n",
		       (size_t)s->pages * PAGE_SIZE, s->nr_slots);
	printf("  cache     filled with %u slot%s of the slab at 0x%llx\n", held + 1, held == 0 ? "" : "s",
	       (unsigned long long)heap_address((const void *)s->base));
}

static bool tell_cached_chunk(const struct chunk *c)
{
	if (!is_in(before.chunks, before.nr_chunks, c))
		return false;
	printf("  cache     has a chunk of %zu bytes: taken, without a lock\n", chunk_size(c));
	return true;
}

bool front_tell_malloc(const void *mem, uint64_t bytes)
{
	const struct slab *s = pagemap_slab(mem);

	if (s == NULL)
		return tell_cached_chunk(mem_chunk(mem));
	tell_class(s->class);
	if (before.slots != 0)
		printf("  cache     has %u free slot%s of the class: the newest is taken\n", before.slots,
		       before.slots == 1 ? "" : "s");
	else
		tell_refill(s);
	printf("  slot      number %zu of its slab; it has no header, %zu bytes are left over\n", slab_slot(s, mem),
	       s->slot_bytes - (size_t)bytes);
	return true;
}

bool front_tell_free(const void *mem)
{
	uint32_t held = tcache_held(tcache_own, before.class);

	if (before.slab == NULL) {
		if (!is_cached(mem_chunk(mem)))
			return false;
		printf("  cache     keeps the chunk; for the arena it is in use\n");
		return true;
	}
	tell_class(before.class);
	if (held > before.slots)
		printf("  cache     takes the slot: %u at hand\n", held);
	else
		printf("  cache     was full: older ones went back to their slabs, %u at hand\n", held);
	if (tcache_own->bins[before.class].nr_slabs < before.slabs)
		printf("  slab      without a slot in use: its chunk goes back to the arena\n");
	return true;
}

bool front_slot(const void *mem, size_t *slot, size_t *slot_bytes, const void **slab)
{
	const struct slab *s = pagemap_slab(mem);

	if (s == NULL)
		return false;
	*slot = slab_slot(s, mem);
	*slot_bytes = s->slot_bytes;
	*slab = (const void *)s->base;
	return true;
}

bool front_tell_chunk(const void *mem)
{
	const struct slab *s = pagemap_slab(mem);

	if (s != NULL) {
		size_t used = s->nr_slots - slab_free_slots(s), cached = tcache_held(tcache_own, s->class);

		printf("slab: %u slots of %u, %zu free, %zu at hand\n", s->nr_slots, s->slot_bytes, s->nr_slots - used, cached);
	} else if (is_cached(mem_chunk(mem))) {
		printf("at hand in the cache\n");
	} else {
		return false;
	}
	return true;
}
