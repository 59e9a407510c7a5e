/*
 * Reclaim: how memory comes back.
 *
 * One step has two halves, each in three phases so that faults are served
 * while pages move and stores work:
 *
 *   sample   lock: let the policy choose pages, lock them,
 *            give neighbours contiguous frames (gather.c)
 *            no lock: engine unmaps them, contents go home
 *            lock: entries become soft, pages go on SAMPLE
 *   evict    lock: take pages off the old end of SAMPLE, lock them
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
 * A page by which no store gains anything leaves the sample, or it would be asked for
 * again with every lap, and soon stand in the way of all others. As long as nobody touches it, it cannot have changed: it
 * waits on REFUSED until it is touched, dropped by the heap, or there is an area that takes such pages. (The kernel makes
 * it active again, mm/page_io.c; zram keeps it as it is, which frees nothing.)
 *
 * How long is the sample? SAMPLE_SHARE of resident memory: each hot page in it
 * costs one soft fault per lap, each page too few makes the choice of victims
 * blinder.
 *
 * Follows mm/vmscan.c shrink_active_list and shrink_inactive_list; batches of
 * 32 as SWAP_CLUSTER_MAX. Evict takes 8 while the first store takes them, which
 * bounds how long a fault may wait for a page in the batch (8 × 2 µs); when it is
 * full and pages go to a disk, 32, because there the call costs more than the page.
 */
#include "mm/reclaim/reclaim.h"

#include <errno.h>

#include "base/assert.h"
#include "mm/filemap.h"
#include "mm/reclaim/gather.h"
#include "mm/user_page.h"

#define SAMPLE_BATCH 32
#define EVICT_BATCH SWAP_AHEAD
#define EVICT_BATCH_DISK 32
#define SAMPLE_SHARE 16   /* SAMPLE: one page in 16 */
#define SAMPLE_MIN 32
#define RECALL_BATCH (EVICT_BATCH / 2) /* refused pages that are looked at in a step; others must get on if these are refused again */

static void count_scan(struct machine *m, bool kswapd, unsigned n)
{
	if (kswapd)
		COUNT_N(m, pgscan_kswapd, n);
	else
		COUNT_N(m, pgscan_direct, n);
}

/* From the old end of a list, locked. */
static unsigned isolate(struct machine *m, enum lru_list list, struct frame **frames, unsigned n)
{
	struct lruvec *v = &m->lruvec[0];
	unsigned got = 0;

	while (got < n) {
		struct frame *f = TAILQ_LAST(&v->list[list], frame_list);

		if (f == NULL)
			break;
		lru_del(v, f);
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

/* What the policy would let go, looking at so much of the lists that a batch can come of it, and at all of them if need be. */
static unsigned choose(struct machine *m, struct lruvec *v, struct frame **frames)
{
	uint64_t resident = lru_resident(v);
	int priority = DEF_PRIORITY;
	unsigned n = 0;

	while (priority > 0 && resident >> priority < 4 * SAMPLE_BATCH)
		priority--;
	for (; n == 0 && priority >= 0; priority--) {
		struct scan s = { .priority = (uint8_t)priority, .may_swap = true, .target = SAMPLE_BATCH };

		if (m->policy->begin != NULL)
			m->policy->begin(m, v, &s);
		while (n == 0 && !s.done)
			n = m->policy->choose(m, v, &s, frames, SAMPLE_BATCH);
	}
	if (m->policy->end != NULL)
		m->policy->end(m, v);
	return n;
}

/* Whose page it is, if it can be only one's: then f->user is valid. */
static struct mm *sole_mm(const struct frame *f)
{
	return f->flags & (FRAME_SHARED | FRAME_FILE) ? NULL : f->user.mm;
}

/* Where pages may be shared, every entry that names one is to be found; and nobody else is there to wait for. */
static void sample_shared(struct machine *m, struct lruvec *v, struct frame **frames, unsigned n)
{
	machine_worked(m, MM_UNMAP, n);
	for (unsigned i = 0; i < n; i++) {
		if (user_page_unmap(m, frames[i]) && frame_on_disk(frames[i]))
			pagecache_set_dirty(frames[i]);
		lru_add(v, frames[i], LRU_SAMPLE);
		COUNT(m, pgdeactivate);
		STEP(m, SAMPLE, .mm = sole_mm(frames[i]), .vpn = frames[i]->user.vpn, .pfn = frame_pfn(&m->phys, frames[i]),
		     .list = LRU_SAMPLE);
	}
}

/* Unmaps n locked pages, which are on no list: they are soft then, or active if they cannot be had. Lock given up inside. */
static void make_soft(struct machine *m, struct lruvec *v, struct frame **frames, unsigned n, bool *progress)
{
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
			lru_add(v, f, LRU_SAMPLE);
			COUNT(m, pgdeactivate);
			STEP(m, SAMPLE, .mm = f->user.mm, .vpn = f->user.vpn, .pfn = frame_pfn(&m->phys, f), .list = LRU_SAMPLE);
			*progress = true;
		} else {
			m->policy->arrive(m, v, f, ARRIVE_BACK);
		}
		user_page_unlock(m, f);
	}
}

