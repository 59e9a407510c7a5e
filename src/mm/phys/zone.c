/*
 * Nodes and zones: which memory belongs where, how much of it must stay free,
 * and in which order an allocation looks (Linux mm/page_alloc.c).
 *
 * Watermarks. A zone has three marks of free frames. Below LOW kswapd is woken
 * and works until HIGH is reached; below MIN an ordinary allocation fails and
 * its caller reclaims by itself; what is left under MIN belongs to reclaim.
 *
 *	0 ........ MIN ........ LOW ........ HIGH ................ managed
 *	  reserve  | kswapd works | … until   | free memory
 *
 * MIN is min_free_kbytes, divided among the zones by size; min_free_kbytes
 * grows with the root of memory, because the need for a reserve grows with the
 * number of things going on, more slowly than memory does. LOW and HIGH follow
 * at equal distance: a quarter of MIN or 0.1 % of the zone.
 *
 * lowmem_reserve. Somebody content with a high zone must not fill a low zone
 * whose frames others need: zone i keeps (frames of the zones above it that
 * would have done) / ratio away from such a request.
 *
 * Zonelists. Nearest node first, within a node the highest zone first. Of
 * nodes equally far away each node prefers another one, so that not all of
 * them spill into the same.
 *
 * Every zone has a direct map here: there is no HIGHMEM and no MOVABLE zone,
 * and with that no exception in the formulas.
 *
 * Hot-add. All memory arrives by phys_online, in runs of any size, which
 * become the largest aligned blocks that fit. Only their heads are written to:
 * the cost grows with the number of blocks, not of frames.
 */
#include <errno.h>
#include <string.h>

#include "base/assert.h"
#include "base/sqrt.h"
#include "mm/phys/buddy.h"

#define WATERMARK_SCALE_FACTOR 10 /* of 10000: LOW - MIN is at least 0.1 % of the zone, unless told otherwise */
#define MIN_FREE_KBYTES_MIN 128
#define MIN_FREE_KBYTES_MAX 262144
#define KBYTES_PER_FRAME (PAGE_SIZE / 1024)
#define LOCAL_DISTANCE 10
#define REMOTE_DISTANCE 20

uint32_t phys_min_free_kbytes(uint64_t managed)
{
	uint32_t kbytes = int_sqrt(managed * KBYTES_PER_FRAME * 16);

	return MIN(MAX(kbytes, MIN_FREE_KBYTES_MIN), MIN_FREE_KBYTES_MAX);
}

static void setup_wmarks(struct phys *p)
{
	uint32_t scale = p->watermark_scale_factor != 0 ? p->watermark_scale_factor : WATERMARK_SCALE_FACTOR;
	uint64_t total = 0;

	for (unsigned i = 0; i < p->nr_zones; i++)
		total += p->zones[i].managed;

	uint32_t kbytes = p->min_free_kbytes != 0 ? p->min_free_kbytes : phys_min_free_kbytes(total);
	uint64_t pages_min = kbytes / KBYTES_PER_FRAME;

	for (unsigned i = 0; i < p->nr_zones; i++) {
		struct zone *z = &p->zones[i];
		uint64_t min = total == 0 ? 0 : pages_min * z->managed / total;
		uint64_t gap = MAX(min / 4, (uint64_t)z->managed * scale / 10000);

		z->wmark[WMARK_MIN] = (uint32_t)min;
		z->wmark[WMARK_LOW] = (uint32_t)(min + gap);
		z->wmark[WMARK_HIGH] = (uint32_t)(min + 2 * gap);
	}
}

/*
 * What zone z keeps from a request for zone asked: Σ managed of the zones of
 * z's node that lie above z, up to asked. A request to another node was for
 * its highest zone, so that all of z's node above z would have done as well.
 */
static uint32_t lowmem_reserve(const struct phys *p, const struct zone *z, const struct zone *asked)
{
	uint64_t above = 0;

	if (z->reserve_ratio == 0)
		return 0;
	for (unsigned i = 0; i < p->nr_zones; i++) {
		const struct zone *other = &p->zones[i];

		if (other->node == z->node && other->start.n > z->start.n &&
		    (asked->node != z->node || other->start.n <= asked->start.n))
			above += other->managed;
	}
	return (uint32_t)(above / z->reserve_ratio);
}

