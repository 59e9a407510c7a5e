/*
 * steward explain watermarks: how much each zone keeps free, and how that comes about. The marks are those that
 * mm/phys/zone.c computes for the machine; the steps beside them say what from.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/sqrt.h"
#include "cli/explain/explain.h"
#include "cli/msg.h"
#include "cli/explain/picture.h"
#include "cli/table.h"
#include "mm/phys/phys.h"

static const char *frames_size(uint64_t frames)
{
	return size_text(frames * PAGE_SIZE);
}

/* The machine's memory as the manager sees it. *bytes of *frames are the caller's to unmap. 0 or -errno. */
static int make_phys(struct phys *p, const struct sim_config *c, struct frame **frames, size_t *bytes)
{
	const struct sim_zone_config *last = &c->zone[c->nr_zones - 1];
	uint32_t nr_frames = (uint32_t)((last->start_bytes + last->size_bytes) >> PAGE_SHIFT);
	struct phys_zone_config zones[PHYS_ZONES_MAX];
	int err;

	for (unsigned i = 0; i < c->nr_zones; i++)
		zones[i] = (struct phys_zone_config){ .name = c->zone[i].name,
						      .node = c->zone[i].node,
						      .start = { (uint32_t)(c->zone[i].start_bytes >> PAGE_SHIFT) },
						      .spanned = (uint32_t)(c->zone[i].size_bytes >> PAGE_SHIFT),
						      .reserve_ratio = c->zone[i].reserve_ratio };
	/* Only the heads of free blocks are ever written to. */
	*bytes = (size_t)nr_frames * sizeof(**frames);
	*frames = mmap(NULL, *bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (*frames == MAP_FAILED)
		return -errno;
	err = phys_init(p, NULL, *frames, nr_frames, zones, c->nr_zones, c->nr_distances != 0 ? c->distance : NULL);
	if (err != 0) {
		munmap(*frames, *bytes);
		return err;
	}
	p->min_free_kbytes = c->min_free_kbytes;
	p->watermark_scale_factor = c->watermark_scale_factor;
	for (unsigned i = 0; i < c->nr_zones; i++)
		phys_online(p, zones[i].start, zones[i].spanned);
	return 0;
}

static uint64_t managed(const struct phys *p)
{
	uint64_t frames = 0;

	for (unsigned i = 0; i < p->nr_zones; i++)
		frames += p->zones[i].managed;
	return frames;
}

/* What is divided among the zones, pages; says where it is from. */
static uint64_t tell_total(const struct phys *p)
{
	uint64_t kib = managed(p) * (PAGE_SIZE / 1024), kbytes = p->min_free_kbytes;

	if (kbytes != 0) {
		printf("min_free_kbytes is set to %llu", (unsigned long long)kbytes);
	} else {
		kbytes = phys_min_free_kbytes(managed(p));
		printf("min_free_kbytes = √(16 × %llu KiB) = %llu", (unsigned long long)kib,
		       (unsigned long long)int_sqrt(kib * 16));
		if (kbytes != int_sqrt(kib * 16))
			printf(", within bounds %llu", (unsigned long long)kbytes);
	}
	printf(": %llu pages, for all zones.\n\n", (unsigned long long)(kbytes / 4));
	return kbytes / 4;
}

static void show_table(const struct phys *p)
{
	printf("%-14s %4s %11s %9s %9s %9s\n", "zone", "node", "pages", "MIN", "LOW", "HIGH");
	for (unsigned i = 0; i < p->nr_zones; i++) {
		const struct zone *z = &p->zones[i];

		printf("%-14.14s %4u %11u %9u %9u %9u\n", z->name, z->node, z->managed, z->wmark[WMARK_MIN],
		       z->wmark[WMARK_LOW], z->wmark[WMARK_HIGH]);
		printf("%-14s %4s %11s %9s %9s %9s\n", "", "", frames_size(z->managed),
		       frames_size(z->wmark[WMARK_MIN]), frames_size(z->wmark[WMARK_LOW]),
		       frames_size(z->wmark[WMARK_HIGH]));
	}
}

static void show_steps(const struct phys *p, uint64_t pages_min)
{
	unsigned long long total = managed(p);

	printf("\nHow, in pages:\n");
	for (unsigned i = 0; i < p->nr_zones; i++) {
		const struct zone *z = &p->zones[i];
		uint32_t min = z->wmark[WMARK_MIN];
		uint32_t scaled = (uint32_t)((uint64_t)z->managed * p->watermark_scale_factor / 10000);

		printf("  %s\n", z->name);
		printf("    MIN  = %llu × %u / %llu = %u, its share by size\n", (unsigned long long)pages_min,
		       z->managed, total, min);
		printf("    gap  = the larger of MIN / 4 = %u and %u × %u / 10000 = %u\n", min / 4, z->managed,
		       p->watermark_scale_factor, scaled);
		printf("    LOW  = MIN + gap = %u, HIGH = LOW + gap = %u\n", z->wmark[WMARK_LOW], z->wmark[WMARK_HIGH]);
	}
}

/* What a zone keeps from requests that the zones above it could have served. */
static void show_reserves(const struct phys *p)
{
	bool any = false;

	for (unsigned i = 0; i < p->nr_zones; i++) {
		const struct zone *z = &p->zones[i];

		for (unsigned j = 0; j < p->nr_zones; j++) {
			if (p->zones[j].node != z->node || z->lowmem_reserve[j] == 0)
				continue;
			if (!any)
				printf("\nlowmem_reserve: a request content with a high zone leaves low ones alone\n");
			any = true;
			printf("  %s keeps %u pages (%s) from what %s would do for:\n", z->name, z->lowmem_reserve[j],
			       frames_size(z->lowmem_reserve[j]), p->zones[j].name);
			printf("    the pages of the zones above it, up to there, / %u\n", z->reserve_ratio);
		}
	}
}

static void show_meaning(const struct sim_config *c)
{
	printf("\nFree pages of a zone\n"
	       "  below LOW   kswapd is woken, and reclaims until HIGH is free\n"
	       "  below MIN   who allocates must reclaim by himself; what is left is for reclaim\n");
	if (c->limit_bytes != 0)
		printf("A cgroup has no such marks: at its %s, who allocates reclaims at once.\n",
		       size_text(c->limit_bytes));
}

static int explain(const struct explain_args *a)
{
	struct frame *frames;
	struct phys p;
	size_t bytes;
	int err = make_phys(&p, &a->machine, &frames, &bytes);

	if (err != 0)
		return msg_fail(1, "memory of the model", "%s; give the machine less", strerror(-err));
	printf("Watermarks of %s: %s in %u zone%s.\n", a->machine.name, frames_size(managed(&p)), p.nr_zones,
	       p.nr_zones == 1 ? "" : "s");
	uint64_t pages_min = tell_total(&p);

	show_table(&p);
	show_steps(&p, pages_min);
	show_reserves(&p);
	show_meaning(&a->machine);
	munmap(frames, bytes);
	return 0;
}

const struct explain_topic explain_watermarks = {
	.name = "watermarks",
	.usage = "",
	.summary = "how much memory stays free, and why",
	.takes = 1 << EXPLAIN_MACHINE | 1 << EXPLAIN_SET,
	.main = explain,
};
