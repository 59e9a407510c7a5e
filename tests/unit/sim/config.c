/*
 * sim/config*.c: machine files. Random machines go out and come back; a list of mistakes has the exact complaint and
 * line of each; every key takes its bounds and refuses what is beyond; every allocation fails in turn.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/rand.h"
#include "sim/config_keys.h"

/* The n-th allocation from now, and all later ones, fail; 0: none. */
static unsigned long fail_at;

void *__real_malloc(size_t size);
void *__real_realloc(void *p, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_realloc(void *p, size_t size);
char *__wrap_strdup(const char *s);

/* Counts down to 1 and stays there. */
static bool fails(void)
{
	if (fail_at > 1) {
		fail_at--;
		return false;
	}
	return fail_at == 1;
}

void *__wrap_malloc(size_t size)
{
	return fails() ? NULL : __real_malloc(size);
}

void *__wrap_realloc(void *p, size_t size)
{
	return fails() ? NULL : __real_realloc(p, size);
}

char *__wrap_strdup(const char *s)
{
	char *copy = __wrap_malloc(strlen(s) + 1);

	return copy != NULL ? strcpy(copy, s) : NULL;
}

static int file_of(const char *text, size_t len)
{
	int fd = memfd_create("machine", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, len), len);
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	return fd;
}

static int read_text(struct sim_config *c, const char *text, struct sim_config_error *error)
{
	int fd = file_of(text, strlen(text));
	int err = sim_config_read(c, fd, error);

	close(fd);
	return err;
}

/* c as it is written; the caller frees it. */
static char *written(const struct sim_config *c)
{
	int fd = memfd_create("machine", MFD_CLOEXEC);
	char *text = calloc(1, 65536);

	assert_int_equal(sim_config_write(c, fd), 0);
	assert_true(pread(fd, text, 65535, 0) > 0);
	close(fd);
	return text;
}

static void comes_back(const struct sim_config *c)
{
	struct sim_config back;
	struct sim_config_error error;
	char *text = written(c);

	sim_config_default(&back);
	if (read_text(&back, text, &error) != 0)
		fail_msg("line %u: %s", error.line, error.text);
	assert_memory_equal(&back, c, sizeof(back));
	free(text);
}

/*
 * Random machines that hold all rules
 */

static struct rand rnd;

static uint64_t below(uint64_t n)
{
	return rand_below(&rnd, n);
}

static uint64_t some_ns(void)
{
	static const uint64_t scale[] = { 1, 10, 1000, 1000000, 1000000000 };

	return below(3600) * scale[below(ARRAY_SIZE(scale))];
}

static uint64_t some_bytes(void)
{
	return 65536 + (below(1000) << below(30)) + below(2);
}

static double some_thousandths(uint64_t most)
{
	return (double)below(most * 1000 + 1) / 1000;
}

static void some_name(char *name)
{
	static const char letters[] = "abcXYZ 0123456789-_.,:;#'[]{}&*!|>%@`?/~";
	size_t len = 1 + below(SIM_NAME_MAX - 1);

	for (size_t i = 0; i < len; i++)
		name[i] = letters[below(sizeof(letters) - 1)];
}

static void some_cache(uint32_t *entries, uint32_t *ways)
{
	uint32_t n = 1 + (uint32_t)below(16), sets = 1u << below(10);

	*entries = n * sets;
	*ways = sets == 1 && below(2) ? 0 : n;
}

static void some_cpu(struct sim_config *c)
{
	c->cpus = 1 + (uint32_t)below(SIM_CPUS_MAX);
	c->asid = below(2);
	c->kswapd = (uint8_t)below(SIM_NR_KSWAPD);
	c->access_ns = some_thousandths(1000);
	c->walk_step_ns = some_thousandths(10);
	c->nr_tlbs = (uint32_t)below(SIM_TLBS_MAX + 1);
	for (unsigned i = 0; i < c->nr_tlbs; i++) {
		struct sim_tlb_config *t = &c->tlb[i];

		some_name(t->name);
		some_cache(&t->entries, &t->ways);
		t->level = 1 + (uint8_t)below(2);
		t->holds = (uint8_t)((1 + below(3)) | (1 + below(3)) << 2);
		t->replacement = below(2) ? SIM_RANDOM : SIM_LRU;
		t->hit_ns = some_thousandths(10);
	}
	c->nr_pwcs = (uint32_t)below(SIM_PWCS_MAX + 1);
	for (unsigned i = 0; i < c->nr_pwcs; i++) {
		c->pwc[i].level = (uint8_t)(c->nr_pwcs - i);
		some_cache(&c->pwc[i].entries, &c->pwc[i].ways);
	}
}

