/*
 * struct frame: what the manager knows about one physical page (Linux's struct
 * page). The frame table is an array indexed by pfn.
 *
 * Legend for the fields: [m] the machine's lock; [o] the owner named by flags:
 * the buddy system, a slab cache, a store, or the LRU.
 */
#ifndef STW_MM_PHYS_FRAME_H
#define STW_MM_PHYS_FRAME_H

#include <bsd/sys/queue.h>

#include "mm/types.h"

#define FRAME_HUGE_ORDER 9 /* 2 MiB */

struct mm;
struct rmap;
struct vm_file;
struct kmem_cache;
struct vm_file;

enum frame_flag {
	FRAME_BUDDY = 1 << 0,      /* head of a free block of 1 << order frames */
	FRAME_SLAB = 1 << 1,       /* head of a slab */
	FRAME_LRU = 1 << 2,        /* user page, on a list of the LRU */
	FRAME_REFERENCED = 1 << 3, /* seen touched once: Linux's PG_referenced, the policy's to use */
	FRAME_AWAY = 1 << 4,       /* its page is mapped at a user address; its home is empty */
	FRAME_LOCKED = 1 << 5,     /* isolated: somebody works on it without the lock */
	FRAME_WAITED = 1 << 6,     /* a fault waits for FRAME_LOCKED to clear */
	FRAME_READAHEAD = 1 << 7,  /* read ahead, not known to be touched */
	FRAME_WORKINGSET = 1 << 8, /* was active before it was evicted or deactivated */
	FRAME_SHARED = 1 << 9,     /* anonymous page that fork has shared: rmap says who maps it */
	FRAME_OFFLINE = 1 << 10,   /* not (or no longer) part of the machine's memory */
	FRAME_FILE = 1 << 11,      /* page of a file, in the page cache (backing/pagecache.c) */
	FRAME_DIRTY = 1 << 12,     /* … newer than what is on the disk */
	FRAME_WRITEBACK = 1 << 13, /* … on its way to the disk */
	FRAME_HUGE = 1 << 14,      /* user page of 1 << FRAME_HUGE_ORDER frames, of which this is the head */
	FRAME_SWAPBACKED = 1 << 15, /* page of a file that has no disk but swap: shared anonymous memory (shmem.c) */
};

/*
 * Law: exactly one of BUDDY, SLAB, LRU or none (kernel use) describes a frame;
 * frames inside a block or slab, other than its head, have flags 0 or OFFLINE.
 * REFERENCED, READAHEAD, WORKINGSET, AWAY, SHARED, HUGE and FILE imply a user page; DIRTY, WRITEBACK and SWAPBACKED imply
 * FILE, and SWAPBACKED excludes the other two. refs of a user page: its mappings, and one for the page cache.
 */
struct frame {
	uint16_t flags;              /* [m] enum frame_flag */
	uint8_t order;               /* [o] of the block that this frame heads */
	uint8_t zone : 4;            /* index into phys->zones; set in a frame that is handed out, by itself or as a block's head */
	uint8_t type : 4;            /* [m] first frame of a pageblock: enum migrate_type of the block (buddy.c) */
	uint32_t refs : 24;          /* [m] users of the content; 0 when free */
	uint32_t list : 4;           /* [m] user page on the LRU: which list */
	uint32_t score : 4;          /* [m] user page: the policy's */
	TAILQ_ENTRY(frame) link;     /* [o] free list, slab list, LRU list */
	union {
		struct {
			struct mm *mm;   /* [m] address space that maps it */
			vpn_t vpn;       /* [m] page in that address space */
		} user;
		struct {
			struct vm_file *file;
			uint64_t pgoff;
		} cache;                 /* [m] FRAME_FILE */
		struct {
			struct rmap *family;
			uint64_t pgoff;
		} shared;                /* [m] FRAME_SHARED */
		struct {
			struct kmem_cache *cache;
			void *freelist;  /* first free object, NULL when full */
		} slab;
		uint64_t private[2];     /* [o] for stores */
	};
	union {
		swp_t swap;              /* [m] user: slot that holds a valid copy, or none */
		uint32_t inuse;          /* slab: objects handed out */
	};
};

_Static_assert(sizeof(struct frame) <= 64, "the frame table must stay under 1.6 % of memory");

TAILQ_HEAD(frame_list, frame);

/* Does a disk stand behind the page, so that it counts as file memory? (Linux: folio_is_file_lru) */
static inline bool frame_on_disk(const struct frame *f)
{
	return (f->flags & (FRAME_FILE | FRAME_SWAPBACKED)) == FRAME_FILE;
}

#endif
