/*
 * remote_read: pages come back from their server, or from one of two (remote.h).
 *
 * Waited for or not, a page is asked of a leg that has it. One that both have is waited for REMOTE_WRITE_NS, and then, or
 * if what came was wrong, asked of the other; otherwise until the deadline of the area.
 *
 * Not waited for: pages that follow one another take entries that do, so that they are one request. `reading` says whose
 * each entry is. A page that has failed is the caller's to read again, which waits (mm/backing/swapread.c).
 *
 * On a kernel whose io_uring cannot watch a futex (futexfd.h) all are waited for, one after the other.
 */
#include <errno.h>

#include "base/assert.h"
#include "store/remote_request.h"
#include "store/seal.h"

/* A bit for each leg that lacks one of these pages. */
static unsigned lacking(const struct remote_store *r, const struct store_io *io, unsigned n)
{
	unsigned legs = 0;

	for (unsigned leg = 0; leg < r->legs && r->legs > 1; leg++)
		for (unsigned i = 0; i < n; i++)
			legs |= (unsigned)(__atomic_load_n(&r->lacks[leg][io[i].handle / 64], __ATOMIC_RELAXED) >> io[i].handle % 64 & 1) << leg;
	return legs;
}

/* Pages that these legs lack are asked for here first. */
static unsigned first_leg(const struct remote_store *r, unsigned lack)
{
	if (r->legs == 1 || lack != 0)
		return lack == 1;
	return (leg_is_avoided(r, 0) || leg_is_down(r, 0)) && !leg_is_down(r, 1);
}

static uint64_t deadline_of(const struct remote_store *r, bool other)
{
	return remote_now() + (other ? MIN(REMOTE_WRITE_NS, r->deadline_ns) : r->deadline_ns);
}

/* There is no connection, and nobody should wait until there is one. */
static bool is_hopeless(const struct remote_store *r, unsigned leg, bool other)
{
	return leg_is_down(r, leg) && (other || r->gave_up);
}

/* A page that was asked for is there, or is not (err). */
static void learn(struct remote_store *r, unsigned leg, bool other, int err, bool late)
{
	if (err != 0 && late)
		leg_avoid(r, leg);
	if (!other)
		r->gave_up = err != 0 && (r->gave_up || late);
}

/* A read of one leg. It is waited for until the deadline only where there is no other. */
static void run_in(struct remote_store *r, struct store_io *io, unsigned n, uint64_t page, unsigned leg, bool other)
{
	bool asked[STORE_BATCH], hopeless = is_hopeless(r, leg, other);

	for (unsigned i = 0; i < n; i++)
		asked[i] = !hopeless && request_ask(r, leg, request_entry(leg, false) + i, &io[i], page + i, false);
	request_ring(r, 1u << leg);
	uint64_t deadline = deadline_of(r, other);

	for (unsigned i = 0; i < n; i++) {
		bool sent;

		io[i].err = asked[i] ? request_answer(r, request_entry(leg, false) + i, &io[i], deadline, &sent) : -EIO;
		if (asked[i])
			learn(r, leg, other, io[i].err, remote_now() >= deadline);
	}
}

static bool all_read(const struct store_io *io, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		if (io[i].err != 0)
			return false;
	return true;
}

/* Pages of which each leg has all, or one lacks some. */
static void read_run(struct remote_store *r, struct store_io *io, unsigned n, uint64_t page, unsigned lack)
{
	bool other = r->legs == 2 && lack == 0;
	/* What was wrong when it came the last time is asked for elsewhere now. */
	unsigned leg = other && !all_read(io, n) ? !r->last_leg : first_leg(r, lack);

	run_in(r, io, n, page, leg, other);
	if (other && !all_read(io, n))
		run_in(r, io, n, page, leg = !leg, false);
	r->last_leg = (uint8_t)leg;
}

void remote_run_in(struct remote_store *r, struct store_io *io, unsigned n, uint64_t page)
{
	unsigned lack = lacking(r, io, n);

	if (lack != 3) {
		read_run(r, io, n, page, lack);
		return;
	}
	/* Neither leg has all of them. */
	for (unsigned i = 0; i < n; i++)
		read_run(r, &io[i], 1, page + i, lacking(r, &io[i], 1));
}

/* The first so many pages that follow one another on the same legs. */
static unsigned run_on_legs(const struct remote_store *r, const struct store_io *io, unsigned n, unsigned lack)
{
	unsigned run = slots_run(&r->slots, io, n, false), len = 1;

	while (len < run && lacking(r, &io[len], 1) == lack)
		len++;
	return len;
}

