/*
 * Swap areas: slots, use counts, the swap cache.
 *
 *   pte ──swp_t──► area.chunk[slot / 4096][slot % 4096] ──handle──► store
 *                        sum, uses, flags, shadow
 *
 * Slots are made in chunks of 4096 from vmalloc, so the table costs 16 bytes a
 * page that is really out. Free slots form a LIFO chain through `handle`; slot 0
 * is never handed out, so that swp_t 0 means "none".
 *
 * Way out: swap_examine (no lock) hashes the page and finds repeated words and
 * unchanged cached pages; swap_write then tries the areas by priority. What one
 * refuses (-E2BIG: gains nothing; -ENOSPC: full) goes to the next. Nothing of a
 * failed attempt stays behind.
 *
 * A write that fails is tried again, SWAP_TRIES times in all, with pauses that get
 * longer: a disk, a path to it, a server may be back in a moment. One that fails
 * for good marks the area as failing. It gets no more pages until swap_try_again;
 * the page has not left its frame, and goes elsewhere or stays.
 *
 * Way in: swapread.c.
 *
 * Follows mm/swapfile.c (swap_map), mm/swap_state.c and the zero map of
 * mm/page_io.c, which we extend to any repeated word as zram does.
 */
#include "mm/backing/swap.h"

#include <errno.h>
#include <string.h>

#include "base/assert.h"
#include "base/hash.h"

#define USES_MAX UINT16_MAX
#define CHUNK_PAGES (SLOTS_PER_CHUNK * sizeof(struct swap_slot) >> PAGE_SHIFT)
#define SLOTS_AHEAD (SLOTS_PER_CHUNK / 4) /* that are to be free */

void swap_init(struct swap *s, struct vmalloc *v)
{
	s->vmalloc = v;
	s->ahead = NULL;
	s->wait = NULL;
	s->unchecked = false;
	s->nr_areas = s->turn = 0;
}

void swap_destroy(struct swap *s)
{
	for (unsigned i = 0; i < s->nr_areas; i++) {
		struct swap_area *a = &s->area[i];

		ASSERT(a->nr_used == 0 && a->store->stat.pages == 0);
		for (uint64_t c = 0; c < a->nr_slots / SLOTS_PER_CHUNK; c++)
			vfree(s->vmalloc, (uint64_t)(uintptr_t)a->chunk[c]);
		if (a->chunk != a->few)
			vfree(s->vmalloc, (uint64_t)(uintptr_t)a->chunk);
	}
	s->nr_areas = 0;
}

void swap_prefetch(const struct swap *s, swp_t entry)
{
	if (swp_area(entry) < s->nr_areas && swp_slot(entry) > 0 && swp_slot(entry) < s->area[swp_area(entry)].nr_slots)
		__builtin_prefetch(swap_area_slot(&s->area[swp_area(entry)], swp_slot(entry)), 1);
}

/* The store packed a page elsewhere. */
static void slot_moved(void *ctx, uint64_t owner, uint64_t handle)
{
	struct swap_slot *slot = swap_slot_of(ctx, (swp_t){ owner });

	ASSERT(slot->flags & SLOT_USED);
	slot->handle = handle;
}

int swap_add_area(struct swap *s, struct store *store, int prio, uint64_t slots_max, bool keep)
{
	if (s->nr_areas == SWAP_AREAS)
		return -ENOSPC;
	/* Entries name areas by index, so areas must come in order of priority. */
	ASSERT(s->nr_areas == 0 || s->area[s->nr_areas - 1].prio >= prio);
	struct swap_area *a = &s->area[s->nr_areas];

	a->store = store;
	a->prio = prio;
	a->keep = keep;
	a->full = false;
	a->state = SWAP_AREA_TAKES;
	a->slots_max = slots_max;
	a->nr_slots = a->hand = a->free_head = a->nr_used = a->nr_same = a->nr_writing = 0;
	a->chunks_room = SWAP_CHUNKS_FEW;
	a->chunk = a->few;
	store->moved = slot_moved;
	store->moved_ctx = s;
	return (int)s->nr_areas++;
}

