/*
 * file: a store in a file or on a block device, one 4 KiB slot a page (Linux:
 * a swap area).
 *
 * Opening may use the file system's names and runs wherever the caller likes;
 * everything after it is raw system calls on one descriptor, for a thread that
 * has no libc. That thread must block SIGXFSZ: a write beyond RLIMIT_FSIZE would
 * raise it, and is reported as -ENOSPC instead.
 */
#ifndef STW_STORE_FILE_H
#define STW_STORE_FILE_H

#include "mm/backing/store.h"
#include "store/extents.h"

/* After the disk was full, the file may grow again when this many slots have been freed. */
#define FILE_RETRY_FREES 256

/*
 * Law: used = bits set in bitmap from the first slot on that is not inherited ≥ stat.pages without those inherited; the
 * difference is reserved, or freed while shared. written ≤ slots of our extents ≤ max_slots, slots too; no bit at or
 * above max_slots is set.
 */
struct file_store {
	struct store store;  /* first */
	int fd;              /* owned: destroy closes it */
	bool direct;         /* O_DIRECT: no copy in the page cache */
	bool closed;         /* the file could not be opened again after fork: nothing is taken */
	bool full;           /* [m] the disk has no room; nothing is taken until again_ns, or a slot is freed */
	bool shared;         /* [m] another process may read our slots: what is freed is not used again */
	uint32_t retry;      /* [m] frees until the file may grow again */
	uint64_t max_slots;  /* the cap */
	uint64_t slots;      /* [m] slots in use or to be used: those of our extents, or fewer after the disk was full */
	uint64_t written;    /* [m] 1 + the highest slot that ever held a page */
	uint64_t used;       /* [m] */
	uint64_t hint;       /* [m] where the next search starts */
	uint64_t again_ns;   /* [m] monotonic: not before, a search for an extent, or a write after the disk was full */
	struct extents extents; /* [m]; at[] of what is in use does not change */
	uint64_t *bitmap;    /* [m] a bit a slot, set: taken */
	uint64_t behind;     /* the writer's: offset and bytes of the last buffered write */
	uint64_t behind_bytes;
};

/*
 * Makes a file without a name in dir: nothing is left on disk when the descriptor is closed, however the process ends.
 * Sets O_DIRECT where the file system takes it. Returns the descriptor (close-on-exec) or -errno.
 */
int file_store_open(const char *dir);
/* Opens a file or block device as it is; O_DIRECT as above. */
int file_store_open_named(const char *path);

/* Bytes of memory that file_store_init needs for a cap: 32 KiB a GiB. */
size_t file_store_bytes(uint64_t max_bytes);

/*
 * fd belongs to the store if 0 is returned. [first, first + max_bytes) of the file is used, in whole extents of 4 MiB if
 * it is larger than one. memory: zero-filled, alive until destroy; fresh anonymous memory is best, as only the part below
 * `written` is ever touched. -EINVAL: a cap below one page, or too little memory.
 */
int file_store_init(struct file_store *f, int fd, uint64_t first, uint64_t max_bytes, void *memory, size_t bytes);

/*
 * fork: the child reads what its parent wrote, and both go on writing, to extents of their own.
 *
 * The parent says share before the copy; from then on slots that it frees keep
 * their content. The child opens the file again and says inherit. When no other
 * process reads them any more, unshare is true for the parent, which then keeps
 * each slot that is in use, and the rest is free again. Lock held for all of them.
 */
int file_store_share(struct file_store *f);
/* fd: the same file, opened again; belongs to the store. -1: it could not be, and no page is in it. 0 or -errno. */
int file_store_inherit(struct file_store *f, int fd);
bool file_store_unshare(struct file_store *f);
void file_store_keep(struct file_store *f, uint64_t handle);

/* Executes the law above. Lock held. */
void file_store_check(const struct file_store *f);

#endif
