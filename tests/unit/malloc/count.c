/* malloc/count.h: what is counted of the heap is what the blocks that a program has add up to. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/rand.h"
#include "malloc/control.h"
#include "malloc/count.h"
#include "malloc/heapstat.h"
#include "steward/malloc.h"
#include "testsrc.h"

#define NR_THREADS 4
#define NR_BLOCKS 4000 /* of each thread */
#define STEPS 40000

/* Any thread may free what another one has put here. */
static void *_Atomic block[NR_THREADS * NR_BLOCKS];

static size_t size_of_any(struct rand *r)
{
	switch (rand_below(r, 100)) {
	case 0:
		return rand_below(r, 300000);
	case 1 ... 4:
		return rand_below(r, 40000);
	default:
		return rand_below(r, rand_below(r, 4) == 0 ? SLOT_MAX : 300) + 1;
	}
}

static void *churn(void *arg)
{
	struct rand r;

	rand_seed(&r, (uintptr_t)arg);
	for (unsigned i = 0; i < STEPS; i++)
		stw_free(atomic_exchange(&block[rand_below(&r, NR_THREADS * NR_BLOCKS)],
					 rand_below(&r, 3) == 0 ? NULL : stw_malloc(size_of_any(&r))));
	for (unsigned looks = 0; looks < 2; looks++)
		tcache_dissolve(tcache_own, 1);
	return NULL;
}

static void free_all(void)
{
	for (unsigned i = 0; i < NR_THREADS * NR_BLOCKS; i++)
		stw_free(atomic_exchange(&block[i], NULL));
}

/* Counts may be a little below 0. */
static void assert_about(uint64_t got, uint64_t want, uint64_t tolerance)
{
	assert_in_range(got - want + tolerance, 0, 2 * tolerance);
}

static struct heap_counts before;

/* Blocks of a class among ours. */
static void sum_up(uint64_t slots[NR_CLASSES], uint64_t *large)
{
	for (unsigned class = 0; class < NR_CLASSES; class++)
		slots[class] = before.class[class].used;
	*large = 0;
	for (unsigned i = 0; i < NR_THREADS * NR_BLOCKS; i++) {
		void *mem = atomic_load(&block[i]);
		size_t usable = stw_malloc_usable_size(mem);

		if (mem != NULL && slab_of_slot(mem) != NULL) /* else made in a hole between the blocks of a dissolved slab, or large */
			slots[slot_class(usable)]++;
		else
			*large += usable;
	}
}

static int churn_in_threads(void **unused)
{
	pthread_t thread[NR_THREADS];

	(void)unused;
	stw_free(stw_malloc(1)); /* the first cache is for the thread that does not end */
	stw_malloc_trim(0);
	before = *counts;
	for (unsigned i = 0; i < NR_THREADS; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, churn, (void *)(uintptr_t)(i + 1)), 0);
	for (unsigned i = 0; i < NR_THREADS; i++)
		pthread_join(thread[i], NULL);
	return 0;
}

static int forget_blocks(void **unused)
{
	(void)unused;
	free_all();
	return 0;
}

/* Without that, nothing more than what the stacks of idle caches hold is missing. */
static void small_blocks_are_known_up_to_what_caches_hold(void **state)
{
	uint64_t slots[NR_CLASSES], large;

	(void)state;
	sum_up(slots, &large);
	for (unsigned class = 0; class < NR_CLASSES; class++)
		assert_about(counts->class[class].used, slots[class],
			     (NR_THREADS + 1) * MIN(STACK_BYTES / class_bytes(class), (size_t)STACK_SLOTS_MAX));
}

static void when_caches_are_empty_each_class_has_the_blocks_of_its_size(void **state)
{
	uint64_t slots[NR_CLASSES], large;

	(void)state;
	stw_malloc_trim(0);
	sum_up(slots, &large);
	for (unsigned class = 0; class < NR_CLASSES; class++)
		assert_int_equal(counts->class[class].used, slots[class]);
}

