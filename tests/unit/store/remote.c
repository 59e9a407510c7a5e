/*
 * store/remote against a plain array of pages, over a server that is a thread here: what it is asked for comes late, in
 * another order, again, or not at all.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <cmocka.h>

#include "keys.h"
#include "store/remote.h"

#define KEYS 600
#define EXTENTS 6
#define AREA 2
#define DEADLINE_NS UINT64_C(60000000000) /* nobody waits so long for a server that answers */
#define SHORT_NS 50000000 /* for one that does not */

static struct remote *shared;

static struct {
	pthread_t thread;
	_Atomic bool stop;
	_Atomic unsigned requeue; /* one request in so many is asked for again; 0: none */
	_Atomic unsigned hang[2]; /* a leg: 1: nothing is taken; 2: what is taken is never answered */
	_Atomic int err;
	uint8_t (*page[2])[PAGE_SIZE]; /* of each leg */
	struct remote_request kept[REMOTE_ENTRIES * 2];
	unsigned nr_kept;
} server;

static void serve_one(const struct remote_request *r)
{
	const struct remote_entry *e = &r->ring->entry[r->entry];

	assert_true(e->page >= REMOTE_FIRST && e->page < REMOTE_FIRST + EXTENTS * EXTENT_SLOTS);
	uint8_t *page = server.page[e->leg / REMOTE_AREAS][e->page];

	assert_int_equal(e->leg % REMOTE_AREAS, AREA);
	if (e->out)
		memcpy(page, r->ring->data[r->entry], PAGE_SIZE);
	else
		memcpy(r->ring->data[r->entry], page, PAGE_SIZE);
	remote_done(r, 1, atomic_load(&server.err));
}

/* Returns how many requests it has taken. */
static unsigned serve_leg(unsigned leg, struct rand *rand)
{
	struct remote_request r[7];
	unsigned hang = atomic_load(&server.hang[leg]), again = atomic_load(&server.requeue);
	unsigned n = hang == 1 ? 0 : remote_take(shared, AREA + leg * REMOTE_AREAS, r, ARRAY_SIZE(r));

	for (unsigned i = 0; i < n; i++) {
		if (hang == 2)
			server.kept[server.nr_kept++] = r[i];
		else if (again != 0 && rand_below(rand, again) == 0)
			remote_requeue(shared, &r[i]);
		else
			serve_one(&r[i]);
	}
	return n;
}

static void *serve(void *arg)
{
	struct rand rand;

	(void)arg;
	rand_seed(&rand, 5);
	while (!atomic_load(&server.stop)) {
		uint32_t seen = atomic_load(&shared->bell);

		while (atomic_load(&server.hang[0]) != 2 && server.nr_kept > 0)
			serve_one(&server.kept[--server.nr_kept]);
		if (serve_leg(0, &rand) + serve_leg(1, &rand) == 0)
			remote_wait(shared, seen, 1);
	}
	return NULL;
}

static int start(void **state)
{
	(void)state;
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	shared->areas = 1u << AREA;
	memset(&server, 0, sizeof(server));
	for (unsigned leg = 0; leg < 2; leg++)
		server.page[leg] = calloc(REMOTE_FIRST + EXTENTS * EXTENT_SLOTS, PAGE_SIZE);
	return pthread_create(&server.thread, NULL, serve, NULL);
}

static int end(void **state)
{
	(void)state;
	atomic_store(&server.stop, true);
	pthread_join(server.thread, NULL);
	free(server.page[0]);
	free(server.page[1]);
	munmap(shared, sizeof(*shared));
	return 0;
}

struct world {
	struct remote_store r;
	struct keys k;
	void *memory;
};

static struct world *world_make_legs(unsigned ring, unsigned legs)
{
	struct world *w = calloc(1, sizeof(*w));
	uint64_t bytes = EXTENTS * EXTENT_SLOTS * PAGE_SIZE;

