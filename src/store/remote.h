/*
 * remote: a store whose pages are with a server somewhere. Somebody else talks
 * to it, the launcher, because that takes a large library (cli/run/nbd.c). Pages
 * go there and back through shared memory.
 *
 *     program's process                                launcher, a thread for each connection
 *     page ──copy──► data[i]; entry[i]: QUEUED ──────► BUSY, asks the server
 *     copy ◄── data[i]; IDLE ◄── futex `done` ──────── DONE, with err
 *
 * Reads need not be waited for (remote_read.c): they have entries of their own, and `done` can be polled for (futexfd.h).
 *
 * Whoever asks waits until its deadline and no longer: what is still QUEUED then
 * is taken back, what is BUSY is LEFT to the launcher, who makes it IDLE.
 *
 * A write that was given up, or sent again over another connection, may still be
 * done at any time, if the server only hung: what comes to the same slot later
 * could be overwritten with what was there before. Such slots are not used again
 * (slots.h, unsure), and the extent that they are in is nobody else's for the rest of
 * the run (REMOTE_TAINTED).
 *
 * A mirror is a second export, with the same pages. A write goes to both; it is done
 * when one has it. What the other lacks is written down by slot, and is not read
 * there until the slot has been written to it again: so an export that comes back
 * takes part at once, and nothing needs to be copied. A read goes to one that has
 * the page, and to the other if that does not answer, or answers with other bytes.
 *
 * Extents (extents.h): a word each says whose it is, and each process has a bit
 * for those that it reads, so that after fork the last one frees them. When a
 * process is gone the launcher does (remote_forget).
 */
#ifndef STW_STORE_REMOTE_H
#define STW_STORE_REMOTE_H

#include <stdatomic.h>

#include "store/slots.h"
#include "store/futexfd.h"

#define REMOTE_RINGS 64                /* one a process */
#define REMOTE_WAITED (4 * STORE_BATCH) /* the first entries: writes of each leg, reads of each leg that are waited for */
#define REMOTE_READS (8 * STORE_BATCH) /* the others: reads that are not */
#define REMOTE_ENTRIES (REMOTE_WAITED + REMOTE_READS)
#define REMOTE_AREAS 6
#define REMOTE_LEGS (2 * REMOTE_AREAS) /* exports: that of each area, then their mirrors */
#define REMOTE_EXTENTS 32768           /* 128 GiB */
#define REMOTE_FIRST UINT64_C(1)       /* page of the export where extents begin: the first one stays what it is (cli/run/places.c) */
#define REMOTE_TAINTED (1u << 31)      /* in `owner` */
#define REMOTE_WRITE_NS UINT64_C(5000000000) /* 5 s: after that a page goes elsewhere */
#define REMOTE_AVOID_NS UINT64_C(10000000000) /* 10 s: then a leg of a mirror that hung is tried again */

enum remote_state { REMOTE_IDLE, REMOTE_QUEUED, REMOTE_BUSY, REMOTE_DONE, REMOTE_LEFT };

struct remote_entry {
	_Atomic uint32_t state;
	int32_t err;   /* DONE: 0, -ENOSPC or -EIO */
	uint8_t leg;
	bool out;
	bool again;    /* it has been sent before */
	uint64_t page; /* of the export */
};

struct remote_ring {
	_Atomic uint32_t done[2]; /* futexes: count the requests that are DONE; [1]: writes */
	_Atomic uint32_t reads; /* of REMOTE_READS, so many have been used: the rest takes no memory */
	struct remote_entry entry[REMOTE_ENTRIES];
	_Atomic uint64_t held[REMOTE_AREAS][REMOTE_EXTENTS / 64];
	uint8_t data[REMOTE_ENTRIES][PAGE_SIZE] __attribute__((aligned(4096)));
};

/* Shared by all processes of a run; all zero is its first state. */
struct remote {
	_Atomic uint32_t bell;    /* futex: counts requests */
	/* For each leg, rings that may have something QUEUED for it: who looks for one leg takes no bit away that another one needs. */
	_Atomic uint64_t pending[REMOTE_LEGS];
	_Atomic uint64_t rings;   /* that have been used: what was never touched takes no memory */
	uint32_t areas;           /* the launcher's: a bit for each that there is */
	_Atomic uint32_t down[REMOTE_LEGS]; /* 1: there is no connection */
	_Atomic uint32_t owner[REMOTE_AREAS][REMOTE_EXTENTS]; /* 1 + ring */
	struct remote_ring ring[REMOTE_RINGS];
};

/* A page that is being read and not waited for. */
struct remote_reading {
	struct store_io *io;  /* its scratch: what the caller counts; NULL: nothing is read */
	uint64_t deadline;
	bool other;           /* the other leg has it too */
};

struct remote_store {
	struct slots slots; /* first */
	struct remote *shared;
	unsigned area, ring;
	unsigned legs;        /* 2: there is a mirror */
	uint64_t *lacks[2];   /* of each leg a bit a slot, the writer's; set: its page is on the other leg only */
	_Atomic uint64_t avoid_ns[2]; /* monotonic: until then a leg that did not answer in time is left alone if the other will do */
	uint8_t last_leg;     /* the reader's */
	uint64_t deadline_ns; /* of a read */
	bool gave_up;         /* a read has met its deadline: the next ones do not wait while there is no connection */
	struct futexfd told;   /* the reader's, as what follows: of the ring's `done` of reads */
	uint32_t seen;        /* that, before `reading` was last looked through */
	unsigned nr_reading;
	struct remote_reading reading[REMOTE_READS]; /* by entry */
};

/* Bytes of memory for slots_init and for the books of slots that are not used again, or not on both legs. */
size_t remote_store_bytes(uint64_t max_bytes);
/* legs: 1, or 2 with a mirror. memory: as for slots_init. remote_forget comes before if the ring was somebody else's, or the last image's. 0 or -EINVAL. */
int remote_store_init(struct remote_store *r, struct remote *shared, unsigned area, unsigned legs, unsigned ring,
		      uint64_t max_bytes, uint64_t deadline_ns, void *memory, size_t bytes);
/* In a child after fork: its own ring; REMOTE_RINGS or more: there is none left, so it writes nothing there. 0 or -errno. */
int remote_store_inherit(struct remote_store *r, unsigned ring);

/*
 * While pages are being read and not waited for: to be polled for POLLIN, and no longer than until (monotonic ns), which is
 * lowered. -1: none are.
 */
int remote_store_fd(struct remote_store *r, uint64_t *until);

/* Nobody uses the ring any more, if there is one of that number: what it has of the areas is free for others. */
void remote_forget(struct remote *shared, unsigned ring);

/*
 * The launcher's side. Takes up to n requests of the leg: entries whose pages and data follow one another come one after
 * the other. Returns how many.
 */
struct remote_request {
	struct remote_ring *ring;
	unsigned entry;
};
unsigned remote_take(struct remote *shared, unsigned leg, struct remote_request *r, unsigned n);
/* These n pages of one request are done, with err. */
void remote_done(const struct remote_request *r, unsigned n, int err);
/* It was sent, and will have to be sent again. */
void remote_requeue(struct remote *shared, const struct remote_request *r);
/* Sleeps until the bell differs from seen, timeout_ms at most. */
void remote_wait(struct remote *shared, uint32_t seen, unsigned timeout_ms);
void remote_ring_bell(struct remote *shared);

#endif
