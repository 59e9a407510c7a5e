/*
 * Blocks of their own mapping, for requests at or above the threshold.
 *
 *   ├ slack ┤ prev_size: bytes of the mapping | offset | GUARDED ┤ head: seal | MMAPPED ┤ mem … ┤ guard page ┤
 *   └ offset: less than a page ┘
 *
 * The block lies at the end of its pages, as far as its alignment allows: so
 * what runs beyond it meets the guard page. The slack before it stays zero, and
 * the seal tells whether the header is what we wrote; both are looked at when
 * the block comes back.
 *
 * In the secure mode the guard is larger and there is one before the mapping too,
 * of 1 to 7 MiB at random: so nobody can count on what lies beside a block.
 *
 * A guard splits the mapping, and the kernel allows a process 65530 of them:
 * beyond GUARDED_MAX blocks there are no new guards.
 *
 * The threshold rises to the size of what is freed here (up to 32 MiB): a size
 * that comes and goes is served better from the heap, where its pages stay.
 */
#include "malloc/count.h"
#include "malloc/secure.h"

#define GUARDED ((size_t)1)
#define LEAD_SHIFT 1             /* three bits: the MiB without access before and behind it, in the secure mode */
#define LEAD_MAX 7
#define GUARDED_MAX 8192
#define GUARD_BYTES PAGE_SIZE

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

	count_add(&counts->mapped, d);
	raise_max(&mapped_stat.bytes_max, atomic_fetch_add_explicit(&mapped_stat.bytes, d, memory_order_relaxed) + d);
}

/* What the head must be, given the word before it. Its first and its last byte are never 0. */
static size_t seal(const struct chunk *c)
{
	size_t x = (c->prev_size ^ (uintptr_t)c ^ process_secret()) * 0x9e3779b97f4a7c15u;

	x = (x ^ x >> 32) | (size_t)1 << 63;
	return (x & ~HEAD_FLAGS) | MMAPPED;
}

/* guard: 0, GUARD_BYTES, or a lead. */
static struct chunk *format(uintptr_t lo, size_t offset, size_t total, size_t guard)
{
	struct chunk *c = (struct chunk *)(lo + offset);

	c->prev_size = total | offset | (guard != 0 ? GUARDED | guard / MIB << LEAD_SHIFT : 0);
	chunk_set_head(c, seal(c));
	return c;
}

/* The guard before the mapping. */
static size_t lead_bytes(const struct chunk *c)
{
	return (c->prev_size >> LEAD_SHIFT & LEAD_MAX) * MIB;
}

/* The guard behind it. */
static size_t guard_bytes(const struct chunk *c)
{
	return (c->prev_size & GUARDED) != 0 ? MAX(lead_bytes(c), GUARD_BYTES) : 0;
}

/* What a new mapping gets behind its pages. */
static size_t guard_wanted(const struct pagesrc *src)
{
	return src->guard != NULL && param_get(&mapped_stat.count) <= GUARDED_MAX ? GUARD_BYTES : 0;
}

/* The same before and behind. */
static size_t lead_wanted(const struct pagesrc *src)
{
	return secure_mode() && guard_wanted(src) != 0 ? (1 + secure_random(LEAD_MAX)) * MIB : 0;
}

/* Maps room for the pages with a block aligned beyond a page in the second of them, and gives the rest back. */
static uintptr_t map_aligned(const struct pagesrc *src, size_t total, size_t align)
{
	size_t room = total + align;
	uintptr_t p = (uintptr_t)src->map(room);

	if (p == 0)
		return 0;

	uintptr_t lo = ALIGN_UP(p + PAGE_SIZE, align) - PAGE_SIZE, hi = lo + total;

	if (lo != p)
		src->unmap((void *)p, lo - p);
	if (hi != p + room)
		src->unmap((void *)hi, p + room - hi);
	return lo;
}

