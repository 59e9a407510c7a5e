/*
 * store/remote: what comes between two steps of somebody else. Where that can be arranged it is: at the first touch of a
 * page, and before that goes on, a signal handler does what another thread or process would. Elsewhere two threads try often.
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(who_looks_for_one_export_hides_nothing_from_another, start, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
