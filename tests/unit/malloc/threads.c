/* malloc/: many threads, blocks freed by others, forks at any moment. */
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/rand.h"
#include "malloc/arena.h"
#include "malloc/control.h"
#include "malloc/tcache.h"
#include "steward/malloc.h"
#include "testsrc.h"

#define NR_THREADS 8
#define NR_SLOTS 64
#define NR_MAILBOXES 256

struct block {
	size_t bytes;
	uint64_t seed;
};

static _Atomic(struct block *) mailbox[NR_MAILBOXES];
static _Atomic bool stop;

/* Aborts rather than reports: cmocka's asserts belong to the main thread, and children use this too. */
static void require(bool ok)
{
	if (!ok)
		abort();
}

static struct block *block_new(struct rand *r)
{
	size_t bytes = sizeof(struct block) + 8 + rand_below(r, rand_below(r, 20) == 0 ? 150000 : 1500);
	struct block *b = rand_below(r, 10) == 0 ? stw_memalign(256, bytes) : stw_malloc(bytes);

	require(b != NULL);
	b->bytes = bytes;
	b->seed = rand_u64(r);
	memset(b + 1, (int)(b->seed & 0xff), bytes - sizeof(*b));
	return b;
}

static void block_verify(const struct block *b)
{
	const uint8_t *p = (const uint8_t *)(b + 1);

	for (size_t i = 0; i < b->bytes - sizeof(*b); i += 61)
		require(p[i] == (b->seed & 0xff));
	require(p[b->bytes - sizeof(*b) - 1] == (b->seed & 0xff));
}

static void block_free(struct block *b)
{
	if (b == NULL)
		return;
	block_verify(b);
	stw_free(b);
}

/* Own blocks, grown and shrunk; and blocks put where any thread takes them. */
static void churn(struct rand *r, unsigned steps)
{
	struct block *own[NR_SLOTS] = { NULL };

	for (unsigned i = 0; i < steps; i++) {
		unsigned k = (unsigned)rand_below(r, NR_SLOTS);

		if (rand_below(r, 200) == 0 && tcache_own != NULL)
			tcache_dissolve(tcache_own, 1);
		if (rand_below(r, 3) == 0) {
			block_free(atomic_exchange(&mailbox[rand_below(r, NR_MAILBOXES)], block_new(r)));
		} else if (own[k] == NULL) {
			own[k] = block_new(r);
		} else if (rand_below(r, 4) == 0) {
			size_t bytes = sizeof(struct block) + 8 + rand_below(r, 3000);
			struct block *b = stw_realloc(own[k], bytes);

			require(b != NULL);
			b->bytes = MIN(b->bytes, bytes);
			block_verify(b);
			own[k] = b;
		} else {
			block_free(own[k]);
			own[k] = NULL;
		}
	}
	for (unsigned k = 0; k < NR_SLOTS; k++)
		block_free(own[k]);
}

static void empty_mailboxes(void)
{
	for (unsigned i = 0; i < NR_MAILBOXES; i++)
		block_free(atomic_exchange(&mailbox[i], NULL));
}

static void *churn_some(void *arg)
{
	struct rand r;

	rand_seed(&r, (uintptr_t)arg);
	churn(&r, 2500);
	return NULL;
}

static void *churn_until_stop(void *arg)
{
	struct rand r;

	rand_seed(&r, (uintptr_t)arg);
	while (!stop)
		churn(&r, 100);
	return NULL;
}

static void start(pthread_t *threads, unsigned n, void *(*fn)(void *))
{
	for (unsigned i = 0; i < n; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, fn, (void *)(uintptr_t)(i + 1)), 0);
}

static void join(pthread_t *threads, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		pthread_join(threads[i], NULL);
}

static void threads_keep_their_bytes_and_free_each_others_blocks(void **state)
{
	pthread_t threads[NR_THREADS];
	size_t used = stw_mallinfo2().uordblks;

	(void)state;
	start(threads, NR_THREADS, churn_some);
	join(threads, NR_THREADS);
	empty_mailboxes();
	malloc_check();
	testsrc_check_discarded();
	/* Nothing is left behind but the arenas themselves. */
	assert_true(stw_mallinfo2().uordblks < used + ARENAS_MAX * (sizeof(struct arena) + PAGE_SIZE));
}

static void *free_in_thread(void *mem)
{
	stw_free(mem);
	return NULL;
}

struct consumer {
	void **blocks;
	unsigned n;
	_Atomic int phase; /* 1: all freed, 2: it is to end */
};

