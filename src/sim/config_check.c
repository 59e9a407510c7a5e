/*
 * Rules between keys: what no row of the table can know by itself. Each refusal names the key to change.
 */
#include "sim/config_keys.h"

#include <stdio.h>
#include <string.h>

/* Did nobody give a value to a key that must have one? Only an entry that sim_config_set began can be so. */
static bool is_unset(const struct config_key *k, const char *entry)
{
	static const char zeros[sizeof(uint64_t)];

	if (k->def != NULL || k->type == KEY_ENUM)
		return false;
	if (k->type == KEY_TEXT)
		return entry[k->offset] == '\0';
	return memcmp(entry + k->offset, zeros, k->type == KEY_UINT ? k->width : sizeof(zeros)) == 0;
}

static int check_entries(const struct config_key *list, const struct sim_config *c, struct sim_config_error *error)
{
	for (uint32_t i = 0; i < config_count(list->list, c); i++) {
		const char *entry = (const char *)c + list->offset + (size_t)i * list->list->stride;

		for (unsigned j = 0; j < list->list->nr_keys; j++) {
			char path[64];

			snprintf(path, sizeof(path), "%s[%u].%s", list->path, i, list->list->keys[j].path);
			if (is_unset(&list->list->keys[j], entry))
				return config_error(error, 0, path, "missing; add it");
		}
	}
	return 0;
}

static int check_lists(const struct sim_config *c, struct sim_config_error *error)
{
	int err = 0;

	for (unsigned i = 0; i < config_nr_keys && err == 0; i++) {
		if (config_keys[i].type == KEY_ITEMS)
			err = check_entries(&config_keys[i], c, error);
	}
	return err;
}

static bool power_of_two(uint32_t n)
{
	return n != 0 && (n & (n - 1)) == 0;
}

/* A cache of so many entries in sets of so many ways; 0 ways: one set. */
static int check_geometry(const char *path, uint32_t entries, uint32_t ways, struct sim_config_error *error)
{
	if (ways > entries)
		return config_error(error, 0, path,
				    "%u ways but only %u entries; give fewer ways, or 0 for fully associative", ways,
				    entries);
	if (ways != 0 && (entries % ways != 0 || !power_of_two(entries / ways)))
		return config_error(error, 0, path,
				    "%u entries are not a power of two times %u ways; change one of them", entries,
				    ways);
	return 0;
}

static int check_tlb(const struct sim_config *c, unsigned i, struct sim_config_error *error)
{
	const struct sim_tlb_config *t = &c->tlb[i];
	uint32_t ways = t->ways != 0 ? t->ways : t->entries;
	char path[32];
	int err;

	snprintf(path, sizeof(path), "cpu.tlb[%u]", i);
	err = check_geometry(path, t->entries, t->ways, error);
	if (err != 0)
		return err;
	if (!(t->holds & (SIM_TLB_4K | SIM_TLB_2M)) || !(t->holds & (SIM_TLB_DATA | SIM_TLB_CODE)))
		return config_error(error, 0, path, "it holds nothing; holds needs 4K or 2M, and data or code");
	if (t->replacement == SIM_PLRU && !power_of_two(ways))
		return config_error(error, 0, path, "plru needs a power of two of ways, not %u; take lru", ways);
	return 0;
}

static int check_caches(const struct sim_config *c, struct sim_config_error *error)
{
	int err = 0;

	for (unsigned i = 0; i < c->nr_tlbs && err == 0; i++)
		err = check_tlb(c, i, error);
	for (unsigned i = 0; i < c->nr_pwcs && err == 0; i++) {
		char path[32];

		snprintf(path, sizeof(path), "cpu.pwc[%u]", i);
		err = check_geometry(path, c->pwc[i].entries, c->pwc[i].ways, error);
		for (unsigned j = 0; j < i && err == 0; j++) {
			if (c->pwc[j].level == c->pwc[i].level)
				err = config_error(error, 0, path, "level %u has a cache already; merge the two",
						   c->pwc[i].level);
		}
	}
	return err;
}

