#include "mm/swapin.h"

#include <errno.h>

#include "base/assert.h"
#include "mm/fault.h"
#include "mm/reclaim/reclaim.h"

#define FRAMES_A_WINDOW (12 * RA_MAX) /* a machine has so many frames for each window that a stream may be ahead */

/* Some other swap-in has the page. */
static bool is_on_its_way(struct machine *m, swp_t entry)
{
	return m->swapins != NULL && m->swapins->nr > 0 && (swap_slot_of(&m->swap, entry)->flags & SLOT_READING);
}

static void add(struct swapin *in, vpn_t vpn, bool beside)
{
	struct mm *mm = in->mm;
	pte_t pte = pt_get(&mm->pt, vpn);

	if (!pte_is_swap(pte) || is_on_its_way(mm->machine, pte_swp(pte)))
		return;
	in->vpn[in->n] = vpn;
	in->beside[in->n] = beside;
	in->read[in->n].entry = pte_swp(pte);
	in->n++;
}

/* Which pages to read: the plan less those that are not in a store; if there is no stream, a cluster. vpn[0] is the page touched. */
static void choose(const struct vma *vma, const struct ra_plan *plan, struct swapin *in)
{
	struct machine *m = in->mm->machine;
	vpn_t neighbours[CLUSTER_MAX];

	in->n = 0;
	for (unsigned i = 0; i < plan->n; i++)
		add(in, plan->vpn[i], false);
	if (plan->n > 1)
		return;
	unsigned n = cluster_plan(&m->cluster, &m->swap, &in->mm->pt, plan->vpn[0], vma->start, vma->end, neighbours);

	for (unsigned i = 0; i < n; i++)
		add(in, neighbours[i], true);
}

/* Insertion sort by address: contiguous pages then meet contiguous homes. */
static void sort(struct swapin *in)
{
	for (unsigned i = 1; i < in->n; i++) {
		vpn_t v = in->vpn[i];
		struct swap_read r = in->read[i];
		bool beside = in->beside[i];
		unsigned j = i;

		for (; j > 0 && in->vpn[j - 1].n > v.n; j--) {
			in->vpn[j] = in->vpn[j - 1];
			in->beside[j] = in->beside[j - 1];
			in->read[j] = in->read[j - 1];
		}
		in->vpn[j] = v;
		in->beside[j] = beside;
		in->read[j] = r;
	}
}

/* Page i is mapped now, or kept beside: the slot gives way, or becomes the cached copy. */
static void commit(struct swapin *in, unsigned i)
{
	struct mm *mm = in->mm;
	struct machine *m = mm->machine;
	struct frame *f = in->frame[i];
	swp_t entry = in->read[i].entry;
	bool beside = in->beside[i];
	bool promoted = !beside && poolshare_refault(m, entry);
	bool refault = !beside && workingset_swapin(m, f, swap_slot_of(&m->swap, entry));
	bool cached = !promoted && swap_to_cache(&m->swap, entry, in->read[i].seal);

	if (!cached)
		swap_put(&m->swap, entry);
	mm->swapents--;
	STEP(m, SWAP_IN, .mm = mm, .vpn = in->vpn[i], .pfn = frame_pfn(&m->phys, f), .arg = swp_slot(entry));
	/* Replaces an entry, so it cannot fail. */
	if (beside)
		user_page_add_soft(mm, in->vpn[i], f);
	else
		user_page_add(mm, in->vpn[i], f, in->prot, refault ? ARRIVE_REFAULT : ARRIVE_NEW);
	if (cached)
		f->swap = entry;
	COUNT(m, pswpin);
	COUNT_N(m, pgpromote, promoted);
	COUNT_N(m, workingset_refault, !beside);
	COUNT_N(m, workingset_activate, refault);
}

