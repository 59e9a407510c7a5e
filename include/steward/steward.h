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

/* Where the region begins, page aligned; and its size in bytes as asked for. */
void *stw_address(const struct stw_region *region);
size_t stw_bytes(const struct stw_region *region);

/*
 * Ends the region: its addresses are unmapped. 0; -ECHILD: it is another
 * process's, nothing changed.
 */
int stw_close(struct stw_region *region);

/*
 * Hints, for the pages that [offset, offset + bytes) touches. -EINVAL: not within the region.
 */

/* Brings pages in that will be used soon, as far as half of the budget goes, without a fault for each. -EIO: some cannot be had. */
int stw_prefetch(struct stw_region *region, size_t offset, size_t bytes);
/* These are the next to leave; they keep their content. */
int stw_cold(struct stw_region *region, size_t offset, size_t bytes);
/* Pages that lie wholly within the range read as zeros from now on; nothing is written for them. */
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
	uint64_t faults;           /* count; the next three are parts of it */
	uint64_t faults_zero;      /* first touches */
	uint64_t faults_soft;      /* the page was in RAM, watched for a touch */
	uint64_t faults_major;     /* it was out */
	uint64_t pages_in;         /* count of 4 KiB pages brought back */
	uint64_t pages_out;        /* count of 4 KiB pages that left */
	uint64_t wait_ns;          /* nanoseconds that faults took to be served */
	uint64_t errors;           /* count of pages that could not be had or written */
};

/* stats_bytes: sizeof(*stats); a later version of the library may fill in more. 0 or -ECHILD. */
int stw_stats(struct stw_region *region, struct stw_stats *stats, size_t stats_bytes);

#ifdef __cplusplus
}
#endif

#endif
