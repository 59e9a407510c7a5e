/*
 * steward explain layout: the address space of a new program on a machine, or of a process that runs, from high
 * addresses down. Heights are logarithmic; between 16 KiB and 128 TiB nothing else fits on a screen.
 *
 * A process has hundreds of areas, of which most are parts of the same thing: the sections of a library, the arenas of
 * an allocator. Neighbours that have the same name, or none, are drawn as one box with the number of its areas.
 */
#include <stdio.h>
#include <string.h>

#include "cli/explain/explain.h"
#include "cli/msg.h"
#include "cli/explain/picture.h"
#include "cli/procmaps.h"
#include "cli/table.h"
#include "mm/space/layout.h"

/*
 * A new program
 */

static void made_up(struct layout_params *p, const struct explain_args *a)
{
	*p = (struct layout_params){
		.kind = explain_layout_kind(&a->machine),
		.random = a->fixed ? LAYOUT_FIXED : LAYOUT_ALL,
		.pie = true,
		.stack_limit = 8 * MIB,
		.text_bytes = MIB,
		.data_bytes = 64 * KIB,
		.bss_bytes = 256 * KIB,
		.seed = a->seed,
	};
}

static void draw_offset(const char *what, uint64_t bytes, unsigned bits)
{
	char text[64], note[64];

	if (bits == 0)
		return;
	snprintf(text, sizeof(text), "random, %u bits", bits);
	snprintf(note, sizeof(note), "%s moved by %s", what, size_text(bytes));
	picture_gap(text, note);
}

static void draw_part(uint64_t start, uint64_t end, const char *name, const char *edge, const char *note)
{
	char text[64];

	snprintf(text, sizeof(text), "%-14s %s", name, size_text(end - start));
	picture_box(end - start, text, note);
	picture_edge(PICTURE_MIDDLE, start, edge);
}

static void draw_high_half(const struct layout *l)
{
	char gap[80];

	picture_edge(PICTURE_TOP, l->task_size, "the kernel's from here on");
	draw_offset("stack", l->stack_offset, l->stack_bits);
	if (l->stack_top != l->task_size)
		picture_edge(PICTURE_MIDDLE, l->stack_top, "");
	draw_part(l->stack_low, l->stack_top, "stack        ↓", "its limit", "grows when touched");
	draw_part(l->guard_low, l->stack_low, "guard gap", "", "never mapped");
	snprintf(gap, sizeof(gap), "%s are kept for the stack", size_text(l->gap));
	picture_gap("", gap);
	draw_offset("mappings", l->mmap_offset, l->mmap_bits);
	picture_edge(PICTURE_MIDDLE, l->mmap_base, "mmap_base");
	picture_box(64 * MIB, "mappings     ↓", "libraries first, then mmap");
}

static void draw_low_half(const struct layout *l)
{
	uint64_t bss_end = ALIGN_UP(l->bss.end, PAGE_SIZE);

	picture_gap("free", size_text(l->mmap_base - l->start_brk));
	picture_box(64 * MIB, "heap         ↑", "brk");
	picture_edge(PICTURE_MIDDLE, l->start_brk, "start_brk");
	draw_offset("heap", l->brk_offset, l->brk_bits);
	if (bss_end != l->start_brk)
		picture_edge(PICTURE_MIDDLE, bss_end, "");
	draw_part(l->bss.start, bss_end, "bss", "", "zeros");
	draw_part(l->data.start, l->data.end, "data", "", "the file's, private");
	draw_part(l->text.start, l->text.end, "text", "", "the file's");
	draw_offset("executable", l->exec_offset, l->exec_bits);
	picture_gap("free", size_text(l->text.start));
	picture_edge(PICTURE_BOTTOM, 0, "");
}

static int explain_new(const struct explain_args *a)
{
	struct layout_params p;
	struct layout l;
	int err;

	made_up(&p, a);
	err = layout_make(&l, &p);
	if (err != 0)
		return msg_fail(1, "layout", "the program does not fit; make it smaller");
	printf("A new %d-bit program on %s, stack limit 8 MiB", p.kind == LAYOUT_I386 ? 32 : 64, a->machine.name);
	if (a->fixed)
		printf(", without random offsets.\n\n");
	else
		printf(", seed %llu.\n\n", (unsigned long long)a->seed);
	draw_high_half(&l);
	draw_low_half(&l);
	putchar('\n');
	if (a->fixed)
		printf("Every start has these addresses: an attacker knows them.\n");
	else
		printf("Each start draws new offsets, in pages. Who guesses is right once in 2^%u times\nabout mappings, 2^%u about "
		       "the stack, 2^%u about the heap. --fixed has none.\n",
		       l.mmap_bits, l.stack_bits, l.brk_bits);
	return 0;
}

/*
 * A process
 */

/* Areas first..last, drawn as one. */
struct group {
	unsigned first, last;
	uint64_t bytes, rss, swap;
};

