#include "live/ledger.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

#include "base/sys.h"

static void atomic_max(_Atomic uint64_t *a, uint64_t v)
{
	uint64_t old = atomic_load_explicit(a, memory_order_relaxed);

	while (old < v && !atomic_compare_exchange_weak(a, &old, v))
		;
}

static uint64_t take_free(struct ledger *l, uint64_t want)
{
	int64_t free = atomic_load(&l->free_pages);
	uint64_t got;

	do {
		got = MIN(want, (uint64_t)MAX(free, 0));
	} while (!atomic_compare_exchange_weak(&l->free_pages, &free, free - (int64_t)got));
	return got;
}

#define OVERDRAFT_PART 8 /* of the budget */
#define OVERDRAFT_MAX (16 * MIB >> PAGE_SHIFT)

uint64_t ledger_overdraft(const struct ledger *l)
{
	return MIN(atomic_load(&l->ram_pages) / OVERDRAFT_PART, OVERDRAFT_MAX);
}

uint64_t ledger_overdrawn(const struct ledger *l)
{
	int64_t free = atomic_load(&l->free_pages);

	return free < 0 ? (uint64_t)-free : 0;
}

void ledger_leave(struct ledger *l, int64_t more)
{
	atomic_fetch_sub(&l->free_pages, more);
	l->left_pages = (uint64_t)((int64_t)l->left_pages + more);
}

uint64_t ledger_free(const struct ledger *l)
{
	return (uint64_t)MAX(atomic_load(&l->free_pages), 0);
}

#define SHORT_PART 4 /* short: no more than this part of the budget is free */

bool ledger_is_short(const struct ledger *l)
{
	return ledger_free(l) <= atomic_load(&l->ram_pages) / SHORT_PART;
}

static void granted(struct ledger *l, struct ledger_slot *s, uint64_t got)
{
	uint64_t ram = atomic_load(&l->ram_pages), free = ledger_free(l) + l->left_pages;

	atomic_fetch_add(&s->granted, got);
	atomic_max(&l->peak_granted, ram - MIN(ram, free));
}

uint64_t ledger_overdraw(struct ledger *l, struct ledger_slot *s, uint64_t want)
{
	uint64_t most = ledger_overdraft(l), lent = atomic_load(&l->lent_pages);
	int64_t free = atomic_load(&l->free_pages), least = -(int64_t)(most - MIN(most, lent));

	do {
		if (free - (int64_t)want < least)
			return 0;
	} while (!atomic_compare_exchange_weak(&l->free_pages, &free, free - (int64_t)want));
	granted(l, s, want);
	return want;
}

/* The grant becomes keep pages, if it is more. Returns by how many it was. */
static uint64_t lower(struct ledger_slot *s, uint64_t keep)
{
	uint64_t granted = atomic_load(&s->granted);

	do {
		if (granted <= keep)
			return 0;
	} while (!atomic_compare_exchange_weak(&s->granted, &granted, keep));
	return granted - keep;
}

void ledger_trim(struct ledger *l, struct ledger_slot *s, uint64_t keep)
{
	/* Whoever squeezes us meanwhile may have taken some, and will put it back when he finds that nothing is allowed. */
	atomic_fetch_add(&l->free_pages, (int64_t)lower(s, keep));
}

uint64_t ledger_grant(struct ledger *l, struct ledger_slot *s, uint64_t want)
{
	uint64_t got = take_free(l, want);

	granted(l, s, got);
	return got;
}

void ledger_return(struct ledger *l, struct ledger_slot *s, uint64_t n)
{
	atomic_fetch_sub(&s->granted, n);
	atomic_fetch_add(&l->free_pages, (int64_t)n);
}

void ledger_return_all(struct ledger *l, struct ledger_slot *s)
{
	atomic_store(&s->allowed, 0);
	/* In one step: somebody who squeezes us may be between his two. */
	atomic_fetch_add(&l->free_pages, (int64_t)atomic_exchange(&s->granted, 0));
}

#define OWN_LEAST 32    /* of a process that is not likely to come to an engine … */
#define OWN_PAGES 512   /* … and of one that is: code, stacks and tables of Steward itself, and slack between two looks */
#define OWN_FROM 384    /* from the one to the other with each eighth of the grant beyond this … */
#define OWN_SHIFT 3
#define TABLES_SHIFT 5  /* … and always a 32nd: frame table, page tables of what is out, slots */
#define KEPT_SHIFT 3    /* of the room */

