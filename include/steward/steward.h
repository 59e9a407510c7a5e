/*
 * Steward inside a program: memory regions that hold more than the RAM they take.
 *
 * A region is a range of addresses that is used like any other memory. It has a
 * budget of its own: of its pages so many are in RAM, the others are compressed
 * within the same budget, in a file, or where the program keeps them. A touch of
 * a page that is out brings it back; nothing else of the program changes.
 *
 *     struct stw_memory_config config = STW_MEMORY_CONFIG;
 *
 *     config.bytes = 1 << 30;
 *     config.budget = 256 << 20;
 *     struct stw_region *r = stw_memory_open(&config);
 *
 *     if (r == NULL)
 *             errx(1, "%s", stw_error());
 *     use(stw_address(r));
 *     stw_close(r);
 *
 * Link with -lsteward (pkg-config steward). Linux 6.8 or later, and a right to
 * userfaultfd: `steward doctor` says whether this machine gives it.
 *
 * Results. Functions return 0 or a negative errno value, those that return a
 * pointer NULL; the reason in words is then in stw_error(). Nothing here ends the
 * program, but a page that cannot be had when it is touched raises SIGBUS in the
 * thread that touches it, as a mapped file would, after one line on stderr.
 *
 * Threads. Regions may be used by any number of threads at once, and so may all
 * functions but stw_close, which must be the last one called for its region.
 * A thread that still touches the memory then gets SIGSEGV, as after munmap.
 *
 * fork. The memory of a region stays with its process: in a child its addresses
 * are unmapped, and functions called there for it fail with -ECHILD.
 */