void phys_setup_watermarks(struct phys *p)
{
	setup_wmarks(p);
	for (unsigned i = 0; i < p->nr_zones; i++) {
		for (unsigned j = 0; j < p->nr_zones; j++)
			p->zones[i].lowmem_reserve[j] = lowmem_reserve(p, &p->zones[i], &p->zones[j]);
	}
}

static unsigned distance_of(const struct phys *p, const uint8_t *distance, unsigned a, unsigned b)
{
	if (distance == NULL)
		return a == b ? LOCAL_DISTANCE : REMOTE_DISTANCE;
	return distance[a * p->nr_nodes + b];
}

/*
 * The nearest node not yet used (a bit each), or -1. Of equals the one after
 * the local node, then the one that fewer others prefer (Linux: find_next_best_node).
 */
static int next_best_node(const struct phys *p, const uint8_t *distance, unsigned local, unsigned used,
			  const unsigned *load)
{
	unsigned best_cost = ~0u;
	int best = -1;

	if (!(used & 1u << local))
		return (int)local;
	for (unsigned n = 0; n < p->nr_nodes; n++) {
		/* A load is at most the number of nodes, so that it only decides between equals. */
		unsigned cost = (distance_of(p, distance, local, n) + (n < local)) * (PHYS_NODES_MAX + 1) + load[n];

		if (!(used & 1u << n) && cost < best_cost) {
			best_cost = cost;
			best = (int)n;
		}
	}
	return best;
}

/* Appends the zones of a node, highest first; returns the new length. */
static unsigned append_zones(const struct phys *p, uint8_t *list, unsigned n, unsigned node)
{
	const unsigned first = n;

	for (unsigned i = 0; i < p->nr_zones; i++) {
		unsigned at = n;

		if (p->zones[i].node != node)
			continue;
		while (at > first && p->zones[list[at - 1]].start.n < p->zones[i].start.n) {
			list[at] = list[at - 1];
			at--;
		}
		list[at] = (uint8_t)i;
		n++;
	}
	return n;
}

static bool node_has_zones(const struct phys *p, unsigned node)
{
	for (unsigned i = 0; i < p->nr_zones; i++) {
		if (p->zones[i].node == node)
			return true;
	}
	return false;
}

static void build_zonelists(struct phys *p, const uint8_t *distance)
{
	unsigned load[PHYS_NODES_MAX] = { 0 };

	for (unsigned local = 0; local < p->nr_nodes; local++) {
		unsigned used = 0, n = 0, last = local;
		int node;

		while ((node = next_best_node(p, distance, local, used, load)) >= 0) {
			unsigned next = (unsigned)node;

			used |= 1u << next;
			if (!node_has_zones(p, next))
				continue;
			if (distance_of(p, distance, local, next) != distance_of(p, distance, local, last))
				load[next]++;
			n = append_zones(p, p->zonelist[local], n, next);
			last = next;
		}
		ASSERT(n == p->nr_zones);
	}
}

static bool zones_valid(const struct phys_zone_config *zones, unsigned nr_zones, uint32_t nr_frames)
{
	if (nr_zones == 0 || nr_zones > PHYS_ZONES_MAX)
		return false;
	for (unsigned i = 0; i < nr_zones; i++) {
		uint64_t start = zones[i].start.n, end = start + zones[i].spanned;

		if (zones[i].node >= PHYS_NODES_MAX || zones[i].spanned == 0 || end > nr_frames)
			return false;
		for (unsigned j = 0; j < i; j++) {
			if (start < (uint64_t)zones[j].start.n + zones[j].spanned && zones[j].start.n < end)
				return false;
		}
	}
	return true;
}

