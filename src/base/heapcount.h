/*
 * What an allocator has counted of its heap, where others may read it at any time: the ledger has one for each process of a
 * run. The allocator adds to it as it takes and gives back in bulk (malloc/count.h), so a reader neither waits nor disturbs.
 */
#ifndef STW_BASE_HEAPCOUNT_H
#define STW_BASE_HEAPCOUNT_H

#include "base/types.h"

#define HEAP_CLASSES 56 /* sizes of small blocks, each of which has slabs of its own */

/* In bytes, but for slots. Each changes by atomic additions; together they are of about one moment. */
struct heap_counts {
	uint64_t heaps;  /* heaps as far as they were ever touched */
	uint64_t free;   /* of them: free in bins, and at the top */
	uint64_t cached; /* of them: chunks that a thread has freed and may want again */
	uint64_t mapped; /* blocks in mappings of their own */
	uint64_t meta;   /* what the allocator knows about blocks */
	struct heap_class {
		uint64_t slots; /* in the slabs of this size */
		uint64_t used;  /* of them: neither in a slab nor in a thread's cache */
	} class[HEAP_CLASSES];
};

#endif