static void some_memory(struct sim_config *c)
{
	uint64_t at = 0;

	c->levels = 1 + (uint8_t)below(PT_LEVELS_MAX);
	for (unsigned i = 0; i < c->levels; i++)
		c->bits[i] = 1 + (uint8_t)below(10);
	c->nr_zones = 1 + (uint32_t)below(PHYS_ZONES_MAX);
	for (unsigned i = 0; i < c->nr_zones; i++) {
		struct sim_zone_config *z = &c->zone[i];

		some_name(z->name);
		z->node = (uint8_t)below(PHYS_NODES_MAX);
		c->nr_nodes = MAX(c->nr_nodes, z->node + 1u);
		z->start_bytes = at + below(1000) * PAGE_SIZE;
		z->size_bytes = (16 + (below(1000) << below(12))) * PAGE_SIZE;
		z->reserve_ratio = (uint16_t)below(65536);
		at = z->start_bytes + z->size_bytes;
	}
	c->nr_distances = below(2) ? c->nr_nodes * c->nr_nodes : 0;
	for (unsigned i = 0; i < c->nr_distances; i++)
		c->distance[i] = i % (c->nr_nodes + 1) == 0 ? 10 : (uint8_t)(11 + below(244));
	for (unsigned i = 0; i < c->cpus; i++)
		c->cpu_node[i] = c->zone[below(c->nr_zones)].node;
	c->limit_bytes = below(2) ? 4 * some_bytes() : 0;
	c->limit_flush_ns = some_ns();
	c->limit_files = below(2);
}

static void some_swaps(struct sim_config *c)
{
	c->nr_swaps = (uint32_t)below(SIM_SWAPS_MAX + 1);
	for (unsigned i = 0; i < c->nr_swaps; i++) {
		struct sim_swap_config *s = &c->swap[i];

		s->kind = (uint8_t)below(SIM_NR_SWAP_KINDS);
		s->size_bytes = some_bytes();
		s->prio = (int)below(65536) - 32768;
		s->ratio = 1 + some_thousandths(100);
		s->ratio = (double)(uint64_t)(s->ratio * 1000 + 0.5) / 1000;
		s->in_memory = below(2);
		s->read_ns = some_ns();
		s->write_ns = some_ns();
		s->bandwidth_bytes = below(2) ? some_bytes() : 0;
		s->queue_depth = 1 + (uint32_t)below(65536);
	}
}

static void some_machine(struct sim_config *c)
{
	memset(c, 0, sizeof(*c));
	some_name(c->name);
	some_name(c->policy);
	c->seed = rand_u64(&rnd);
	c->content = below(2);
	some_cpu(c);
	some_memory(c);
	c->thp = c->levels > 1 && c->bits[0] == 9;
	some_swaps(c);
	c->disk_read_ns = some_ns();
	c->disk_write_ns = some_ns();
	c->disk_bandwidth_bytes = some_bytes();
	c->disk_queue_depth = 1 + (uint32_t)below(100);
	c->accessed_bits = below(2);
	c->native_bytes = c->accessed_bits || below(2) ? 0 : (1 + below(1 << 20)) << 20;
	c->swappiness = (uint32_t)below(201);
	c->reclaim_batch = 1 + (uint32_t)below(32);
	c->fault_young = below(2) != 0;
	c->flush_young = below(2) != 0;
	c->limit_tables = below(2) != 0;
	c->min_free_kbytes = (uint32_t)below(1 << 30);
	c->watermark_scale_factor = 1 + (uint32_t)below(3000);
	c->page_cluster = (uint32_t)below(11);
	c->readahead_kb = (uint32_t)below(1 << 20);
	c->dirty_background_ratio = (uint32_t)below(101);
	c->dirty_expire_ns = some_ns();
	c->dirty_writeback_ns = some_ns();
	c->minor_ns = some_ns();
	c->major_ns = some_ns();
	c->soft_ns = some_ns();
	c->cow_ns = some_ns();
	c->scan_ns = some_ns();
	c->unmap_ns = some_ns();
	c->shootdown_ns = some_ns();
}

static void machines_come_back_as_they_were_written(void **state)
{
	struct sim_config c;
	struct sim_config_error error;

	(void)state;
	rand_seed(&rnd, 1);
	for (unsigned i = 0; i < 2000; i++) {
		some_machine(&c);
		if (sim_config_check(&c, &error) != 0)
			fail_msg("%s", error.text);
		comes_back(&c);
	}
}

