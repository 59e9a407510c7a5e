/*
 * Reclaim: how memory comes back.
 *
 * One step has two halves, each in three phases so that faults are served
 * while pages move and stores work:
 *
 *   sample   lock: take pages off the old end of NEW or ACTIVE, lock them,
 *            give neighbours contiguous frames (gather.c)
 *            no lock: engine unmaps them, contents go home
 *            lock: entries become soft, pages go on INACTIVE
 *   evict    lock: take pages off the old end of INACTIVE, lock them
 *            no lock: examine; the store compresses or writes
 *            lock: entries become swap entries, frames are free
 *
 * Where the swap layer has a helper on another CPU, kswapd leaves the pages with
 * it between the first and the second phase of evict, SWAP_AHEAD_BATCHES at once,
 * and goes on with the next; reclaim_finish is the end of that.
 *
 * A fault on a locked page marks it FRAME_WAITED and is woken when the page is
 * unlocked. A page that was waited for while it was being evicted has proved
 * hot: the stored copy is given up again and the page stays.
 *
 * How long is the sample? SAMPLE_SHARE of resident memory: each hot page in it
 * costs one soft fault per lap, each page too few makes the choice of victims
 * blinder. NEW is kept at PROBATION_SHARE at least before ACTIVE pages are
 * taken, so a stream of pages used once passes by without touching them.
 *
 * Follows mm/vmscan.c shrink_active_list and shrink_inactive_list; batches of
 * 32 as SWAP_CLUSTER_MAX. Evict takes 8 while the first store takes them, which
 * bounds how long a fault may wait for a page in the batch (8 × 2 µs); when it is
 * full and pages go to a disk, 32, because there the call costs more than the page.
 */
#include "mm/reclaim/reclaim.h"

#include <errno.h>

#include "base/assert.h"
#include "mm/reclaim/gather.h"
#include "mm/user_page.h"

#define SAMPLE_BATCH 32
#define EVICT_BATCH SWAP_AHEAD
#define EVICT_BATCH_DISK 32
#define SAMPLE_SHARE 16   /* INACTIVE: one page in 16 */
#define PROBATION_SHARE 8 /* NEW: one page in 8 */
#define SAMPLE_MIN 32

static void machine_lock(void *m)
{
	((struct machine *)m)->ops->lock(m);
}

static void machine_unlock(void *m)
{
	((struct machine *)m)->ops->unlock(m);
}

static void count_scan(struct machine *m, bool kswapd, unsigned n)
{
	if (kswapd)
		COUNT_N(m, pgscan_kswapd, n);
	else
		COUNT_N(m, pgscan_direct, n);
}

static unsigned isolate(struct machine *m, enum lru_list list, struct frame **frames, unsigned n)
{
	unsigned got = 0;

	while (got < n) {
		struct frame *f = TAILQ_LAST(&m->lru.list[list], frame_list);

		if (f == NULL)
			break;
		lru_del(&m->lru, f);
		user_page_lock(f);
		frames[got++] = f;
	}
	return got;
}

/* By address: contiguous pages whose homes are contiguous leave in one call. */
static void sort_by_address(struct frame **frames, unsigned n)
{
	for (unsigned i = 1; i < n; i++) {
		struct frame *f = frames[i];
		unsigned j = i;

		for (; j > 0 && frames[j - 1]->user.vpn.n > f->user.vpn.n; j--)
			frames[j] = frames[j - 1];
		frames[j] = f;
	}
}

static unsigned run_length(struct frame **frames, unsigned n)
{
	unsigned len = 1;

	while (len < n && frames[len]->user.mm == frames[0]->user.mm &&
	       frames[len]->user.vpn.n == frames[0]->user.vpn.n + len)
		len++;
	return len;
}

/* Unmaps the locked frames; unmapped[i] says which ones came home. */
static void unmap_all(struct machine *m, struct frame **frames, unsigned n, bool *unmapped)
{
	for (unsigned i = 0; i < n;) {
		unsigned len = run_length(frames + i, n - i);
		int done = m->ops->unmap(m, frames[i]->user.mm, frames[i]->user.vpn, frames + i, len);

		for (unsigned j = 0; j < len; j++)
			unmapped[i + j] = done > 0 && j < (unsigned)done;
		/* The page after a short run gets its own try; a refused page is passed over. */
		i += done > 0 ? (unsigned)done : 1;
	}
}