static void *free_and_wait(void *arg)
{
	struct consumer *c = arg;

	for (unsigned i = 0; i < c->n; i++)
		stw_free(c->blocks[i]);
	atomic_store(&c->phase, 1);
	while (atomic_load(&c->phase) != 2)
		usleep(1000);
	return NULL;
}

static void take_out(void **blocks, unsigned *n, const void *mem)
{
	for (unsigned i = 0; i < *n; i++)
		if (blocks[i] == mem) {
			blocks[i] = blocks[--*n];
			return;
		}
}

static void what_another_thread_frees_comes_back_to_who_made_it(void **state)
{
	void *blocks[1000], *kept[1000], *again[4000];
	unsigned left = 1000, more = 0;
	struct consumer c = { blocks, left, 0 };
	pthread_t t;

	(void)state;
	/* A dissolved slab that waits in our outbox for its last block has holes: what is made in them is chunks, which do not come back as slots. */
	stw_malloc_trim(0);
	/* What is kept lies between, so that no slab goes back to its arena. */
	for (unsigned i = 0; i < 1000; i++) {
		blocks[i] = stw_malloc(100);
		kept[i] = stw_malloc(100);
	}
	pthread_create(&t, NULL, free_and_wait, &c);
	while (atomic_load(&c.phase) != 1)
		usleep(1000);
	while (more < 2000)
		take_out(blocks, &left, again[more++] = stw_malloc(100));
	/* As long as it lives it keeps some of one slab. */
	assert_in_range(left, 1, SLAB_SLOTS_MAX);
	malloc_check();
	atomic_store(&c.phase, 2);
	pthread_join(t, NULL);
	while (left != 0 && more < 4000)
		take_out(blocks, &left, again[more++] = stw_malloc(100));
	assert_int_equal(left, 0);
	for (unsigned i = 0; i < 1000; i++)
		stw_free(kept[i]);
	for (unsigned i = 0; i < more; i++)
		stw_free(again[i]);
	malloc_check();
}

#define NR_SPARSE 30000
#define NR_FREEING 3

static void *sparse[NR_SPARSE];

static void *free_a_part(void *arg)
{
	size_t part = (uintptr_t)arg - 1;

	for (size_t i = part; i < NR_SPARSE; i += NR_FREEING)
		stw_free(sparse[i]);
	return NULL;
}

static void blocks_are_freed_while_their_slabs_are_dissolved(void **state)
{
	pthread_t threads[NR_FREEING];
	struct rand r;

	(void)state;
	rand_seed(&r, 11);
	for (unsigned round = 0; round < 20; round++) {
		void *holes[500];

		for (unsigned i = 0; i < NR_SPARSE; i++)
			sparse[i] = stw_malloc(48);
		for (unsigned i = 0; i < NR_SPARSE; i++)
			if (rand_below(&r, 10) != 0) {
				stw_free(sparse[i]);
				sparse[i] = NULL;
			}
		tcache_dissolve(tcache_own, 1); /* the first call only notes who asks no more */
		start(threads, NR_FREEING, free_a_part);
		tcache_dissolve(tcache_own, 1);
		for (unsigned i = 0; i < 500; i++)
			memset(holes[i] = stw_malloc(130), 0xee, 130);
		for (unsigned i = 0; i < 500; i++)
			stw_free(holes[i]);
		join(threads, NR_FREEING);
		malloc_check();
		stw_malloc_trim(0); /* what we freed of slabs that were dissolved already waits in our outbox */
		assert_int_equal(main_arena.dissolved, 0);
	}
	testsrc_check_discarded();
}

#define NR_OF_SLEEPER 100000

static void *of_sleeper[NR_OF_SLEEPER];

static void what_others_free_of_a_thread_that_sleeps_goes_back(void **state)
{
	struct consumer c = { of_sleeper, NR_OF_SLEEPER, 0 };
	struct rand r;
	pthread_t t;

	(void)state;
	rand_seed(&r, 12);
	for (unsigned mixed = 0; mixed < 2; mixed++) {
		size_t before = tcache_slab_bytes(tcache_get()), full;

		for (unsigned i = 0; i < NR_OF_SLEEPER; i++)
			of_sleeper[i] = stw_malloc(100);
		for (unsigned i = NR_OF_SLEEPER; mixed && --i > 0;) {
			size_t j = rand_below(&r, i + 1);
			void *mem = of_sleeper[i];

			of_sleeper[i] = of_sleeper[j];
			of_sleeper[j] = mem;
		}
		full = tcache_slab_bytes(tcache_own) - before;
		assert_true(full > NR_OF_SLEEPER * 100);
		atomic_store(&c.phase, 0);
		pthread_create(&t, NULL, free_and_wait, &c);
		while (atomic_load(&c.phase) != 1)
			usleep(1000);
		/* It lives, and looks again when it frees more. */
		assert_true(tcache_slab_bytes(tcache_own) < before + full / 8);
		atomic_store(&c.phase, 2);
		pthread_join(t, NULL);
		/* But for what is in our stack. */
		assert_true(tcache_slab_bytes(tcache_own) < before + 8 * SLAB_BYTES_MAX);
		malloc_check();
	}
	testsrc_check_discarded();
}

