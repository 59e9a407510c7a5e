#include "embed/blocks.h"

#include "base/assert.h"

#define IN_PART 4     /* IN has this part of the room … */
#define MEMORY_PART 2 /* … and so many departures are remembered */

static struct block_queue *queue_of(struct blocks *b, uint32_t block)
{
	return blocks_has(b, block, BLOCK_MAIN) ? &b->main : &b->in;
}

static void push(struct blocks *b, struct block_queue *q, uint32_t block)
{
	struct block *at = &b->at[block];

	at->prev = BLOCK_NONE;
	at->next = q->head;
	if (q->head != BLOCK_NONE)
		b->at[q->head].prev = block;
	else
		q->tail = block;
	q->head = block;
	q->nr++;
}

static void take(struct blocks *b, struct block_queue *q, uint32_t block)
{
	const struct block *at = &b->at[block];

	if (at->prev != BLOCK_NONE)
		b->at[at->prev].next = at->next;
	else
		q->head = at->next;
	if (at->next != BLOCK_NONE)
		b->at[at->next].prev = at->prev;
	else
		q->tail = at->prev;
	q->nr--;
}

void blocks_init(struct blocks *b, struct block *at, uint32_t nr, uint32_t most)
{
	*b = (struct blocks){ .at = at, .nr = nr, .most = most };
	b->in = b->main = (struct block_queue){ BLOCK_NONE, BLOCK_NONE, 0 };
}

static void enqueue(struct blocks *b, uint32_t block, bool main)
{
	struct block *at = &b->at[block];

	at->flags = (uint8_t)((at->flags & ~BLOCK_MAIN) | (main ? BLOCK_MAIN : 0));
	push(b, main ? &b->main : &b->in, block);
}

void blocks_arrive(struct blocks *b, uint32_t block)
{
	struct block *at = &b->at[block];
	bool again = at->left != 0 && b->departures - at->left < b->most / MEMORY_PART;

	at->flags = BLOCK_PRESENT;
	b->present++;
	enqueue(b, block, again);
}

uint32_t blocks_victim(struct blocks *b)
{
	while (b->in.nr <= b->most / IN_PART && b->main.nr > 0) {
		uint32_t block = b->main.tail;
		struct block *at = &b->at[block];

		take(b, &b->main, block);
		if (!(at->flags & BLOCK_ASKED))
			return block;
		at->flags &= (uint8_t)~BLOCK_ASKED;
		push(b, &b->main, block);
	}
	if (b->in.nr == 0)
		return BLOCK_NONE;
	uint32_t block = b->in.tail;

	take(b, &b->in, block);
	return block;
}

void blocks_leave(struct blocks *b, uint32_t block)
{
	struct block *at = &b->at[block];

	blocks_set_dirty(b, block, false);
	at->flags = 0;
	at->left = ++b->departures;
	b->present--;
}

void blocks_stay(struct blocks *b, uint32_t block)
{
	enqueue(b, block, true);
}

void blocks_forget(struct blocks *b, uint32_t block)
{
	struct block *at = &b->at[block];

	if (!(at->flags & BLOCK_PRESENT))
		return;
	blocks_unpin(b, block);
	take(b, queue_of(b, block), block);
	blocks_set_dirty(b, block, false);
	at->flags = 0;
	at->left = 0;
	b->present--;
}

void blocks_cool(struct blocks *b, uint32_t block)
{
	struct block *at = &b->at[block];

	take(b, queue_of(b, block), block);
	/* The old end of the queue that is asked next. */
	bool main = b->in.nr <= b->most / IN_PART && b->main.nr > 0;
	struct block_queue *q = main ? &b->main : &b->in;

	at->flags = (uint8_t)((at->flags & ~(BLOCK_MAIN | BLOCK_ASKED)) | (main ? BLOCK_MAIN : 0));
	at->next = BLOCK_NONE;
	at->prev = q->tail;
	if (q->tail != BLOCK_NONE)
		b->at[q->tail].next = block;
	else
		q->head = block;
	q->tail = block;
	q->nr++;
}

void blocks_pin(struct blocks *b, uint32_t block)
{
	if (blocks_has(b, block, BLOCK_PINNED))
		return;
	take(b, queue_of(b, block), block);
	b->at[block].flags |= BLOCK_PINNED;
	b->pinned++;
}

void blocks_unpin(struct blocks *b, uint32_t block)
{
	if (!blocks_has(b, block, BLOCK_PINNED))
		return;
	b->at[block].flags &= (uint8_t)~BLOCK_PINNED;
	b->pinned--;
	enqueue(b, block, true);
}

void blocks_set_dirty(struct blocks *b, uint32_t block, bool dirty)
{
	struct block *at = &b->at[block];

	if (!(at->flags & BLOCK_DIRTY) == !dirty)
		return;
	at->flags ^= BLOCK_DIRTY;
	if (dirty)
		b->dirty++;
	else
		b->dirty--;
}

static uint32_t queue_check(const struct blocks *b, const struct block_queue *q, bool main)
{
	uint32_t n = 0, before = BLOCK_NONE;

	for (uint32_t i = q->head; i != BLOCK_NONE; before = i, i = b->at[i].next, n++) {
		ASSERT(b->at[i].prev == before);
		ASSERT((b->at[i].flags & (BLOCK_PRESENT | BLOCK_PINNED)) == BLOCK_PRESENT);
		ASSERT(!(b->at[i].flags & BLOCK_MAIN) == !main);
	}
	ASSERT(q->tail == before && q->nr == n);
	return n;
}

void blocks_check(const struct blocks *b)
{
	uint32_t present = 0, pinned = 0, dirty = 0;

	for (uint32_t i = 0; i < b->nr; i++) {
		uint8_t flags = b->at[i].flags;

		ASSERT((flags & BLOCK_PRESENT) || flags == 0);
		present += (flags & BLOCK_PRESENT) != 0;
		pinned += (flags & BLOCK_PINNED) != 0;
		dirty += (flags & BLOCK_DIRTY) != 0;
	}
	ASSERT(queue_check(b, &b->in, false) + queue_check(b, &b->main, true) + pinned == present);
	ASSERT(present == b->present && pinned == b->pinned && dirty == b->dirty && present <= b->most);
}
