/*
 * The table of keys. From it come parsing, ranges, messages, --set, writing and docs/machine-files.md (a test
 * compares): a new key is one row here and one field in config.h.
 *
 * A section is what stands before the dot, and is not deeper than one. Rows of a section stand together, because
 * they are written in this order; and values are applied in this order, not in that of the file, whose mappings have
 * none. So cpu.preset, which writes other fields, stands before them, and what says how long a list may be before
 * the list.
 *
 * Figures that are measurements are of the machine in docs/performance.md (2 virtual CPUs, Zen 4, Linux 6.18); those
 * that are not say so in docs/machine-files.md.
 */
#include "sim/config_keys.h"

#include <string.h>

#include "base/assert.h"
#include "base/size.h"
#include "mm/backing/swap.h"

#define HOUR_NS 3600000000000u
#define MEMORY_MAX ((uint64_t)1 << 43) /* 2^31 frames */
#define BANDWIDTH_MAX ((uint64_t)1 << 46)

#define WIDTH(field) .width = sizeof(((struct sim_config *)0)->field)
#define AT(field) .offset = offsetof(struct sim_config, field)

static const char *const replacements[] = { "lru", "plru", "random", NULL };
static const char *const holdings[] = { "4K", "2M", "data", "code", NULL };
static const char *const kswapd_places[] = { "own", "first", "last", NULL };
static const char *const swap_kinds[] = { "compressed", "disk", "remote", NULL };

_Static_assert(ARRAY_SIZE(replacements) == SIM_NR_REPLACEMENT + 1, "a name for each enum sim_replacement");
_Static_assert(ARRAY_SIZE(kswapd_places) == SIM_NR_KSWAPD + 1, "a name for each enum sim_kswapd");
_Static_assert(ARRAY_SIZE(swap_kinds) == SIM_NR_SWAP_KINDS + 1, "a name for each enum sim_swap_kind");
_Static_assert(SIM_TLB_4K == 1 && SIM_TLB_2M == 2 && SIM_TLB_DATA == 4 && SIM_TLB_CODE == 8, "bits in order of names");

#define TLB(field) .offset = offsetof(struct sim_tlb_config, field)

static const struct config_key tlb_keys[] = {
	{ "name", .type = KEY_TEXT, TLB(name), .def = "TLB", .doc = "for reports" },
	{ "level", .type = KEY_UINT, TLB(level), .width = 1, .min = 1, .max = 2, .def = "1",
	  .doc = "2 is asked after all of level 1 have missed" },
	{ "holds", .type = KEY_FLAGS, TLB(holds), .names = holdings, .def = "[4K, data, code]",
	  .doc = "page sizes, and for which accesses it is asked" },
	{ "entries", .type = KEY_UINT, TLB(entries), .width = 4, .min = 1, .max = 1 << 20, .def = NULL,
	  .doc = "a power of two times ways" },
	{ "ways", .type = KEY_UINT, TLB(ways), .width = 4, .min = 1, .max = 1 << 20, .or_zero = true, .def = "0",
	  .doc = "0: fully associative" },
	{ "replacement", .type = KEY_ENUM, TLB(replacement), .names = replacements, .max = SIM_NR_REPLACEMENT - 1,
	  .def = "lru", .doc = "who goes when a set is full" },
	{ "hit", .type = KEY_DURATION_PS, TLB(hit_ns), .max = 1000000, .def = "0ns",
	  .doc = "of a hit here, on top of the level before" },
};

#define PWC(field) .offset = offsetof(struct sim_pwc_config, field)

static const struct config_key pwc_keys[] = {
	{ "level", .type = KEY_UINT, PWC(level), .width = 1, .min = 1, .max = 4, .def = NULL,
	  .doc = "1: entries that point to a leaf table, 2 to 4: above; not used by shallower tables" },
	{ "entries", .type = KEY_UINT, PWC(entries), .width = 4, .min = 1, .max = 1 << 20, .def = NULL,
	  .doc = "a power of two times ways" },
	{ "ways", .type = KEY_UINT, PWC(ways), .width = 4, .min = 1, .max = 1 << 20, .or_zero = true, .def = "0",
	  .doc = "0: fully associative" },
};

