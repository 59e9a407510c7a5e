#include "store/remote_request.h"

#include <errno.h>
#include <linux/futex.h>
#include <string.h>

#include "base/sys.h"

uint64_t remote_now(void)
{
	struct timespec t;

	sys_clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

void remote_sleep(_Atomic uint32_t *word, uint32_t seen, uint64_t ns)
{
	const struct timespec t = { .tv_sec = (time_t)(ns / 1000000000), .tv_nsec = (long)(ns % 1000000000) };

	sys_futex((uint32_t *)word, FUTEX_WAIT, seen, &t, NULL, 0);
}

void remote_wake(_Atomic uint32_t *word)
{
	sys_futex((uint32_t *)word, FUTEX_WAKE, INT32_MAX, NULL, NULL, 0);
}

bool request_ask(struct remote_store *r, unsigned leg, unsigned entry, const struct store_io *io, uint64_t page, bool out)
{
	struct remote_entry *e = &ring_of(r)->entry[entry];

	if (atomic_load(&e->state) != REMOTE_IDLE)
		return false;
	e->leg = (uint8_t)(r->area + leg * REMOTE_AREAS);
	e->out = out;
	e->again = false;
	e->page = page;
	if (out)
		memcpy(ring_of(r)->data[entry], io->page, PAGE_SIZE);
	atomic_store(&e->state, REMOTE_QUEUED);
	return true;
}

void request_ring(struct remote_store *r, unsigned legs)
{
	for (unsigned leg = 0; leg < r->legs; leg++)
		if (legs >> leg & 1)
			atomic_fetch_or(&r->shared->pending[r->area + leg * REMOTE_AREAS], (uint64_t)1 << r->ring);
	remote_ring_bell(r->shared);
}

/* It is not wanted any more. False: it is done. */
static bool give_up(struct remote_entry *e, bool *sent)
{
	if (remote_move(e, REMOTE_QUEUED, REMOTE_IDLE)) {
		/* Only now: until then the launcher could take it and queue it again. */
		*sent = e->again;
		return true;
	}
	*sent = true;
	/* Between the two it may have been asked for again. */
	return remote_move(e, REMOTE_BUSY, REMOTE_LEFT) || remote_move(e, REMOTE_QUEUED, REMOTE_IDLE);
}

bool request_over(struct remote_store *r, unsigned entry, struct store_io *io, uint64_t deadline, uint64_t now, int *err, bool *sent)
{
	struct remote_entry *e = &ring_of(r)->entry[entry];

	if (atomic_load(&e->state) != REMOTE_DONE) {
		if (now < deadline || !give_up(e, sent))
			return false;
		*err = -EIO;
		return true;
	}
	*err = e->err;
	/* A server without room has answered: nothing of that write comes later. */
	*sent = e->again || (e->err != 0 && e->err != -ENOSPC);
	if (e->err == 0 && !e->out)
		memcpy(io->page, ring_of(r)->data[entry], PAGE_SIZE);
	atomic_store(&e->state, REMOTE_IDLE);
	return true;
}

int request_answer(struct remote_store *r, unsigned entry, struct store_io *io, uint64_t deadline, bool *sent)
{
	_Atomic uint32_t *done = &ring_of(r)->done[ring_of(r)->entry[entry].out];
	int err;

	for (;;) {
		uint32_t seen = atomic_load(done);
		uint64_t now = remote_now();

		if (request_over(r, entry, io, deadline, now, &err, sent))
			return err;
		if (now < deadline)
			remote_sleep(done, seen, deadline - now);
	}
}

bool leg_is_down(const struct remote_store *r, unsigned leg)
{
	return atomic_load(&r->shared->down[r->area + leg * REMOTE_AREAS]) != 0;
}

void leg_avoid(struct remote_store *r, unsigned leg)
{
	atomic_store_explicit(&r->avoid_ns[leg], remote_now() + REMOTE_AVOID_NS, memory_order_relaxed);
}

bool leg_is_avoided(const struct remote_store *r, unsigned leg)
{
	return r->legs == 2 && remote_now() < atomic_load_explicit(&r->avoid_ns[leg], memory_order_relaxed);
}
