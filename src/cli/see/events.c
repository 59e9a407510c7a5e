#include "cli/see/events.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "cli/see/show.h"

static struct event make(bool bad, const char *format, va_list args)
{
	struct event new = { .when = time(NULL), .times = 1, .bad = bad };

	new.until = new.when;
	vsnprintf(new.text, sizeof(new.text), format, args);
	return new;
}

static void __attribute__((format(printf, 3, 4))) add(struct events *e, bool bad, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	e->event[e->nr++ % EVENTS_MAX] = make(bad, format, args);
	va_end(args);
}

/* What comes again and again would push everything else from the screen: it is counted while it is among the last few. */
#define AGAIN_EVENTS 4
#define AGAIN_S 10

static struct event *just_said(struct events *e, const struct event *new)
{
	for (unsigned i = 0; i < MIN(e->nr, (unsigned)AGAIN_EVENTS); i++) {
		struct event *old = &e->event[(e->nr - 1 - i) % EVENTS_MAX];

		if (new->when - old->until <= AGAIN_S && strcmp(old->text, new->text) == 0)
			return old;
	}
	return NULL;
}

/* Of what may go on: so often in the interval. */
static void __attribute__((format(printf, 4, 5))) add_times(struct events *e, bool bad, uint64_t times, const char *format, ...)
{
	struct event new, *old;
	va_list args;

	va_start(args, format);
	new = make(bad, format, args);
	va_end(args);
	new.times = times;
	old = just_said(e, &new);
	if (old == NULL) {
		e->event[e->nr++ % EVENTS_MAX] = new;
		return;
	}
	old->until = new.when;
	old->times += times;
}

static void state_changed(struct events *e, const struct sample_process *p)
{
	if (p->state == LEDGER_ENGAGED)
		add(e, false, "%d %s: memory is short, from now on it is managed", p->pid, p->comm);
	else if (p->state == LEDGER_ARMED)
		add(e, false, "%d %s: nears its share of the budget", p->pid, p->comm);
	else if (p->state == LEDGER_FATAL)
		add(e, true, "%d %s: stopped by Steward", p->pid, p->comm);
	else
		add(e, false, "%d %s: another program, which fits", p->pid, p->comm);
}

/* Both samples are sorted by pid: who is in one only has ended, or is new. */
static void processes(struct events *e, const struct sample *before, const struct sample *now)
{
	unsigned i = 0, k = 0;

	while (i < before->nr || k < now->nr) {
		const struct sample_process *was = i < before->nr ? &before->process[i] : NULL;
		const struct sample_process *is = k < now->nr ? &now->process[k] : NULL;
		bool same = was != NULL && is != NULL && was->pid == is->pid;

		if (same && was->start == is->start && was->state != is->state)
			state_changed(e, is);
		if (was != NULL && (is == NULL || was->pid < is->pid || (same && was->start != is->start)))
			add(e, false, "%d %s: ended", was->pid, was->comm);
		if (is != NULL && (was == NULL || is->pid < was->pid || (same && was->start != is->start)))
			add(e, false, "%d %s: started", is->pid, is->comm);
		i += was != NULL && (same || is == NULL || was->pid < is->pid);
		k += is != NULL && (same || was == NULL || is->pid < was->pid);
	}
}

static void reclaim(struct events *e, const struct sample *before, const struct sample *now)
{
	uint64_t waited = sample_rise(before->counter, now->counter, VM_allocstall);
	uint64_t demoted = sample_rise(before->counter, now->counter, VM_pgdemote);
	uint64_t killed = sample_rise(before->counter, now->counter, VM_oom_kill);
	const struct ledger_frames *f = &now->frames, *was = &before->frames;

	if (f->online > 0 && f->free < f->min && was->free >= was->min)
		add_times(e, true, 1, "free memory is below min: faults wait for kswapd");
	if (waited > 0)
		add_times(e, true, waited, "direct reclaim: a fault waited for a frame");
	if (demoted > 0 && before->counter[VM_pgdemote] == 0)
		add(e, false, "the pool is full: its oldest pages go on to the swap file");
	if (killed > 0)
		add(e, true, "out of memory: %" PRIu64 " killed", killed);
}

static void areas(struct events *e, const struct sample *before, const struct sample *now)
{
	for (unsigned i = 0; i < MIN(before->nr_areas, now->nr_areas); i++) {
		const struct sample_area *a = &now->area[i];

		if (a->state > before->area[i].state)
			add_times(e, a->state >= SWAP_FAILING, 1, "%s: %s", a->name, swap_state_name(a->state));
	}
}

/* steward set, or the key of somebody's top. */
static void budget(struct events *e, const struct sample *before, const struct sample *now)
{
	if (now->asked != 0 && now->asked != before->asked)
		add(e, false, "the budget is to be %s", show_pages(now->asked));
	if (now->asked != 0)
		return;
	if (before->asked != 0 && now->ram != before->asked)
		add(e, true, "a budget of %s cannot be reached, it is %s", show_pages(before->asked), show_pages(now->ram));
	else if (before->asked != 0 || now->ram != before->ram)
		add(e, false, "the budget is %s now", show_pages(now->ram));
}

void events_add(struct events *e, const struct sample *before, const struct sample *now)
{
	processes(e, before, now);
	reclaim(e, before, now);
	areas(e, before, now);
	budget(e, before, now);
	if (before->watched && !now->watched)
		add(e, true, "the launcher has ended; what still runs keeps its budget");
}

const struct event *events_last(const struct events *e, unsigned n)
{
	return n < e->nr && n < EVENTS_MAX ? &e->event[(e->nr - 1 - n) % EVENTS_MAX] : NULL;
}
