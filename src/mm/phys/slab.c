/*
 * Slab caches: many objects of one size in a block of frames (Bonwick 1994;
 * sizing and layout as in Linux's SLUB, mm/slub.c: calculate_sizes,
 * calculate_order, set_min_partial).
 *
 *	slab of 1 << order frames, head's struct frame: cache, freelist, inuse
 *	|object|object|object|object| … |object| waste |
 *	          |      ^
 *	          +------+ a free object holds the address of the next free one
 *
 * A slab is full, partial or empty. Only slabs with a free object are on a
 * list (partial); full ones are found again through the address of an object
 * that is freed. Objects come from the first slab of the list, where the last
 * freed ones are; a slab that becomes empty goes to the end, so that it is
 * used last and can be given back. At most min_partial slabs wait like this.
 *
 * Invariants (kmem_cache_check executes them):
 * 1. A slab is on the list if and only if its freelist is not NULL.
 * 2. freelist has exactly objects - inuse distinct objects of this slab.
 * 3. A slab is a naturally aligned block of the cache's order, or of the
 *    smallest order that holds an object: the latter when memory is too
 *    fragmented for the former. That makes the head computable from an object
 *    (head_of) without a word written into the frames behind the head.
 *
 * The free pointer lies in the middle of a free object, as in Linux: writing
 * past the end of the neighbour does not reach it at once.
 *
 * Cost: a few loads and stores for an allocation or a free that changes no
 * slab's state. In debug builds objects are filled with a byte on both ways.
 *
 * kmalloc: 13 caches, above them blocks of the buddy system. kfree tells them
 * apart by looking for a slab's head at the few places where it could be;
 * otherwise the object is a block, whose order its first frame still holds.
 */
#include <errno.h>
#include <string.h>

#include "base/assert.h"
#include "mm/phys/slab.h"

#define SLAB_ORDER_MAX 3u /* slabs of small objects are not made larger than that (slub_max_order) */
#define SIZE_MAX_BYTES (PAGE_SIZE << MAX_PAGE_ORDER)

#ifdef STW_DEBUG
#define JUNK_ALLOC 0x5a
#define JUNK_FREE 0x6b
static void junk(const struct kmem_cache *c, void *object, int byte)
{
	memset(object, byte, c->object_size);
}
#else
#define junk(c, object, byte) ((void)0)
#endif

static unsigned fls(size_t x)
{
	return x == 0 ? 0 : 64 - (unsigned)__builtin_clzl(x);
}

/* The smallest order with room for size bytes. */
static unsigned order_of(size_t size)
{
	return fls((size - 1) >> PAGE_SHIFT);
}

static unsigned slab_objects(const struct kmem_cache *c, const struct frame *slab)
{
	return slab->order == c->order ? c->objects : (unsigned)((PAGE_SIZE << slab->order) / c->size);
}

/*
 * SLUB's rule: enough objects that a slab is not made too often (more with
 * more CPUs), but an order of at most 3, with at most 1/16 of it wasted, else 1/8, …
 */
static unsigned calculate_order(size_t size, unsigned nr_cpus)
{
	size_t fit = MAX((PAGE_SIZE << SLAB_ORDER_MAX) / size, (size_t)1);
	size_t want = MIN((size_t)4 * (fls(nr_cpus) + 1), fit);

	for (unsigned fraction = 16; fraction > 1; fraction /= 2) {
		for (unsigned order = order_of(want * size); order <= SLAB_ORDER_MAX; order++) {
			size_t bytes = PAGE_SIZE << order;

			if (bytes % size <= bytes / fraction)
				return order;
		}
	}
	return order_of(size);
}

int kmem_cache_init(struct kmem_cache *c, struct phys *p, const char *name, size_t size, size_t align, unsigned nr_cpus)
{
	if (size == 0 || size > SIZE_MAX_BYTES || align > SIZE_MAX_BYTES)
		return -EINVAL;
	ASSERT((align & (align - 1)) == 0 && p->direct_map != NULL);

	size_t word = sizeof(void *), padded = ALIGN_UP(size, word);
	size_t stride = ALIGN_UP(padded, MAX(align, word));

	if (stride > SIZE_MAX_BYTES)
		return -EINVAL;
	memset(c, 0, sizeof(*c));
	c->name = name;
	c->phys = p;
	c->object_size = (uint32_t)size;
	c->size = (uint32_t)stride;
	c->order = (uint8_t)calculate_order(stride, nr_cpus);
	c->objects = (uint16_t)((PAGE_SIZE << c->order) / stride);
	c->free_offset = (uint32_t)ALIGN_DOWN(padded / 2, word);
	c->min_partial = MIN(MAX((fls(stride) - 1) / 2, 5u), 10u);
	c->depth = ALLOC_LOW;
	TAILQ_INIT(&c->partial);
	return 0;
}

/* The free pointer: memcpy, because an object has the type that its user gives it. */
static void *next_free(const struct kmem_cache *c, const void *object)
{
	void *next;

	memcpy(&next, (const char *)object + c->free_offset, sizeof(next));
	return next;
}

