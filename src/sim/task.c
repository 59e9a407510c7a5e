/* Processes follow the trace: their areas, forks and ends; files; and who is killed when there is no memory left. */
#include "sim/engine.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

struct sim_task *sim_task(struct sim *s, uint32_t number)
{
	return number < s->nr_tasks ? s->task[number] : NULL;
}

int sim_grow(void ***array, uint32_t *nr, uint32_t number)
{
	uint32_t want = *nr;
	void **p;

	if (number < *nr)
		return 0;
	while (want <= number)
		want = MAX(want * 2, 64u);
	p = realloc(*array, want * sizeof(*p));
	if (p == NULL)
		return -ENOMEM;
	memset(p + *nr, 0, (want - *nr) * sizeof(*p));
	*array = p;
	*nr = want;
	return 0;
}

static void name_task(struct sim_task *t, const struct trace_event *e)
{
	if (e->text != NULL)
		snprintf(t->name, sizeof(t->name), "%s", e->text);
}

/* Everything that a task had goes; it stays known for its figures. SIM_RUNS: it goes on with an empty address space. */
static void end_task(struct sim *s, struct sim_task *t, enum sim_end how)
{
	sim_flush_tlb(s, t, (vpn_t){ 0 }, UINT64_C(1) << PT_VPN_BITS_MAX);
	for (unsigned i = 0; i < s->config.cpus; i++) {
		if (s->cpu[i].current != t)
			continue;
		mmu_switch(s->cpu[i].mmu, NULL, 0);
		s->cpu[i].current = NULL;
	}
	mm_destroy(&t->mm);
	sim_shm_sweep(s);
	t->end = (uint8_t)how;
	if (how != SIM_RUNS)
		s->free_asid[s->nr_free_asids++] = t->asid;
}

static void free_task(struct sim *s, struct sim_task *t)
{
	for (unsigned i = 0; i < SIM_TASKS_SAMPLED; i++)
		if (s->sampled[i] == t)
			s->sampled[i] = NULL;
	if (t != NULL)
		free(t->sample);
	free(t);
}

/* A number that begins again goes on counting: what its task did before stays in the figures, under the new name. */
static void begin_anew(struct sim_task *t)
{
	const struct sim_task was = *t;

	*t = (struct sim_task){
		.end = SIM_EXITED, .touches = was.touches, .invalid = was.invalid, .rss_max = was.rss_max,
		.own_ns = was.own_ns, .stall_ns = was.stall_ns, .sample = was.sample,
	};
	memcpy(t->faults, was.faults, sizeof(t->faults));
}

static int new_task(struct sim *s, const struct trace_event *e, uint32_t number, struct sim_task **out,
		    const char **error)
{
	struct sim_task *t = sim_task(s, number);
	int err;

	if (number >= SIM_TASKS_MAX) {
		*error = "a task whose number is too large";
		return -EINVAL;
	}
	if (s->nr_free_asids == 0 && s->asids == SIM_ASIDS) {
		*error = "more tasks at one time than there are address-space numbers";
		return -EINVAL;
	}
	if (t != NULL && t->end == SIM_RUNS) {
		*error = "a task that exists begins again";
		return -EINVAL;
	}
	err = sim_grow((void ***)&s->task, &s->nr_tasks, number);
	if (err == 0 && t == NULL)
		t = calloc(1, sizeof(*t));
	if (err != 0 || t == NULL)
		return -ENOMEM;
	s->task[number] = t;
	begin_anew(t);
	err = mm_init(&t->mm, &s->m);
	if (err != 0)
		return err;
	t->end = SIM_RUNS;
	t->number = number;
	/* No CPU knows anything of one that was given back (end_task). */
	t->asid = s->nr_free_asids > 0 ? s->free_asid[--s->nr_free_asids] : s->asids++;
	t->on_demand = t->mm.no_zero = true;
	name_task(t, e);
	*out = t;
	return 0;
}

/* Repeats what needs memory of the machine until it gets it; 0: the task was killed for it, or has it. */
#define WITH_ROOM(s, t, err, call) \
	do { \
		unsigned tries = 0; \
		while ((err = (call)) == -ENOMEM && sim_make_room(s, t, &tries)) \
			; \
		if (err == -ENOMEM) \
			err = 0; \
	} while (0)

/*
 * The trace goes on as if nobody had been killed. What a task that was killed would have forked is known from here on,
 * like any other task, and what it does is left out.
 */
