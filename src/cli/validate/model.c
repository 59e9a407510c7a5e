/*
 * The machine of the real run as a model. What is taken over: the limit, swappiness, how old statistics may be, and
 * what a touch and a fault take; the rest is the model's.
 *
 * zram is a compressed store outside of the limit, read without read-ahead (vm.page_cluster 0): so Linux treats a
 * device that is synchronous and a page that nobody shares.
 *
 * Time matters only because statistics are refreshed by it. It is set by two real runs: a touch takes what it took
 * there, and all that a major fault costs the model (fault, decompression, its share of reclaim, compression) is
 * scaled to what one took there.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cli/validate/validate.h"
#include "sim/engine.h"

#define BASE_VPN UINT64_C(0x7f0000000)
#define BACKGROUND_EVERY 1024
#define STATS_NS UINT64_C(2000000000) /* FLUSH_TIME in Linux mm/memcontrol.c */

static uint64_t scaled(uint64_t ns, double by)
{
	return (uint64_t)((double)ns * by + 0.5);
}

/* A range that begins at a leaf's beginning: its leaves, and one table of each level above. */
static uint64_t table_pages(const struct sim_config *c, uint32_t pages)
{
	uint32_t per_leaf = 1u << c->bits[0];

	return (pages + per_leaf - 1) / per_leaf + c->levels - 1u;
}

void validate_machine(struct sim_config *c, const struct validate_place *p, const struct validate_costs *costs,
		      uint32_t pages)
{
	sim_config_default(c);
	snprintf(c->name, sizeof(c->name), "validate");
	c->cpus = 1;
	c->limit_bytes = p->limit_bytes;
	c->limit_flush_ns = STATS_NS;
	c->swappiness = p->swappiness;
	c->page_cluster = 0;
	c->nr_swaps = 1;
	c->swap[0] = (struct sim_swap_config){
		.kind = SIM_SWAP_COMPRESSED, .size_bytes = UINT64_C(512) << 20, .prio = 100, .ratio = 2.6,
		.read_ns = 1000, .write_ns = 3000, .queue_depth = 1,
	};
	/* The kernel's child had the upper levels of its tables before it joined; the model's counts all of them. */
	c->limit_bytes = p->limit_bytes - costs->kernel_bytes + (table_pages(c, pages) << PAGE_SHIFT);
	double model = (double)(c->major_ns + c->scan_ns + c->unmap_ns + c->swap[0].read_ns + c->swap[0].write_ns);
	double by = costs->fault_ns / model;

	c->major_ns = scaled(c->major_ns, by);
	c->scan_ns = scaled(c->scan_ns, by);
	c->unmap_ns = scaled(c->unmap_ns, by);
	c->swap[0].read_ns = scaled(c->swap[0].read_ns, by);
	c->swap[0].write_ns = scaled(c->swap[0].write_ns, by);
	c->access_ns = costs->touch_ns;
	c->walk_step_ns = 0;
	for (unsigned i = 0; i < c->nr_tlbs; i++)
		c->tlb[i].hit_ns = 0;
}

static int replay(struct sim *s, const struct validate_sequence *seq)
{
	struct trace_event e = { .op = TRACE_TASK, .task = 1, .text = "workload", .text_len = 8 };
	const char *error;
	int err = sim_event(s, &e, &error);

	e = (struct trace_event){ .op = TRACE_MMAP, .task = 1, .vpn = BASE_VPN, .n = seq->pages, .flags = TRACE_R | TRACE_W };
	if (err == 0)
		err = sim_event(s, &e, &error);
	e = (struct trace_event){ .op = TRACE_ACCESS, .task = 1, .n = 1, .flags = TRACE_W };
	for (uint64_t i = 0; i < seq->n && err == 0 && !s->stopped; i++) {
		e.vpn = BASE_VPN + seq->page[i];
		err = sim_event(s, &e, &error);
		if (i % BACKGROUND_EVERY == 0)
			sim_background(s, *s->clock);
	}
	return err;
}

int validate_model(const struct sim_config *c, const struct validate_sequence *s, uint64_t phase_ns,
		   struct validate_outcome *out)
{
	struct sim_config_error error;
	struct sim *sim = sim_create(c, &error);
	const struct sim_task *t;
	int err;

	*out = (struct validate_outcome){ 0 };
	if (sim == NULL)
		return -ENOMEM;
	sim->cpu[0].now = (double)phase_ns;
	err = replay(sim, s);
	t = sim_task(sim, 1);
	if (err == 0) {
		out->majflt = t->faults[SIM_MAJOR];
		out->minflt = t->faults[SIM_MINOR];
		out->touches = t->touches;
		out->killed = t->end == SIM_KILLED_OOM;
		out->seconds = (sim_now(sim) - (double)phase_ns) / 1e9;
	}
	if (sim->nr_oom > 0)
		snprintf(out->why, sizeof(out->why), "%s", sim->oom[0].text);
	sim_destroy(sim);
	return err;
}