/* The end of the run of contiguous pages that starts at index i and has been read to be mapped. */
static unsigned run_end(const struct swapin *in, unsigned i)
{
	unsigned n = 1;

	while (i + n < in->n && in->vpn[i + n].n == in->vpn[i].n + n && in->read[i + n].err == 0 && !in->beside[i + n])
		n++;
	return i + n;
}

/* Maps pages i to end, a run, as far as it goes; returns the index after the last one dealt with. Sets *result if the page touched is among them. */
static unsigned map_part(struct swapin *in, unsigned i, unsigned end, enum fault_result *result)
{
	struct mm *mm = in->mm;
	struct machine *m = mm->machine;
	vpn_t fault = in->fault;
	int mapped = m->ops->map(m, mm, in->vpn[i], &in->frame[i], end - i, false);
	unsigned done = mapped > 0 ? (unsigned)mapped : 0;

	for (unsigned j = i; j < i + done; j++) {
		commit(in, j);
		if (in->vpn[j].n == fault.n)
			*result = FAULT_DONE;
	}
	if (i + done == end)
		return end;
	/* in->vpn[i + done] is in the way or gone; its stored copy is untouched. */
	frame_free(&m->phys, in->frame[i + done], 0);
	if (in->vpn[i + done].n == fault.n) {
		if (mapped == -EEXIST) {
			m->ops->wake(m, mm, fault);
			*result = mm_readopt(mm, fault) == 0 ? FAULT_DONE : FAULT_NOMEM;
		} else {
			*result = mapped < 0 ? fault_map_failed(mapped) : FAULT_RETRY;
		}
	}
	return i + done + 1;
}

static void map_run(struct swapin *in, unsigned i, unsigned end, enum fault_result *result)
{
	while (i < end)
		i = map_part(in, i, end, result);
}

/* It was not read: its frame goes back. */
static void give_up(struct swapin *in, unsigned i, enum fault_result *result, struct fault_report *report)
{
	frame_free(&in->mm->machine->phys, in->frame[i], 0);
	if (in->vpn[i].n != in->fault.n || in->ahead)
		return;
	*result = FAULT_LOST;
	report->err = in->read[i].err;
	report->area = swp_area(in->read[i].entry);
	report->slot = swp_slot(in->read[i].entry);
}

/* The time that areas below the pool take is weighed against the frames that the pool takes (poolshare.c). */
static void start_clock(struct swapin *in)
{
	struct machine *m = in->mm->machine;

	in->below = 0;
	for (unsigned i = 0; i < in->n; i++)
		in->below += !m->swap.area[swp_area(in->read[i].entry)].store->ops->read_locked;
	in->begun = in->below > 0 && m->ops->now_ns != NULL ? m->ops->now_ns(m) : 0;
	if (in->begun > 0 && m->ops->wait_begins != NULL)
		m->ops->wait_begins(m, in->begun);
}

static void stop_clock(const struct swapin *in)
{
	struct machine *m = in->mm->machine;
	uint64_t ns = m->ops->now_ns(m) - in->begun;

	poolshare_waited(m, ns, in->below);
	if (m->ops->wait_ended != NULL)
		m->ops->wait_ended(m, ns);
}

/*
 * What has been read is mapped or kept; what has not gives its frame back. The page touched comes last: its access goes on at once,
 * on this CPU perhaps, and its next page of the window should be there.
 */
static enum fault_result finish(struct swapin *in, struct fault_report *report)
{
	struct machine *m = in->mm->machine;
	enum fault_result result = FAULT_RETRY;
	unsigned last = 0, last_end = 0;

	bool touched = !in->ahead || in->waited;

	if (in->begun > 0)
		stop_clock(in);
	COUNT_N(m, pgmajfault, touched);
	COUNT_N(m, swap_ra, in->n - touched);
	for (unsigned i = 0, end; i < in->n; i = end) {
		end = i + 1;
		if (in->read[i].err != 0) {
			give_up(in, i, &result, report);
			continue;
		}
		if (in->beside[i]) {
			commit(in, i);
			continue;
		}
		end = run_end(in, i);
		if (in->vpn[i].n <= in->fault.n && in->fault.n <= in->vpn[end - 1].n) {
			last = i;
			last_end = end;
		} else {
			map_run(in, i, end, &result);
		}
	}
	map_run(in, last, last_end, &result);
	report->major = touched;
	return result;
}