/* Unmaps n locked pages, which are on no list: they are soft then, or active if they cannot be had. Lock given up inside. */
static void make_soft(struct machine *m, struct frame **frames, unsigned n, bool *progress)
{
	struct lru *l = &m->lru;
	bool unmapped[SAMPLE_BATCH];

	sort_by_address(frames, n);
	gather(m, frames, n);
	m->ops->unlock(m);
	unmap_all(m, frames, n, unmapped);
	m->ops->lock(m);
	for (unsigned i = 0; i < n; i++) {
		struct frame *f = frames[i];

		if (unmapped[i]) {
			f->flags &= (uint16_t)~FRAME_AWAY;
			pt_set(&f->user.mm->pt, f->user.vpn, pte_soft_make(frame_pfn(&m->phys, f)));
			lru_add(l, f, LRU_INACTIVE);
			COUNT(m, pgdeactivate);
			*progress = true;
		} else {
			lru_add(l, f, LRU_ACTIVE);
		}
		user_page_unlock(m, f);
	}
}

static unsigned sample(struct machine *m, bool kswapd, bool *progress)
{
	struct lru *l = &m->lru;
	uint64_t resident = l->nr[LRU_ACTIVE] + l->nr[LRU_NEW] + l->nr[LRU_INACTIVE];
	uint64_t target = MAX(resident / SAMPLE_SHARE, SAMPLE_MIN);
	struct frame *frames[SAMPLE_BATCH];

	if (l->nr[LRU_INACTIVE] >= target)
		return 0;
	bool from_new = l->nr[LRU_NEW] > resident / PROBATION_SHARE || l->nr[LRU_ACTIVE] == 0;
	unsigned n = isolate(m, from_new ? LRU_NEW : LRU_ACTIVE, frames, SAMPLE_BATCH);
	if (n == 0)
		return 0;
	count_scan(m, kswapd, n);
	make_soft(m, frames, n, progress);
	return n;
}

unsigned reclaim_sample(struct machine *m, enum lru_list list, unsigned n)
{
	struct frame *frames[SAMPLE_BATCH];
	bool progress = false;

	ASSERT(!m->reclaiming);
	m->reclaiming = true;
	n = isolate(m, list, frames, MIN(n, SAMPLE_BATCH));
	if (n > 0)
		make_soft(m, frames, n, &progress);
	m->reclaiming = false;
	return n;
}

/* The page's content is not needed any more: drops those that the heap has freed. Returns how many are left. */
static unsigned discard(struct machine *m, struct frame **frames, unsigned n, unsigned *freed)
{
	unsigned left = 0;

	if (m->ops->discardable == NULL)
		return n;
	for (unsigned i = 0; i < n; i++) {
		struct frame *f = frames[i];

		if (!m->ops->discardable(m, f->user.mm, f->user.vpn)) {
			frames[left++] = f;
			continue;
		}
		pt_set(&f->user.mm->pt, f->user.vpn, pte_none());
		f->user.mm->rss--;
		user_page_unlock(m, f);
		user_page_free(m, f);
		(*freed)++;
		COUNT(m, pgdiscard);
	}
	return left;
}

static bool evict_commit(struct machine *m, struct swap_io *io)
{
	struct frame *f = io->frame;
	struct mm *mm = f->user.mm;

	if (io->err != 0) {
		lru_add(&m->lru, f, LRU_INACTIVE);
		user_page_unlock(m, f);
		return false;
	}
	if (f->flags & FRAME_WAITED) {
		swap_put(&m->swap, io->entry);
		lru_add(&m->lru, f, LRU_INACTIVE);
		user_page_unlock(m, f);
		return false;
	}
	swap_slot_of(&m->swap, io->entry)->shadow = workingset_shadow(&m->lru);
	/* Replaces an entry that is not none: cannot fail. */
	pt_set(&mm->pt, f->user.vpn, pte_swap_make(io->entry));
	mm->rss--;
	mm->swapents++;
	COUNT(m, pswpout);
	if (io->same)
		COUNT(m, pgsame);
	if (io->clean)
		COUNT(m, pgclean);
	user_page_unlock(m, f);
	user_page_free(m, f);
	return true;
}

