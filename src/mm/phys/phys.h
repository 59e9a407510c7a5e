/*
 * Physical memory: nodes, zones, watermarks, the buddy system.
 *
 * zone.c   watermarks, zonelists, lowmem reserve, hot-add of memory
 * buddy.c  free blocks of 1, 2, 4 … 1024 frames: split and merge
 *
 * Nothing here locks: the caller holds the machine's lock.
 */
#ifndef STW_MM_PHYS_PHYS_H
#define STW_MM_PHYS_PHYS_H

#include "mm/phys/frame.h"

#define MAX_PAGE_ORDER 10 /* inclusive: 4 MiB blocks, as in Linux since 6.8 */
#define NR_ORDERS (MAX_PAGE_ORDER + 1)
#define PHYS_NODES_MAX 8
#define PHYS_ZONES_MAX 16 /* over all nodes; frame->zone has 4 bits */
#define PAGEBLOCK_ORDER 5 /* frames of one migrate type lie together in blocks of this size */
#define PAGEBLOCK_FRAMES (1u << PAGEBLOCK_ORDER)

enum wmark { WMARK_MIN, WMARK_LOW, WMARK_HIGH, NR_WMARK };

/* How deep an allocation may dig; the order matters. */
enum alloc_depth {
	ALLOC_LOW,     /* stay above LOW, or wake kswapd and stay above MIN (ordinary) */
	ALLOC_MIN,     /* stay above MIN; does not wake kswapd (prefetch, read-ahead) */
	ALLOC_RESERVE, /* down to the last frame: for reclaim itself and for a fault that must be answered */
};

/* What a frame is wanted for decides which frames it lies among: see buddy.c. */
enum migrate_type {
	MIGRATE_MOVABLE,   /* pages of the user: while such a page is away its frame can be exchanged */
	MIGRATE_UNMOVABLE, /* what is used at its home until it is freed: tables, slabs, the compressed pool */
	NR_MIGRATE_TYPES,
};

/*
 * Law: a free block smaller than a pageblock is on the list of its pageblock's
 * type. One of that size or larger has no type: it is on the first list, and so
 * is what its pageblocks say.
 */
struct free_area {
	struct frame_list list[NR_MIGRATE_TYPES]; /* head frames of free blocks */
	uint64_t nr_free;                         /* blocks on the lists */
};

/* Law: free == Σ area[o].nr_free << o, and free ≤ managed ≤ spanned. */
struct zone {
	const char *name;
	uint8_t node;
	pfn_t start;
	uint32_t spanned; /* frames of the zone's range */
	uint32_t reached; /* of them, up to the last that has ever been online: beyond, the frame table is untouched */
	uint32_t managed; /* of them online: memory that the manager may use */
	uint32_t free;
	uint32_t offline; /* frames marked FRAME_OFFLINE: online once, taken out since */
	struct free_area area[NR_ORDERS];
	uint16_t reserve_ratio;                    /* as configured; 0 none */
	uint32_t wmark[NR_WMARK];                  /* frames */
	uint32_t lowmem_reserve[PHYS_ZONES_MAX];   /* by the index of the zone asked for */
};

struct phys_zone_config {
	const char *name; /* static lifetime */
	uint8_t node;
	pfn_t start;
	uint32_t spanned;
	uint16_t reserve_ratio; /* lowmem_reserve_ratio: 256 for DMA and DMA32, 32 for NORMAL; 0 none */
};