static void set_next_free(const struct kmem_cache *c, void *object, void *next)
{
	memcpy((char *)object + c->free_offset, &next, sizeof(next));
}

static struct frame *aligned_frame(const struct phys *p, const struct frame *f, unsigned order)
{
	return &p->frames[ALIGN_DOWN(frame_pfn(p, f).n, 1u << order)];
}

/* The slab that holds an object of the cache (invariant 3). */
static struct frame *head_of(const struct kmem_cache *c, const void *object)
{
	struct frame *f = home_frame(c->phys, object);

	ASSERT(f >= c->phys->frames && f < c->phys->frames + c->phys->nr_frames);
	struct frame *slab = aligned_frame(c->phys, f, c->order);

	if (!(slab->flags & FRAME_SLAB) || slab->order != c->order)
		slab = aligned_frame(c->phys, f, order_of(c->size));
	ASSERT((slab->flags & FRAME_SLAB) && slab->slab.cache == c);
	return slab;
}

/* A new slab at the head of the list, all of its objects linked in address order. */
static struct frame *slab_create(struct kmem_cache *c)
{
	unsigned least = order_of(c->size);
	struct frame *slab = frame_alloc(c->phys, 0, c->order, MIGRATE_UNMOVABLE, c->depth);

	if (slab == NULL && least < c->order)
		slab = frame_alloc(c->phys, 0, least, MIGRATE_UNMOVABLE, c->depth);
	if (slab == NULL)
		return NULL;
	slab->flags = FRAME_SLAB;
	slab->slab.cache = c;
	slab->inuse = 0;

	char *home = frame_home(c->phys, slab);
	void *next = NULL;

	for (unsigned i = slab_objects(c, slab); i-- > 0;) {
		char *object = home + (size_t)i * c->size;

		junk(c, object, JUNK_FREE);
		set_next_free(c, object, next);
		next = object;
	}
	slab->slab.freelist = next;
	TAILQ_INSERT_HEAD(&c->partial, slab, link);
	c->nr_partial++;
	c->nr_slabs++;
	return slab;
}

static void partial_remove(struct kmem_cache *c, struct frame *slab)
{
	TAILQ_REMOVE(&c->partial, slab, link);
	c->nr_partial--;
}

/* Gives the frames of an empty slab back, which is on no list any more. */
static void slab_release(struct kmem_cache *c, struct frame *slab)
{
	c->nr_slabs--;
	slab->flags = 0;
	frame_free(c->phys, slab, slab->order);
}

void *kmem_cache_alloc(struct kmem_cache *c)
{
	struct frame *slab = TAILQ_FIRST(&c->partial);
	void *object;

	if (unlikely(slab == NULL)) {
		slab = slab_create(c);
		if (slab == NULL)
			return NULL;
	}
	object = slab->slab.freelist;
	slab->slab.freelist = next_free(c, object);
	slab->inuse++;
	c->nr_inuse++;
	if (slab->slab.freelist == NULL)
		partial_remove(c, slab);
	junk(c, object, JUNK_ALLOC);
	return object;
}

void kmem_cache_free(struct kmem_cache *c, void *object)
{
	struct frame *slab = head_of(c, object);
	bool was_full = slab->slab.freelist == NULL;

	DEBUG_ASSERT((size_t)((char *)object - (char *)frame_home(c->phys, slab)) % c->size == 0);
	/* The commonest double free, found at the price of a comparison. */
	ASSERT(slab->inuse > 0 && object != slab->slab.freelist);
	junk(c, object, JUNK_FREE);
	set_next_free(c, object, slab->slab.freelist);
	slab->slab.freelist = object;
	slab->inuse--;
	c->nr_inuse--;

	if (unlikely(slab->inuse == 0) && c->nr_partial >= c->min_partial) {
		if (!was_full)
			partial_remove(c, slab);
		slab_release(c, slab);
	} else if (was_full) {
		TAILQ_INSERT_HEAD(&c->partial, slab, link);
		c->nr_partial++;
	} else if (slab->inuse == 0) {
		TAILQ_REMOVE(&c->partial, slab, link);
		TAILQ_INSERT_TAIL(&c->partial, slab, link);
	}
}

uint32_t kmem_cache_shrink(struct kmem_cache *c)
{
	struct frame *slab, *next;
	uint32_t frames = 0;

	TAILQ_FOREACH_SAFE(slab, &c->partial, link, next) {
		if (slab->inuse != 0)
			continue;
		frames += 1u << slab->order;
		partial_remove(c, slab);
		slab_release(c, slab);
	}
	return frames;
}

void kmem_cache_destroy(struct kmem_cache *c)
{
	ASSERT(c->nr_inuse == 0);
	kmem_cache_shrink(c);
	ASSERT(c->nr_slabs == 0);
}

/*
 * A freelist of the right length that ends in NULL has no object twice: an
 * object has one successor, so a repeated one would never lead to the end.
 */