/* Takes up to n pages off the old end, locked; drops those that nobody needs. Returns how many are left to write. */
static unsigned evict_begin(struct machine *m, struct swap_io *io, unsigned n, bool kswapd, unsigned *freed)
{
	struct frame *frames[EVICT_BATCH_DISK];

	n = isolate(m, LRU_INACTIVE, frames, n);
	count_scan(m, kswapd, n);
	n = discard(m, frames, n, freed);
	for (unsigned i = 0; i < n; i++)
		io[i] = (struct swap_io){ .frame = frames[i], .page = frame_home(&m->phys, frames[i]) };
	return n;
}

/* Writes them. Lock given up inside. */
static unsigned evict_end(struct machine *m, struct swap_io *io, unsigned n, const struct swap_ahead *ahead)
{
	unsigned freed = 0;

	if (n == 0)
		return 0;
	m->ops->unlock(m);
	if (ahead != NULL)
		ahead->end(ahead->ctx, io, n);
	swap_examine(&m->swap, io, n);
	m->ops->lock(m);
	swap_write(&m->swap, io, n, machine_lock, machine_unlock, m);
	for (unsigned i = 0; i < n; i++)
		freed += evict_commit(m, &io[i]);
	return freed;
}

/* The oldest batch that the helper has is written; there is one. Lock given up inside. */
static unsigned evict_leaving(struct machine *m)
{
	unsigned first = m->leaving.first;
	unsigned written = evict_end(m, m->leaving.io[first], m->leaving.n[first], m->swap.ahead);

	m->leaving.first = (first + 1) % SWAP_AHEAD_BATCHES;
	m->leaving.nr--;
	return written;
}

static unsigned evict_all_leaving(struct machine *m)
{
	unsigned written = 0;

	while (m->leaving.nr > 0)
		written += evict_leaving(m);
	return written;
}

/* Gives the helper the next batch; if it has enough, or nothing more comes, the oldest is written. Lock given up inside. */
static unsigned evict_ahead(struct machine *m, unsigned *freed, bool *progress)
{
	bool full = m->leaving.nr == SWAP_AHEAD_BATCHES;
	unsigned written = full ? evict_leaving(m) : 0;
	unsigned batch = (m->leaving.first + m->leaving.nr) % SWAP_AHEAD_BATCHES;
	unsigned n = evict_begin(m, m->leaving.io[batch], SWAP_AHEAD, true, freed);

	if (n == 0)
		return m->leaving.nr > 0 ? written + evict_leaving(m) : written;
	m->leaving.n[batch] = n;
	m->leaving.nr++;
	m->ops->unlock(m);
	m->swap.ahead->begin(m->swap.ahead->ctx, m->leaving.io[batch], n);
	m->ops->lock(m);
	/* They free nothing yet, but they will, unless those before could not be written. */
	*progress |= !full || written > 0;
	return written;
}

static void count_steal(struct machine *m, bool kswapd, unsigned n)
{
	if (kswapd)
		COUNT_N(m, pgsteal_kswapd, n);
	else
		COUNT_N(m, pgsteal_direct, n);
}

static unsigned evict(struct machine *m, bool kswapd, bool *progress)
{
	struct swap_io io[EVICT_BATCH_DISK];
	bool disk = m->swap.nr_areas > 1 && m->swap.area[0].full;
	unsigned freed = 0, written;

	if (m->swap.ahead != NULL && !disk && kswapd) {
		written = evict_ahead(m, &freed, progress);
	} else {
		written = evict_all_leaving(m);
		written += evict_end(m, io, evict_begin(m, io, disk ? EVICT_BATCH_DISK : EVICT_BATCH, kswapd, &freed), NULL);
	}
	freed += written;
	if (freed > 0)
		*progress = true;
	count_steal(m, kswapd, freed);
	return freed;
}

unsigned reclaim_batch(struct machine *m, bool kswapd, bool *progress)
{
	ASSERT(!m->reclaiming);
	m->reclaiming = true;
	sample(m, kswapd, progress);
	unsigned freed = evict(m, kswapd, progress);
	m->reclaiming = false;
	return freed;
}

void reclaim_finish(struct machine *m)
{
	while (m->reclaiming)
		m->ops->relax(m);
	m->reclaiming = true;
	count_steal(m, true, evict_all_leaving(m));
	m->reclaiming = false;
}
