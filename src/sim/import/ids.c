#include <stdlib.h>

#include "sim/import/reader.h"

#define FIRST_ROOM 64u

/* Where name is, or would be. There is always a free place. */
static size_t place_of(const struct ids *ids, uint64_t name)
{
	/* Fibonacci hashing (Knuth 6.4): the upper bits of the product, because names are often multiples. */
	size_t i = (size_t)((name * 0x9e3779b97f4a7c15u) >> 32) & (ids->room - 1);

	while (ids->number[i] != 0 && ids->name[i] != name)
		i = (i + 1) & (ids->room - 1);
	return i;
}

static int grow(struct ids *ids)
{
	struct ids more = { .room = ids->room > 0 ? ids->room * 2 : FIRST_ROOM, .n = ids->n };

	more.name = malloc(more.room * sizeof(more.name[0]));
	more.number = calloc(more.room, sizeof(more.number[0]));
	if (more.name == NULL || more.number == NULL) {
		ids_free(&more);
		return -ENOMEM;
	}
	for (size_t i = 0; i < ids->room; i++) {
		if (ids->number[i] == 0)
			continue;
		size_t to = place_of(&more, ids->name[i]);

		more.name[to] = ids->name[i];
		more.number[to] = ids->number[i];
	}
	ids_free(ids);
	*ids = more;
	return 0;
}

int ids_number(struct ids *ids, uint64_t name, uint32_t *number, bool *is_new)
{
	if (ids->n >= ids->room / 2 && (ids->n >= UINT32_MAX - 2 || grow(ids) != 0))
		return -ENOMEM;
	size_t i = place_of(ids, name);

	*is_new = ids->number[i] == 0;
	if (*is_new) {
		ids->name[i] = name;
		ids->number[i] = ++ids->n;
	}
	*number = ids->number[i] - 1;
	return 0;
}

void ids_free(struct ids *ids)
{
	free(ids->name);
	free(ids->number);
	memset(ids, 0, sizeof(*ids));
}
