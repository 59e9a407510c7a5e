/*
 * Slab caches on buddy frames (SLUB's sizing rules, mm/slub.c calculate_order)
 * and kmalloc size classes. Objects live in the direct map. The caller holds
 * the machine's lock.
 */
#ifndef STW_MM_PHYS_SLAB_H
#define STW_MM_PHYS_SLAB_H

#include "mm/phys/phys.h"

#define KMALLOC_CLASSES 13 /* 8 16 32 64 96 128 192 256 512 1k 2k 4k 8k */

struct kmem_cache {
	const char *name;
	struct phys *phys;
	uint32_t object_size; /* as asked for */
	uint32_t size;        /* with alignment and free pointer: the stride */
	uint16_t objects;     /* in one slab */
	uint8_t order;        /* frames in one slab: 1 << order */
	uint32_t free_offset; /* of the free pointer in a free object */
	uint32_t min_partial; /* empty slabs are kept while there are fewer partial ones */
	struct frame_list partial;
	uint32_t nr_partial, nr_slabs;
	uint64_t nr_inuse;    /* objects handed out */
	enum alloc_depth depth; /* for new slabs */
};

struct kmalloc {
	struct kmem_cache cache[KMALLOC_CLASSES];
	struct phys *phys;
};

/* nr_cpus enters SLUB's order rule; align is a power of two, 0 for a word. -EINVAL: size 0 or above 4 MiB. */
int kmem_cache_init(struct kmem_cache *c, struct phys *p, const char *name, size_t size, size_t align, unsigned nr_cpus);
/* NULL when no frame is to be had. Contents are undefined. */
void *kmem_cache_alloc(struct kmem_cache *c);
void kmem_cache_free(struct kmem_cache *c, void *object);
/* Gives all empty slabs back; returns frames freed. */
uint32_t kmem_cache_shrink(struct kmem_cache *c);
/* Every object must have been freed. */
void kmem_cache_destroy(struct kmem_cache *c);
void kmem_cache_check(const struct kmem_cache *c);

int kmalloc_init(struct kmalloc *k, struct phys *p, unsigned nr_cpus);
/* Up to 8 KiB from a cache, up to 4 MiB from the buddy system; NULL beyond, or without memory. */
void *kmalloc(struct kmalloc *k, size_t size);
void kfree(struct kmalloc *k, void *object);
/* Bytes usable at object. */
size_t ksize(struct kmalloc *k, const void *object);
void kmalloc_destroy(struct kmalloc *k);

#endif
