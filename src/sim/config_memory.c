/*
 * The same machine with other memory modules. What a board has less of ends earlier: each node keeps its share of the
 * whole, its zones keep their places, and what there is less of is cut from the highest zone down. So a laptop of 2 GiB
 * has no zone above 4 GiB, as real ones have none. What there is more of goes to the highest zone of each node, and
 * everything above moves up by as much.
 *
 *	       DMA32   Normal 0   Normal 1              DMA32  Normal 0  Normal 1
 *	8 GiB  ├─2───┤ ├─2──────┤├─4──────┤    5 GiB    ├─2──┤ ├0.5┤     ├─2.5──┤
 *
 * Scaling every zone alike was the other way; it would give small machines zones that no firmware reports, and reserves
 * of the lower zones (lowmem_reserve) that no such machine has.
 */
#include "sim/config_keys.h"

uint64_t sim_config_memory(const struct sim_config *c)
{
	uint64_t bytes = 0;

	for (unsigned i = 0; i < c->nr_zones; i++)
		bytes += c->zone[i].size_bytes;
	return bytes;
}

static uint64_t node_memory(const struct sim_config *c, unsigned node)
{
	uint64_t bytes = 0;

	for (unsigned i = 0; i < c->nr_zones; i++)
		bytes += c->zone[i].node == node ? c->zone[i].size_bytes : 0;
	return bytes;
}

/* What each node has of `bytes`: its share, whole pages; the last one gets what rounding left. */
static void share(const struct sim_config *c, uint64_t bytes, uint64_t *of_node)
{
	uint64_t all = sim_config_memory(c), given = 0;

	for (unsigned node = 0; node < c->nr_nodes; node++) {
		of_node[node] = ALIGN_DOWN((uint64_t)((unsigned __int128)bytes * node_memory(c, node) / all), PAGE_SIZE);
		given += of_node[node];
	}
	of_node[c->nr_nodes - 1] += ALIGN_DOWN(bytes, PAGE_SIZE) - given;
}

static bool highest(const struct sim_config *c, unsigned i)
{
	for (unsigned k = i + 1; k < c->nr_zones; k++)
		if (c->zone[k].node == c->zone[i].node)
			return false;
	return true;
}

int sim_config_resize(struct sim_config *c, uint64_t bytes, struct sim_config_error *error)
{
	struct sim_config new = *c;
	uint64_t left[PHYS_NODES_MAX], moved = 0;

	share(c, bytes, left);
	for (unsigned node = 0; node < c->nr_nodes; node++)
		if (left[node] == 0)
			return config_error(error, 0, "memory.zones", "nothing would be left of node %u; keep more", node);
	new.nr_zones = 0;
	for (unsigned i = 0; i < c->nr_zones; i++) {
		struct sim_zone_config z = c->zone[i];
		uint64_t *mine = &left[z.node], size = highest(c, i) ? *mine : MIN(z.size_bytes, *mine);

		z.start_bytes += moved;
		moved += size > z.size_bytes ? size - z.size_bytes : 0;
		z.size_bytes = size;
		*mine -= size;
		if (size > 0)
			new.zone[new.nr_zones++] = z;
	}
	int err = sim_config_check(&new, error);

	if (err == 0)
		*c = new;
	return err;
}
