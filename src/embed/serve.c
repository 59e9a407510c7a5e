/*
 * Faults of a region, and pages that are asked for without one.
 *
 * A page that cannot be had is poisoned: the kernel raises SIGBUS in whoever touches it, now and later, until it is
 * discarded or asked for again. Nothing is forgotten by that: what the manager knows of it stays.
 */
#include <errno.h>
#include <sys/mman.h>

#include "base/fmt.h"
#include "embed/error.h"
#include "embed/memory.h"
#include "live/clock.h"
#include "live/host.h"
#include "mm/backing/readahead.h"
#include "mm/reclaim/patience.h"
#include "mm/reclaim/reclaim.h"

#define PAGER_PATIENCE_NS 1000000    /* 1 ms */
#define NOMEM_PATIENCE_NS 1000000000 /* 1 s without a frame freed, and the rounds of patience.h, after which there is no room */

void memory_enter(struct memory *mem, uint64_t *signals)
{
	signals_block(signals);
	engine_lock_take(&mem->serving);
	engine_lock_take(&mem->lock);
}

void memory_leave(struct memory *mem, const uint64_t *signals)
{
	engine_lock_drop(&mem->lock);
	engine_lock_drop(&mem->serving);
	signals_restore(signals);
}

/* Sleeps until the pager has brought free frames to mark, for a short while. Lock given up. */
static bool pager_frees(struct memory *mem, uint32_t mark)
{
	const struct timespec patience = { .tv_nsec = PAGER_PATIENCE_NS };

	atomic_store(&mem->frames_wanted, mark);
	memory_pager_wake(mem);
	engine_lock_drop(&mem->lock);
	futex_wait(&mem->frames_wanted, mark, &patience);
	atomic_store(&mem->frames_wanted, 0);
	engine_lock_take(&mem->lock);
	return phys_free_frames(&mem->m.phys, 0) >= mark;
}

static void throttle(struct memory *mem)
{
	uint32_t wanted = kswapd_throttle(&mem->m, 0, RA_MAX);

	if (wanted == 0)
		return;
	COUNT(&mem->m, allocstall);
	pager_frees(mem, wanted);
}

/* No frame to be had: of the pager, or of our own reclaim. False: there is none, and has not been for a while. */
static bool make_room(struct memory *mem, struct patience *p)
{
	bool progress = false;

	if (pager_frees(mem, phys_wmark(&mem->m.phys, 0, WMARK_MIN) / 2 + 1))
		return true;
	if (!mem->m.reclaiming) {
		reclaim_batch(&mem->m, false, &progress);
		if (progress)
			p->since = now_ns();
	}
	bool tried = patience_tried(p, atomic_load(&mem->hopeless));

	return !mem->region.closing && (!tried || now_ns() - p->since < NOMEM_PATIENCE_NS);
}

/* A page that raises SIGBUS is absent for the manager: it may be placed again. */
static void unpoison(struct memory *mem, vpn_t vpn)
{
	if (mem->poisoned && !pte_is_present(pt_get(&mem->mm.pt, vpn)))
		sys_madvise((void *)(uintptr_t)vpn_address(vpn), PAGE_SIZE, MADV_DONTNEED);
}

static int lost(struct memory *mem, vpn_t vpn, const struct fault_report *report)
{
	const char *where = places_name(&mem->places, mem->m.swap.area[report->area].store);

	mem->errors++;
	return error_set(-EIO, "the page at offset %llu cannot be read back from %s: %s",
			 (unsigned long long)(vpn_address(vpn) - mem->region.start), where,
			 report->err == -EBADMSG ? "it is not what was written" : error_words(report->err));
}

static int full(struct memory *mem)
{
	mem->errors++;
	return error_set(-ENOMEM, "no room for another page: the budget of %zu bytes and the places behind it are full", mem->budget);
}

static int serve(struct memory *mem, vpn_t vpn)
{
	struct fault_report report = { 0 };
	struct patience patience;

	patience_begin(&patience, now_ns(), atomic_load(&mem->hopeless));
	for (;;) {
		switch (mm_fault(&mem->mm, vpn, FAULT_ANY, &report)) {
		case FAULT_DONE:
		case FAULT_RETRY:
		case FAULT_INVALID:
			return 0;
		case FAULT_WAIT:
			/* The pager has it, and is through in a moment. */
			memory_relax(mem);
			break;
		case FAULT_LOST:
			return lost(mem, vpn, &report);
		case FAULT_NOMEM:
			if (!make_room(mem, &patience))
				return full(mem);
			break;
		}
	}
}

int memory_page(struct memory *mem, vpn_t vpn)
{
	unpoison(mem, vpn);
	return serve(mem, vpn);
}

static void fault(struct memory *mem, uint64_t address)
{
	uint64_t start = now_ns();

	engine_lock_take(&mem->serving);
	engine_lock_take(&mem->lock);
	COUNT(&mem->m, pgfault);
	throttle(mem);
	int err = serve(mem, vpn_of(address));

	mem->counter[VM_stall_ns] += now_ns() - start;
	engine_lock_drop(&mem->lock);
	if (err != 0) {
		mem->poisoned = true;
		if (err != -ENOMEM || !mem->said_full)
			error_say(stw_error());
		mem->said_full |= err == -ENOMEM;
		host_poison(mem->homes.prog_fd, address, PAGE_SIZE);
	}
	host_wake(mem->homes.prog_fd, address, PAGE_SIZE);
	engine_lock_drop(&mem->serving);
}

void memory_fault(void *ctx, const struct server_fault *faults, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		fault(ctx, faults[i].address);
}
