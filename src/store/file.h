/*
 * file: a store in an unlinked temporary file, one 4 KiB slot a page (Linux:
 * a swap file).
 *
 * Opening may use the file system's names and runs wherever the caller likes;
 * everything after it is raw system calls on one descriptor, for a thread that
 * has no libc. That thread must block SIGXFSZ: a write beyond RLIMIT_FSIZE would
 * raise it, and is reported as -ENOSPC instead.
 */
#ifndef STW_STORE_FILE_H
#define STW_STORE_FILE_H

#include "mm/backing/store.h"

/* After the disk was full, the file may grow again when this many slots have been freed. */
#define FILE_RETRY_FREES 256

/*
 * Law: used = bits set in bitmap[0..max_slots) ≥ stat.pages; the difference is reserved, or freed while shared;
 * written ≤ max_slots, slots ≤ max_slots; no bit at or above max_slots is set.
 */
struct file_store {
	struct store store;  /* first */
	int fd;              /* owned: destroy closes it */
	bool direct;         /* O_DIRECT: no copy in the page cache */
	bool full;           /* [m] the disk has no room; nothing is taken until a slot is freed */
	uint32_t retry;      /* [m] frees until the file may grow again */
	uint64_t max_slots;  /* the cap */
	uint64_t slots;      /* [m] slots in use or to be used: max_slots, or fewer after the disk was full */
	uint64_t written;    /* [m] 1 + the highest slot that ever held a page */
	uint64_t used;       /* [m] */
	uint64_t hint;       /* [m] where the next search starts */
	bool shared;         /* [m] another process may read our slots: what is freed is not used again */
	bool retired;        /* [m] the file is another process's: read only */
	uint64_t *bitmap;    /* [m] a bit a slot, set: taken */
	uint64_t behind;     /* the writer's: offset and bytes of the last buffered write */
	uint64_t behind_bytes;
};

/*
 * Makes a file without a name in dir: nothing is left on disk when the descriptor is closed, however the process ends.
 * Sets O_DIRECT where the file system takes it. Returns the descriptor (close-on-exec) or -errno.
 */
int file_store_open(const char *dir);

/* Bytes of bitmap that file_store_init needs for a cap: 32 KiB a GiB. */
size_t file_store_bitmap_bytes(uint64_t max_bytes);

/*
 * fd: from file_store_open; belongs to the store if 0 is returned. bitmap: zero-filled, alive until destroy; fresh
 * anonymous memory is best, as only the part below `written` is ever touched.
 * -EINVAL: a cap below one page, or too small a bitmap.
 */
int file_store_init(struct file_store *f, int fd, uint64_t max_bytes, uint64_t *bitmap, size_t bitmap_bytes);

/*
 * fork: parent and child both name slots of one file.
 *
 * The parent says share before the copy; from then on slots that it frees keep
 * their content. The child opens the file again and says retire: it reads its
 * old pages there and writes nothing. When no other process has the file any
 * more (file_store_is_shared), the parent says unshare, keeps each slot that is
 * in use, and the rest is free again. Lock held for all of them.
 */
void file_store_share(struct file_store *f);
/* fd: the same file, opened again; belongs to the store. Takes the mark that file_store_is_shared looks for. */
void file_store_retire(struct file_store *f, int fd);
bool file_store_is_shared(const struct file_store *f);
void file_store_unshare(struct file_store *f);
void file_store_keep(struct file_store *f, uint64_t handle);

/* Executes the law above. Lock held. */
void file_store_check(const struct file_store *f);

#endif