#ifndef STEWARD_STEWARD_H
#define STEWARD_STEWARD_H

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#ifdef __cplusplus
extern "C" {
#endif

struct stw_region;

/* Why the last function of this thread failed: one line without newline, valid until the next one fails. Never NULL. */
const char *stw_error(void);

/*
 * A place of the program's own for pages. The functions are called from
 * Steward's threads, one at a time each, and must not touch memory of the region.
 * They return 0 or a negative errno value: -ENOSPC of write says that there is no
 * room, anything else is tried again a few times. What was written at an offset
 * must be read there until it is written again or the region is closed: a page is checked against
 * the checksum taken when it went out, and another one is never given to the
 * program (SIGBUS).
 */
struct stw_store {
	/* Write, or read, n pages of 4096 bytes that follow one another from `offset` on. */
	int (*write)(void *ctx, uint64_t offset, const struct iovec *pages, int n);
	int (*read)(void *ctx, uint64_t offset, const struct iovec *pages, int n);
	void *ctx;
	uint64_t bytes; /* offsets are below; 4096 at least */
};

/* Memory without a file behind it. Start from STW_MEMORY_CONFIG, which sets config_bytes and leaves the rest 0. */
struct stw_memory_config {
	size_t config_bytes;           /* sizeof(struct stw_memory_config) */
	size_t bytes;                  /* of the region, 1 at least; rounded up to pages of 4096 */
	size_t budget;                 /* bytes of RAM for pages, compressed pages and tables: 4 MiB at least */
	const char *policy;            /* which page goes: as `steward run --policy`; NULL: second-chance */
	const char *swap_dir;          /* a directory: what does not fit compressed goes to a file without a name there; NULL: none */
	uint64_t swap_bytes;           /* that the file may have at most; 0: as many as the region */
	const struct stw_store *store; /* used when the places before are full; copied; NULL: none */
};

#define STW_MEMORY_CONFIG { sizeof(struct stw_memory_config), 0, 0, NULL, NULL, 0, NULL }

/*
 * A region of zeros. NULL and stw_error(): a size that is 0 or too large, a
 * budget below the least, an unknown policy, a directory where no file can be
 * made, no right to userfaultfd, an older kernel, no memory.
 */
struct stw_region *stw_memory_open(const struct stw_memory_config *config);

/* A part of a file, as an array. Start from STW_FILE_CONFIG. */
struct stw_file_config {
	size_t config_bytes;  /* sizeof(struct stw_file_config) */
	const char *path;     /* a file or block device */
	int writable;         /* 0: the region can only be read */
	int create;           /* writable: the file is made if there is none, and made longer (with holes) if it is too short */
	uint64_t offset;      /* of the region in the file; a multiple of 4096 */
	size_t bytes;         /* of the region; 0: up to the end of the file */
	size_t budget;        /* bytes of RAM for blocks, buffers and tables; eight blocks and their buffers at least */
	size_t page;          /* bytes that are read and written at once: a power of two, 4096 to 2 MiB; 0: 65536 */
};

#define STW_FILE_CONFIG { sizeof(struct stw_file_config), NULL, 0, 0, 0, 0, 0, 0 }

/*
 * A region of a file. Its blocks are read when they are touched, those that follow one another ahead of time, and written when they leave and have
 * changed. The file is read and written past the kernel's page cache where its file system can do that. Nobody else
 * should change this part of the file meanwhile, nor make the file shorter than that. What lies before and behind is left alone. NULL and stw_error(): as stw_memory_open, and a
 * file that cannot be opened, or is too short.
 */
struct stw_region *stw_file_open(const struct stw_file_config *config);

/*
 * Writes what has changed of the pages in the range, and returns when it is on the disk. Neighbours are written together, several runs
 * at once. Other errno values than -EINVAL and -ECHILD: not all could be written, and what could not is kept. But what was written and the
 * disk then did not take may be lost: each later stw_flush and stw_close says so again, and stw_abandon ends the region.
 * For a region without a file: 0, nothing to be done.
 */
int stw_flush(struct stw_region *region, size_t offset, size_t bytes);

/* Where the region begins, page aligned; and its size in bytes. */
void *stw_address(const struct stw_region *region);
size_t stw_bytes(const struct stw_region *region);

/*
 * Ends the region: its addresses are unmapped. If it has a file, all that was changed is on the disk then: 0 says so.
 * Otherwise the region stays open, with everything in it, and may be closed again later: -ECHILD: it is another
 * process's; else what writing the file failed with.
 */
int stw_close(struct stw_region *region);
/* Ends the region without writing what has changed. 0 or -ECHILD. */
int stw_abandon(struct stw_region *region);

/*
 * Hints, for the pages that [offset, offset + bytes) touches. -EINVAL: not within the region.
 */

/* Brings pages in that will be used soon, as far as half of the budget goes, without a fault for each. -EIO: some cannot be had. */
int stw_prefetch(struct stw_region *region, size_t offset, size_t bytes);

struct stw_range {
	size_t offset, bytes;
};

/* The same for n ranges at once, wherever they lie: of a file, many reads are in flight together. */
int stw_get(struct stw_region *region, const struct stw_range *ranges, size_t n);

/* These are the next to leave; they keep their content. */
int stw_cold(struct stw_region *region, size_t offset, size_t bytes);
/*
 * Pages that lie wholly within the range read as zeros from now on; nothing is written for them. Of a file these are
 * blocks of its page size, and become holes of it; -EOPNOTSUPP: its file system has none.
 */
int stw_discard(struct stw_region *region, size_t offset, size_t bytes);
/*
 * Brings pages in and keeps them until stw_unpin; pins do not nest. -ENOMEM: more than half of the
 * budget would be pinned, and nothing more is. -EIO: some cannot be had.
 */
int stw_pin(struct stw_region *region, size_t offset, size_t bytes);
int stw_unpin(struct stw_region *region, size_t offset, size_t bytes);

/* Figures of a region, in bytes if nothing else is said. */
struct stw_stats {
	uint64_t budget;
	uint64_t resident;         /* pages in RAM */
	uint64_t pool;             /* RAM that compressed pages take */
	uint64_t out;              /* pages that are out, wherever */
	uint64_t pinned;
	uint64_t faults;           /* count; those that follow are parts of it */
	uint64_t faults_zero;      /* first touches */
	uint64_t faults_soft;      /* the page was in RAM, watched for a touch */
	uint64_t faults_major;     /* it was out */
	uint64_t pages_in;         /* count of 4 KiB pages brought back */
	uint64_t pages_out;        /* count of 4 KiB pages that left */
	uint64_t wait_ns;          /* nanoseconds that faults took to be served */
	uint64_t errors;           /* count of transfers that failed for good, and of pages that could not be had */
	uint64_t dirty;            /* of a file: changed and not written yet */
	uint64_t faults_write;     /* count, of a file: first writes to a block that was read before */
};

/* stats_bytes: sizeof(*stats); a later version of the library may fill in more. 0 or -ECHILD. */
int stw_stats(struct stw_region *region, struct stw_stats *stats, size_t stats_bytes);

#ifdef __cplusplus
}
#endif

#endif
