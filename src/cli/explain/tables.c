/*
 * steward explain tables: what page tables of one to five levels cost for the pages of a program, or of those that a
 * trace is of, in memory and in loads of a walk. The tables are built, by mm/space/pagetable.c in frames of a modelled
 * machine, and counted.
 *
 * Model. Entries of 8 bytes everywhere, as x86-64 and PAE have them. The address space is 48 bits (57 with five levels,
 * of which a program uses 47), or 32 for a program that lies below 4 GiB. A table of one level is an array: as a real
 * one it would take all of its bytes at once, here only the 4 MiB blocks of it that are in use.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/assert.h"
#include "base/rand.h"
#include "cli/explain/explain.h"
#include "cli/msg.h"
#include "cli/explain/picture.h"
#include "cli/procmaps.h"
#include "cli/explain/touched.h"
#include "cli/table.h"
#include "mm/space/layout.h"
#include "mm/space/pagetable.h"

#define TABLES_MAX (256 * MIB) /* tables that need more are not built */
#define VPNS_32 ((uint64_t)1 << 20)
#define PAGES_32_MAX ((uint64_t)1 << 18) /* more might not find room below 3 GiB */
#define USER_VPNS ((uint64_t)1 << 35)
#define USER_VPNS_32 ((uint64_t)0xc0000)

static const struct geometry {
	const char *name;
	unsigned levels;
	uint8_t bits[PT_LEVELS_MAX];
	bool narrow; /* for programs below 4 GiB */
} geometries[] = {
	{ "1 level: an array", 1, { 20 }, true },
	{ "2 levels: i386", 2, { 10, 10 }, true },
	{ "3 levels: PAE", 3, { 9, 9, 2 }, true },
	{ "1 level: an array", 1, { 36 }, false },
	{ "2 levels", 2, { 18, 18 }, false },
	{ "3 levels", 3, { 12, 12, 12 }, false },
	{ "4 levels: x86-64", 4, { 9, 9, 9, 9 }, false },
	{ "5 levels: la57", 5, { 9, 9, 9, 9, 9 }, false },
};

/* Page numbers, ascending, each once; of several address spaces one after the other. */
struct pages {
	uint64_t *vpns;
	size_t nr;
	const size_t *end; /* of each address space: index behind its last; NULL: there is one */
	unsigned nr_spaces;
};

/*
 * Programs that are made up
 */

