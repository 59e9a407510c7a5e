#include "store/remote.h"

#include <errno.h>
#include <string.h>

#include "base/assert.h"
#include "store/remote_request.h"

static struct remote_store *to_remote(struct slots *s)
{
	return container_of(s, struct remote_store, slots);
}

void remote_ring_bell(struct remote *shared)
{
	atomic_fetch_add(&shared->bell, 1);
	remote_wake(&shared->bell);
}

void remote_wait(struct remote *shared, uint32_t seen, unsigned timeout_ms)
{
	remote_sleep(&shared->bell, seen, (uint64_t)timeout_ms * 1000000);
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
	uint32_t none = 0;

	/* Without a ring there is nothing that could say so. */
	if (r->ring >= REMOTE_RINGS)
		return -EAGAIN;
	struct remote_ring *ring = ring_of(r);

	if (exclusive && holds(ring, r->area, extent))
		return others_hold(r->shared, r->ring, r->area, extent) ? -EAGAIN : 0;
	if (exclusive && !atomic_compare_exchange_strong(&r->shared->owner[r->area][extent], &none, r->ring + 1))
		return -EAGAIN;
	atomic_fetch_or(&ring->held[r->area][extent / 64], (uint64_t)1 << extent % 64);
	return 0;
}

static void free_extent(struct remote *shared, unsigned ring, unsigned area, uint32_t extent)
{
	_Atomic uint32_t *owner = &shared->owner[area][extent];
	/* While we hold it nobody else can get it. After that another holder may end too, and free it for the next one, whose it stays. */
	uint32_t whose = atomic_load(owner);

	atomic_fetch_and(&shared->ring[ring].held[area][extent / 64], ~((uint64_t)1 << extent % 64));
	if (!others_hold(shared, ring, area, extent) && !(whose & REMOTE_TAINTED))
		atomic_compare_exchange_strong(owner, &whose, 0);
}

static void free_extents(struct remote *shared, unsigned ring, unsigned area)
{
	struct remote_ring *r = &shared->ring[ring];

	for (uint32_t word = 0; word < REMOTE_EXTENTS / 64; word++)
		for (uint64_t bits = atomic_load(&r->held[area][word]); bits != 0; bits &= bits - 1)
			free_extent(shared, ring, area, word * 64 + (uint32_t)__builtin_ctzll(bits));
}

static void taint(struct remote *shared, const struct remote_entry *e)
{
	atomic_fetch_or(&shared->owner[e->leg % REMOTE_AREAS][(e->page - REMOTE_FIRST) / EXTENT_SLOTS], REMOTE_TAINTED);
}

void remote_forget(struct remote *shared, unsigned ring)
{
	if (ring >= REMOTE_RINGS || !(atomic_load(&shared->rings) >> ring & 1))
		return;
	for (unsigned i = 0; i < REMOTE_ENTRIES; i++) {
		struct remote_entry *e = &shared->ring[ring].entry[i];

		if (remote_move(e, REMOTE_QUEUED, REMOTE_IDLE) || remote_move(e, REMOTE_DONE, REMOTE_IDLE))
			continue;
		/* LEFT: it may have died before it could do so. */
		if ((remote_move(e, REMOTE_BUSY, REMOTE_LEFT) || atomic_load(&e->state) == REMOTE_LEFT) && e->out)
			taint(shared, e);
	}
	for (unsigned area = 0; area < REMOTE_AREAS; area++)
		if (shared->areas >> area & 1)
			free_extents(shared, ring, area);
}

/* The program's side. */