/* One more, if so many are allowed. */
static bool count_one(void)
{
	if (atomic_fetch_add_explicit(&mapped_stat.count, 1, memory_order_relaxed) < param_get(&params.maps_max))
		return true;
	atomic_fetch_sub_explicit(&mapped_stat.count, 1, memory_order_relaxed);
	return false;
}

struct chunk *mapped_alloc(size_t bytes, size_t align)
{
	const struct pagesrc *src = source();
	size_t block = ALIGN_UP(MAX(bytes, (size_t)1), MIN(align, PAGE_SIZE));
	size_t total = ALIGN_UP(block + CHUNK_HEADER, PAGE_SIZE);
	size_t lead = align > PAGE_SIZE ? 0 : lead_wanted(src), guard = MAX(lead, guard_wanted(src));
	uintptr_t lo;

	if (!count_one())
		return NULL;
	lo = align > PAGE_SIZE ? map_aligned(src, total + guard, align) : (uintptr_t)src->map(lead + total + guard);
	if (lo == 0) {
		atomic_fetch_sub_explicit(&mapped_stat.count, 1, memory_order_relaxed);
		return NULL;
	}
	if (lead != 0)
		src->guard((void *)lo, lead);
	lo += lead;
	if (guard != 0)
		src->guard((void *)(lo + total), guard);
	raise_max(&mapped_stat.count_max, param_get(&mapped_stat.count));
	count_bytes(total, 0);
	return format(lo, total - block - CHUNK_HEADER, total, guard);
}

bool mapped_valid(const struct chunk *c)
{
	return chunk_head(c) == seal(c) && ((uintptr_t)c - mapped_offset(c)) % PAGE_SIZE == 0;
}

/* Where the mapping begins; nobody has written to the slack. */
static uintptr_t mapped_start(const struct chunk *c)
{
	uintptr_t lo = (uintptr_t)c - mapped_offset(c);

	for (const size_t *p = (const size_t *)lo; p < &c->prev_size; p++)
		if (unlikely(*p != 0))
			misuse("write before the beginning of a block", chunk_mem(c));
	return lo;
}

void mapped_free(struct chunk *c)
{
	uintptr_t lo = mapped_start(c);
	size_t bytes = mapped_extent(c), lead = lead_bytes(c);

	if (secure_mode())
		secure_forget_mapped(c);
	if (bytes > param_get(&params.mmap_threshold) && bytes <= MMAP_THRESHOLD_MAX && !params.fixed_thresholds) {
		atomic_store_explicit(&params.mmap_threshold, bytes, memory_order_relaxed);
		atomic_store_explicit(&params.trim_threshold, 2 * bytes, memory_order_relaxed);
	}
	atomic_fetch_sub_explicit(&mapped_stat.count, 1, memory_order_relaxed);
	count_bytes(0, bytes);
	source()->unmap((void *)(lo - lead), lead + bytes + guard_bytes(c));
}

/* The guards go first: with one in the way no mapping grows in place. */
struct chunk *mapped_resize(struct chunk *c, size_t bytes)
{
	size_t offset = mapped_offset(c), old = mapped_extent(c);
	size_t total = ALIGN_UP(offset + CHUNK_HEADER + bytes, PAGE_SIZE);
	const struct pagesrc *src = source();
	uintptr_t lo = mapped_start(c), p;
	size_t guard = guard_wanted(src);

	if (total == old)
		return c;
	if (src->remap == NULL)
		return NULL;
	if (secure_mode())
		secure_forget_mapped(c);
	if (lead_bytes(c) != 0)
		src->unmap((void *)(lo - lead_bytes(c)), lead_bytes(c));
	if (guard_bytes(c) != 0)
		src->unmap((void *)(lo + old), guard_bytes(c));
	p = (uintptr_t)src->remap((void *)lo, old, total + guard);
	if (p == 0) {
		format(lo, offset, old, 0);
		return NULL;
	}
	if (guard != 0)
		src->guard((void *)(p + total), guard);
	count_bytes(total, old);
	return format(p, offset, total, guard);
}