/* The table doubles: one for the largest area would be 2 MiB in every process. */
static int make_room(struct swap *s, struct swap_area *a, uint64_t chunks)
{
	uint64_t room = a->chunks_room;

	while (room < chunks)
		room *= 2;
	if (room == a->chunks_room)
		return 0;
	uint64_t address = vmalloc(s->vmalloc, room * sizeof(*a->chunk));
	if (address == 0)
		return -ENOMEM;
	struct swap_slot **table = (struct swap_slot **)(uintptr_t)address;
	memcpy(table, a->chunk, a->chunks_room * sizeof(*table));
	if (a->chunk != a->few)
		vfree(s->vmalloc, (uint64_t)(uintptr_t)a->chunk);
	a->chunk = table;
	a->chunks_room = room;
	return 0;
}

static int grow(struct swap *s, struct swap_area *a)
{
	uint64_t chunk = a->nr_slots / SLOTS_PER_CHUNK;

	if (chunk == SWAP_CHUNKS_MAX || (a->slots_max != 0 && a->nr_slots > a->slots_max))
		return -ENOSPC;
	uint64_t address = vmalloc(s->vmalloc, SLOTS_PER_CHUNK * sizeof(struct swap_slot));
	if (address == 0)
		return -ENOMEM;
	int err = make_room(s, a, chunk + 1);
	if (err != 0) {
		vfree(s->vmalloc, address);
		return err;
	}
	struct swap_slot *slots = (struct swap_slot *)(uintptr_t)address;
	memset(slots, 0, SLOTS_PER_CHUNK * sizeof(*slots));
	a->chunk[chunk] = slots;
	/* Lowest first: neighbours in time become neighbours in the table. */
	for (unsigned i = SLOTS_PER_CHUNK; i-- > (chunk == 0 ? 1u : 0u);) {
		slots[i].handle = a->free_head;
		a->free_head = a->nr_slots + i;
	}
	a->nr_slots += SLOTS_PER_CHUNK;
	return 0;
}

static bool has_few_slots(const struct swap_area *a)
{
	return a->nr_slots - MIN(a->nr_slots, a->nr_used + 1) < SLOTS_AHEAD;
}

int swap_prepare(struct swap *s, unsigned area)
{
	struct swap_area *a = &s->area[area];

	return has_few_slots(a) ? grow(s, a) : 0;
}

/* When the last slot is taken there may be too few frames for more: in time, while there are some. */
static bool has_frames_for_slots(const struct phys *p)
{
	return phys_free_frames(p, 0) >= phys_wmark(p, 0, WMARK_MIN) / 2 + CHUNK_PAGES;
}

static int slot_alloc(struct swap *s, unsigned area, swp_t *entry)
{
	struct swap_area *a = &s->area[area];

	if (a->slots_max != 0 && a->nr_used >= a->slots_max)
		return -ENOSPC;
	if (a->free_head == 0 || (unlikely(has_few_slots(a)) && has_frames_for_slots(s->vmalloc->phys))) {
		int err = grow(s, a);

		if (a->free_head == 0)
			return err;
	}
	uint64_t n = a->free_head;
	struct swap_slot *slot = swap_area_slot(a, n);

	a->free_head = slot->handle;
	a->nr_used++;
	*slot = (struct swap_slot){ .uses = 1, .flags = SLOT_USED };
	*entry = swp_make(area, n);
	return 0;
}

static void slot_release(struct swap_area *a, swp_t entry, struct swap_slot *slot)
{
	slot->flags = 0;
	slot->uses = 0;
	slot->handle = a->free_head;
	a->free_head = swp_slot(entry);
	a->nr_used--;
}

static void slot_free(struct swap *s, swp_t entry, struct swap_slot *slot)
{
	struct swap_area *a = &s->area[swp_area(entry)];

	ASSERT((slot->flags & SLOT_USED) && slot->uses == 0 && !(slot->flags & SLOT_CACHED));
	if (slot->flags & SLOT_SAME)
		a->nr_same--;
	else
		a->store->ops->free(a->store, slot->handle);
	slot_release(a, entry, slot);
	a->full = false;
}

