/*
 * Blocks and the ends of things: of threads, a thousand at once, with destructors that run after the allocator's own;
 * of the process, in atexit and behind it; and forks in the midst of it. Run with LD_PRELOAD.
 */
#include <limits.h>
#include <malloc.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#define THREADS 1000
#define BLOCKS 20

static void *(*volatile p_malloc)(size_t) = malloc;
static void (*volatile p_free)(void *) = free;

/* A block that shows who wrote it. */
static unsigned char *marked(size_t bytes, unsigned char mark)
{
	unsigned char *mem = p_malloc(bytes);

	assert_non_null(mem);
	memset(mem, mark, bytes);
	return mem;
}

static void check_and_free(unsigned char *mem, size_t bytes, unsigned char mark)
{
	for (size_t i = 0; i < bytes; i++)
		assert_int_equal(mem[i], mark);
	p_free(mem);
}

static size_t size_of(unsigned i)
{
	return 1 + (size_t)i * i * 97;
}

static unsigned char *inherited[THREADS][BLOCKS];
static pthread_barrier_t all_here;

/* All allocate at the same time; afterwards each frees what another one made. */
static void *one_of_many(void *arg)
{
	unsigned me = (unsigned)(uintptr_t)arg, other = (me * 7 + 1) % THREADS;

	for (unsigned i = 0; i < BLOCKS; i++)
		inherited[me][i] = marked(size_of(i), (unsigned char)me);
	pthread_barrier_wait(&all_here);
	for (unsigned i = 0; i < BLOCKS; i++)
		check_and_free(inherited[other][i], size_of(i), (unsigned char)other);
	return NULL;
}

static void start(pthread_t *t, void *(*fn)(void *), void *arg)
{
	pthread_attr_t small;

	pthread_attr_init(&small);
	pthread_attr_setstacksize(&small, 128 << 10);
	assert_int_equal(pthread_create(t, &small, fn, arg), 0);
	pthread_attr_destroy(&small);
}

static void a_thousand_threads_at_once(void **state)
{
	static pthread_t threads[THREADS];

	(void)state;
	pthread_barrier_init(&all_here, NULL, THREADS);
	for (uintptr_t i = 0; i < THREADS; i++)
		start(&threads[i], one_of_many, (void *)i);
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	pthread_barrier_destroy(&all_here);
}

static void *leaves_something(void *arg)
{
	p_free(p_malloc(40));
	p_free(p_malloc(40000));
	p_free(p_malloc(400000));
	return marked(3000 + (uintptr_t)arg % 100, 1);
}

static void threads_that_come_and_go_leave_no_memory_behind(void **state)
{
	size_t after_first = 0;

	(void)state;
	for (uintptr_t i = 0; i < 2000; i++) {
		struct mallinfo2 m;
		pthread_t t;
		void *mem;

		start(&t, leaves_something, (void *)i);
		pthread_join(t, &mem);
		check_and_free(mem, 3000 + i % 100, 1);
		m = mallinfo2();
		if (i == 20)
			after_first = m.arena + m.hblkhd;
		if (i > 20)
			assert_true(m.arena + m.hblkhd <= after_first + ((size_t)1 << 20));
	}
}

#define LEGACY 40000
#define LEGACY_BYTES 500

static unsigned char *legacy[LEGACY];
static pthread_t main_thread;

static size_t held(void)
{
	struct mallinfo2 m = mallinfo2();

	return m.arena + m.hblkhd;
}

/* A child's second thread: frees what the first one left, and needs as much again. */
static void *heir(void *arg)
{
	size_t before;

	pthread_join(main_thread, NULL);
	for (unsigned i = 0; i < LEGACY; i++)
		p_free(legacy[i]);
	before = held();
	for (unsigned i = 0; i < LEGACY; i++)
		legacy[i] = p_malloc(LEGACY_BYTES);
	_exit(held() <= before + LEGACY * LEGACY_BYTES / 4 ? 11 : 1);
	return arg;
}

static void what_the_main_thread_leaves_serves_others(void **state)
{
	int status = 0;
	pid_t pid = fork();

	(void)state;
	if (pid == 0) {
		pthread_t t;

		main_thread = pthread_self();
		for (unsigned i = 0; i < LEGACY; i++)
			legacy[i] = marked(LEGACY_BYTES, 3);
		start(&t, heir, NULL);
		pthread_exit(NULL);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 11);
}

