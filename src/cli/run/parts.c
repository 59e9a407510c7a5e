/*
 * A process with an engine writes into its slot what it has. Nobody counts in one that fits, because it is to pay nothing; what it has
 * is a part of what the run takes all the same: a shell beside the program that pages, the compilers of a make of which one
 * pages. Alone it has what statm says.
 *
 * Of several each has its part (Pss). Children that their parent forked share its pages with it, and those of a process with an
 * engine its pool and tables, too: both count them, and they are in memory once until one of both changes them. Programs share
 * libraries; an engine has divided those itself (live/filepart.c), for others they are divided here, and as there: the
 * kernel divides among all processes of the machine, so nobody's part is less than if all processes of the run
 * mapped the same.
 *
 * For Pss the kernel walks the page tables, some 20 ns a page: so it is asked seldom enough to cost a 25th of the time for all
 * together (each a tenth, when processes have come or gone and the parts have changed), and in between the others are
 * taken to have as much of a process as before. Where it may not be asked (a process of another user), the process
 * has all of it.
 *
 * The parts are not of one moment: of a hundred processes that end while they are looked at each would be counted with
 * what those before have left it, 40 MiB that all share as 40 × (1/100 + 1/99 + … + 1). So what others have grows at once, and
 * becomes less if it has stayed so for a fifth of a second; or a tenth where there is an engine, because pages of those are copied
 * all the time and they are not many.
 */
#include "cli/run/parts.h"

#include "cli/procmem.h"
#include "live/clock.h"

#define SELDOM 25          /* times what it costs for all … */
#define CHANGED 10         /* … and after a change for this one */
#define OFTEN_NS 100000000 /* 0.1 s: without a change it is not asked for more often */
#define STAYED_NS 200000000
#define STAYED_ENGAGED_NS 100000000

/* What is known of the process in a slot. Only what was once used is touched. */
static struct known {
	bool engaged;        /* then the others have only anonymous pages of it */
	bool shared;         /* others have had some */
	int32_t pid;         /* with start_time who it is; 0: nobody was asked for */
	uint64_t start_time;
	uint64_t resident;   /* pages, when the kernel was asked for the part */
	uint64_t others;     /* of them, that count for others */
	uint64_t less;       /* ns: since when they have been found to be less; 0: they are not */
	uint64_t processes;  /* of the run, then */
	uint64_t asked, cost; /* ns: when, and what it took */
} known[LEDGER_SLOTS];

static bool is_due(const struct known *n, uint64_t processes, uint64_t now)
{
	if (n->processes != processes)
		return now - n->asked >= n->cost * CHANGED;
	return now - n->asked >= MAX(n->cost * processes * SELDOM, OFTEN_NS);
}

static bool is_near(const struct known *n, uint64_t resident)
{
	return resident < n->resident + n->resident / 4 && resident + n->resident / 4 > n->resident;
}

static void believe(struct known *n, uint64_t others, uint64_t now)
{
	uint64_t patience = n->engaged ? STAYED_ENGAGED_NS : STAYED_NS;

	if (others < n->others && n->less == 0) {
		n->less = now;
	} else if (others >= n->others || now - n->less >= patience) {
		n->others = others;
		n->less = 0;
	}
}

/* Pages that count for others, of a process that has m. */
static uint64_t others_of(const struct known *n, const struct procmem *m, uint64_t processes)
{
	struct procmem_part part;

	if (procmem_read_part(n->pid, &part) != 0)
		return 0;
	uint64_t others = part.anon_whole - MIN(part.anon_whole, part.anon);

	return n->engaged ? others : others + m->shared - MIN(m->shared, MAX(part.shared, m->shared / processes));
}

static void ask(struct known *n, const struct procmem *m, uint64_t processes, uint64_t now)
{
	believe(n, others_of(n, m, processes), now);
	n->shared = n->shared || n->others > 0;
	n->resident = m->resident;
	n->processes = processes;
	n->asked = now;
	n->cost = now_ns() - now;
}

/* The same, as it was found lately. */
static uint64_t others(unsigned i, const struct ledger_slot *s, bool engaged, const struct procmem *m, uint64_t processes)
{
	struct known *n = &known[i];
	int32_t pid = atomic_load(&s->pid);
	uint64_t now = now_ns();

	if (processes <= 1 || m->resident == 0)
		return 0;
	if (n->pid != pid || n->start_time != s->start_time || n->engaged != engaged)
		*n = (struct known){ .pid = pid, .start_time = s->start_time, .engaged = engaged };
	if (is_due(n, processes, now) || !is_near(n, m->resident))
		ask(n, m, processes, now);
	return MIN(n->others, m->resident);
}

/*
 * Its manager counts frames, of those that fork shares each as a page, and knows nothing of copies that the kernel has made: together
 * they are what the kernel has counted. Nobody says which are shared.
 */
static void correct(struct ledger_usage *u, uint64_t pages)
{
	uint64_t sum = u->managed + u->pool + u->own;

	if (sum == 0)
		return;
	u->managed = u->managed * pages / sum;
	u->pool = u->pool * pages / sum;
	u->own = pages - u->managed - u->pool;
}

struct ledger_usage part_of(unsigned i, const struct ledger_slot *s, uint64_t processes)
{
	uint32_t state = atomic_load(&s->state);
	bool engaged = state != LEDGER_NATIVE && state != LEDGER_ARMED;
	struct ledger_usage u = { 0 };
	struct procmem m = { 0 };

	if (!engaged || processes > 1)
		procmem_read(atomic_load(&s->pid), &m);
	uint64_t not_ours = others(i, s, engaged, &m, processes);

	if (engaged) {
		u = s->now;
		if (m.resident > 0 && known[i].shared)
			correct(&u, m.resident - m.shared - MIN(not_ours, m.resident - m.shared));
	} else {
		u.unmanaged = m.resident - not_ours;
	}
	return u;
}
