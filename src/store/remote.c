#include "store/remote.h"

#include <errno.h>
#include <linux/futex.h>
#include <string.h>

#include "base/assert.h"
#include "base/sys.h"

static struct remote_store *to_remote(struct slots *s)
{
	return container_of(s, struct remote_store, slots);
}

static uint64_t now_ns(void)
{
	struct timespec t;

	sys_clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* Processes share these words. */
static void wait_word(_Atomic uint32_t *word, uint32_t seen, uint64_t ns)
{
	const struct timespec t = { .tv_sec = (time_t)(ns / 1000000000), .tv_nsec = (long)(ns % 1000000000) };

	sys_futex((uint32_t *)word, FUTEX_WAIT, seen, &t, NULL, 0);
}

static void wake_word(_Atomic uint32_t *word)
{
	sys_futex((uint32_t *)word, FUTEX_WAKE, INT32_MAX, NULL, NULL, 0);
}

static bool move_state(struct remote_entry *e, uint32_t from, uint32_t to)
{
	return atomic_compare_exchange_strong(&e->state, &from, to);
}

void remote_ring_bell(struct remote *shared)
{
	atomic_fetch_add(&shared->bell, 1);
	wake_word(&shared->bell);
}

void remote_wait(struct remote *shared, uint32_t seen, unsigned timeout_ms)
{
	wait_word(&shared->bell, seen, (uint64_t)timeout_ms * 1000000);
}

/* Extents. */

static bool holds(const struct remote_ring *ring, unsigned area, uint32_t extent)
{
	return atomic_load(&ring->held[area][extent / 64]) >> extent % 64 & 1;
}

static bool others_hold(const struct remote *shared, unsigned ring, unsigned area, uint32_t extent)
{
	uint64_t rings = atomic_load(&shared->rings) & ~((uint64_t)1 << ring);

	for (; rings != 0; rings &= rings - 1)
		if (holds(&shared->ring[__builtin_ctzll(rings)], area, extent))
			return true;
	return false;
}

static int lock_extent(void *ctx, uint32_t extent, bool exclusive)
{
	const struct remote_store *r = ctx;
	struct remote_ring *ring = &r->shared->ring[r->ring];
	uint32_t none = 0;

	if (exclusive && holds(ring, r->area, extent))
		return others_hold(r->shared, r->ring, r->area, extent) ? -EAGAIN : 0;
	if (exclusive && !atomic_compare_exchange_strong(&r->shared->owner[r->area][extent], &none, r->ring + 1))
		return -EAGAIN;
	atomic_fetch_or(&ring->held[r->area][extent / 64], (uint64_t)1 << extent % 64);
	return 0;
}

static void free_extents(struct remote *shared, unsigned ring, unsigned area)
{
	struct remote_ring *r = &shared->ring[ring];

	for (uint32_t word = 0; word < REMOTE_EXTENTS / 64; word++) {
		uint64_t bits = atomic_exchange(&r->held[area][word], 0);

		for (; bits != 0; bits &= bits - 1) {
			uint32_t extent = word * 64 + (uint32_t)__builtin_ctzll(bits);
			_Atomic uint32_t *owner = &shared->owner[area][extent];

			if (!others_hold(shared, ring, area, extent) && !(atomic_load(owner) & REMOTE_TAINTED))
				atomic_store(owner, 0);
		}
	}
}

static void taint(struct remote *shared, const struct remote_entry *e)
{
	atomic_fetch_or(&shared->owner[e->leg % REMOTE_AREAS][(e->page - REMOTE_FIRST) / EXTENT_SLOTS], REMOTE_TAINTED);
}

void remote_forget(struct remote *shared, unsigned ring)
{
	if (!(atomic_load(&shared->rings) >> ring & 1))
		return;
	for (unsigned i = 0; i < REMOTE_ENTRIES; i++) {
		struct remote_entry *e = &shared->ring[ring].entry[i];

		if (move_state(e, REMOTE_QUEUED, REMOTE_IDLE) || move_state(e, REMOTE_DONE, REMOTE_IDLE))
			continue;
		if (move_state(e, REMOTE_BUSY, REMOTE_LEFT) && e->out)
			taint(shared, e);
	}
	for (unsigned area = 0; area < REMOTE_AREAS; area++)
		if (shared->areas >> area & 1)
			free_extents(shared, ring, area);
}

/* The program's side. */

/* False: the entry is still the launcher's, after a request that was given up. */
static bool ask(struct remote_store *r, unsigned leg, unsigned entry, const struct store_io *io, uint64_t page, bool out)
{
	struct remote_ring *ring = &r->shared->ring[r->ring];
	struct remote_entry *e = &ring->entry[entry];

	if (atomic_load(&e->state) != REMOTE_IDLE)
		return false;
	e->leg = (uint8_t)(r->area + leg * REMOTE_AREAS);
	e->out = out;
	e->again = false;
	e->page = page;
	if (out)
		memcpy(ring->data[entry], io->page, PAGE_SIZE);
	atomic_store(&e->state, REMOTE_QUEUED);
	return true;
}

/* What became of it. *sent: the server may have it, and may do it later if it is not done. */
static int answer(struct remote_store *r, unsigned entry, struct store_io *io, uint64_t deadline, bool *sent)
{
	struct remote_ring *ring = &r->shared->ring[r->ring];
	struct remote_entry *e = &ring->entry[entry];

	for (;;) {
		uint32_t seen = atomic_load(&ring->done);
		uint64_t now = now_ns();

		if (atomic_load(&e->state) == REMOTE_DONE)
			break;
		if (now < deadline) {
			wait_word(&ring->done, seen, deadline - now);
			continue;
		}
		*sent = e->again;
		if (move_state(e, REMOTE_QUEUED, REMOTE_IDLE))
			return -EIO;
		*sent = true;
		if (move_state(e, REMOTE_BUSY, REMOTE_LEFT))
			return -EIO;
	}
	int err = e->err;

	*sent = e->again || err != 0;
	if (err == 0 && !e->out)
		memcpy(io->page, ring->data[entry], PAGE_SIZE);
	atomic_store(&e->state, REMOTE_IDLE);
	return err;
}

static bool is_down(const struct remote_store *r, unsigned leg)
{
	return atomic_load(&r->shared->down[r->area + leg * REMOTE_AREAS]) != 0;
}

/* It hangs: whoever can do without it should. */
static void avoid(struct remote_store *r, unsigned leg)
{
	atomic_store_explicit(&r->avoid_ns[leg], now_ns() + REMOTE_AVOID_NS, memory_order_relaxed);
}

static bool is_avoided(const struct remote_store *r, unsigned leg)
{
	return r->legs == 2 && now_ns() < atomic_load_explicit(&r->avoid_ns[leg], memory_order_relaxed);
}

/* A write need not wait for a server that is not there: the page has another place to go. Nor for one that hung, if there is another. */
static bool takes_writes(const struct remote_store *r, unsigned leg)
{
	if (is_down(r, leg))
		return false;
	return !is_avoided(r, leg) || is_avoided(r, !leg) || is_down(r, !leg);
}

static void ring_for(struct remote_store *r)
{
	atomic_fetch_or(&r->shared->pending, (uint64_t)1 << r->ring);
	remote_ring_bell(r->shared);
}

/* Where the entries of a leg begin: what one leg has been asked for and never answers keeps nobody from asking the other. */
static unsigned entries_of(unsigned leg, bool out)
{
	return (leg + (out ? 0 : 2)) * STORE_BATCH;
}

/* Whoever reads the slot has taken the lock since it was written; other slots share its word. */
static void set_lacking(struct remote_store *r, unsigned leg, uint64_t slot, bool lacking)
{
	uint64_t *word = &r->lacks[leg][slot / 64], bit = (uint64_t)1 << slot % 64;

	if (lacking)
		__atomic_fetch_or(word, bit, __ATOMIC_RELAXED);
	else if (__atomic_load_n(word, __ATOMIC_RELAXED) & bit)
		__atomic_fetch_and(word, ~bit, __ATOMIC_RELAXED);
}

/* A bit for each leg that lacks one of these pages. */
static unsigned lacking(const struct remote_store *r, const struct store_io *io, unsigned n)
{
	unsigned legs = 0;

	for (unsigned leg = 0; leg < r->legs && r->legs > 1; leg++)
		for (unsigned i = 0; i < n; i++)
			legs |= (unsigned)(__atomic_load_n(&r->lacks[leg][io[i].handle / 64], __ATOMIC_RELAXED) >> io[i].handle % 64 & 1) << leg;
	return legs;
}

static void run_out(struct remote_store *r, struct store_io *io, unsigned n, uint64_t page)
{
	bool asked[2][STORE_BATCH] = { 0 };

	for (unsigned leg = 0; leg < r->legs; leg++) {
		bool wanted = takes_writes(r, leg);

		for (unsigned i = 0; i < n; i++)
			asked[leg][i] = wanted && ask(r, leg, entries_of(leg, true) + i, &io[i], page + i, true);
	}
	ring_for(r);
	uint64_t deadline = now_ns() + MIN(REMOTE_WRITE_NS, r->deadline_ns);

	for (unsigned i = 0; i < n; i++) {
		int err[2] = { -EIO, -EIO };

		for (unsigned leg = 0; leg < r->legs; leg++) {
			unsigned entry = entries_of(leg, true) + i;
			bool sent = false;

			if (asked[leg][i])
				err[leg] = answer(r, entry, &io[i], deadline, &sent);
			if (asked[leg][i] && err[leg] != 0 && now_ns() >= deadline)
				avoid(r, leg);
			if (!sent)
				continue;
			slots_mark_unsure(&r->slots, &io[i]);
			taint(r->shared, &r->shared->ring[r->ring].entry[entry]);
		}
		io[i].err = err[0] == 0 || r->legs == 1 ? err[0] : err[1];
		for (unsigned leg = 0; leg < r->legs && io[i].err == 0; leg++)
			set_lacking(r, leg, slots_io_slot(&io[i]), err[leg] != 0);
	}
}

/* A read of one leg. It is waited for until the deadline only where there is no other. */
static void run_in(struct remote_store *r, struct store_io *io, unsigned n, uint64_t page, unsigned leg, bool other)
{
	bool asked[STORE_BATCH], down = is_down(r, leg);

	for (unsigned i = 0; i < n; i++)
		asked[i] = !(down && (other || r->gave_up)) && ask(r, leg, entries_of(leg, false) + i, &io[i], page + i, false);
	ring_for(r);
	uint64_t deadline = now_ns() + (other ? MIN(REMOTE_WRITE_NS, r->deadline_ns) : r->deadline_ns);

	for (unsigned i = 0; i < n; i++) {
		bool sent;

		io[i].err = asked[i] ? answer(r, entries_of(leg, false) + i, &io[i], deadline, &sent) : -EIO;
		if (asked[i] && io[i].err != 0 && now_ns() >= deadline)
			avoid(r, leg);
		if (asked[i] && !other)
			r->gave_up = io[i].err != 0 && (r->gave_up || now_ns() >= deadline);
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
	/* What was wrong when it came the last time is asked for elsewhere now. */
	unsigned leg = all_read(io, n) ? is_avoided(r, 0) : !r->last_leg;

	if (r->legs == 1 || lack != 0)
		leg = lack == 1;
	bool other = r->legs == 2 && lack == 0;

	run_in(r, io, n, page, leg, other);
	if (other && !all_read(io, n))
		run_in(r, io, n, page, leg = !leg, false);
	r->last_leg = (uint8_t)leg;
}

static void remote_run(struct slots *s, struct store_io *io, unsigned n, uint64_t page, bool out)
{
	struct remote_store *r = to_remote(s);

	ASSERT(n <= STORE_BATCH);
	if (out) {
		run_out(r, io, n, page);
		return;
	}
	unsigned lack = lacking(r, io, n);

	if (lack != 3) {
		read_run(r, io, n, page, lack);
		return;
	}
	/* Neither leg has all of them. */
	for (unsigned i = 0; i < n; i++)
		read_run(r, &io[i], 1, page + i, lacking(r, &io[i], 1));
}

static void remote_destroy(struct store *store)
{
	const struct remote_store *r = to_remote(container_of(store, struct slots, store));

	remote_forget(r->shared, r->ring);
}

static const struct store_ops remote_ops = {
	.name = "remote",
	.reserve = slots_reserve,
	.write = slots_write,
	.commit = slots_commit,
	.abort = slots_abort,
	.read = slots_read,
	.free = slots_free,
	.destroy = remote_destroy,
	.read_locked = false,
};

size_t remote_store_bytes(uint64_t max_bytes)
{
	return slots_bytes(max_bytes) + 3 * slots_unsure_bytes(max_bytes);
}

int remote_store_init(struct remote_store *r, struct remote *shared, unsigned area, unsigned legs, unsigned ring,
		      uint64_t max_bytes, uint64_t deadline_ns, void *memory, size_t bytes)
{
	size_t books = slots_bytes(max_bytes);

	ASSERT(area < REMOTE_AREAS && ring < REMOTE_RINGS);
	if (bytes < remote_store_bytes(max_bytes) || max_bytes > (uint64_t)REMOTE_EXTENTS * EXTENT_SLOTS * PAGE_SIZE)
		return -EINVAL;
	*r = (struct remote_store){ .shared = shared, .area = area, .legs = legs, .ring = ring, .deadline_ns = deadline_ns };
	atomic_fetch_or(&shared->rings, (uint64_t)1 << ring);
	int err = slots_init(&r->slots, &remote_ops, REMOTE_FIRST * PAGE_SIZE, max_bytes, memory, books);

	r->slots.run = remote_run;
	r->slots.unsure = (uint64_t *)((uint8_t *)memory + books);
	for (unsigned leg = 0; leg < 2; leg++)
		r->lacks[leg] = (uint64_t *)((uint8_t *)memory + books + (leg + 1) * slots_unsure_bytes(max_bytes));
	r->slots.extents.lock = lock_extent;
	r->slots.extents.ctx = r;
	return err;
}

int remote_store_inherit(struct remote_store *r, unsigned ring)
{
	bool open = ring < REMOTE_RINGS;

	if (!open && r->slots.store.stat.pages > 0)
		return -EAGAIN;
	r->ring = ring;
	r->gave_up = false;
	if (open)
		atomic_fetch_or(&r->shared->rings, (uint64_t)1 << ring);
	return slots_inherit(&r->slots, open);
}

/* The launcher's side. */

/* Requests of one ring. *more: some are left, for others or for later. */
static unsigned take_of_ring(struct remote_ring *ring, unsigned leg, struct remote_request *r, unsigned n, bool *more)
{
	unsigned got = 0;

	for (unsigned i = 0; i < REMOTE_ENTRIES; i++) {
		struct remote_entry *e = &ring->entry[i];

		if (atomic_load(&e->state) != REMOTE_QUEUED)
			continue;
		if (e->leg == leg && got < n && move_state(e, REMOTE_QUEUED, REMOTE_BUSY))
			r[got++] = (struct remote_request){ ring, i };
		else
			*more = true;
	}
	return got;
}

unsigned remote_take(struct remote *shared, unsigned leg, struct remote_request *r, unsigned n)
{
	uint64_t rings = atomic_load(&shared->pending);
	unsigned got = 0;

	for (; rings != 0; rings &= rings - 1) {
		unsigned i = (unsigned)__builtin_ctzll(rings);
		bool more = false;

		atomic_fetch_and(&shared->pending, ~((uint64_t)1 << i));
		got += take_of_ring(&shared->ring[i], leg, r + got, n - got, &more);
		if (more)
			atomic_fetch_or(&shared->pending, (uint64_t)1 << i);
	}
	return got;
}

void remote_done(struct remote *shared, const struct remote_request *r, int err)
{
	struct remote_entry *e = &r->ring->entry[r->entry];

	(void)shared;
	e->err = err;
	if (!move_state(e, REMOTE_BUSY, REMOTE_DONE)) {
		/* Whoever asked has given up. */
		atomic_store(&e->state, REMOTE_IDLE);
		return;
	}
	atomic_fetch_add(&r->ring->done, 1);
	wake_word(&r->ring->done);
}

void remote_requeue(struct remote *shared, const struct remote_request *r)
{
	struct remote_entry *e = &r->ring->entry[r->entry];

	e->again = true;
	if (e->out)
		taint(shared, e);
	if (!move_state(e, REMOTE_BUSY, REMOTE_QUEUED)) {
		atomic_store(&e->state, REMOTE_IDLE);
		return;
	}
	atomic_fetch_or(&shared->pending, (uint64_t)1 << (unsigned)(r->ring - shared->ring));
	remote_ring_bell(shared);
}