static unsigned sample(struct machine *m, bool kswapd, bool *progress)
{
	struct lruvec *v = &m->lruvec[0];
	uint64_t target = MAX(lru_resident(v) / SAMPLE_SHARE, SAMPLE_MIN);
	struct frame *frames[SAMPLE_BATCH];

	if (v->nr[LRU_SAMPLE] >= target)
		return 0;
	unsigned n = choose(m, v, frames);

	if (n == 0)
		return 0;
	count_scan(m, kswapd, n);
	if (m->ops->copy != NULL) {
		sample_shared(m, v, frames, n);
		*progress = true;
		return n;
	}
	for (unsigned i = 0; i < n; i++)
		user_page_lock(frames[i]);
	make_soft(m, v, frames, n, progress);
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
		make_soft(m, &m->lruvec[0], frames, n, &progress);
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

/* It stays: on the sample, off the way because it was refused, or where the policy wants it. */
static void put_back(struct machine *m, struct frame *f, bool refused)
{
	if (m->ops->test_and_clear_accessed == NULL)
		lru_add(lruvec_of(m, f), f, refused ? LRU_REFUSED : LRU_SAMPLE);
	else
		m->policy->arrive(m, lruvec_of(m, f), f, ARRIVE_BACK);
	user_page_unlock(m, f);
}

static bool evict_commit(struct machine *m, struct swap_io *io)
{
	struct frame *f = io->frame;

	if (io->err != 0) {
		put_back(m, f, io->refused);
		m->refused += io->refused;
		return false;
	}
	if (f->flags & FRAME_WAITED) {
		swap_put(&m->swap, io->entry);
		put_back(m, f, false);
		return false;
	}
	workingset_evict(m, f, swap_slot_of(&m->swap, io->entry));
	if (f->flags & FRAME_FILE)
		pagecache_swap_out(f, io->entry);
	else
		user_page_to_swap(m, f, io->entry);
	COUNT(m, pswpout);
	if (io->same)
		COUNT(m, pgsame);
	if (io->clean)
		COUNT(m, pgclean);
	STEP(m, SWAP_OUT, .mm = sole_mm(f), .vpn = f->user.vpn, .pfn = frame_pfn(&m->phys, f), .arg = swp_slot(io->entry));
	user_page_unlock(m, f);
	user_page_free(m, f);
	return true;
}

/* Pages of files need not be written by us: those that are clean go. Returns how many others are left. */
static unsigned drop_files(struct machine *m, struct frame **frames, unsigned n, unsigned *freed)
{
	struct frame *files[EVICT_BATCH_DISK];
	unsigned left = 0, nr_files = 0;

	for (unsigned i = 0; i < n; i++) {
		if (!frame_on_disk(frames[i])) {
			frames[left++] = frames[i];
			continue;
		}
		user_page_unlock(m, frames[i]);
		files[nr_files++] = frames[i];
	}
	*freed += file_evict(m, files, nr_files);
	return left;
}

/* Takes up to n pages off the old end, locked; drops those that nobody needs. Returns how many are left to write. */
static unsigned evict_begin(struct machine *m, struct swap_io *io, unsigned n, bool kswapd, unsigned *freed)
{
	struct frame *frames[EVICT_BATCH_DISK];

	n = isolate(m, LRU_SAMPLE, frames, n);
	count_scan(m, kswapd, n);
	n = discard(m, frames, drop_files(m, frames, n, freed), freed);
	for (unsigned i = 0; i < n; i++)
		io[i] = (struct swap_io){ .frame = frames[i], .page = frame_home(&m->phys, frames[i]) };
	return n;
}

/* Writes them. Lock given up inside. */
unsigned reclaim_write(struct machine *m, struct swap_io *io, unsigned n, const struct swap_ahead *ahead)
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
	unsigned written = reclaim_write(m, m->leaving.io[first], m->leaving.n[first], m->swap.ahead);

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

/* Pages go to a store where the call costs more than the page. */
static bool evicts_to_disk(const struct machine *m)
{
	const struct swap_area *first = &m->swap.area[0];

	if (m->swap.nr_areas == 0)
		return false;
	return !first->store->ops->read_locked || (first->full && m->swap.nr_areas > 1);
}

/* Not more than half of what waits to be touched again, or in a small machine nothing would ever be. */
static unsigned disk_batch(const struct machine *m)
{
	uint64_t waiting = m->lruvec[0].nr[LRU_INACTIVE_ANON];

	return (unsigned)MIN(MAX(waiting / 2, (uint64_t)EVICT_BATCH), (uint64_t)EVICT_BATCH_DISK);
}

static unsigned evict(struct machine *m, bool kswapd, bool *progress)
{
	struct swap_io io[EVICT_BATCH_DISK];
	bool disk = evicts_to_disk(m);
	unsigned freed = 0, written;

	if (m->swap.ahead != NULL && !disk && kswapd) {
		written = evict_ahead(m, &freed, progress);
	} else {
		written = evict_all_leaving(m);
		written += reclaim_write(m, io, evict_begin(m, io, disk ? disk_batch(m) : EVICT_BATCH, kswapd, &freed), NULL);
	}
	freed += written;
	if (freed > 0)
		*progress = true;
	count_steal(m, kswapd, freed);
	return freed;
}

/* The next refused pages go back to the old end of the sample, if they can go out now. */
static void recall(struct machine *m)
{
	struct lruvec *v = &m->lruvec[0];
	bool all = swap_takes_refused(&m->swap);
	unsigned n = (unsigned)MIN(v->nr[LRU_REFUSED], (uint64_t)RECALL_BATCH);

	while (n-- > 0) {
		struct frame *f = TAILQ_LAST(&v->list[LRU_REFUSED], frame_list);

		lru_del(v, f);
		if (all || (m->ops->discardable != NULL && m->ops->discardable(m, f->user.mm, f->user.vpn)))
			lru_add_tail(v, f, LRU_SAMPLE);
		else
			lru_add(v, f, LRU_REFUSED);
	}
}

unsigned reclaim_batch(struct machine *m, bool kswapd, bool *progress)
{
	ASSERT(!m->reclaiming);
	m->reclaiming = true;
	if (m->lruvec[0].nr[LRU_REFUSED] > 0)
		recall(m);
	sample(m, kswapd, progress);
	unsigned freed = evict(m, kswapd, progress);

	if (freed > 0)
		m->refused = 0;
	/* All that there is has been refused since something came free: unmapping more of it is no progress. */
	if (m->refused > 0 && m->refused > lru_resident(&m->lruvec[0]))
		*progress = false;
	m->reclaiming = false;
	for (unsigned node = 0; freed > 0 && !kswapd && node < m->phys.nr_nodes; node++)
		m->kswapd[node].failures = 0;
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
