/* What stands in front of the arenas: size classes, the thread's cache, slabs. For explain alloc --slabs. */
#ifndef STW_CLI_EXPLAIN_FRONT_H
#define STW_CLI_EXPLAIN_FRONT_H

#include "base/types.h"

/* Before a malloc of this size, or a free of the block. */
void front_before_malloc(uint64_t bytes);
void front_before_free(const void *mem);

/* Tells how the front served it; false: it did not, the arena's steps did. */
bool front_tell_malloc(const void *mem, uint64_t bytes);
/* The same for the block that was freed. */
bool front_tell_free(const void *mem);

/* The slab that a block is in, for the heading of its free and the list of the heap: its slot and its slab's bytes. False: none. */
bool front_slot(const void *mem, size_t *slot, size_t *slot_bytes, const void **slab);
/* One line for a chunk that is a slab or in the cache; false: it is neither. */
bool front_tell_chunk(const void *mem);

#endif
