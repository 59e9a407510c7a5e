/*
 * Shared anonymous memory. Several processes map the same pages, so it cannot be the page tables that know where a page
 * is while it is out: it is the file.
 *
 *      nothing ──touch──► cached: frame of zeros ──reclaim──► swapped: slot in the tree ──touch──► cached …
 *
 * A page is FRAME_FILE, found and unmapped by its file like any other; and FRAME_SWAPBACKED, so that it is on the lists
 * of anonymous memory, is never dirty for the flusher's sake, and leaves by being written to a slot (evict_commit in
 * reclaim.c). The slot's one use is the entry of the tree. On the way back the slot is given up: who shares memory
 * writes to it, and a copy that nobody can trust is only room taken.
 *
 * Only a page that was never there needs memory beside its frame (a node of the tree). Follows mm/shmem.c
 * (shmem_get_folio_gfp, shmem_swapin_folio, shmem_writepage, shmem_undo_range), without huge pages and quotas.
 */
#include "mm/shmem.h"

#include "base/assert.h"
#include "mm/fault.h"
#include "mm/reclaim/reclaim.h"

/* The frame gets the bytes of the slot. False: they are lost. */
static bool read_back(struct machine *m, struct frame *f, swp_t entry, struct fault_report *report)
{
	struct swap_read r = { .entry = entry, .page = frame_home(&m->phys, f) };

	swap_read(&m->swap, &r, 1, machine_lock, machine_unlock, m);
	if (r.err == 0)
		return true;
	if (report != NULL)
		*report = (struct fault_report){ .major = true, .err = r.err, .area = swp_area(entry), .slot = swp_slot(entry) };
	return false;
}

static void arrive(struct machine *m, struct frame *f, bool refault)
{
	f->flags |= FRAME_SWAPBACKED;
	m->charged++;
	m->policy->arrive(m, lruvec_of(m, f), f, refault ? ARRIVE_REFAULT : ARRIVE_NEW);
}

static enum fault_result swap_in(struct machine *m, struct vm_file *file, uint64_t pgoff, swp_t entry, struct frame *f,
				 struct fault_report *report)
{
	if (!read_back(m, f, entry, report)) {
		frame_free(&m->phys, f, 0);
		return FAULT_LOST;
	}
	poolshare_refault(m, entry);
	bool refault = workingset_swapin(m, f, swap_slot_of(&m->swap, entry));

	/* Takes the place of the slot in the tree: cannot fail. */
	pagecache_add(file, pgoff, f, NULL);
	swap_put(&m->swap, entry);
	arrive(m, f, refault);
	COUNT(m, pswpin);
	COUNT(m, pgmajfault);
	COUNT(m, workingset_refault);
	COUNT_N(m, workingset_activate, refault);
	STEP(m, SWAP_IN, .pfn = frame_pfn(&m->phys, f), .list = f->list, .arg = swp_slot(entry));
	if (report != NULL)
		report->major = true;
	return FAULT_DONE;
}

enum fault_result shmem_page(struct machine *m, struct vm_file *file, uint64_t pgoff, struct frame **out,
			     struct fault_report *report)
{
	swp_t entry = pagecache_swapped(file, pgoff);
	struct frame *f = *out = fault_frame(m);

	if (f == NULL)
		return FAULT_NOMEM;
	if (!swp_none(entry))
		return swap_in(m, file, pgoff, entry, f, report);
	if (pagecache_add(file, pgoff, f, NULL) != 0) {
		frame_free(&m->phys, f, 0);
		return FAULT_NOMEM;
	}
	m->ops->copy(m, f, NULL);
	arrive(m, f, false);
	COUNT(m, pgminor);
	return FAULT_DONE;
}

static void drop_page(void *ctx, struct frame *f)
{
	struct machine *m = ctx;

	lru_del(lruvec_of(m, f), f);
	user_page_free(m, f);
}

static void drop_slot(void *ctx, swp_t entry)
{
	swap_put(&((struct machine *)ctx)->swap, entry);
}

void shmem_truncate(struct machine *m, struct vm_file *file)
{
	ASSERT(file->swap_backed && file->rmap.nr == 0);
	pagecache_drop_swapped(file, drop_slot, m);
	pagecache_truncate(file, 0, drop_page, m);
}
