/* A small machine of one zone, with bytes behind its frames, for the tests of what stands on physical memory. */
#ifndef STW_TEST_MEMORY_H
#define STW_TEST_MEMORY_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "mm/phys/phys.h"

struct memory {
	struct phys phys;
	struct frame *frames;
	uint8_t *bytes;
	uint32_t free_at_start, largest_at_start;
};

static inline void memory_make(struct memory *m, uint32_t nr_frames)
{
	const struct phys_zone_config zone = { .name = "NORMAL", .spanned = nr_frames };

	m->frames = calloc(nr_frames, sizeof(*m->frames));
	m->bytes = aligned_alloc(PAGE_SIZE, (size_t)nr_frames * PAGE_SIZE);
	assert_non_null(m->frames);
	assert_non_null(m->bytes);
	memset(m->bytes, 0xa5, (size_t)nr_frames * PAGE_SIZE);
	assert_int_equal(phys_init(&m->phys, m->bytes, m->frames, nr_frames, &zone, 1, NULL), 0);
	phys_online(&m->phys, (pfn_t){ 0 }, nr_frames);
	m->free_at_start = phys_free_frames(&m->phys, 0);
	m->largest_at_start = m->phys.zones[0].area[MAX_PAGE_ORDER].nr_free;
}

/* Every frame must have come back, and merged again into the blocks it began as. */
static inline void memory_end(struct memory *m)
{
	phys_check(&m->phys);
	assert_int_equal(phys_free_frames(&m->phys, 0), m->free_at_start);
	assert_int_equal(m->phys.zones[0].area[MAX_PAGE_ORDER].nr_free, m->largest_at_start);
	free(m->frames);
	free(m->bytes);
}

/* No allocation of a frame succeeds until memory_restore. */
static inline void memory_exhaust(struct memory *m)
{
	m->phys.fail_nth = 1;
	m->phys.fail_forever = true;
}

static inline void memory_restore(struct memory *m)
{
	m->phys.fail_nth = 0;
	m->phys.fail_forever = false;
}

#endif
