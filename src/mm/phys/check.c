/*
 * phys_check: the laws of struct zone and struct frame, executed. It walks
 * every free list and every frame of every zone, so it is for tests and for
 * the moment before a crash report; it reads frames that were never online.
 */
#include "base/assert.h"
#include "mm/phys/buddy.h"

/* One free block: described by its head, inside its zone, aligned, not mergeable. */
static void check_block(const struct phys *p, const struct zone *z, const struct frame *f, unsigned order)
{
	uint32_t pfn = frame_pfn(p, f).n, buddy = pfn ^ (1u << order);
	uint64_t end = (uint64_t)z->start.n + z->spanned;

	ASSERT(f->flags == FRAME_BUDDY && f->order == order && f->refs == 0);
	ASSERT(ALIGN_DOWN(pfn, 1u << order) == pfn);
	ASSERT(pfn >= z->start.n && (uint64_t)pfn + (1u << order) <= end);
	for (uint32_t i = 1; i < 1u << order; i++)
		ASSERT(f[i].flags == 0 && f[i].refs == 0);
	for (uint32_t i = 0; order >= PAGEBLOCK_ORDER && i < 1u << order; i += PAGEBLOCK_FRAMES)
		ASSERT(f[i].type == 0);
	if (order < MAX_PAGE_ORDER && buddy >= z->start.n && (uint64_t)buddy + (1u << order) <= end)
		ASSERT(!(p->frames[buddy].flags & FRAME_BUDDY) || p->frames[buddy].order != order);
}

/* Flags that describe what a frame is exclude each other and everything that only a user page has. */
static void check_flags(const struct frame *f)
{
	const unsigned file = FRAME_FILE | FRAME_DIRTY | FRAME_WRITEBACK;
	const unsigned user = FRAME_LRU | FRAME_REFERENCED | FRAME_AWAY | FRAME_READAHEAD | FRAME_WORKINGSET |
	                      FRAME_SHARED | FRAME_HUGE | file;
	const unsigned kind = f->flags & (FRAME_BUDDY | FRAME_SLAB | FRAME_OFFLINE);

	ASSERT((kind & (kind - 1)) == 0);
	ASSERT(kind == 0 || (f->flags & user) == 0);
	ASSERT((f->flags & FRAME_FILE) || (f->flags & file) == 0);
}

static void check_zone(const struct phys *p, const struct zone *z)
{
	uint64_t free = 0, blocks = 0, heads = 0, offline = 0;

	for (unsigned order = 0; order < NR_ORDERS; order++) {
		const struct frame *f;
		uint64_t n = 0;

		for (unsigned type = 0; type < NR_MIGRATE_TYPES; type++) {
			TAILQ_FOREACH(f, &z->area[order].list[type], link) {
				check_block(p, z, f, order);
				ASSERT(buddy_type(p, frame_pfn(p, f).n, order) == type);
				n++;
			}
		}
		ASSERT(n == z->area[order].nr_free);
		blocks += n;
		free += n << order;
	}
	ASSERT(free == z->free && z->free <= z->managed && z->managed <= z->spanned);
	ASSERT(z->wmark[WMARK_MIN] <= z->wmark[WMARK_LOW] && z->wmark[WMARK_LOW] <= z->wmark[WMARK_HIGH]);

	for (uint32_t i = 0; i < z->spanned; i++) {
		const struct frame *f = &p->frames[z->start.n + i];

		check_flags(f);
		heads += (f->flags & FRAME_BUDDY) != 0;
		offline += (f->flags & FRAME_OFFLINE) != 0;
	}
	/* A head on no list would be memory that is lost. */
	ASSERT(heads == blocks);
	ASSERT(offline == z->offline && offline <= z->spanned - z->managed);
}

void phys_check(const struct phys *p)
{
	for (unsigned i = 0; i < p->nr_zones; i++)
		check_zone(p, &p->zones[i]);
}