static void defaults_are_a_machine_and_what_the_table_says(void **state)
{
	struct sim_config c, other;
	struct sim_config_error error;

	(void)state;
	sim_config_default(&c);
	assert_int_equal(sim_config_check(&c, &error), 0);
	assert_int_equal(c.zone[0].size_bytes + c.zone[1].size_bytes, 8 * GIB);
	assert_int_equal(c.minor_ns, 2300);
	assert_int_equal(c.levels, 4);
	assert_int_equal(c.tlb[0].entries, 72);
	comes_back(&c);
	for (unsigned i = 0; i < config_nr_keys; i++) {
		char text[256];

		if (strncmp(config_keys[i].def, "those of", 8) == 0)
			continue;
		other = c;
		snprintf(text, sizeof(text), "%s=%s", config_keys[i].path, config_keys[i].def);
		if (sim_config_set(&other, text, &error) != 0)
			fail_msg("%s", error.text);
		assert_memory_equal(&other, &c, sizeof(c));
	}
}

static void entries_of_lists_have_the_defaults_of_the_table(void **state)
{
	struct sim_config c;
	struct sim_config_error error;

	(void)state;
	sim_config_default(&c);
	assert_int_equal(read_text(&c,
				   "cpu: {tlb: [{entries: 16}]}\n"
				   "memory:\n  zones: [{name: A, size: 1M}, {name: B, size: 1M}]\n"
				   "swap: [{kind: disk, size: 1M}]\n",
				   &error), 0);
	assert_int_equal(c.nr_tlbs, 1);
	assert_string_equal(c.tlb[0].name, "TLB");
	assert_int_equal(c.tlb[0].holds, SIM_TLB_4K | SIM_TLB_DATA | SIM_TLB_CODE);
	assert_int_equal(c.tlb[0].level, 1);
	assert_int_equal(c.zone[1].start_bytes, MIB);
	assert_int_equal(c.nr_zones, 2);
	assert_int_equal(c.zone[2].size_bytes, 0);
	assert_int_equal(c.swap[0].prio, -2);
	assert_int_equal(c.swap[0].queue_depth, 1);
	assert_true(c.swap[0].in_memory);
}

/*
 * Complaints
 */