bool swap_dup(struct swap *s, swp_t entry)
{
	struct swap_slot *slot = swap_slot_of(s, entry);

	ASSERT(slot->uses > 0 && !(slot->flags & SLOT_CACHED));
	if (slot->uses == USES_MAX)
		return false;
	slot->uses++;
	return true;
}

void swap_put(struct swap *s, swp_t entry)
{
	struct swap_slot *slot = swap_slot_of(s, entry);

	ASSERT(slot->uses > 0 && !(slot->flags & SLOT_CACHED));
	if (--slot->uses == 0)
		slot_free(s, entry, slot);
}

static uint32_t slot_seal(const struct swap_slot *slot)
{
	return slot->uses | (uint32_t)slot->shadow << 16;
}

bool swap_to_cache(struct swap *s, swp_t entry, uint32_t seal)
{
	struct swap_slot *slot;

	if (!s->area[swp_area(entry)].keep)
		return false;
	slot = swap_slot_of(s, entry);
	ASSERT(!(slot->flags & SLOT_CACHED));
	if (slot->uses != 1)
		return false;
	slot->flags |= SLOT_CACHED;
	slot->uses = (uint16_t)seal;
	slot->shadow = (uint8_t)(seal >> 16);
	return true;
}

void swap_uncache(struct swap *s, swp_t entry)
{
	struct swap_slot *slot = swap_slot_of(s, entry);

	ASSERT(slot->flags & SLOT_CACHED);
	slot->flags &= (uint8_t)~SLOT_CACHED;
	slot->uses = 0;
	slot_free(s, entry, slot);
}

void swap_examine(struct swap *s, struct swap_io *io, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		io[i].entry = (swp_t){ 0 };
		io[i].err = 0;
		io[i].clean = io[i].refused = false;
		if (s->unchecked) {
			io[i].same = false;
			io[i].packed = NULL;
			/* Whoever has accessed bits has dirty bits: a copy that is still here is good. */
			io[i].clean = !swp_none(io[i].frame->swap);
			continue;
		}
		if (!io[i].looked) {
			io[i].same = page_same(io[i].page, &io[i].word);
			io[i].hash = hash_page(io[i].page);
			io[i].packed = NULL;
		}
		io[i].sum = hash_fold(io[i].hash);
		if (swp_none(io[i].frame->swap))
			continue;
		/* The cached slot cannot go while its frame is locked, so looking without the lock is safe. */
		const struct swap_slot *slot = swap_slot_of(s, io[i].frame->swap);

		io[i].clean = slot->sum == io[i].sum && slot_seal(slot) == swap_seal(io[i].hash);
	}
}

/* A repeated word lives in the slot itself: the first area that has one will do. Without any, entry stays none. */
static void write_same(struct swap *s, struct swap_io *io)
{
	unsigned area = 0;

	while (area < s->nr_areas && slot_alloc(s, area, &io->entry) != 0)
		area++;
	if (area == s->nr_areas)
		return;
	struct swap_slot *slot = swap_slot_of(s, io->entry);

	slot->handle = io->word;
	slot->flags |= SLOT_SAME;
	slot->sum = io->sum;
	s->area[area].nr_same++;
}

/* The slot of the cache becomes the page's only copy again. */
static void write_clean(struct swap *s, struct swap_io *io)
{
	struct swap_slot *slot = swap_slot_of(s, io->frame->swap);

	slot->flags &= (uint8_t)~SLOT_CACHED;
	slot->uses = 1;
	io->entry = io->frame->swap;
	io->frame->swap = (swp_t){ 0 };
}

/* [unlocked] Writes, and writes again what has failed. True: some page could not be written at all. */
static bool write_patiently(struct swap *s, struct store *store, struct store_io *io, unsigned n)
{
	struct store_io again[STORE_BATCH];
	unsigned index[STORE_BATCH], left = 0;

	store->ops->write(store, io, n);
	for (unsigned i = 0; i < n; i++)
		if (swap_err_passes(io[i].err))
			index[left++] = i;
	for (unsigned try = 1; left > 0 && try < SWAP_TRIES; try++) {
		unsigned failed = 0;

		if (s->wait != NULL)
			s->wait(try);
		for (unsigned j = 0; j < left; j++)
			again[j] = io[index[j]];
		store->ops->write(store, again, left);
		for (unsigned j = 0; j < left; j++) {
			io[index[j]] = again[j];
			if (swap_err_passes(again[j].err))
				index[failed++] = index[j];
		}
		left = failed;
	}
	return left > 0;
}