#define ZONE(field) .offset = offsetof(struct sim_zone_config, field)

static const struct config_key zone_keys[] = {
	{ "name", .type = KEY_TEXT, ZONE(name), .def = NULL, .doc = "DMA, DMA32, Normal …" },
	{ "node", .type = KEY_UINT, ZONE(node), .width = 1, .max = PHYS_NODES_MAX - 1, .def = "0", .doc = "NUMA node" },
	{ "start", .type = KEY_SIZE, ZONE(start_bytes), .max = MEMORY_MAX, .computed = true,
	  .def = "end of the zone before", .doc = "physical address; multiple of 4K, ascending" },
	{ "size", .type = KEY_SIZE, ZONE(size_bytes), .min = 64 * 1024, .max = MEMORY_MAX, .def = NULL,
	  .doc = "multiple of 4K" },
	{ "reserve_ratio", .type = KEY_UINT, ZONE(reserve_ratio), .width = 2, .max = UINT16_MAX, .def = "0",
	  .doc = "lowmem_reserve_ratio: Linux has 256 for DMA and DMA32, 32 for Normal; 0: no reserve" },
};

#define SWAP(field) .offset = offsetof(struct sim_swap_config, field)

static const struct config_key swap_keys[] = {
	{ "kind", .type = KEY_ENUM, SWAP(kind), .names = swap_kinds, .max = SIM_NR_SWAP_KINDS - 1, .def = NULL,
	  .doc = "what is behind it" },
	{ "size", .type = KEY_SIZE, SWAP(size_bytes), .min = 64 * 1024, .max = SWAP_AREA_BYTES_MAX, .or_zero = true, .def = "0",
	  .doc = "of what is in it, before compression; 0: as much as fits (compressed only)" },
	{ "prio", .type = KEY_INT, SWAP(prio), .min = -32768, .max = 32767, .def = "-2",
	  .doc = "higher is used first; equal ones take turns" },
	{ "ratio", .type = KEY_RATIO, SWAP(ratio), .min = 1, .max = 1000, .or_zero = true, .def = "0",
	  .doc = "compressed: 4096 by the mean size of a packed page" },
	{ "in_memory", .type = KEY_BOOL, SWAP(in_memory), .def = "yes",
	  .doc = "compressed: what is packed takes frames, and counts in the limit; no: as zram beside a cgroup" },
	{ "read", .type = KEY_DURATION, SWAP(read_ns), .max = HOUR_NS, .def = "0ns",
	  .doc = "latency of a request, or decompression of a page" },
	{ "write", .type = KEY_DURATION, SWAP(write_ns), .max = HOUR_NS, .def = "0ns",
	  .doc = "latency of a request, or compression of a page" },
	{ "bandwidth", .type = KEY_SIZE, SWAP(bandwidth_bytes), .min = 4096, .max = BANDWIDTH_MAX, .or_zero = true,
	  .def = "0", .doc = "bytes a second; 0: no bound" },
	{ "queue_depth", .type = KEY_UINT, SWAP(queue_depth), .width = 4, .min = 1, .max = 65536, .def = "1",
	  .doc = "requests served at once" },
};

#define COUNT(field) .count = offsetof(struct sim_config, field)
#define ENTRIES(array, table)                                                                  \
	.max = ARRAY_SIZE(((struct sim_config *)0)->array), .stride = sizeof(((struct sim_config *)0)->array[0]), \
	.nr_keys = ARRAY_SIZE(table), .keys = table