static int fork_task(struct sim *s, struct sim_task *t, const struct trace_event *e, const char **error)
{
	struct sim_task *child = NULL;
	unsigned tries = 0;
	int err = new_task(s, e, (uint32_t)e->arg, &child, error);

	if (err != 0)
		return err;
	child->on_demand = t->on_demand;
	child->oom_score_adj = t->oom_score_adj;
	memcpy(child->name, t->name, sizeof(child->name));
	while (t->end == SIM_RUNS && child->end == SIM_RUNS && (err = mm_fork(&t->mm, &child->mm)) == -ENOMEM) {
		mm_destroy(&child->mm);
		if (mm_init(&child->mm, &s->m) != 0)
			return -ENOMEM;
		if (!sim_make_room(s, t, &tries))
			break;
	}
	/* The parent may not write any more to what it shares. */
	if (t->end == SIM_RUNS)
		sim_flush_tlb(s, t, (vpn_t){ 0 }, UINT64_C(1) << PT_VPN_BITS_MAX);
	else if (child->end == SIM_RUNS)
		end_task(s, child, SIM_UNBORN);
	/* Whoever was killed for want of memory has no more need of it. */
	return err == -ENOMEM ? 0 : err;
}

static uint32_t vma_flags_of(unsigned flags)
{
	static const struct {
		unsigned trace, vma;
	} bits[] = {
		{ TRACE_R, VMA_READ }, { TRACE_W, VMA_WRITE }, { TRACE_X, VMA_EXEC }, { TRACE_MAP_SHARED, VMA_SHARED },
		{ TRACE_MAP_HEAP, VMA_HEAP }, { TRACE_MAP_STACK, VMA_STACK }, { TRACE_MAP_LOCKED, VMA_LOCKED },
	};
	uint32_t vma = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(bits); i++)
		vma |= flags & bits[i].trace ? bits[i].vma : 0;
	return vma;
}

static int map_event(struct sim *s, struct sim_task *t, const struct trace_event *e, const char **error)
{
	vpn_t start = { e->vpn }, end = { e->vpn + e->n };
	struct sim_file *file = sim_file(s, e->file);
	int err;

	if (e->file != 0 && file == NULL) {
		*error = "a mapping of a file that was not announced";
		return -EINVAL;
	}
	t->on_demand = false;
	t->mm.no_zero = s->samples;
	WITH_ROOM(s, t, err, mm_unmap(&t->mm, start, end));
	if (err != 0 || t->end != SIM_RUNS)
		return err;
	sim_flush_tlb(s, t, start, e->n);
	sim_shm_sweep(s);
	if (file == NULL && (e->flags & TRACE_MAP_SHARED)) {
		file = sim_shm_make(s, e->n);
		if (file == NULL)
			return -ENOMEM;
	}
	WITH_ROOM(s, t, err, mm_map(&t->mm, start, end, vma_flags_of(e->flags), file != NULL ? &file->vm : NULL, e->pgoff));
	if (file != NULL && file->held) {
		file->held = false;
		sim_shm_sweep(s);
	}
	if (err == 0 && file == NULL && t->end == SIM_RUNS)
		sim_native_mapped(s, t, start, end);
	return err;
}

static int time_event(struct sim *s, struct sim_task *t, const struct trace_event *e)
{
	struct sim_cpu *c = sim_cpu_of(s, t, e->thread);

	s->own_time = true;
	sim_pass_own_time(t, c, (double)e->arg);
	sim_background(s, c->now);
	return 0;
}

static int area_event(struct sim *s, struct sim_task *t, const struct trace_event *e, const char **error)
{
	vpn_t start = { e->vpn }, end = { e->vpn + e->n };
	int err = 0;

	switch (e->op) {
	case TRACE_MMAP:
		return map_event(s, t, e, error);
	case TRACE_MUNMAP:
		WITH_ROOM(s, t, err, mm_unmap(&t->mm, start, end));
		break;
	case TRACE_MPROTECT:
		WITH_ROOM(s, t, err, mm_protect(&t->mm, start, end, vma_flags_of(e->flags)));
		break;
	case TRACE_MREMAP:
		WITH_ROOM(s, t, err, mm_unmap(&t->mm, (vpn_t){ e->arg }, (vpn_t){ e->arg + e->n }));
		if (err == 0 && t->end == SIM_RUNS)
			WITH_ROOM(s, t, err, mm_move(&t->mm, start, (vpn_t){ e->arg }, e->n));
		break;
	default:
		WITH_ROOM(s, t, err, mm_drop(&t->mm, start, end));
		break;
	}
	if (t->end == SIM_RUNS)
		sim_flush_tlb(s, t, start, e->n);
	if (t->end == SIM_RUNS && e->op == TRACE_MREMAP)
		sim_flush_tlb(s, t, (vpn_t){ e->arg }, e->n);
	sim_shm_sweep(s);
	return err;
}

static int exec_event(struct sim *s, struct sim_task *t, const struct trace_event *e)
{
	int err;

	end_task(s, t, SIM_RUNS);
	name_task(t, e);
	WITH_ROOM(s, t, err, mm_init(&t->mm, &s->m));
	t->on_demand = t->mm.no_zero = true;
	return err;
}

