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
 * The oldest way is not searched for. Beside the stamps stands a row of the
 * ways in order of age, which uses leave out of date: a place says which stamp
 * it was given for, and a way whose stamp is another has been used since and is
 * younger than its place. So when the first way of the row still has the stamp
 * of its place, nobody is older, and until then the ways that come first are
 * moved to where they belong, each of them once for any number of uses.
 *
 * Laws: struct tlb. A translation that is removed leaves its stamp: the bits of
 * a PLRU tree do not change either when an entry is invalidated. A flush of
 * everything only raises the floor below which serials are dead; slots, buckets
 * and rows are cleared one by one as they are used again, so a flush costs
 * nothing. A flush of one ASID looks at each slot.
 *
 * Cost. find: one load of a bucket, one slot. insert: the first place or two of
 * a row, and a few more for each way that was used since; two buckets; of PLRU
 * all stamps of a set, twice. 56 bytes a way, 8 to 16 more of buckets.
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
		.stamps = calloc(entries, sizeof(*t->stamps)), .rows = malloc(entries * sizeof(*t->rows)),
		.set = calloc(entries / ways, sizeof(*t->set)),
		.sets = entries / ways, .ways = ways, .bucket_shift = 64 - bits, .replacement = (uint8_t)replacement,
	};
	if (t->slots == NULL || t->buckets == NULL || t->stamps == NULL || t->rows == NULL || t->set == NULL) {
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
	free(t->stamps);
	free(t->rows);
	free(t->set);
	*t = (struct tlb){ 0 };
}

static uint64_t newest(const uint64_t *stamps, uint32_t from, uint32_t to)
{
	uint64_t stamp = 0;

	for (uint32_t i = from; i < to; i++)
		stamp = MAX(stamp, stamps[i]);
	return stamp;
}

static __attribute__((noinline)) uint32_t plru_victim(const uint64_t *stamps, uint32_t ways)
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

/*
 * The oldest way, which is about to be used now. The row may be out of date, because a use only writes a stamp: ways that
 * were used since they got their place go to where they belong, until one comes first that was not.
 */
static __attribute__((noinline)) uint32_t lru_victim(struct tlb *t, uint32_t set, uint64_t now)
{
	const uint64_t *stamps = &t->stamps[(size_t)set * t->ways];
	struct tlb_place *row = &t->rows[(size_t)set * t->ways], *last = row + t->ways - 1, *first = row + t->set[set].oldest;

	for (;;) {
		struct tlb_place place = *first, *free = first;
		bool used = stamps[place.way] != place.listed;

		place.listed = used ? stamps[place.way] : now;
		first = first == last ? row : first + 1;
		while (free != first) {
			struct tlb_place *before = free == row ? last : free - 1;

			if (before->listed <= place.listed)
				break;
			*free = *before;
			free = before;
		}
		*free = place;
		if (used)
			continue;
		t->set[set].oldest = (uint32_t)(first - row);
		return place.way;
	}
}

/* The first way without a translation, else the policy's choice. */
static uint32_t victim(struct tlb *t, uint32_t set, uint64_t now)
{
	const struct tlb_slot *slots = &t->slots[(size_t)set * t->ways];
	struct tlb_set *s = &t->set[set];

	if (s->floor != t->floor)
		*s = (struct tlb_set){ .floor = t->floor };
	for (; s->full < s->placed; s->full++)
		if (slots[s->full].serial <= t->floor)
			return s->full++;
	if (s->placed < t->ways) {
		t->rows[(size_t)set * t->ways + s->placed] = (struct tlb_place){ .listed = now, .way = s->placed };
		s->full++;
		return s->placed++;
	}
	switch (t->replacement) {
	case SIM_PLRU: return plru_victim(&t->stamps[(size_t)set * t->ways], t->ways);
	case SIM_RANDOM: return (uint32_t)rand_below(&t->rand, t->ways);
	default: return lru_victim(t, set, now);
	}
}

