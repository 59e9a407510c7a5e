/*
 * Stall, as in PSI ("some"): the share of time in which at least one thread of a process waits for a page. One handler
 * serves a process, one fault after the other, so the times of its faults add up to just that. A
 * fault that is being served at this moment counts as far as it has come.
 *
 * The share is averaged over some two seconds, exponentially:
 *
 *     average += (share of the last look − average) × dt / (dt + min(TAU, age))
 *
 * With the age of a young process instead it is the plain mean of its life: a compiler that is done after a second must not
 * be taken for one that sleeps.
 *
 * and stands in the slot, for those that divide the budget by it (live/share.c) and those that show it.
 *
 * A process thrashes when its average stays above STALL_THRASHING for ten seconds: it gets next to nothing done, and the run
 * will perhaps go on like this for hours before somebody looks. That is said once in a run, with the budget in which all that
 * the processes have now would be resident: more than enough, and the only bound that needs no guess of what they will touch.
 */
#include "cli/run/stall.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/msg.h"
#include "cli/table.h"

#define TAU_NS 2e9
#define STALL_THRASHING 0.8
#define THRASHING_NS 10000000000

int stall_set_limit(struct stall_options *o, const char *value)
{
	char *end;
	unsigned long percent = strtoul(value, &end, 10), seconds = 0;

	if (value[0] >= '0' && value[0] <= '9' && end[0] == ':' && end[1] >= '0' && end[1] <= '9')
		seconds = strtoul(end + 1, &end, 10);
	if (*end != '\0' || percent < 1 || percent > 99 || seconds < 1 || seconds > 86400)
		return msg_fail(EXIT_USAGE, "--oom-on-stall",
				"\"%s\" is not a share in per cent and a time; write it as 90:30, for 90 %% during 30 seconds", value);
	o->percent = (unsigned)percent;
	o->lasts_ns = seconds * 1000000000;
	return 0;
}

void stall_init(struct stall *s, struct ledger *l)
{
	s->ledger = l;
}

static uint64_t stalled_ns(const struct ledger_slot *s, uint64_t now)
{
	uint64_t since = atomic_load(&s->fault_since);

	return s->counter[VM_stall_ns] + (since != 0 && now > since ? now - since : 0);
}

static void average(struct stall_task *t, uint64_t stalled, uint64_t now, uint64_t dt)
{
	/* Between two of its writes the process may show a fault twice, or not at all. */
	uint64_t rise = stalled > t->stalled_ns ? MIN(stalled - t->stalled_ns, dt) : 0;

	double known = MIN((double)(now - dt - t->began_ns), TAU_NS);

	t->average += ((double)rise / (double)dt - t->average) * (double)dt / ((double)dt + known);
	t->stalled_ns = stalled;
}

/* True: above has been so since lasts_ns. */
static bool lasts(uint64_t *since, bool above, uint64_t now, uint64_t lasts_ns)
{
	if (!above)
		*since = 0;
	else if (*since == 0)
		*since = now;
	return above && now - *since >= lasts_ns;
}

static void warn(struct stall *s, const struct ledger_slot *slot, double share)
{
	uint64_t need = s->ledger->reserved_pages;
	struct oom_task *rows;
	char enough[80] = "";

	for (unsigned i = 0, n = oom_rows(s->ledger, &rows); i < n; i++)
		need += oom_footprint(&rows[i]);
	if (need > s->ledger->ram_pages)
		snprintf(enough, sizeof(enough), " (what all processes have now needs %s)", size_text(need << PAGE_SHIFT));
	msg_note("thrashing: %.15s (pid %d) has waited for pages %.0f %% of the last ten seconds; raise --ram%s", slot->comm,
		 atomic_load(&slot->pid), share * 100, enough);
	s->warned = true;
}

void stall_tick(struct stall *s, struct oom *o, uint64_t now)
{
	uint64_t dt = now - s->looked_ns;
	bool first = s->looked_ns == 0, exceeded = false;

	s->looked_ns = now;
	if (first || dt == 0)
		return;
	for (uint32_t i = 0, used = atomic_load(&s->ledger->slots_used); i < used; i++) {
		struct ledger_slot *slot = &s->ledger->slot[i];
		struct stall_task *t = &s->task[i];

		if (atomic_load(&slot->state) != LEDGER_ENGAGED)
			continue;
		if (t->start_time != slot->start_time)
			*t = (struct stall_task){ .start_time = slot->start_time, .began_ns = now - dt, .stalled_ns = 0 };
		average(t, stalled_ns(slot, now), now, dt);
		atomic_store(&slot->stall, (uint32_t)(t->average * 1000));
		if (lasts(&t->thrashes_since, t->average >= STALL_THRASHING, now, THRASHING_NS) && !s->warned)
			warn(s, slot, t->average);
		exceeded |= s->options.lasts_ns != 0 && lasts(&t->exceeds_since, t->average * 100 >= s->options.percent, now,
							       s->options.lasts_ns);
	}
	if (!exceeded)
		return;
	oom_kill(o, "stalled for too long", now);
	/* The one after it has as much time. */
	for (uint32_t i = 0, used = atomic_load(&s->ledger->slots_used); i < used; i++)
		s->task[i].exceeds_since = 0;
}