static const struct {
	const char *text;
	unsigned line;
	const char *complaint;
} mistakes[] = {
	{ "", 0, "empty; give the keys that are to differ, see docs/machine-files.md" },
	{ "# nothing\n", 0, "empty; give the keys that are to differ, see docs/machine-files.md" },
	{ "just text\n", 1, "not a machine file; write NAME: VALUE on each line" },
	{ "- 1\n", 1, "not a machine file; write NAME: VALUE on each line" },
	{ "name: a\n---\nname: b\n", 3, "a second document begins; leave it out" },
	{ "name: a\nvm: {swappiness: 1\n", 3, "not YAML: did not find expected ',' or '}'; correct it" },
	{ "name: a\n\tvm: 1\n", 2, "not YAML: found a tab character that violates indentation; correct it" },
	{ "name: a\nseed: \xff\n", 2, "not YAML: invalid leading UTF-8 octet; correct it" },
	{ "name: a\nswapiness: 3\n", 2, "swapiness: unknown key; did you mean vm.swappiness?" },
	{ "vm:\n  swappines: 3\n", 2, "vm.swappines: unknown key; did you mean vm.swappiness?" },
	{ "vm:\n  limit: 3\n", 2, "vm.limit: unknown key; did you mean memory.limit?" },
	{ "quux: 3\n", 1, "quux: unknown key; see docs/machine-files.md" },
	{ "memory:\n  zones:\n    - name: A\n      sise: 4M\n", 4,
	  "memory.zones[0].sise: unknown key; did you mean memory.zones[0].size?" },
	{ "? [1]\n: 3\n", 1, "a key that is not a name; write NAME: VALUE" },
	{ "vm:\n  swappiness: 1\n  swappiness: 2\n", 3, "vm.swappiness: given twice; leave one out" },
	{ "vm:\n  swappiness: 1\ncpu: {count: 1}\nvm:\n  page_cluster: 2\n", 4, "vm: given twice; leave one out" },
	{ "vm: 3\n", 1, "vm: a section; write its keys below it, indented" },
	{ "vm:\n  swappiness: lots\n", 2, "vm.swappiness: not a whole number; write digits only" },
	{ "vm:\n  swappiness: 201\n", 2, "vm.swappiness: out of range; write 0 to 200" },
	{ "vm:\n  swappiness: -1\n", 2, "vm.swappiness: not a whole number; write digits only" },
	{ "vm:\n  swappiness: [1]\n", 2, "vm.swappiness: a single value belongs here, not a list or section" },
	{ "vm:\n  swappiness:\n", 2, "vm.swappiness: no value; give one or leave the key out" },
	{ "vm:\n  swappiness: \"1\\0\"\n", 2, "vm.swappiness: holds a NUL; leave it out" },
	{ "vm:\n  accessed_bits: maybe\n", 2, "vm.accessed_bits: neither yes nor no; write one of them" },
	{ "memory:\n  limit: 12Q\n", 2, "memory.limit: not a size; write it as 512M or 1.5G" },
	{ "memory:\n  limit: 4K\n", 2, "memory.limit: out of range; write 0, or 256 KiB to 8 TiB" },
	{ "memory:\n  limit: 99999999P\n", 2, "memory.limit: out of range; write 0, or 256 KiB to 8 TiB" },
	{ "costs:\n  minor: 5\n", 2, "costs.minor: not a duration; write it as 80ns, 2us, 10ms or 2s" },
	{ "costs:\n  minor: 5 minutes\n", 2, "costs.minor: not a duration; write it as 80ns, 2us, 10ms or 2s" },
	{ "costs:\n  minor: 0.5ns\n", 2, "costs.minor: finer than a nanosecond; round it" },
	{ "costs:\n  minor: 3601s\n", 2, "costs.minor: out of range; write 0 to 1 hour" },
	{ "swap:\n  - {kind: floppy}\n", 2, "swap[0].kind: unknown; write one of compressed, disk, remote" },
	{ "swap:\n  - {kind: disk, size: 1G, prio: 1e3}\n", 2,
	  "swap[0].prio: not a whole number; write digits, with - in front if it is negative" },
	{ "swap:\n  - {kind: disk, size: 1G, prio: -32769}\n", 2, "swap[0].prio: out of range; write -32768 to 32767" },
	{ "swap:\n  - {kind: compressed, ratio: 2.6666}\n", 2,
	  "swap[0].ratio: not a number with at most three decimals; write it as 2.75" },
	{ "swap:\n  - {kind: compressed, ratio: 0.5}\n", 2, "swap[0].ratio: out of range; write 0, or 1 to 1000" },
	{ "swap:\n  - size: 1G\n", 2, "swap[0].kind: missing; add it" },
	{ "swap:\n  - 7\n", 2, "swap[0]: keys belong here; write {NAME: VALUE, …}" },
	{ "swap: {kind: disk}\n", 1, "swap: a list belongs here; write it as [A, B]" },
	{ "name: \"\"\n", 1, "name: empty; give a name" },
	{ "name: 0123456789012345678901234567890123456789012345678901234567890123\n", 1,
	  "name: longer than 63 characters; give a shorter name" },
	{ "name: 'a\\b'\n", 1,
	  "name: holds a character that a name cannot have; use letters, digits, blanks and punctuation "
	  "without \" and \\" },
	{ "cpu:\n  preset: 486\n", 2,
	  "cpu.preset: unknown preset; write zen4, skylake, icelake, p6, champsim, virtuoso" },
	{ "cpu:\n  count: 2\n  node: [0, 0, 0]\n", 3, "cpu.node: 3 numbers for 2; leave some out" },
	{ "cpu:\n  node: [0, x]\n", 2, "cpu.node: not a whole number; write digits only" },
	{ "cpu:\n  node: [{a: 1}]\n", 2, "cpu.node: a number belongs here" },
	{ "cpu:\n  tlb:\n    - {entries: 4, holds: [4k]}\n", 3,
	  "cpu.tlb[0].holds: unknown; write one of 4K, 2M, data, code" },
	{ "paging:\n  bits: [9, 9, 9, 9, 9, 9]\n", 2, "paging.bits: more than 5 numbers; leave some out" },
	{ "paging:\n  bits: [39]\n", 2, "paging.bits: out of range; write list of 1 to 38" },
	{ "cpu:\n  pwc: [{level: 1, entries: 1}, {level: 1, entries: 1}, {level: 1, entries: 1}, {level: 1, entries: 1},\n"
	  "        {level: 1, entries: 1}]\n", 3, "cpu.pwc: more than 4 entries; leave some out" },
	{ "cpu:\n  kswapd: never\n", 2, "cpu.kswapd: unknown; write one of own, first, last" },
	/* Rules between keys. */
	{ "memory:\n  native: 1M\n", 2, "memory.native: a kernel is engaged from the start; write 0, or vm.accessed_bits: no" },
	{ "cpu:\n  tlb:\n    - entries: 8\n    - entries: 9\n      ways: 2\n", 4,
	  "cpu.tlb[1]: 9 entries are not a power of two times 2 ways; change one of them" },
	{ "cpu:\n  tlb:\n    - {entries: 8, ways: 9}\n", 3,
	  "cpu.tlb[0]: 9 ways but only 8 entries; give fewer ways, or 0 for fully associative" },
	{ "cpu:\n  tlb:\n    - {entries: 8, holds: [4K]}\n", 3,
	  "cpu.tlb[0]: it holds nothing; holds needs 4K or 2M, and data or code" },
	{ "cpu:\n  tlb:\n    - {entries: 12, replacement: plru}\n", 3,
	  "cpu.tlb[0]: plru needs a power of two of ways, not 12; take lru" },
	{ "cpu:\n  pwc:\n    - {level: 1, entries: 1}\n    - {level: 1, entries: 1}\n", 4,
	  "cpu.pwc[1]: level 1 has a cache already; merge the two" },
	{ "paging:\n  bits: []\n", 2, "paging.bits: no level; give at least one number" },
	{ "name: a\npaging:\n  bits: [38, 15]\n", 3,
	  "paging.bits: 53 bits together; 64-bit addresses have 52 above the page" },
	{ "paging:\n  bits: [10, 10]\n  thp: yes\n", 3,
	  "paging.thp: 2 MiB pages need a leaf level of 9 bits and one above; write no" },
	{ "memory:\n  zones: []\n", 2, "memory.zones: no memory; give at least one zone" },
	{ "memory:\n  zones:\n  - {name: A, size: 65537}\n", 3,
	  "memory.zones[0]: start and size are not multiples of 4K; round them" },
	{ "memory:\n  zones:\n  - {name: A, start: 8T, size: 8T}\n", 3,
	  "memory.zones[0]: ends above 16 TiB; make it smaller" },
	{ "memory:\n  zones:\n  - {name: A, start: 1G, size: 1M}\n  - {name: B, start: 0, size: 1M}\n", 4,
	  "memory.zones[1]: starts below the zone before; sort them by start" },
	{ "memory:\n  zones:\n  - {name: A, size: 2M}\n  - {name: B, start: 1M, size: 1M}\n", 4,
	  "memory.zones[1]: overlaps the zone before; move its start" },
	{ "memory:\n  zones:\n  - {name: A, size: 2M}\n  - {name: B, node: 1, size: 1M}\n  distances: [10, 20]\n", 5,
	  "memory.distances: 2 numbers for 2 nodes; give 4, a row for each node, or []" },
	{ "memory:\n  zones:\n  - {name: A, size: 2M}\n  - {name: B, node: 1, size: 1M}\n  distances:\n  - [10, 10]\n  - [20, 10]\n",
	  6, "memory.distances: from node 0 to node 1 it is 10; 10 is to itself and to no other" },
	{ "cpu:\n  node: [0, 1]\n", 2, "cpu.node: CPU 1 is on node 1, which has no zone; add one or change it" },
	{ "cpu:\n  node: [0, 1]\nmemory:\n  zones:\n  - {name: A, size: 1G}\n  - {name: B, node: 2, start: 1G, size: 1G}\n", 2,
	  "cpu.node: CPU 1 is on node 1, which has no zone; add one or change it" },
	{ "swap:\n- {kind: compressed}\n", 2,
	  "swap[0]: compressed without a ratio; add ratio: 2.6, or what your pages give" },
	{ "swap:\n- {kind: remote}\n", 2, "swap[0]: no size; add size: 8G" },
	/* Graphs instead of trees. */
	{ "swap: &a\n  - *a\n", 1, "swap[0]: keys belong here; write {NAME: VALUE, …}" },
	{ "paging:\n  bits: &a [9, *a]\n", 2, "paging.bits: a number belongs here" },
	{ "&a name: *a\nvm: &b {swappiness: *b}\n", 2,
	  "vm.swappiness: a single value belongs here, not a list or section" },
};