/* The swap-in that has the page on its way; NULL: none. */
static struct swapin *swapin_of(const struct mm *mm, vpn_t vpn)
{
	struct swapins *all = mm->machine->swapins;

	for (unsigned i = 0; all != NULL && all->nr > 0 && i < SWAPINS; i++) {
		struct swapin *in = &all->in[i];

		for (unsigned k = 0; in->busy && in->mm == mm && k < in->n; k++)
			if (in->vpn[k].n == vpn.n)
				return in;
	}
	return NULL;
}

bool swapins_within(const struct swapins *all, vpn_t start, vpn_t end)
{
	for (unsigned i = 0; all->nr > 0 && i < SWAPINS; i++) {
		const struct swapin *in = &all->in[i];

		for (unsigned k = 0; in->busy && k < in->n; k++)
			if (in->vpn[k].n >= start.n && in->vpn[k].n < end.n)
				return true;
	}
	return false;
}

/* Room for one that is left on its way; NULL: the engine has none. */
static struct swapin *room(struct machine *m)
{
	unsigned i = 0;

	if (m->swapins == NULL)
		return NULL;
	ASSERT(m->swapins->nr < SWAPINS);
	while (m->swapins->in[i].busy)
		i++;
	return &m->swapins->in[i];
}

static bool reads_by_itself(const struct machine *m, pte_t pte)
{
	return m->swap.area[swp_area(pte_swp(pte))].store->ops->read_begin != NULL;
}

/* Their homes; then they are read, or begin to be. */
static void read(struct swapin *in, bool wait)
{
	struct machine *m = in->mm->machine;

	sort(in);
	for (unsigned i = 0; i < in->n; i++)
		in->read[i].page = frame_home(&m->phys, in->frame[i]);
	if (!in->ahead)
		start_clock(in);
	in->reading.r = in->read;
	in->reading.n = in->n;
	in->reading.ahead = in->ahead;
	if (wait)
		swap_read(&m->swap, in->read, in->n, machine_lock, machine_unlock, m);
	else
		swap_read_begin(&m->swap, &in->reading, machine_lock, machine_unlock, m);
}

static void leave_on_its_way(struct swapin *in, uint64_t since)
{
	struct swapins *all = in->mm->machine->swapins;

	in->busy = true;
	in->waited = false;
	in->since = since;
	all->nr++;
	all->awaited += !in->ahead;
}

/* Pages and frames; then they are read, or begin to be. False: no frame. */
static bool begin(struct swapin *in, struct vma *vma, bool wait)
{
	struct machine *m = in->mm->machine;
	struct ra_plan plan;

	fault_plan(vma, in->fault, m->streams ? RA_MAX : 1, &plan);
	COUNT_N(m, swap_ra_hit, plan.hit);
	choose(vma, &plan, in);
	in->n = fault_frames(m, in->n, in->frame);
	if (in->n == 0)
		return false;
	read(in, wait);
	return true;
}

/* Pages of the plan that a store reads by itself are on their way before they are touched. False: there is no room for more. */
static bool begin_ahead(struct mm *mm, const struct ra_plan *plan, uint64_t prot)
{
	struct machine *m = mm->machine;

	if (m->swapins->nr >= SWAPINS_AHEAD)
		return false;
	struct swapin *in = room(m);

	in->mm = mm;
	in->prot = prot;
	in->ahead = true;
	in->begun = in->n = 0;
	for (unsigned i = 0; i < plan->n; i++) {
		pte_t pte = pt_get(&mm->pt, plan->vpn[i]);

		if (pte_is_swap(pte) && reads_by_itself(m, pte))
			add(in, plan->vpn[i], false);
	}
	if (in->n == 0)
		return true;
	/* A part of a window would only bring the fault of the rest nearer. */
	if (!fault_frames_spare(m, in->n, in->frame))
		return false;
	/* The mark. */
	in->fault = in->vpn[0];
	in->beside[0] = true;
	read(in, false);
	leave_on_its_way(in, 0);
	return true;
}

