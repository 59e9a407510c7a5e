/*
 * Blocks of their own mapping, for requests at or above the threshold.
 *
 *   ├ offset (alignment; less than a page) ┤ prev_size: MAGIC | offset ┤ head: size | MMAPPED ┤ mem … ┤
 *
 * The threshold rises to the size of what is freed here (up to 32 MiB): a size
 * that comes and goes is served better from the heap, where its pages stay.
 */
#include "malloc/arena.h"

#define MAGIC ((size_t)0x53d7)
#define MAGIC_SHIFT 48
#define OFFSET_MASK (((size_t)1 << MAGIC_SHIFT) - 1)

struct mapped_stat mapped_stat;

static void raise_max(_Atomic size_t *max, size_t v)
{
	size_t old = atomic_load_explicit(max, memory_order_relaxed);

	while (old < v && !atomic_compare_exchange_weak_explicit(max, &old, v, memory_order_relaxed,
								 memory_order_relaxed))
		;
}

static void count_bytes(size_t plus, size_t minus)
{
	size_t d = plus - minus;

	raise_max(&mapped_stat.bytes_max, atomic_fetch_add_explicit(&mapped_stat.bytes, d, memory_order_relaxed) + d);
}

static struct chunk *format(uintptr_t block, size_t offset, size_t total)
{
	struct chunk *c = (struct chunk *)(block + offset);

	c->prev_size = MAGIC << MAGIC_SHIFT | offset;
	chunk_set_head(c, (total - offset) | MMAPPED);
	return c;
}

/* Maps room for an aligned block and gives back the pages before and after. */
static struct chunk *map_aligned(size_t size, size_t align, size_t *total)
{
	const struct pagesrc *src = source();
	size_t room = ALIGN_UP(size + CHUNK_OVERHEAD + align, PAGE_SIZE);
	uintptr_t p = (uintptr_t)src->map(room);

	if (p == 0)
		return NULL;

	uintptr_t mem = ALIGN_UP(p + CHUNK_HEADER, align), c = mem - CHUNK_HEADER;
	uintptr_t lo = ALIGN_DOWN(c, PAGE_SIZE), hi = ALIGN_UP(c + size + CHUNK_OVERHEAD, PAGE_SIZE);

	if (lo != p)
		src->unmap((void *)p, lo - p);
	if (hi != p + room)
		src->unmap((void *)hi, p + room - hi);
	*total = hi - lo;
	return format(lo, c - lo, *total);
}

struct chunk *mapped_alloc(size_t size, size_t align)
{
	size_t total = ALIGN_UP(size + CHUNK_OVERHEAD, PAGE_SIZE);
	struct chunk *c;

	if (atomic_fetch_add_explicit(&mapped_stat.count, 1, memory_order_relaxed) >= param_get(&params.maps_max))
		goto fail;
	if (align > CHUNK_ALIGN) {
		c = map_aligned(size, align, &total);
		if (c == NULL)
			goto fail;
	} else {
		void *p = source()->map(total);

		if (p == NULL)
			goto fail;
		c = format((uintptr_t)p, 0, total);
	}
	raise_max(&mapped_stat.count_max, param_get(&mapped_stat.count));
	count_bytes(total, 0);
	return c;
fail:
	atomic_fetch_sub_explicit(&mapped_stat.count, 1, memory_order_relaxed);
	return NULL;
}

bool mapped_valid(const struct chunk *c)
{
	size_t head = chunk_head(c), offset = c->prev_size & OFFSET_MASK;

	return (head & HEAD_FLAGS) == MMAPPED && c->prev_size >> MAGIC_SHIFT == MAGIC && offset < PAGE_SIZE &&
	       ((uintptr_t)c - offset) % PAGE_SIZE == 0 && (chunk_size(c) + offset) % PAGE_SIZE == 0;
}

void mapped_free(struct chunk *c)
{
	size_t offset = c->prev_size & OFFSET_MASK, size = chunk_size(c);

	if (size > param_get(&params.mmap_threshold) && size <= MMAP_THRESHOLD_MAX && !params.fixed_thresholds) {
		atomic_store_explicit(&params.mmap_threshold, size, memory_order_relaxed);
		atomic_store_explicit(&params.trim_threshold, 2 * size, memory_order_relaxed);
	}
	atomic_fetch_sub_explicit(&mapped_stat.count, 1, memory_order_relaxed);
	count_bytes(0, size + offset);
	source()->unmap((void *)((uintptr_t)c - offset), size + offset);
}

struct chunk *mapped_resize(struct chunk *c, size_t size)
{
	size_t offset = c->prev_size & OFFSET_MASK, old = offset + chunk_size(c);
	size_t total = ALIGN_UP(offset + size + CHUNK_OVERHEAD, PAGE_SIZE);
	const struct pagesrc *src = source();

	if (total == old)
		return c;
	if (src->remap == NULL)
		return NULL;

	uintptr_t p = (uintptr_t)src->remap((void *)((uintptr_t)c - offset), old, total);

	if (p == 0)
		return NULL;
	count_bytes(total, old);
	return format(p, offset, total);
}
