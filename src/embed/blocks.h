/*
 * Which blocks of a file region are in memory, and which goes next: 2Q (Johnson and Shasha, VLDB 1994).
 *
 *     first read ──► IN (fifo, a quarter) ──► gone, remembered for a while
 *                                                │ read again soon
 *     asked for by name while in MAIN: once more  ▼
 *              round ◄──────────────────────── MAIN (fifo)
 *
 * A process has no accessed bits of its own, and a block must not be unmapped to see whether it is touched, because
 * its content would have to stay somewhere. What 2Q needs is when a block comes back, which is a fault in any case.
 * A scan passes through IN and leaves MAIN alone.
 */
#ifndef STW_EMBED_BLOCKS_H
#define STW_EMBED_BLOCKS_H

#include "base/types.h"

#define BLOCK_NONE UINT32_MAX

enum block_flag {
	BLOCK_PRESENT = 1 << 0,
	BLOCK_DIRTY = 1 << 1,  /* and writable; a clean one is write-protected */
	BLOCK_PINNED = 1 << 2, /* on no queue */
	BLOCK_MAIN = 1 << 3,   /* on MAIN, not on IN */
	BLOCK_ASKED = 1 << 4,  /* was asked for by name since MAIN came round to it last */
	BLOCK_UNTRIED = 1 << 5, /* was brought protected, and nobody has tried to write to it */
};

/* Law: PRESENT and not PINNED ⇔ on one of the queues; DIRTY, PINNED ⇒ PRESENT. */
struct block {
	uint32_t prev, next;
	uint32_t left;   /* count of departures when it left last; 0: never, or long ago */
	uint8_t flags;
};

struct block_queue {
	uint32_t head, tail; /* young, old */
	uint32_t nr;
};

struct blocks {
	struct block *at;    /* one a block, zeroed */
	uint32_t nr;         /* of the region */
	uint32_t most;       /* that may be present */
	uint32_t present, pinned, dirty;
	uint32_t departures;
	struct block_queue in, main;
};

void blocks_init(struct blocks *b, struct block *at, uint32_t nr, uint32_t most);
/* The block, absent, is present now. */
void blocks_arrive(struct blocks *b, uint32_t block);
/* The block that should leave next, off its queue; BLOCK_NONE: all are pinned. blocks_leave or blocks_stay follows. */
uint32_t blocks_victim(struct blocks *b);
void blocks_leave(struct blocks *b, uint32_t block);
/* It could not leave: the last to be asked again. */
void blocks_stay(struct blocks *b, uint32_t block);
/* It is absent from now on, without having been used up: wherever it was. */
void blocks_forget(struct blocks *b, uint32_t block);
/* The next victim. */
void blocks_cool(struct blocks *b, uint32_t block);
void blocks_pin(struct blocks *b, uint32_t block);
void blocks_unpin(struct blocks *b, uint32_t block);
void blocks_set_dirty(struct blocks *b, uint32_t block, bool dirty);
/* Executes the laws. */
void blocks_check(const struct blocks *b);

static inline bool blocks_has(const struct blocks *b, uint32_t block, enum block_flag flag)
{
	return b->at[block].flags & flag;
}

#endif