int phys_init(struct phys *p, void *direct_map, struct frame *frames, uint32_t nr_frames,
	      const struct phys_zone_config *zones, unsigned nr_zones, const uint8_t *distance)
{
	if (!zones_valid(zones, nr_zones, nr_frames))
		return -EINVAL;
	memset(p, 0, sizeof(*p));
	p->direct_map = direct_map;
	p->frames = frames;
	p->nr_frames = nr_frames;
	p->nr_zones = (uint8_t)nr_zones;
	for (unsigned i = 0; i < nr_zones; i++) {
		struct zone *z = &p->zones[i];

		z->name = zones[i].name;
		z->node = zones[i].node;
		z->start = zones[i].start;
		z->spanned = zones[i].spanned;
		z->reserve_ratio = zones[i].reserve_ratio;
		for (unsigned order = 0; order < NR_ORDERS; order++)
			for (unsigned type = 0; type < NR_MIGRATE_TYPES; type++)
				TAILQ_INIT(&z->area[order].list[type]);
		p->nr_nodes = MAX(p->nr_nodes, (uint8_t)(z->node + 1));
	}
	build_zonelists(p, distance);
	return 0;
}

/* The order of the largest block that starts at pfn and has at most n frames. */
static unsigned order_at(uint32_t pfn, uint32_t n)
{
	unsigned fits = 31 - (unsigned)__builtin_clz(n);
	unsigned aligned = pfn == 0 ? MAX_PAGE_ORDER : (unsigned)__builtin_ctz(pfn);

	return MIN(MIN(fits, aligned), MAX_PAGE_ORDER);
}

static inline bool range_is_offline(const struct phys *p, uint32_t pfn, uint32_t n)
{
	for (; n > 0; pfn++, n--) {
		if ((p->frames[pfn].flags & ~FRAME_OFFLINE) != 0 || p->frames[pfn].refs != 0)
			return false;
	}
	return true;
}

/* Frames that were taken out carry a mark; frames that are new are zeroes and are not looked at. */
static void clear_offline(struct phys *p, struct zone *z, uint32_t pfn, uint32_t n)
{
	for (; z->offline > 0 && n > 0; pfn++, n--) {
		if (p->frames[pfn].flags & FRAME_OFFLINE) {
			p->frames[pfn].flags = 0;
			z->offline--;
		}
		if (pfn % PAGEBLOCK_FRAMES == 0 && n >= PAGEBLOCK_FRAMES)
			p->frames[pfn].type = MIGRATE_MOVABLE;
	}
}

void phys_online(struct phys *p, pfn_t start, uint32_t n)
{
	if (n == 0)
		return;

	struct zone *z = zone_of(p, start.n);

	ASSERT((uint64_t)start.n + n <= (uint64_t)z->start.n + z->spanned && n <= z->spanned - z->managed);
	DEBUG_ASSERT(range_is_offline(p, start.n, n));
	clear_offline(p, z, start.n, n);
	z->managed += n;
	z->reached = MAX(z->reached, start.n + n - z->start.n);
	for (uint32_t pfn = start.n; n > 0;) {
		unsigned order = order_at(pfn, n);

		buddy_free_last(p, &p->frames[pfn], order);
		pfn += 1u << order;
		n -= 1u << order;
	}
	phys_setup_watermarks(p);
}

void phys_offline(struct phys *p, struct frame **frames, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		struct frame *f = frames[i];
		struct zone *z = zone_of(p, frame_pfn(p, f).n);

		ASSERT(f->flags == 0);
		f->flags = FRAME_OFFLINE;
		f->order = 0;
		f->refs = 0;
		z->managed--;
		z->offline++;
	}
	phys_setup_watermarks(p);
}

uint32_t phys_free_frames(const struct phys *p, unsigned node)
{
	uint32_t sum = 0;

	for (unsigned i = 0; i < p->nr_zones; i++)
		sum += p->zones[i].node == node ? p->zones[i].free : 0;
	return sum;
}

uint32_t phys_managed_frames(const struct phys *p, unsigned node)
{
	uint32_t sum = 0;

	for (unsigned i = 0; i < p->nr_zones; i++)
		sum += p->zones[i].node == node ? p->zones[i].managed : 0;
	return sum;
}

uint32_t phys_wmark(const struct phys *p, unsigned node, enum wmark mark)
{
	uint32_t sum = 0;

	for (unsigned i = 0; i < p->nr_zones; i++)
		sum += p->zones[i].node == node ? p->zones[i].wmark[mark] : 0;
	return sum;
}
