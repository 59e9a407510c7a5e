/* Small machines in content mode, and events for them, for the tests of the whole engine. */
#ifndef STW_TEST_SIM_MACHINE_H
#define STW_TEST_SIM_MACHINE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/assert.h"
#include "sim/engine.h"

/* For assert_fail_hook: which law it was. */
static inline void law_broken(const char *file, int line, const char *what)
{
	fail_msg("%s:%d: %s", file, line, what);
}

/* One node of so many frames, no swap, one CPU, four levels; the caller changes what it wants otherwise. */
static inline void machine_config(struct sim_config *c, uint32_t frames)
{
	sim_config_default(c);
	c->nr_zones = 1;
	c->zone[0] = (struct sim_zone_config){ .name = "Normal", .size_bytes = (uint64_t)frames << PAGE_SHIFT };
	c->nr_swaps = 0;
	c->content = true;
}

static inline void machine_swap(struct sim_config *c, enum sim_swap_kind kind, uint32_t pages, int prio)
{
	c->swap[c->nr_swaps++] = (struct sim_swap_config){ .kind = kind, .size_bytes = (uint64_t)pages << PAGE_SHIFT, .prio = prio,
		.ratio = 3, .in_memory = kind == SIM_SWAP_COMPRESSED, .read_ns = 1000, .write_ns = 2000, .queue_depth = 4 };
}

static inline struct sim *machine_make(const struct sim_config *c)
{
	struct sim_config_error error;
	struct sim *s;

	if (sim_config_check(c, &error) != 0)
		fail_msg("%s", error.text);
	s = sim_create(c, &error);
	if (s == NULL)
		fail_msg("%s", error.text);
	return s;
}

static inline void event(struct sim *s, struct trace_event e)
{
	const char *error = "";

	if (sim_event(s, &e, &error) != 0)
		fail_msg("event %s: %s", trace_op_name(e.op), error);
}

static inline struct sim_task *task_begin(struct sim *s, uint32_t number)
{
	event(s, (struct trace_event){ .op = TRACE_TASK, .task = number, .text = "t" });
	return sim_task(s, number);
}

static inline void task_mmap(struct sim *s, uint32_t task, uint64_t vpn, uint64_t n, unsigned flags, uint32_t file, uint64_t pgoff)
{
	event(s, (struct trace_event){ .op = TRACE_MMAP, .task = task, .vpn = vpn, .n = n, .flags = (uint8_t)flags, .file = file,
				       .pgoff = pgoff });
}

static inline void task_touch(struct sim *s, uint32_t task, uint64_t vpn, unsigned flags)
{
	event(s, (struct trace_event){ .op = TRACE_ACCESS, .task = task, .vpn = vpn, .n = 1, .flags = (uint8_t)flags });
}

#endif