/* The owner frees without ever running out of slots, so that others collect for it, and not seldom at the same moment. */
static void others_collect_for_a_thread_that_is_at_its_slabs_as_well(void **state)
{
	pthread_t threads[NR_FREEING];

	(void)state;
	for (unsigned round = 0; round < 30; round++) {
		size_t before = tcache_slab_bytes(tcache_get());
		void *own[NR_SPARSE];

		for (unsigned i = 0; i < NR_SPARSE; i++) {
			sparse[i] = stw_malloc(500);
			own[i] = stw_malloc(500);
		}
		start(threads, NR_FREEING, free_a_part);
		for (unsigned i = 0; i < NR_SPARSE; i++)
			stw_free(own[i]);
		join(threads, NR_FREEING);
		malloc_check();
		stw_malloc_trim(0);
		assert_true(tcache_slab_bytes(tcache_own) <= before + SLAB_BYTES_MAX);
	}
}

static void *alloc_in_thread(void *arg)
{
	(void)arg;
	return stw_malloc(1000);
}

static void others_allocate_and_free_while_a_fork_holds_the_arenas(void **state)
{
	void *mem = stw_malloc(100), *other;
	size_t used = stw_mallinfo2().uordblks, more;
	pthread_t t;

	(void)state;
	malloc_fork_prepare();
	pthread_create(&t, NULL, free_in_thread, mem);
	pthread_join(t, NULL);
	pthread_create(&t, NULL, alloc_in_thread, NULL);
	pthread_join(t, &other);
	assert_non_null(other);
	malloc_fork_parent();
	/* The free waited for us and came through. */
	stw_free(other);
	more = stw_mallinfo2().uordblks;
	assert_true(more < used + sizeof(struct arena) + PAGE_SIZE);
	mem = stw_realloc(stw_malloc(100), 200);
	stw_free(mem);
	malloc_check();
}

