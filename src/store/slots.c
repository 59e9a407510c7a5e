/*
 * slots: which pages of a file, a device or an export hold what (the model is
 * Linux's mm/swapfile.c).
 *
 * Slots are numbered as they come, 1024 in each extent that this process has
 * taken for itself (extents.h); a file that nobody else opens is one that nobody
 * else takes extents of.
 *
 * A batch gets consecutive slots where it can, so that it goes out, and later
 * comes in again by read-ahead, in one call. The search is next-fit: it goes on
 * where the last one ended, which writes a young file from front to back. When a
 * bounded look finds no run that holds the whole batch, there is one more extent;
 * if that cannot be had either, single free slots are taken (swapfile.c gives up
 * its clusters in the same way).
 *
 * Disk full. A failed write marks the store full, and reserve then refuses at
 * once, for AGAIN_NS: callers need not pay for a hopeless write, and others may
 * have left room after that. A free clears the mark as well, but only slots that
 * held a page before, whose blocks the disk has already given, are taken, until
 * that time or SLOTS_RETRY_FREES frees have passed and the file may try to grow again. On
 * copy-on-write file systems even an old slot may fail: then the mark is simply
 * set again.
 *
 * Cost. Search: 64 slots a step, so a file of 64 GiB that is full but for one slot
 * takes 256 Ki steps, 0.1 ms.
 */
#include "store/slots.h"

#include <errno.h>
#include <string.h>

#include "base/assert.h"
#include "base/sys.h"
#include "store/seal.h"

#define NO_SLOT UINT64_MAX
#define RUN_LOOKS 64 /* free runs that are looked at before the batch is torn */
#define AGAIN_NS 250000000 /* 0.25 s: after the disk was full, or others had all extents, the next try */

static struct slots *to_slots(struct store *store)
{
	return container_of(store, struct slots, store);
}

static bool slot_taken(const struct slots *s, uint64_t slot)
{
	return s->bitmap[slot / 64] >> slot % 64 & 1;
}

/* Slots of extents that are ours. */
static uint64_t claimed(const struct slots *s)
{
	return MIN((uint64_t)s->extents.nr * EXTENT_SLOTS, s->max_slots);
}

/* The first one that we may write to: those below were written by who made this process. */
static uint64_t first_own(const struct slots *s)
{
	return MIN((uint64_t)s->extents.inherited * EXTENT_SLOTS, s->max_slots);
}

/* First slot in [from, end) whose bit is `taken`, or end. */
static uint64_t slot_next(const struct slots *s, uint64_t from, uint64_t end, bool taken)
{
	while (from < end) {
		uint64_t word = s->bitmap[from / 64];
		uint64_t found = (taken ? word : ~word) >> from % 64;

		if (found != 0)
			return MIN(end, from + (unsigned)__builtin_ctzll(found));
		from = ALIGN_DOWN(from, 64) + 64;
	}
	return end;
}

/* A run of n free slots at or after the hint (wrapping once), if a short look finds one. */
static uint64_t run_find(const struct slots *s, unsigned n)
{
	uint64_t from = s->hint;
	bool wrapped = false;

	for (unsigned looks = 0; looks < RUN_LOOKS; looks++) {
		uint64_t start = slot_next(s, from, s->end, false);
		uint64_t end = slot_next(s, start, MIN(start + n, s->end), true);

		if (end - start == n)
			return start;
		from = end;
		if (end < s->end)
			continue;
		if (wrapped)
			return NO_SLOT;
		wrapped = true;
		from = first_own(s);
	}
	return NO_SLOT;
}

static uint64_t single_find(const struct slots *s)
{
	uint64_t slot = slot_next(s, s->hint, s->end, false);

	if (slot == s->end)
		slot = slot_next(s, first_own(s), s->end, false);
	return slot == s->end ? NO_SLOT : slot;
}