/* A write need not wait for a server that is not there: the page has another place to go. Nor for one that hung, if there is another. */
static bool takes_writes(const struct remote_store *r, unsigned leg)
{
	if (leg_is_down(r, leg))
		return false;
	return !leg_is_avoided(r, leg) || leg_is_avoided(r, !leg) || leg_is_down(r, !leg);
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

static void run_out(struct remote_store *r, struct store_io *io, unsigned n, uint64_t page)
{
	bool asked[2][STORE_BATCH] = { 0 };
	unsigned legs = 0;

	for (unsigned leg = 0; leg < r->legs; leg++) {
		bool wanted = takes_writes(r, leg);

		for (unsigned i = 0; i < n; i++) {
			asked[leg][i] = wanted && request_ask(r, leg, request_entry(leg, true) + i, &io[i], page + i, true);
			legs |= (unsigned)asked[leg][i] << leg;
		}
	}
	request_ring(r, legs);
	uint64_t deadline = remote_now() + MIN(REMOTE_WRITE_NS, r->deadline_ns);

	for (unsigned i = 0; i < n; i++) {
		int err[2] = { -EIO, -EIO };

		for (unsigned leg = 0; leg < r->legs; leg++) {
			unsigned entry = request_entry(leg, true) + i;
			bool sent = false;

			if (asked[leg][i])
				err[leg] = request_answer(r, entry, &io[i], deadline, &sent);
			if (asked[leg][i] && err[leg] != 0 && remote_now() >= deadline)
				leg_avoid(r, leg);
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

static void remote_run(struct slots *s, struct store_io *io, unsigned n, uint64_t page, bool out)
{
	struct remote_store *r = to_remote(s);

	ASSERT(n <= STORE_BATCH);
	if (out)
		run_out(r, io, n, page);
	else
		remote_run_in(r, io, n, page);
}

static void remote_destroy(struct store *store)
{
	struct remote_store *r = to_remote(container_of(store, struct slots, store));

	ASSERT(r->nr_reading == 0);
	futexfd_close(&r->told);
	remote_forget(r->shared, r->ring);
}

static const struct store_ops remote_ops = {
	.name = "remote",
	.reserve = slots_reserve,
	.write = slots_write,
	.commit = slots_commit,
	.abort = slots_abort,
	.read = slots_read,
	.read_begin = remote_read_begin,
	.read_poll = remote_read_poll,
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
	futexfd_forget(&r->told);
	if (open)
		atomic_fetch_or(&r->shared->rings, (uint64_t)1 << ring);
	return slots_inherit(&r->slots, open);
}

/* The launcher's side. */

/* A request that is BUSY, or has been given up, is for others to take. */
static void put_back(struct remote *shared, const struct remote_ring *ring, struct remote_entry *e)
{
	unsigned leg = e->leg % REMOTE_LEGS;

	if (!remote_move(e, REMOTE_BUSY, REMOTE_QUEUED)) {
		atomic_store(&e->state, REMOTE_IDLE);
		return;
	}
	atomic_fetch_or(&shared->pending[leg], (uint64_t)1 << (unsigned)(ring - shared->ring));
	remote_ring_bell(shared);
}

static bool take_entry(struct remote *shared, const struct remote_ring *ring, struct remote_entry *e, unsigned leg)
{
	if (atomic_load(&e->state) != REMOTE_QUEUED || e->leg != leg || !remote_move(e, REMOTE_QUEUED, REMOTE_BUSY))
		return false;
	if (e->leg == leg)
		return true;
	/* What it was a moment ago has been taken back, and the entry is another request now, of another export. */
	put_back(shared, ring, e);
	return false;
}

/* Requests of one ring, up to n. Returns n if some may be left. */
static unsigned take_of_ring(struct remote *shared, struct remote_ring *ring, unsigned leg, struct remote_request *r, unsigned n)
{
	unsigned got = 0;

	for (unsigned i = 0; i < REMOTE_ENTRIES && got < n; i++)
		if (take_entry(shared, ring, &ring->entry[i], leg))
			r[got++] = (struct remote_request){ ring, i };
	return got;
}

unsigned remote_take(struct remote *shared, unsigned leg, struct remote_request *r, unsigned n)
{
	_Atomic uint64_t *pending = &shared->pending[leg];
	uint64_t rings = atomic_load(pending);
	unsigned got = 0;

	for (; rings != 0 && got < n; rings &= rings - 1) {
		unsigned i = (unsigned)__builtin_ctzll(rings);

		atomic_fetch_and(pending, ~((uint64_t)1 << i));
		got += take_of_ring(shared, &shared->ring[i], leg, r + got, n - got);
		if (got == n)
			atomic_fetch_or(pending, (uint64_t)1 << i);
	}
	return got;
}

void remote_done(const struct remote_request *r, unsigned n, int err)
{
	_Atomic uint32_t *done = &r->ring->done[r->ring->entry[r->entry].out];

	for (unsigned i = 0; i < n; i++) {
		struct remote_entry *e = &r[i].ring->entry[r[i].entry];

		e->err = err;
		/* Whoever asked may have given up. */
		if (!remote_move(e, REMOTE_BUSY, REMOTE_DONE))
			atomic_store(&e->state, REMOTE_IDLE);
	}
	atomic_fetch_add(done, 1);
	remote_wake(done);
}

void remote_requeue(struct remote *shared, const struct remote_request *r)
{
	struct remote_entry *e = &r->ring->entry[r->entry];

	e->again = true;
	if (e->out)
		taint(shared, e);
	put_back(shared, r->ring, e);
}