static const struct config_list tlbs = { COUNT(nr_tlbs), ENTRIES(tlb, tlb_keys) };
static const struct config_list pwcs = { COUNT(nr_pwcs), ENTRIES(pwc, pwc_keys) };
static const struct config_list zones = { COUNT(nr_zones), ENTRIES(zone, zone_keys) };
static const struct config_list swaps = { COUNT(nr_swaps), ENTRIES(swap, swap_keys) };
static const struct config_list cpu_nodes = { COUNT(cpus), .padded = true, .max = SIM_CPUS_MAX };
static const struct config_list levels = { COUNT(levels), .narrow = true, .max = PT_LEVELS_MAX };
static const struct config_list distances = { COUNT(nr_distances), .max = PHYS_NODES_MAX * PHYS_NODES_MAX };

const struct config_key config_keys[] = {
	{ "name", .type = KEY_TEXT, AT(name), .def = "laptop-8g", .doc = "for reports" },
	{ "seed", .type = KEY_UINT, AT(seed), WIDTH(seed), .max = UINT64_MAX, .def = "1",
	  .doc = "of everything random; equal seeds give equal runs" },
	{ "content", .type = KEY_BOOL, AT(content), .def = "no", .doc = "frames carry bytes: for tests" },

	{ "cpu.preset", .type = KEY_PRESET, .def = "zen4",
	  .doc = "TLBs, page-walk caches, their times and asid; what the file says of these besides takes precedence" },
	{ "cpu.count", .type = KEY_UINT, AT(cpus), WIDTH(cpus), .min = 1, .max = SIM_CPUS_MAX, .def = "8",
	  .doc = "CPUs" },
	{ "cpu.node", .type = KEY_NUMBERS, AT(cpu_node), .list = &cpu_nodes, .max = PHYS_NODES_MAX - 1,
	  .def = "[0, 0, 0, 0, 0, 0, 0, 0]", .doc = "the node of each CPU; those not named are on node 0" },
	{ "cpu.access", .type = KEY_DURATION_PS, AT(access_ns), .max = 1000000, .def = "1ns",
	  .doc = "the program's own time of a touch, for traces that have no times" },
	{ "cpu.kswapd", .type = KEY_ENUM, AT(kswapd), .names = kswapd_places, .max = SIM_NR_KSWAPD - 1, .def = "own",
	  .doc = "own: on a CPU of its own; first: on that of the program which wakes it, and which goes on when it is done; "
		 "last: there, too, but only while a fault waits for it" },
	{ "cpu.asid", .type = KEY_BOOL, AT(asid), .def = "yes",
	  .doc = "TLB entries carry the number of an address space; no: all are dropped when tasks change" },
	{ "cpu.walk_step", .type = KEY_DURATION_PS, AT(walk_step_ns), .max = 1000000, .def = "3ns",
	  .doc = "one load of the walker" },
	{ "cpu.tlb", .type = KEY_ITEMS, AT(tlb), .list = &tlbs, .def = "those of the preset",
	  .doc = "in the order in which they are asked" },
	{ "cpu.pwc", .type = KEY_ITEMS, AT(pwc), .list = &pwcs, .def = "those of the preset",
	  .doc = "page-walk caches" },

	{ "paging.bits", .type = KEY_NUMBERS, AT(bits), .list = &levels, .min = 1, .max = 38, .def = "[9, 9, 9, 9]",
	  .doc = "index bits of each level of the page tables, leaf first: a level for each number, 52 bits at most" },
	{ "paging.thp", .type = KEY_BOOL, AT(thp), .def = "no",
	  .doc = "anonymous memory in 2 MiB pages where aligned ranges allow" },

	{ "memory.zones", .type = KEY_ITEMS, AT(zone), .list = &zones,
	  .def = "[{name: DMA32, size: 3G, reserve_ratio: 256}, "
		 "{name: Normal, start: 4G, size: 5G, reserve_ratio: 32}]",
	  .doc = "physical memory" },
	{ "memory.distances", .type = KEY_NUMBERS, AT(distance), .list = &distances, .min = 10, .max = 254, .def = "[]",
	  .doc = "between nodes, as ACPI's SLIT: a row for each node; []: 10 to itself, 20 to others" },
	{ "memory.native", .type = KEY_SIZE, AT(native_bytes), .min = 256 * 1024, .max = MEMORY_MAX, .or_zero = true, .def = "0",
	  .doc = "programs may come to so much before the manager is engaged, as under steward run; 0: it is from the start" },
	{ "memory.limit", .type = KEY_SIZE, AT(limit_bytes), .min = 256 * 1024, .max = MEMORY_MAX, .or_zero = true,
	  .def = "0", .doc = "of the cgroup that all tasks are in; 0: none" },
	{ "memory.limit_tables", .type = KEY_BOOL, AT(limit_tables), .def = "yes",
	  .doc = "page tables count in the limit, as Linux has it; no: pages of programs and files alone" },
	{ "memory.limit_flush", .type = KEY_DURATION, AT(limit_flush_ns), .max = HOUR_NS, .def = "2s",
	  .doc = "the cgroup's statistics, by which reclaim decides, are so old at most; 0: exact" },
	{ "memory.limit_files", .type = KEY_BOOL, AT(limit_files), .def = "yes",
	  .doc = "pages of files count in the limit; no: what files have at first, others had read before: it stays cached and counts there" },

	{ "swap", .type = KEY_ITEMS, AT(swap), .list = &swaps,
	  .def = "[{kind: compressed, size: 8G, prio: 100, ratio: 2.63, read: 1us, write: 3us}]",
	  .doc = "swap areas; []: none" },

	{ "disk.read", .type = KEY_DURATION, AT(disk_read_ns), .max = HOUR_NS, .def = "80us",
	  .doc = "latency of a request to the disk that files are on" },
	{ "disk.write", .type = KEY_DURATION, AT(disk_write_ns), .max = HOUR_NS, .def = "20us", .doc = "the same" },
	{ "disk.bandwidth", .type = KEY_SIZE, AT(disk_bandwidth_bytes), .min = 4096, .max = BANDWIDTH_MAX, .or_zero = true,
	  .def = "3G", .doc = "bytes a second; 0: no bound" },
	{ "disk.queue_depth", .type = KEY_UINT, AT(disk_queue_depth), WIDTH(disk_queue_depth), .min = 1, .max = 65536,
	  .def = "64", .doc = "requests served at once" },

	{ "vm.policy", .type = KEY_TEXT, AT(policy), .def = "two-list", .doc = "which pages go: steward sim --policy" },
	{ "vm.accessed_bits", .type = KEY_BOOL, AT(accessed_bits), .def = "yes",
	  .doc = "no: reclaim samples by unmapping, as steward run must" },
	{ "vm.fault_young", .type = KEY_BOOL, AT(fault_young), .def = "yes",
	  .doc = "the access that faults is a use: its accessed bit stays; no: cleared, as textbooks count" },
	{ "vm.flush_young", .type = KEY_BOOL, AT(flush_young), .def = "no",
	  .doc = "clearing an accessed bit drops the translation, so that each use is seen; no: as on x86" },
	{ "vm.reclaim_batch", .type = KEY_UINT, AT(reclaim_batch), WIDTH(reclaim_batch), .min = 1, .max = 32,
	  .def = "32", .doc = "pages that reclaim takes at once, and what direct reclaim wants" },
	{ "vm.swappiness", .type = KEY_UINT, AT(swappiness), WIDTH(swappiness), .max = 200, .def = "60",
	  .doc = "anonymous pages against file pages: 100 is even" },
	{ "vm.min_free_kbytes", .type = KEY_UINT, AT(min_free_kbytes), WIDTH(min_free_kbytes), .max = 1 << 30,
	  .def = "0", .doc = "0: the root of 16 times memory in KiB, as Linux computes it" },
	{ "vm.watermark_scale_factor", .type = KEY_UINT, AT(watermark_scale_factor), WIDTH(watermark_scale_factor),
	  .min = 1, .max = 3000, .def = "10", .doc = "ten thousandths of a zone between its watermarks, at least" },
	{ "vm.page_cluster", .type = KEY_UINT, AT(page_cluster), WIDTH(page_cluster), .max = 10, .def = "3",
	  .doc = "read-ahead from swap, 2^n pages" },
	{ "vm.readahead_kb", .type = KEY_UINT, AT(readahead_kb), WIDTH(readahead_kb), .max = 1 << 20, .def = "128",
	  .doc = "of files" },
	{ "vm.dirty_background_ratio", .type = KEY_UINT, AT(dirty_background_ratio), WIDTH(dirty_background_ratio),
	  .max = 100, .def = "10", .doc = "per cent of memory that may be dirty before writing begins" },
	{ "vm.dirty_expire", .type = KEY_DURATION, AT(dirty_expire_ns), .max = HOUR_NS, .def = "30s",
	  .doc = "a page dirty for so long is written" },
	{ "vm.dirty_writeback", .type = KEY_DURATION, AT(dirty_writeback_ns), .max = HOUR_NS, .def = "5s",
	  .doc = "the flusher looks so often; 0: never" },

	{ "costs.minor", .type = KEY_DURATION, AT(minor_ns), .max = HOUR_NS, .def = "2.3us",
	  .doc = "a minor fault that fills a page" },
	{ "costs.major", .type = KEY_DURATION, AT(major_ns), .max = HOUR_NS, .def = "4us",
	  .doc = "a major fault, less its device" },
	{ "costs.soft", .type = KEY_DURATION, AT(soft_ns), .max = HOUR_NS, .def = "1us",
	  .doc = "a fault on a page that is resident" },
	{ "costs.cow", .type = KEY_DURATION, AT(cow_ns), .max = HOUR_NS, .def = "2.7us",
	  .doc = "a fault that copies a page" },
	{ "costs.scan", .type = KEY_DURATION, AT(scan_ns), .max = HOUR_NS, .def = "100ns",
	  .doc = "reclaim looks at a page" },
	{ "costs.unmap", .type = KEY_DURATION, AT(unmap_ns), .max = HOUR_NS, .def = "400ns",
	  .doc = "reclaim unmaps a page" },
	{ "costs.shootdown", .type = KEY_DURATION, AT(shootdown_ns), .max = HOUR_NS, .def = "4us",
	  .doc = "another CPU is interrupted to drop translations" },
};