/* The stream at the page touched is kept as far ahead as it should be. */
static void go_ahead(struct mm *mm, struct vma *vma, vpn_t touched)
{
	const struct machine *m = mm->machine;
	unsigned depth = (unsigned)MIN(phys_managed_frames(&m->phys, 0) / FRAMES_A_WINDOW, (uint64_t)RA_DEPTH_MAX);
	struct ra_plan plan;

	while (readahead_further(vma, touched, depth, &plan))
		if (!begin_ahead(mm, &plan, user_prot(vma, FAULT_ANY)))
			break;
}

bool swapin_reached(struct mm *mm, struct vma *vma, vpn_t vpn)
{
	bool mark = readahead_reached(vma, vpn, false);

	if (mark)
		go_ahead(mm, vma, vpn);
	return mark;
}

/* The page is on its way already: its end wakes the access. If nobody has waited for it so far, it should have been begun earlier. */
static void join(struct swapin *in, struct vma *vma, vpn_t vpn, struct fault_report *report)
{
	struct machine *m = in->mm->machine;
	bool first = in->ahead && !in->waited;

	in->waited = true;
	if (!first)
		return;
	/* Its mark is not needed any more. */
	for (unsigned i = 0; i < in->n; i++)
		in->beside[i] = false;
	m->swapins->awaited++;
	in->fault = vpn;
	in->since = report->since;
	start_clock(in);
	report->later = true;
	if (readahead_reached(vma, vpn, true))
		go_ahead(in->mm, vma, vpn);
}

enum fault_result swapin_fault(struct mm *mm, struct vma *vma, vpn_t vpn, enum fault_access access, struct fault_report *report)
{
	struct machine *m = mm->machine;
	struct swapin here, *in;
	struct fault_report unread = { 0 };

	report = report != NULL ? report : &unread;
	in = swapin_of(mm, vpn);
	if (in != NULL) {
		join(in, vma, vpn, report);
		return FAULT_WAIT;
	}
	in = room(m);
	bool wait = in == NULL;

	in = wait ? &here : in;
	in->mm = mm;
	in->ahead = false;
	in->fault = vpn;
	in->prot = user_prot(vma, access);
	if (!begin(in, vma, wait))
		return FAULT_NOMEM;
	if (wait)
		return finish(in, report);
	if (in->reading.left == 0) {
		swap_read_end(&m->swap, &in->reading, machine_lock, machine_unlock, m);
		return finish(in, report);
	}
	leave_on_its_way(in, report->since);
	report->later = true;
	go_ahead(mm, vma, vpn);
	return FAULT_WAIT;
}

static void end(struct swapin *in, struct swapin_done *done)
{
	struct machine *m = in->mm->machine;

	*done = (struct swapin_done){ .mm = in->mm, .vpn = in->fault, .since = in->since };
	swap_read_end(&m->swap, &in->reading, machine_lock, machine_unlock, m);
	done->result = finish(in, &done->report);
	for (unsigned i = 0; in->waited && i < in->n; i++)
		m->ops->wake(m, in->mm, in->vpn[i]);
	in->busy = false;
	m->swapins->nr--;
	m->swapins->awaited -= !in->ahead || in->waited;
}

bool mm_swapin_done(struct machine *m, struct swapin_done *done)
{
	for (unsigned i = 0; i < SWAPINS && m->swapins->nr > 0; i++) {
		if (!m->swapins->in[i].busy || m->swapins->in[i].reading.left > 0)
			continue;
		end(&m->swapins->in[i], done);
		return true;
	}
	return false;
}