uint64_t ledger_native_limit(uint64_t granted)
{
	uint64_t more = granted > OWN_FROM ? (granted - OWN_FROM) >> OWN_SHIFT : 0;
	uint64_t own = MIN(OWN_PAGES, OWN_LEAST + more) + (granted >> TABLES_SHIFT);

	return granted > own ? granted - own : 0;
}

uint64_t ledger_native_grant(uint64_t pages)
{
	uint64_t grant = pages, limit;

	while ((limit = ledger_native_limit(grant)) < pages)
		grant += pages - limit;
	return grant;
}

uint64_t ledger_allowed(uint64_t room)
{
	return room - (room >> KEPT_SHIFT);
}

/* What a NATIVE process could do without if it were allowed LEDGER_KEEP only; rounded down wherever it is not exact. */
static uint64_t spare_of(uint64_t granted, int64_t allowed)
{
	if (allowed <= (int64_t)LEDGER_KEEP)
		return 0;
	uint64_t less = (uint64_t)(allowed - (int64_t)LEDGER_KEEP) >> PAGE_SHIFT, room = less + less / ((1 << KEPT_SHIFT) - 1);
	uint64_t limit = ledger_native_limit(granted), grant = ledger_native_grant(limit - MIN(limit, room));

	return granted - MIN(granted, grant);
}

/*
 * First the grant, then what is allowed: an owner that looks meanwhile sees a
 * grant that is too small, which is safe, and its store to allowed makes the
 * second step fail.
 */
static uint64_t squeeze_one(struct ledger_slot *o, uint64_t want)
{
	int64_t allowed = atomic_load(&o->allowed);
	uint64_t granted = atomic_load(&o->granted), spare = spare_of(granted, allowed), take = MIN(want, spare);

	if (take == 0)
		return 0;
	uint64_t room = (ledger_native_limit(granted) - ledger_native_limit(granted - take)) << PAGE_SHIFT;
	int64_t less = take == spare ? allowed - (int64_t)LEDGER_KEEP : (int64_t)(room - (room >> KEPT_SHIFT));

	do {
		if (granted < take)
			return 0;
	} while (!atomic_compare_exchange_weak(&o->granted, &granted, granted - take));
	if (atomic_compare_exchange_strong(&o->allowed, &allowed, allowed - less))
		return take;
	atomic_fetch_add(&o->granted, take);
	return 0;
}

bool ledger_take_unused(struct ledger *l, struct ledger_slot *s, uint64_t keep)
{
	int64_t allowed = atomic_load(&s->allowed);
	/* Nothing is allowed while it looks, and this must be seen to change. */
	uint64_t taken = allowed > 0 ? lower(s, keep) : 0;

	if (taken == 0)
		return false;
	if (!atomic_compare_exchange_strong(&s->allowed, &allowed, 0)) {
		atomic_fetch_add(&s->granted, taken);
		return false;
	}
	atomic_fetch_add(&l->free_pages, (int64_t)taken);
	return true;
}

static uint64_t squeeze_others(struct ledger *l, const struct ledger_slot *s, uint64_t want)
{
	uint64_t got = 0;

	for (uint32_t i = 0, used = atomic_load(&l->slots_used); i < used && got < want; i++) {
		struct ledger_slot *o = &l->slot[i];

		if (o != s && atomic_load(&o->pid) != 0 && atomic_load(&o->state) == LEDGER_NATIVE)
			got += squeeze_one(o, want - got);
	}
	return got;
}

uint64_t ledger_squeeze(struct ledger *l, struct ledger_slot *s, uint64_t want)
{
	uint64_t got = squeeze_others(l, s, want);

	atomic_fetch_add(&s->granted, got);
	return got;
}

uint64_t ledger_demand(struct ledger *l, struct ledger_slot *s, uint64_t want)
{
	uint64_t got = ledger_grant(l, s, want);

	return got + ledger_squeeze(l, s, want - got);
}

uint64_t ledger_collect(struct ledger *l, uint64_t want)
{
	uint64_t got = take_free(l, want);

	return got + squeeze_others(l, NULL, want - got);
}

