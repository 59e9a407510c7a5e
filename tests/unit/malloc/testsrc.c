#include "testsrc.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "malloc/arena.h"
#include "malloc/control.h"

#define RANGE_ALIGN ((size_t)32 << 20)
#define BRK_PAGES ((size_t)1 << 18)   /* 1 GiB */
#define MAP_PAGES ((size_t)1 << 20)   /* 4 GiB */
#define NR_PAGES (BRK_PAGES + MAP_PAGES)

enum { PAGE_NONE, PAGE_ALIVE, PAGE_DEAD, PAGE_GUARD };

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static uint8_t *base;
static uint8_t state[NR_PAGES];
static size_t brk_bytes, map_hint = BRK_PAGES;
static uint64_t fail_nth;
static bool fail_forever, has_failed, brk_refused;

static void require(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "testsrc: %s\n", what);
	abort();
}

static void lock(void)
{
	pthread_mutex_lock(&mutex);
	if (base == NULL) {
		uint8_t *p = mmap(NULL, NR_PAGES * PAGE_SIZE + RANGE_ALIGN, PROT_NONE,
				  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

		require(p != MAP_FAILED, "no address space");
		base = (uint8_t *)ALIGN_UP((uintptr_t)p, RANGE_ALIGN);
	}
}

static void unlock(void)
{
	pthread_mutex_unlock(&mutex);
}

static size_t page_of(const void *addr)
{
	size_t offset = (size_t)((const uint8_t *)addr - base);

	require(offset % PAGE_SIZE == 0 && offset / PAGE_SIZE < NR_PAGES, "not a page of this source");
	return offset / PAGE_SIZE;
}

static void change(size_t page, size_t n, uint8_t from, uint8_t to, const char *what)
{
	require(n > 0 && page + n <= NR_PAGES, what);
	for (size_t i = 0; i < n; i++)
		require(state[page + i] == from, what);
	memset(state + page, to, n);
	require(mprotect(base + page * PAGE_SIZE, n * PAGE_SIZE,
			 to == PAGE_ALIVE ? PROT_READ | PROT_WRITE : PROT_NONE) == 0, "mprotect");
}

static void drop(size_t page, size_t n)
{
	require(madvise(base + page * PAGE_SIZE, n * PAGE_SIZE, MADV_DONTNEED) == 0, "madvise");
}

static bool fails(void)
{
	if (fail_nth == 0)
		return false;
	if (fail_nth > 1) {
		fail_nth--;
		return false;
	}
	has_failed = true;
	if (!fail_forever)
		fail_nth = 0;
	return true;
}

static size_t find_run(size_t n)
{
	size_t run = 0;

	for (size_t i = map_hint; i < NR_PAGES; i++) {
		run = state[i] == PAGE_NONE ? run + 1 : 0;
		if (run == n)
			return i + 1 - n;
	}
	return 0;
}

static void *src_map(size_t bytes)
{
	void *p = NULL;

	require(bytes > 0 && bytes % PAGE_SIZE == 0, "map: odd size");
	lock();
	if (!fails() && bytes <= MAP_PAGES * PAGE_SIZE) {
		size_t n = bytes / PAGE_SIZE, page = find_run(n);

		if (page != 0) {
			change(page, n, PAGE_NONE, PAGE_ALIVE, "map");
			p = base + page * PAGE_SIZE;
		}
	}
	unlock();
	return p;
}

static void src_unmap(void *addr, size_t bytes)
{
	lock();
	require(page_of(addr) >= BRK_PAGES, "unmap of brk");
	drop(page_of(addr), bytes / PAGE_SIZE);
	for (size_t page = page_of(addr), end = page + bytes / PAGE_SIZE; page < end; page++)
		change(page, 1, state[page] == PAGE_GUARD ? PAGE_GUARD : PAGE_ALIVE, PAGE_NONE,
		       "unmap of pages that are not alive");
	unlock();
}

static void src_guard(void *addr, size_t bytes)
{
	lock();
	change(page_of(addr), bytes / PAGE_SIZE, PAGE_ALIVE, PAGE_GUARD, "guard of pages that are not alive");
	unlock();
}

static void *src_remap(void *addr, size_t old_bytes, size_t new_bytes)
{
	void *p = src_map(new_bytes);

	if (p == NULL)
		return NULL;
	memcpy(p, addr, MIN(old_bytes, new_bytes));
	src_unmap(addr, old_bytes);
	return p;
}

static void *src_extend(intptr_t delta)
{
	void *old;

	lock();
	old = base + brk_bytes;
	if (delta > 0) {
		if (fails() || brk_refused || (size_t)delta > BRK_PAGES * PAGE_SIZE - brk_bytes) {
			old = (void *)-1;
		} else {
			size_t lo = DIV_ROUND_UP(brk_bytes, PAGE_SIZE);

			brk_bytes += (size_t)delta;
			if (DIV_ROUND_UP(brk_bytes, PAGE_SIZE) > lo)
				change(lo, DIV_ROUND_UP(brk_bytes, PAGE_SIZE) - lo, PAGE_NONE, PAGE_ALIVE, "extend");
		}
	} else if (delta < 0) {
		size_t n = (size_t)-delta / PAGE_SIZE;

		require(brk_bytes % PAGE_SIZE == 0 && (size_t)-delta % PAGE_SIZE == 0, "shrink by parts of a page");
		brk_bytes -= (size_t)-delta;
		drop(brk_bytes / PAGE_SIZE, n);
		change(brk_bytes / PAGE_SIZE, n, PAGE_ALIVE, PAGE_NONE, "shrink over pages that are not alive");
	}
	unlock();
	return old;
}

static void src_discard(void *addr, size_t bytes)
{
	lock();
	change(page_of(addr), bytes / PAGE_SIZE, PAGE_ALIVE, PAGE_DEAD, "discard of pages that are not alive");
	unlock();
}

static void src_revive(void *addr, size_t bytes)
{
	lock();
	change(page_of(addr), bytes / PAGE_SIZE, PAGE_DEAD, PAGE_ALIVE, "revive of pages that are not discarded");
	memset(addr, 0xdb, bytes);
	unlock();
}

static bool src_purge(void *addr, size_t bytes)
{
	bool done;

	lock();
	done = !fails();
	if (done)
		drop(page_of(addr), bytes / PAGE_SIZE);
	unlock();
	return done;
}

const struct pagesrc testsrc = {
	.map = src_map,
	.unmap = src_unmap,
	.remap = src_remap,
	.extend = src_extend,
	.discard = src_discard,
	.revive = src_revive,
	.guard = src_guard,
	.purge = src_purge,
};

int testsrc_use(void **unused)
{
	(void)unused;
	malloc_set_source(&testsrc);
	return 0;
}

void testsrc_fail(uint64_t nth, bool forever)
{
	lock();
	fail_nth = nth;
	fail_forever = forever;
	has_failed = false;
	unlock();
}

bool testsrc_failed(void)
{
	return has_failed;
}

void testsrc_steal_break(size_t bytes)
{
	src_extend((intptr_t)bytes);
}

void testsrc_refuse_break(void)
{
	brk_refused = true;
}

void testsrc_fork_prepare(void)
{
	lock();
}

void testsrc_fork_done(void)
{
	unlock();
}

static size_t count(uint8_t wanted)
{
	size_t n = 0;

	for (size_t i = 0; i < NR_PAGES; i++)
		n += state[i] == wanted;
	return n;
}

size_t testsrc_pages(void)
{
	return count(PAGE_ALIVE) + count(PAGE_DEAD);
}

size_t testsrc_discarded(void)
{
	return count(PAGE_DEAD);
}

static void claimed(void *ctx, void *addr, size_t bytes)
{
	for (size_t i = 0; i < bytes / PAGE_SIZE; i++)
		require(state[page_of(addr) + i] == PAGE_DEAD, "a page that was never discarded is claimed to be");
	*(size_t *)ctx += bytes / PAGE_SIZE;
}

/* Discarded pages of arenas whose holder fork left behind: arenas.c forgets them. */
static size_t abandoned(void)
{
	size_t n = 0;
	uintptr_t end;

	for (size_t i = 0; i < NR_PAGES; i++) {
		if (state[i] != PAGE_DEAD)
			continue;
		const struct arena *a = arena_of((const struct chunk *)(base + i * PAGE_SIZE), &end);

		n += a != NULL && a->abandoned;
	}
	return n;
}

void testsrc_check_discarded(void)
{
	size_t n = 0;

	malloc_each_discarded(claimed, &n);
	require(n == testsrc_discarded() - abandoned(), "a discarded page was forgotten");
}
