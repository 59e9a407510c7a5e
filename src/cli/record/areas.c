/*
 * An ordered array. A process has hundreds of areas and is asked for one of them a
 * million times between two changes; a binary search in one block of memory answers
 * that, and a change moves the tail.
 *
 *     carve [s, e):    ┌──A──┐ ┌─B─┐ ┌──C──┐        split at both ends, two areas more,
 *                          s ────────── e           then drop what lies between
 *                      ┌─A─┐            ┌C┐
 *
 * Everything that an operation needs is allocated before it changes anything.
 */
#include "cli/record/areas.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "sim/trace.h"

#define RIGHTS (TRACE_R | TRACE_W | TRACE_X)

static int reserve(struct areas *s, size_t more)
{
	size_t room = MAX(s->nr + more, s->room);
	struct area *a;

	if (room == s->room)
		return 0;
	room = MAX(room, 2 * s->room);
	a = realloc(s->area, room * sizeof(*a));
	if (a == NULL)
		return -ENOMEM;
	s->area = a;
	s->room = room;
	return 0;
}

size_t areas_from(const struct areas *s, uint64_t vpn)
{
	size_t low = 0, high = s->nr;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (s->area[middle].end > vpn)
			high = middle;
		else
			low = middle + 1;
	}
	return low;
}

const struct area *areas_find(const struct areas *s, uint64_t vpn)
{
	size_t i = areas_from(s, vpn);

	return i < s->nr && s->area[i].start <= vpn ? &s->area[i] : NULL;
}

static void insert(struct areas *s, size_t i, const struct area *a)
{
	memmove(s->area + i + 1, s->area + i, (s->nr - i) * sizeof(*a));
	s->area[i] = *a;
	s->nr++;
}

static void delete(struct areas *s, size_t i, size_t n)
{
	memmove(s->area + i, s->area + i + n, (s->nr - i - n) * sizeof(*s->area));
	s->nr -= n;
}

static void cut_start(struct area *a, uint64_t start)
{
	a->pgoff += a->file != 0 ? start - a->start : 0;
	a->start = start;
}

/* Makes page at a border; at most one area more, whose room is there. */
static void split(struct areas *s, uint64_t at)
{
	size_t i = areas_from(s, at);

	if (i == s->nr || s->area[i].start >= at)
		return;
	insert(s, i, &s->area[i]);
	s->area[i].end = at;
	cut_start(&s->area[i + 1], at);
}

static bool one(const struct area *a, const struct area *b)
{
	return a->end == b->start && a->file == b->file && a->flags == b->flags && a->hidden == b->hidden &&
	       (a->file == 0 || a->pgoff + (a->end - a->start) == b->pgoff);
}

/* Makes one of areas i - 1 and i if they are. */
static void merge(struct areas *s, size_t i)
{
	if (i == 0 || i >= s->nr || !one(&s->area[i - 1], &s->area[i]))
		return;
	s->area[i - 1].end = s->area[i].end;
	delete(s, i, 1);
}

/* Takes [start, end) out; index of the place where it was. Room for two more is there. */
static size_t carve(struct areas *s, uint64_t start, uint64_t end)
{
	size_t first, last;

	split(s, start);
	split(s, end);
	first = areas_from(s, start);
	for (last = first; last < s->nr && s->area[last].end <= end; last++)
		;
	delete(s, first, last - first);
	return first;
}

int areas_map(struct areas *s, const struct area *a)
{
	int err = reserve(s, 2);
	size_t i;

	ASSERT(a->start < a->end);
	if (err != 0)
		return err;
	i = carve(s, a->start, a->end);
	insert(s, i, a);
	merge(s, i + 1);
	merge(s, i);
	return 0;
}

int areas_unmap(struct areas *s, uint64_t start, uint64_t end)
{
	int err = reserve(s, 2);

	if (err == 0 && start < end)
		carve(s, start, end);
	return err;
}

int areas_protect(struct areas *s, uint64_t start, uint64_t end, uint8_t rights)
{
	int err = reserve(s, 2);
	size_t i;

	if (err != 0 || start >= end)
		return err;
	split(s, start);
	split(s, end);
	for (i = areas_from(s, start); i < s->nr && s->area[i].end <= end; i++)
		s->area[i].flags = (uint8_t)((s->area[i].flags & ~RIGHTS) | rights);
	/* From the right, so that the indices still to come stay. */
	for (size_t first = areas_from(s, start); i + 1 > first; i--)
		merge(s, i);
	return 0;
}

int areas_copy(struct areas *to, const struct areas *from)
{
	int err = reserve(to, from->nr);

	ASSERT(to->nr == 0);
	if (err != 0 || from->nr == 0)
		return err;
	memcpy(to->area, from->area, from->nr * sizeof(*to->area));
	to->nr = from->nr;
	return 0;
}

void areas_free(struct areas *s)
{
	free(s->area);
	*s = (struct areas){ 0 };
}

void areas_check(const struct areas *s)
{
	ASSERT(s->nr <= s->room);
	for (size_t i = 0; i < s->nr; i++) {
		ASSERT(s->area[i].start < s->area[i].end);
		ASSERT(i == 0 || s->area[i - 1].end <= s->area[i].start);
		ASSERT(i == 0 || !one(&s->area[i - 1], &s->area[i]));
	}
}
