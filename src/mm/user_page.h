/*
 * The life of one user page between page table, frame and LRU: the steps that
 * fault, reclaim and the address-space calls share. Internal to mm/.
 */
#ifndef STW_MM_USER_PAGE_H
#define STW_MM_USER_PAGE_H

#include "mm/machine.h"

/* Flag bits of a page table entry for an access in the area: rights, accessed, dirty. */
uint64_t user_prot(const struct vma *vma, enum fault_access access);
/* The page at vpn is present in frame f, fresh from frame_alloc: entry, list, counts. 0 or -ENOMEM (the frame stays the caller's). */
int user_page_add(struct mm *mm, vpn_t vpn, struct frame *f, uint64_t prot, enum lru_arrival how);
/* The page at vpn, which has an entry, is in frame f but not mapped: the same, at the young end of the sample. */
void user_page_add_soft(struct mm *mm, vpn_t vpn, struct frame *f);
/* Does somebody have it in an area that is locked in memory (VMA_LOCKED)? */
bool user_page_mlocked(struct machine *m, struct frame *f);
/* Nobody reaches the page any more: every entry that names its frame is soft, of a file's page none. True: it was written to. */
bool user_page_unmap(struct machine *m, struct frame *f);
/* Every entry that names the frame of an anonymous page, unmapped, names the slot instead; the slot has one use from swap_write. */
void user_page_to_swap(struct machine *m, struct frame *f, swp_t entry);
/* The frame of a page (off the LRU) goes back to the free ones; a cached copy in a store goes too. */
void user_page_free(struct machine *m, struct frame *f);
/* Everything in [start, end) is forgotten; waits for locked frames. Areas are not touched. */
void user_page_drop_range(struct mm *mm, vpn_t start, vpn_t end);
/*
 * Two pages that are away exchange frames: a's is locked and off the LRU, b's locked as well or on the LRU, where its
 * page keeps its place. No byte moves, because both homes are empty.
 */
void user_page_exchange(struct machine *m, struct frame *a, struct frame *b);
/* The entry at vpn once nobody works on its frame. Gives the lock up while it waits. */
pte_t user_page_settled(struct mm *mm, vpn_t vpn);

static inline void user_page_lock(struct frame *f) { f->flags |= FRAME_LOCKED; }
/* Ends FRAME_LOCKED and lets those go on who waited for it. */
void user_page_unlock(struct machine *m, struct frame *f);

#endif
