/*
 * Read-ahead of a file region: who reads on where it has just read gets twice as much each time, and what comes after it
 * is read while he works on that.
 *
 *        brought and in use        in flight, into a slot
 *     ├──────────────────────┤├─────────────────────────────┤
 *                              ▲ the next fault of the stream falls here: the slot is placed, another one is started
 *
 * Law: a block of a slot is absent. So what was read cannot be older than what somebody has written since.
 */
#include "embed/file.h"

#define AHEAD_MIN_BYTES (32 * KIB) /* a stream that brings less at a time is not worth a transfer that may be for nothing */

static struct stream *stream_at(struct file_region *f, uint32_t block)
{
	for (unsigned i = 0; i < STREAMS; i++)
		if (f->stream[i].window > 0 && f->stream[i].next == block)
			return &f->stream[i];
	return NULL;
}

static struct stream *oldest(struct file_region *f)
{
	struct stream *s = &f->stream[0];

	for (unsigned i = 1; i < STREAMS; i++)
		if (f->stream[i].used < s->used)
			s = &f->stream[i];
	return s;
}

static struct ahead_slot *slot_with(struct file_region *f, uint32_t block)
{
	for (unsigned i = 0; i < AHEAD_SLOTS; i++)
		if (block - f->ahead[i].first < f->ahead[i].n)
			return &f->ahead[i];
	return NULL;
}

static uint8_t *slot_data(struct file_region *f, const struct ahead_slot *slot)
{
	return f->buffer + f->buffer_bytes + (size_t)(slot - f->ahead) * f->slot_bytes;
}

static void slot_empty(struct file_region *f, struct ahead_slot *slot)
{
	if (slot->n > 0)
		aio_wait(&f->ahead_aio, &slot->op);
	slot->n = 0;
}

/* Blocks in a row from there on that are absent, not on their way, and of the region. */
static uint32_t absent_run(struct file_region *f, uint32_t from, uint32_t most)
{
	uint32_t n = 0;

	while (n < most && from + n < f->blocks.nr && !blocks_has(&f->blocks, from + n, BLOCK_PRESENT) && slot_with(f, from + n) == NULL &&
	       flight_of(f, from + n) == NULL)
		n++;
	return n;
}

uint32_t ahead_window(struct file_region *f, uint32_t block, bool *known)
{
	struct stream *s = stream_at(f, block);

	*known = s != NULL;
	if (!*known)
		s = oldest(f);
	s->window = *known ? MIN(s->window * 2, f->window_max) : 1;
	s->used = f->faults;
	uint32_t n = MAX(absent_run(f, block, s->window), 1u);

	s->next = block + n;
	return n;
}

static struct ahead_slot *free_slot(struct file_region *f)
{
	for (unsigned i = 0; i < AHEAD_SLOTS; i++)
		if (f->ahead[i].n == 0)
			return &f->ahead[i];
	return NULL;
}

/* One of another stream's. */
static struct ahead_slot *take_slot(struct file_region *f)
{
	struct ahead_slot *slot = &f->ahead[f->ahead_turn];

	f->ahead_turn = (f->ahead_turn + 1) % AHEAD_SLOTS;
	slot_empty(f, slot);
	return slot;
}

void ahead_read_on(struct file_region *f, uint32_t end, uint32_t window)
{
	struct ahead_slot *slot;
	bool has_one = false;

	for (; (slot = slot_with(f, end)) != NULL; end = slot->first + slot->n)
		has_one = true;
	for (;;) {
		uint32_t n = absent_run(f, end, window);

		if (n == 0 || (size_t)n << f->page_shift < AHEAD_MIN_BYTES)
			return;
		slot = free_slot(f);
		if (slot == NULL && has_one)
			return;
		if (slot == NULL)
			slot = take_slot(f);
		slot->first = end;
		slot->n = n;
		file_read_start(f, &f->ahead_aio, &slot->op, end, n, slot_data(f, slot));
		end += n;
		has_one = true;
	}
}

bool ahead_take(struct file_region *f, uint32_t block, bool go_on)
{
	struct ahead_slot *slot = slot_with(f, block);

	if (slot == NULL)
		return false;
	uint32_t first = slot->first, n = slot->n, end = first + n;
	struct stream *s = stream_at(f, first);

	slot_empty(f, slot);
	if (slot->op.err != 0 || file_make_room(f, n) != 0)
		return false;
	f->bytes_in += slot->op.bytes;
	file_place(f, first, n, slot_data(f, slot), NULL);
	if (s != NULL) {
		s->next = end;
		s->window = MIN(s->window * 2, f->window_max);
		s->used = f->faults;
		if (go_on)
			ahead_read_on(f, end, s->window);
	}
	return true;
}

void ahead_forget(struct file_region *f, uint32_t first, uint32_t end)
{
	for (unsigned i = 0; i < AHEAD_SLOTS; i++)
		if (f->ahead[i].first < end && first < f->ahead[i].first + f->ahead[i].n)
			slot_empty(f, &f->ahead[i]);
}
