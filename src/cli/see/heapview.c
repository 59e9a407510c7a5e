/*
 *   head      whose heap it is
 *   heap      held, live, free
 *   more      what else it is made of
 *   slots     a column for each size of small blocks: how much of the memory in slots it has
 *   used      and how full these are
 *   emptiest  sizes with the most memory in free slots
 *   map       its memory by address: what most of the touched pages of a part are; as many rows as there are
 *
 * The allocator counts (base/heapcount.h), so its figures are there in any state. Where pages are only Steward knows, and
 * only of a process that it manages.
 */
#include "cli/see/heapview.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli/msg.h"
#include "cli/see/question.h"
#include "cli/see/show.h"
#include "cli/see/where.h"
#include "malloc/slab.h"

#define LABEL_COLS 9
#define BAR_COLS 20
#define CELLS 256     /* of the map, about: four questions to the process */
#define CELL_MIN (4 * PAGE_SIZE)
#define EMPTIEST 2    /* sizes told by name */
#define FIGURE_ROWS 5 /* above the map */

void heapview_line(struct canvas *c, unsigned row, const struct heap_sum *h)
{
	const struct bar_part parts[] = {
		{ h->live, STYLE_GOOD, '#' },
		{ h->free_slots + h->cached, STYLE_WARN, 's' },
		{ h->free_chunks, STYLE_KEY, 'f' },
	};

	canvas_move(c, row, 0, STYLE_HEAD);
	canvas_put(c, "heap   ");
	c->style = STYLE_PLAIN;
	canvas_bar(c, BAR_COLS, h->held, parts, ARRAY_SIZE(parts));
	canvas_figure(c, STYLE_PLAIN, "of", show_bytes(h->held));
	canvas_figure(c, STYLE_GOOD, "live", show_bytes(h->live));
	canvas_printf(c, " %s%%", show_share(h->live, h->held));
	canvas_figure(c, STYLE_WARN, "slots", show_bytes(parts[1].part));
	canvas_figure(c, STYLE_KEY, "chunks", show_bytes(parts[2].part));
}

/* --- looking --- */

/* Steward's own areas are not the program's, and of others there is much that nobody has ever touched. */
static bool is_worth_cells(const struct where *w, unsigned i)
{
	const struct ask_range *r = &w->said[i];

	return where_may_be_managed(&w->map.areas[i]) && !r->own && r->mapped + r->sample + r->pool + r->filed + r->same > 0;
}

/* Cuts what is worth it into about CELLS parts. 0 or -ENOMEM. */
static int cut(struct heapview *v, const struct where *w)
{
	uint64_t bytes = 0, part;

	for (unsigned i = 0; i < w->map.nr; i++)
		if (is_worth_cells(w, i))
			bytes += w->map.areas[i].end - w->map.areas[i].start;
	part = MAX(ALIGN_UP(bytes / CELLS, PAGE_SIZE), CELL_MIN);
	v->cell = calloc(CELLS + w->map.nr, sizeof(*v->cell));
	if (v->cell == NULL)
		return -ENOMEM;
	for (unsigned i = 0; i < w->map.nr; i++)
		for (uint64_t at = w->map.areas[i].start, end = w->map.areas[i].end; at < end && is_worth_cells(w, i); at += part)
			v->cell[v->nr_cells++] = (struct ask_range){ .start = at, .end = MIN(at + part, end) };
	return 0;
}

/* Whole areas first, to see which have something in them. 0 or -errno. */
static int make_map(struct heapview *v, struct ledger *l, unsigned slot)
{
	struct where w;
	struct ask head;
	int err = where_read(&w, l, slot, (unsigned)v->of.pid, 0);

	if (err != 0)
		return err;
	err = w.answered ? cut(v, &w) : -ETIMEDOUT;
	if (err == 0)
		err = question_ask(l, slot, v->cell, v->nr_cells, &head);
	if (err != 0)
		v->nr_cells = 0;
	where_free(&w);
	return err;
}

