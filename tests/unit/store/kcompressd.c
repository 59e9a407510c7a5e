/*
 * store/kcompressd: whatever the helper does, or does not do, what comes back is what the page holds. The helper is a
 * thread here, and reads this process as it would read another. Built twice: as it is, and with the thread sanitizer.
 */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/hash.h"
#include "pages.h"
#include "store/kcompressd.h"

#define RING 5

static struct kcompressd *shared;
static pthread_t thread;
static _Atomic int helped_pid;

static struct fixture {
	struct kcompressd_user user;
	struct zcodec codec;
	struct rand r;
	void *work;
	uint8_t *pages; /* of all batches */
	uint8_t ticket[KCOMPRESSD_BATCHES][KCOMPRESSD_BATCH];
	unsigned by_helper; /* results that were there before anybody asked */
} f;

static void *work_memory(size_t *bytes)
{
	*bytes = ALIGN_UP(zcodec_work_bytes(ZPOOL_LZ4), 64);
	return aligned_alloc(64, *bytes);
}

static int pid_of(void *ctx, unsigned ring)
{
	(void)ctx;
	assert_int_equal(ring, RING);
	return helped_pid;
}

static void *helper(void *arg)
{
	size_t bytes;
	void *work = work_memory(&bytes);

	(void)arg;
	kcompressd_run(shared, ZPOOL_LZ4, work, bytes, pid_of, NULL);
	free(work);
	return NULL;
}

static void setup(void)
{
	size_t bytes;

	memset(&f, 0, sizeof(f));
	helped_pid = getpid();
	rand_seed(&f.r, 11);
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(shared, MAP_FAILED);
	f.work = work_memory(&bytes);
	assert_int_equal(zcodec_init(&f.codec, ZPOOL_LZ4, f.work, bytes), 0);
	f.pages = aligned_alloc(PAGE_SIZE, KCOMPRESSD_ENTRIES * PAGE_SIZE);
	kcompressd_attach(&f.user, shared, RING, helped_pid, &f.codec);
}

static void teardown(void)
{
	free(f.pages);
	free(f.work);
	munmap(shared, sizeof(*shared));
}

static void helper_start(int pid)
{
	helped_pid = pid;
	kcompressd_attach(&f.user, shared, RING, pid, &f.codec);
	assert_int_equal(pthread_create(&thread, NULL, helper, NULL), 0);
}

static void helper_stop(void)
{
	kcompressd_stop(shared);
	pthread_join(thread, NULL);
}

static uint8_t *page_at(unsigned batch, unsigned i)
{
	return f.pages + (batch * KCOMPRESSD_BATCH + i) * PAGE_SIZE;
}

/* One repeated word, noise, or something between. */
static void fill(uint8_t *page)
{
	uint64_t word = rand_u64(&f.r);

	switch (rand_below(&f.r, 4)) {
	case 0:
		for (unsigned i = 0; i < PAGE_SIZE; i += 8)
			memcpy(page + i, &word, 8);
		break;
	case 1: page_make(&f.r, page, PAGE_SIZE); break;
	default: page_make(&f.r, page, rand_below(&f.r, PAGE_SIZE / 2)); break;
	}
}

static void begin(unsigned batch)
{
	void *page[KCOMPRESSD_BATCH];

	for (unsigned i = 0; i < KCOMPRESSD_BATCH; i++)
		fill(page[i] = page_at(batch, i));
	kcompressd_begin(&f.user, page, f.ticket[batch], KCOMPRESSD_BATCH);
}

/* What the entry says is true of the page. */
static void check(const struct kcompressd_entry *e, const uint8_t *page)
{
	uint8_t expected[ZCODEC_MAX], back[PAGE_SIZE];
	uint64_t word = 0;

	assert_int_equal(e->hash, hash_page(page));
	assert_int_equal(e->same, page_same(page, &word));
	if (e->same) {
		assert_int_equal(e->word, word);
		return;
	}
	assert_int_equal(e->bytes, zcodec_compress(&f.codec, expected, page));
	if (e->bytes == -E2BIG)
		return;
	assert_int_equal(zcodec_decompress(&f.codec, back, e->packed, (size_t)e->bytes), 0);
	assert_memory_equal(back, page, PAGE_SIZE);
}

static unsigned count_done(unsigned batch)
{
	unsigned n = 0;

	for (unsigned i = 0; i < KCOMPRESSD_BATCH; i++)
		n += f.ticket[batch][i] != KCOMPRESSD_NONE &&
		     atomic_load(&shared->ring[RING].entry[f.ticket[batch][i]].state) == KCOMPRESSD_DONE;
	return n;
}

