/* What a process's allocator holds and what of it is in use: sums of what it has counted (base/heapcount.h). */
#ifndef STW_CLI_SEE_HEAPSUM_H
#define STW_CLI_SEE_HEAPSUM_H

#include "base/heapcount.h"

/* Bytes. held = live + free_slots + cached + free_chunks + meta. Zeros: it does not use Steward's malloc. */
struct heap_sum {
	uint64_t held;        /* from the system, as far as it was ever touched */
	uint64_t live;        /* blocks in use, as large as they were made */
	uint64_t mapped;      /* of them: in mappings of their own */
	uint64_t slots;       /* slabs for small blocks, whether they are in use or not */
	uint64_t free_slots;  /* of them: not in use */
	uint64_t cached;      /* freed chunks that their threads keep for a while */
	uint64_t free_chunks; /* free in bins and at the tops of heaps */
	uint64_t meta;        /* what the allocator knows about blocks */
};

struct heap_sum heap_sum(const struct heap_counts *c);
/* Of a class, as it was counted: a little less or more than what can be is cut. */
uint64_t heap_used_slots(const struct heap_class *c);

#endif
