/*
 * What a thread frees of other threads' slabs goes back to them in batches.
 *
 *   outbox[class]: a slab, and the bits of its slots freed since it stands here
 *
 * To tell the owner costs two atomic operations on lines that it uses, and
 * mostly a cache miss each. Blocks that were made one after the other lie in one
 * slab and are often freed one after the other, so the bits of a slab are
 * gathered until the thread frees a slot of another slab of the class. A slot
 * whose bit waits here is in use for its slab.
 *
 * What waits is bounded by one slab a class up to OUTBOX_SLOT_MAX; larger slots
 * do not wait. A thread that ends, makes a slab, or trims lets all of it go.
 *
 * Law (outbox_check): the slab of an entry has another owner; each of its bits
 * is neither free nor remote there.
 */
#ifndef STW_MALLOC_OUTBOX_H
#define STW_MALLOC_OUTBOX_H

#include "malloc/slab.h"

#define NR_OUTBOX_CLASSES 32 /* up to 1 KiB: 256 KiB may wait at most */

/* The owner thread's; outbox_slots reads the bits of others (relaxed). */
struct outbox {
	struct slab *slab; /* NULL: empty */
	uint64_t bits[SLAB_WORDS];
};

/* Slot i of s, at mem, is freed by this thread, which does not own s. It may get a cache by that (tcache_get_to_free). */
void outbox_put(struct slab *s, size_t i, void *mem);
/* All that waits in t goes to its owners. */
void outbox_flush(struct tcache *t);
/* Slots of the class that wait in t, at about this moment. */
size_t outbox_slots(const struct tcache *t, unsigned class);
void outbox_check(const struct tcache *t);

#endif