/* What C++ compilers call for thread_local objects: runs after the destructors of all keys. */
extern int __cxa_thread_atexit_impl(void (*fn)(void *), void *arg, void *dso);

static unsigned freed_late;

static void free_late(void *mem)
{
	check_and_free(mem, 777, 7);
	check_and_free(marked(60, 6), 60, 6);
	freed_late++;
}

static pthread_key_t last_key;

static void again(void *rounds)
{
	check_and_free(marked(50, 5), 50, 5);
	if ((uintptr_t)rounds < PTHREAD_DESTRUCTOR_ITERATIONS)
		pthread_setspecific(last_key, (void *)((uintptr_t)rounds + 1));
}

static void *with_late_frees(void *arg)
{
	static char dso;

	assert_int_equal(__cxa_thread_atexit_impl(free_late, marked(777, 7), &dso), 0);
	pthread_setspecific(last_key, (void *)1);
	return arg;
}

static void destructors_of_threads_may_allocate_and_free(void **state)
{
	pthread_t t;

	(void)state;
	assert_int_equal(pthread_key_create(&last_key, again), 0);
	for (unsigned i = 0; i < 100; i++) {
		start(&t, with_late_frees, NULL);
		pthread_join(t, NULL);
	}
	assert_int_equal(freed_late, 100);
}

static unsigned char *freed_at_exit, *freed_at_the_end;

static void at_exit(void)
{
	check_and_free(freed_at_exit, 5000, 9);
	freed_at_the_end = marked(50000, 8);
}

/* Runs after all atexit functions. */
__attribute__((destructor)) static void at_the_end(void)
{
	if (freed_at_the_end == NULL)
		return;
	check_and_free(freed_at_the_end, 50000, 8);
	check_and_free(marked(100, 3), 100, 3);
	_exit(42);
}

static void the_process_may_free_until_it_is_gone(void **state)
{
	int status = 0;
	pid_t pid = fork();

	(void)state;
	if (pid == 0) {
		freed_at_exit = marked(5000, 9);
		atexit(at_exit);
		exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 42);
}

static volatile sig_atomic_t stop, forks, bad_children;

static void fork_here(int sig)
{
	int status = -1;
	pid_t pid = fork();

	(void)sig;
	if (pid == 0)
		_exit(11);
	if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status) || WEXITSTATUS(status) != 11)
		bad_children++;
	forks++;
}

static void *churn(void *arg)
{
	unsigned n = 0;

	while (!stop) {
		unsigned char *mem[BLOCKS];

		for (unsigned i = 0; i < BLOCKS; i++)
			mem[i] = marked(size_of(i), (unsigned char)n);
		for (unsigned i = 0; i < BLOCKS; i++)
			check_and_free(mem[i], size_of(i), (unsigned char)n);
		n++;
	}
	return arg;
}

/* The handler interrupts malloc itself, in any thread. */
static void forks_in_signal_handlers_meet_a_busy_allocator(void **state)
{
	struct sigaction forks_on_alarm = { .sa_handler = fork_here, .sa_flags = SA_RESTART };
	struct itimerval often = { .it_interval.tv_usec = 2000, .it_value.tv_usec = 2000 }, never = { 0 };
	pthread_t threads[2];

	(void)state;
	sigaction(SIGALRM, &forks_on_alarm, NULL);
	for (unsigned i = 0; i < 2; i++)
		start(&threads[i], churn, NULL);
	setitimer(ITIMER_REAL, &often, NULL);
	while (forks < 200)
		check_and_free(marked(20000, 2), 20000, 2);
	setitimer(ITIMER_REAL, &never, NULL);
	stop = 1;
	for (unsigned i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(bad_children, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_the_main_thread_leaves_serves_others), /* first: the heap has nothing else */
		cmocka_unit_test(a_thousand_threads_at_once),
		cmocka_unit_test(threads_that_come_and_go_leave_no_memory_behind),
		cmocka_unit_test(destructors_of_threads_may_allocate_and_free),
		cmocka_unit_test(the_process_may_free_until_it_is_gone),
		cmocka_unit_test(forks_in_signal_handlers_meet_a_busy_allocator),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