static struct tlb_key key_of(const struct tlb_slot *s)
{
	return tlb_key(s->page >> 1, s->page & 1, s->asid);
}

/* Takes a slot out of the chain that its key is in. If it is flushed, all others of that chain are, too. */
static void unlink_slot(struct tlb *t, const struct tlb_slot *s)
{
	uint32_t *link = &t->buckets[key_of(s).hash >> t->bucket_shift], me = (uint32_t)(s - t->slots) + 1;

	if (s->serial <= t->floor) {
		*link = *link == me ? 0 : *link;
		return;
	}
	while (*link != me)
		link = &t->slots[*link - 1].next;
	*link = s->next;
}

struct tlb_slot *tlb_insert(struct tlb *t, const struct tlb_key *key, uint64_t now)
{
	uint32_t set = (uint32_t)(key->page >> 1) & (t->sets - 1), *bucket = &t->buckets[key->hash >> t->bucket_shift];
	struct tlb_slot *s = &t->slots[(size_t)set * t->ways + victim(t, set, now)];

	if (s->page != TLB_NO_PAGE)
		unlink_slot(t, s);
	if (*bucket != 0 && t->slots[*bucket - 1].serial <= t->floor)
		*bucket = 0;
	*s = (struct tlb_slot){ .page = key->page, .asid = key->asid, .serial = ++t->serial, .next = *bucket };
	*tlb_stamp(t, s) = now;
	t->huge |= key->page & 1;
	*bucket = (uint32_t)(s - t->slots) + 1;
	return s;
}

void tlb_remove(struct tlb *t, struct tlb_slot *s)
{
	uint32_t i = (uint32_t)(s - t->slots);
	struct tlb_set *set = &t->set[i / t->ways];

	unlink_slot(t, s);
	s->page = TLB_NO_PAGE;
	s->serial = 0;
	set->full = MIN(set->full, i % t->ways);
}

void tlb_flush(struct tlb *t)
{
	t->floor = t->serial;
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
		ASSERT(k == me - 1 || t->stamps[k] == 0 || t->stamps[k] != t->stamps[me - 1]);
}

static void check_bucket(const struct tlb *t, uint32_t n)
{
	uint32_t i = t->buckets[n], nr = 0;

	if (i == 0 || t->slots[i - 1].serial <= t->floor)
		return;
	for (; i != 0; i = t->slots[i - 1].next) {
		ASSERT(++nr <= t->sets * t->ways && t->slots[i - 1].serial > t->floor);
		ASSERT(key_of(&t->slots[i - 1]).hash >> t->bucket_shift == n);
	}
}

static void check_set(const struct tlb *t, uint32_t n)
{
	const struct tlb_set *s = &t->set[n];
	const struct tlb_place *row = &t->rows[(size_t)n * t->ways];
	uint64_t listed = 0, ways = 0;

	if (s->floor != t->floor) {
		for (uint32_t i = 0; i < t->ways; i++)
			ASSERT(t->slots[n * t->ways + i].serial <= t->floor);
		return;
	}
	ASSERT(s->full <= s->placed && s->placed <= t->ways && s->oldest < t->ways);
	for (uint32_t i = 0; i < t->ways; i++) {
		bool live = t->slots[n * t->ways + i].serial > t->floor;

		ASSERT(live ? i < s->placed : i >= s->full);
	}
	for (uint32_t i = 0; i < s->placed; i++) {
		const struct tlb_place *p = &row[(s->oldest + i) % t->ways];

		ASSERT(p->way < s->placed && p->listed >= listed && p->listed <= t->stamps[n * t->ways + p->way]);
		listed = p->listed;
		ways += p->way;
	}
	/* Each once. A sum that fits by chance would need two mistakes: a table to tell them is not worth its price. */
	ASSERT(ways == (uint64_t)s->placed * (s->placed - 1) / 2);
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