static void each_mistake_has_its_line_and_changes_nothing(void **state)
{
	struct sim_config c, before;

	(void)state;
	sim_config_default(&c);
	before = c;
	for (size_t i = 0; i < ARRAY_SIZE(mistakes); i++) {
		struct sim_config_error error;
		int err = read_text(&c, mistakes[i].text, &error);

		if (err != -EINVAL)
			fail_msg("%d for %s", err, mistakes[i].text);
		assert_string_equal(error.text, mistakes[i].complaint);
		if (error.line != mistakes[i].line)
			fail_msg("line %u instead of %u for %s", error.line, mistakes[i].line, mistakes[i].text);
		assert_memory_equal(&c, &before, sizeof(c));
	}
}

static const struct {
	const char *text, *complaint;
} bad_assignments[] = {
	{ "vm.swappiness", "\"vm.swappiness\" is not an assignment; write it as vm.swappiness=10" },
	{ "=10", "\"=10\" is not an assignment; write it as vm.swappiness=10" },
	{ "vm.swappiness=", "vm.swappiness: no value; give one" },
	{ "vm.swappiness= # none", "vm.swappiness: empty; give a value" },
	{ "vm.swappiness={", "vm.swappiness: not YAML: did not find expected node content; correct it" },
	{ "vm.swappiness=300", "vm.swappiness: out of range; write 0 to 200" },
	{ "vm=3", "vm: a section; name one of its keys, as in vm.policy" },
	{ "vm.swapines=3", "vm.swapines: unknown key; did you mean vm.swappiness?" },
	{ "swap[0].sise=3", "swap[0].sise: unknown key; did you mean swap[0].size?" },
	{ "swap[0]=3", "swap[0]: a whole entry; name one of its keys, as in swap[0].kind" },
	{ "swap[x].size=3", "swap[x].size: unknown key; see docs/machine-files.md" },
	{ "swap[2].size=1G", "swap[2].size: there are 1 of them, and at most 8; give a lower index" },
	{ "vm.policy[0].size=1G", "vm.policy[0].size: unknown key; see docs/machine-files.md" },
	{ "swap[18446744073709551617].size=1G",
	  "swap[18446744073709551617].size: there are 1 of them, and at most 8; give a lower index" },
};

