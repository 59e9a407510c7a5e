/*
 * The contract of a store: a place for evicted pages. Linux's nearest relative
 * is the swap device under a swap area.
 *
 * One page goes through three steps, so that the expensive one runs without
 * the machine's lock:
 *
 *     reserve  (lock held)   room is set aside, or -ENOSPC
 *     write    (no lock)     compress, or do the I/O; pages do not change meanwhile
 *     commit   (lock held)   the page is stored and has a handle
 *
 * abort (lock held) undoes reserve and write. After commit the handle is valid
 * until free. A store never returns other bytes than it was given, or an error;
 * the checksum above it (swap.c) proves it.
 *
 * write for one batch at a time: the caller serialises reserve … commit. Pages
 * for which write or read said -EIO or -EAGAIN may be given to it again.
 *
 * read and read_begin are for one thread at a time; pages that read_begin was given stay where they are, io too, until
 * read_poll is through with them.
 */
#ifndef STW_MM_BACKING_STORE_H
#define STW_MM_BACKING_STORE_H

#include "mm/types.h"

#define STORE_BATCH 32 /* pages in one call, at most */

struct store_io {
	void *page;      /* 4 KiB, page aligned */
	uint64_t handle; /* the store's name for the page; below 2^56 */
	uint64_t owner;  /* swp_t.v of the slot: given back through store_moved */
	int err;         /* 0 or -errno of this page */
	uint32_t bytes;  /* after write: bytes that the page takes in the store; from read_begin to its end the store's own */
	const void *packed; /* somebody has compressed the page already, with the first area's codec; NULL: nobody */
	int packed_bytes;   /* to so many bytes, or -E2BIG */
	void *scratch;   /* the store's own, from reserve to commit or abort, and from read_begin to its end */
};

struct store;

struct store_ops {
	const char *name; /* "zpool", "file" */
	/* Lock held. Sets io[i].err; returns how many of the first ones got room (a prefix). */
	unsigned (*reserve)(struct store *s, struct store_io *io, unsigned n);
	/* No lock. Sets io[i].err: -E2BIG (this store gains nothing by taking it), -EIO, -EAGAIN, -ENOSPC. */
	void (*write)(struct store *s, struct store_io *io, unsigned n);
	/* Lock held. Sets io[0].handle and err (-ENOSPC, -ENOMEM). */
	void (*commit)(struct store *s, struct store_io *io);
	/* Lock held. For an io after reserve, whatever write said. */
	void (*abort)(struct store *s, struct store_io *io);
	/* Fills io[i].page from io[i].handle; err is why the last try failed, 0 at the first; sets err (-EIO, -EAGAIN, -EKEYREJECTED: not what was sealed). Lock: see read_locked. */
	void (*read)(struct store *s, struct store_io *io, unsigned n);
	/*
	 * No lock; NULL: it can only be waited for. Begins to read as `read` does for the first time, and returns how many of the
	 * first ones are on their way, which it has added to *left. The others are for `read`.
	 */
	unsigned (*read_begin)(struct store *s, struct store_io *io, unsigned n, uint32_t *left);
	/* No lock, where there is read_begin. Takes what has been read: sets err, and takes the pages from their *left. wait: until there is some, unless none is on its way. */
	void (*read_poll)(struct store *s, bool wait);
	/* Lock held. */
	void (*free)(struct store *s, uint64_t handle);
	/* Lock held. Gives frames back by compaction; returns how many. May be NULL. */
	uint32_t (*shrink)(struct store *s);
	/* Lock held; all pages must have been freed. */
	void (*destroy)(struct store *s);
	bool read_locked; /* read must be called with the lock held (memory-speed stores whose pages move) */
};

struct store_stat {
	uint64_t pages;         /* stored now */
	uint64_t bytes;         /* they take, without packing loss */
	uint64_t frames;        /* of machine memory the store uses now */
	uint64_t capacity;      /* pages it could hold at most; 0 = bounded by memory */
	uint64_t rejected;      /* writes refused: -E2BIG */
	uint64_t errors;        /* I/O errors */
};

struct store {
	const struct store_ops *ops;
	struct store_stat stat; /* [m] */
	uint64_t max_frames;    /* [m] of machine memory that the store may use; may be changed at any time */
	/* Lock held. The page of owner now has another handle (compaction). Set by whoever attaches the store. */
	void (*moved)(void *ctx, uint64_t owner, uint64_t handle);
	void *moved_ctx;
};

#endif