static int by_number(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static void sort_once(struct pages *p)
{
	size_t n = 0;

	qsort(p->vpns, p->nr, sizeof(*p->vpns), by_number);
	for (size_t i = 0; i < p->nr; i++) {
		if (n == 0 || p->vpns[n - 1] != p->vpns[i])
			p->vpns[n++] = p->vpns[i];
	}
	p->nr = n;
}

static void add_run(struct pages *p, uint64_t vpn, uint64_t n)
{
	for (uint64_t i = 0; i < n; i++)
		p->vpns[p->nr++] = vpn + i;
}

/* A hundredth executable, half heap, a hundredth stack, the rest mappings of 2 MiB with as much between them. */
static void as_program(struct pages *p, const struct explain_args *a)
{
	struct layout_params lp = { .kind = explain_layout_kind(&a->machine),
				    .random = LAYOUT_ALL,
				    .pie = true,
				    .stack_limit = 8 * MIB,
				    .text_bytes = MIB,
				    .seed = a->seed };
	struct layout l;
	uint64_t few = a->pages / 100, heap = a->pages / 2, rest = a->pages - 2 * few - heap, at;
	int err = layout_make(&l, &lp);

	ASSERT(err == 0);
	add_run(p, l.text.start >> PAGE_SHIFT, few);
	add_run(p, l.start_brk >> PAGE_SHIFT, heap);
	add_run(p, (l.stack_top >> PAGE_SHIFT) - few, few);
	for (at = l.mmap_base >> PAGE_SHIFT; rest > 0;) {
		uint64_t n = MIN(rest, 512);

		at -= n;
		add_run(p, at, n);
		at -= 512;
		rest -= n;
	}
}

/* 0 or -ENOMEM. */
static int make_up(struct pages *p, const struct explain_args *a)
{
	bool narrow = explain_layout_kind(&a->machine) == LAYOUT_I386;
	struct rand r;

	p->nr = 0;
	p->vpns = malloc(MAX(a->pages, 1) * sizeof(*p->vpns));
	if (p->vpns == NULL)
		return -ENOMEM;
	rand_seed(&r, a->seed);
	switch (a->spread) {
	case SPREAD_DENSE: add_run(p, narrow ? 0x8048 : 0x555555554, a->pages); break;
	case SPREAD_RANDOM:
		while (p->nr < a->pages)
			p->vpns[p->nr++] = rand_below(&r, narrow ? USER_VPNS_32 : USER_VPNS);
		break;
	case SPREAD_PROGRAM:
	case NR_SPREADS: as_program(p, a); break;
	}
	sort_once(p);
	return 0;
}

/*
 * Tables
 */

/* Memory for tables: frames with bytes, of which only those in use cost any. */
struct memory {
	struct phys phys;
	struct frame *frames;
	void *bytes;
};

#define NR_FRAMES ((uint32_t)(TABLES_MAX >> PAGE_SHIFT))

static void *reserve(size_t bytes)
{
	return mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
}

static int memory_make(struct memory *m)
{
	const struct phys_zone_config zone = { .name = "Normal", .spanned = NR_FRAMES };
	int err = 0;

	m->frames = reserve(NR_FRAMES * sizeof(*m->frames));
	m->bytes = reserve(TABLES_MAX);
	if (m->frames == MAP_FAILED || m->bytes == MAP_FAILED)
		return -ENOMEM;
	err = phys_init(&m->phys, m->bytes, m->frames, NR_FRAMES, &zone, 1, NULL);
	if (err == 0)
		phys_online(&m->phys, (pfn_t){ 0 }, NR_FRAMES);
	return err;
}

static void memory_end(struct memory *m)
{
	if (m->frames != MAP_FAILED)
		munmap(m->frames, NR_FRAMES * sizeof(*m->frames));
	if (m->bytes != MAP_FAILED)
		munmap(m->bytes, TABLES_MAX);
}

static bool reaches(const struct geometry *g, const struct pages *p)
{
	unsigned bits = 0;

	for (unsigned i = 0; i < g->levels; i++)
		bits += g->bits[i];
	for (size_t i = 0; i < p->nr; i++)
		if (p->vpns[i] >> bits != 0)
			return false;
	return true;
}

/* The tables of one address space, whose pages are vpns[0..n). */
static int build(struct phys *phys, const struct geometry *g, const uint64_t *vpns, size_t n, uint64_t *frames)
{
	struct pagetable pt;
	int err = pt_init(&pt, phys, g->levels, g->bits);

	/* The frames that the entries name are not there: nobody follows them. */
	for (size_t i = 0; i < n && err == 0; i++)
		err = pt_set(&pt, (vpn_t){ vpns[i] }, pte_present_make((pfn_t){ (uint32_t)i }, PTE_USER));
	*frames += err == 0 ? pt.nr_nodes : 0;
	return err;
}

/* How many frames tables of that geometry take. 0; -ENOMEM: more than TABLES_MAX, or none at all to be had; -ERANGE. */
static int count_frames(const struct geometry *g, const struct pages *p, uint64_t *frames)
{
	size_t at = 0, all = p->nr;
	const size_t *end = p->end != NULL ? p->end : &all;
	struct memory m;
	int err = reaches(g, p) ? memory_make(&m) : -ERANGE;

	if (err == -ERANGE)
		return err;
	for (unsigned i = 0; i < (p->end != NULL ? p->nr_spaces : 1) && err == 0; i++) {
		err = build(&m.phys, g, p->vpns + at, end[i] - at, frames);
		at = end[i];
	}
	memory_end(&m);
	return err;
}

static void show_geometry(const struct geometry *g, const struct pages *p)
{
	char bits[32], memory[32], share[32];
	uint64_t frames = 0;
	int at = 0, err = count_frames(g, p, &frames);

	for (unsigned i = g->levels; i-- > 0;)
		at += snprintf(bits + at, sizeof(bits) - (size_t)at, "%s%u", at > 0 ? "+" : "", g->bits[i]);
	snprintf(memory, sizeof(memory), "%s%s", err == -ENOMEM ? "over " : "",
		 err == -ERANGE ? "too short" : size_text(err != 0 ? TABLES_MAX : frames * PAGE_SIZE));
	snprintf(share, sizeof(share), err != 0 || p->nr == 0 ? "" : "%.2f %%",
		 100.0 * (double)frames / (double)MAX(p->nr, 1));
	printf("%-20s %-12s %14s %12s %10u\n", g->name, bits, memory, share, g->levels);
}

static void show(const struct pages *p)
{
	bool narrow = p->nr > 0;

	for (size_t i = 0; i < p->nr; i++)
		narrow &= p->vpns[i] < VPNS_32;
	printf("%-20s %-12s %14s %12s %10s\n", "page tables", "index bits", "memory", "of program", "walk");
	for (size_t i = 0; i < ARRAY_SIZE(geometries); i++) {
		if (narrow || !geometries[i].narrow)
			show_geometry(&geometries[i], p);
	}
	printf("\nWalk: entries, of 8 bytes, that a TLB miss loads if no page-walk cache helps.\n"
	       "An array is %s whole%s; counted are the 4 MiB blocks in use.\n", size_text((uint64_t)8 << 36),
	       narrow ? " (8 MiB)" : "");
}

static int explain_process(const char *pid)
{
	struct pages p = { 0 };
	struct proc_map m;
	int err = proc_map_read(&m, pid);

	if (err != 0)
		return err;
	err = proc_map_pages(&m, &p.vpns, &p.nr);
	if (err == 0) {
		printf("%s (process %u)\n%zu pages resident or in swap, %s.\n\n", m.command, m.pid, p.nr,
		       size_text(p.nr * PAGE_SIZE));
		show(&p);
		printf("The kernel's own tables of it have %s, less their root of 4 KiB.\n", size_text(m.tables));
		free(p.vpns);
	}
	proc_map_free(&m);
	return err;
}

static int explain_trace(const char *name)
{
	struct touched t;
	int err = touched_read(&t, name);

	if (err != 0)
		return err;
	printf("%s: %zu pages touched, %s, by %u task%s.\n\n", name, t.nr, size_text(t.nr * PAGE_SIZE), t.nr_tasks,
	       t.nr_tasks == 1 ? "" : "s");
	show(&(struct pages){ .vpns = t.vpns, .nr = t.nr, .end = t.end, .nr_spaces = t.nr_tasks });
	free(t.vpns);
	free(t.end);
	return 0;
}

static bool is_number(const char *text)
{
	return text[0] != '\0' && text[strspn(text, "0123456789")] == '\0';
}

static int explain(const struct explain_args *a)
{
	static const char *const where[NR_SPREADS] = {
		[SPREAD_PROGRAM] = "where a program has them",
		[SPREAD_DENSE] = "in one piece",
		[SPREAD_RANDOM] = "anywhere",
	};
	bool narrow = explain_layout_kind(&a->machine) == LAYOUT_I386;
	struct pages p = { 0 };

	if (a->operands[0] != NULL && (a->has_machine || a->has_pages || a->spread != SPREAD_PROGRAM))
		return msg_fail(EXIT_USAGE, a->operands[0],
				"a process and a trace have their own pages and machine; leave the options out");
	if (a->operands[0] != NULL)
		return is_number(a->operands[0]) ? explain_process(a->operands[0]) : explain_trace(a->operands[0]);
	if (narrow && a->pages > PAGES_32_MAX)
		return msg_fail(EXIT_USAGE, "--pages", "more than %llu do not fit into 32 bits; give fewer",
				(unsigned long long)PAGES_32_MAX);
	if (make_up(&p, a) != 0)
		return msg_fail(1, "--pages", "no memory for so many; give fewer");
	printf("%zu pages, %s, %s, of a %d-bit program.\n\n", p.nr, size_text(p.nr * PAGE_SIZE), where[a->spread],
	       narrow ? 32 : 64);
	show(&p);
	free(p.vpns);
	return 0;
}

const struct explain_topic explain_tables = {
	.name = "tables",
	.usage = "[PID|TRACE]",
	.summary = "page tables of 1 to 5 levels compared",
	.takes = 1 << EXPLAIN_MACHINE | 1 << EXPLAIN_SET | 1 << EXPLAIN_SEED | 1 << EXPLAIN_PAGES | 1 << EXPLAIN_SPREAD,
	.operands = 1,
	.main = explain,
};
