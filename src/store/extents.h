/*
 * extents: which parts of a file are ours. Several processes swap to one file or
 * device: each takes extents of EXTENT_SLOTS pages for itself, as many as it
 * needs, by a lock on each. For files the kernel keeps it, on the extent's range
 * of bytes for an open file description (fcntl(2), F_OFD_SETLK): nobody has to
 * keep books about processes, what one had is free for others when it ends, however
 * it ends.
 *
 *     file      extent 0 | extent 1 | extent 2 | …      locks: exclusive, or shared after fork
 *     at[]      [ 2, 0, … ]: our slots 0 to 1023 are in extent 2, the next 1024 in extent 0
 *
 * fork: the parent's locks become shared (share), the child takes shared ones of
 * its own on the same extents (inherit). Until the parent has them for itself again
 * (unshare), nobody writes to what the other one may read.
 */
#ifndef STW_STORE_EXTENTS_H
#define STW_STORE_EXTENTS_H

#include "base/types.h"

#define EXTENT_SLOTS 1024 /* 4 MiB: a lock for each is taken in a microsecond */

/* Law: bit at[i] of mine is set for i < nr, and no other; inherited ≤ nr ≤ total. */
struct extents {
	/* Takes the extent, or makes what we have exclusive or shared. 0, -EAGAIN: another process has it; or why not. */
	int (*lock)(void *ctx, uint32_t extent, bool exclusive);
	void *ctx;
	uint32_t total;     /* that the file has */
	uint32_t nr;        /* ours */
	uint32_t inherited; /* of them, the first so many: our ancestors wrote there, we only read */
	uint32_t hint;      /* where the next search starts */
	uint32_t *at;
	uint64_t *mine;
};

/* Bytes of memory that extents_init needs. */
size_t extents_bytes(uint32_t total);
/* memory: zero-filled. lock and ctx are the caller's to set. */
void extents_init(struct extents *e, uint32_t total, void *memory);
/* One more. 0, -ENOSPC: others have the rest; or what the kernel says. */
int extents_claim(struct extents *e);

/* A child is about to be made. 0 or -errno. */
int extents_share(struct extents *e);
/* In the child, once it has the file open. 0 or -errno. */
int extents_inherit(struct extents *e);
/* True: nobody else reads ours any more. */
bool extents_unshare(struct extents *e);

/* Page, counted from the start of extent 0, in which our slot is. */
static inline uint64_t extents_page(const struct extents *e, uint64_t slot)
{
	return (uint64_t)e->at[slot / EXTENT_SLOTS] * EXTENT_SLOTS + slot % EXTENT_SLOTS;
}

void extents_check(const struct extents *e);

#endif
