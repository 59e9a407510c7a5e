/*
 * A set-associative cache of translations.
 *
 *      key = (page number, size, ASID)
 *        │ hash                              │ low bits of the number
 *        ▼                                   ▼
 *      bucket ──► slot ──► slot        set: ways × { key, stamp, translation }
 *                  find: any set             insert: which way goes
 *
 * Hardware compares all ways of a set at once. Here a hash of the key leads to
 * the slot, so a search costs the same for 4 ways, for 12 and for 72: about one
 * compare. The sets matter only when a victim is chosen.
 *
 * Recency is a number: each use writes the time beside the slot, one store, and
 * moves nothing. (Beside it, because choosing reads the times of a set and
 * nothing else.) All three policies choose from that, on a miss only:
 *
 *   LRU      the way with the oldest stamp
 *   PLRU     the tree of Intel's and AMD's caches: a bit at each node points to
 *            the half that was not used last, a victim is found by following
 *            the bits. A use sets the bits on its way to point elsewhere, so a
 *            bit says which half holds the newest stamp, and it is worked out
 *            from the stamps when it is asked for. Ways that are no power of
 *            two stand left in a tree of the next one; where a half has no
 *            ways the search goes left.
 *   random   one number of the generator
 *
 * A way without a translation is filled first, the lowest such way.
 *
 * Laws: struct tlb. A translation that is removed leaves its stamp: the bits of
 * a PLRU tree do not change either when an entry is invalidated. A flush of
 * everything only raises the floor below which serials are dead; the slots are
 * recycled one by one as they are filled again, so a switch of tasks on a
 * machine without ASIDs costs nothing. A flush of one ASID looks at each slot.
 *
 * Cost. find: one load of a bucket, one slot. insert: all stamps of a set,
 * twice for PLRU, and the old key's chain; of many ways the LRU looks at two or three
 * groups of 8 and their bounds. 41 bytes a way, 8 to 16 more of buckets.
 *
 * Rejected: lists in order of use, as textbooks have it: six stores a hit, and
 * hits are nearly everything. Scanning the ways of a set for the key: 12 ways
 * of two page sizes are six cache lines of the host for one miss.
 */
#include "sim/tlb.h"

#include <errno.h>
#include <stdlib.h>

#include "base/assert.h"

#define WAYS_FEW 16 /* all are looked at */
#define GROUP 8     /* ways */

int tlb_init(struct tlb *t, uint32_t entries, uint32_t ways, enum sim_replacement replacement, uint64_t seed)
{
	unsigned bits = 1;

	if (ways == 0)
		ways = entries;
	ASSERT(entries > 0 && entries % ways == 0 && (entries / ways & (entries / ways - 1)) == 0);
	while ((uint64_t)1 << bits < (uint64_t)entries * 2)
		bits++;
	*t = (struct tlb){
		.slots = malloc(entries * sizeof(*t->slots)), .buckets = calloc((size_t)1 << bits, sizeof(*t->buckets)),
		.stamps = calloc(entries, sizeof(*t->stamps)), .full = malloc(entries / ways * sizeof(*t->full)),
		.bounds = calloc((size_t)(entries / ways) * DIV_ROUND_UP(ways, GROUP), sizeof(*t->bounds)),
		.sets = entries / ways, .ways = ways, .bucket_shift = 64 - bits, .replacement = (uint8_t)replacement,
	};
	if (t->slots == NULL || t->buckets == NULL || t->stamps == NULL || t->full == NULL || t->bounds == NULL) {
		tlb_destroy(t);
		return -ENOMEM;
	}
	for (uint32_t i = 0; i < entries; i++)
		t->slots[i] = (struct tlb_slot){ .page = TLB_NO_PAGE };
	tlb_flush(t);
	rand_seed(&t->rand, seed);
	return 0;
}

void tlb_destroy(struct tlb *t)
{
	free(t->slots);
	free(t->buckets);
	free(t->stamps);
	free(t->full);
	free(t->bounds);
	*t = (struct tlb){ 0 };
}

static uint64_t newest(const uint64_t *stamps, uint32_t from, uint32_t to)
{
	uint64_t stamp = 0;

	for (uint32_t i = from; i < to; i++)
		stamp = MAX(stamp, stamps[i]);
	return stamp;
}

static uint32_t plru_victim(const uint64_t *stamps, uint32_t ways)
{
	uint32_t at = 0, size = 1;

	while (size < ways)
		size *= 2;
	while (size > 1) {
		uint32_t middle = at + (size /= 2), end = MIN(middle + size, ways);

		if (middle < ways && newest(stamps, at, middle) > newest(stamps, middle, end))
			at = middle;
	}
	return at;
}

static uint32_t oldest(const uint64_t *stamps, uint32_t from, uint32_t to)
{
	uint32_t at = from;

	for (uint32_t i = from + 1; i < to; i++)
		at = stamps[i] < stamps[at] ? i : at;
	return at;
}