	keys_make(&w->k, &w->r.slots.store, KEYS, ring);
	w->memory = calloc(1, remote_store_bytes(bytes));
	assert_int_equal(remote_store_init(&w->r, shared, AREA, legs, ring, bytes, DEADLINE_NS, w->memory, remote_store_bytes(bytes)), 0);
	for (unsigned i = 0; i < KEYS; i++)
		page_make(&w->k.r, w->k.want[i], 64);
	return w;
}

static struct world *world_make(unsigned ring)
{
	return world_make_legs(ring, 1);
}

static void world_drop(struct world *w)
{
	keys_free_all(&w->k);
	slots_check(&w->r.slots);
	w->r.slots.store.ops->destroy(&w->r.slots.store);
	keys_drop(&w->k);
	free(w->memory);
	free(w);
}

/* Returns how many were stored. */
static unsigned write_keys(struct world *w, const unsigned *keys, struct store_io *io, unsigned n)
{
	struct store *s = &w->r.slots.store;
	unsigned stored = 0;

	for (unsigned i = 0; i < n; i++)
		io[i] = (struct store_io){ .page = w->k.want[keys[i]], .owner = keys[i] };
	n = s->ops->reserve(s, io, n);
	s->ops->write(s, io, n);
	for (unsigned i = 0; i < n; i++) {
		if (io[i].err != 0) {
			s->ops->abort(s, &io[i]);
			continue;
		}
		s->ops->commit(s, &io[i]);
		w->k.handle[keys[i]] = io[i].handle;
		w->k.stored[keys[i]] = true;
		stored++;
	}
	return stored;
}

static void random_use(struct world *w, unsigned steps)
{
	for (unsigned i = 0; i < steps; i++) {
		unsigned keys[STORE_BATCH], n;
		struct store_io io[STORE_BATCH];

		switch (rand_below(&w->k.r, 4)) {
		case 0:
			n = keys_pick(&w->k, false, 1 + (unsigned)rand_below(&w->k.r, STORE_BATCH), keys);
			for (unsigned k = 0; k < n; k++)
				page_make(&w->k.r, w->k.want[keys[k]], 64);
			assert_int_equal(write_keys(w, keys, io, n), n);
			break;
		case 1:
			keys_read(&w->k, keys, keys_pick(&w->k, true, 1 + (unsigned)rand_below(&w->k.r, STORE_BATCH), keys));
			break;
		case 2:
			keys_read_by_the_way(&w->k, 1 + (unsigned)rand_below(&w->k.r, KEYS_BATCHES));
			assert_int_equal(w->r.nr_reading, 0);
			break;
		default:
			n = keys_pick(&w->k, true, 1 + (unsigned)rand_below(&w->k.r, STORE_BATCH), keys);
			for (unsigned k = 0; k < n; k++)
				keys_free(&w->k, keys[k]);
		}
		slots_check(&w->r.slots);
	}
}

static void random_use_returns_what_was_written(void **state)
{
	(void)state;
	struct world *a = world_make(3), *b = world_make(63);

	for (unsigned i = 0; i < 60; i++)
		random_use(i % 2 ? a : b, 10);
	world_drop(a);
	world_drop(b);
	for (unsigned i = 0; i < EXTENTS; i++)
		assert_int_equal(atomic_load(&shared->owner[AREA][i]), 0);
}

static void what_was_sent_twice_leaves_its_slot_alone(void **state)
{
	(void)state;
	struct world *w = world_make(0);

	atomic_store(&server.requeue, 5);
	for (unsigned i = 0; i < 20; i++)
		random_use(w, 10);
	uint64_t held = w->r.slots.used - w->r.slots.store.stat.pages;

	assert_true(held > 0);
	/* None of them is used again, after fork neither. */
	atomic_store(&server.requeue, 0);
	slots_share(&w->r.slots);
	assert_true(slots_unshare(&w->r.slots));
	for (unsigned i = 0; i < KEYS; i++)
		if (w->k.stored[i])
			slots_keep(&w->r.slots, w->k.handle[i]);
	slots_check(&w->r.slots);
	assert_true(w->r.slots.used >= held + w->r.slots.store.stat.pages / 2);
	random_use(w, 100);
	world_drop(w);
	/* Nor by another process: the extent stays taken. */
	assert_true(atomic_load(&shared->owner[AREA][0]) & REMOTE_TAINTED);
	struct world *other = world_make(1);

	random_use(other, 20);
	assert_int_not_equal(other->r.slots.extents.at[0], 0);
	world_drop(other);
}

