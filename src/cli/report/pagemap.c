/*
 * Page maps: where the pages of a process were, over its address space and over time. Areas come, grow and go. So first all
 * the addresses are collected that a managed area had at some moment of those that are drawn, as extents; the extents are cut into rows;
 * then what each part of each area has is given to the rows that it lies in, by how much of it lies in each.
 */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/report/report.h"

#define PROCESSES 3
#define MOMENTS 100
#define ROWS 150      /* about */
#define EXTENTS 200   /* those beyond are in the rest */
#define ROWS_MAX (ROWS + EXTENTS)

struct pagemap {
	const struct history *run;
	const struct flight_record *moment[MOMENTS];
	double ns[MOMENTS], rest[MOMENTS];
	unsigned n;
	struct html_map_area extent[EXTENTS]; /* by address */
	unsigned nr_extents;
	double pages[ROWS_MAX];
	unsigned rows;
	double *cell;             /* [moment][row][state] */
	struct flight_map map;    /* the one being looked at */
};

static bool read_map(struct pagemap *p, const struct flight_record *r)
{
	return r->kind == FLIGHT_MAP && flight_get_map(r->payload, r->bytes, &p->map);
}

/* Of the maps of the process as many as are drawn. */
static void choose_moments(struct pagemap *p, const struct sample_process *who)
{
	const struct flight *f = &p->run->file;
	size_t all = 0, seen = 0;

	for (unsigned pass = 0; pass < 2; pass++) {
		for (size_t i = 0; i < f->nr; i++) {
			const struct flight_record *r = &f->record[i];

			if (!read_map(p, r) || p->map.pid != who->pid || p->map.start != who->start)
				continue;
			if (pass == 0)
				all++;
			else if (seen++ * MIN(all, MOMENTS) / all >= p->n)
				p->moment[p->n++] = r;
		}
	}
}

/* --- extents and rows --- */

/* Adds [start, start + pages), together with those that it touches or overlaps if their name is the same. */
static void add_extent(struct pagemap *p, const struct flight_area *a)
{
	struct html_map_area e = { .start = a->start, .pages = a->pages };
	unsigned kept = 0, at = 0;

	snprintf(e.name, sizeof(e.name), "%s", a->name[0] != '\0' ? a->name : "[anon]");
	for (unsigned i = 0; i < p->nr_extents; i++) {
		struct html_map_area *x = &p->extent[i];
		uint64_t end = MAX(e.start + e.pages, x->start + x->pages);
		bool meets = x->start <= e.start + e.pages && e.start <= x->start + x->pages;
		bool overlaps = x->start < e.start + e.pages && e.start < x->start + x->pages;

		if (overlaps || (meets && strcmp(x->name, e.name) == 0)) {
			e.start = MIN(e.start, x->start);
			e.pages = end - e.start;
			continue;
		}
		at += x->start < e.start;
		p->extent[kept++] = *x;
	}
	p->nr_extents = kept;
	if (kept == EXTENTS)
		return;
	memmove(&p->extent[at + 1], &p->extent[at], (kept - at) * sizeof(e));
	p->extent[at] = e;
	p->nr_extents++;
}

/* Reserved address space of which nothing was ever touched is no area to look at. */
static bool is_touched(const struct flight_map *m, const struct flight_area *a)
{
	uint64_t there = 0;

	for (unsigned i = a->first; i < a->first + a->parts; i++)
		there += m->part[i].mapped + m->part[i].sample + m->part[i].pool + m->part[i].filed + m->part[i].same;
	return there > 0;
}

static void find_extents(struct pagemap *p)
{
	for (unsigned t = 0; t < p->n; t++) {
		if (!read_map(p, p->moment[t]))
			continue;
		for (unsigned i = 0; i < p->map.nr; i++)
			if (p->map.area[i].managed && !p->map.area[i].own && is_touched(&p->map, &p->map.area[i]))
				add_extent(p, &p->map.area[i]);
	}
}

static uint64_t row_pages(const struct html_map_area *e)
{
	return DIV_ROUND_UP(e->pages, e->rows);
}

static void cut_extents(struct pagemap *p)
{
	uint64_t all = 0, step;

	for (unsigned i = 0; i < p->nr_extents; i++)
		all += p->extent[i].pages;
	step = MAX(all / ROWS, 1) + 1;
	for (unsigned i = 0; i < p->nr_extents; i++) {
		struct html_map_area *e = &p->extent[i];

		e->row = p->rows;
		e->rows = (unsigned)DIV_ROUND_UP(e->pages, step);
		/* Rounded up, rows may be fewer. */
		e->rows = (unsigned)DIV_ROUND_UP(e->pages, row_pages(e));
		for (unsigned k = 0; k < e->rows; k++)
			p->pages[p->rows++] = (double)MIN(row_pages(e), e->pages - k * row_pages(e));
	}
}

/* --- cells --- */

static const struct html_map_area *extent_of(const struct pagemap *p, uint64_t page)
{
	for (unsigned i = 0; i < p->nr_extents; i++)
		if (page >= p->extent[i].start && page < p->extent[i].start + p->extent[i].pages)
			return &p->extent[i];
	return NULL;
}

/*
 * What lies in [start, end) goes to its rows, by their share of it. An area may reach beyond the extent that it begins in, or begin in
 * none: extents are those of areas that had pages at some moment. That part is in the rest.
 */
