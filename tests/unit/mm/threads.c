/*
 * Handler, pager and program threads at once, for the thread sanitizer.
 *
 * The contract says what is done under the machine's lock and what on locked
 * frames without it (machine.h). Here the three parties of the live engine are
 * real threads over a simulated host, everything is compiled with
 * -fsanitize=thread, and a data race in mm/ or store/ ends the run:
 *
 *   program   four threads; each writes its own quarter of the pages, drops
 *             some of it, and reads everywhere
 *   handler   faults and drops, from a queue
 *   pager     kswapd_balance
 *
 * The host page's mutex stands for what the hardware and the kernel do: a page
 * is at its address or not, and moves at once.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>

#include "base/assert.h"
#include "base/rand.h"
#include "mm/machine.h"
#include "mm/reclaim/reclaim.h"
#include "store/file.h"
#include "store/zpool.h"

#define PROGRAMS 4
#define PAGES 1024
#define OWN (PAGES / PROGRAMS)
#define FRAMES 640
#define BASE 0x7f00000u
#define QUEUE 64
#define ACCESSES 4000
#define VM_BYTES (2 * MIB)
#define PATIENCE_S 60 /* longer than that nobody waits for a page, on any machine */

struct host_page {
	pthread_mutex_t lock;
	pthread_cond_t woken;
	uint64_t wakes;
	bool there;
	uint8_t bytes[PAGE_SIZE] __attribute__((aligned(64)));
};

struct message {
	unsigned page, n;  /* n 0: a fault; otherwise pages to forget */
	_Atomic bool *done;
};

static struct {
	struct machine m;
	struct mm mm;
	struct zpool zpool;
	struct file_store file;
	pthread_mutex_t lock;
	struct host_page page[PAGES];
	uint64_t counter[VM_COUNTER_NR];

	pthread_mutex_t queue_lock;
	pthread_cond_t queue_filled;
	struct message queue[QUEUE];
	unsigned queued;
	_Atomic bool stop, hopeless;
	_Atomic unsigned waits;
} w;

/* The contract. */

static struct host_page *page_at(vpn_t vpn)
{
	return &w.page[vpn.n - BASE];
}

static void wake_page(struct host_page *p)
{
	p->wakes++;
	pthread_cond_broadcast(&p->woken);
}

static int host_map(struct machine *m, struct mm *mm, vpn_t vpn, struct frame *const *frames, unsigned n, bool zero)
{
	(void)mm;
	for (unsigned i = 0; i < n; i++) {
		struct host_page *p = page_at((vpn_t){ vpn.n + i });
		uint8_t *home = frame_home(&m->phys, frames[i]);

		pthread_mutex_lock(&p->lock);
		bool there = p->there;

		if (!there) {
			if (zero)
				memset(p->bytes, 0, PAGE_SIZE);
			else
				memcpy(p->bytes, home, PAGE_SIZE);
			memset(home, 0xa7, PAGE_SIZE);
			p->there = true;
			wake_page(p);
		}
		pthread_mutex_unlock(&p->lock);
		if (there)
			return i > 0 ? (int)i : -EEXIST;
	}
	return (int)n;
}

static int host_unmap(struct machine *m, struct mm *mm, vpn_t vpn, struct frame *const *frames, unsigned n)
{
	(void)mm;
	for (unsigned i = 0; i < n; i++) {
		struct host_page *p = page_at((vpn_t){ vpn.n + i });

		pthread_mutex_lock(&p->lock);
		/* Every 50th time the page is pinned. */
		int err = !p->there ? -ENOENT : ++p->wakes % 50 == 0 ? -EBUSY : 0;

		if (err == 0) {
			memcpy(frame_home(&m->phys, frames[i]), p->bytes, PAGE_SIZE);
			p->there = false;
		}
		pthread_mutex_unlock(&p->lock);
		if (err != 0)
			return i > 0 ? (int)i : err;
	}
	return (int)n;
}

static void host_wake(struct machine *m, struct mm *mm, vpn_t vpn)
{
	struct host_page *p = page_at(vpn);

	(void)m;
	(void)mm;
	pthread_mutex_lock(&p->lock);
	wake_page(p);
	pthread_mutex_unlock(&p->lock);
}

static bool host_discardable(struct machine *m, struct mm *mm, vpn_t vpn)
{
	(void)m;
	(void)mm;
	(void)vpn;
	return false;
}

static void host_wake_kswapd(struct machine *m, unsigned node)
{
	(void)m;
	(void)node;
}

static void host_lock(struct machine *m)
{
	(void)m;
	pthread_mutex_lock(&w.lock);
}

static void host_unlock(struct machine *m)
{
	(void)m;
	pthread_mutex_unlock(&w.lock);
}

static void host_relax(struct machine *m)
{
	host_unlock(m);
	sched_yield();
	host_lock(m);
}

static const struct machine_ops ops = {
	.map = host_map,
	.unmap = host_unmap,
	.wake = host_wake,
	.discardable = host_discardable,
	.wake_kswapd = host_wake_kswapd,
	.lock = host_lock,
	.unlock = host_unlock,
	.relax = host_relax,
};