static unsigned nr_left(const struct remote_ring *ring)
{
	unsigned n = 0;

	for (unsigned i = 0; i < REMOTE_ENTRIES; i++)
		n += atomic_load(&ring->entry[i].state) == REMOTE_LEFT;
	return n;
}

static void who_gets_no_answer_gives_up(void **state)
{
	unsigned keys[8] = { 0, 1, 2, 3, 4, 5, 6, 7 }, more[4] = { 10, 11, 12, 13 };
	struct store_io io[8];

	(void)state;
	for (unsigned hang = 1; hang <= 2; hang++) {
		struct world *w = world_make(hang);

		assert_int_equal(write_keys(w, keys, io, 8), 8);
		atomic_store(&server.hang[0], hang);
		w->r.deadline_ns = SHORT_NS;
		/* A write that nobody took is as if it had not been; one that was taken may be done later. */
		assert_int_equal(write_keys(w, more, io, 4), 0);
		assert_int_equal(io[0].err, -EIO);
		assert_int_equal(w->r.slots.used, 8 + nr_left(&shared->ring[hang]));
		assert_true(hang == 2 || nr_left(&shared->ring[hang]) == 0);
		io[0].handle = w->k.handle[0];
		io[0].page = w->k.buf;
		w->r.slots.store.ops->read(&w->r.slots.store, io, 1);
		assert_int_equal(io[0].err, -EIO);
		w->r.deadline_ns = DEADLINE_NS;
		/* The server is back, and answers what nobody waits for any more. */
		atomic_store(&server.hang[0], 0);
		while (nr_left(&shared->ring[hang]) > 0)
			sched_yield();
		for (unsigned i = 0; i < REMOTE_ENTRIES; i++)
			assert_int_equal(atomic_load(&shared->ring[hang].entry[i].state), REMOTE_IDLE);
		keys_read(&w->k, keys, 8);
		random_use(w, 50);
		world_drop(w);
	}
}

static void without_a_connection_writes_do_not_wait(void **state)
{
	unsigned key = 0;
	struct store_io io;

	(void)state;
	struct world *w = world_make(0);

	assert_int_equal(write_keys(w, &key, &io, 1), 1);
	atomic_store(&server.hang[0], 1);
	atomic_store(&shared->down[AREA], 1);
	w->r.deadline_ns = SHORT_NS;
	key = 1;
	assert_int_equal(write_keys(w, &key, &io, 1), 0);
	assert_int_equal(w->r.slots.used, 1);
	/* A read waits, and the next one does not. */
	key = 0;
	for (unsigned i = 0; i < 2; i++) {
		io = (struct store_io){ .page = w->k.buf, .handle = w->k.handle[0] };
		assert_int_equal(w->r.gave_up, i > 0);
		w->r.slots.store.ops->read(&w->r.slots.store, &io, 1);
		assert_int_equal(io.err, -EIO);
	}
	atomic_store(&shared->down[AREA], 0);
	atomic_store(&server.hang[0], 0);
	w->r.deadline_ns = DEADLINE_NS;
	keys_read(&w->k, &key, 1);
	assert_false(w->r.gave_up);
	world_drop(w);
}

static void errors_of_the_server_come_through(void **state)
{
	unsigned key = 0;
	struct store_io io;

	(void)state;
	struct world *w = world_make(0);

	atomic_store(&server.err, -ENOSPC);
	assert_int_equal(write_keys(w, &key, &io, 1), 0);
	assert_int_equal(io.err, -ENOSPC);
	assert_true(w->r.slots.full);
	/* It will not be done later: the slot, and its extent, are as good as before. */
	assert_int_equal(w->r.slots.used, 0);
	assert_false(atomic_load(&shared->owner[AREA][0]) & REMOTE_TAINTED);
	atomic_store(&server.err, 0);
	w->r.slots.full = false;
	assert_int_equal(write_keys(w, &key, &io, 1), 1);
	world_drop(w);
}