uint64_t ledger_least(const struct ledger *l)
{
	uint64_t least = l->reserved_pages + l->left_pages;

	for (uint32_t i = 0, used = atomic_load(&l->slots_used); i < used; i++) {
		const struct ledger_slot *s = &l->slot[i];
		uint64_t granted = atomic_load(&s->granted), spare = atomic_load(&s->spare);

		if (atomic_load(&s->state) == LEDGER_NATIVE)
			spare = spare_of(granted, atomic_load(&s->allowed));
		least += granted - MIN(granted, spare);
	}
	return least;
}

#define RETIRING (-1) /* in place of a pid */

static struct ledger_slot *claim(struct ledger *l, int32_t pid, uint64_t start_time)
{
	uint32_t used = atomic_load(&l->slots_used);

	for (uint32_t i = 0; i < used; i++) {
		struct ledger_slot *s = &l->slot[i];

		if (atomic_load(&s->pid) == pid && s->start_time == start_time)
			return s;
	}
	for (uint32_t i = 0; i < LEDGER_SLOTS; i++) {
		struct ledger_slot *s = &l->slot[i];
		int32_t none = 0;

		if (!atomic_compare_exchange_strong(&s->pid, &none, pid))
			continue;
		for (used = atomic_load(&l->slots_used); used <= i;)
			atomic_compare_exchange_weak(&l->slots_used, &used, i + 1);
		s->start_time = start_time;
		atomic_store(&s->state, LEDGER_NATIVE);
		return s;
	}
	return NULL;
}

/* A daemon that outlives the launcher may start any number of processes. */
static void retire_gone(struct ledger *l)
{
	for (uint32_t i = 0; i < LEDGER_SLOTS; i++) {
		struct ledger_slot *s = &l->slot[i];
		int32_t pid = atomic_load(&s->pid);

		/* Of two that look at the same time one has it. */
		if (pid > 0 && sys_kill(pid, 0) == -ESRCH && atomic_compare_exchange_strong(&s->pid, &pid, RETIRING))
			ledger_retire(l, s);
	}
}

struct ledger_slot *ledger_claim(struct ledger *l, int32_t pid, uint64_t start_time)
{
	struct ledger_slot *s = claim(l, pid, start_time);

	if (s == NULL && atomic_load(&l->ended) != 0) {
		retire_gone(l);
		s = claim(l, pid, start_time);
	}

	/* After the claim: from now on whoever ends the run finds us in the ledger, and before it we find this. */
	while (atomic_load(&l->over) != 0)
		sys_kill(pid, SIGKILL);
	return s;
}

const struct ledger_slot *ledger_slot_of(const struct ledger *l, int32_t pid)
{
	for (uint32_t i = 0, used = atomic_load(&l->slots_used); i < used; i++)
		if (atomic_load(&l->slot[i].pid) == pid)
			return &l->slot[i];
	return NULL;
}

void ledger_retire(struct ledger *l, struct ledger_slot *s)
{
	struct ledger_gone *g = &l->gone;

	g->processes++;
	g->need_peak = MAX(g->need_peak, s->need_peak);
	if (ledger_usage_total(&s->peak) > ledger_usage_total(&g->peak))
		g->peak = s->peak;
	for (unsigned i = 0; i < VM_COUNTER_NR; i++)
		g->counter[i] += s->counter[i];
	hist_merge(&g->fault_ns, &s->fault_ns);

	ledger_return_all(l, s);
	atomic_store(&s->urgency, 0);
	atomic_store(&s->spare, 0);
	atomic_store(&s->stall, 0);
	atomic_store(&s->fault_since, 0);
	atomic_store(&s->fleeting, LEDGER_CHILD_LIVES);
	s->parent = 0;
	atomic_store(&s->oom, LEDGER_OOM_NONE);
	atomic_store(&s->state, LEDGER_FREE);
	s->start_time = 0;
	s->now = s->peak = (struct ledger_usage){ 0 };
	memset(s->area, 0, sizeof(s->area));
	s->frames = (struct ledger_frames){ 0 };
	s->need_peak = 0;
	s->fault_ns = (struct hist){ 0 };
	s->heap = (struct heap_counts){ 0 };
	for (unsigned i = 0; i < VM_COUNTER_NR; i++)
		s->counter[i] = 0;
	s->message[0] = '\0';
	atomic_store(&s->pinned, 0);
	atomic_store(&s->asked, ASK_IDLE);
	/* Last: whoever claims the slot must find it empty. */
	atomic_store(&s->pid, 0);
}
