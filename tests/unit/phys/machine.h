/* A small machine for the tests of mm/phys: one zone, with bytes behind its frames. */
#ifndef STW_TEST_MACHINE_H
#define STW_TEST_MACHINE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/assert.h"
#include "base/rand.h"
#include "mm/phys/phys.h"

struct machine {
	struct phys phys;
	struct frame *frames;
	uint8_t *map;
};

static inline void machine_make(struct machine *m, uint32_t nr_frames)
{
	const struct phys_zone_config zone = { .name = "NORMAL", .spanned = nr_frames };

	m->frames = calloc(nr_frames, sizeof(struct frame));
	m->map = aligned_alloc(PAGE_SIZE, nr_frames * PAGE_SIZE);
	assert_non_null(m->frames);
	assert_non_null(m->map);
	assert_int_equal(phys_init(&m->phys, m->map, m->frames, nr_frames, &zone, 1, NULL), 0);
	m->phys.min_free_kbytes = 4;
	phys_online(&m->phys, (pfn_t){ 0 }, nr_frames);
}

/* Everything must have been freed, and merged again into the blocks it began as. */
static inline void machine_drop(struct machine *m)
{
	const struct zone *z = &m->phys.zones[0];

	phys_check(&m->phys);
	assert_int_equal(z->free, z->spanned);
	assert_int_equal(z->area[MAX_PAGE_ORDER].nr_free, z->spanned >> MAX_PAGE_ORDER);
	free(m->frames);
	free(m->map);
}

#endif
