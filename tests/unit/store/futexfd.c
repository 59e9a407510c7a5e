/* store/futexfd: a word in shared memory that another process changes can be polled for. */
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>
#include <linux/futex.h>

#include "base/sys.h"
#include "store/futexfd.h"

static _Atomic uint32_t *word;
static struct futexfd f;

static int start(void **state)
{
	(void)state;
	word = mmap(NULL, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	f = (struct futexfd){ 0 };
	return word == MAP_FAILED;
}

/* In memory of the caller's, where the kernel can. */
static int start_in_room(void **state)
{
	static _Alignas(PAGE_SIZE) uint8_t room[RING_ROOM];
	int err = start(state);

	memset(room, 0xa5, sizeof(room));
	f.room = room;
	return err;
}

static int end(void **state)
{
	(void)state;
	futexfd_close(&f);
	return munmap(word, PAGE_SIZE);
}

static bool is_told(int fd, int timeout_ms)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, timeout_ms) == 1;
}

static void change(void)
{
	atomic_fetch_add(word, 1);
	sys_futex((uint32_t *)word, FUTEX_WAKE, INT32_MAX, NULL, NULL, 0);
}

static void each_change_is_told_once(void **state)
{
	(void)state;
	if (!futexfd_works(&f))
		skip();
	for (uint32_t seen = 0; seen < 20; seen++) {
		int fd = futexfd_poll(&f, word, seen);

		assert_true(fd >= 0);
		assert_false(is_told(fd, 0));
		/* It is the same wait, whoever else looks. */
		assert_int_equal(futexfd_poll(&f, word, seen + 7), fd);
		assert_false(is_told(fd, 0));
		change();
		assert_true(is_told(fd, -1));
		futexfd_heard(&f);
		assert_false(is_told(fd, 0));
	}
}

static void a_change_that_was_missed_is_told_at_once(void **state)
{
	(void)state;
	if (!futexfd_works(&f))
		skip();
	change();
	assert_true(is_told(futexfd_poll(&f, word, 0), 0));
	futexfd_heard(&f);
	assert_false(is_told(futexfd_poll(&f, word, 1), 0));
}

static void a_child_has_one_of_its_own(void **state)
{
	int status;

	(void)state;
	if (!futexfd_works(&f))
		skip();
	int fd = futexfd_poll(&f, word, 0);
	pid_t child = fork();

	if (child == 0) {
		futexfd_forget(&f);
		bool told = futexfd_works(&f) && is_told(futexfd_poll(&f, word, 0), -1);

		_exit(told ? 0 : 1);
	}
	change();
	assert_true(is_told(fd, -1));
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	/* What waits is no reason not to close it. */
	futexfd_heard(&f);
	assert_true(futexfd_poll(&f, word, 1) >= 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(each_change_is_told_once, start, end),
		cmocka_unit_test_setup_teardown(each_change_is_told_once, start_in_room, end),
		cmocka_unit_test_setup_teardown(a_change_that_was_missed_is_told_at_once, start, end),
		cmocka_unit_test_setup_teardown(a_change_that_was_missed_is_told_at_once, start_in_room, end),
		cmocka_unit_test_setup_teardown(a_child_has_one_of_its_own, start, end),
		cmocka_unit_test_setup_teardown(a_child_has_one_of_its_own, start_in_room, end),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
