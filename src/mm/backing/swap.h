/*
 * Swap: areas with slots and use counts, the swap cache, same-filled pages and
 * the checksum of law L5. An area stands on a store; areas are tried in order
 * of priority (mm/swapfile.c, mm/swap_state.c; zero map: mm/page_io.c).
 *
 * A slot is freed when its use count, of page table entries that name it, falls
 * to 0, unless the last one leaves it to the swap cache (SLOT_CACHED: a frame
 * holds the same content, so that an unmodified page leaves without a write).
 */
#ifndef STW_MM_BACKING_SWAP_H
#define STW_MM_BACKING_SWAP_H

#include <errno.h>

#include "base/assert.h"
#include "mm/backing/store.h"
#include "mm/phys/vmalloc.h"

#define SLOTS_PER_CHUNK 4096
#define SWAP_CHUNKS_MAX 262144 /* per area, in a table that grows … */
#define SWAP_CHUNKS_FEW 32     /* … from this on */
#define SWAP_AREA_BYTES_MAX ((uint64_t)SWAP_CHUNKS_MAX * SLOTS_PER_CHUNK * PAGE_SIZE) /* 4 TiB */
#define SWAP_AREAS 8          /* in use at once */
#define SWAP_PRIO_MAX 32767
#define SWAP_PRIO_ALL (SWAP_PRIO_MAX + 1) /* all priorities are below it */

enum slot_flag {
	SLOT_SAME = 1 << 0,   /* handle is the 64-bit word that the page repeats */
	SLOT_CACHED = 1 << 1, /* a resident frame has the same content (frame->swap) */
	SLOT_USED = 1 << 2,
	SLOT_READING = 1 << 3, /* it is being read, perhaps without the lock: its entry must stay */
	SLOT_OLD = 1 << 4,     /* has been out for longer than shadow can tell: workingset.c */
	SLOT_REFUSED = 1 << 5, /* an area above would have gained nothing by taking it */
};

/*
 * Law: USED ⇔ uses > 0 or CACHED; free slots are chained through handle. No
 * entry names a CACHED slot, and `uses` and `shadow` hold its seal: 24 bits of
 * the hash beyond `sum`. That a page has not changed is decided by hash alone,
 * many thousand times a second; 32 bits would be wrong once in days, 56 are not.
 */
struct swap_slot {
	uint64_t handle; /* the store's; next free slot when free */
	uint32_t sum;    /* hash_fold of the content */
	uint16_t uses;   /* page table entries */
	uint8_t flags;
	uint8_t shadow;  /* eviction age, coarse: workingset.c */
};

/* Worse ones come later. */
enum swap_area_state {
	SWAP_AREA_TAKES,
	SWAP_AREA_FAILING, /* writes have failed for good: it takes no more; what is in it is read as ever */
	SWAP_AREA_DEAD,    /* reads too */
};

/* Law: nr_used = pages in the store + nr_same + nr_writing. */
struct swap_area {
	struct store *store;
	int prio;             /* higher is tried first; those of the same take batches in turn */
	bool keep;            /* leave the copy in place on read (its room is cheap): swap cache */
	bool full;            /* had no room for the page it was asked for last; cleared when a slot is freed */
	uint8_t state;        /* enum swap_area_state */
	uint64_t slots_max;   /* 0: as many as the chunks allow */
	uint64_t nr_slots;    /* made so far, slot 0 included */
	uint64_t free_head;   /* 0: none */
	uint64_t hand;        /* swap_next_slots: where it stands */
	uint64_t nr_used;
	uint64_t nr_same;
	uint32_t nr_writing;  /* slots of pages that the store is taking just now */
	uint64_t chunks_room; /* so many chunks have a place in the table */
	struct swap_slot **chunk;
	struct swap_slot *few[SWAP_CHUNKS_FEW]; /* the table as long as they fit */
};

