/*
 * slots: the books of a store that keeps each page in a slot of 4 KiB of something that lasts: a file, a device, an
 * export of a server. What moves the pages is file.c or remote.c.
 */
#ifndef STW_STORE_SLOTS_H
#define STW_STORE_SLOTS_H

#include "mm/backing/store.h"
#include "store/extents.h"

/* After the disk was full, the file may grow again when this many slots have been freed. */
#define SLOTS_RETRY_FREES 256

/*
 * Law: used = bits set in bitmap from the first slot on that is not inherited ≥ stat.pages without those inherited; the
 * difference is reserved, freed while shared, or unsure. written ≤ slots of our extents ≤
 * max_slots, end too; no bit at or above max_slots is set.
 */
struct seal;

struct slots {
	struct store store;  /* first */
	/*
	 * [unlocked] Moves n pages to or from consecutive pages of the file, from `page` on; sets their err. After -ENOSPC the
	 * rest need not be tried.
	 */
	void (*run)(struct slots *s, struct store_io *io, unsigned n, uint64_t page, bool out);
	struct seal *seal;   /* seal.h; NULL: pages lie in the clear */
	uint64_t first;      /* page of the file where the first extent begins */
	bool closed;         /* the file could not be opened again after fork: nothing is taken */
	bool full;           /* [m] the disk has no room; nothing is taken until again_ns, or a slot is freed */
	bool shared;         /* [m] another process may read our slots: what is freed is not used again */
	uint32_t retry;      /* [m] frees until the file may grow again */
	uint64_t max_slots;  /* the cap */
	uint64_t end;        /* [m] slots in use or to be used: those of our extents, or fewer after the disk was full */
	uint64_t written;    /* [m] 1 + the highest slot that ever held a page */
	uint64_t used;       /* [m] */
	uint64_t hint;       /* [m] where the next search starts */
	uint64_t again_ns;   /* [m] monotonic: not before, a search for an extent, or a write after the disk was full */
	struct extents extents; /* [m]; at[] of what is in use does not change */
	uint64_t *bitmap;    /* [m] a bit a slot, set: taken */
	uint64_t *unsure;    /* the writer's, [m] to read: a write that failed may yet be done, so the slot stays taken; NULL: none */
};

/* Bytes of memory that slots_init needs for a cap: 32 KiB a GiB. */
size_t slots_bytes(uint64_t max_bytes);

/* And what `unsure` needs, which is the caller's to set. */
size_t slots_unsure_bytes(uint64_t max_bytes);

/*
 * [first, first + max_bytes) of the file is used, in whole extents of 4 MiB if it is larger than one. memory:
 * zero-filled, alive until destroy; fresh anonymous memory is best, as only the part below `written` is ever touched.
 * run and the locks of extents are the caller's to set. -EINVAL: a cap below one page, or too little memory.
 */
int slots_init(struct slots *s, const struct store_ops *ops, uint64_t first, uint64_t max_bytes, void *memory, size_t bytes);

/* The contract of a store (mm/backing/store.h), but for destroy. */
unsigned slots_reserve(struct store *store, struct store_io *io, unsigned n);
void slots_write(struct store *store, struct store_io *io, unsigned n);
void slots_commit(struct store *store, struct store_io *io);
void slots_abort(struct store *store, struct store_io *io);
void slots_read(struct store *store, struct store_io *io, unsigned n);
void slots_free(struct store *store, uint64_t handle);

/*
 * fork: the child reads what its parent wrote, and both go on writing, to extents of their own.
 *
 * The parent says share before the copy; from then on slots that it frees keep
 * their content. The child says inherit once it has the file open. When no other
 * process reads them any more, unshare is true for the parent, which then keeps
 * each slot that is in use, and the rest is free again. Lock held for all of them.
 */
int slots_share(struct slots *s);
/* open: false if the file cannot be had, and no page is in it. 0 or -errno. */
int slots_inherit(struct slots *s, bool open);
bool slots_unshare(struct slots *s);
void slots_keep(struct slots *s, uint64_t handle);

/* The slot of a page on its way out is kept in its scratch pointer, plus one: NULL is none. */
static inline uint64_t slots_io_slot(const struct store_io *io)
{
	return (uint64_t)(uintptr_t)io->scratch - 1;
}

/* Slots that come of a cap in bytes: whole extents, or a part of a single one. */
uint64_t slots_usable(uint64_t max_bytes);

/* Page of the file that a slot is. */
static inline uint64_t slots_page(const struct slots *s, uint64_t slot)
{
	return s->first + extents_page(&s->extents, slot);
}

/* Pages of io[0..n), on their way out or in, that follow one another in the file: the first so many. */
unsigned slots_run(const struct slots *s, const struct store_io *io, unsigned n, bool out);

/* [unlocked] For run: the slot that the page is on its way to is not to be used again. */
void slots_mark_unsure(struct slots *s, const struct store_io *io);

/* Executes the law above. Lock held. */
void slots_check(const struct slots *s);

#endif
