/*
 * The process's part of the pages of files and shared memory that it maps.
 *
 * A compiler of 25 MiB that runs eight times is in memory once, and so are the buffers of a server with a hundred children.
 * Counted whole in each process they would use the budget up many times. The kernel knows how many map each page
 * and divides it among them (Pss in /proc/self/smaps_rollup); the parts add up to what is there. It divides among all processes
 * of the machine, though, and a limit around the run may be charged for a page that others map, too: so nobody's part is less than if
 * all processes of the run mapped the same, and one that is alone counts everything.
 *
 * For Pss the kernel walks the page tables: some 20 ns a page. So it is asked seldom enough to cost a hundredth of the time, and in
 * between the part is taken to be the same share of what statm says for nothing.
 */
#include "live/clock.h"
#include "live/engine.h"
#include "live/proc.h"

#define SELDOM 100              /* times its own cost */
#define OFTEN_NS 200000000      /* 0.2 s: more often it is not asked for */

static uint64_t shared_then, part_then, ask_at;

static uint64_t processes(void)
{
	uint64_t n = 0;

	for (uint32_t i = 0, used = atomic_load(&engine.ledger->slots_used); i < used; i++)
		n += atomic_load_explicit(&engine.ledger->slot[i].pid, memory_order_relaxed) != 0;
	return MAX(n, 1);
}

static bool is_near(uint64_t shared)
{
	return shared < shared_then + shared_then / 4 && shared + shared_then / 4 > shared_then;
}

uint64_t file_part(uint64_t shared)
{
	uint64_t now = now_ns(), n = processes(), part;

	if (n == 1)
		return shared;
	if (now >= ask_at || !is_near(shared)) {
		part = proc_shared_part();
		shared_then = shared;
		part_then = MIN(part, shared);
		ask_at = now + MAX((now_ns() - now) * SELDOM, OFTEN_NS);
	}
	part = shared_then > 0 ? (uint64_t)((unsigned __int128)shared * part_then / shared_then) : 0;
	return MIN(MAX(part, shared / n), shared);
}
