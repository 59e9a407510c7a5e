/*
 * A radix tree of 64-bit values by 64-bit index, with tags: 6 bits a level, as
 * tall as its highest index wants (Linux's xarray). The index of the page
 * cache. The caller holds the machine's lock.
 */
#ifndef STW_MM_BACKING_RADIX_H
#define STW_MM_BACKING_RADIX_H

#include "mm/phys/slab.h"

#define RADIX_BITS 6
#define RADIX_SLOTS (1u << RADIX_BITS)
#define RADIX_TAGS 2

struct radix_node;

/*
 * Law: every node has a child or value; the root is no taller than needed; a
 * tag stands above each slot that has it, and nowhere else.
 */
struct radix {
	struct kmem_cache *slab; /* of nodes */
	struct radix_node *root; /* NULL: no value */
	uint8_t height;          /* levels */
	uint32_t nr_nodes;
};

/* A cache of nodes, for any number of trees. 0 or -EINVAL. */
int radix_cache_init(struct kmem_cache *slab, struct phys *p);

void radix_init(struct radix *r, struct kmem_cache *slab);
/* Forgets all values, frees all nodes. */
void radix_destroy(struct radix *r);

/* The value at index; 0: none. */
uint64_t radix_get(const struct radix *r, uint64_t index);
/* Sets it. 0 removes it and its tags. Removing and replacing cannot fail; else -ENOMEM (nothing changed). Tags stay. */
int radix_set(struct radix *r, uint64_t index, uint64_t value);

/* index has a value; tag below RADIX_TAGS. */
void radix_tag(struct radix *r, uint64_t index, unsigned tag);
void radix_untag(struct radix *r, uint64_t index, unsigned tag);
bool radix_tagged(const struct radix *r, uint64_t index, unsigned tag);

#define RADIX_ANY RADIX_TAGS /* instead of a tag: whatever it has */

/* The first value at or above from, and at or below last, that has the tag. False when there is none. */
bool radix_next(const struct radix *r, uint64_t from, uint64_t last, unsigned tag, uint64_t *index, uint64_t *value);

void radix_check(const struct radix *r);

#endif
