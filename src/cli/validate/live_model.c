/*
 * The live engine's machine as a model: one CPU on which program, handler and pager take turns, second-chance without
 * accessed bits, and a compressed pool that takes its frames from the same budget.
 *
 * Frames are counted as the live engine does it (live/pager.c): what is granted, less its own tables, less what the
 * program has outside of its reach. How much may be touched before the engine is engaged is live/native.c's rule.
 *
 * Which of program and pager the scheduler prefers changes from run to run, and within one: when the pager gives way to
 * a fault that waits for frames, it forfeits a slice, and the program comes to MIN again before that is over. So the
 * model is run with the pager first, and with the pager last; real runs lie between the two, more or less.
 *
 * Costs do not matter: where kswapd has no CPU of its own, nothing is decided by time.
 */
#include <stdio.h>
#include <string.h>

#include "cli/validate/live.h"
#include "sim/engine.h"

/* src/live/pager.c own_outside, native.c native_limit, arena.c arena_init. */
#define OWN_FIXED 128
#define NATIVE_FIXED 512
#define NATIVE_SHARE 32
#define SCALE_FACTOR 50

static uint64_t granted_pages(uint64_t ram_bytes, const struct live_costs *costs)
{
	return (ram_bytes >> PAGE_SHIFT) - costs->launcher;
}

uint64_t live_frames(uint64_t ram_bytes, const struct live_costs *costs)
{
	uint64_t per_page = PAGE_SIZE / sizeof(struct frame);

	return (granted_pages(ram_bytes, costs) - costs->unmanaged - OWN_FIXED) * per_page / (per_page + 1);
}

static void machine_of(struct sim_config *c, uint64_t ram_bytes, const struct live_costs *costs, uint64_t frames)
{
	uint64_t granted = granted_pages(ram_bytes, costs);

	sim_config_default(c);
	snprintf(c->name, sizeof(c->name), "steward run");
	snprintf(c->policy, sizeof(c->policy), "second-chance");
	c->cpus = 1;
	c->accessed_bits = false;
	c->watermark_scale_factor = SCALE_FACTOR;
	c->nr_zones = c->nr_nodes = 1;
	c->zone[0] = (struct sim_zone_config){ .name = "Normal", .size_bytes = frames << PAGE_SHIFT };
	c->native_bytes = (granted - granted / NATIVE_SHARE - NATIVE_FIXED - costs->unmanaged - costs->besides) << PAGE_SHIFT;
	c->nr_swaps = 1;
	c->swap[0] = (struct sim_swap_config){
		.kind = SIM_SWAP_COMPRESSED, .prio = 100, .ratio = costs->ratio, .in_memory = true, .queue_depth = 1,
	};
}

int live_model(const struct validate_sequence *s, uint64_t ram_bytes, const struct live_costs *costs, uint64_t frames,
	       struct validate_outcome *out)
{
	static const uint8_t ways[LIVE_WAYS] = { [LIVE_FIRST] = SIM_KSWAPD_FIRST, [LIVE_LAST] = SIM_KSWAPD_LAST };
	struct sim_config c;
	int err = 0;

	machine_of(&c, ram_bytes, costs, frames);
	for (unsigned i = 0; i < LIVE_WAYS && err == 0; i++) {
		c.kswapd = ways[i];
		err = validate_model(&c, s, 0, &out[i]);
		out[i].frames = frames;
	}
	return err;
}
