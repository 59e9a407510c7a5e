/*
 * zpool: a store that keeps evicted pages compressed in frames of the machine
 * (Linux: zram and zswap over zsmalloc).
 */
#ifndef STW_STORE_ZPOOL_H
#define STW_STORE_ZPOOL_H

#include "mm/backing/store.h"
#include "mm/phys/phys.h"
#include "store/zcodec.h"

#define ZPOOL_STEP 32         /* object sizes that the class table distinguishes */
#define ZPOOL_OBJECT_MAX (ZCODEC_MAX + 8)
#define ZPOOL_CLASSES_MAX 64  /* 45 come out of the rule in zpool.c */
#define ZPOOL_CHAIN_MAX 4     /* frames in one block */
#define ZPOOL_GROUPS 9        /* eighths of fullness, and full */
#define ZPOOL_SHRINK_MOVES 64 /* objects that one shrink moves, about: some 50 µs under the lock */

/* Objects of one size. Law: free_slots = Σ over the blocks that are not full of (objects - inuse). */
struct zclass {
	uint16_t size;    /* bytes from one object to the next */
	uint8_t chain;    /* frames in a block */
	uint8_t objects;  /* in a block */
	uint32_t blocks;
	uint64_t free_slots;
	uint32_t groups;  /* bit g: group[g] has a block */
	struct frame_list group[ZPOOL_GROUPS]; /* heads of blocks, by fullness */
};

/*
 * Law: stat.frames = Σ blocks × chain; stat.pages = Σ objects in use; no block is empty;
 * a frame of the pool has flags 0.
 */
struct zpool {
	struct store store;   /* first */
	struct phys *phys;
	uint64_t free_bytes;  /* [m] in unused objects */
	struct zcodec codec;  /* compressor: the writer's; decompressor: [m] */
	uint8_t *scratch;     /* the writer's: STORE_BATCH compressed pages, between reserve and commit */
	uint8_t *bounce;      /* [m] a compressed page whose object straddles two frames */
	uint8_t nr_classes;
	uint8_t shrink_class; /* [m] where the next shrink starts */
	uint8_t class_of[ZPOOL_OBJECT_MAX / 8 + 1]; /* by object size in words */
	struct zclass classes[ZPOOL_CLASSES_MAX];   /* by size, ascending */
};

/* Bytes of working memory that zpool_init needs. */
size_t zpool_work_bytes(enum zpool_codec codec);

/*
 * work: 64-byte aligned, alive until destroy. No limit on frames is set. -EINVAL: work is misaligned or too small.
 * Only commit takes frames (ALLOC_RESERVE: it runs inside reclaim), and only free and shrink give them back.
 */
int zpool_init(struct zpool *z, struct phys *p, enum zpool_codec codec, void *work, size_t work_bytes);

/* Executes the laws above over every block. Lock held. */
void zpool_check(const struct zpool *z);

#endif