static int wait_for(pid_t pid)
{
	int status = -1;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static void child_main(unsigned seed)
{
	struct rand r;

	alarm(20);
	rand_seed(&r, seed);
	churn(&r, 300);
	empty_mailboxes();
	malloc_check();
	testsrc_check_discarded();
	_exit(0);
}

static void a_child_of_a_busy_program_has_a_sound_heap(void **state)
{
	pthread_t threads[4];

	(void)state;
	stop = false;
	start(threads, 4, churn_until_stop);
	for (unsigned i = 0; i < 25; i++) {
		malloc_fork_prepare();
		testsrc_fork_prepare();
		pid_t pid = fork();

		testsrc_fork_done();
		if (pid == 0) {
			malloc_fork_child();
			child_main(i + 1);
		}
		malloc_fork_parent();
		assert_int_equal(wait_for(pid), 0);
	}
	stop = true;
	join(threads, 4);
	empty_mailboxes();
	malloc_check();
}

static void *hold_main_arena(void *arg)
{
	require(arena_lock(&main_arena));
	atomic_store((_Atomic int *)arg, 1);
	while (atomic_load((_Atomic int *)arg) != 2)
		usleep(1000);
	arena_unlock(&main_arena);
	return NULL;
}

static void a_child_abandons_an_arena_whose_holder_stayed_behind(void **state)
{
	_Atomic int phase = 0;
	pthread_t t;
	uintptr_t fresh;
	void *mem;
	pid_t pid;

	(void)state;
	assert_true(arena_lock(&main_arena));
	mem = chunk_mem(arena_alloc(&main_arena, chunk_request(100), &fresh));
	arena_unlock(&main_arena);
	memset(mem, 7, 100);
	pthread_create(&t, NULL, hold_main_arena, &phase);
	while (atomic_load(&phase) == 0)
		usleep(1000);
	malloc_fork_prepare();
	pid = fork();
	if (pid == 0) {
		alarm(20);
		malloc_fork_child();
		require(main_arena.abandoned);
		/* The old block can be read, resized and freed, new ones come from elsewhere. */
		uint8_t *p = stw_realloc(mem, 1000);

		require(p != NULL && p != mem && p[0] == 7 && p[99] == 7);
		stw_free(p);
		stw_free(stw_malloc(10));
		malloc_check();
		_exit(0);
	}
	malloc_fork_parent();
	assert_int_equal(wait_for(pid), 0);
	atomic_store(&phase, 2);
	pthread_join(t, NULL);
	stw_free(mem);
	malloc_check();
}

static void fork_in_handler(int sig)
{
	pid_t pid;

	(void)sig;
	malloc_fork_prepare();
	pid = fork();
	if (pid == 0) {
		malloc_fork_child();
		stw_free(stw_malloc(100));
		_exit(0);
	}
	malloc_fork_parent();
	require(waitpid(pid, NULL, 0) == pid);
}

static void fork_in_a_handler_that_interrupted_malloc_does_not_hang(void **state)
{
	struct sigaction sa = { .sa_handler = fork_in_handler, .sa_flags = SA_RESTART }, old;
	struct rand r;

	(void)state;
	/* Plain pages: the test source's own mutex does not bear a handler. */
	malloc_set_source(&pagesrc_plain);
	rand_seed(&r, 3);
	sigaction(SIGALRM, &sa, &old);
	for (unsigned i = 0; i < 60; i++) {
		/* Once: the next must not come while fork is still busy with the last. */
		struct itimerval once = { { 0, 0 }, { 0, (suseconds_t)(1 + rand_below(&r, 1000)) } };

		setitimer(ITIMER_REAL, &once, NULL);
		churn(&r, 1000);
	}
	setitimer(ITIMER_REAL, &(struct itimerval){ 0 }, NULL);
	sigaction(SIGALRM, &old, NULL);
	empty_mailboxes();
	malloc_check();
}

static void *needs_a_cache(void *arg)
{
	stw_free(stw_malloc(100));
	return arg;
}

/* As in a program that opens the library while it runs, or whose libraries start threads. */
static void the_first_thread_of_all_may_be_any_and_end(void **state)
{
	struct tcache_count n;
	pthread_t t;

	(void)state;
	tcache_count(&n);
	assert_int_equal(n.threads, 0);
	pthread_create(&t, NULL, needs_a_cache, NULL);
	pthread_join(t, NULL);
	tcache_count(&n);
	assert_int_equal(n.threads, 0);
}

#define NR_OF_DEAD 20

static void *alloc_some(void *blocks)
{
	for (unsigned i = 0; i < NR_OF_DEAD; i++)
		((void **)blocks)[i] = stw_malloc(100);
	return NULL;
}

/* Returns how many wait in its outbox. */
static void *free_some(void *blocks)
{
	for (unsigned i = 0; i < NR_OF_DEAD; i++)
		stw_free(((void **)blocks)[i]);
	return (void *)outbox_slots(tcache_own, slot_class(100));
}

/* The only idle cache is the one that made the blocks: a thread that frees gets it in the middle of doing so. */
static void who_frees_may_get_the_cache_that_made_what_it_frees(void **state)
{
	void *blocks[NR_OF_DEAD], *waiting;
	pthread_t t;

	(void)state;
	pthread_create(&t, NULL, alloc_some, blocks);
	pthread_join(t, NULL);
	pthread_create(&t, NULL, free_some, blocks);
	pthread_join(t, &waiting);
	assert_null(waiting);
	malloc_check();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_first_thread_of_all_may_be_any_and_end),
		cmocka_unit_test(who_frees_may_get_the_cache_that_made_what_it_frees),
		cmocka_unit_test(threads_keep_their_bytes_and_free_each_others_blocks),
		cmocka_unit_test(what_another_thread_frees_comes_back_to_who_made_it),
		cmocka_unit_test(blocks_are_freed_while_their_slabs_are_dissolved),
		cmocka_unit_test(what_others_free_of_a_thread_that_sleeps_goes_back),
		cmocka_unit_test(others_collect_for_a_thread_that_is_at_its_slabs_as_well),
		cmocka_unit_test(others_allocate_and_free_while_a_fork_holds_the_arenas),
		cmocka_unit_test(a_child_of_a_busy_program_has_a_sound_heap),
		cmocka_unit_test(a_child_abandons_an_arena_whose_holder_stayed_behind),
		cmocka_unit_test(fork_in_a_handler_that_interrupted_malloc_does_not_hang),
	};
	return cmocka_run_group_tests(tests, testsrc_use, NULL);
}