/* The program. A page holds zeros, or its number and a generation and words that follow from them. */

static void push(const struct message *msg)
{
	pthread_mutex_lock(&w.queue_lock);
	while (w.queued == QUEUE)
		pthread_cond_wait(&w.queue_filled, &w.queue_lock);
	w.queue[w.queued++] = *msg;
	pthread_cond_broadcast(&w.queue_filled);
	pthread_mutex_unlock(&w.queue_lock);
}

/* Returns with the page's lock held and the page at its address. */
static struct host_page *touch(unsigned index)
{
	struct host_page *p = &w.page[index];
	const struct message fault = { .page = index };

	pthread_mutex_lock(&p->lock);
	while (!p->there) {
		uint64_t before = p->wakes;
		struct timespec until;

		pthread_mutex_unlock(&p->lock);
		push(&fault);
		clock_gettime(CLOCK_REALTIME, &until);
		until.tv_sec += PATIENCE_S;
		pthread_mutex_lock(&p->lock);
		while (!p->there && p->wakes == before)
			ASSERT(pthread_cond_timedwait(&p->woken, &p->lock, &until) == 0);
	}
	return p;
}

static uint64_t word_at(unsigned index, uint64_t generation, unsigned i)
{
	/* Half of the pages compress well. */
	return generation * 0x9e3779b97f4a7c15u + index + (generation % 2 ? (uint64_t)i * i * 0xc2b2ae3d27d4eb4fu : 0);
}

static void write_page(unsigned index, uint64_t generation)
{
	struct host_page *p = touch(index);
	uint64_t *words = (uint64_t *)p->bytes;

	for (unsigned i = 1; i < PAGE_SIZE / 8; i++)
		words[i] = word_at(index, generation, i);
	words[0] = generation;
	pthread_mutex_unlock(&p->lock);
}

/* Returns the generation found, after comparing every word with it. */
static uint64_t read_page(unsigned index)
{
	struct host_page *p = touch(index);
	const uint64_t *words = (const uint64_t *)p->bytes;
	uint64_t generation = words[0];

	for (unsigned i = 1; i < PAGE_SIZE / 8; i++)
		ASSERT(words[i] == (generation == 0 ? 0 : word_at(index, generation, i)));
	pthread_mutex_unlock(&p->lock);
	return generation;
}

/* madvise(MADV_DONTNEED): the manager hears of it, then the pages go. */
static void drop_pages(unsigned start, unsigned n)
{
	_Atomic bool done = false;
	const struct message msg = { .page = start, .n = n, .done = &done };

	push(&msg);
	while (!atomic_load(&done))
		sched_yield();
	for (unsigned i = start; i < start + n; i++) {
		pthread_mutex_lock(&w.page[i].lock);
		w.page[i].there = false;
		pthread_mutex_unlock(&w.page[i].lock);
	}
}

static void *program_run(void *arg)
{
	unsigned self = (unsigned)(uintptr_t)arg, own = self * OWN, cursor = 0;
	uint64_t generation[OWN] = { 0 };
	struct rand r;

	rand_seed(&r, self);
	for (unsigned i = 1; i <= ACCESSES; i++) {
		unsigned k = (unsigned)rand_below(&r, OWN), n;

		switch (rand_below(&r, 8)) {
		case 0:
			read_page((unsigned)rand_below(&r, PAGES));
			break;
		case 1 ... 3:
			k = cursor = (cursor + 1) % OWN;
			ASSERT(read_page(own + k) == generation[k]);
			break;
		case 4:
			if (rand_below(&r, 30) != 0)
				break;
			n = 1 + (unsigned)rand_below(&r, MIN(OWN - k, 40));
			drop_pages(own + k, n);
			memset(&generation[k], 0, n * sizeof(generation[0]));
			break;
		default:
			generation[k] = i;
			write_page(own + k, i);
		}
	}
	for (unsigned k = 0; k < OWN; k++)
		ASSERT(read_page(own + k) == generation[k]);
	return NULL;
}

/* The handler. */

static bool pop(struct message *msg)
{
	pthread_mutex_lock(&w.queue_lock);
	while (w.queued == 0 && !atomic_load(&w.stop))
		pthread_cond_wait(&w.queue_filled, &w.queue_lock);
	bool got = w.queued > 0;

	if (got) {
		*msg = w.queue[0];
		memmove(&w.queue[0], &w.queue[1], --w.queued * sizeof(*msg));
		pthread_cond_broadcast(&w.queue_filled);
	}
	pthread_mutex_unlock(&w.queue_lock);
	return got;
}

static void serve(unsigned page)
{
	enum fault_result r;

	host_lock(&w.m);
	while ((r = mm_fault(&w.mm, (vpn_t){ BASE + page }, FAULT_ANY, NULL)) == FAULT_NOMEM) {
		ASSERT(!atomic_load(&w.hopeless));
		host_relax(&w.m);
	}
	ASSERT(r == FAULT_DONE || r == FAULT_WAIT || r == FAULT_RETRY);
	if (r == FAULT_WAIT)
		atomic_fetch_add(&w.waits, 1);
	if (r == FAULT_RETRY)
		host_wake(&w.m, &w.mm, (vpn_t){ BASE + page });
	host_unlock(&w.m);
}