int heapview_look(struct heapview *v, struct ledger *l, const struct sample_process *p)
{
	int slot = p != NULL ? runs_slot_of(l, p->pid) : -1, err = 0;
	bool silent = v->silent && p != NULL && p->pid == v->of.pid;

	v->gone = slot < 0;
	if (v->gone)
		return 0;
	heapview_free(v);
	v->of = *p;
	v->silent = silent;
	memcpy(v->class, l->slot[slot].heap.class, sizeof(v->class));
	if (p->state == LEDGER_ENGAGED && !silent)
		err = make_map(v, l, (unsigned)slot);
	/* If it has ended meanwhile there is no map either. */
	v->silent |= err == -ETIMEDOUT;
	return err == -ENOMEM ? msg_fail(1, "run", "%s; try again with more memory", strerror(ENOMEM)) : 0;
}

void heapview_free(struct heapview *v)
{
	free(v->cell);
	*v = (struct heapview){ 0 };
}

/* --- small blocks --- */

/* In slots of a class, and of them in free ones. */
static uint64_t held_bytes(const struct heapview *v, unsigned class)
{
	return v->class[class].slots * class_bytes(class);
}

static uint64_t empty_bytes(const struct heapview *v, unsigned class)
{
	return (v->class[class].slots - heap_used_slots(&v->class[class])) * class_bytes(class);
}

/* What there is at all is to be seen. */
static void put_level(struct canvas *c, uint64_t part, uint64_t whole)
{
	canvas_level(c, part > 0 ? (unsigned)MAX(part * 8 / whole, 1u) : 0);
}

static void draw_classes(const struct heapview *v, struct canvas *c, unsigned row)
{
	uint64_t most = 1;

	for (unsigned i = 0; i < HEAP_CLASSES; i++)
		most = MAX(most, held_bytes(v, i));
	canvas_label(c, row, LABEL_COLS, "slots");
	canvas_put(c, "16 ");
	for (unsigned i = 0; i < HEAP_CLASSES; i++)
		put_level(c, held_bytes(v, i), most);
	canvas_put(c, " 8192 bytes");
	canvas_label(c, row + 1, LABEL_COLS, "used");
	canvas_put(c, "   ");
	c->style = STYLE_GOOD;
	for (unsigned i = 0; i < HEAP_CLASSES; i++)
		put_level(c, heap_used_slots(&v->class[i]), MAX(v->class[i].slots, 1u));
	c->style = STYLE_PLAIN;
}

/* The size with most in free slots of those that are not told yet, or HEAP_CLASSES. */
static unsigned next_emptiest(const struct heapview *v, const bool told[HEAP_CLASSES])
{
	unsigned best = HEAP_CLASSES;

	for (unsigned i = 0; i < HEAP_CLASSES; i++)
		if (!told[i] && empty_bytes(v, i) > 0 && (best == HEAP_CLASSES || empty_bytes(v, i) > empty_bytes(v, best)))
			best = i;
	return best;
}

static void draw_emptiest(const struct heapview *v, struct canvas *c, unsigned row)
{
	bool told[HEAP_CLASSES] = { false };
	unsigned class;

	canvas_label(c, row, LABEL_COLS, "emptiest");
	for (unsigned n = 0; n < EMPTIEST && (class = next_emptiest(v, told)) < HEAP_CLASSES; n++) {
		told[class] = true;
		canvas_printf(c, "%s%zu bytes:", n == 0 ? "" : ", ", class_bytes(class));
		canvas_figure(c, STYLE_WARN, "free", show_bytes(empty_bytes(v, class)));
		canvas_printf(c, " of %s", show_bytes(held_bytes(v, class)));
	}
}

/* --- the map --- */

struct cell_kind {
	char letter;
	enum style style;
	const char *name;
};

enum kind { MAPPED, SAMPLE, POOL, FILED, SAME, FREE, UNTOUCHED, NR_KINDS };

