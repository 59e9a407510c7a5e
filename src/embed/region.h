/*
 * A region as all kinds of it are: a range of addresses with a userfaultfd of its own, a thread that serves its faults
 * (server.h), and the operations of its kind. Nothing is shared between regions, and nothing with the live engine,
 * which may be in the same process.
 *
 *   region.c   what every public function does first: is it our process's, does the range lie within it?
 *   server.c   userfaultfd and the thread that reads it
 *   memory.h   the kind without a file: a memory manager of its own (mm/), as the live engine has one
 *   file.h     the kind with a file: blocks of it in memory
 *
 * Memory of ours and that of the region is mapped by raw system calls and is not copied by fork (MADV_DONTFORK), but
 * for struct stw_region itself, in which a child sees that it is not its own.
 */
#ifndef STW_EMBED_REGION_H
#define STW_EMBED_REGION_H

#include "embed/server.h"
#include "steward/steward.h"

#define EXPORT __attribute__((visibility("default")))

/* Ranges are addresses: pages of 4 KiB, within the region. Results as in steward.h. */
struct region_ops {
	/* Writes what is dirty, if there is somewhere to write it. */
	int (*flush)(struct stw_region *r, uint64_t start, uint64_t end);
	/* The addresses are gone: ends the threads and gives everything back. */
	void (*close)(struct stw_region *r);
	int (*prefetch)(struct stw_region *r, uint64_t start, uint64_t end);
	/* Of n ≥ 1 ranges that lie within the region. */
	int (*get)(struct stw_region *r, const struct stw_range *ranges, size_t n);
	int (*cold)(struct stw_region *r, uint64_t start, uint64_t end);
	int (*discard)(struct stw_region *r, uint64_t start, uint64_t end);
	int (*pin)(struct stw_region *r, uint64_t start, uint64_t end);
	int (*unpin)(struct stw_region *r, uint64_t start, uint64_t end);
	void (*stats)(struct stw_region *r, struct stw_stats *s);
};

struct stw_region {
	const struct region_ops *ops;
	int pid;               /* whose it is */
	uint64_t start;        /* address */
	size_t bytes;          /* as asked for */
	size_t mapped;         /* bytes, whole pages of the kind */
	struct server server;
	_Atomic bool closing;  /* nobody waits for anything any more */
};

/* Fresh memory of the host, not for children; NULL: there is none. */
void *region_memory(size_t bytes);
void region_memory_free(void *p, size_t bytes);
/*
 * Maps the range and registers it with the server, which is open. 0, or -errno and the message. Nobody can touch it
 * before its address is known.
 */
int region_map(struct stw_region *r, size_t bytes, size_t page);
/* The region, all zeros but what every kind needs; bytes of its whole struct. NULL and the message. */
struct stw_region *region_new(const struct region_ops *ops, size_t bytes);
/* The pages of 4 KiB that the range touches, or (whole) those that lie within it. 0, or -EINVAL and the message. */
int region_range(const struct stw_region *r, size_t offset, size_t bytes, bool whole, uint64_t *start, uint64_t *end);
/* Takes the addresses away: whoever touches them gets SIGSEGV, and so does who waits for them when the server wakes him. */
void region_unmap(struct stw_region *r);

#endif