/*
 * Of many ways the oldest: by groups, each with a bound that no stamp of the group is below. Stamps only grow, so a bound
 * stays one when a way is used, and need not be touched then; the group with the lowest is looked at, and either its oldest
 * way is that old, or the bound was out of date.
 */
static uint32_t oldest_of_groups(const uint64_t *stamps, uint32_t ways, uint64_t *bounds)
{
	for (;;) {
		uint32_t group = oldest(bounds, 0, DIV_ROUND_UP(ways, GROUP));
		uint32_t at = oldest(stamps, group * GROUP, MIN((group + 1) * GROUP, ways));

		if (stamps[at] == bounds[group])
			return at;
		bounds[group] = stamps[at];
	}
}

static uint32_t lru_victim(struct tlb *t, uint32_t set)
{
	const uint64_t *stamps = &t->stamps[(size_t)set * t->ways];

	if (t->ways <= WAYS_FEW)
		return oldest(stamps, 0, t->ways);
	return oldest_of_groups(stamps, t->ways, &t->bounds[(size_t)set * DIV_ROUND_UP(t->ways, GROUP)]);
}

/* The first way without a translation, else the policy's choice. */
static uint32_t victim(struct tlb *t, uint32_t set)
{
	const struct tlb_slot *slots = &t->slots[(size_t)set * t->ways];
	const uint64_t *stamps = &t->stamps[(size_t)set * t->ways];

	for (uint32_t i = t->full[set]; i < t->ways; i = ++t->full[set]) {
		if (slots[i].serial <= t->floor) {
			t->full[set]++;
			return i;
		}
	}
	switch (t->replacement) {
	case SIM_PLRU: return plru_victim(stamps, t->ways);
	case SIM_RANDOM: return (uint32_t)rand_below(&t->rand, t->ways);
	default: return lru_victim(t, set);
	}
}

/* Takes a slot out of the chain that its old key is in. */
static void unlink_slot(struct tlb *t, const struct tlb_slot *s)
{
	uint32_t *link = &t->buckets[tlb_bucket(t, s->page, s->asid)], me = (uint32_t)(s - t->slots) + 1;

	while (*link != me)
		link = &t->slots[*link - 1].next;
	*link = s->next;
}

struct tlb_slot *tlb_insert(struct tlb *t, uint64_t page, unsigned asid, uint64_t now)
{
	uint32_t set = (uint32_t)(page >> 1) & (t->sets - 1), *bucket = &t->buckets[tlb_bucket(t, page, asid)];
	struct tlb_slot *s = &t->slots[(size_t)set * t->ways + victim(t, set)];

	if (s->page != TLB_NO_PAGE)
		unlink_slot(t, s);
	*s = (struct tlb_slot){ .page = page, .asid = (uint16_t)asid, .serial = ++t->serial, .next = *bucket };
	*tlb_stamp(t, s) = now;
	t->huge |= page & 1;
	*bucket = (uint32_t)(s - t->slots) + 1;
	return s;
}

void tlb_flush(struct tlb *t)
{
	t->floor = t->serial;
	for (uint32_t i = 0; i < t->sets; i++)
		t->full[i] = 0;
}

void tlb_flush_asid(struct tlb *t, unsigned asid)
{
	for (size_t i = 0; i < (size_t)t->sets * t->ways; i++)
		if (t->slots[i].asid == asid && t->slots[i].serial > t->floor)
			tlb_remove(t, &t->slots[i]);
}

static void check_slot(const struct tlb *t, const struct tlb_slot *s)
{
	uint32_t me = (uint32_t)(s - t->slots) + 1, i = t->buckets[tlb_bucket(t, s->page, s->asid)];
	uint32_t set = (me - 1) / t->ways;
	bool live = s->serial > t->floor;

	ASSERT(s->serial <= t->serial && (!live || s->grants != 0));
	if (s->page == TLB_NO_PAGE) {
		ASSERT(!live && t->stamps[me - 1] == 0);
		return;
	}
	ASSERT(((uint32_t)(s->page >> 1) & (t->sets - 1)) == set);
	while (i != 0 && i != me)
		i = t->slots[i - 1].next;
	ASSERT(i == me);
	ASSERT(!live || tlb_find(t, s->page, s->asid) == s);
	for (uint32_t k = set * t->ways; k < (set + 1) * t->ways; k++)
		ASSERT(k == me - 1 || t->stamps[k] == 0 || t->stamps[k] != t->stamps[me - 1]);
}

void tlb_check(const struct tlb *t)
{
	for (uint32_t i = 0; i < t->sets * t->ways; i++) {
		check_slot(t, &t->slots[i]);
		ASSERT(i % t->ways >= t->full[i / t->ways] || t->slots[i].serial > t->floor);
	}
}
