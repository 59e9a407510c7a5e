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
 * Recency is a number: each use writes the time into the slot, one store, and
 * moves nothing. All three policies choose from that, on a miss only:
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
 * twice for PLRU, and the old key's chain; of 72 ways some 40 ns. 40 bytes a
 * slot, 8 to 16 more of buckets.
 *
 * Rejected: lists in order of use, as textbooks have it: six stores a hit, and
 * hits are nearly everything. Scanning the ways of a set for the key: 12 ways
 * of two page sizes are six cache lines of the host for one miss.
 */
#include "sim/tlb.h"

#include <errno.h>
#include <stdlib.h>

#include "base/assert.h"

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
		.sets = entries / ways, .ways = ways, .bucket_shift = 64 - bits, .replacement = (uint8_t)replacement,
	};
	if (t->slots == NULL || t->buckets == NULL) {
		tlb_destroy(t);
		return -ENOMEM;
	}
	for (uint32_t i = 0; i < entries; i++)
		t->slots[i] = (struct tlb_slot){ .page = TLB_NO_PAGE };
	rand_seed(&t->rand, seed);
	return 0;
}

void tlb_destroy(struct tlb *t)
{
	free(t->slots);
	free(t->buckets);
	*t = (struct tlb){ 0 };
}

static uint64_t newest(const struct tlb_slot *set, uint32_t from, uint32_t to)
{
	uint64_t stamp = 0;

	for (uint32_t i = from; i < to; i++)
		stamp = MAX(stamp, set[i].stamp);
	return stamp;
}

static uint32_t plru_victim(const struct tlb_slot *set, uint32_t ways)
{
	uint32_t at = 0, size = 1;

	while (size < ways)
		size *= 2;
	while (size > 1) {
		uint32_t middle = at + (size /= 2), end = MIN(middle + size, ways);

		if (middle < ways && newest(set, at, middle) > newest(set, middle, end))
			at = middle;
	}
	return at;
}

/* Several searches side by side: one alone waits for each comparison before the next. */
static uint32_t lru_victim(const struct tlb_slot *set, uint32_t ways)
{
	enum { LANES = 4 };
	uint64_t oldest[LANES] = { UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX };
	uint32_t at[LANES] = { 0 }, i = 0;

	for (; i + LANES <= ways; i += LANES) {
		for (unsigned k = 0; k < LANES; k++) {
			uint64_t stamp = set[i + k].stamp;

			at[k] = stamp < oldest[k] ? i + k : at[k];
			oldest[k] = MIN(stamp, oldest[k]);
		}
	}
	for (; i < ways; i++) {
		at[0] = set[i].stamp < oldest[0] ? i : at[0];
		oldest[0] = MIN(set[i].stamp, oldest[0]);
	}
	for (unsigned k = 1; k < LANES; k++) {
		at[0] = oldest[k] < oldest[0] ? at[k] : at[0];
		oldest[0] = MIN(oldest[k], oldest[0]);
	}
	return at[0];
}

/* The first way without a translation, else the policy's choice. */
static struct tlb_slot *victim(struct tlb *t, struct tlb_slot *set)
{
	bool full = t->live == t->sets * t->ways;

	for (uint32_t i = 0; i < t->ways && !full; i++)
		if (set[i].serial <= t->floor)
			return &set[i];
	switch (t->replacement) {
	case SIM_PLRU: return &set[plru_victim(set, t->ways)];
	case SIM_RANDOM: return &set[rand_below(&t->rand, t->ways)];
	default: return &set[lru_victim(set, t->ways)];
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
	struct tlb_slot *s = victim(t, &t->slots[(size_t)set * t->ways]);

	if (s->page != TLB_NO_PAGE)
		unlink_slot(t, s);
	t->live += s->serial <= t->floor;
	*s = (struct tlb_slot){
		.page = page, .asid = (uint16_t)asid, .stamp = now, .serial = ++t->serial, .next = *bucket,
	};
	*bucket = (uint32_t)(s - t->slots) + 1;
	return s;
}

void tlb_flush(struct tlb *t)
{
	t->floor = t->serial;
	t->live = 0;
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
		ASSERT(!live && s->stamp == 0);
		return;
	}
	ASSERT(((uint32_t)(s->page >> 1) & (t->sets - 1)) == set);
	while (i != 0 && i != me)
		i = t->slots[i - 1].next;
	ASSERT(i == me);
	ASSERT(!live || tlb_find(t, s->page, s->asid) == s);
	for (uint32_t k = set * t->ways; k < (set + 1) * t->ways; k++)
		ASSERT(k == me - 1 || s->stamp == 0 || t->slots[k].stamp != s->stamp);
}

void tlb_check(const struct tlb *t)
{
	uint32_t live = 0;

	for (uint32_t i = 0; i < t->sets * t->ways; i++) {
		check_slot(t, &t->slots[i]);
		live += t->slots[i].serial > t->floor;
	}
	ASSERT(live == t->live);
}
