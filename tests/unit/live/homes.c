/* Pages that come to addresses of a program, from homes of all kinds: who waits for them waits once. With a real userfaultfd. */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/page.h"
#include "base/uffd.h"
#include "live/homes.h"
#include "live/host.h"
#include "live/proc.h"

#define FRAMES 64
#define PAGES 16
#define ROUNDS 30

static struct frame table[FRAMES];
static uint64_t counts[VM_COUNTER_NR], *counter = counts;
static struct homes homes;
static uint8_t *user;

static uint8_t *memory(size_t pages)
{
	uint8_t *p = mmap(NULL, pages * PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_ptr_not_equal(p, MAP_FAILED);
	madvise(p, pages * PAGE_SIZE, MADV_NOHUGEPAGE);
	return p;
}

static int open_uffd(uint64_t features)
{
	int fd = host_uffd_new(-1);

	assert_true(fd >= 0);
	assert_int_equal(host_uffd_api(fd, features), 0);
	return fd;
}

static void begin(bool can_move)
{
	uint64_t features = can_move ? UFFD_FEATURE_MOVE : 0;

	homes = (struct homes){
		.prog_fd = open_uffd(features), .trash_fd = open_uffd(features), .pagemap_fd = proc_open("/proc/self/pagemap"),
		.can_move = can_move, .start = (uint64_t)(uintptr_t)memory(FRAMES), .frames = table,
		.trash = (uint64_t)(uintptr_t)memory(HOMES_TRASH_PAGES), .zeros = memory(HOMES_ZERO_PAGES), .counter = &counter,
	};
	user = memory(PAGES);
	assert_int_equal(homes_register(&homes, FRAMES), 0);
	assert_int_equal(host_register(homes.prog_fd, (uint64_t)(uintptr_t)user, PAGES * PAGE_SIZE, true), 0);
}

static void end(void)
{
	close(homes.prog_fd);
	close(homes.trash_fd);
	close(homes.pagemap_fd);
	munmap(user, PAGES * PAGE_SIZE);
	munmap((void *)(uintptr_t)homes.start, FRAMES * PAGE_SIZE);
	munmap((void *)(uintptr_t)homes.trash, HOMES_TRASH_PAGES * PAGE_SIZE);
	munmap(homes.zeros, HOMES_ZERO_PAGES * PAGE_SIZE);
}

struct reader {
	bool backwards;
	uint8_t first;  /* page i begins with first + i; 0: all with 0 */
	unsigned wrong; /* pages */
	long waits;     /* times that it slept */
};

static long times_slept(void)
{
	struct rusage r;

	getrusage(RUSAGE_THREAD, &r);
	return r.ru_nvcsw;
}

/* One page after the other. */
static void *read_all(void *arg)
{
	struct reader *r = arg;
	long before = times_slept();

	for (unsigned i = 0; i < PAGES; i++) {
		unsigned page = r->backwards ? PAGES - 1 - i : i;
		uint8_t want = r->first == 0 ? 0 : (uint8_t)(r->first + page);

		r->wrong += *(volatile uint8_t *)(user + page * PAGE_SIZE) != want;
	}
	r->waits = times_slept() - before;
	return NULL;
}

static void stay_on_one_cpu(void)
{
	cpu_set_t one;

	CPU_ZERO(&one);
	CPU_SET(sched_getcpu(), &one);
	assert_int_equal(sched_setaffinity(0, sizeof(one), &one), 0);
}

static void wait_for_fault(void)
{
	struct pollfd p = { .fd = homes.prog_fd, .events = POLLIN };
	struct uffd_msg msg;

	assert_int_equal(poll(&p, 1, -1), 1);
	assert_int_equal(read(homes.prog_fd, &msg, sizeof(msg)), sizeof(msg));
	assert_int_equal(msg.event, UFFD_EVENT_PAGEFAULT);
}

/* All pages come at the first touch, from frames that are `apart`, which their reader must not notice after that. */
static void pages_come_once(bool can_move, unsigned apart, bool zero, bool backwards)
{
	struct frame *frames[PAGES];

	begin(can_move);
	for (unsigned round = 1; round <= ROUNDS; round++) {
		struct reader r = { .backwards = backwards, .first = zero ? 0 : (uint8_t)round };
		pthread_t thread;

		for (unsigned i = 0; i < PAGES; i++) {
			frames[i] = &table[i * apart];
			if (!zero)
				*(uint8_t *)(uintptr_t)homes_of(&homes, frames[i]) = (uint8_t)(round + i);
		}
		assert_int_equal(pthread_create(&thread, NULL, read_all, &r), 0);
		wait_for_fault();
		assert_int_equal(homes_map(&homes, (uint64_t)(uintptr_t)user, frames, PAGES, zero), PAGES);
		pthread_join(thread, NULL);
		assert_int_equal(r.wrong, 0);
		assert_int_equal(r.waits, 1);
		madvise(user, PAGES * PAGE_SIZE, MADV_DONTNEED);
	}
	end();
}

static void who_waits_for_a_window_waits_once(void **state)
{
	(void)state;
	for (unsigned apart = 1; apart <= 3; apart++)
		for (unsigned backwards = 0; backwards <= 1; backwards++)
			pages_come_once(true, apart, false, backwards);
}

static void also_where_pages_are_copied(void **state)
{
	(void)state;
	for (unsigned apart = 1; apart <= 2; apart++)
		pages_come_once(false, apart, false, false);
}

static void also_for_zeros(void **state)
{
	(void)state;
	for (unsigned can_move = 0; can_move <= 1; can_move++)
		for (unsigned apart = 1; apart <= 2; apart++)
			pages_come_once(can_move, apart, true, false);
}

/* What is in the way ends the window; what was placed before it is woken all the same. */
static void a_page_in_the_way_ends_the_window(void **state)
{
	struct frame *frames[PAGES];
	struct reader r = { .first = 1 };
	pthread_t thread;

	(void)state;
	begin(true);
	for (unsigned i = 0; i < PAGES; i++) {
		frames[i] = &table[2 * i];
		*(uint8_t *)(uintptr_t)homes_of(&homes, frames[i]) = (uint8_t)(1 + i);
	}
	/* From the ninth on there are some already, of other frames. */
	for (unsigned i = 8; i < PAGES; i++) {
		struct frame *other = &table[2 * i + 1];

		*(uint8_t *)(uintptr_t)homes_of(&homes, other) = (uint8_t)(1 + i);
		assert_int_equal(homes_map(&homes, (uint64_t)(uintptr_t)user + i * PAGE_SIZE, &other, 1, false), 1);
	}
	assert_int_equal(pthread_create(&thread, NULL, read_all, &r), 0);
	wait_for_fault();
	assert_int_equal(homes_map(&homes, (uint64_t)(uintptr_t)user, frames, 12, false), 8);
	pthread_join(thread, NULL);
	assert_int_equal(r.wrong, 0);
	assert_int_equal(r.waits, 1);
	assert_int_equal(homes_map(&homes, (uint64_t)(uintptr_t)user + 8 * PAGE_SIZE, frames + 8, 4, false), -EEXIST);
	end();
}

static unsigned present(const void *p, unsigned n)
{
	return (unsigned)proc_count_present(homes.pagemap_fd, (uint64_t)(uintptr_t)p, (uint64_t)(uintptr_t)p + n * PAGE_SIZE);
}

/* Frames that stand for pages which came by themselves have no memory beside them. */
static void a_page_in_the_way_of_zeros_leaves_no_second_one_at_home(void **state)
{
	(void)state;
	for (unsigned can_move = 0; can_move <= 1; can_move++) {
		struct frame *frame = &table[0];

		begin(can_move);
		void *home = (void *)(uintptr_t)homes.start;

		assert_int_equal(host_copy(homes.prog_fd, (uint64_t)(uintptr_t)user, homes.zeros, PAGE_SIZE, 0), PAGE_SIZE);
		user[0] = 5;
		memset(home, 7, 2 * PAGE_SIZE);
		assert_int_equal(homes_map(&homes, (uint64_t)(uintptr_t)user, &frame, 1, true), -EEXIST);
		assert_int_equal(user[0], 5);
		assert_int_equal(present(home, 1), 0);
		/* The next one: as it is when nothing was to be placed. */
		assert_int_equal(present((uint8_t *)home + PAGE_SIZE, 1), 1);
		homes_empty(&homes, homes.start);
		homes_empty(&homes, homes.start + PAGE_SIZE);
		assert_int_equal(present(home, 2), 0);
		end();
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(who_waits_for_a_window_waits_once),
		cmocka_unit_test(also_where_pages_are_copied),
		cmocka_unit_test(also_for_zeros),
		cmocka_unit_test(a_page_in_the_way_ends_the_window),
		cmocka_unit_test(a_page_in_the_way_of_zeros_leaves_no_second_one_at_home),
	};

	if ((host_uffd_features(-1) & UFFD_FEATURE_MOVE) == 0) {
		printf("1..0 # SKIP no right to userfaultfd, or a kernel before Linux 6.8\n");
		return 0;
	}
	stay_on_one_cpu();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