static void it_is_what_a_walk_over_the_heap_finds(void **state)
{
	static struct heap_stat walked;
	uint64_t free_slots = 0;

	(void)state;
	stw_malloc_trim(0);
	heap_stat(&walked);
	for (unsigned class = 0; class < NR_CLASSES; class++) {
		assert_int_equal(counts->class[class].slots, walked.sum.classes[class].slots);
		assert_int_equal(counts->class[class].used, heap_slots_used(&walked, class));
		free_slots += (counts->class[class].slots - counts->class[class].used) * class_bytes(class);
	}
	assert_about(counts->heaps, walked.sum.bytes, walked.arenas * COUNT_STEP);
	assert_about(counts->free + free_slots, walked.sum.free_bytes, walked.arenas * COUNT_STEP);
	assert_about(counts->cached, 0, (NR_THREADS + 1) * COUNT_STEP);
	assert_int_equal(counts->mapped, walked.mapped_bytes);
	assert_int_equal(counts->meta, walked.meta_bytes);
}

static void large_blocks_are_in_it(void **state)
{
	uint64_t slots[NR_CLASSES], large, slabs = 0, used, was;

	(void)state;
	stw_malloc_trim(0);
	sum_up(slots, &large);
	for (unsigned class = 0; class < NR_CLASSES; class++)
		slabs += (counts->class[class].slots - before.class[class].slots) * class_bytes(class);
	was = before.heaps + before.mapped - before.free;
	used = counts->heaps + counts->mapped - counts->free - was;
	/* Heads of chunks, ends of slabs and of mapped pages, new arenas. */
	assert_about(used, (large + slabs) / 16 * 17, (large + slabs) / 16 + NR_THREADS * (2 * sizeof(struct arena) + COUNT_STEP));
}

static void freed_chunks_that_wait_for_their_thread_are_counted_when_it_looks_for_another(void **state)
{
	void *mem[4], *much[40];

	(void)state;
	/* What waits is a small part of the arena at most. */
	for (unsigned i = 0; i < ARRAY_SIZE(much); i++)
		much[i] = stw_malloc(100000);
	stw_malloc_trim(0);
	for (unsigned i = 0; i < 4; i++)
		mem[i] = stw_malloc(20000);
	for (unsigned i = 0; i < 4; i++)
		stw_free(mem[i]);
	mem[0] = stw_malloc(40000);
	assert_about(counts->cached, 4 * 20000, 4 * 20000 / 4 + COUNT_STEP);
	stw_free(mem[0]);
	for (unsigned i = 0; i < ARRAY_SIZE(much); i++)
		stw_free(much[i]);
}

/* 0: what it counts is its own. */
static int in_child(struct heap_counts *shared)
{
	struct heap_counts *parents = counts;
	uint64_t used = shared->class[3].used;

	malloc_fork_child();
	if (counts == parents)
		return 1;
	malloc_count_in(shared + 1);
	for (unsigned i = 0; i < 1000; i++)
		if (stw_malloc(64) == NULL)
			return 2;
	stw_malloc_trim(0);
	if (shared->class[3].used != used)
		return 3;
	return shared[1].class[3].used == used + 1000 ? 0 : 4;
}

static void a_child_counts_apart_and_from_what_its_parent_had(void **state)
{
	struct heap_counts *shared = mmap(NULL, 2 * sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int status;

	(void)state;
	assert_ptr_not_equal(shared, MAP_FAILED);
	stw_malloc_trim(0);
	malloc_count_in(&shared[0]);
	malloc_fork_prepare();
	testsrc_fork_prepare();

	pid_t pid = fork();

	testsrc_fork_done();
	if (pid == 0)
		_exit(in_child(shared));
	malloc_fork_parent();
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(small_blocks_are_known_up_to_what_caches_hold, churn_in_threads, forget_blocks),
		cmocka_unit_test_setup_teardown(when_caches_are_empty_each_class_has_the_blocks_of_its_size, churn_in_threads,
						forget_blocks),
		cmocka_unit_test_setup_teardown(it_is_what_a_walk_over_the_heap_finds, churn_in_threads, forget_blocks),
		cmocka_unit_test_setup_teardown(large_blocks_are_in_it, churn_in_threads, forget_blocks),
		cmocka_unit_test(freed_chunks_that_wait_for_their_thread_are_counted_when_it_looks_for_another),
		cmocka_unit_test(a_child_counts_apart_and_from_what_its_parent_had),
	};

	return cmocka_run_group_tests_name("malloc/count", tests, testsrc_use, NULL);
}