static void what_a_process_had_is_free_when_its_last_reader_is_gone(void **state)
{
	(void)state;
	struct world *parent = world_make(4);

	random_use(parent, 50);
	slots_share(&parent->r.slots);
	/* The child's ring holds the same extents. */
	struct remote_store child = parent->r;

	child.slots.extents.ctx = &child;
	assert_int_equal(remote_store_inherit(&child, 5), 0);
	assert_false(slots_unshare(&parent->r.slots));
	/* The parent dies first; then the child. A ring that was never used has nothing. */
	remote_forget(shared, 4);
	remote_forget(shared, 40);
	assert_int_equal(atomic_load(&shared->owner[AREA][0]), 5);
	remote_forget(shared, 5);
	assert_int_equal(atomic_load(&shared->owner[AREA][0]), 0);
	assert_int_equal(remote_store_inherit(&child, REMOTE_RINGS), child.slots.store.stat.pages > 0 ? -EAGAIN : 0);
	keys_drop(&parent->k);
	free(parent->memory);
	free(parent);
}

static void need_futexfd(void)
{
	struct futexfd f = { 0 };
	bool works = futexfd_works(&f);

	futexfd_close(&f);
	if (!works)
		skip();
}

/* Begins to read the first n keys into k.buf. */
static bool begin_keys(struct world *w, struct store_io *io, unsigned n, uint32_t *left)
{
	*left = 0;
	for (unsigned i = 0; i < n; i++)
		io[i] = (struct store_io){ .page = w->k.buf + i * PAGE_SIZE, .handle = w->k.handle[i] };
	memset(w->k.buf, 0, n * PAGE_SIZE);
	return w->r.slots.store.ops->read_begin(&w->r.slots.store, io, n, left) == n;
}

