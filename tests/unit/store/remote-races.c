/*
 * store/remote: what comes between two steps of somebody else. Where that can be arranged it is: at the first touch of a
 * page, and before that goes on, a signal handler does what another thread or process would. Elsewhere two threads try often.
 * And what comes behind the last ring is touched by nobody.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <cmocka.h>

#include "store/remote_request.h"

#define AREA 1
#define OTHER_AREA 2
#define EXTENTS 4
#define ROUNDS 100000

static struct remote *shared;

static int start(void **state)
{
	(void)state;
	/* Nobody may touch what would be one more ring. */
	shared = mmap(NULL, sizeof(*shared) + sizeof(struct remote_ring), PROT_NONE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	assert_ptr_not_equal(shared, MAP_FAILED);
	assert_int_equal(mprotect(shared, sizeof(*shared), PROT_READ | PROT_WRITE), 0);
	shared->areas = 1u << AREA | 1u << OTHER_AREA;
	return 0;
}

static int end(void **state)
{
	(void)state;
	return munmap(shared, sizeof(*shared) + sizeof(struct remote_ring));
}

/* Its memory is free()d by the caller; books is where. */
static void store_make(struct remote_store *r, unsigned area, unsigned ring, void **books)
{
	uint64_t bytes = EXTENTS * EXTENT_SLOTS * PAGE_SIZE;

	*books = calloc(1, remote_store_bytes(bytes));
	assert_int_equal(remote_store_init(r, shared, area, 1, ring, bytes, UINT64_MAX, *books, remote_store_bytes(bytes)), 0);
}

static struct {
	void *page;
	void (*run)(void);
	unsigned times;
} meanwhile;

static void touched(int sig)
{
	(void)sig;
	mprotect(meanwhile.page, PAGE_SIZE, PROT_READ | PROT_WRITE);
	meanwhile.times++;
	meanwhile.run();
}

static void at_first_touch(void *of, void (*run)(void))
{
	meanwhile.page = (void *)ALIGN_DOWN((uintptr_t)of, PAGE_SIZE);
	meanwhile.run = run;
	meanwhile.times = 0;
	signal(SIGSEGV, touched);
	assert_int_equal(mprotect(meanwhile.page, PAGE_SIZE, PROT_NONE), 0);
}

/* Returns whether there was one. */
static bool was_touched(void)
{
	signal(SIGSEGV, SIG_DFL);
	assert_int_equal(mprotect(meanwhile.page, PAGE_SIZE, PROT_READ | PROT_WRITE), 0);
	return meanwhile.times > 0;
}

static unsigned taken;

static void take(void)
{
	struct remote_request request;

	taken = remote_take(shared, AREA, &request, 1);
}

/* The threads of two exports look at the same moment. */
static void who_looks_for_one_export_hides_nothing_from_another(void **state)
{
	static uint8_t page[PAGE_SIZE];
	struct store_io io = { .page = page };
	struct remote_request request;
	struct remote_store r;
	void *books;

	(void)state;
	store_make(&r, AREA, 0, &books);
	assert_true(request_ask(&r, 0, request_entry(0, false), &io, REMOTE_FIRST, false));
	request_ring(&r, 1);
	at_first_touch(&shared->ring[0].entry[0], take);
	assert_int_equal(remote_take(shared, OTHER_AREA, &request, 1), 0);
	/* If that one need not even look at the ring there is no such moment. */
	if (!was_touched())
		take();
	assert_int_equal(taken, 1);
	free(books);
}

/* Takes what there is for AREA, and answers it, as the thread of that export. */
static struct {
	pthread_t thread;
	_Atomic bool stop;
	_Atomic unsigned wrong; /* requests that were not for that export */
} first_export;

static void *serve_first(void *arg)
{
	struct remote_request request;

	(void)arg;
	while (!atomic_load(&first_export.stop)) {
		if (remote_take(shared, AREA, &request, 1) == 0)
			continue;
		atomic_fetch_add(&first_export.wrong, request.ring->entry[request.entry].leg != AREA);
		remote_done(&request, 1, 0);
	}
	return NULL;
}

static void ask(struct remote_store *r, unsigned entry, struct store_io *io)
{
	while (!request_ask(r, 0, entry, io, REMOTE_FIRST, true))
		sched_yield();
	request_ring(r, 1);
}

/* At once, whatever has become of it. */
static void give_up(struct remote_store *r, unsigned entry, struct store_io *io, bool *sent)
{
	int err;

	while (!request_over(r, entry, io, 0, 1, &err, sent))
		;
}

/* An entry is used for one area, is taken back, and is used for another one, while the first area's thread looks at it. */
static void no_export_gets_what_was_asked_of_another(void **state)
{
	const unsigned entry = request_entry(0, true);
	static uint8_t page[PAGE_SIZE];
	struct store_io io = { .page = page };
	struct remote_store first, second;
	struct remote_request request;
	void *books[2];
	bool sent;

	(void)state;
	store_make(&first, AREA, 0, &books[0]);
	store_make(&second, OTHER_AREA, 0, &books[1]);
	atomic_store(&first_export.stop, false);
	atomic_store(&first_export.wrong, 0);
	assert_int_equal(pthread_create(&first_export.thread, NULL, serve_first, NULL), 0);
	for (unsigned i = 0; i < ROUNDS && atomic_load(&first_export.wrong) == 0; i++) {
		ask(&first, entry, &io);
		give_up(&first, entry, &io, &sent);
		ask(&second, entry, &io);
		/* The thread may have it for a moment; then it is there again. */
		while (remote_take(shared, OTHER_AREA, &request, 1) == 0 && atomic_load(&first_export.wrong) == 0)
			sched_yield();
		if (atomic_load(&first_export.wrong) > 0)
			break;
		assert_int_equal(request.entry, entry);
		remote_done(&request, 1, 0);
		assert_int_equal(request_answer(&second, entry, &io, UINT64_MAX, &sent), 0);
	}
	atomic_store(&first_export.stop, true);
	pthread_join(first_export.thread, NULL);
	assert_int_equal(atomic_load(&first_export.wrong), 0);
	free(books[0]);
	free(books[1]);
}