/* Tries one area on the given ios; those it does not take stay without entry. */
static void write_area(struct swap *s, unsigned area, struct swap_io **io, unsigned n, void (*lock)(void *),
		       void (*unlock)(void *), void *ctx)
{
	struct swap_area *a = &s->area[area];
	struct store *store = a->store;
	struct store_io batch[STORE_BATCH];
	unsigned have = 0, room;
	int err = 0;

	for (; have < n; have++) {
		err = slot_alloc(s, area, &io[have]->entry);
		if (err != 0)
			break;
		batch[have] = (struct store_io){ .page = io[have]->page, .owner = io[have]->entry.v,
						 .packed = io[have]->packed, .packed_bytes = io[have]->packed_bytes };
	}
	room = have == 0 ? 0 : store->ops->reserve(store, batch, have);
	/* A passing -ENOMEM is not a full area: the next page may find a frame. */
	a->full = room < have || err == -ENOSPC;
	a->nr_writing = have;
	if (room > 0) {
		unlock(ctx);
		bool failed = write_patiently(s, store, batch, room);
		lock(ctx);
		if (failed)
			a->state = MAX(a->state, SWAP_AREA_FAILING);
	}
	a->nr_writing = 0;
	for (unsigned i = 0; i < have; i++) {
		struct swap_slot *slot = swap_slot_of(s, io[i]->entry);

		if (i < room && batch[i].err == 0)
			store->ops->commit(store, &batch[i]);
		else if (i < room)
			store->ops->abort(store, &batch[i]);
		if (i < room && batch[i].err == 0) {
			slot->handle = batch[i].handle;
			slot->sum = io[i]->sum;
			slot->flags |= io[i]->refused ? SLOT_REFUSED : 0;
			continue;
		}
		io[i]->refused |= i < room && batch[i].err == -E2BIG;
		a->full |= i < room && batch[i].err == -ENOSPC;
		slot_release(a, io[i]->entry, slot);
		io[i]->entry = (swp_t){ 0 };
	}
}

/* Areas from i on that have its priority. */
static unsigned equals(const struct swap *s, unsigned i)
{
	unsigned n = 1;

	while (i + n < s->nr_areas && s->area[i + n].prio == s->area[i].prio)
		n++;
	return n;
}

/*
 * Those of a priority below prio, the highest first, equal ones in turn. Areas with more frames than they may have come
 * last, or what is new would keep them so.
 */
static unsigned order_areas(struct swap *s, int prio, unsigned *order)
{
	unsigned by_prio[SWAP_AREAS], nr = 0, n = 0, first = 0;

	while (first < s->nr_areas && s->area[first].prio >= prio)
		first++;
	for (unsigned i = first, len; i < s->nr_areas; i += len) {
		len = equals(s, i);
		for (unsigned k = 0; k < len; k++)
			by_prio[nr++] = i + (s->turn + k) % len;
	}
	s->turn++;
	for (unsigned crowded = 0; crowded < 2; crowded++)
		for (unsigned k = 0; k < nr; k++) {
			struct swap_area *a = &s->area[by_prio[k]];

			if (a->state != SWAP_AREA_TAKES || (a->store->stat.frames > a->store->max_frames) != crowded)
				continue;
			a->full |= crowded;
			order[n++] = by_prio[k];
		}
	return n;
}

void swap_write_below(struct swap *s, struct swap_io *io, unsigned n, int prio, void (*lock)(void *),
		      void (*unlock)(void *), void *ctx)
{
	struct swap_io *todo[STORE_BATCH];
	unsigned order[SWAP_AREAS], nr = order_areas(s, prio, order);

	ASSERT(n <= STORE_BATCH);
	for (unsigned k = 0; k < nr; k++) {
		unsigned left = 0;

		for (unsigned i = 0; i < n; i++)
			if (swp_none(io[i].entry))
				todo[left++] = &io[i];
		if (left == 0)
			return;
		write_area(s, order[k], todo, left, lock, unlock, ctx);
	}
	for (unsigned i = 0; i < n; i++)
		if (swp_none(io[i].entry))
			io[i].err = -ENOSPC;
}

