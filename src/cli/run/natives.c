/*
 * A program that fits pays nothing, so nobody in it counts its pages, and its slot says nothing. What it has is a part of what
 * the run takes all the same: a shell beside the program that pages, the compilers of a make of which one pages.
 *
 * Alone it has what statm says. Of several each has its part (Pss): children that their parent forked share its pages, and
 * programs their libraries. As in live/filepart.c the kernel divides files among all processes of the machine, so nobody's
 * part of them is less than if all processes of the run mapped the same. For Pss it walks the page tables, some 20 ns a page: so it
 * is asked seldom enough to cost a hundredth of the time (a tenth, after processes have come or gone and the parts have
 * changed), and in between the others are taken to have as much of it as before. Where it may not be asked (a process of
 * another user), all of statm counts.
 *
 * The parts are not of one moment: of a hundred processes that end while they are looked at each would be counted with
 * what those before have left it, 40 MiB that all share as 40 × (1/100 + 1/99 + … + 1). So what others have grows at once, and
 * becomes less if it has stayed so for a fifth of a second.
 */
#include "cli/run/natives.h"

#include <time.h>

#include "cli/procmem.h"

#define SELDOM 100         /* times its own cost … */
#define CHANGED 10         /* … and after a change */
#define OFTEN_NS 500000000 /* 0.5 s: without a change it is not asked for more often */
#define STAYED_NS 200000000

/* What is known of the process in a slot. Only what was once used is touched. */
static struct native {
	int32_t pid;         /* with start_time who it is; 0: nobody was asked for */
	uint64_t start_time;
	uint64_t resident;   /* pages, when the kernel was asked for the part */
	uint64_t others;     /* of them, that count for others */
	uint64_t less;       /* ns: since when they have been found to be less; 0: they are not */
	uint64_t processes;  /* of the run, then */
	uint64_t asked, cost; /* ns: when, and what it took */
} natives[LEDGER_SLOTS];

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static bool is_due(const struct native *n, uint64_t processes, uint64_t now)
{
	if (n->processes != processes)
		return now - n->asked >= n->cost * CHANGED;
	return now - n->asked >= MAX(n->cost * SELDOM, OFTEN_NS);
}

static bool is_near(const struct native *n, uint64_t resident)
{
	return resident < n->resident + n->resident / 4 && resident + n->resident / 4 > n->resident;
}

static void believe(struct native *n, uint64_t others, uint64_t now)
{
	if (others < n->others && n->less == 0) {
		n->less = now;
	} else if (others >= n->others || now - n->less >= STAYED_NS) {
		n->others = others;
		n->less = 0;
	}
}

static void ask(struct native *n, const struct procmem *m, uint64_t processes, uint64_t now)
{
	struct procmem_part part;
	uint64_t pages = m->resident;

	if (procmem_read_part(n->pid, &part) == 0)
		pages = MIN(part.anon + MAX(part.shared, m->shared / processes), m->resident);
	believe(n, m->resident - pages, now);
	n->resident = m->resident;
	n->processes = processes;
	n->asked = now;
	n->cost = now_ns() - now;
}

uint64_t natives_resident(unsigned i, const struct ledger_slot *s, uint64_t processes)
{
	struct native *n = &natives[i];
	int32_t pid = atomic_load(&s->pid);
	uint64_t now = now_ns();
	struct procmem m;

	if (procmem_read(pid, &m) != 0 || m.resident == 0)
		return 0;
	if (processes <= 1)
		return m.resident;
	if (n->pid != pid || n->start_time != s->start_time)
		*n = (struct native){ .pid = pid, .start_time = s->start_time };
	if (is_due(n, processes, now) || !is_near(n, m.resident))
		ask(n, &m, processes, now);
	return m.resident - MIN(n->others, m.resident);
}