static const struct cell_kind kinds[NR_KINDS] = {
	[MAPPED] = { '#', STYLE_GOOD, "in memory" }, [SAMPLE] = { 's', STYLE_WARN, "sampled" },
	[POOL] = { 'p', STYLE_WARN, "pool" },        [FILED] = { 'o', STYLE_BAD, "out" },
	[SAME] = { 'z', STYLE_DIM, "same" },     [FREE] = { 'f', STYLE_KEY, "free" },
	[UNTOUCHED] = { '.', STYLE_DIM, "untouched" },
};

/* Of most of the pages that are somewhere. */
static enum kind kind_of(const struct ask_range *r)
{
	const uint32_t pages[] = { [MAPPED] = r->mapped, [SAMPLE] = r->sample, [POOL] = r->pool, [FILED] = r->filed, [SAME] = r->same };
	uint32_t all = 0;
	enum kind most = MAPPED;

	for (unsigned i = 0; i < ARRAY_SIZE(pages); i++) {
		all += pages[i];
		if (pages[i] > pages[most])
			most = (enum kind)i;
	}
	if (all == 0)
		return UNTOUCHED;
	return r->discardable > all / 2 ? FREE : most;
}

static void draw_legend(struct canvas *c, unsigned row)
{
	canvas_move(c, row, LABEL_COLS, STYLE_PLAIN);
	for (unsigned i = 0; i < NR_KINDS; i++) {
		c->style = kinds[i].style;
		canvas_printf(c, "%c", kinds[i].letter);
		c->style = STYLE_DIM;
		canvas_printf(c, " %s  ", kinds[i].name);
	}
}

/* Areas one behind the other, a blank between them. */
static void draw_cells(const struct heapview *v, struct canvas *c, unsigned row, unsigned end)
{
	unsigned cols = c->cols > LABEL_COLS ? c->cols - LABEL_COLS : 1, at = 0;

	for (unsigned i = 0; i < v->nr_cells && row + at / cols < end; i++, at++) {
		const struct cell_kind *k = &kinds[kind_of(&v->cell[i])];

		canvas_move(c, row + at / cols, LABEL_COLS + at % cols, k->style);
		canvas_printf(c, "%c", k->letter);
		at += i + 1 < v->nr_cells && v->cell[i + 1].start != v->cell[i].end;
	}
}

static void draw_map(const struct heapview *v, struct canvas *c, unsigned row, unsigned end)
{
	if (row + 1 >= end)
		return;
	canvas_label(c, row, LABEL_COLS, "map");
	if (v->nr_cells > 0) {
		draw_cells(v, c, row, end - 1);
		draw_legend(c, end - 1);
		return;
	}
	c->style = STYLE_DIM;
	canvas_put(c, v->of.state == LEDGER_ENGAGED ? "the process does not say where its pages are"
						    : "its memory is the kernel's; the map comes once it is managed");
}

/* --- all of it --- */

void heapview_draw(const struct heapview *v, struct canvas *c, unsigned first, unsigned end)
{
	canvas_move(c, first - 1, 0, STYLE_TITLE);
	canvas_printf(c, "heap of %d %s%s   up down: other processes   m: back", v->of.pid, v->of.comm, v->gone ? ", which has ended" : "");
	canvas_fill(c);
	if (v->of.heap.held == 0) {
		canvas_move(c, first, 0, STYLE_DIM);
		canvas_put(c, "no heap: it has an allocator of its own, or has not begun");
	} else {
		heapview_line(c, first, &v->of.heap);
		canvas_label(c, first + 1, LABEL_COLS, "more");
		canvas_figure(c, STYLE_PLAIN, "blocks of their own", show_bytes(v->of.heap.mapped));
		canvas_figure(c, STYLE_PLAIN, "kept by threads", show_bytes(v->of.heap.cached));
		canvas_figure(c, STYLE_PLAIN, "books", show_bytes(v->of.heap.meta));
		draw_classes(v, c, first + 2);
		draw_emptiest(v, c, first + 4);
	}
	draw_map(v, c, first + FIGURE_ROWS, end);
}
