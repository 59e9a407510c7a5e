/* One page that the launcher is asked for, and the servers as they are at the moment: what the files of `remote` share. */
#ifndef STW_STORE_REMOTE_REQUEST_H
#define STW_STORE_REMOTE_REQUEST_H

#include "store/remote.h"

uint64_t remote_now(void); /* ns, monotonic */
/* Processes share these words. */
void remote_sleep(_Atomic uint32_t *word, uint32_t seen, uint64_t ns);
void remote_wake(_Atomic uint32_t *word);

static inline bool remote_move(struct remote_entry *e, uint32_t from, uint32_t to)
{
	return atomic_compare_exchange_strong(&e->state, &from, to);
}

static inline struct remote_ring *ring_of(const struct remote_store *r)
{
	return &r->shared->ring[r->ring];
}

/* Where the entries of a leg begin for what is waited for: what one leg never answers keeps nobody from asking the other. */
static inline unsigned request_entry(unsigned leg, bool out)
{
	return (leg + (out ? 0 : 2)) * STORE_BATCH;
}

/* Until the deadline. False: the entry is still the launcher's, after a request that was given up. */
bool request_ask(struct remote_store *r, unsigned leg, unsigned entry, const struct store_io *io, uint64_t page, bool out);
/* The launcher is to see what has been asked for. legs: a bit for each that has been. */
void request_ring(struct remote_store *r, unsigned legs);
/* True: it is over at `now`, with *err. *sent: the server may have it, and may do it later if it is not done. */
bool request_over(struct remote_store *r, unsigned entry, struct store_io *io, uint64_t deadline, uint64_t now, int *err, bool *sent);
/* Waits until it is. Returns err. */
int request_answer(struct remote_store *r, unsigned entry, struct store_io *io, uint64_t deadline, bool *sent);

/* There is no connection. */
bool leg_is_down(const struct remote_store *r, unsigned leg);
/* It hangs: whoever can do without it should. */
void leg_avoid(struct remote_store *r, unsigned leg);
bool leg_is_avoided(const struct remote_store *r, unsigned leg);

/* remote_read.c: the reads of the store's contract. */
void remote_run_in(struct remote_store *r, struct store_io *io, unsigned n, uint64_t page);
unsigned remote_read_begin(struct store *store, struct store_io *io, unsigned n, uint32_t *left);
void remote_read_poll(struct store *store, bool wait);

#endif
