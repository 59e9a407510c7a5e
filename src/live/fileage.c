/*
 * What a program has mapped of files grows old, too: its code above all.
 *
 * The kernel maps the pages of a file sixteen at a time, and in a program whose memory is Steward's nobody unmaps them again. After
 * its start a compiler of 25 MiB has most of them in its page tables, and needs a few. What is mapped counts against the budget, so the
 * rest would be lost to the program's data. Linux finds the few by the accessed bits; they are not ours to see, but we can take all pages out of
 * the page tables (the page cache keeps them) and look what has come back a while later. To bring one back, with those around
 * it, takes the kernel a microsecond: a thousandth of the time for a code of 25 MiB. The call also marks those that have
 * been used lately for the kernel's own reclaim (mm/memory.c zap_present_folio_ptes), so that they stay in the page cache.
 *
 * Safety. MADV_DONTNEED would lose what a process has written to a private mapping. So it must be one that cannot be written to and
 * has no page that is the process's own (relocations, a breakpoint), and nobody may unmap it, write to it, or put other memory at its
 * place between our look and the call. Calls of the program that could are announced and wait (change_announce), or hold us off
 * (fileage_hold: the loader unmaps by itself). What the loader does beyond that is an attempt that failed, which is over in a
 * moment: a mapping must have been there at two looks. And the C library unloads its character converters by itself: they are left alone.
 */
#include <string.h>
#include <sys/mman.h>

#include "live/clock.h"
#include "live/engine.h"
#include "live/proc.h"

#define AREA_MIN (64 * KIB)   /* what one touch maps */
#define AREA_MAX (256 * MIB)  /* larger ones are data, and take long to look at */
#define AREAS 256
#define AGE_NS 500000000      /* 0.5 s between two looks but the first ones, at least … */
#define SELDOM 200            /* … and so many times what one takes, with … */
#define TOUCH_NS 100          /* … what it takes to bring a page back */

struct area {
	uint64_t start, end, inode;
};

static struct {
	struct area area[2][AREAS]; /* by address: those of the look before, and of this one */
	unsigned nr[2];
	unsigned now;               /* which of them is this one's */
	unsigned next;              /* of the look before, the first that may lie at the address that this one has come to */
	unsigned looks;             /* up to 2 */
	uint64_t next_ns;           /* when the next one is due */
	uint64_t used;              /* pages that were there when this one began */
} ages;

void fileage_hold(void)
{
	atomic_fetch_add(&engine.held, 1);
	while (atomic_load(&engine.aging) != 0)
		sys_sched_yield();
}

void fileage_release(void)
{
	atomic_fetch_sub(&engine.held, 1);
}

static bool is_candidate(const struct proc_area *a)
{
	uint64_t own = (uint64_t)(uintptr_t)is_candidate, len = a->end - a->start;

	if (!a->file || a->inode == 0 || a->shared || a->write || len < AREA_MIN || len > AREA_MAX)
		return false;
	/* A name that is cut may be any. */
	if (strstr(a->name, "/gconv/") != NULL || strlen(a->name) == sizeof(a->name) - 1)
		return false;
	/* The engine's own code serves the faults on all the others. */
	return own < a->start || own >= a->end;
}

static bool was_there(const struct proc_area *a)
{
	unsigned before = 1 - ages.now;

	while (ages.next < ages.nr[before] && ages.area[before][ages.next].start < a->start)
		ages.next++;
	const struct area *b = &ages.area[before][ages.next];

	return ages.next < ages.nr[before] && b->start == a->start && b->end == a->end && b->inode == a->inode;
}

static bool age_area(void *ctx, const struct proc_area *a)
{
	(void)ctx;
	if (!is_candidate(a))
		return true;
	if (was_there(a) && proc_is_all_file(engine.homes.pagemap_fd, a->start, a->end))
		sys_madvise((void *)(uintptr_t)a->start, a->end - a->start, MADV_DONTNEED);
	ages.area[ages.now][ages.nr[ages.now]++] = (struct area){ a->start, a->end, a->inode };
	return ages.nr[ages.now] < AREAS;
}

static void age_all(void)
{
	struct engine *e = &engine;

	ages.now = 1 - ages.now;
	ages.nr[ages.now] = ages.next = 0;
	changes_hold(HOLD_DROP);
	atomic_store(&e->aging, 1);
	if (changes_rest() && atomic_load(&e->held) == 0)
		proc_maps(age_area, NULL);
	atomic_store(&e->aging, 0);
	changes_let_go(HOLD_DROP);
}

uint64_t fileage_look(uint64_t mapped, uint64_t now)
{
	/*
	 * What has come back so soon is not all that is used. And while the kernel drops files that are wanted, what is missing is not
	 * unused, and what is in the page tables is the last that it drops.
	 */
	if (now < ages.next_ns || atomic_load(&engine.ledger->files_missed))
		return MAX(mapped, ages.used);
	ages.used = mapped;
	/* Without pages out nothing is gained. */
	if (engine.mm.swapents == 0)
		return mapped;
	age_all();
	/* The first look only sees what there is, and what the second one takes out is worth the most. */
	if (ages.looks < 2)
		ages.looks++;
	else
		ages.next_ns = now + MAX((uint64_t)AGE_NS, (now_ns() - now + mapped * TOUCH_NS) * SELDOM);
	return mapped;
}
