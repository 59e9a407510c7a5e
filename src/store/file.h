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

#include "store/slots.h"
#include "store/uring.h"

struct file_store {
	struct slots slots;  /* first */
	int fd;              /* owned: destroy closes it */
	bool direct;         /* O_DIRECT: no copy in the page cache */
	struct uring reads;  /* the reader's */
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

/* The arguments are those of slots_init; fd belongs to the store if 0 is returned. */
int file_store_init(struct file_store *f, int fd, uint64_t first, uint64_t max_bytes, void *memory, size_t bytes);
/* slots_inherit; fd: the same file, opened again; belongs to the store. -1: it could not be. */
int file_store_inherit(struct file_store *f, int fd);

#endif
