/*
 * A process writes its figures while we read them. Each is one aligned word; a sum
 * may be off by what changed during the copy, as with everything in /proc.
 *
 * While a process is not engaged nobody in it counts, because a program that fits
 * is to pay nothing: its sizes are then the kernel's (/proc/PID/statm), and all of
 * it is memory that Steward does not manage.
 */
#include "cli/see/sample.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/msg.h"
#include "cli/procmem.h"
#include "cli/procstat.h"

static uint64_t clock_ns(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* start: clock ticks after boot. */
static uint64_t age_ns(uint64_t start)
{
	uint64_t tick = 1000000000 / (uint64_t)sysconf(_SC_CLK_TCK), now = clock_ns(CLOCK_BOOTTIME);

	return now > start * tick ? now - start * tick : 0;
}

/* The name that the program gave itself, at this moment; the ledger's may be from before. */
static void read_comm(int32_t pid, char comm[16])
{
	char path[32];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/comm", pid);
	f = fopen(path, "re");
	if (f == NULL)
		return;
	if (fgets(comm, 16, f) != NULL)
		comm[strcspn(comm, "\n")] = '\0';
	fclose(f);
}

static void take_process(struct sample_process *p, const struct ledger_slot *slot, const struct procstat *stat)
{
	*p = (struct sample_process){
		.pid = atomic_load(&slot->pid),
		.parent = stat->parent,
		.state = (enum ledger_state)atomic_load(&slot->state),
		.start = stat->start,
		.age_ns = age_ns(stat->start),
		.granted = atomic_load(&slot->granted),
		.use = slot->now,
		.frames = slot->frames,
		.heap = heap_sum(&slot->heap),
	};
	memcpy(p->comm, slot->comm, sizeof(p->comm) - 1);
	read_comm(p->pid, p->comm);
	msg_clean(p->comm);
	memcpy(p->counter, slot->counter, sizeof(p->counter));
	if (p->state == LEDGER_NATIVE || p->state == LEDGER_ARMED) {
		struct procmem mem;

		/* What the slot has is of the image before the last exec. */
		procmem_read(p->pid, &mem);
		p->use = (struct ledger_usage){ .unmanaged = mem.resident };
		p->frames = (struct ledger_frames){ 0 };
	}
}

/* Both are structures of nothing but uint64_t. */
static void add_words(void *sum, const void *one, size_t bytes)
{
	for (size_t i = 0; i < bytes / sizeof(uint64_t); i++)
		((uint64_t *)sum)[i] += ((const uint64_t *)one)[i];
}

static void add_process(struct sample *s, const struct sample_process *p)
{
	add_words(&s->use, &p->use, sizeof(s->use));
	add_words(&s->frames, &p->frames, sizeof(s->frames));
	add_words(&s->heap, &p->heap, sizeof(s->heap));
	add_words(s->counter, p->counter, sizeof(s->counter));
}

static void name_area(struct sample *s, unsigned i, const struct swap_spec *spec)
{
	struct sample_area *a = &s->area[i];
	struct fmt f;

	/* Two are kept for what tells it from another one in the same directory. */
	fmt_init(&f, a->name, sizeof(a->name) - 2);
	swap_spec_name(&f, spec);
	msg_clean(a->name);
	for (unsigned k = 0; k < i; k++) {
		if (strcmp(s->area[k].name, a->name) == 0) {
			f.size += 2;
			fmt_char(&f, '#');
			fmt_u64(&f, i);
			return;
		}
	}
}

static void take_areas(struct sample *s, const struct ledger *l)
{
	s->nr_areas = MIN(l->nr_swap, SWAP_SPECS);
	for (unsigned i = 0; i < s->nr_areas; i++) {
		struct swap_spec spec = l->swap[i];

		spec.path[sizeof(spec.path) - 1] = '\0';
		s->area[i] = (struct sample_area){ .pool = spec.kind == SWAP_POOL };
		name_area(s, i, &spec);
	}
}

/* What it has in them since its last exec. */
static void add_areas(struct sample *s, const struct ledger_slot *slot)
{
	for (unsigned i = 0; i < s->nr_areas; i++) {
		s->area[i].used += slot->area[i].used;
		s->area[i].errors += slot->area[i].errors;
		s->area[i].state = MAX(s->area[i].state, (enum swap_state)slot->area[i].state);
	}
}

static void take_run(struct sample *s, const struct ledger *l)
{
	s->ns = clock_ns(CLOCK_MONOTONIC);
	s->age_ns = age_ns(l->launcher_start);
	s->launcher = l->launcher;
	s->watched = runs_watched(l);
	memcpy(s->command, l->command, sizeof(s->command) - 1);
	msg_clean(s->command);
	s->ram = l->ram_pages;
	s->asked = atomic_load(&l->ram_asked);
	s->reserved = l->reserved_pages;
	s->uncounted = l->uncounted_pages;
	s->left = l->left_pages - MIN(l->left_pages, s->uncounted);
	s->free = ledger_free(l);
	take_areas(s, l);
	s->use = (struct ledger_usage){ 0 };
	s->frames = (struct ledger_frames){ 0 };
	s->heap = (struct heap_sum){ 0 };
	memcpy(s->counter, l->gone.counter, sizeof(s->counter));
	s->fault_ns = l->gone.fault_ns;
	s->nr = 0;
}

/* The slot's process, if it lives; one look at /proc tells that, and what else is wanted. */
static bool find_process(const struct ledger_slot *slot, struct procstat *stat)
{
	int32_t pid = atomic_load(&slot->pid);

	return pid > 0 && procstat_read(pid, stat) == 0 && !procstat_ended(stat) &&
	       (slot->start_time == stat->start || slot->start_time == 0);
}

/* It has ended, and its launcher has not added what it has counted to that of those who are gone yet. */
static void add_ended(struct sample *s, const struct ledger_slot *slot)
{
	if (atomic_load(&slot->pid) <= 0)
		return;
	add_words(s->counter, slot->counter, sizeof(s->counter));
	hist_merge(&s->fault_ns, &slot->fault_ns);
}

static int by_pid(const void *a, const void *b)
{
	int32_t x = ((const struct sample_process *)a)->pid, y = ((const struct sample_process *)b)->pid;

	return (x > y) - (x < y);
}

int sample_take(struct sample *s, const struct ledger *l)
{
	unsigned slots = runs_slots(l);

	take_run(s, l);
	for (unsigned i = 0; i < slots; i++) {
		const struct ledger_slot *slot = &l->slot[i];
		struct procstat stat;

		if (!find_process(slot, &stat)) {
			add_ended(s, slot);
			continue;
		}
		struct sample_process *more = reallocarray(s->process, s->nr + 1, sizeof(*more));

		if (more == NULL)
			return msg_fail(1, "run", "%s; try again with more memory", strerror(ENOMEM));
		s->process = more;
		take_process(&more[s->nr], slot, &stat);
		if (more[s->nr].state == LEDGER_ENGAGED)
			add_areas(s, slot);
		add_process(s, &more[s->nr++]);
		hist_merge(&s->fault_ns, &slot->fault_ns);
	}
	if (s->nr > 0)
		qsort(s->process, s->nr, sizeof(*s->process), by_pid);
	return 0;
}

void sample_free(struct sample *s)
{
	free(s->process);
	*s = (struct sample){ 0 };
}

const char *sample_state(enum ledger_state state)
{
	switch (state) {
	case LEDGER_NATIVE:
		return "native";
	case LEDGER_ARMED:
		return "armed";
	case LEDGER_ENGAGED:
		return "engaged";
	case LEDGER_FREE:
	case LEDGER_FATAL:
		break;
	}
	return "stopped";
}