int sim_task_event(struct sim *s, const struct trace_event *e, const char **error)
{
	struct sim_task *t = sim_task(s, e->task), *child;

	if (e->op == TRACE_TASK)
		return new_task(s, e, e->task, &child, error);
	if (e->op == TRACE_NOTE)
		return 0;
	if (e->op == TRACE_FILE)
		return sim_file_event(s, e);
	if (t == NULL) {
		*error = "an event of a task that does not exist";
		return -EINVAL;
	}
	if (t->end != SIM_RUNS)
		return e->op == TRACE_FORK ? fork_task(s, t, e, error) : 0;
	sim_on_cpu(s, sim_cpu_of(s, t, e->thread));
	switch (e->op) {
	case TRACE_FORK:
		return fork_task(s, t, e, error);
	case TRACE_EXEC:
		return exec_event(s, t, e);
	case TRACE_EXIT:
		end_task(s, t, SIM_EXITED);
		return 0;
	case TRACE_READ:
	case TRACE_WRITE:
	case TRACE_FSYNC:
		return sim_file_io_event(s, t, e, error);
	case TRACE_TIME:
		return time_event(s, t, e);
	default:
		return area_event(s, t, e, error);
	}
}

void sim_oom_row(struct sim_task *t, struct oom_task *row)
{
	*row = (struct oom_task){
		.pid = t->number,
		.tgid = t->number,
		.total_vm = t->mm.vmas.pages,
		.rss_anon = t->mm.rss,
		.rss_file = t->mm.rss_file,
		.pgtables_bytes = (uint64_t)t->mm.pt.nr_nodes << PAGE_SHIFT,
		.swapents = t->mm.swapents,
		.oom_score_adj = (int16_t)t->oom_score_adj,
		.name = t->name,
		.engine = t,
	};
}

uint64_t sim_oom_total(const struct sim *s, bool global)
{
	uint64_t memory = 0, swap = 0;

	for (unsigned node = 0; node < s->m.phys.nr_nodes; node++)
		memory += phys_managed_frames(&s->m.phys, node);
	for (unsigned i = 0; i < s->config.nr_swaps; i++)
		swap += s->config.swap[i].size_bytes >> PAGE_SHIFT;
	if (global)
		return memory + swap;
	/* mem_cgroup_get_max: no swap where nothing would be swapped; memory.swap.max is not modelled, a group may have all of it. */
	return s->m.limit + (s->m.vm.swappiness > 0 ? swap : 0);
}

static void report_oom(struct sim *s, const struct oom_scan *scan, bool global)
{
	struct sim_oom *more = realloc(s->oom, (s->nr_oom + 1) * sizeof(*more));
	const struct oom_task *v = &scan->victim;
	uint64_t swap_free = 0;

	if (more == NULL)
		return;
	for (unsigned i = 0; i < s->config.nr_swaps; i++)
		swap_free += (s->config.swap[i].size_bytes >> PAGE_SHIFT) - MIN(s->config.swap[i].size_bytes >> PAGE_SHIFT, s->store[i].store.stat.pages);
	s->oom = more;
	more = &more[s->nr_oom++];
	more->task = v->pid;
	more->now_ns = *s->clock;
	snprintf(more->text, sizeof(more->text),
		 "%s: killed task %u (%s): it %s: %lld points = rss %llu + swap %llu + page tables %llu pages, oom_score_adj %d, "
		 "of %llu pages; %llu pages of swap were free; inactive %llu, active %llu",
		 global ? "out of memory" : "the limit was reached", v->pid, v->name, oom_reason_text(oom_scan_reason(scan)),
		 (long long)scan->points, (unsigned long long)(v->rss_anon + v->rss_file), (unsigned long long)v->swapents,
		 (unsigned long long)(v->pgtables_bytes >> PAGE_SHIFT), v->oom_score_adj,
		 (unsigned long long)scan->totalpages, (unsigned long long)swap_free,
		 (unsigned long long)s->m.lruvec[0].nr[LRU_INACTIVE_ANON], (unsigned long long)s->m.lruvec[0].nr[LRU_ACTIVE_ANON]);
}

bool sim_oom(struct sim *s, bool global)
{
	struct oom_scan scan;
	struct oom_task row;

	oom_scan_init(&scan, sim_oom_total(s, global));
	for (uint32_t i = 0; i < s->nr_tasks; i++) {
		if (s->task[i] == NULL || s->task[i]->end != SIM_RUNS)
			continue;
		sim_oom_row(s->task[i], &row);
		if (!oom_scan_task(&scan, &row))
			break;
	}
	if (scan.outcome != OOM_KILL)
		return false;
	report_oom(s, &scan, global);
	STEP(&s->m, OOM, .mm = &((struct sim_task *)scan.victim.engine)->mm, .arg = global);
	s->counter[VM_oom_kill]++;
	end_task(s, scan.victim.engine, SIM_KILLED_OOM);
	return true;
}

void sim_task_free_all(struct sim *s)
{
	for (uint32_t i = 0; i < s->nr_tasks; i++) {
		if (s->task[i] != NULL && s->task[i]->end == SIM_RUNS)
			end_task(s, s->task[i], SIM_EXITED);
		free_task(s, s->task[i]);
	}
	free(s->task);
}
