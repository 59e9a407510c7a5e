#include "live/homes.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>

#include "live/host.h"
#include "live/proc.h"
#include "base/sys.h"

int homes_register(const struct homes *h, uint64_t n)
{
	if (!h->can_move)
		return 0;
	int err = host_register(h->prog_fd, h->start, n << PAGE_SHIFT, false);

	return err != 0 ? err : host_register(h->trash_fd, h->trash, HOMES_TRASH_PAGES * PAGE_SIZE, false);
}

/* As the kernel reports it; for tests each eighth one as Linux 6.18 does after a second try. */
static int64_t move_reported(const struct homes *h, uint64_t to, uint64_t from, uint64_t len, uint64_t mode)
{
	static _Atomic uint32_t tries;
	int64_t moved = host_move(h->prog_fd, to, from, len, mode);

	if (unlikely(h->move_again) && moved > 0 && atomic_fetch_add(&tries, 1) % 8 == 0)
		return moved > (int64_t)PAGE_SIZE ? (int64_t)PAGE_SIZE : -EEXIST;
	return moved;
}

int64_t homes_move(const struct homes *h, uint64_t to, uint64_t from, uint64_t len, uint64_t mode)
{
	int64_t reported = move_reported(h, to, from, len, mode);
	uint64_t moved = reported > 0 ? (uint64_t)reported : 0;

	if (moved == len || (moved == 0 && reported != -EEXIST))
		return reported;
	while (moved < len && proc_absent(h->pagemap_fd, from + moved) && !proc_absent(h->pagemap_fd, to + moved))
		moved += PAGE_SIZE;
	/* Nobody has been woken for what was not reported. */
	if (moved > 0 && !(mode & UFFDIO_MOVE_MODE_DONTWAKE))
		host_wake(h->prog_fd, to, moved);
	return moved > 0 ? (int64_t)moved : reported;
}

void homes_drop(const struct homes *h, uint64_t home, unsigned n)
{
	for (; n > 0; n -= MIN(n, HOMES_TRASH_PAGES), home += HOMES_TRASH_PAGES << PAGE_SHIFT) {
		uint64_t len = (uint64_t)MIN(n, HOMES_TRASH_PAGES) << PAGE_SHIFT;

		if (!h->can_move) {
			sys_madvise((void *)(uintptr_t)home, len, MADV_DONTNEED);
			continue;
		}
		int64_t moved = host_move(h->trash_fd, h->trash, home, len, UFFDIO_MOVE_MODE_ALLOW_SRC_HOLES);

		/* Shared since a fork: our own copies can go. */
		if (moved == -EBUSY && sys_madvise((void *)(uintptr_t)home, len, MADV_POPULATE_WRITE) == 0)
			host_move(h->trash_fd, h->trash, home, len, UFFDIO_MOVE_MODE_ALLOW_SRC_HOLES);
		sys_madvise((void *)(uintptr_t)h->trash, len, MADV_DONTNEED);
	}
}

int homes_vmap(void *ctx, uint64_t address, struct frame *const *frames, uint32_t n)
{
	const struct homes *h = ctx;

	for (uint32_t i = 0; i < n; i++) {
		uint64_t at = address + ((uint64_t)i << PAGE_SHIFT);

		/* The page behind the home is given up, and a fresh one appears at the address: the same count. */
		homes_drop(h, homes_of(h, frames[i]), 1);
		*(volatile uint8_t *)(uintptr_t)at = 0;
	}
	return 0;
}

void homes_vunmap(void *ctx, uint64_t address, struct frame *const *frames, uint32_t n)
{
	(void)ctx;
	(void)frames;
	sys_madvise((void *)(uintptr_t)address, (uint64_t)n << PAGE_SHIFT, MADV_DONTNEED);
}

unsigned homes_contiguous(struct frame *const *frames, unsigned n)
{
	unsigned len = 1;

	while (len < n && frames[len] == frames[0] + len)
		len++;
	return len;
}

/* Who waits for the page is woken by whoever places the last one of several. */
#define QUIETLY UFFDIO_MOVE_MODE_DONTWAKE
_Static_assert(UFFDIO_MOVE_MODE_DONTWAKE == UFFDIO_COPY_MODE_DONTWAKE, "one mode for both");

