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
 * The oldest way is not searched for. Beside the slots stands a row of the
 * ways in order of age, which uses leave out of date: a place says which stamp
 * it was given for, and a way whose stamp is another has been used since and is
 * younger than its place. So when the first way of the row still has the stamp
 * of its place, nobody is older, and until then the ways that come first are
 * moved to where they belong, each of them once for any number of uses.
 *
 * Laws: struct tlb. A translation that is removed leaves its stamp: the bits of
 * a PLRU tree do not change either when an entry is invalidated. A flush of
 * everything only raises the floor below which serials are dead; a bucket says
 * for which floor it stands, and rows are cleared one by one as they are used
 * again, so a flush costs nothing. A flush of one ASID looks at each slot.
 *
 * Cost. find: one load of a bucket, one slot. insert: the first place or two of
 * a row, and a few more for each way that was used since; a bucket, and another
 * if the victim is live; of PLRU all slots of a set, twice. 72 bytes a way, 32 to
 * 64 more of buckets. All of it fits the host's second cache for any TLB there is, but
 * not its first, so what is written for a translation is next to each other.
 *
 * Rejected: lists in order of use, as textbooks have it: six stores a hit, and
 * hits are nearly everything. Scanning the ways of a set for the key: 12 ways
 * of two page sizes are six cache lines of the host for one miss. Chains that
 * keep what was flushed until its way is filled again: a page that is hot is in its
 * chain once for each flush.
 */
#include "sim/tlb.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

/* For each entry. A second slot in a chain costs the host's CPU a branch that it cannot foresee; 8 help little more. */
#define BUCKETS 4

int tlb_init(struct tlb *t, uint32_t entries, uint32_t ways, enum sim_replacement replacement, uint64_t seed)
{
	unsigned bits = 1;

	if (ways == 0)
		ways = entries;
	ASSERT(entries > 0 && entries < 1u << TLB_COUNT_BITS && entries % ways == 0 && (entries / ways & (entries / ways - 1)) == 0);
	while ((uint64_t)1 << bits < (uint64_t)entries * BUCKETS)
		bits++;
	*t = (struct tlb){
		.slots = malloc(entries * sizeof(*t->slots)), .buckets = calloc((size_t)1 << bits, sizeof(*t->buckets)),
		.rows = malloc(2 * entries * sizeof(*t->rows)),
		.set = calloc(entries / ways, sizeof(*t->set)),
		.sets = entries / ways, .ways = ways, .bucket_shift = 64 - bits, .replacement = (uint8_t)replacement,
	};
	if (t->slots == NULL || t->buckets == NULL || t->rows == NULL || t->set == NULL) {
		tlb_destroy(t);
		return -ENOMEM;
	}
	for (uint32_t i = 0; i < entries; i++)
		t->slots[i] = (struct tlb_slot){ .page = TLB_NO_PAGE };
	for (uint32_t i = 0; i < t->sets; i++)
		t->set[i].hole = TLB_NO_HOLE;
	rand_seed(&t->rand, seed);
	return 0;
}

void tlb_destroy(struct tlb *t)
{
	free(t->slots);
	free(t->buckets);
	free(t->rows);
	free(t->set);
	*t = (struct tlb){ 0 };
}

static uint64_t newest(const struct tlb_slot *slots, uint32_t from, uint32_t to)
{
	uint64_t stamp = 0;

	for (uint32_t i = from; i < to; i++)
		stamp = MAX(stamp, slots[i].stamp);
	return stamp;
}

static __attribute__((noinline)) uint32_t plru_victim(const struct tlb_slot *slots, uint32_t ways)
{
	uint32_t at = 0, size = 1;

	while (size < ways)
		size *= 2;
	while (size > 1) {
		uint32_t middle = at + (size /= 2), end = MIN(middle + size, ways);

		if (middle < ways && newest(slots, at, middle) > newest(slots, middle, end))
			at = middle;
	}
	return at;
}

/*
 * The oldest way, which is about to be used now. The row may be out of date, because a use only writes a stamp: ways that
 * were used since they got their place go to where they belong, until one comes first that was not.
 */
static uint32_t lru_victim(struct tlb *t, uint32_t set, uint64_t now)
{
	const struct tlb_slot *slots = &t->slots[(size_t)set * t->ways];
	struct tlb_place *row = &t->rows[(size_t)set * t->ways * 2], *first = row + t->set[set].oldest;

	for (;;) {
		if (first == row + t->ways)
			first = memcpy(row, first, t->ways * sizeof(*row));
		struct tlb_place place = *first++, *free = first + t->ways - 1;

		if (likely(slots[place.way].stamp == place.listed)) {
			*free = (struct tlb_place){ .listed = now, .way = place.way };
			t->set[set].oldest = (uint32_t)(first - row);
			return place.way;
		}
		place.listed = slots[place.way].stamp;
		for (; free > first && free[-1].listed > place.listed; free--)
			*free = free[-1];
		*free = place;
	}
}

/* The lowest way from the hole on that is placed and has no translation; TLB_NO_HOLE: there is none. */
static uint32_t next_hole(const struct tlb *t, uint32_t set, uint32_t placed)
{
	const struct tlb_slot *slots = &t->slots[(size_t)set * t->ways];

	for (uint32_t way = t->set[set].hole; way < placed; way++)
		if (slots[way].serial <= t->floor)
			return way;
	return TLB_NO_HOLE;
}

