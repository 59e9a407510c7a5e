/*
 * What only the process knows of its pages: where those are that the kernel does
 * not show. Somebody outside (cli/see/maps.c) asks through the ledger.
 *
 *     asker                                   pager of the process
 *     IDLE ──ranges──► ASKED ───────────────► ANSWERING
 *                        │ gives up              │ a thousandth of a second a turn
 *                        ▼                       ▼
 *                      IDLE ◄──takes it──── ANSWERED
 *
 * The word has the asker's pid beside the state, so that nobody takes another
 * one's answer, and what a dead asker has left behind is seen to be that.
 *
 * Nobody waits for a process that is stopped: an asker who gives up takes back
 * what nobody has begun with, and leaves alone what is ANSWERING. That ends when
 * the process goes on; by then the asker is gone.
 */
#ifndef STW_LIVE_ASK_H
#define STW_LIVE_ASK_H

#include <stdatomic.h>

#include "mm/space/pagetable.h"

#define ASK_RANGES 64 /* at once: with the head 4 KiB, which stay allocated until the run ends */

enum ask_state { ASK_IDLE, ASK_TAKEN, ASK_ASKED, ASK_ANSWERING, ASK_ANSWERED };

static inline uint32_t ask_word(int32_t asker, enum ask_state state) { return (uint32_t)asker << 3 | state; }
static inline enum ask_state ask_state(uint32_t word) { return (enum ask_state)(word & 7); }
static inline int32_t ask_asker(uint32_t word) { return (int32_t)(word >> 3); }

/* Pages of [start, end), bytes, which the process answers for. Each is in one place, or nowhere. */
struct ask_range {
	uint64_t start, end; /* asker */
	uint32_t mapped;     /* resident and mapped; the pager, as all below */
	uint32_t sample;     /* resident but unmapped */
	uint32_t pool;       /* in the compressed pool */
	uint32_t filed;      /* in a swap file */
	uint32_t same;       /* of one repeated word, which takes no memory */
	uint32_t discardable;/* of those that are somewhere: inside free blocks of the heap */
	uint32_t own;        /* 1: Steward's own memory */
};

/* One a slot of the ledger; the slot has the state. */
struct ask {
	uint32_t nr;                            /* ranges; asker */
	uint32_t levels;                        /* of Steward's page tables; the pager */
	uint64_t table_frames[PT_LEVELS_MAX];   /* by level, leaf first; the pager */
	struct ask_range range[ASK_RANGES];
} __attribute__((aligned(4096)));

/* Pager, lock not held: works at what was asked, for a moment. True: there is more to do. */
bool ask_answer(void);

#endif
