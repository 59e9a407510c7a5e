/*
 * A scenario on the modelled machine: model NAME sampled|accessed FILE. FILE gets the counters, a name and a number a
 * line.
 */
#include "scenario.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim/engine.h"

enum { PARENT, CHILD, BUDGET_PAGES = 8192 };

struct modelled {
	struct sim *s;
	uint32_t task;
};

static void must(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "%s\n", what);
	exit(1);
}

static void event(struct modelled *m, struct trace_event e)
{
	const char *error = "an event failed";

	e.task = m->task;
	must(sim_event(m->s, &e, &error) == 0, error);
}

static uint64_t vpn_at(unsigned region, uint32_t page)
{
	return (uint64_t)(region + 1) * 4 * REGION_PAGES_MAX + page;
}

static void map(void *ctx, unsigned region, uint32_t n)
{
	event(ctx, (struct trace_event){ .op = TRACE_MMAP, .vpn = vpn_at(region, 0), .n = n, .flags = TRACE_R | TRACE_W });
}

static void unmap(void *ctx, unsigned region, uint32_t from, uint32_t n)
{
	event(ctx, (struct trace_event){ .op = TRACE_MUNMAP, .vpn = vpn_at(region, from), .n = n });
}

static void protect(void *ctx, unsigned region, uint32_t from, uint32_t n, bool read, bool write)
{
	event(ctx, (struct trace_event){ .op = TRACE_MPROTECT, .vpn = vpn_at(region, from), .n = n,
					 .flags = (uint8_t)((read ? TRACE_R : 0) | (write ? TRACE_W : 0)) });
}

static void drop(void *ctx, unsigned region, uint32_t from, uint32_t n)
{
	event(ctx, (struct trace_event){ .op = TRACE_DROP, .vpn = vpn_at(region, from), .n = n });
}

static bool answer(int err)
{
	must(err == 0 || err == -EFAULT, "the task was killed, or the model failed");
	return err == 0;
}

static bool read_page(void *ctx, unsigned region, uint32_t page, void *buf)
{
	struct modelled *m = ctx;

	return answer(sim_load(m->s, sim_task(m->s, m->task), 0, vpn_at(region, page) << PAGE_SHIFT, buf, PAGE_SIZE));
}

static bool write_page(void *ctx, unsigned region, uint32_t page, const void *buf)
{
	struct modelled *m = ctx;

	return answer(sim_store(m->s, sim_task(m->s, m->task), 0, vpn_at(region, page) << PAGE_SHIFT, buf, PAGE_SIZE));
}

static bool make_child(void *ctx)
{
	struct modelled *m = ctx;

	event(m, (struct trace_event){ .op = TRACE_FORK, .arg = CHILD });
	m->task = CHILD;
	return true;
}

static void join(void *ctx)
{
	struct modelled *m = ctx;

	event(m, (struct trace_event){ .op = TRACE_EXIT });
	m->task = PARENT;
}

/* The budget as a machine; pages packed as the live engine packs those of tests/live/page.h, and a disk below. */
static struct sim *make(bool accessed)
{
	struct sim_config_error error;
	struct sim_config c;

	sim_config_default(&c);
	c.content = true;
	c.accessed_bits = accessed;
	snprintf(c.policy, sizeof(c.policy), accessed ? "two-list" : "second-chance");
	c.nr_zones = 1;
	c.zone[0] = (struct sim_zone_config){ .name = "Normal", .size_bytes = (uint64_t)BUDGET_PAGES << PAGE_SHIFT };
	c.swap[0].ratio = 2.8;
	c.swap[0].size_bytes = UINT64_C(32768) << PAGE_SHIFT;
	c.swap[1] = (struct sim_swap_config){ .kind = SIM_SWAP_DISK, .size_bytes = UINT64_C(32768) << PAGE_SHIFT, .prio = 1,
					      .read_ns = 100000, .write_ns = 100000, .queue_depth = 1 };
	c.nr_swaps = 2;
	return sim_create(&c, &error);
}

static const char *const counter_names[] = {
#define NAME(name, text) #name,
	VM_COUNTERS(NAME)
#undef NAME
};

int main(int argc, char **argv)
{
	static const struct engine_ops ops = {
		.map = map, .unmap = unmap, .protect = protect, .drop = drop, .read = read_page, .write = write_page,
		.fork = make_child, .join = join,
	};
	const struct scenario *s = argc == 4 ? scenario_find(argv[1]) : NULL;
	struct modelled m = { .task = PARENT };

	must(s != NULL, "usage: model NAME sampled|accessed FILE");
	m.s = make(strcmp(argv[2], "accessed") == 0);
	must(m.s != NULL, "no memory");
	event(&m, (struct trace_event){ .op = TRACE_TASK, .text = s->name });
	scenario_run(s, &ops, &m);
	sim_check(m.s);
	FILE *f = fopen(argv[3], "w");

	must(f != NULL, "the file of counters cannot be written");
	for (unsigned i = 0; i < VM_COUNTER_NR; i++)
		fprintf(f, "%s %llu\n", counter_names[i], (unsigned long long)m.s->counter[i]);
	must(fclose(f) == 0, "the file of counters cannot be written");
	sim_destroy(m.s);
	return 0;
}
