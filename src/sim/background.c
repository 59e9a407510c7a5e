/* What runs besides the programs, each when it is due: kswapd, the flusher of dirty pages of files, the timeline. */
#include "sim/engine.h"

#include <stdlib.h>

#define STEP_NS 1000     /* a step of kswapd takes so long at least: or one that finds nothing would never end */
#define FLUSH_PAGES 1024
#define TASKS_SEEN 64    /* a task is worth samples that has more than one part of so many of what is in use */

static void step_kswapd(struct sim *s, unsigned node)
{
	double *clock = s->clock, began = s->kswapd[node].now;

	s->clock = &s->kswapd[node].now;
	s->kswapd[node].awake = kswapd_step(&s->m, node) == KSWAPD_WORKING;
	*s->clock = began + MAX(*s->clock - began, (double)STEP_NS);
	s->counter[VM_kswapd_ns] += (uint64_t)(*s->clock - began);
	s->clock = clock;
}

static void run_kswapd(struct sim *s, unsigned node, double now)
{
	sim_native_engage(s);
	if (s->config.kswapd == SIM_KSWAPD_OWN) {
		while (s->kswapd[node].awake && s->kswapd[node].now <= now)
			step_kswapd(s, node);
	} else if (s->config.kswapd == SIM_KSWAPD_FIRST) {
		sim_wait_for_kswapd(s, node, UINT32_MAX);
	}
}

void sim_wait_for_kswapd(struct sim *s, unsigned node, uint32_t frames)
{
	double *its = &s->kswapd[node].now;

	/* On one CPU, whoever waits has just left it to kswapd. */
	if (s->config.kswapd != SIM_KSWAPD_OWN)
		*its = *s->clock;
	while (s->kswapd[node].awake && phys_free_frames(&s->m.phys, node) < frames)
		step_kswapd(s, node);
	*s->clock = MAX(*s->clock, *its);
}

/* Everything of files that have been dirty for long; whatever is above the background ratio; what reclaim asked for. */
static void run_flusher(struct sim *s, double now)
{
	struct machine *m = &s->m;
	uint64_t background = (uint64_t)s->nr_frames * s->config.dirty_background_ratio / 100;
	double *clock = s->clock, mine = now;
	struct vm_file *f;

	s->clock = &mine;
	if (m->flush_wanted)
		file_flush(m, NULL, FLUSH_PAGES);
	m->flush_wanted = false;
	while (m->pagecache.nr_dirty > background && file_flush(m, NULL, FLUSH_PAGES) > 0)
		;
	while ((f = TAILQ_FIRST(&m->pagecache.dirty)) != NULL &&
	       ((struct sim_file *)f)->dirty_since + (double)s->config.dirty_expire_ns <= now) {
		((struct sim_file *)f)->dirty_since = now;
		file_flush(m, f, UINT32_MAX);
	}
	s->clock = clock;
}

/* A place among those that are sampled: a free one, or that of the smallest if it never was as large. NULL: none. */
static struct sim_task **place_for(struct sim *s, uint64_t rss)
{
	struct sim_task **smallest = &s->sampled[0];

	for (unsigned i = 0; i < SIM_TASKS_SAMPLED && *smallest != NULL; i++)
		if (s->sampled[i] == NULL || s->sampled[i]->rss_max < (*smallest)->rss_max)
			smallest = &s->sampled[i];
	return *smallest == NULL || (*smallest)->rss_max < rss ? smallest : NULL;
}

/* If the host has no memory for samples of it, it has none. */
static void begin_samples(struct sim *s, struct sim_task *t, uint64_t rss)
{
	struct sim_task **place = place_for(s, rss);

	if (place == NULL)
		return;
	if (*place != NULL) {
		free((*place)->sample);
		(*place)->sample = NULL;
		*place = NULL;
	}
	t->sample = calloc(SIM_SAMPLES, sizeof(*t->sample));
	if (t->sample != NULL)
		*place = t;
}

static void sample_task(struct sim *s, struct sim_task *t, unsigned at)
{
	uint64_t rss = t->end == SIM_RUNS ? t->mm.rss + t->mm.rss_file : 0;

	if (t->sample == NULL && rss * TASKS_SEEN > s->m.charged)
		begin_samples(s, t, rss);
	if (t->sample == NULL)
		return;
	t->sample[at] = (struct sim_task_sample){ .rss = rss, .major = t->faults[SIM_MAJOR] };
}

/* Every other sample goes. */
static void thin_out(struct sim *s)
{
	for (unsigned i = 0; i < SIM_SAMPLES / 2; i++)
		s->sample[i] = s->sample[2 * i + 1];
	for (unsigned n = 0; n < SIM_TASKS_SAMPLED; n++)
		for (unsigned i = 0; s->sampled[n] != NULL && i < SIM_SAMPLES / 2; i++)
			s->sampled[n]->sample[i] = s->sampled[n]->sample[2 * i + 1];
	s->nr_samples = SIM_SAMPLES / 2;
	s->sample_every *= 2;
}

static void take_sample(struct sim *s, double now)
{
	const struct machine *m = &s->m;
	struct sim_sample *p;

	if (s->nr_samples == SIM_SAMPLES)
		thin_out(s);
	p = &s->sample[s->nr_samples++];
	*p = (struct sim_sample){
		.now_ns = now,
		.touches = s->touches,
		.scanned = s->counter[VM_pgscan_direct] + s->counter[VM_pgscan_kswapd],
		.swapped_in = s->counter[VM_pswpin],
		.swapped_out = s->counter[VM_pswpout],
		.charged = m->charged,
		.cached = m->pagecache.nr_cached,
		.dirty = m->pagecache.nr_dirty,
		.tables = m->phys.nr_tables,
		.swap_used = swap_used(&m->swap),
	};
	for (unsigned i = 0; i < s->nr_tasks; i++) {
		if (s->task[i] == NULL)
			continue;
		for (unsigned k = 0; k < SIM_NR_FAULTS; k++)
			p->faults[k] += s->task[i]->faults[k];
		sample_task(s, s->task[i], s->nr_samples - 1);
	}
	for (unsigned i = 0; i < s->config.cpus; i++)
		p->tlb_misses += mmu_stat(s->cpu[i].mmu)->walks - mmu_stat(s->cpu[i].mmu)->faults;
	for (unsigned node = 0; node < m->phys.nr_nodes; node++) {
		p->free[node] = phys_free_frames(&m->phys, node);
		p->sample += lru_unmapped(&m->lruvec[node]);
		for (unsigned k = 0; k < 4; k++)
			p->lists[k] += m->lruvec[node].nr[k];
	}
}

void sim_background(struct sim *s, double now)
{
	for (unsigned node = 0; node < s->m.phys.nr_nodes; node++)
		if (s->kswapd[node].awake)
			run_kswapd(s, node, now);
	if (s->m.flush_wanted || (s->config.dirty_writeback_ns > 0 && now >= s->flusher_next)) {
		run_flusher(s, now);
		s->flusher_next = now + (double)s->config.dirty_writeback_ns;
	}
	if (now >= s->sample_next) {
		take_sample(s, now);
		s->sample_next = now + s->sample_every;
	}
}

void sim_finish(struct sim *s)
{
	double now = sim_now(s);

	s->clock = &s->cpu[0].now;
	sim_background(s, now);
	take_sample(s, now);
}
