/*
 * Where the allocator gets pages: its only door to the system.
 *
 * Three sources exist: plain mmap (the default), the live engine (which must
 * hear of new ranges and of pages without content), and a simulated address
 * space. All addresses and sizes are multiples of the page size.
 */
#ifndef STW_MALLOC_PAGESRC_H
#define STW_MALLOC_PAGESRC_H

#include "base/types.h"

struct pagesrc {
	/* Zeroed, readable, writable pages; NULL without memory (errno stays as it was). */
	void *(*map)(size_t bytes);
	/* Any pages of what map gave, guarded ones too, none of them discarded. */
	void (*unmap)(void *addr, size_t bytes);
	/* As mremap(MREMAP_MAYMOVE); NULL: not done, the old range is untouched. May be NULL. */
	void *(*remap)(void *addr, size_t old_bytes, size_t new_bytes);
	/* As sbrk: the old break, or (void *)-1. Contiguity with the last call is not promised: others may move the break. */
	void *(*extend)(intptr_t delta);
	/* The content of these pages is dead until revive: reclaim may drop it, reads give anything. Never fails, cheap. */
	void (*discard)(void *addr, size_t bytes);
	/* The pages are about to be used again. Must come before the first write. Cheap. */
	void (*revive)(void *addr, size_t bytes);
	/* No access to these pages of what map gave, from now until unmap. May fail unnoticed; may be NULL. */
	void (*guard)(void *addr, size_t bytes);
	/* As MADV_DONTNEED: true: the pages have no frames now and read as zero. May be NULL. Not cheap: trimming only. */
	bool (*purge)(void *addr, size_t bytes);
};

/* Plain mmap and sbrk; discard and revive do nothing. */
extern const struct pagesrc pagesrc_plain;

#endif