static uint64_t now_ns(void)
{
	struct timespec t;

	sys_clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* Takes one more extent of the file. False: there is none, or the disk has just been full. */
static bool grow(struct slots *s)
{
	if (s->retry > 0 || s->extents.nr == s->extents.total || now_ns() < s->again_ns)
		return false;
	if (extents_claim(&s->extents) != 0) {
		s->again_ns = now_ns() + AGAIN_NS;
		return false;
	}
	s->hint = s->end;
	s->end = claimed(s);
	return true;
}

static void slot_take(struct slots *s, uint64_t slot)
{
	DEBUG_ASSERT(slot < s->end && !slot_taken(s, slot));
	s->bitmap[slot / 64] |= (uint64_t)1 << slot % 64;
	s->used++;
	if (s->seal != NULL)
		seal_taken(s->seal, slot);
	s->hint = slot + 1 < s->end ? slot + 1 : first_own(s);
}

static void slot_release(struct slots *s, uint64_t slot)
{
	ASSERT(slot < s->max_slots && slot_taken(s, slot));
	if (s->unsure != NULL && s->unsure[slot / 64] >> slot % 64 & 1)
		return;
	s->bitmap[slot / 64] &= ~((uint64_t)1 << slot % 64);
	s->used--;
}

static void io_set_slot(struct store_io *io, uint64_t slot)
{
	io->scratch = (void *)(uintptr_t)(slot + 1);
}

/* Nothing is taken. After the disk was full, for a while. */
static bool is_closed(struct slots *s)
{
	if ((s->full || s->retry > 0) && now_ns() >= s->again_ns) {
		s->full = false;
		s->retry = 0;
		s->end = claimed(s);
	}
	return s->full || s->closed;
}

unsigned slots_reserve(struct store *store, struct store_io *io, unsigned n)
{
	struct slots *s = to_slots(store);
	uint64_t run = NO_SLOT;
	unsigned got = 0;

	ASSERT(n <= STORE_BATCH);
	bool closed = is_closed(s);

	if (!closed && n > 1)
		run = run_find(s, n);
	if (!closed && run == NO_SLOT && n > 1 && grow(s))
		run = run_find(s, n);
	for (; got < n && !closed; got++) {
		uint64_t slot = run != NO_SLOT ? run + got : single_find(s);

		if (slot == NO_SLOT && grow(s))
			slot = single_find(s);
		if (slot == NO_SLOT)
			break;
		slot_take(s, slot);
		io_set_slot(&io[got], slot);
		io[got].err = 0;
		io[got].bytes = 0;
	}
	for (unsigned i = got; i < n; i++) {
		io[i].err = -ENOSPC;
		io[i].scratch = NULL;
	}
	return got;
}

unsigned slots_run(const struct slots *s, const struct store_io *io, unsigned n, bool out)
{
	uint64_t page = slots_page(s, out ? slots_io_slot(io) : io->handle);
	unsigned len = 1;

	while (len < n && slots_page(s, out ? slots_io_slot(&io[len]) : io[len].handle) == page + len)
		len++;
	return len;
}

void slots_write(struct store *store, struct store_io *io, unsigned n)
{
	struct slots *s = to_slots(store);
	bool full = false;

	for (unsigned i = 0, len; i < n; i += len) {
		len = slots_run(s, io + i, n - i, true);
		/* The disk was full a moment ago: what is left of the batch would only fail as well. */
		for (unsigned k = i; k < i + len; k++)
			io[k].err = -ENOSPC;
		if (!full)
			s->run(s, io + i, len, slots_page(s, slots_io_slot(&io[i])), true);
		for (unsigned k = i; k < i + len; k++) {
			io[k].bytes = io[k].err == 0 ? (uint32_t)PAGE_SIZE : 0;
			full |= io[k].err == -ENOSPC;
		}
	}
}

void slots_read(struct store *store, struct store_io *io, unsigned n)
{
	struct slots *s = to_slots(store);

	for (unsigned i = 0, len; i < n; i += len) {
		len = slots_run(s, io + i, n - i, false);
		s->run(s, io + i, len, slots_page(s, io[i].handle), false);
		for (unsigned k = i; k < i + len; k++)
			if (io[k].err != 0)
				__atomic_fetch_add(&store->stat.errors, 1, __ATOMIC_RELAXED);
	}
}

void slots_commit(struct store *store, struct store_io *io)
{
	struct slots *s = to_slots(store);

	ASSERT(io->err == 0 && io->scratch != NULL);
	io->handle = slots_io_slot(io);
	io->scratch = NULL;
	s->written = MAX(s->written, io->handle + 1);
	s->store.stat.pages++;
	s->store.stat.bytes += PAGE_SIZE;
}

void slots_abort(struct store *store, struct store_io *io)
{
	struct slots *s = to_slots(store);

	if (io->scratch == NULL)
		return;
	slot_release(s, slots_io_slot(io));
	io->scratch = NULL;
	if (io->err == 0)
		return;
	__atomic_fetch_add(&s->store.stat.errors, 1, __ATOMIC_RELAXED);
	if (io->err == -ENOSPC) {
		s->full = true;
		s->retry = SLOTS_RETRY_FREES;
		s->again_ns = now_ns() + AGAIN_NS;
	}
}

void slots_free(struct store *store, uint64_t handle)
{
	struct slots *s = to_slots(store);

	s->store.stat.pages--;
	s->store.stat.bytes -= PAGE_SIZE;
	if (s->shared || handle < first_own(s))
		return;
	slot_release(s, handle);
	if (s->full) {
		s->full = false;
		s->end = MAX(s->written, first_own(s));
		s->hint = s->hint < s->end ? s->hint : first_own(s);
	}
	if (s->retry > 0 && --s->retry == 0)
		s->end = claimed(s);
}

int slots_share(struct slots *s)
{
	s->shared = true;
	return extents_share(&s->extents);
}

int slots_inherit(struct slots *s, bool open)
{
	s->closed = !open;
	s->shared = s->full = false;
	s->used = 0;
	int err = extents_inherit(&s->extents);

	s->end = s->hint = claimed(s);
	s->retry = 0;
	return open ? err : 0;
}

bool slots_unshare(struct slots *s)
{
	uint64_t first = first_own(s) / 64;

	if (!s->shared || !extents_unshare(&s->extents))
		return false;
	if (s->written > first * 64)
		memset(s->bitmap + first, 0, (DIV_ROUND_UP(s->written, 64) - first) * sizeof(s->bitmap[0]));
	s->shared = false;
	s->used = 0;
	s->full = false;
	for (uint64_t i = first; s->unsure != NULL && i < DIV_ROUND_UP(claimed(s), 64); i++) {
		s->bitmap[i] = s->unsure[i];
		s->used += (unsigned)__builtin_popcountll(s->unsure[i]);
	}
	return true;
}

void slots_keep(struct slots *s, uint64_t handle)
{
	if (handle < first_own(s))
		return;
	ASSERT(handle < s->max_slots);
	s->used += !slot_taken(s, handle);
	s->bitmap[handle / 64] |= (uint64_t)1 << handle % 64;
}

uint64_t slots_usable(uint64_t max_bytes)
{
	uint64_t slots = max_bytes / PAGE_SIZE;

	return slots > EXTENT_SLOTS ? MIN(ALIGN_DOWN(slots, EXTENT_SLOTS), (uint64_t)UINT32_MAX) : slots;
}

static uint32_t extents_of(uint64_t max_bytes)
{
	return (uint32_t)DIV_ROUND_UP(slots_usable(max_bytes), EXTENT_SLOTS);
}

static size_t bitmap_bytes(uint64_t max_bytes)
{
	return DIV_ROUND_UP(slots_usable(max_bytes), 64) * sizeof(uint64_t);
}

size_t slots_bytes(uint64_t max_bytes)
{
	return bitmap_bytes(max_bytes) + extents_bytes(extents_of(max_bytes));
}

size_t slots_unsure_bytes(uint64_t max_bytes)
{
	return bitmap_bytes(max_bytes);
}

void slots_mark_unsure(struct slots *s, const struct store_io *io)
{
	uint64_t slot = slots_io_slot(io);

	__atomic_fetch_or(&s->unsure[slot / 64], (uint64_t)1 << slot % 64, __ATOMIC_RELAXED);
}

int slots_init(struct slots *s, const struct store_ops *ops, uint64_t first, uint64_t max_bytes, void *memory, size_t bytes)
{
	if (max_bytes < PAGE_SIZE || bytes < slots_bytes(max_bytes))
		return -EINVAL;
	*s = (struct slots){ .store.ops = ops, .first = first >> PAGE_SHIFT, .bitmap = memory, .max_slots = slots_usable(max_bytes) };
	extents_init(&s->extents, extents_of(max_bytes), (uint8_t *)memory + bitmap_bytes(max_bytes));
	s->store.stat.capacity = s->max_slots;
	return 0;
}

void slots_check(const struct slots *s)
{
	uint64_t used = 0;

	extents_check(&s->extents);
	for (uint64_t i = DIV_ROUND_UP(first_own(s), 64); i < DIV_ROUND_UP(s->max_slots, 64); i++)
		used += (unsigned)__builtin_popcountll(s->bitmap[i]);
	ASSERT(used == s->used && (used >= s->store.stat.pages || s->extents.inherited > 0));
	ASSERT(s->max_slots % 64 == 0 || s->bitmap[s->max_slots / 64] >> s->max_slots % 64 == 0);
	ASSERT(s->written <= claimed(s) && s->end <= claimed(s) && s->hint <= s->end);
	ASSERT(s->store.stat.bytes == s->store.stat.pages * PAGE_SIZE);
}