_Static_assert(ARRAY_SIZE(config_keys) <= CONFIG_KEYS_MAX, "room for a value of each");

const unsigned config_nr_keys = ARRAY_SIZE(config_keys);

const struct config_key *config_find(const struct config_key *keys, unsigned nr, const char *path, size_t len)
{
	for (unsigned i = 0; i < nr; i++) {
		if (strlen(keys[i].path) == len && memcmp(keys[i].path, path, len) == 0)
			return &keys[i];
	}
	return NULL;
}

#define NAME_MAX_COMPARED 32

/* Letters put in, left out or exchanged between the two (Levenshtein); large if one is long. */
static unsigned edits(const char *a, size_t a_len, const char *b)
{
	unsigned row[NAME_MAX_COMPARED + 1];
	size_t b_len = strlen(b);

	if (a_len > NAME_MAX_COMPARED || b_len > NAME_MAX_COMPARED)
		return ~0u;
	for (unsigned j = 0; j <= b_len; j++)
		row[j] = j;
	for (unsigned i = 1; i <= a_len; i++) {
		unsigned corner = row[0];

		row[0] = i;
		for (unsigned j = 1; j <= b_len; j++) {
			unsigned exchanged = corner + (a[i - 1] != b[j - 1]);

			corner = row[j];
			row[j] = MIN(exchanged, MIN(row[j], row[j - 1]) + 1);
		}
	}
	return row[b_len];
}

