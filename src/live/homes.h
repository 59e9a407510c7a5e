/*
 * Homes: an anonymous private mapping whose page n is the home of frame n, and the ways that pages take between it
 * and addresses of the program. A home is populated where the frame is or was at home, empty where it is away.
 *
 *   place   MOVE home → address       EBUSY, EINVAL: COPY, then drop the home
 *
 * The object knows descriptors and addresses only. What a page is, and who else may look at it meanwhile, is the
 * caller's: the live engine's (arena.c), or that of a region of a program that embeds Steward.
 *
 * -EEXIST from MOVE may be a lie. Linux 6.18 moves pages in batches
 * (mm/userfaultfd.c move_pages); when it has to try a batch again, because
 * another CPU touched a page just then, it keeps the error of the first try:
 * what the second one has moved is tried a third time and reported as a target
 * that is occupied, by itself. So where a page is, is asked before anything at
 * its home is given up.
 *
 * A home is emptied without an event that we would have to answer ourselves: its
 * page moves to the trash, a range of another descriptor, and is dropped there.
 *
 * Home pages are never huge: MOVE of a small page would have to split them.
 */
#ifndef STW_LIVE_HOMES_H
#define STW_LIVE_HOMES_H

#include "mm/phys/frame.h"
#include "mm/stat.h"

#define HOMES_TRASH_PAGES 64u
#define HOMES_ZERO_PAGES 16

struct homes {
	int prog_fd;       /* userfaultfd of the addresses, and of the homes where pages can be moved */
	int trash_fd;      /* another one, without events */
	int pagemap_fd;    /* /proc/self/pagemap */
	bool can_move;     /* UFFDIO_MOVE; otherwise the copying path */
	bool move_again;   /* for tests: MOVE reports as Linux 6.18 does after a second try, each eighth time */
	uint64_t start;    /* home of frame 0 */
	const struct frame *frames; /* frame 0 */
	uint64_t trash;    /* HOMES_TRASH_PAGES, where pages of homes go that are given up */
	uint8_t *zeros;    /* HOMES_ZERO_PAGES of zeros for UFFDIO_COPY */
	uint64_t *const *counter; /* the machine's, which may change; pages that could not be moved are counted there */
};

/* Registers the homes of n frames, where pages can be moved, and the trash. 0 or -errno. */
int homes_register(const struct homes *h, uint64_t n);
/* UFFDIO_MOVE: bytes that are there now, or -errno of the first page. -EEXIST: something else is there. */
int64_t homes_move(const struct homes *h, uint64_t to, uint64_t from, uint64_t len, uint64_t mode);
/* The host gets the memory of n homes back. */
void homes_drop(const struct homes *h, uint64_t home, unsigned n);
/* The same for one home that may have none: costs a look then. */
void homes_empty(const struct homes *h, uint64_t home);
/* machine_ops.map: the contents of the frames, or zeros, are at the address. Pages placed, or what map says of the first. */
int homes_map(const struct homes *h, uint64_t address, struct frame *const *frames, unsigned n, bool zero);
/* How many of the frames have homes that follow one another: MOVE takes them in one call. */
unsigned homes_contiguous(struct frame *const *frames, unsigned n);
/* vmalloc.vmap and vunmap; ctx: the homes. */
int homes_vmap(void *ctx, uint64_t address, struct frame *const *frames, uint32_t n);
void homes_vunmap(void *ctx, uint64_t address, struct frame *const *frames, uint32_t n);

static inline uint64_t homes_of(const struct homes *h, const struct frame *f)
{
	return h->start + ((uint64_t)(f - h->frames) << PAGE_SHIFT);
}

#endif