/* [heap], [stack], [vdso]: each is a box of its own. */
static bool is_special(const struct proc_area *a)
{
	return a->name[0] == '[';
}

/* Do two neighbours belong together? Anonymous memory right behind a file is its bss. */
static bool belongs(const struct proc_area *below, const struct proc_area *above, uint64_t near)
{
	if (above->start - below->end > near)
		return false;
	if (is_special(below) || is_special(above))
		return false;
	if (strcmp(below->name, above->name) == 0)
		return true;
	return above->name[0] == '\0' && above->start == below->end && above->end - above->start <= MIB;
}

/* The group that ends with area last. */
static struct group group_below(const struct proc_map *m, unsigned last, uint64_t near)
{
	struct group g = { .first = last, .last = last };

	/* Its name is that of its lowest named area, so anonymous ends are joined to what is below them. */
	while (g.first > 0 && belongs(&m->areas[g.first - 1], &m->areas[g.first], near))
		g.first--;
	for (unsigned i = g.first; i <= g.last; i++) {
		g.bytes += m->areas[i].end - m->areas[i].start;
		g.rss += m->areas[i].rss;
		g.swap += m->areas[i].swap;
	}
	return g;
}

static unsigned count_groups(const struct proc_map *m, uint64_t near)
{
	unsigned n = 0;

	for (unsigned end = m->nr; end > 0; n++)
		end = group_below(m, end - 1, near).first;
	return n;
}

static const char *title(const struct proc_area *a)
{
	if (strcmp(a->name, "[heap]") == 0)
		return "heap         ↑";
	if (strcmp(a->name, "[stack]") == 0)
		return "stack        ↓";
	return a->name[0] != '\0' ? a->name : "anonymous";
}

static void draw_group(const struct proc_map *m, const struct group *g)
{
	const struct proc_area *a = &m->areas[g->first];
	char text[128], note[128], areas[32] = "";

	if (g->last > g->first)
		snprintf(areas, sizeof(areas), ", %u areas", g->last - g->first + 1);
	snprintf(text, sizeof(text), "%s%s", a->is_exe ? "program: " : "", title(a));
	if (g->swap == 0)
		snprintf(note, sizeof(note), "%s%s, %s resident", size_text(g->bytes), areas, size_text(g->rss));
	else
		snprintf(note, sizeof(note), "%s, %s RAM, %s swap", size_text(g->bytes), size_text(g->rss),
			 size_text(g->swap));
	picture_box(g->bytes, text, note);
}

static void draw_process(const struct proc_map *m, uint64_t near)
{
	enum picture_edge where = PICTURE_TOP;
	unsigned end = m->nr;

	while (end > 0) {
		struct group g = group_below(m, end - 1, near);
		uint64_t below = g.first > 0 ? m->areas[g.first - 1].end : 0, start = m->areas[g.first].start;

		picture_edge(where, m->areas[g.last].end, "");
		draw_group(m, &g);
		where = PICTURE_MIDDLE;
		if (start != below || g.first == 0)
			picture_edge(where, start, "");
		if (start != below)
			picture_gap("", size_text(start - below));
		end = g.first;
	}
	picture_edge(PICTURE_BOTTOM, 0, "");
}

#define GROUPS_MAX 40 /* more boxes than that are no picture */

static int explain_process(const char *pid)
{
	uint64_t mapped = 0, rss = 0, swap = 0, near = 0;
	struct proc_map m;
	int err = proc_map_read(&m, pid);

	if (err != 0)
		return err;
	for (unsigned i = 0; i < m.nr; i++) {
		mapped += m.areas[i].end - m.areas[i].start;
		rss += m.areas[i].rss;
		swap += m.areas[i].swap;
	}
	printf("%s (process %u)\n%u areas, %s mapped, %s resident, %s in swap.\n\n", m.command, m.pid, m.nr,
	       size_text(mapped), size_text(rss), size_text(swap));
	/* Gaps in a group begin at none and grow until there are few enough groups. */
	while (count_groups(&m, near) > GROUPS_MAX && near < GIB)
		near = near != 0 ? near * 8 : PAGE_SIZE;
	draw_process(&m, near);
	proc_map_free(&m);
	return 0;
}

static int explain(const struct explain_args *a)
{
	if (a->operands[0] == NULL)
		return explain_new(a);
	if (a->has_machine || a->fixed)
		return msg_fail(EXIT_USAGE, a->operands[0],
				"a process is on no machine of a file; leave one of them out");
	return explain_process(a->operands[0]);
}

const struct explain_topic explain_layout = {
	.name = "layout",
	.usage = "[PID]",
	.summary = "where the parts of a program lie",
	.takes = 1 << EXPLAIN_MACHINE | 1 << EXPLAIN_SET | 1 << EXPLAIN_SEED | 1 << EXPLAIN_FIXED,
	.operands = 1,
	.main = explain,
};