static const char *last_name(const char *path)
{
	const char *dot = strrchr(path, '.');

	return dot != NULL ? dot + 1 : path;
}

/* By the whole path, and by the name alone, so that a name in the wrong section finds the right one. */
const char *config_nearest(const struct config_key *keys, unsigned nr, const char *path)
{
	const char *name = last_name(path), *best = NULL;
	unsigned best_edits = MAX(2u, (unsigned)strlen(name) / 3) + 1;

	for (unsigned i = 0; i < nr; i++) {
		unsigned whole = edits(path, strlen(path), keys[i].path);
		unsigned alone = edits(name, strlen(name), last_name(keys[i].path));
		unsigned n = MIN(whole, alone == 0 ? 0 : alone + 1);

		/* A short name has few letters that could agree by chance. */
		if (n < best_edits && n < strlen(name)) {
			best_edits = n;
			best = keys[i].path;
		}
	}
	return best;
}

static void describe_names(struct fmt *f, const char *const *names)
{
	for (unsigned i = 0; names[i] != NULL; i++) {
		fmt_str(f, i > 0 ? ", " : "");
		fmt_str(f, names[i]);
	}
}

static void describe_bound(struct fmt *f, const struct config_key *k, uint64_t v)
{
	if (k->type == KEY_SIZE) {
		fmt_size(f, v);
	} else if (k->type != KEY_DURATION && k->type != KEY_DURATION_PS) {
		fmt_u64(f, v);
	} else if (v >= HOUR_NS) {
		fmt_str(f, "1 hour");
	} else {
		fmt_u64(f, v / 1000000);
		fmt_str(f, v == 0 ? "" : "ms");
	}
}

