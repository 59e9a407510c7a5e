/*
 * faulty: a store around another one that fails now and then, for tests: any call, any page, once or for good, late,
 * in the middle of a batch, or with other bytes. Which ones is decided by a seed.
 */
#ifndef STW_STORE_FAULTY_H
#define STW_STORE_FAULTY_H

#include <stdatomic.h>

#include "base/rand.h"
#include "mm/backing/store.h"

#define FAULTY_READS 8

/* A batch on its way; io NULL: none. */
struct faulty_read {
	struct store_io *io;
	unsigned n;
	uint32_t *left;
	unsigned begun;      /* by the store behind: the first so many */
	uint32_t inner_left; /* of them */
};

struct faulty_store {
	struct store store;      /* first */
	struct store *inner;
	struct store_ops ops;
	uint32_t rate;           /* faults in a thousand pages */
	bool lasting;            /* some of them are for good: pages may be lost */
	void (*late)(void);      /* [unlocked] a call that takes long; NULL: none does */
	struct rand locked, writes, reads; /* of calls under the lock, and of those that may run at once without */
	_Atomic bool writes_fail, reads_fail; /* for good */
	_Atomic uint64_t faults; /* so far */
	struct faulty_read reading[FAULTY_READS]; /* the reader's */
	uint8_t bounce[PAGE_SIZE] __attribute__((aligned(4096))); /* the writer's */
};

void faulty_init(struct faulty_store *f, struct store *inner, uint64_t seed, uint32_t rate, bool lasting);

#endif
