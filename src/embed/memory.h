/*
 * A region of memory without a file: a machine of its own, with frames, areas, page tables, lists and stores as the live
 * engine has them, for one range of addresses.
 *
 *   program thread ──touch──► kernel ─userfaultfd─► server thread ─► memory_serve ─► mm_fault ─► homes.c
 *        └── stw_prefetch, stw_pin … ──────────────────────▲
 *   pager thread: kswapd ──► reclaim ──► homes.c; places.c: pool → file → the program's own
 *
 * Locks, in this order. `serving`: whoever serves faults or changes the address space; mm/ allows one such thread beside the
 * one that reclaims. `lock`: the machine's, around every call into mm/. A thread of the program that takes them
 * blocks its signals, because a handler might touch the region and wait for itself.
 *
 * Budget. frames = budget − what we have outside of them: the frame table (64 bytes a frame) and OWN_PAGES. Pool, page
 * tables and slot tables are in frames.
 */
#ifndef STW_EMBED_MEMORY_H
#define STW_EMBED_MEMORY_H

#include "embed/places.h"
#include "embed/region.h"
#include "live/homes.h"
#include "live/lock.h"
#include "mm/machine.h"

struct memory {
	struct stw_region region; /* first */
	struct engine_lock serving, lock;
	struct machine m;
	struct mm mm;
	struct homes homes;
	struct places places;
	uint64_t counter[VM_COUNTER_NR];
	size_t budget;            /* bytes */
	uint64_t nr_frames, pinned; /* pages; [lock] pinned */
	void *arena, *table, *vm, *spare; /* homes, frame table, vmalloc's addresses, zeros and trash */
	uint64_t vm_bytes;
	uint64_t errors;          /* [serving] pages that could not be had */
	bool poisoned;            /* [serving] some page raises SIGBUS */
	bool said_full;           /* [serving] once is enough */

	pthread_t pager;
	bool paging;              /* it runs */
	_Atomic uint32_t pager_word;   /* futex: 1 work to do, 0 asleep */
	_Atomic uint32_t frames_wanted; /* futex: the one that serves sleeps until so many are free; 0: it does not */
	_Atomic uint32_t hopeless;     /* rounds of kswapd in a row that found nothing to free */
};

static inline struct memory *memory_of(struct stw_region *r) { return (struct memory *)r; }

/* frames.c: physical memory and machine_ops. 0, or -errno and the message. */
int memory_frames(struct memory *mem, const struct policy *policy);
void memory_frames_free(struct memory *mem);
/* Lock held. Lets others have it for a moment. */
void memory_relax(struct memory *mem);

/* pager.c */
void *memory_pager(void *arg);
void memory_pager_wake(struct memory *mem);

/* serve.c */
server_serve memory_fault;
/* `serving` and lock held, for a thread that did not touch it. The page is mapped; -EIO: it cannot be read, -ENOMEM: there is no room. */
int memory_page(struct memory *mem, vpn_t vpn);
/* Around what a program thread does. */
void memory_enter(struct memory *mem, uint64_t *signals);
void memory_leave(struct memory *mem, const uint64_t *signals);

/* hints.c */
int memory_prefetch(struct stw_region *r, uint64_t start, uint64_t end);
int memory_get(struct stw_region *r, const struct stw_range *ranges, size_t n);
int memory_flush(struct stw_region *r, uint64_t start, uint64_t end);
int memory_cold(struct stw_region *r, uint64_t start, uint64_t end);
int memory_discard(struct stw_region *r, uint64_t start, uint64_t end);
int memory_pin(struct stw_region *r, uint64_t start, uint64_t end);
int memory_unpin(struct stw_region *r, uint64_t start, uint64_t end);

#endif