static struct tlb_key key_of(const struct tlb_slot *s)
{
	return tlb_key(s->page >> 1, s->page & 1, s->asid);
}

/* Takes a live slot out of the chain that its key is in. */
static void unlink_slot(struct tlb *t, const struct tlb_slot *s)
{
	uint64_t *bucket = &t->buckets[key_of(s).hash >> t->bucket_shift];
	uint32_t me = (uint32_t)(s - t->slots) + 1, i = tlb_count(t, *bucket);

	if (i == me) {
		*bucket = *bucket - me + s->next;
		return;
	}
	while (t->slots[i - 1].next != me)
		i = t->slots[i - 1].next;
	t->slots[i - 1].next = s->next;
}

/* The policy's choice among the ways of a full set. */
static uint32_t choose(struct tlb *t, uint32_t set, uint64_t now)
{
	switch (t->replacement) {
	case SIM_PLRU: return plru_victim(&t->slots[(size_t)set * t->ways], t->ways);
	case SIM_RANDOM: return (uint32_t)rand_below(&t->rand, t->ways);
	default: return lru_victim(t, set, now);
	}
}

/* The first way without a translation, else the policy's choice. */
uint32_t tlb_victim(struct tlb *t, uint32_t set, uint64_t now)
{
	struct tlb_set *s = &t->set[set];
	uint32_t placed = tlb_count(t, s->placed);

	s->hole = next_hole(t, set, placed);
	if (s->hole != TLB_NO_HOLE)
		return s->hole++;
	if (placed < t->ways)
		return tlb_place_next(t, set, placed, now);
	uint32_t way = choose(t, set, now);

	unlink_slot(t, &t->slots[(size_t)set * t->ways + way]);
	return way;
}

void tlb_remove(struct tlb *t, struct tlb_slot *s)
{
	uint32_t i = (uint32_t)(s - t->slots);
	struct tlb_set *set = &t->set[i / t->ways];

	unlink_slot(t, s);
	s->page = TLB_NO_PAGE;
	s->serial = 0;
	set->hole = MIN(set->hole, i % t->ways);
}

void tlb_flush(struct tlb *t)
{
	t->floor = t->serial;
	t->zero = t->floor << TLB_COUNT_BITS;
}

void tlb_flush_asid(struct tlb *t, unsigned asid)
{
	for (size_t i = 0; i < (size_t)t->sets * t->ways; i++)
		if (t->slots[i].asid == asid && t->slots[i].serial > t->floor)
			tlb_remove(t, &t->slots[i]);
}

static void check_slot(const struct tlb *t, const struct tlb_slot *s)
{
	uint32_t me = (uint32_t)(s - t->slots) + 1, set = (me - 1) / t->ways;

	ASSERT(s->serial <= t->serial);
	if (s->serial <= t->floor)
		return;
	ASSERT(s->page != TLB_NO_PAGE && s->grants != 0 && ((uint32_t)(s->page >> 1) & (t->sets - 1)) == set);
	ASSERT(tlb_find(t, key_of(s)) == s);
	for (uint32_t k = set * t->ways; k < (set + 1) * t->ways; k++)
		ASSERT(k == me - 1 || t->slots[k].stamp == 0 || t->slots[k].stamp != s->stamp);
}

static void check_bucket(const struct tlb *t, uint32_t n)
{
	uint32_t nr = 0;

	ASSERT(t->buckets[n] < t->zero + (1 << TLB_COUNT_BITS));
	for (uint32_t i = tlb_count(t, t->buckets[n]); i != 0; i = t->slots[i - 1].next) {
		ASSERT(++nr <= t->sets * t->ways && t->slots[i - 1].serial > t->floor);
		ASSERT(key_of(&t->slots[i - 1]).hash >> t->bucket_shift == n);
	}
}

static void check_set(const struct tlb *t, uint32_t n)
{
	const struct tlb_set *s = &t->set[n];
	const struct tlb_place *row = &t->rows[(size_t)n * t->ways * 2];
	uint32_t placed = tlb_count(t, s->placed);
	uint64_t listed = 0, ways = 0;

	ASSERT(placed <= t->ways && s->placed < t->zero + (1 << TLB_COUNT_BITS));
	for (uint32_t i = 0; i < t->ways; i++) {
		bool live = t->slots[n * t->ways + i].serial > t->floor;

		ASSERT(live ? i < placed : i >= placed || i >= s->hole);
	}
	if (placed == 0)
		return;
	ASSERT(s->oldest <= t->ways && (s->oldest == 0 || placed == t->ways));
	for (uint32_t i = 0; i < placed; i++) {
		const struct tlb_place *p = &row[s->oldest + i];

		ASSERT(p->way < placed && p->listed >= listed && p->listed <= t->slots[n * t->ways + p->way].stamp);
		listed = p->listed;
		ways += p->way;
	}
	/* Each once. A sum that fits by chance would need two mistakes: a table to tell them is not worth its price. */
	ASSERT(ways == (uint64_t)placed * (placed - 1) / 2);
}

void tlb_check(const struct tlb *t)
{
	for (uint32_t i = 0; i < t->sets * t->ways; i++)
		check_slot(t, &t->slots[i]);
	for (uint32_t i = 0; i < t->sets; i++)
		check_set(t, i);
	for (uint64_t i = 0; i < UINT64_C(1) << (64 - t->bucket_shift); i++)
		check_bucket(t, (uint32_t)i);
}
