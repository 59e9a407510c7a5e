/*
 * Little address space (RLIMIT_AS): every call fails with ENOMEM or works, threads can be made or not, and what was
 * freed can be had again. Each test in a child. Run with LD_PRELOAD.
 */
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

static void *(*volatile p_malloc)(size_t) = malloc;
static void *(*volatile p_calloc)(size_t, size_t) = calloc;
static void *(*volatile p_realloc)(void *, size_t) = realloc;
static void *(*volatile p_aligned_alloc)(size_t, size_t) = aligned_alloc;
static void (*volatile p_free)(void *) = free;

#define REQUIRE(cond)                                                                                      \
	do {                                                                                               \
		if (!(cond)) {                                                                             \
			dprintf(2, "%s:%d: %s is false, errno %d\n", __FILE__, __LINE__, #cond, errno);    \
			_exit(1);                                                                          \
		}                                                                                          \
	} while (0)

/* From now on the process may grow by this much and no more. */
static void leave(size_t bytes)
{
	unsigned long pages = 0;
	struct rlimit limit;
	FILE *f = fopen("/proc/self/statm", "r");

	REQUIRE(f != NULL && fscanf(f, "%lu", &pages) == 1);
	fclose(f);
	limit.rlim_cur = limit.rlim_max = pages * 4096 + bytes;
	REQUIRE(setrlimit(RLIMIT_AS, &limit) == 0);
}

static void in_a_child(void (*fn)(size_t bytes))
{
	static const size_t rooms[] = { 0, 64 << 10, 1 << 20, 9 << 20, 40 << 20, 100 << 20 };

	for (unsigned i = 0; i < sizeof(rooms) / sizeof(rooms[0]); i++) {
		int status = -1;
		pid_t pid = fork();

		if (pid == 0) {
			alarm(60);
			leave(rooms[i]);
			fn(rooms[i]);
			_exit(0);
		}
		assert_int_equal(waitpid(pid, &status, 0), pid);
		if (status != 0)
			fail_msg("%zu KiB: status %#x", rooms[i] >> 10, (unsigned)status);
	}
}

/* Blocks of one size until there are no more, linked; how many. */
static size_t take_all(size_t bytes, void ***list)
{
	size_t n = 0;

	*list = NULL;
	for (;; n++) {
		void **mem;

		errno = 0;
		mem = p_malloc(bytes);
		if (mem == NULL)
			break;
		memset(mem, 1, bytes);
		*mem = *list;
		*list = mem;
	}
	REQUIRE(errno == ENOMEM);
	return n;
}

static void give_all(void **list)
{
	while (list != NULL) {
		void **next = *list;

		p_free(list);
		list = next;
	}
}

static void exhaust(size_t room)
{
	static const size_t sizes[] = { 16, 100, 1000, 5000, 20000, 100000, 1000000 };

	for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		void **first, **second;
		size_t n = take_all(sizes[i], &first);

		/* Brk gives small pieces: nothing of the room stays unused but what a block lacks. */
		REQUIRE((n + 2) * sizes[i] >= room / 4 * 3);
		give_all(first);
		malloc_trim(0);
		REQUIRE(take_all(sizes[i], &second) >= n);
		give_all(second);
		malloc_trim(0);
	}
}

static void blocks_until_there_are_no_more_and_again(void **state)
{
	(void)state;
	in_a_child(exhaust);
}

static void every_call(size_t room)
{
	void **list, *mem;

	take_all(3000, &list);
	errno = 0;
	REQUIRE(p_malloc(room + (1 << 20)) == NULL && errno == ENOMEM);
	errno = 0;
	REQUIRE(p_calloc(room + (1 << 20), 1) == NULL && errno == ENOMEM);
	errno = 0;
	REQUIRE(p_aligned_alloc(1 << 16, room + (1 << 20)) == NULL && errno == ENOMEM);
	errno = 0;
	REQUIRE(p_realloc(list, room + (1 << 20)) == NULL && errno == ENOMEM);
	REQUIRE(posix_memalign(&mem, 1 << 16, room + (1 << 20)) == ENOMEM);
	REQUIRE(malloc_usable_size(list) >= 3000);
	give_all(list);
}

static void calls_fail_with_enomem_and_keep_the_old_block(void **state)
{
	(void)state;
	in_a_child(every_call);
}

static void *small_work(void *arg)
{
	for (unsigned i = 0; i < 200; i++) {
		void *a = p_malloc(i * 10 + 1), *b = p_calloc(1, i * 300 + 1);

		if (a != NULL)
			memset(a, 2, i * 10 + 1);
		p_free(a);
		p_free(b);
	}
	return arg;
}

/* Making them may fail; whoever runs may find no memory. */
static void make_threads(size_t room)
{
	pthread_t threads[20];
	pthread_attr_t small;

	(void)room;
	pthread_attr_init(&small);
	pthread_attr_setstacksize(&small, 64 << 10);
	for (unsigned round = 0; round < 5; round++) {
		unsigned n = 0;

		while (n < 20 && pthread_create(&threads[n], &small, small_work, NULL) == 0)
			n++;
		small_work(NULL);
		while (n > 0)
			pthread_join(threads[--n], NULL);
	}
}

static void threads_are_made_or_not(void **state)
{
	(void)state;
	in_a_child(make_threads);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(blocks_until_there_are_no_more_and_again),
		cmocka_unit_test(calls_fail_with_enomem_and_keep_the_old_block),
		cmocka_unit_test(threads_are_made_or_not),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
