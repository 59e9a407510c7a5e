#include "store/kcompressd.h"

#include <errno.h>
#include <linux/futex.h>
#include <string.h>
#include <sys/mman.h>

#include "base/assert.h"
#include "base/hash.h"
#include "base/sys.h"

#define GRAB 4              /* entries that the helper takes at once: one system call, and what end waits for at most */
#define PATIENCE_SPINS 300  /* of one end, for pages that the helper is at: some 20 µs, which it needs for GRAB of them */
#define IDLE_SPINS 50       /* of the helper before it sleeps: 3 µs; spinning for longer was no faster, and slows a sibling CPU down */

static void look(struct kcompressd_entry *e, struct zcodec *codec, const void *page)
{
	e->same = page_same(page, &e->word);
	e->hash = hash_page(page);
	e->bytes = e->same ? 0 : zcodec_compress(codec, e->packed, page);
}

static bool entry_move(struct kcompressd_entry *e, uint32_t from, uint32_t to)
{
	return atomic_compare_exchange_strong(&e->state, &from, to);
}

/* The program's side. */

static void wake(struct kcompressd *k)
{
	if (atomic_load(&k->awake) == 0 && atomic_exchange(&k->awake, 1) == 0)
		sys_futex((uint32_t *)&k->awake, FUTEX_WAKE, 1, NULL, NULL, 0);
}

void kcompressd_attach(struct kcompressd_user *u, struct kcompressd *k, unsigned ring, int pid, struct zcodec *codec)
{
	*u = (struct kcompressd_user){ .shared = k, .ring = ring, .pid = pid, .codec = codec };
	atomic_store(&k->ring[ring].refused, 0);
}

void kcompressd_begin(struct kcompressd_user *u, void *const *page, uint8_t *ticket, unsigned n)
{
	struct kcompressd_ring *ring = &u->shared->ring[u->ring];
	unsigned first = u->next * KCOMPRESSD_BATCH;

	DEBUG_ASSERT(n <= KCOMPRESSD_BATCH);
	memset(ticket, KCOMPRESSD_NONE, n);
	if (atomic_load_explicit(&ring->refused, memory_order_relaxed) == u->pid)
		return;
	u->next = (u->next + 1) % KCOMPRESSD_BATCHES;
	for (unsigned i = 0; i < n; i++) {
		struct kcompressd_entry *e = &ring->entry[first + i];

		/* Left by the image before exec. */
		entry_move(e, KCOMPRESSD_QUEUED, KCOMPRESSD_IDLE);
		/* Given up by end, and the helper is still at it. */
		if (atomic_load(&e->state) == KCOMPRESSD_BUSY)
			continue;
		e->address = (uint64_t)(uintptr_t)page[i];
		ticket[i] = (uint8_t)(first + i);
		atomic_store(&e->state, KCOMPRESSD_QUEUED);
	}
	atomic_fetch_or(&u->shared->pending, (uint64_t)1 << u->ring);
	wake(u->shared);
}

static const struct kcompressd_entry *entry_end(struct kcompressd_user *u, struct kcompressd_entry *e, unsigned *patience)
{
	if (entry_move(e, KCOMPRESSD_QUEUED, KCOMPRESSD_IDLE)) {
		look(e, u->codec, (const void *)(uintptr_t)e->address);
		return e;
	}
	for (; *patience > 0 && atomic_load(&e->state) == KCOMPRESSD_BUSY; --*patience)
		__builtin_ia32_pause();
	return entry_move(e, KCOMPRESSD_DONE, KCOMPRESSD_IDLE) ? e : NULL;
}

void kcompressd_end(struct kcompressd_user *u, const uint8_t *ticket, const struct kcompressd_entry **result, unsigned n)
{
	struct kcompressd_ring *ring = &u->shared->ring[u->ring];
	unsigned patience = PATIENCE_SPINS;

	/* From the end that the helper comes to last. */
	for (unsigned i = n; i-- > 0;)
		result[i] = ticket[i] != KCOMPRESSD_NONE ? entry_end(u, &ring->entry[ticket[i]], &patience) : NULL;
}

/* The helper's side. */