static void spread(struct pagemap *p, unsigned t, uint64_t start, uint64_t end, const struct flight_part *part)
{
	const double states[HTML_MAP_STATES] = {
		[HTML_MAP_MAPPED] = (double)part->mapped, [HTML_MAP_SAMPLE] = (double)part->sample, [HTML_MAP_POOL] = (double)part->pool,
		[HTML_MAP_SAME] = (double)part->same, [HTML_MAP_FILED] = (double)part->filed, [HTML_MAP_FREE] = (double)part->discardable,
	};
	double *cell = p->cell + (size_t)t * p->rows * HTML_MAP_STATES;
	const struct html_map_area *e = extent_of(p, start);
	uint64_t drawn = e != NULL ? MIN(end, e->start + e->pages) : start;

	for (uint64_t at = start; at < drawn;) {
		uint64_t row = (at - e->start) / row_pages(e), to = MIN(drawn, e->start + (row + 1) * row_pages(e));
		double share = (double)(to - at) / (double)(end - start);

		for (unsigned i = 0; i < HTML_MAP_STATES; i++)
			cell[(e->row + row) * HTML_MAP_STATES + i] += states[i] * share;
		at = to;
	}
	p->rest[t] += (double)part->mapped * (double)(end - drawn) / (double)(end - start);
}

static void fill_area(struct pagemap *p, unsigned t, const struct flight_area *a)
{
	for (unsigned i = 0; i < a->parts; i++) {
		const struct flight_part *part = &p->map.part[a->first + i];

		if (a->managed && !a->own)
			spread(p, t, a->start + i * a->part_pages, a->start + MIN((i + 1) * a->part_pages, a->pages), part);
		else
			p->rest[t] += (double)part->mapped;
	}
}

/* Whole pages; what is rounded off goes to the next row, so that sums stay right. */
static void round_cells(struct pagemap *p, unsigned t)
{
	double *cell = p->cell + (size_t)t * p->rows * HTML_MAP_STATES;

	for (unsigned i = 0; i < HTML_MAP_STATES; i++) {
		double carry = 0;

		for (unsigned row = 0; row < p->rows; row++) {
			double *c = &cell[row * HTML_MAP_STATES + i], exact = *c + carry;

			*c = floor(exact + 0.5);
			carry = exact - *c;
		}
	}
}

static int fill(struct pagemap *p)
{
	p->cell = calloc((size_t)p->n * p->rows * HTML_MAP_STATES, sizeof(*p->cell));
	if (p->cell == NULL)
		return -ENOMEM;
	for (unsigned t = 0; t < p->n; t++) {
		p->ns[t] = (double)p->moment[t]->ns;
		if (!read_map(p, p->moment[t]))
			continue;
		for (unsigned i = 0; i < p->map.nr; i++)
			fill_area(p, t, &p->map.area[i]);
		round_cells(p, t);
	}
	return 0;
}

/* Fragmentation: what the program has freed and the heap keeps, of all that is somewhere. */
static void draw_free(struct html *h, const struct pagemap *p, const char *who)
{
	double there[MOMENTS] = { 0 }, unused[MOMENTS] = { 0 }, most = 0;
	struct chart c = { .x_unit = CHART_TIME, .y_unit = CHART_BYTES };
	char title[96];

	for (unsigned t = 0; t < p->n; t++) {
		const double *cell = p->cell + (size_t)t * p->rows * HTML_MAP_STATES;

		for (unsigned i = 0; i < p->rows * HTML_MAP_STATES; i++)
			*(i % HTML_MAP_STATES == HTML_MAP_FREE ? &unused[t] : &there[t]) += cell[i] * (double)PAGE_SIZE;
		most = fmax(most, unused[t]);
	}
	if (most == 0)
		return;
	snprintf(title, sizeof(title), "%s: what it has, and what of it is free inside of its heap", who);
	c.title = title;
	chart_add(&c, "in memory or out", p->ns, there, p->n);
	chart_add(&c, "of it free", p->ns, unused, p->n);
	html_chart(h, &c);
}

static int draw(struct html *h, struct pagemap *p, const struct sample_process *who)
{
	char title[64];
	int err = fill(p);

	if (err != 0)
		return err;
	snprintf(title, sizeof(title), "%d %s", who->pid, who->comm);
	html_map(h, &(struct html_map){ .title = title, .ns = p->ns, .n = p->n, .area = p->extent, .nr_areas = p->nr_extents,
					.pages = p->pages, .rows = p->rows, .cell = p->cell, .rest = p->rest });
	draw_free(h, p, title);
	free(p->cell);
	return 0;
}

int report_maps(struct html *h, const struct history *run)
{
	struct pagemap *p = malloc(sizeof(*p));
	unsigned drawn = 0;
	int err = p != NULL ? 0 : -ENOMEM;

	for (unsigned i = 0; i < run->nr_processes && drawn < PROCESSES && err == 0; i++) {
		const struct sample_process *who = &run->process[i].last;

		memset(p, 0, sizeof(*p));
		p->run = run;
		choose_moments(p, who);
		find_extents(p);
		cut_extents(p);
		if (p->rows > 0 && drawn++ == 0)
			html_section(h, "Where the pages are");
		if (p->rows > 0)
			err = draw(h, p, who);
		flight_map_free(&p->map);
	}
	free(p);
	return err;
}