void swap_write(struct swap *s, struct swap_io *io, unsigned n, void (*lock)(void *), void (*unlock)(void *),
		void *ctx)
{
	for (unsigned i = 0; i < n; i++) {
		if (io[i].clean) {
			write_clean(s, &io[i]);
			continue;
		}
		/* It has changed: the cached copy is of no use to anybody. */
		if (!swp_none(io[i].frame->swap)) {
			swap_uncache(s, io[i].frame->swap);
			io[i].frame->swap = (swp_t){ 0 };
		}
		if (io[i].same)
			write_same(s, &io[i]);
	}
	swap_write_below(s, io, n, SWAP_PRIO_ALL, lock, unlock, ctx);
}

void swap_each_handle(struct swap *s, unsigned area, void (*see)(void *ctx, uint64_t handle), void *ctx)
{
	struct swap_area *a = &s->area[area];

	for (uint64_t n = 1; n < a->nr_slots; n++) {
		struct swap_slot *slot = swap_area_slot(a, n);

		if ((slot->flags & (SLOT_USED | SLOT_SAME)) == SLOT_USED)
			see(ctx, slot->handle);
	}
}

void swap_next_slots(struct swap *s, unsigned area, uint64_t n, void (*see)(void *ctx, struct swap_slot *slot), void *ctx)
{
	struct swap_area *a = &s->area[area];

	for (n = MIN(n, a->nr_slots); n > 0; n--) {
		a->hand = a->hand + 1 < a->nr_slots ? a->hand + 1 : 1;
		struct swap_slot *slot = swap_area_slot(a, a->hand);

		if ((slot->flags & (SLOT_USED | SLOT_CACHED)) == SLOT_USED)
			see(ctx, slot);
	}
}

static bool takes(const struct swap_area *a)
{
	return !a->full && a->state == SWAP_AREA_TAKES && (a->slots_max == 0 || a->nr_used < a->slots_max);
}

bool swap_has_room(const struct swap *s, int prio)
{
	for (unsigned i = 0; i < s->nr_areas; i++)
		if (s->area[i].prio < prio && takes(&s->area[i]))
			return true;
	return false;
}

bool swap_takes_refused(const struct swap *s)
{
	for (unsigned i = 0; i < s->nr_areas; i++)
		if (!s->area[i].store->ops->read_locked && takes(&s->area[i]))
			return true;
	return false;
}

void swap_try_again(struct swap *s)
{
	for (unsigned i = 0; i < s->nr_areas; i++)
		s->area[i].state = SWAP_AREA_TAKES;
}

struct swap_area *swap_pool(struct swap *s)
{
	for (unsigned i = 0; i < s->nr_areas; i++)
		if (s->area[i].store->ops->read_locked)
			return &s->area[i];
	return NULL;
}

uint64_t swap_used(const struct swap *s)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < s->nr_areas; i++)
		n += s->area[i].nr_used;
	return n;
}

void swap_check(struct swap *s)
{
	for (unsigned i = 0; i < s->nr_areas; i++) {
		struct swap_area *a = &s->area[i];
		uint64_t used = 0, same = 0, free = 0;

		for (uint64_t n = 1; n < a->nr_slots; n++) {
			struct swap_slot *slot = swap_area_slot(a, n);

			ASSERT(!!(slot->flags & SLOT_USED) == (slot->uses > 0 || (slot->flags & SLOT_CACHED)));
			used += !!(slot->flags & SLOT_USED);
			same += !!(slot->flags & SLOT_SAME);
		}
		for (uint64_t n = a->free_head; n != 0; n = swap_area_slot(a, n)->handle) {
			ASSERT(!(swap_area_slot(a, n)->flags & SLOT_USED));
			free++;
		}
		ASSERT(used == a->nr_used && same == a->nr_same);
		ASSERT(used == a->store->stat.pages + same + a->nr_writing);
		ASSERT(a->nr_slots == 0 || used + free == a->nr_slots - 1);
	}
}