static void assignments_reach_every_kind_of_key(void **state)
{
	struct sim_config c, before;
	struct sim_config_error error;

	(void)state;
	sim_config_default(&c);
	assert_int_equal(sim_config_set(&c, "vm.swappiness=10", &error), 0);
	assert_int_equal(sim_config_set(&c, "paging.bits=[10, 10]", &error), 0);
	assert_int_equal(sim_config_set(&c, "cpu.preset=p6", &error), 0);
	assert_int_equal(sim_config_set(&c, "swap[0].size=2G", &error), 0);
	assert_int_equal(sim_config_set(&c, "swap[1].kind=disk", &error), 0);
	assert_int_equal(sim_config_check(&c, &error), -EINVAL);
	assert_string_equal(error.text, "swap[1]: no size; add size: 8G");
	assert_int_equal(sim_config_set(&c, "swap[1].size=1.5GiB", &error), 0);
	assert_int_equal(sim_config_set(&c, "memory.zones[2].node=1", &error), 0);
	assert_int_equal(sim_config_check(&c, &error), -EINVAL);
	assert_string_equal(error.text, "memory.zones[2].name: missing; add it");
	assert_int_equal(sim_config_set(&c, "memory.zones[2].name=far", &error), 0);
	assert_int_equal(sim_config_set(&c, "memory.zones[2].size=1G", &error), 0);
	assert_int_equal(sim_config_check(&c, &error), 0);
	assert_int_equal(c.swappiness, 10);
	assert_int_equal(c.levels, 2);
	assert_int_equal(c.bits[1], 10);
	assert_false(c.asid);
	assert_int_equal(c.tlb[2].entries, 32);
	assert_int_equal(c.swap[1].size_bytes, 3 * GIB / 2);
	assert_int_equal(c.zone[2].start_bytes, 9 * GIB);
	assert_int_equal(c.nr_nodes, 2);
	comes_back(&c);

	sim_config_default(&c);
	before = c;
	for (size_t i = 0; i < ARRAY_SIZE(bad_assignments); i++) {
		assert_int_equal(sim_config_set(&c, bad_assignments[i].text, &error), -EINVAL);
		assert_string_equal(error.text, bad_assignments[i].complaint);
		assert_int_equal(error.line, 0);
		assert_memory_equal(&c, &before, sizeof(c));
	}
}