static int check_paging(const struct sim_config *c, struct sim_config_error *error)
{
	unsigned bits = 0;

	if (c->levels == 0)
		return config_error(error, 0, "paging.bits", "no level; give at least one number");
	for (unsigned i = 0; i < c->levels; i++)
		bits += c->bits[i];
	if (bits > PT_VPN_BITS_MAX)
		return config_error(error, 0, "paging.bits",
				    "%u bits together; 64-bit addresses have %u above the page", bits, PT_VPN_BITS_MAX);
	if (c->thp && (c->levels < 2 || c->bits[0] != 9))
		return config_error(error, 0, "paging.thp",
				    "2 MiB pages need a leaf level of 9 bits and one above; write no");
	return 0;
}

static int check_zone(const struct sim_config *c, unsigned i, struct sim_config_error *error)
{
	const struct sim_zone_config *z = &c->zone[i], *before = z - 1;
	char path[32];

	snprintf(path, sizeof(path), "memory.zones[%u]", i);
	if (z->start_bytes % PAGE_SIZE != 0 || z->size_bytes % PAGE_SIZE != 0)
		return config_error(error, 0, path, "start and size are not multiples of 4K; round them");
	/* Frames are numbered in 32 bits, and one number stays free. */
	if (z->start_bytes + z->size_bytes > UINT32_MAX * (uint64_t)PAGE_SIZE)
		return config_error(error, 0, path, "ends above 16 TiB; make it smaller");
	if (i > 0 && z->start_bytes < before->start_bytes)
		return config_error(error, 0, path, "starts below the zone before; sort them by start");
	if (i > 0 && z->start_bytes < before->start_bytes + before->size_bytes)
		return config_error(error, 0, path, "overlaps the zone before; move its start");
	return 0;
}

static bool has_zone(const struct sim_config *c, unsigned node)
{
	for (unsigned i = 0; i < c->nr_zones; i++)
		if (c->zone[i].node == node)
			return true;
	return false;
}

static int check_memory(const struct sim_config *c, struct sim_config_error *error)
{
	if (c->nr_zones == 0)
		return config_error(error, 0, "memory.zones", "no memory; give at least one zone");
	for (unsigned i = 0; i < c->nr_zones; i++) {
		int err = check_zone(c, i, error);

		if (err != 0)
			return err;
	}
	if (c->native_bytes != 0 && c->accessed_bits)
		return config_error(error, 0, "memory.native",
				    "a kernel is engaged from the start; write 0, or vm.accessed_bits: no");
	if (c->nr_distances != 0 && c->nr_distances != c->nr_nodes * c->nr_nodes)
		return config_error(error, 0, "memory.distances",
				    "%u numbers for %u nodes; give %u, a row for each node, or []", c->nr_distances,
				    c->nr_nodes, c->nr_nodes * c->nr_nodes);
	for (unsigned i = 0; i < c->nr_distances; i++) {
		bool local = i % (c->nr_nodes + 1) == 0;

		if (local != (c->distance[i] == 10))
			return config_error(error, 0, "memory.distances",
					    "from node %u to node %u it is %u; 10 is to itself and to no other",
					    i / c->nr_nodes, i % c->nr_nodes, c->distance[i]);
	}
	for (unsigned i = 0; i < c->cpus; i++) {
		if (!has_zone(c, c->cpu_node[i]))
			return config_error(error, 0, "cpu.node",
					    "CPU %u is on node %u, which has no zone; add one or change it", i,
					    c->cpu_node[i]);
	}
	return 0;
}

static int check_swap(const struct sim_config *c, struct sim_config_error *error)
{
	for (unsigned i = 0; i < c->nr_swaps; i++) {
		const struct sim_swap_config *s = &c->swap[i];
		char path[32];

		snprintf(path, sizeof(path), "swap[%u]", i);
		if (s->kind == SIM_SWAP_COMPRESSED && s->ratio < 1)
			return config_error(error, 0, path,
					    "compressed without a ratio; add ratio: 2.6, or what your pages give");
		if (s->kind != SIM_SWAP_COMPRESSED && s->size_bytes == 0)
			return config_error(error, 0, path, "no size; add size: 8G");
	}
	return 0;
}

int sim_config_check(const struct sim_config *c, struct sim_config_error *error)
{
	int err = check_lists(c, error);

	if (err == 0)
		err = check_caches(c, error);
	if (err == 0)
		err = check_paging(c, error);
	if (err == 0)
		err = check_memory(c, error);
	if (err == 0)
		err = check_swap(c, error);
	return err;
}