static void *handler_run(void *arg)
{
	struct message msg;

	(void)arg;
	while (pop(&msg)) {
		if (msg.n == 0) {
			serve(msg.page);
			continue;
		}
		host_lock(&w.m);
		mm_drop(&w.mm, (vpn_t){ BASE + msg.page }, (vpn_t){ BASE + msg.page + msg.n });
		host_unlock(&w.m);
		atomic_store(msg.done, true);
	}
	return NULL;
}

/* The pager. */

static bool should_stop(void *ctx)
{
	(void)ctx;
	return atomic_load(&w.stop);
}

static void *pager_run(void *arg)
{
	const struct timespec tick = { .tv_nsec = 100000 };

	(void)arg;
	while (!atomic_load(&w.stop)) {
		host_lock(&w.m);
		if (kswapd_balance(&w.m, 0, should_stop, NULL) != 0)
			atomic_store(&w.hopeless, true);
		mm_check(&w.mm);
		host_unlock(&w.m);
		nanosleep(&tick, NULL);
	}
	return NULL;
}

static void *memory(size_t bytes)
{
	void *p = aligned_alloc(PAGE_SIZE, ALIGN_UP(bytes, PAGE_SIZE));

	assert_non_null(p);
	return memset(p, 0, ALIGN_UP(bytes, PAGE_SIZE));
}

static void machine_make(void)
{
	static const struct phys_zone_config zone = { .name = "Normal", .spanned = FRAMES };
	size_t work = zpool_work_bytes(ZPOOL_LZ4), cap = PAGES * PAGE_SIZE;
	uint64_t vm = (uint64_t)(uintptr_t)memory(VM_BYTES);
	int fd = file_store_open("/tmp");

	pthread_mutex_init(&w.lock, NULL);
	pthread_mutex_init(&w.queue_lock, NULL);
	pthread_cond_init(&w.queue_filled, NULL);
	for (unsigned i = 0; i < PAGES; i++) {
		pthread_mutex_init(&w.page[i].lock, NULL);
		pthread_cond_init(&w.page[i].woken, NULL);
	}
	phys_init(&w.m.phys, memory(FRAMES * PAGE_SIZE), memory(FRAMES * sizeof(struct frame)), FRAMES, &zone, 1, NULL);
	w.m.phys.min_free_kbytes = 256;
	phys_online(&w.m.phys, (pfn_t){ 0 }, FRAMES);
	assert_int_equal(machine_init(&w.m, &ops, NULL, w.counter, vm, vm + VM_BYTES), 0);
	w.m.gather = true;
	assert_int_equal(zpool_init(&w.zpool, &w.m.phys, ZPOOL_LZ4, memory(work), work), 0);
	w.zpool.store.max_frames = 60;
	assert_true(fd >= 0);
	assert_int_equal(file_store_init(&w.file, fd, 0, cap, memory(slots_bytes(cap)), slots_bytes(cap)), 0);
	swap_add_area(&w.m.swap, &w.zpool.store, 100, 0, false);
	swap_add_area(&w.m.swap, &w.file.slots.store, 50, 0, true);
	assert_int_equal(mm_init(&w.mm, &w.m), 0);
	assert_int_equal(mm_map(&w.mm, (vpn_t){ BASE }, (vpn_t){ BASE + PAGES }, VMA_READ | VMA_WRITE, NULL, 0), 0);
}

static void handler_pager_and_program_race_for_nothing(void **state)
{
	pthread_t program[PROGRAMS], handler, pager;

	(void)state;
	machine_make();
	pthread_create(&handler, NULL, handler_run, NULL);
	pthread_create(&pager, NULL, pager_run, NULL);
	for (uintptr_t i = 0; i < PROGRAMS; i++)
		pthread_create(&program[i], NULL, program_run, (void *)i);
	for (unsigned i = 0; i < PROGRAMS; i++)
		pthread_join(program[i], NULL);
	atomic_store(&w.stop, true);
	pthread_mutex_lock(&w.queue_lock);
	pthread_cond_broadcast(&w.queue_filled);
	pthread_mutex_unlock(&w.queue_lock);
	pthread_join(handler, NULL);
	pthread_join(pager, NULL);

	mm_check(&w.mm);
	zpool_check(&w.zpool);
	slots_check(&w.file.slots);
	assert_true(w.counter[VM_pgmajfault] > 500 && w.counter[VM_pgsteal_kswapd] > 500);
	assert_true(w.file.slots.written > 0 && atomic_load(&w.waits) > 0);
	mm_destroy(&w.mm);
	assert_int_equal(swap_used(&w.m.swap), 0);
	phys_check(&w.m.phys);
}

static void failed(const char *file, int line, const char *what)
{
	fprintf(stderr, "# %s:%d: %s\n", file, line, what);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(handler_pager_and_program_race_for_nothing),
	};

	assert_fail_hook = failed;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