static void check_slab(const struct kmem_cache *c, const struct frame *slab)
{
	const char *home = frame_home(c->phys, slab);
	unsigned objects = slab_objects(c, slab), free = 0;

	ASSERT(slab->flags == FRAME_SLAB && slab->slab.cache == c);
	ASSERT(slab->order == c->order || slab->order == order_of(c->size));
	ASSERT(slab->inuse < objects);
	for (const char *o = slab->slab.freelist; o != NULL; o = next_free(c, o)) {
		ASSERT(o >= home && o < home + (size_t)objects * c->size && (size_t)(o - home) % c->size == 0);
		ASSERT(++free <= objects);
	}
	ASSERT(free == objects - slab->inuse);
}

void kmem_cache_check(const struct kmem_cache *c)
{
	uint64_t partial = 0, inuse = 0, full_objects;
	const struct frame *slab;

	TAILQ_FOREACH(slab, &c->partial, link) {
		check_slab(c, slab);
		partial++;
		inuse += slab->inuse;
	}
	ASSERT(partial == c->nr_partial && partial <= c->nr_slabs && inuse <= c->nr_inuse);
	/* Full slabs are on no list; they hold what is left, at one of the two orders. */
	full_objects = c->nr_inuse - inuse;
	ASSERT(full_objects <= (c->nr_slabs - partial) * c->objects);
	ASSERT(full_objects >= (c->nr_slabs - partial) * ((PAGE_SIZE << order_of(c->size)) / c->size));
}

static const struct {
	const char *name;
	size_t size;
} kmalloc_classes[KMALLOC_CLASSES] = {
	{ "kmalloc-8", 8 },     { "kmalloc-16", 16 },   { "kmalloc-32", 32 },   { "kmalloc-64", 64 },
	{ "kmalloc-96", 96 },   { "kmalloc-128", 128 }, { "kmalloc-192", 192 }, { "kmalloc-256", 256 },
	{ "kmalloc-512", 512 }, { "kmalloc-1k", 1024 }, { "kmalloc-2k", 2048 }, { "kmalloc-4k", 4096 },
	{ "kmalloc-8k", 8192 },
};

#define KMALLOC_CACHE_MAX 8192

int kmalloc_init(struct kmalloc *k, struct phys *p, unsigned nr_cpus)
{
	k->phys = p;
	for (unsigned i = 0; i < KMALLOC_CLASSES; i++) {
		int err = kmem_cache_init(&k->cache[i], p, kmalloc_classes[i].name, kmalloc_classes[i].size, 0, nr_cpus);

		if (err != 0)
			return err;
	}
	return 0;
}

/* Powers of two, with 96 and 192 between: half of all requests between 64 and 256 bytes would waste a third. */
static unsigned kmalloc_class(size_t size)
{
	if (size <= 8)
		return 0;
	if (size <= 64)
		return fls(size - 1) - 3;
	if (size <= 192)
		return size <= 96 ? 4 : size <= 128 ? 5 : 6;
	return fls(size - 1) - 1;
}

void *kmalloc(struct kmalloc *k, size_t size)
{
	if (likely(size <= KMALLOC_CACHE_MAX))
		return kmem_cache_alloc(&k->cache[kmalloc_class(size)]);
	if (size > SIZE_MAX_BYTES)
		return NULL;

	struct frame *f = frame_alloc(k->phys, 0, order_of(size), MIGRATE_UNMOVABLE, ALLOC_LOW);

	return f != NULL ? frame_home(k->phys, f) : NULL;
}

/* The slab that a kmalloc object lies in, or NULL: a block of its own. */
static struct frame *kmalloc_slab(const struct kmalloc *k, const void *object)
{
	struct frame *f = home_frame(k->phys, object);

	ASSERT(f >= k->phys->frames && f < k->phys->frames + k->phys->nr_frames);
	for (unsigned order = 0; order <= SLAB_ORDER_MAX; order++) {
		struct frame *head = aligned_frame(k->phys, f, order);

		if ((head->flags & FRAME_SLAB) && f < head + (1u << head->order))
			return head;
	}
	ASSERT(f->flags == 0 && f->refs == 1 && (const void *)frame_home(k->phys, f) == object);
	return NULL;
}

void kfree(struct kmalloc *k, void *object)
{
	if (object == NULL)
		return;

	struct frame *slab = kmalloc_slab(k, object);

	if (likely(slab != NULL)) {
		kmem_cache_free(slab->slab.cache, object);
	} else {
		struct frame *f = home_frame(k->phys, object);

		frame_free(k->phys, f, f->order);
	}
}

size_t ksize(struct kmalloc *k, const void *object)
{
	if (object == NULL)
		return 0;

	const struct frame *slab = kmalloc_slab(k, object);

	return slab != NULL ? slab->slab.cache->object_size : PAGE_SIZE << home_frame(k->phys, object)->order;
}

void kmalloc_destroy(struct kmalloc *k)
{
	for (unsigned i = 0; i < KMALLOC_CLASSES; i++)
		kmem_cache_destroy(&k->cache[i]);
}