/* A page on its way out. */
struct swap_io {
	struct frame *frame;
	void *page;
	swp_t entry;         /* out: where it went; none while it has no place */
	uint32_t sum;        /* out of swap_examine, as the next two */
	bool same, clean;
	bool refused;        /* by an area that would have gained nothing */
	uint64_t word;       /* same: the repeated word */
	int err;             /* 0 or why no area took it */
	/* Out of swap_ahead.end. */
	bool looked;         /* hash, same, word and packed are known */
	uint8_t ticket;      /* the helper's own */
	uint64_t hash;
	const void *packed;  /* as in store_io; NULL if same */
	int packed_bytes;
};

#define SWAP_AHEAD 8         /* pages of one batch for a helper, at most */
#define SWAP_AHEAD_BATCHES 3 /* batches that it may have */

/*
 * [unlocked] A helper that looks at pages on another CPU before swap_examine needs to know, and compresses them. Batches end in
 * the order in which they began; what one has brought is valid until SWAP_AHEAD_BATCHES more have begun.
 */
struct swap_ahead {
	void (*begin)(void *ctx, struct swap_io *io, unsigned n);
	/* Sets `looked` of those that it is through with, or that can be done here as well. */
	void (*end)(void *ctx, struct swap_io *io, unsigned n);
	void *ctx;
};

#define SWAP_TRIES 6 /* of a read or write that fails */

/* May another try help? A store that has no room, or gains nothing, says so. */
static inline bool swap_err_passes(int err)
{
	return err == -EIO || err == -EAGAIN || err == -EBADMSG || err == -EKEYREJECTED;
}

/* The sum is the exclusive or of the hash's halves: with 24 bits of one, it tells 56 of the 64 bits apart. */
static inline uint32_t swap_seal(uint64_t hash)
{
	return (uint32_t)hash & 0xffffff;
}

struct swap {
	struct vmalloc *vmalloc;
	/* [unlocked] Before the try of that number, from 1 on: waits a while, longer each time. NULL: at once. */
	void (*wait)(unsigned try);
	const struct swap_ahead *ahead; /* NULL: none */
	bool unchecked; /* pages are not looked at: no checksum, no repeated words; `sum` and `shadow` are workingset.c's */
	unsigned nr_areas;
	unsigned turn;  /* counts batches: which one of several areas of the same priority is asked first */
	struct swap_area area[SWAP_AREAS]; /* in order of priority */
};

void swap_init(struct swap *s, struct vmalloc *v);
/* The end: slot tables go back. Nothing may be in the areas any more. */
void swap_destroy(struct swap *s);
/* Adds an area; it stays. prio decides the order; slots_max 0: no limit but memory. Returns its number or -ENOSPC. */
int swap_add_area(struct swap *s, struct store *store, int prio, uint64_t slots_max, bool keep);
/*
 * The area has slots for the next pages: for a machine whose frames may have become very few when the first page has to go. 0, -ENOMEM;
 * -ENOSPC: it is as large as it may be.
 */
int swap_prepare(struct swap *s, unsigned area);

/* [unlocked] What is not known yet: checksum; is it one repeated word; is the cached copy still the content? */
void swap_examine(struct swap *s, struct swap_io *io, unsigned n);
/*
 * Writes n ≤ STORE_BATCH examined pages; called with the lock held, gives it up
 * through unlock(ctx) during the store's work and takes it again with lock(ctx).
 * Each io ends with entry set and one use, or err: -ENOSPC.
 */
void swap_write(struct swap *s, struct swap_io *io, unsigned n, void (*lock)(void *), void (*unlock)(void *),
		void *ctx);

/*
 * The same for pages that have been examined (sum is set, not same, not clean) and are in no frame: tries the areas of a
 * priority below prio. Lock and end as above.
 */
void swap_write_below(struct swap *s, struct swap_io *io, unsigned n, int prio, void (*lock)(void *),
		      void (*unlock)(void *), void *ctx);

