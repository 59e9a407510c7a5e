/*
 * The OOM killer of a run. A process that finds no frame, with its stores full and nothing free in the run, asks by a word
 * in its slot (live/oom.c). One process ends for it, never the tree:
 *
 *     somebody asks ──► choice ──► SIGTERM ──grace──► SIGKILL ──► it is gone, its grant is free ──► "go on" to all who ask
 *                         │            └ only with --oom-grace        (watch.c retires the slot)
 *                         └ nobody may be killed, or dry run ──► "refused": those who ask are stopped by their engines
 *
 * The choice is that of mm/reclaim/oom.c, which the modelled machine makes too, on the figures of the ledger. Patterns
 * make three tiers: whom --oom-prefer names, then the others, then whom --oom-avoid names; a tier is looked at if
 * nobody can be killed in those before it. oom_score_adj -1000 is never killed, preferred or not.
 *
 * While somebody is dying nobody else is chosen, because a second one would die for what the first is
 * about to give back. One that is still there long after SIGKILL (the kernel is busy with it) is passed over.
 *
 * totalpages, the measure of oom_score_adj, is the budget and what lies in the swap files at this moment: with both full
 * that is all the memory that there is.
 */
#include "cli/run/oom.h"

#include <fnmatch.h>
#include <signal.h>
#include <stdio.h>

#include "cli/msg.h"
#include "cli/run/recorder.h"

#define DEATH_NS 10000000000 /* 10 s: a killed process that is still there then is passed over */

enum tier { PREFERRED, ORDINARY, AVOIDED, TIERS };

void oom_init(struct oom *o, struct watch *w)
{
	o->watch = w;
	o->ledger = w->ledger;
	o->ledger->oom_patience_ns = o->options.grace_ns + 2 * (uint64_t)DEATH_NS;
}

static bool somebody_asks(const struct ledger *l)
{
	for (uint32_t i = 0, used = atomic_load(&l->slots_used); i < used; i++)
		if (atomic_load(&l->slot[i].oom) == LEDGER_OOM_ASKED)
			return true;
	return false;
}

static void answer(struct ledger *l, enum ledger_oom what)
{
	for (uint32_t i = 0, used = atomic_load(&l->slots_used); i < used; i++) {
		uint32_t asked = LEDGER_OOM_ASKED;

		atomic_compare_exchange_strong(&l->slot[i].oom, &asked, what);
	}
}

static bool matches(const struct oom_patterns *p, const char *name)
{
	for (unsigned i = 0; i < p->nr; i++)
		if (fnmatch(p->text[i], name, 0) == 0)
			return true;
	return false;
}

static enum tier tier_of(const struct oom_options *o, const char *name)
{
	if (matches(&o->prefer, name))
		return PREFERRED;
	return matches(&o->avoid, name) ? AVOIDED : ORDINARY;
}

static bool is_victim(const struct oom_victim *v, const struct ledger_slot *s)
{
	return v->slot == s && s != NULL && atomic_load(&s->pid) == v->pid && s->start_time == v->start_time;
}

static enum tier scan_tiers(const struct oom *o, const struct oom_task *rows, unsigned n, struct oom_scan *scan)
{
	uint64_t filed = 0;
	enum tier t = PREFERRED;

	for (unsigned i = 0; i < n; i++)
		filed += ((const struct ledger_slot *)rows[i].engine)->now.filed;
	for (;; t++) {
		oom_scan_init(scan, o->ledger->ram_pages + filed);
		scan->policy = o->options.policy;
		for (unsigned i = 0; i < n; i++)
			if (tier_of(&o->options, rows[i].name) == t && !is_victim(&o->stuck, rows[i].engine))
				oom_scan_task(scan, &rows[i]);
		if (scan->outcome != OOM_NONE || t + 1 == TIERS)
			return t;
	}
}

static uint64_t need_of(const struct ledger *l, const struct oom_task *rows, unsigned n)
{
	uint64_t need = l->reserved_pages;

	for (unsigned i = 0; i < n; i++)
		need += oom_footprint(&rows[i]);
	return need;
}

static void strike(struct oom *o, int sig, uint64_t now)
{
	o->victim.killed = sig == SIGKILL;
	o->victim.since_ns = now;
	watch_signal(o->victim.pid, o->victim.start_time, sig);
}

static void choose(struct oom *o, const char *what, uint64_t now)
{
	static const char *const which[TIERS] = {
		[PREFERRED] = "--oom-prefer names it and ",
		[ORDINARY] = "",
		[AVOIDED] = "only those that --oom-avoid names are left and it ",
	};
	const char *done = o->options.dry_run ? "would have killed" : o->options.grace_ns > 0 ? "sent SIGTERM to" : "killed";
	struct oom_task *rows;
	struct oom_scan scan;
	unsigned n = oom_rows(o->ledger, &rows);
	enum tier t = scan_tiers(o, rows, n, &scan);

	if (o->verbose)
		oom_say_rows(&scan, rows, n);
	recorder_oom(what, &scan, rows, n);
	if (scan.outcome != OOM_KILL) {
		answer(o->ledger, LEDGER_OOM_REFUSED);
		return;
	}
	oom_say_choice(&scan, what, done, which[t], need_of(o->ledger, rows, n), o->watch);
	if (o->options.dry_run) {
		answer(o->ledger, LEDGER_OOM_REFUSED);
		return;
	}
	struct ledger_slot *s = scan.victim.engine;

	o->victim = (struct oom_victim){ .slot = s, .pid = (int32_t)scan.victim.pid, .start_time = s->start_time };
	snprintf(o->victim.name, sizeof(o->victim.name), "%s", scan.victim.name);
	o->ledger->gone.counter[VM_oom_kill]++;
	strike(o, o->options.grace_ns > 0 ? SIGTERM : SIGKILL, now);
}

/* Somebody waits for the victim's memory, and the victim is still there. */
static void insist(struct oom *o, uint64_t now)
{
	struct oom_victim *v = &o->victim;

	if (!v->killed && now - v->since_ns >= o->options.grace_ns) {
		msg_note("out of memory: %s (pid %d) is still there after its grace; killed", v->name, v->pid);
		strike(o, SIGKILL, now);
	} else if (v->killed && now - v->since_ns >= DEATH_NS) {
		o->stuck = *v;
		v->slot = NULL;
	}
}

void oom_kill(struct oom *o, const char *what, uint64_t now)
{
	if (o->victim.slot == NULL)
		choose(o, what, now);
}

void oom_tick(struct oom *o, uint64_t now)
{
	bool asked = somebody_asks(o->ledger);

	if (o->options.policy == OOM_GROWING)
		oom_note_growth(o->ledger, now);
	if (o->victim.slot == NULL) {
		if (asked)
			choose(o, "out of memory", now);
	} else if (!is_victim(&o->victim, o->victim.slot)) {
		o->victim.slot = NULL;
		answer(o->ledger, LEDGER_OOM_GO_ON);
	} else if (asked) {
		insist(o, now);
	}
}