struct phys {
	uint8_t *direct_map;  /* host address of frame 0; NULL: frames have no bytes (simulator) */
	struct frame *frames; /* frame table, nr_frames entries */
	uint32_t nr_frames;
	uint32_t nr_tables;   /* frames that page tables take */
	uint8_t nr_zones, nr_nodes;
	struct zone zones[PHYS_ZONES_MAX];
	uint8_t zonelist[PHYS_NODES_MAX][PHYS_ZONES_MAX]; /* zone indexes, best first */
	uint32_t watermark_scale_factor; /* LOW - MIN and HIGH - LOW, at least: of 10000 of the zone; 0: Linux's 10 */
	uint32_t min_free_kbytes;    /* 0: computed as Linux does */
	/* Called when an ALLOC_LOW allocation finds no zone above LOW. May be NULL. */
	void (*wake_kswapd)(void *ctx, unsigned node);
	void *ctx;
	/* Test hook: the n-th allocation from now fails (1 = next), then every one while fail_forever. 0 = off. */
	uint64_t fail_nth;
	bool fail_forever;
};

/*
 * Describes the machine. frames[] has nr_frames zeroed entries and belongs to
 * the caller. No memory is online afterwards; hooks and min_free_kbytes are 0
 * and may be set then. distance[a * nr_nodes + b] as in
 * ACPI's SLIT (10 is local), NULL for one node.
 * Returns 0 or -EINVAL (overlapping or out-of-range zones).
 */
int phys_init(struct phys *p, void *direct_map, struct frame *frames, uint32_t nr_frames,
	      const struct phys_zone_config *zones, unsigned nr_zones, const uint8_t *distance);

/* Adds frames [start, start + n) to their zone (memory hot-add) and recomputes watermarks. They must be offline and in one zone. */
void phys_online(struct phys *p, pfn_t start, uint32_t n);

/*
 * Takes n frames out of the machine for good: they are allocated by the caller (order 0) and become OFFLINE.
 * Recomputes watermarks. phys_online brings them back.
 */
void phys_offline(struct phys *p, struct frame **frames, uint32_t n);

/* min_free_kbytes as Linux computes it for so many managed frames. */
uint32_t phys_min_free_kbytes(uint64_t managed);
/* min, low, high of every zone, and lowmem_reserve: mm/page_alloc.c __setup_per_zone_wmarks, setup_per_zone_lowmem_reserve. */
void phys_setup_watermarks(struct phys *p);

/*
 * Allocates a block of 1 << order frames near node, refs 1, flags 0. NULL: not without going below what depth allows.
 * The type is a preference, not a reason to fail; only MOVABLE blocks of more than one frame never spoil a pageblock
 * that is UNMOVABLE.
 */
struct frame *frame_alloc(struct phys *p, unsigned node, unsigned order, enum migrate_type type,
			  enum alloc_depth depth);

/* Frees a block that frame_alloc returned, or any aligned part of it; merges with free buddies. flags must be 0. */
void frame_free(struct phys *p, struct frame *f, unsigned order);

/* The block becomes 1 << order separate frames, each to be freed by itself. */
void frame_split(struct phys *p, struct frame *f, unsigned order);

/* Free frames of all zones of a node. */
uint32_t phys_free_frames(const struct phys *p, unsigned node);
uint32_t phys_managed_frames(const struct phys *p, unsigned node);
/* Sum of a watermark over the node's zones. */
uint32_t phys_wmark(const struct phys *p, unsigned node, enum wmark mark);

/* Executes the laws above for every zone, list and frame. Aborts on a violation. */
void phys_check(const struct phys *p);

static inline pfn_t frame_pfn(const struct phys *p, const struct frame *f)
{
	return (pfn_t){ (uint32_t)(f - p->frames) };
}
static inline struct frame *pfn_frame(const struct phys *p, pfn_t pfn) { return &p->frames[pfn.n]; }
/* The frame's home; NULL direct map: do not call. */
static inline void *frame_home(const struct phys *p, const struct frame *f)
{
	return p->direct_map + ((size_t)(f - p->frames) << PAGE_SHIFT);
}
/* The frame that holds an address of the direct map. */
static inline struct frame *home_frame(const struct phys *p, const void *addr)
{
	return &p->frames[(size_t)((const uint8_t *)addr - p->direct_map) >> PAGE_SHIFT];
}

#endif
