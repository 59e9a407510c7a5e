/*
 * Regions, one after the other; in a region memory is handed out upward with
 * one atomic addition. Whoever finds it full maps the next. The first is static,
 * so that a small program maps nothing.
 */
#include "malloc/meta.h"

#include <stdatomic.h>

#include "malloc/arena.h"
#include "malloc/count.h"

#define FIRST_BYTES ((size_t)128 << 10)
#define REGION_BYTES ((size_t)1 << 20)

struct region {
	_Atomic size_t used;
	size_t bytes;
	_Alignas(META_ALIGN) uint8_t mem[];
};

static union {
	struct region region;
	uint8_t room[sizeof(struct region) + FIRST_BYTES];
} first; /* bytes 0 stands for FIRST_BYTES: so it takes no room in the file */

static _Atomic(struct region *) current = &first.region;
static _Atomic size_t handed_out, mapped_bytes = FIRST_BYTES;

/* A region after `full`, made by us or by somebody else. */
static struct region *next_region(struct region *full, size_t bytes)
{
	size_t total = MAX(REGION_BYTES, ALIGN_UP(sizeof(struct region) + bytes, PAGE_SIZE));
	struct region *r = source()->map(total);

	if (r == NULL)
		return NULL;
	r->bytes = total - sizeof(struct region);
	if (!atomic_compare_exchange_strong(&current, &full, r)) {
		source()->unmap(r, total);
		return full;
	}
	atomic_fetch_add_explicit(&mapped_bytes, total, memory_order_relaxed);
	return r;
}

void *meta_alloc(size_t bytes)
{
	struct region *r = atomic_load(&current);

	bytes = ALIGN_UP(bytes, META_ALIGN);
	while (r != NULL) {
		size_t at = atomic_fetch_add(&r->used, bytes);

		if (at + bytes <= (r == &first.region ? FIRST_BYTES : r->bytes)) {
			atomic_fetch_add_explicit(&handed_out, bytes, memory_order_relaxed);
			count_add(&counts->meta, bytes);
			return r->mem + at;
		}
		r = next_region(r, bytes);
	}
	return NULL;
}

size_t meta_bytes(size_t *mapped)
{
	*mapped = atomic_load_explicit(&mapped_bytes, memory_order_relaxed);
	return atomic_load_explicit(&handed_out, memory_order_relaxed);
}