/* Takes up to GRAB queued entries of the ring. */
static unsigned grab(struct kcompressd_ring *ring, struct kcompressd_entry **e)
{
	unsigned n = 0;

	/* From where it stopped: what was queued first is wanted first. */
	for (unsigned i = 0; i < KCOMPRESSD_ENTRIES && n < GRAB; i++) {
		struct kcompressd_entry *next = &ring->entry[ring->hand % KCOMPRESSD_ENTRIES];

		if (atomic_load_explicit(&next->state, memory_order_relaxed) == KCOMPRESSD_QUEUED &&
		    entry_move(next, KCOMPRESSD_QUEUED, KCOMPRESSD_BUSY))
			e[n++] = next;
		else if (n > 0)
			break;
		ring->hand++;
	}
	return n;
}

/* Reads the pages out of the process. False: it does not let us, or is gone. */
static bool fetch(int pid, struct kcompressd_entry *const *e, unsigned n, uint8_t *pages)
{
	struct iovec to = { .iov_base = pages, .iov_len = n * PAGE_SIZE }, from[GRAB];

	for (unsigned i = 0; i < n; i++)
		from[i] = (struct iovec){ .iov_base = (void *)(uintptr_t)e[i]->address, .iov_len = PAGE_SIZE };
	return sys_process_vm_readv(pid, &to, 1, from, n) == (ssize_t)(n * PAGE_SIZE);
}

/* Returns whether there was anything to do. */
static bool serve(struct kcompressd_ring *ring, int pid, struct zcodec *codec)
{
	static uint8_t pages[GRAB * PAGE_SIZE] __attribute__((aligned(64)));
	struct kcompressd_entry *e[GRAB];
	unsigned n = grab(ring, e);
	bool got = n > 0 && fetch(pid, e, n, pages);

	if (n > 0 && !got)
		atomic_store(&ring->refused, pid);
	for (unsigned i = 0; i < n; i++) {
		if (got)
			look(e[i], codec, pages + i * PAGE_SIZE);
		atomic_store(&e[i]->state, got ? KCOMPRESSD_DONE : KCOMPRESSD_IDLE);
	}
	return n > 0;
}

static void doze(struct kcompressd *k)
{
	atomic_store(&k->awake, 0);
	/* Who queues something first says so and then looks whether we are awake. */
	if (atomic_load(&k->pending) == 0 && atomic_load(&k->stop) == 0)
		sys_futex((uint32_t *)&k->awake, FUTEX_WAIT, 0, NULL, NULL, 0);
	atomic_store(&k->awake, 1);
}

void kcompressd_run(struct kcompressd *k, enum zpool_codec codec, void *work, size_t work_bytes,
		    int (*pid)(void *ctx, unsigned ring), void *ctx)
{
	struct zcodec c;
	unsigned idle = 0;

	if (zcodec_init(&c, codec, work, work_bytes) != 0)
		return;
	while (atomic_load(&k->stop) == 0) {
		uint64_t pending = atomic_load(&k->pending);

		if (pending == 0) {
			__builtin_ia32_pause();
			if (++idle > IDLE_SPINS) {
				doze(k);
				idle = 0;
			}
			continue;
		}
		unsigned ring = (unsigned)__builtin_ctzll(pending);

		atomic_fetch_and(&k->pending, ~((uint64_t)1 << ring));
		while (serve(&k->ring[ring], pid(ctx, ring), &c))
			idle = 0;
	}
}

void kcompressd_stop(struct kcompressd *k)
{
	atomic_store(&k->stop, 1);
	wake(k);
}

void kcompressd_forget(struct kcompressd *k, unsigned ring)
{
	struct kcompressd_entry *e = k->ring[ring].entry;

	for (unsigned i = 0; i < KCOMPRESSD_ENTRIES; i++)
		entry_move(&e[i], KCOMPRESSD_QUEUED, KCOMPRESSD_IDLE);
	/*
	 * Nothing is queued any more, so the helper takes none. What it is at has to stay BUSY: to whoever comes next an
	 * entry without that would look free, and then get the result of a page that is not its own.
	 */
	for (unsigned i = 0; i < KCOMPRESSD_ENTRIES; i++)
		if (atomic_load(&e[i].state) == KCOMPRESSD_BUSY)
			return;
	sys_madvise(&k->ring[ring], sizeof(k->ring[ring]), MADV_REMOVE);
}
