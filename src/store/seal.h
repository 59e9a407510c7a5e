/*
 * seal: pages leave encrypted and come back authenticated, whoever keeps them: XChaCha20-Poly1305 (libsodium), a
 * random key that is nowhere but in this process and those it forks, and dies with them.
 *
 * nonce, 24 bytes:   16 of whoever wrote it, random | number of the slot, 4 | how often the slot was taken, 4
 *
 * A slot that is taken gets one page, sealed with one nonce; what is tried again is the same message. After fork the child writes
 * under a random part of its own, which is remembered for each extent. So no nonce is used twice.
 *
 * The tag and the count stay in memory, 20 bytes a page: an old page that is put back in its slot, or one of another
 * slot, is refused like one that was changed.
 *
 * 2.8 µs a page out and 2.9 in. AES-256-GCM with the instructions for it takes 1.9 and 2.2 here, but its nonces are too
 * short to be drawn at random, and it needs the instructions.
 */
#ifndef STW_STORE_SEAL_H
#define STW_STORE_SEAL_H

#include "store/slots.h"

#define SEAL_KEY 32
#define SEAL_PREFIX 16
#define SEAL_TAG 16

struct sealed_slot {
	uint32_t taken; /* times; [m] */
	uint8_t tag[SEAL_TAG];
};

/* Between the books of a store and what moves its pages. */
struct seal {
	struct slots *slots;
	void (*run)(struct slots *s, struct store_io *io, unsigned n, uint64_t page, bool out); /* that of the store */
	uint8_t *key;                         /* SEAL_KEY bytes, on a page of its own */
	uint8_t prefix[SEAL_PREFIX];          /* of this process */
	uint8_t (*prefix_of)[SEAL_PREFIX];    /* of each extent, by its place in extents.at[] */
	struct sealed_slot *slot;             /* by number */
	uint8_t *bounce;                      /* the writer's: STORE_BATCH pages on their way out */
};

/* Bytes of memory that seal_init needs. Most of it is touched only as far as slots are used. */
size_t seal_bytes(uint64_t max_bytes);
/* slots has been initialised, for the same cap. memory: zero-filled, page aligned. 0, or -EIO: no random numbers. */
int seal_init(struct seal *s, struct slots *slots, uint64_t max_bytes, void *memory);
/* Lock held: the slot is about to get another page. */
void seal_taken(struct seal *s, uint64_t slot);
/* [unlocked] Pages that have been read as they lie there: opens those without an err, or sets it. */
void seal_open(struct seal *s, struct store_io *io, unsigned n);
/* In a child after fork: what it writes has another nonce. */
int seal_inherit(struct seal *s);

#endif
