/*
 * Pages for Steward's allocator out of a modelled address space: a source (malloc/pagesrc.h) that gives memory of this
 * process and tells the model of it, under the addresses that the program would see.
 */
#ifndef STW_CLI_EXPLAIN_HEAP_H
#define STW_CLI_EXPLAIN_HEAP_H

#include "cli/explain/scene.h"

enum heap_call { HEAP_MAP, HEAP_UNMAP, HEAP_GROW, HEAP_SHRINK, HEAP_DISCARD, HEAP_REVIVE, HEAP_PURGE };

/* One call of the allocator, as the program's addresses. */
struct heap_event {
	enum heap_call call;
	uint64_t start, bytes;
};

#define HEAP_EVENTS_MAX 16

/*
 * The allocator of this process stands on it from now on; once. start_brk and mmap_base: of the program. 0 or the
 * exit status after having said why.
 */
int heap_use(struct sim *s, uint32_t task, uint64_t start_brk, uint64_t mmap_base);
/* The allocator's calls since the last heap_forget, the first HEAP_EVENTS_MAX of them. */
unsigned heap_events(const struct heap_event **events);
void heap_forget(void);
/* The program's address of memory that the source gave. */
uint64_t heap_address(const void *host);
/* The program writes to every page that has a byte of [host, host + bytes). 0 or the exit status. */
int heap_write(const void *host, uint64_t bytes);

#endif
