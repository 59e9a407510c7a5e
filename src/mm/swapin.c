#include "mm/swapin.h"

#include <errno.h>

#include "base/assert.h"
#include "mm/fault.h"
#include "mm/reclaim/reclaim.h"

#define RA_MAX_MEMORY 16 /* from stores at the speed of memory: more would only make the one fault longer */

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

/* Maps the run of contiguous pages that starts at index i; returns the index after it. Sets *result if the page touched is in it. */
static unsigned map_run(struct swapin *in, unsigned i, enum fault_result *result)
{
	struct mm *mm = in->mm;
	struct machine *m = mm->machine;
	vpn_t fault = in->fault;
	unsigned n = 1;

	while (i + n < in->n && in->vpn[i + n].n == in->vpn[i].n + n && in->read[i + n].err == 0 && !in->beside[i + n])
		n++;
	int mapped = m->ops->map(m, mm, in->vpn[i], &in->frame[i], n, false);
	unsigned done = mapped > 0 ? (unsigned)mapped : 0;

	for (unsigned j = i; j < i + done; j++) {
		commit(in, j);
		if (in->vpn[j].n == fault.n)
			*result = FAULT_DONE;
	}
	if (done == n)
		return i + n;
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

/* What has been read is mapped or kept; what has not gives its frame back. */
static enum fault_result finish(struct swapin *in, struct fault_report *report)
{
	struct machine *m = in->mm->machine;
	enum fault_result result = FAULT_RETRY;

	if (in->begun > 0)
		poolshare_waited(m, m->ops->now_ns(m) - in->begun, in->below);
	COUNT(m, pgmajfault);
	COUNT_N(m, swap_ra, in->n - 1);
	for (unsigned i = 0; i < in->n;) {
		if (in->read[i].err == 0 && in->beside[i]) {
			commit(in, i++);
			continue;
		}
		if (in->read[i].err == 0) {
			i = map_run(in, i, &result);
			continue;
		}
		frame_free(&m->phys, in->frame[i], 0);
		if (in->vpn[i].n == in->fault.n) {
			result = FAULT_LOST;
			report->err = in->read[i].err;
			report->area = swp_area(in->read[i].entry);
			report->slot = swp_slot(in->read[i].entry);
		}
		i++;
	}
	report->major = true;
	return result;
}

static unsigned read_ahead_max(const struct machine *m, pte_t pte)
{
	const struct store *store = m->swap.area[swp_area(pte_swp(pte))].store;

	return store->ops->read_locked ? RA_MAX_MEMORY : RA_MAX;
}

/* Is the page on its way already? Then its end wakes the access. */
static bool join(struct mm *mm, vpn_t vpn)
{
	struct swapins *all = mm->machine->swapins;

	for (unsigned i = 0; all != NULL && all->nr > 0 && i < SWAPINS; i++) {
		struct swapin *in = &all->in[i];

		for (unsigned k = 0; in->busy && in->mm == mm && k < in->n; k++)
			if (in->vpn[k].n == vpn.n)
				return in->waited = true;
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

/* The time that areas below the pool take is weighed against the frames that the pool takes (poolshare.c). */
static void start_clock(struct swapin *in)
{
	struct machine *m = in->mm->machine;

	in->below = 0;
	for (unsigned i = 0; i < in->n; i++)
		in->below += !m->swap.area[swp_area(in->read[i].entry)].store->ops->read_locked;
	in->begun = in->below > 0 && m->ops->now_ns != NULL ? m->ops->now_ns(m) : 0;
}

/* Pages and frames; then they are read, or begin to be. False: no frame. */
static bool begin(struct swapin *in, struct vma *vma, bool wait)
{
	struct machine *m = in->mm->machine;
	struct ra_plan plan;

	fault_plan(vma, in->fault, m->streams ? read_ahead_max(m, pt_get(&in->mm->pt, in->fault)) : 1, &plan);
	COUNT_N(m, swap_ra_hit, plan.hit);
	choose(vma, &plan, in);
	in->n = fault_frames(m, in->n, in->frame);
	if (in->n == 0)
		return false;
	sort(in);
	for (unsigned i = 0; i < in->n; i++)
		in->read[i].page = frame_home(&m->phys, in->frame[i]);
	start_clock(in);
	in->reading.r = in->read;
	in->reading.n = in->n;
	if (wait)
		swap_read(&m->swap, in->read, in->n, machine_lock, machine_unlock, m);
	else
		swap_read_begin(&m->swap, &in->reading, machine_lock, machine_unlock, m);
	return true;
}

enum fault_result swapin_fault(struct mm *mm, struct vma *vma, vpn_t vpn, enum fault_access access, struct fault_report *report)
{
	struct machine *m = mm->machine;
	struct swapin here, *in;
	struct fault_report unread = { 0 };

	report = report != NULL ? report : &unread;
	if (join(mm, vpn))
		return FAULT_WAIT;
	in = room(m);
	bool wait = in == NULL;

	in = wait ? &here : in;
	in->mm = mm;
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
	in->busy = true;
	in->waited = false;
	in->since = report->since;
	m->swapins->nr++;
	report->later = true;
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