/* A connection that is lost again and again. */
static void *serve_badly(void *arg)
{
	struct remote_request request;

	(void)arg;
	while (!atomic_load(&first_export.stop))
		if (remote_take(shared, AREA, &request, 1) > 0)
			remote_requeue(shared, &request);
	return NULL;
}

static void what_has_been_sent_is_known_to_be(void **state)
{
	const unsigned entry = request_entry(0, true);
	static uint8_t page[PAGE_SIZE];
	struct store_io io = { .page = page };
	struct remote_store r;
	unsigned unknown = 0;
	void *books;

	(void)state;
	store_make(&r, AREA, 0, &books);
	atomic_store(&first_export.stop, false);
	assert_int_equal(pthread_create(&first_export.thread, NULL, serve_badly, NULL), 0);
	for (unsigned i = 0; i < ROUNDS && unknown == 0; i++) {
		bool sent = false;

		ask(&r, entry, &io);
		give_up(&r, entry, &io, &sent);
		unknown += shared->ring[0].entry[entry].again && !sent;
	}
	atomic_store(&first_export.stop, true);
	pthread_join(first_export.thread, NULL);
	assert_int_equal(unknown, 0);
	free(books);
}

/* A process has given up a write that is with a server, and is killed before it can say so. */
static void a_write_that_is_left_behind_taints_its_extent(void **state)
{
	const unsigned entry = request_entry(0, true);
	static uint8_t page[PAGE_SIZE];
	struct store_io io = { .page = page };
	struct remote_request request;
	struct remote_store r;
	void *books;
	bool sent;

	(void)state;
	store_make(&r, AREA, 0, &books);
	assert_int_equal(r.slots.extents.lock(&r, 0, true), 0);
	ask(&r, entry, &io);
	assert_int_equal(remote_take(shared, AREA, &request, 1), 1);
	give_up(&r, entry, &io, &sent);
	assert_true(sent);
	assert_int_equal(atomic_load(&shared->ring[0].entry[entry].state), REMOTE_LEFT);
	remote_forget(shared, 0);
	assert_true(atomic_load(&shared->owner[AREA][0]) & REMOTE_TAINTED);
	free(books);
}

static struct remote_store claimant;
static bool claimed;

static void first_ends_and_another_claims(void)
{
	remote_forget(shared, 1);
	claimed = claimant.slots.extents.lock(&claimant, 0, true) == 0;
}

/* Parent and child end at the same moment, and somebody else takes what they had. */
static void an_extent_that_is_free_is_freed_once(void **state)
{
	struct remote_store parent, child;
	void *books[3];

	(void)state;
	store_make(&claimant, AREA, 0, &books[0]);
	store_make(&parent, AREA, 1, &books[1]);
	store_make(&child, AREA, 2, &books[2]);
	assert_int_equal(parent.slots.extents.lock(&parent, 0, true), 0);
	assert_int_equal(child.slots.extents.lock(&child, 0, false), 0);
	/* The child looks whether the parent still holds it. */
	at_first_touch(&shared->ring[1].held[AREA][0], first_ends_and_another_claims);
	remote_forget(shared, 2);
	assert_true(was_touched());
	assert_true(claimed);
	assert_int_equal(atomic_load(&shared->owner[AREA][0]), 1 + claimant.ring);
	remote_forget(shared, 0);
	assert_int_equal(atomic_load(&shared->owner[AREA][0]), 0);
	for (unsigned i = 0; i < ARRAY_SIZE(books); i++)
		free(books[i]);
}

/* More processes than rings: a child that has none has nothing on the server, but its parent has claimed room there. */
static void a_child_without_a_ring_does_without(void **state)
{
	static uint8_t page[PAGE_SIZE];
	struct store_io io = { .page = page };
	struct remote_store r;
	void *books;

	(void)state;
	store_make(&r, AREA, 0, &books);
	assert_int_equal(slots_reserve(&r.slots.store, &io, 1), 1);
	slots_abort(&r.slots.store, &io);
	assert_int_equal(slots_share(&r.slots), 0);
	assert_int_equal(r.slots.extents.nr, 1);
	assert_int_equal(remote_store_inherit(&r, REMOTE_RINGS), 0);
	assert_int_equal(slots_reserve(&r.slots.store, &io, 1), 0);
	slots_check(&r.slots);
	r.slots.store.ops->destroy(&r.slots.store);
	/* The parent's stays the parent's. */
	assert_int_equal(atomic_load(&shared->owner[AREA][0]), 1);
	free(books);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(who_looks_for_one_export_hides_nothing_from_another, start, end),
		cmocka_unit_test_setup_teardown(no_export_gets_what_was_asked_of_another, start, end),
		cmocka_unit_test_setup_teardown(what_has_been_sent_is_known_to_be, start, end),
		cmocka_unit_test_setup_teardown(a_write_that_is_left_behind_taints_its_extent, start, end),
		cmocka_unit_test_setup_teardown(an_extent_that_is_free_is_freed_once, start, end),
		cmocka_unit_test_setup_teardown(a_child_without_a_ring_does_without, start, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
