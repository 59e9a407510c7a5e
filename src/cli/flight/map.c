/* The payload of a map: areas in order, as their distance from the end of the one before. */
#include <stdlib.h>
#include <string.h>

#include "cli/flight/flight.h"

enum area_flag { AREA_MANAGED = 1, AREA_OWN = 2 };

static void put_area(struct flight_bytes *b, const struct flight_map *m, const struct flight_area *a, uint64_t before)
{
	uint64_t flags = (a->managed ? AREA_MANAGED : 0) | (a->own ? AREA_OWN : 0);

	pack_group(b, (const uint64_t[]){ a->start - before, a->pages, flags, a->part_pages }, 4);
	pack_text(b, a->name);
	pack_text(b, a->rights);
	pack_number(b, a->parts);
	for (unsigned i = 0; i < a->parts; i++)
		pack_words(b, &m->part[a->first + i]);
}

void flight_put_map(struct flight_bytes *b, const struct flight_map *m)
{
	uint64_t before = 0;

	pack_group(b, (const uint64_t[]){ (uint64_t)m->pid, m->start }, 2);
	pack_number(b, m->nr);
	for (unsigned i = 0; i < m->nr; i++) {
		put_area(b, m, &m->area[i], before);
		before = m->area[i].start + m->area[i].pages;
	}
}

/* Room for n more, of which there are nr; NULL: no memory. */
static void *more_of(void *array, size_t nr, size_t n, size_t size)
{
	return reallocarray(array, MAX(nr + n, 1), size);
}

static void get_parts(struct source *s, struct flight_map *m, struct flight_area *a)
{
	uint64_t parts = unpack_number(s);
	struct flight_part *more;

	/* Each takes a byte at least. */
	s->bad |= parts > (uint64_t)(s->end - s->at);
	more = s->bad ? NULL : more_of(m->part, m->nr_parts, parts, sizeof(*more));
	s->bad |= more == NULL;
	if (s->bad)
		return;
	m->part = more;
	a->first = m->nr_parts;
	a->parts = (unsigned)parts;
	for (uint64_t i = 0; i < parts; i++)
		unpack_words(s, &m->part[m->nr_parts++]);
}

static void get_area(struct source *s, struct flight_map *m, uint64_t before)
{
	struct flight_area *a = &m->area[m->nr++];
	uint64_t n[4];

	unpack_group(s, n, 4);
	*a = (struct flight_area){ .start = before + n[0], .pages = n[1], .managed = (n[2] & AREA_MANAGED) != 0,
				   .own = (n[2] & AREA_OWN) != 0, .part_pages = n[3] };
	unpack_text(s, a->name, sizeof(a->name));
	unpack_text(s, a->rights, sizeof(a->rights));
	get_parts(s, m, a);
	/* User addresses, and parts that fill it. */
	s->bad |= a->pages == 0 || a->start > (uint64_t)1 << 52 || a->pages > (uint64_t)1 << 52 || a->part_pages == 0 ||
		  DIV_ROUND_UP(a->pages, a->part_pages) != a->parts;
}

bool flight_get_map(const uint8_t *payload, size_t bytes, struct flight_map *m)
{
	struct source s = { .at = payload, .end = payload + bytes };
	uint64_t n[2], nr, before = 0;
	struct flight_area *area;

	m->nr = m->nr_parts = 0;
	unpack_group(&s, n, 2);
	m->pid = (int32_t)n[0];
	m->start = n[1];
	nr = unpack_number(&s);
	if (s.bad || nr > (uint64_t)(s.end - s.at))
		return false;
	area = more_of(m->area, 0, nr, sizeof(*area));
	if (area == NULL)
		return false;
	m->area = area;
	while (m->nr < nr && !s.bad) {
		get_area(&s, m, before);
		before = area[m->nr - 1].start + area[m->nr - 1].pages;
	}
	return !s.bad;
}

void flight_map_free(struct flight_map *m)
{
	free(m->area);
	free(m->part);
	*m = (struct flight_map){ 0 };
}