/* However busy the machine is, the helper gets there. Returns how many pages it had. */
static unsigned wait_for_helper(unsigned batch)
{
	unsigned queued = 0;

	for (unsigned i = 0; i < KCOMPRESSD_BATCH; i++)
		queued += f.ticket[batch][i] != KCOMPRESSD_NONE;
	for (unsigned i = 0; count_done(batch) < queued; i++) {
		assert_true(i < 20000);
		usleep(1000);
	}
	return queued;
}

/* Returns how many of the batch have a result; each is right. */
static unsigned end(unsigned batch)
{
	const struct kcompressd_entry *result[KCOMPRESSD_BATCH];
	unsigned n = 0;

	f.by_helper += count_done(batch);
	kcompressd_end(&f.user, f.ticket[batch], result, KCOMPRESSD_BATCH);
	for (unsigned i = 0; i < KCOMPRESSD_BATCH; i++)
		if (result[i] != NULL) {
			check(result[i], page_at(batch, i));
			n++;
		}
	return n;
}

static void without_a_helper_the_user_does_it(void **state)
{
	(void)state;
	setup();
	for (unsigned round = 0; round < 3; round++) {
		for (unsigned b = 0; b < KCOMPRESSD_BATCHES; b++)
			begin(b);
		for (unsigned b = 0; b < KCOMPRESSD_BATCHES; b++)
			assert_int_equal(end(b), KCOMPRESSD_BATCH);
	}
	assert_int_equal(f.by_helper, 0);
	teardown();
}

static void helper_and_user_share_the_work(void **state)
{
	const unsigned rounds = 3000;
	unsigned have = 0, waited = 0;

	(void)state;
	setup();
	helper_start(getpid());
	for (unsigned b = 0; b < KCOMPRESSD_BATCHES; b++)
		begin(b);
	for (unsigned i = 0; i < rounds; i++) {
		unsigned b = i % KCOMPRESSD_BATCHES;

		/* Sometimes it has all the time it needs, and goes to sleep after it. */
		if (i % 100 == 0)
			waited += wait_for_helper(b);
		have += end(b);
		begin(b);
	}
	for (unsigned b = 0; b < KCOMPRESSD_BATCHES; b++)
		end(b);
	/* Of the others those are missing that the helper was at, and interrupted: on a busy machine there may be many. */
	assert_true(f.by_helper >= waited && have >= f.by_helper - KCOMPRESSD_ENTRIES);
	helper_stop();
	teardown();
}

static void a_process_that_may_not_be_read_does_without(void **state)
{
	(void)state;
	setup();
	/* No process has this number (PID_MAX_LIMIT is 2^22). */
	helper_start(1 << 30);
	begin(0);
	for (unsigned i = 0; atomic_load(&shared->ring[RING].refused) == 0; i++) {
		assert_true(i < 10000);
		usleep(1000);
	}
	end(0);
	/* Nothing is queued any more. */
	begin(1);
	for (unsigned i = 0; i < KCOMPRESSD_BATCH; i++)
		assert_int_equal(f.ticket[1][i], KCOMPRESSD_NONE);
	assert_int_equal(end(1), 0);
	assert_int_equal(f.by_helper, 0);
	/* The next image in this slot gets its own chance. */
	helped_pid = getpid();
	kcompressd_attach(&f.user, shared, RING, helped_pid, &f.codec);
	begin(0);
	assert_int_equal(wait_for_helper(0), KCOMPRESSD_BATCH);
	end(0);
	assert_int_equal(f.by_helper, KCOMPRESSD_BATCH);
	helper_stop();
	teardown();
}

static void an_entry_that_the_helper_does_not_give_back_is_not_used_again(void **state)
{
	struct kcompressd_entry *stuck;

	(void)state;
	setup();
	begin(0);
	stuck = &shared->ring[RING].entry[f.ticket[0][3]];
	/* As if the helper had been stopped in the middle of it. */
	atomic_store(&stuck->state, KCOMPRESSD_BUSY);
	assert_int_equal(end(0), KCOMPRESSD_BATCH - 1);
	for (unsigned b = 1; b < KCOMPRESSD_BATCHES; b++) {
		begin(b);
		assert_int_equal(end(b), KCOMPRESSD_BATCH);
	}
	begin(0);
	assert_int_equal(f.ticket[0][3], KCOMPRESSD_NONE);
	assert_int_equal(end(0), KCOMPRESSD_BATCH - 1);
	/* It goes on, and is through with it. */
	atomic_store(&stuck->state, KCOMPRESSD_DONE);
	for (unsigned b = 1; b < KCOMPRESSD_BATCHES; b++) {
		begin(b);
		end(b);
	}
	begin(0);
	assert_int_not_equal(f.ticket[0][3], KCOMPRESSD_NONE);
	assert_int_equal(end(0), KCOMPRESSD_BATCH);
	teardown();
}