/* A page on its way in. */
struct swap_read {
	swp_t entry;
	void *page;
	int err;       /* 0, -EIO, -EBADMSG, -EKEYREJECTED */
	uint32_t seal; /* of the content, for swap_to_cache */
};
/* Fills the pages and verifies them; err: after SWAP_TRIES. Entries keep their uses, and are SLOT_READING until it returns. lock and unlock as for swap_write. */
void swap_read(struct swap *s, struct swap_read *r, unsigned n, void (*lock)(void *), void (*unlock)(void *),
	       void *ctx);

/*
 * The same in two steps, so that others are served in between. begin fills what needs no waiting, and starts to read the
 * rest where a store can do that; left is how many pages are on their way. Once left is 0, end verifies them, and waits only
 * for those that must be read again. r is the caller's until then. n ≤ STORE_BATCH.
 */
struct swap_reading {
	struct swap_read *r;
	bool ahead;       /* nobody needs it now: what cannot be on its way, or fails, is left unread (err) */
	unsigned n;
	uint32_t left;
	unsigned nr_begun;
	unsigned index[STORE_BATCH];       /* into r, of those that a store has been asked for */
	struct store_io io[STORE_BATCH];   /* the same, one area after the other */
};
void swap_read_begin(struct swap *s, struct swap_reading *g, void (*lock)(void *), void (*unlock)(void *), void *ctx);
void swap_read_end(struct swap *s, struct swap_reading *g, void (*lock)(void *), void (*unlock)(void *), void *ctx);
/* [unlocked] Looks for pages that have been read. wait: until there are some in each area that has any on their way. */
void swap_read_poll(struct swap *s, bool wait);

/* Slot 0 is none. */
static inline struct swap_slot *swap_area_slot(const struct swap_area *a, uint64_t slot)
{
	DEBUG_ASSERT(slot > 0 && slot < a->nr_slots);
	return &a->chunk[slot / SLOTS_PER_CHUNK][slot % SLOTS_PER_CHUNK];
}

static inline struct swap_slot *swap_slot_of(struct swap *s, swp_t entry)
{
	DEBUG_ASSERT(swp_area(entry) < s->nr_areas);
	return swap_area_slot(&s->area[swp_area(entry)], swp_slot(entry));
}

/* The slot will be wanted soon: its cache line is fetched. Any entry may be asked for. */
void swap_prefetch(const struct swap *s, swp_t entry);
/* One more entry names the slot (fork). False: the count is full, the caller copies. */
bool swap_dup(struct swap *s, swp_t entry);
/* One entry less; the slot is freed with the last. */
void swap_put(struct swap *s, swp_t entry);
/*
 * The only entry of the page just read gives the slot to the cache, with the
 * seal that swap_read took. False (and nothing changed): others use it, or the
 * area does not keep copies.
 */
bool swap_to_cache(struct swap *s, swp_t entry, uint32_t seal);
/* The frame with the cached copy goes or has changed: the slot is freed. */
void swap_uncache(struct swap *s, swp_t entry);
/* Calls see() with the handle of every page that the area has in its store (same-filled ones have none). */
void swap_each_handle(struct swap *s, unsigned area, void (*see)(void *ctx, uint64_t handle), void *ctx);
/* Calls see() with the next n slots of the area that hold a page, less those that are cached. Goes round and round. */
void swap_next_slots(struct swap *s, unsigned area, uint64_t n, void (*see)(void *ctx, struct swap_slot *slot), void *ctx);
/* Does any area of a priority below prio take pages? */
bool swap_has_room(const struct swap *s, int prio);
/* Does any area take what the pool gains nothing by? */
bool swap_takes_refused(const struct swap *s);
/* Areas whose writes have failed get another chance. To be called every now and then. */
void swap_try_again(struct swap *s);
/* The area whose store is in memory, the compressed pool; NULL: there is none. */
struct swap_area *swap_pool(struct swap *s);
/* Pages in all areas. */
uint64_t swap_used(const struct swap *s);
void swap_check(struct swap *s);

#endif