void config_describe(struct fmt *f, const struct config_key *k)
{
	struct sim_cpu_preset preset;

	switch ((enum key_type)k->type) {
	case KEY_TEXT: fmt_str(f, "text"); return;
	case KEY_BOOL: fmt_str(f, "yes or no"); return;
	case KEY_ENUM: describe_names(f, k->names); return;
	case KEY_FLAGS:
		fmt_str(f, "list of ");
		describe_names(f, k->names);
		return;
	case KEY_PRESET:
		for (unsigned i = 0; sim_cpu_preset(i, &preset); i++) {
			fmt_str(f, i > 0 ? ", " : "");
			fmt_str(f, preset.name);
		}
		return;
	case KEY_ITEMS:
		fmt_str(f, "list, at most ");
		fmt_u64(f, k->list->max);
		return;
	case KEY_NUMBERS: fmt_str(f, "list of "); break;
	case KEY_INT:
	case KEY_UINT:
	case KEY_SIZE:
	case KEY_DURATION:
	case KEY_DURATION_PS:
	case KEY_RATIO: break;
	}
	if (k->or_zero)
		fmt_str(f, "0, or ");
	if (k->type == KEY_UINT && k->max == UINT64_MAX) {
		fmt_str(f, "whole number");
		return;
	}
	if (k->min < 0)
		fmt_i64(f, k->min);
	else
		describe_bound(f, k, (uint64_t)k->min);
	fmt_str(f, " to ");
	describe_bound(f, k, k->max);
}

uint32_t config_count(const struct config_list *l, const void *base)
{
	const char *at = (const char *)base + l->count;

	return l->narrow ? *(const uint8_t *)at : *(const uint32_t *)at;
}

void config_set_count(const struct config_list *l, void *base, uint32_t n)
{
	char *at = (char *)base + l->count;

	ASSERT(n <= l->max);
	if (l->narrow)
		*(uint8_t *)at = (uint8_t)n;
	else
		*(uint32_t *)at = n;
}

bool sim_config_key(unsigned n, struct sim_config_key *key)
{
	const struct config_key *rows = config_keys;
	unsigned nr = config_nr_keys;
	const char *list = NULL;
	struct fmt f;

	/* First all keys, then list by list those of its entries. */
	for (unsigned i = 0; n >= nr; i++) {
		while (i < config_nr_keys && config_keys[i].type != KEY_ITEMS)
			i++;
		if (i == config_nr_keys)
			return false;
		n -= nr;
		list = config_keys[i].path;
		rows = config_keys[i].list->keys;
		nr = config_keys[i].list->nr_keys;
	}
	*key = (struct sim_config_key){ .list = list, .path = rows[n].path, .def = rows[n].def, .doc = rows[n].doc };
	fmt_init(&f, key->value, sizeof(key->value));
	config_describe(&f, &rows[n]);
	return true;
}