/* text of v in the unit of the key, as a person would write it. */
static void write_bound(char *text, size_t size, const struct config_key *k, const char *path, __int128 v)
{
	const char *unit = k->type == KEY_DURATION || k->type == KEY_DURATION_PS ? "ns" : "";
	const char *sign = v < 0 ? "-" : "", *open = k->type == KEY_NUMBERS ? "[" : "", *close = open[0] ? "]" : "";

	snprintf(text, size, "%s=%s%s%llu%s%s", path, open, sign, (unsigned long long)(v < 0 ? -v : v), unit, close);
}

static void holds_bounds(const struct config_key *k, const char *path)
{
	struct sim_config c, other;
	struct sim_config_error error;
	char text[256];
	char *first, *second;

	sim_config_default(&c);
	other = c;
	write_bound(text, sizeof(text), k, path, (__int128)k->max);
	if (sim_config_set(&c, text, &error) != 0)
		fail_msg("%s", error.text);
	/* It fits in its field if it is still the same after having been written; below the most is another text. */
	write_bound(text, sizeof(text), k, path, (__int128)k->max - 1);
	assert_int_equal(sim_config_set(&other, text, &error), 0);
	first = written(&c);
	second = written(&other);
	assert_string_not_equal(first, second);
	free(first);
	free(second);
	write_bound(text, sizeof(text), k, path, (__int128)k->min);
	assert_int_equal(sim_config_set(&c, text, &error), 0);
	if (k->max != UINT64_MAX) {
		write_bound(text, sizeof(text), k, path, (__int128)k->max + 1);
		assert_int_equal(sim_config_set(&c, text, &error), -EINVAL);
	}
	if (k->min != 0) {
		write_bound(text, sizeof(text), k, path, (__int128)k->min - 1);
		assert_int_equal(sim_config_set(&c, text, &error), k->or_zero && k->min == 1 ? 0 : -EINVAL);
	}
	if (k->or_zero) {
		write_bound(text, sizeof(text), k, path, 0);
		assert_int_equal(sim_config_set(&c, text, &error), 0);
	}
}

static bool has_bounds(const struct config_key *k)
{
	return k->type == KEY_INT || k->type == KEY_UINT || k->type == KEY_SIZE || k->type == KEY_DURATION ||
	       k->type == KEY_DURATION_PS || k->type == KEY_NUMBERS || k->type == KEY_RATIO;
}

static void every_number_takes_its_bounds_and_nothing_beyond(void **state)
{
	unsigned n = 0;

	(void)state;
	for (unsigned i = 0; i < config_nr_keys; i++) {
		const struct config_key *k = &config_keys[i];

		if (has_bounds(k)) {
			holds_bounds(k, k->path);
			n++;
		}
		for (unsigned j = 0; k->type == KEY_ITEMS && j < k->list->nr_keys; j++) {
			char path[64];

			snprintf(path, sizeof(path), "%s[0].%s", k->path, k->list->keys[j].path);
			if (has_bounds(&k->list->keys[j])) {
				holds_bounds(&k->list->keys[j], path);
				n++;
			}
		}
	}
	assert_true(n > 40);
}

static void every_failed_allocation_is_told(void **state)
{
	struct sim_config c, before, back;
	struct sim_config_error error;
	char *text;
	int err = -ENOMEM;

	(void)state;
	sim_config_default(&c);
	before = c;
	c.swappiness = 7;
	text = written(&c);
	back = before;
	int fd = file_of(text, strlen(text));
	unsigned long n = 1;

	for (; err != 0; n++) {
		assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
		fail_at = n;
		err = sim_config_read(&back, fd, &error);
		fail_at = 0;
		if (err != 0) {
			assert_int_equal(err, -ENOMEM);
			assert_string_equal(error.text, "it cannot be read (Cannot allocate memory); check the name");
			assert_memory_equal(&back, &before, sizeof(c));
		}
	}
	assert_true(n > 100);
	assert_memory_equal(&back, &c, sizeof(c));
	close(fd);
	free(text);

	err = -ENOMEM;
	for (n = 1; err != 0; n++) {
		fail_at = n;
		err = sim_config_set(&back, "paging.bits=[10, 10]", &error);
		fail_at = 0;
		if (err != 0)
			assert_int_equal(err, -ENOMEM);
	}
}

