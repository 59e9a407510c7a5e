#include "cli/see/where.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PART_MIN (16 * PAGE_SIZE)

bool where_may_be_managed(const struct proc_area *a)
{
	return a->rights[3] == 'p' && (a->name[0] == '\0' || strcmp(a->name, "[heap]") == 0 || strncmp(a->name, "[anon:", 6) == 0);
}

/* Bytes of a part; 0: no area is cut. Reserved memory of which nothing was touched is not worth parts. */
static uint64_t part_bytes(const struct proc_map *m, unsigned parts)
{
	uint64_t bytes = 0;

	for (unsigned i = 0; i < m->nr; i++)
		if (where_may_be_managed(&m->areas[i]))
			bytes += MIN(m->areas[i].end - m->areas[i].start, 64 * GIB);
	return parts > 0 ? MAX(ALIGN_UP(bytes / parts, PAGE_SIZE), PART_MIN) : 0;
}

static unsigned parts_of(const struct proc_area *a, uint64_t part)
{
	return part > 0 && where_may_be_managed(a) ? (unsigned)DIV_ROUND_UP(a->end - a->start, part) : 1;
}

static int cut(struct where *w, unsigned parts)
{
	uint64_t part = part_bytes(&w->map, parts);
	unsigned nr = 0;

	w->first = calloc(w->map.nr + 1, sizeof(*w->first));
	if (w->first == NULL)
		return -ENOMEM;
	for (unsigned i = 0; i < w->map.nr; i++)
		w->first[i + 1] = nr += parts_of(&w->map.areas[i], part);
	w->said = calloc(MAX(nr, 1), sizeof(*w->said));
	if (w->said == NULL)
		return -ENOMEM;
	for (unsigned i = 0; i < w->map.nr; i++) {
		const struct proc_area *a = &w->map.areas[i];

		for (unsigned k = w->first[i]; k < w->first[i + 1]; k++) {
			uint64_t start = a->start + (k - w->first[i]) * part;

			w->said[k] = (struct ask_range){ .start = start, .end = k + 1 < w->first[i + 1] ? start + part : a->end };
		}
	}
	return 0;
}

/* 0 or -errno of question_ask. */
static int ask(struct where *w, struct ledger *l, unsigned slot)
{
	struct ask_range *range = calloc(MAX(w->first[w->map.nr], 1), sizeof(*range));
	unsigned nr = 0, done = 0;
	int err;

	if (range == NULL)
		return -ENOMEM;
	for (unsigned i = 0; i < w->map.nr; i++)
		for (unsigned k = w->first[i]; k < w->first[i + 1] && where_may_be_managed(&w->map.areas[i]); k++)
			range[nr++] = w->said[k];
	err = question_ask(l, slot, range, nr, &w->head);
	for (unsigned i = 0; i < w->map.nr && err == 0; i++)
		for (unsigned k = w->first[i]; k < w->first[i + 1] && where_may_be_managed(&w->map.areas[i]); k++)
			w->said[k] = range[done++];
	free(range);
	return err;
}

int where_read(struct where *w, struct ledger *l, unsigned slot, unsigned pid, unsigned parts)
{
	int err;

	*w = (struct where){ 0 };
	err = proc_map_open(&w->map, pid);
	if (err != 0)
		return err;
	w->state = (enum ledger_state)atomic_load(&l->slot[slot].state);
	err = cut(w, parts);
	if (err == 0)
		err = ask(w, l, slot);
	if (err == -ENOMEM) {
		where_free(w);
		return err;
	}
	w->answered = err != -ETIMEDOUT;
	return 0;
}

void where_free(struct where *w)
{
	proc_map_free(&w->map);
	free(w->said);
	free(w->first);
	*w = (struct where){ 0 };
}
