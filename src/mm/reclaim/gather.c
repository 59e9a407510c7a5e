/*
 * Gathering: contiguous pages get contiguous frames before they are unmapped.
 *
 * The engine moves a page between its home and its address for the price of a
 * system call and a TLB flush, and a run of pages for little more, if both the
 * addresses and the homes are contiguous. After random access the frames of
 * neighbours lie scattered, and a stream that comes later moves each page
 * alone, out and in again.
 *
 * But the frame of a page that is away is pure accounting: its home is empty.
 * Two such pages exchange their frames by changing what the manager says of
 * them, and no byte moves:
 *
 *	page       a     b     c     d             a     b     c     d
 *	frame     907    12   433    13     ──►    12    13    14    15
 *	                                (the pages of 14 and 15 have 907 and 433 now)
 *
 * A batch that is about to be unmapped is looked at in blocks of 16 pages. If
 * enough calls are saved by it, the pages get the frames of a physical block
 * of 16, in order. From there on they stay together: they go home in one call,
 * pass the sample and leave, their frames merge to a free block, and read-ahead
 * takes that for its next window and maps it in one call.
 *
 * Pages that are no neighbours save no call of their own. But when a stream
 * begins after random access they are all that leaves, and its windows find no
 * block; so for each one that was not found (m->blocks_wanted) 16 of them are
 * put into one.
 *
 * Which block? A hand goes round the zone and looks at LOOK frames for a batch.
 * Frames that cannot be had are passed over: pages at home leave soon. A block
 * whose pages are in order already is left alone, because to break it up for
 * others is no gain; unless some of it is free, for then it is whole the sooner
 * the sooner its other pages leave. A block in which the manager itself has a
 * frame never becomes whole; buddy.c on migrate types says why there are few.
 *
 * What may be exchanged: nobody reads, maps or moves a page that is away and
 * not FRAME_LOCKED, or remembers its frame without the machine's lock. Of the
 * locked pages that are away, all are of the batch (reclaim.c). The page that
 * gives its frame keeps its place on the LRU.
 *
 * Cost: an exchange is two page table entries and a list, a batch has 32 at
 * most, under the lock. A batch of random pages pays one pass over it. An engine
 * that moves every page alone leaves m->gather false.
 *
 * Not here: exchanging with pages at home, which would have to be copied
 * (Linux: mm/compaction.c), or with free frames, whose homes are full of memory
 * that the host would have to take back first. Tried and not clearly better:
 * blocks of 8; only blocks that are away as a whole, of which there are too few.
 */
#include "mm/reclaim/gather.h"

#include "base/assert.h"
#include "mm/user_page.h"

#define BLOCK (1u << BLOCK_ORDER) /* frames */
#define GAIN_MIN 4   /* calls that putting a block of pages in order must save */
#define PLACES_MIN 4 /* frames that a block must have to give */
#define LOOK 512     /* frames that the search of one batch may look at */

/* Is the page in b the neighbour of the one in a? */
static bool follows(const struct frame *a, const struct frame *b)
{
	return b->user.mm == a->user.mm && b->user.vpn.n == a->user.vpn.n + 1;
}

/* How many calls less the pages would take if their frames were in order. */
static unsigned gain(struct frame *const *frames)
{
	unsigned n = 0;

	for (unsigned i = 1; i < BLOCK; i++)
		n += follows(frames[i - 1], frames[i]) && frames[i] != frames[i - 1] + 1;
	return n;
}

static bool among(struct frame *const *frames, unsigned n, const struct frame *f)
{
	for (unsigned i = 0; i < n; i++)
		if (frames[i] == f)
			return true;
	return false;
}

/* Does the frame's page have to give it up to the n pages of frames[]? */
static bool exchangeable(const struct frame *f, struct frame *const *frames, unsigned n)
{
	return (f->flags & FRAME_AWAY) && (!(f->flags & FRAME_LOCKED) || among(frames, n, f));
}

/* Is it worth while to put the n pages into the block? See above. */
static bool usable(const struct frame *f, struct frame *const *frames, unsigned n)
{
	unsigned in_order = 0, places = 0, nr_free = 0;

	for (unsigned i = 0; i < BLOCK; i++) {
		if (f[i].refs != 0 && !(f[i].flags & (FRAME_LRU | FRAME_LOCKED)))
			return false;
		nr_free += f[i].refs == 0;
		if (!exchangeable(&f[i], frames, n))
			continue;
		places++;
		in_order += i > 0 && !(f[i].flags & FRAME_LOCKED) && (f[i - 1].flags & FRAME_AWAY) && follows(&f[i - 1], &f[i]);
	}
	return places >= MIN(n, PLACES_MIN) && (nr_free > 0 || in_order < GAIN_MIN);
}

/* The hand goes on to a block for the n pages; NULL: none within reach. */
static struct frame *find_block(struct machine *m, struct frame *const *frames, unsigned n, unsigned *look)
{
	const struct zone *z = &m->phys.zones[frames[0]->zone];
	uint32_t start = ALIGN_UP(z->start.n, BLOCK), end = z->start.n + z->reached;

	while (*look >= BLOCK) {
		uint32_t at = m->gather_hand;

		if (at < start || at + BLOCK > end)
			at = start;
		if (at + BLOCK > end)
			break;
		m->gather_hand = at + BLOCK;
		*look -= BLOCK;
		if (usable(&m->phys.frames[at], frames, n))
			return &m->phys.frames[at];
	}
	return NULL;
}

/* The first of the n pages get the frames of the block that can be had, in order. Returns how many pages. */
static unsigned settle(struct machine *m, struct frame **frames, unsigned n, struct frame *block)
{
	unsigned done = 0;

	for (struct frame *f = block; f < block + BLOCK && done < n; f++) {
		if (!exchangeable(f, frames + done, n - done))
			continue;
		if (frames[done] != f) {
			/* The page that has f may be one of these that comes later. */
			for (unsigned j = done + 1; j < n; j++)
				if (frames[j] == f)
					frames[j] = frames[done];
			user_page_exchange(m, frames[done], f);
			frames[done] = f;
		}
		done++;
	}
	return done;
}

void gather(struct machine *m, struct frame **frames, unsigned n)
{
	unsigned look = LOOK;

	if (!m->gather)
		return;
	for (unsigned i = 0; i + BLOCK <= n; i += BLOCK) {
		if (gain(frames + i) < GAIN_MIN) {
			if (m->blocks_wanted == 0)
				continue;
			m->blocks_wanted--;
		}
		for (unsigned done = 0; done < BLOCK;) {
			struct frame *f = find_block(m, frames + i + done, BLOCK - done, &look);

			if (f == NULL)
				return;
			done += settle(m, frames + i + done, BLOCK - done, f);
		}
	}
}
