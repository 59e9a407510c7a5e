/*
 * The lists of resident user pages, for an engine without an accessed bit.
 *
 *      first touch, refault ──► NEW ─────► INACTIVE ─────► evicted
 *      (mapped, on probation)    │  unmap   │ (unmapped, at home: the sample)
 *                                │          │ touched: soft fault
 *      refault within the        │          ▼
 *      working set ────────────► ACTIVE ◄───┘   (mapped)
 *                                  └── unmap ──► INACTIVE
 *
 * NEW and INACTIVE together are Linux's inactive list; the unmapped part of it
 * is the sample that takes the place of the accessed bit (Babaoglu & Joy 1981).
 */
#ifndef STW_MM_RECLAIM_LRU_H
#define STW_MM_RECLAIM_LRU_H

#include "mm/phys/phys.h"

struct machine;

enum lru_list { LRU_ACTIVE, LRU_NEW, LRU_INACTIVE, NR_LRU };

/* Law: nr[l] is the length of list[l]; every frame on a list has FRAME_LRU, on LRU_ACTIVE also FRAME_ACTIVE. */
struct lru {
	struct frame_list list[NR_LRU]; /* head: youngest */
	uint64_t nr[NR_LRU];
	uint64_t age; /* evictions and activations so far: Linux's nonresident_age */
};

void lru_init(struct lru *l);
/* Puts an unlisted user frame at the young end. */
void lru_add(struct lru *l, struct frame *f, enum lru_list list);
/* At the old end: the next to go. */
void lru_add_tail(struct lru *l, struct frame *f, enum lru_list list);
/* Takes the frame off its list. */
void lru_del(struct lru *l, struct frame *f);
/* The unlisted frame gets the place of the listed one, whose flags do not change yet. */
void lru_replace(struct lru *l, struct frame *listed, struct frame *f);
enum lru_list lru_list_of(const struct frame *f);
void lru_check(const struct lru *l, const struct phys *p);

#endif