static int place_by_copy(const struct homes *h, uint64_t address, uint64_t home, uint64_t mode)
{
	int64_t done = host_copy(h->prog_fd, address, (void *)(uintptr_t)home, PAGE_SIZE, mode);

	if (done < 0)
		return (int)done;
	homes_drop(h, home, 1);
	return 1;
}

/* Pages placed, or -errno. */
static int place(const struct homes *h, uint64_t address, uint64_t home, unsigned n, uint64_t mode)
{
	int64_t moved;

	if (!h->can_move)
		return place_by_copy(h, address, home, mode);
	moved = homes_move(h, address, home, (uint64_t)n << PAGE_SHIFT, mode);
	if (moved > 0)
		return (int)(moved >> PAGE_SHIFT);
	if (moved == -EBUSY || moved == -EINVAL) {
		__atomic_fetch_add(&(*h->counter)[VM_pgcopied], 1, __ATOMIC_RELAXED);
		return place_by_copy(h, address, home, mode);
	}
	return (int)moved;
}

/* True: the host holds memory at one of the homes. */
static bool populated(uint64_t home, unsigned n)
{
	uint8_t vec[HOMES_ZERO_PAGES];

	if (sys_call3(SYS_mincore, (long)home, (long)n << PAGE_SHIFT, (long)vec) != 0)
		return true;
	for (unsigned i = 0; i < n; i++)
		if (vec[i] & 1)
			return true;
	return false;
}

void homes_empty(const struct homes *h, uint64_t home)
{
	if (populated(home, 1))
		homes_drop(h, home, 1);
}

/* Zeros: from the home if the host holds a page there, else the host makes a page at the address. */
static int place_zeros(const struct homes *h, uint64_t address, uint64_t home, unsigned n, uint64_t mode)
{
	n = MIN(n, HOMES_ZERO_PAGES);
	if (!populated(home, n)) {
		int64_t done = host_copy(h->prog_fd, address, h->zeros, (uint64_t)n << PAGE_SHIFT, mode);

		return done > 0 ? (int)(done >> PAGE_SHIFT) : (int)done;
	}
	n = h->can_move ? n : 1;
	memset((void *)(uintptr_t)home, 0, (size_t)n << PAGE_SHIFT);
	int got = place(h, address, home, n, mode);

	/* A page that nobody knew of takes the place of the first: it needs no second one at home. */
	if (got == -EEXIST)
		homes_drop(h, home, n);
	return got;
}

/* Places a prefix of n ≥ 1 pages, those whose homes are contiguous at most. Pages placed, or -errno of the first. */
static int place_some(const struct homes *h, uint64_t address, struct frame *const *frames, unsigned n, bool zero, uint64_t mode)
{
	int (*put)(const struct homes *, uint64_t, uint64_t, unsigned, uint64_t) = zero ? place_zeros : place;
	uint64_t home = homes_of(h, frames[0]);
	unsigned len = homes_contiguous(frames, n);
	int got = put(h, address, home, len, mode);

	/* A run may cross a border between two of the kernel's areas, where ours are merged: page by page then. */
	return got < 0 && len > 1 ? put(h, address, home, 1, mode) : got;
}

/*
 * One call wakes by itself. Of several none does: on one CPU whoever is woken runs at once, finds that the next page is not there
 * yet, and waits again, once for each call.
 */
int homes_map(const struct homes *h, uint64_t address, struct frame *const *frames, unsigned n, bool zero)
{
	/* Pages are copied one by one. */
	bool one_call = homes_contiguous(frames, h->can_move ? n : 1) == n;
	uint64_t mode = one_call ? 0 : QUIETLY;
	unsigned done = 0;
	int got = 0;

	while (done < n && got >= 0) {
		got = place_some(h, address + ((uint64_t)done << PAGE_SHIFT), frames + done, n - done, zero, mode);
		done += got > 0 ? (unsigned)got : 0;
	}
	if (!one_call && done > 0)
		host_wake(h->prog_fd, address, (uint64_t)done << PAGE_SHIFT);
	return done > 0 ? (int)done : got;
}