static void write_first_keys(struct world *w, unsigned n)
{
	unsigned keys[STORE_BATCH];
	struct store_io io[STORE_BATCH];

	for (unsigned i = 0; i < n; i++)
		keys[i] = i;
	assert_int_equal(write_keys(w, keys, io, n), n);
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* As a handler does: sleeps for what is on its way, and nothing else. */
static void poll_until_read(struct world *w, const uint32_t *left)
{
	while (*left > 0) {
		uint64_t until = UINT64_MAX, now = now_ns();
		struct pollfd p = { .fd = remote_store_fd(&w->r, &until), .events = POLLIN };

		assert_true(p.fd >= 0);
		poll(&p, 1, until > now ? (int)((until - now) / 1000000) + 1 : 0);
		w->r.slots.store.ops->read_poll(&w->r.slots.store, false);
	}
}

static void what_is_read_can_be_polled_for(void **state)
{
	enum { N = 16 };
	struct store_io io[N];
	uint32_t left;
	uint64_t until = UINT64_MAX;

	(void)state;
	need_futexfd();
	struct world *w = world_make(0);

	write_first_keys(w, N);
	assert_int_equal(remote_store_fd(&w->r, &until), -1);
	for (unsigned round = 0; round < 50; round++) {
		atomic_store(&server.hang[0], 2);
		assert_true(begin_keys(w, io, N, &left));
		w->r.slots.store.ops->read_poll(&w->r.slots.store, false);
		assert_int_equal(left, N);
		/* Whoever else waits is not kept waiting. */
		atomic_store(&server.hang[0], 0);
		poll_until_read(w, &left);
		assert_memory_equal(w->k.buf, w->k.want, N * PAGE_SIZE);
	}
	assert_int_equal(until, UINT64_MAX);
	world_drop(w);
}

static void more_reads_than_there_is_room_for_are_left(void **state)
{
	static struct store_io io[REMOTE_READS / STORE_BATCH + 1][STORE_BATCH];
	uint32_t left[REMOTE_READS / STORE_BATCH + 1], more = 0;

	(void)state;
	need_futexfd();
	struct world *w = world_make(0);

	write_first_keys(w, STORE_BATCH);
	atomic_store(&server.hang[0], 2);
	for (unsigned i = 0; i < REMOTE_READS / STORE_BATCH; i++)
		assert_true(begin_keys(w, io[i], STORE_BATCH, &left[i]));
	assert_false(begin_keys(w, io[REMOTE_READS / STORE_BATCH], STORE_BATCH, &more));
	assert_int_equal(more, 0);
	atomic_store(&server.hang[0], 0);
	for (unsigned i = 0; i < REMOTE_READS / STORE_BATCH; i++)
		poll_until_read(w, &left[i]);
	world_drop(w);
}

static void a_read_on_its_way_is_given_up_at_its_deadline(void **state)
{
	struct store_io io[4];
	uint32_t left;

	(void)state;
	need_futexfd();
	for (unsigned hang = 1; hang <= 2; hang++) {
		struct world *w = world_make(hang);

		write_first_keys(w, 4);
		atomic_store(&server.hang[0], hang);
		w->r.deadline_ns = SHORT_NS;
		assert_true(begin_keys(w, io, 4, &left));
		poll_until_read(w, &left);
		for (unsigned i = 0; i < 4; i++)
			assert_int_equal(io[i].err, -EIO);
		assert_int_equal(w->r.slots.store.stat.errors, 4);
		assert_int_equal(nr_left(&shared->ring[hang]), hang == 2 ? 4 : 0);
		/* Without a connection the next one is not even begun. */
		atomic_store(&shared->down[AREA], 1);
		assert_false(begin_keys(w, io, 4, &left));
		atomic_store(&shared->down[AREA], 0);
		w->r.deadline_ns = DEADLINE_NS;
		atomic_store(&server.hang[0], 0);
		assert_true(begin_keys(w, io, 4, &left));
		poll_until_read(w, &left);
		assert_memory_equal(w->k.buf, w->k.want, 4 * PAGE_SIZE);
		while (nr_left(&shared->ring[hang]) > 0)
			sched_yield();
		world_drop(w);
	}
}

/* Whether it is known to be away, or hangs and is then avoided. */
static void a_read_on_its_way_goes_to_the_export_that_answers(void **state)
{
	struct store_io io[4];
	uint32_t left;

	(void)state;
	need_futexfd();
	for (unsigned down = 0; down < 2; down++) {
		struct world *w = world_make_legs(down, 2);

		write_first_keys(w, 4);
		w->r.deadline_ns = SHORT_NS;
		atomic_store(&server.hang[0], 1);
		atomic_store(&shared->down[AREA], down);
		assert_true(begin_keys(w, io, 4, &left));
		poll_until_read(w, &left);
		assert_int_equal(io[0].err, down ? 0 : -EIO);
		w->r.deadline_ns = DEADLINE_NS;
		assert_true(begin_keys(w, io, 4, &left));
		poll_until_read(w, &left);
		assert_memory_equal(w->k.buf, w->k.want, 4 * PAGE_SIZE);
		atomic_store(&server.hang[0], 0);
		atomic_store(&shared->down[AREA], 0);
		world_drop(w);
	}
}

/* So many stored pages are not on the leg. */
static unsigned lacking_on(const struct world *w, unsigned leg)
{
	unsigned n = 0;

	for (unsigned i = 0; i < KEYS; i++)
		n += w->k.stored[i] && (w->r.lacks[leg][w->k.handle[i] / 64] >> w->k.handle[i] % 64 & 1);
	return n;
}

/* What both exports hold of the stored pages. */
static void compare_legs(const struct world *w, unsigned legs)
{
	for (unsigned i = 0; i < KEYS; i++)
		for (unsigned leg = 0; leg < 2 && w->k.stored[i]; leg++)
			if (legs >> leg & 1)
				assert_memory_equal(server.page[leg][slots_page(&w->r.slots, w->k.handle[i])], w->k.want[i], PAGE_SIZE);
}

static void a_mirror_has_every_page(void **state)
{
	(void)state;
	struct world *w = world_make_legs(7, 2);

	for (unsigned i = 0; i < 40; i++) {
		random_use(w, 5);
		compare_legs(w, 3);
	}
	for (unsigned leg = 0; leg < 2; leg++)
		assert_int_equal(lacking_on(w, leg), 0);
	world_drop(w);
}

static void the_loss_of_one_export_loses_nothing(void **state)
{
	(void)state;
	for (unsigned leg = 0; leg < 2; leg++) {
		struct world *w = world_make_legs(leg, 2);
		unsigned keys[8] = { 0, 1, 2, 3, 4, 5, 6, 7 };
		struct store_io io[8];

		assert_int_equal(write_keys(w, keys, io, 8), 8);
		atomic_store(&server.hang[leg], 1);
		atomic_store(&shared->down[AREA + leg * REMOTE_AREAS], 1);
		/* Nothing was missed yet: it is only not there. */
		keys_read(&w->k, keys, 8);
		assert_int_equal(lacking_on(w, leg), 0);
		random_use(w, 60);
		/* The last use may have freed what was written meanwhile. */
		assert_int_equal(write_keys(w, keys, io, keys_pick(&w->k, false, 8, keys)), 8);
		assert_true(lacking_on(w, leg) >= 8);
		assert_int_equal(lacking_on(w, !leg), 0);
		compare_legs(w, 2u >> leg);
		/* It is back, and has what it had. What it has missed is not read there, and what is written now goes to both. */
		atomic_store(&server.hang[leg], 0);
		atomic_store(&shared->down[AREA + leg * REMOTE_AREAS], 0);
		random_use(w, 200);
		compare_legs(w, 2u >> leg);
		keys_free_all(&w->k);
		random_use(w, 60);
		assert_int_equal(lacking_on(w, leg), 0);
		compare_legs(w, 3);
		world_drop(w);
	}
}

/* A server that takes requests and answers none is waited for once, not again and again. */
static void an_export_that_hangs_is_left_alone_for_a_while(void **state)
{
	(void)state;
	struct world *w = world_make_legs(8, 2);
	unsigned keys[8] = { 0, 1, 2, 3, 4, 5, 6, 7 };
	struct store_io io[8];

	assert_int_equal(write_keys(w, keys, io, 4), 4);
	w->r.deadline_ns = SHORT_NS;
	atomic_store(&server.hang[0], 2);
	for (unsigned round = 0; round < 20; round++)
		keys_read(&w->k, keys, 4);
	for (unsigned i = 4; i < 8; i++)
		assert_int_equal(write_keys(w, keys + i, io, 1), 1);
	/* The first read has asked it, and nobody since. */
	assert_int_equal(server.nr_kept, 4);
	assert_int_equal(lacking_on(w, 0), 4);
	/* Alone it must do, once it has answered what it was asked before. */
	atomic_store(&server.hang[0], 0);
	atomic_store(&shared->down[AREA + REMOTE_AREAS], 1);
	w->r.deadline_ns = DEADLINE_NS;
	io[0] = (struct store_io){ .page = w->k.buf, .handle = w->k.handle[0] };
	do {
		sched_yield();
		io[0].err = 0;
		w->r.slots.store.ops->read(&w->r.slots.store, io, 1);
	} while (io[0].err != 0);
	assert_memory_equal(io[0].page, w->k.want[0], PAGE_SIZE);
	world_drop(w);
}

/* Neither export has everything: one was away, then the other. */
static void each_page_is_read_where_it_is(void **state)
{
	(void)state;
	struct world *w = world_make_legs(9, 2);

	for (unsigned i = 0; i < 60; i++) {
		unsigned away = AREA + i / 5 % 2 * REMOTE_AREAS;

		atomic_store(&shared->down[away], 1);
		unsigned keys[STORE_BATCH], n = keys_pick(&w->k, false, STORE_BATCH / 2, keys);
		struct store_io io[STORE_BATCH];

		write_keys(w, keys, io, n);
		atomic_store(&shared->down[away], 0);
		keys_read(&w->k, keys, keys_pick(&w->k, true, STORE_BATCH, keys));
		if (i % 8 == 7)
			for (unsigned k = 0; k < KEYS; k++)
				if (w->k.stored[k] && rand_below(&w->k.r, 2))
					keys_free(&w->k, k);
	}
	assert_true(lacking_on(w, 0) > 0 && lacking_on(w, 1) > 0);
	world_drop(w);
}

static void what_an_export_has_lost_is_read_from_the_other(void **state)
{
	(void)state;
	for (unsigned leg = 0; leg < 2; leg++) {
		struct world *w = world_make_legs(leg, 2);
		unsigned keys[8] = { 0, 1, 2, 3, 4, 5, 6, 7 };
		struct store_io io[8];

		assert_int_equal(write_keys(w, keys, io, 8), 8);
		memset(server.page[leg], 0xee, (REMOTE_FIRST + EXTENTS * EXTENT_SLOTS) * PAGE_SIZE);
		for (unsigned i = 0; i < 8; i++) {
			io[i] = (struct store_io){ .page = w->k.buf + i * PAGE_SIZE, .handle = w->k.handle[i] };
			for (unsigned try = 0; try < 2; try++) {
				w->r.slots.store.ops->read(&w->r.slots.store, &io[i], 1);
				if (memcmp(io[i].page, w->k.want[i], PAGE_SIZE) == 0)
					break;
				io[i].err = -EBADMSG;
			}
			assert_int_equal(io[i].err, 0);
		}
		world_drop(w);
	}
}

static void other_bytes_are_asked_for_elsewhere(void **state)
{
	(void)state;
	for (unsigned leg = 0; leg < 2; leg++) {
		struct world *w = world_make_legs(leg, 2);
		unsigned key = 0;
		struct store_io io;

		assert_int_equal(write_keys(w, &key, &io, 1), 1);
		memset(server.page[leg][slots_page(&w->r.slots, w->k.handle[0])], 0xee, PAGE_SIZE);
		io = (struct store_io){ .page = w->k.buf, .handle = w->k.handle[0] };
		/* As the swap layer does, with the error that it has found: no more than one try is wrong. */
		for (unsigned try = 0;; try++) {
			w->r.slots.store.ops->read(&w->r.slots.store, &io, 1);
			assert_int_equal(io.err, 0);
			if (memcmp(io.page, w->k.want[0], PAGE_SIZE) == 0)
				break;
			assert_true(try < 1);
			io.err = -EBADMSG;
		}
		world_drop(w);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(random_use_returns_what_was_written, start, end),
		cmocka_unit_test_setup_teardown(what_was_sent_twice_leaves_its_slot_alone, start, end),
		cmocka_unit_test_setup_teardown(who_gets_no_answer_gives_up, start, end),
		cmocka_unit_test_setup_teardown(without_a_connection_writes_do_not_wait, start, end),
		cmocka_unit_test_setup_teardown(errors_of_the_server_come_through, start, end),
		cmocka_unit_test_setup_teardown(what_a_process_had_is_free_when_its_last_reader_is_gone, start, end),
		cmocka_unit_test_setup_teardown(what_is_read_can_be_polled_for, start, end),
		cmocka_unit_test_setup_teardown(more_reads_than_there_is_room_for_are_left, start, end),
		cmocka_unit_test_setup_teardown(a_read_on_its_way_is_given_up_at_its_deadline, start, end),
		cmocka_unit_test_setup_teardown(a_read_on_its_way_goes_to_the_export_that_answers, start, end),
		cmocka_unit_test_setup_teardown(a_mirror_has_every_page, start, end),
		cmocka_unit_test_setup_teardown(an_export_that_hangs_is_left_alone_for_a_while, start, end),
		cmocka_unit_test_setup_teardown(each_page_is_read_where_it_is, start, end),
		cmocka_unit_test_setup_teardown(what_an_export_has_lost_is_read_from_the_other, start, end),
		cmocka_unit_test_setup_teardown(the_loss_of_one_export_loses_nothing, start, end),
		cmocka_unit_test_setup_teardown(other_bytes_are_asked_for_elsewhere, start, end),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