static void what_an_old_image_queued_is_forgotten(void **state)
{
	(void)state;
	setup();
	for (unsigned b = 0; b < KCOMPRESSD_BATCHES; b++)
		begin(b);
	/* exec: the ring stays as it is, the pages are gone. */
	memset(f.pages, 0, KCOMPRESSD_ENTRIES * PAGE_SIZE);
	kcompressd_attach(&f.user, shared, RING, helped_pid, &f.codec);
	for (unsigned b = 0; b < KCOMPRESSD_BATCHES; b++)
		begin(b);
	for (unsigned b = 0; b < KCOMPRESSD_BATCHES; b++)
		assert_int_equal(end(b), KCOMPRESSD_BATCH);
	teardown();
}

static unsigned count_resident(void)
{
	unsigned char there[sizeof(struct kcompressd_ring) / PAGE_SIZE];
	unsigned n = 0;

	assert_int_equal(mincore(&shared->ring[RING], sizeof(struct kcompressd_ring), there), 0);
	for (unsigned i = 0; i < ARRAY_SIZE(there); i++)
		n += there[i] & 1;
	return n;
}

/* A process dies, and another one gets its ring, while the helper is at a page of the first. */
static void what_the_helper_makes_of_the_dead_is_nobodys_result(void **state)
{
	struct kcompressd_entry *held;

	(void)state;
	setup();
	begin(0);
	held = &shared->ring[RING].entry[f.ticket[0][3]];
	/* The helper takes an entry, reads its page, and loses the CPU. */
	atomic_store(&held->state, KCOMPRESSD_BUSY);
	held->same = page_same(page_at(0, 3), &held->word);
	held->hash = hash_page(page_at(0, 3));
	held->bytes = held->same ? 0 : zcodec_compress(&f.codec, held->packed, page_at(0, 3));
	kcompressd_forget(shared, RING);
	kcompressd_attach(&f.user, shared, RING, helped_pid, &f.codec);
	begin(0);
	/* It goes on, and is through with it. */
	atomic_store(&held->state, KCOMPRESSD_DONE);
	assert_int_equal(end(0), KCOMPRESSD_BATCH - 1);
	for (unsigned b = 1; b < KCOMPRESSD_BATCHES; b++) {
		begin(b);
		assert_int_equal(end(b), KCOMPRESSD_BATCH);
	}
	/* What is DONE is free for the next one. */
	begin(0);
	assert_int_equal(end(0), KCOMPRESSD_BATCH);
	teardown();
}

static void a_dead_process_leaves_nothing_to_do_and_takes_no_memory(void **state)
{
	(void)state;
	setup();
	for (unsigned b = 0; b < KCOMPRESSD_BATCHES; b++)
		begin(b);
	/* While the helper is at one: the others are not read out of whoever has that number next. */
	atomic_store(&shared->ring[RING].entry[7].state, KCOMPRESSD_BUSY);
	kcompressd_forget(shared, RING);
	for (unsigned i = 0; i < KCOMPRESSD_ENTRIES; i++)
		assert_int_equal(atomic_load(&shared->ring[RING].entry[i].state), i == 7 ? KCOMPRESSD_BUSY : KCOMPRESSD_IDLE);
	assert_true(count_resident() > 0);
	atomic_store(&shared->ring[RING].entry[7].state, KCOMPRESSD_DONE);
	kcompressd_forget(shared, RING);
	assert_int_equal(count_resident(), 0);
	teardown();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_a_helper_the_user_does_it),
		cmocka_unit_test(helper_and_user_share_the_work),
		cmocka_unit_test(a_process_that_may_not_be_read_does_without),
		cmocka_unit_test(an_entry_that_the_helper_does_not_give_back_is_not_used_again),
		cmocka_unit_test(what_an_old_image_queued_is_forgotten),
		cmocka_unit_test(what_the_helper_makes_of_the_dead_is_nobodys_result),
		cmocka_unit_test(a_dead_process_leaves_nothing_to_do_and_takes_no_memory),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