/* Up to n entries in a row, from *first on. Returns how many; 0: all are taken. */
static unsigned free_entries(const struct remote_store *r, unsigned n, unsigned *first)
{
	const struct remote_entry *e = &ring_of(r)->entry[REMOTE_WAITED];
	unsigned i = 0, len = 0;

	while (i < REMOTE_READS && atomic_load(&e[i].state) != REMOTE_IDLE)
		i++;
	while (len < n && i + len < REMOTE_READS && atomic_load(&e[i + len].state) == REMOTE_IDLE)
		len++;
	*first = i;
	return len;
}

/* Pages that follow one another on the same legs. Returns how many of the first ones are asked for, of a leg that is added to *legs. */
static unsigned begin_run(struct remote_store *r, struct store_io *io, unsigned n, unsigned lack, uint32_t *left, unsigned *legs)
{
	bool other = r->legs == 2 && lack == 0;
	unsigned leg = first_leg(r, lack), first, got = is_hopeless(r, leg, other) ? 0 : free_entries(r, n, &first);
	uint64_t page = slots_page(&r->slots, io->handle), deadline = deadline_of(r, other);

	for (unsigned i = 0; i < got; i++) {
		request_ask(r, leg, REMOTE_WAITED + first + i, &io[i], page + i, false);
		io[i].scratch = left;
		r->reading[first + i] = (struct remote_reading){ .io = &io[i], .deadline = deadline, .other = other };
	}
	if (got > 0 && first + got > atomic_load(&ring_of(r)->reads))
		atomic_store(&ring_of(r)->reads, first + got);
	r->nr_reading += got;
	*legs |= (unsigned)(got > 0) << leg;
	return got;
}

unsigned remote_read_begin(struct store *store, struct store_io *io, unsigned n, uint32_t *left)
{
	struct remote_store *r = container_of(store, struct remote_store, slots.store);
	unsigned begun = 0, legs = 0, got;

	if (!futexfd_works(&r->told))
		return 0;
	if (r->nr_reading == 0)
		r->seen = atomic_load(&ring_of(r)->done[0]);
	do {
		unsigned lack = lacking(r, io + begun, 1);

		got = begin_run(r, io + begun, run_on_legs(r, io + begun, n - begun, lack), lack, left, &legs);
		begun += got;
	} while (got > 0 && begun < n);
	*left += begun;
	if (begun > 0)
		request_ring(r, legs);
	return begun;
}

/* The page of entry i has come, or not (err). */
static void end_reading(struct remote_store *r, unsigned i, int err, uint64_t now)
{
	struct remote_reading *g = &r->reading[i];
	struct store_io *io = g->io;
	unsigned leg = ring_of(r)->entry[REMOTE_WAITED + i].leg / REMOTE_AREAS;

	io->err = err;
	learn(r, leg, g->other, err, now >= g->deadline);
	r->last_leg = (uint8_t)leg;
	if (err != 0)
		__atomic_fetch_add(&r->slots.store.stat.errors, 1, __ATOMIC_RELAXED);
	if (r->slots.seal != NULL)
		seal_open(r->slots.seal, io, 1);
	*(uint32_t *)io->scratch -= 1;
	g->io = NULL;
	r->nr_reading--;
}

/* Ends what is done, or late. Returns how many pages that is. */
static unsigned look_through(struct remote_store *r)
{
	unsigned used = atomic_load(&ring_of(r)->reads), before = r->nr_reading;
	uint64_t now = remote_now();

	for (unsigned i = 0; i < used; i++) {
		const struct remote_reading *g = &r->reading[i];
		bool sent;
		int err;

		if (g->io != NULL && request_over(r, REMOTE_WAITED + i, g->io, g->deadline, now, &err, &sent))
			end_reading(r, i, err, now);
	}
	return before - r->nr_reading;
}

static uint64_t next_deadline(const struct remote_store *r)
{
	uint64_t next = UINT64_MAX;

	for (unsigned i = 0; i < REMOTE_READS; i++)
		if (r->reading[i].io != NULL)
			next = MIN(next, r->reading[i].deadline);
	return next;
}

void remote_read_poll(struct store *store, bool wait)
{
	struct remote_store *r = container_of(store, struct remote_store, slots.store);
	_Atomic uint32_t *done = &ring_of(r)->done[0];

	if (r->nr_reading == 0)
		return;
	futexfd_heard(&r->told);
	for (;;) {
		r->seen = atomic_load(done);
		if (look_through(r) > 0 || !wait)
			return;
		uint64_t now = remote_now(), next = next_deadline(r);

		if (now < next)
			remote_sleep(done, r->seen, next - now);
	}
}

int remote_store_fd(struct remote_store *r, uint64_t *until)
{
	if (r->nr_reading == 0)
		return -1;
	int fd = futexfd_poll(&r->told, &ring_of(r)->done[0], r->seen);

	/* It worked once: for want of memory, then. */
	*until = fd >= 0 ? MIN(*until, next_deadline(r)) : 0;
	return fd;
}