static void what_cannot_be_read_or_written_is_told(void **state)
{
	struct sim_config c;
	struct sim_config_error error;
	char *large = calloc(1, 300000);
	int fd;

	(void)state;
	sim_config_default(&c);
	fd = open("/", O_RDONLY | O_CLOEXEC);
	assert_int_equal(sim_config_read(&c, fd, &error), -EISDIR);
	assert_string_equal(error.text, "it cannot be read (Is a directory); check the name");
	close(fd);
	memset(large, '#', 300000);
	fd = file_of(large, 300000);
	assert_int_equal(sim_config_read(&c, fd, &error), -EINVAL);
	assert_string_equal(error.text, "longer than 256 KiB; this is not a machine file");
	close(fd);
	free(large);
	fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
	assert_int_equal(sim_config_write(&c, fd), -ENOSPC);
	close(fd);
}

static void every_preset_is_a_machine(void **state)
{
	struct sim_cpu_preset p;
	struct sim_config_error error;
	unsigned n = 0;

	(void)state;
	for (; sim_cpu_preset(n, &p); n++) {
		struct sim_config c;
		char text[64];

		sim_config_default(&c);
		snprintf(text, sizeof(text), "cpu: {preset: %s}\n", p.name);
		if (read_text(&c, text, &error) != 0)
			fail_msg("%s: %s", p.name, error.text);
		assert_true(c.nr_tlbs >= 2);
		comes_back(&c);
	}
	assert_true(n >= 5);
}

static void the_examples_are_machines(void **state)
{
	const char *folder = getenv("MACHINES");
	DIR *dir = opendir(folder);
	struct dirent *d;
	unsigned n = 0;

	(void)state;
	assert_non_null(dir);
	while ((d = readdir(dir)) != NULL) {
		struct sim_config c;
		struct sim_config_error error;
		char path[4096];
		int fd;

		if (d->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "%s/%s", folder, d->d_name);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		assert_true(fd >= 0);
		sim_config_default(&c);
		if (sim_config_read(&c, fd, &error) != 0)
			fail_msg("%s:%u: %s", d->d_name, error.line, error.text);
		close(fd);
		/* A machine is called as its file. */
		assert_memory_equal(c.name, d->d_name, strlen(c.name));
		assert_string_equal(d->d_name + strlen(c.name), ".yaml");
		comes_back(&c);
		n++;
	}
	closedir(dir);
	assert_int_equal(n, 7);
}

/* One more row of the document; what it lacks is printed, to be put in. */
static void in_document(const char *document, const char *row, unsigned *lacking)
{
	if (strstr(document, row) != NULL)
		return;
	print_message("# lacks: %s", row);
	++*lacking;
}

static void the_document_has_the_rows_of_the_table_and_no_others(void **state)
{
	FILE *f = fopen(getenv("DOCUMENT"), "re");
	char *document = calloc(1, 65536), row[1024];
	struct sim_config_key k;
	struct sim_cpu_preset p;
	unsigned rows = 0, lacking = 0;

	(void)state;
	assert_non_null(f);
	assert_true(fread(document, 1, 65535, f) > 0);
	fclose(f);
	for (unsigned i = 0; sim_config_key(i, &k); i++, rows++) {
		snprintf(row, sizeof(row), "| `%s` | %s | %s%s%s | %s |\n", k.path, k.value, k.def != NULL ? "`" : "",
			 k.def != NULL ? k.def : "must be given", k.def != NULL ? "`" : "", k.doc);
		in_document(document, row, &lacking);
	}
	for (unsigned i = 0; sim_cpu_preset(i, &p); i++, rows++) {
		snprintf(row, sizeof(row), "| `%s` | %s | %s |\n", p.name, p.cpu, p.source);
		in_document(document, row, &lacking);
	}
	assert_int_equal(lacking, 0);
	for (const char *at = document; (at = strstr(at, "\n| `")) != NULL; at++)
		rows--;
	assert_int_equal(rows, 0);
	free(document);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(defaults_are_a_machine_and_what_the_table_says),
		cmocka_unit_test(entries_of_lists_have_the_defaults_of_the_table),
		cmocka_unit_test(machines_come_back_as_they_were_written),
		cmocka_unit_test(each_mistake_has_its_line_and_changes_nothing),
		cmocka_unit_test(assignments_reach_every_kind_of_key),
		cmocka_unit_test(every_number_takes_its_bounds_and_nothing_beyond),
		cmocka_unit_test(every_failed_allocation_is_told),
		cmocka_unit_test(what_cannot_be_read_or_written_is_told),
		cmocka_unit_test(every_preset_is_a_machine),
		cmocka_unit_test(the_examples_are_machines),
		cmocka_unit_test(the_document_has_the_rows_of_the_table_and_no_others),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
