/*
 * Stream detection and read-ahead windows.
 *
 * What a stream is. The pages that one loop over memory touches: p, p+s, p+2s …
 * Only faults are seen. Pages that were resident make no fault, so a stream's
 * faults may skip some of its pages, never visit others.
 *
 * Life of a stream, in one of VMA_STREAMS slots of an area:
 *
 *      fault near none ─► seen ─(near, any stride)─► guess ─(agrees, enough times)─► open
 *                           ▲                          │                              │
 *                           └── does not agree: new guess                no fault for a long time,
 *                                                                         or crowded out: closed
 *
 * An open stream has a window: fetched were the pages last … next - stride, and
 * the next fault should fall on `next`, or somewhat beyond it. Then the window
 * doubles, 2 4 8 16 32. A fault inside the window means that pages were not
 * fetched after all, or are gone again: the window stays as it is.
 *
 * Random access must cost nothing. A fault on none of the predictions fetches
 * itself alone. What remains is accident, and these rules keep it rare for
 * every size of area (N pages), for uniform random faults:
 *
 * - A guess needs a fault within 64 pages of a slot: 8 × 128/N. Opening needs a
 *   second one on about 20 agreeing places: 8 × 20/N of the guesses. Their
 *   product passes 1 % below N = 8192, so there one more proof is asked for;
 *   and the places shrink with N.
 * - A wrongly opened stream lives on if a fault falls by accident on its
 *   tolerance: at most 4 pages while the window is 2, 16 when it is 8. It has
 *   N/64 faults of time for that (halving its window each time), so it has less
 *   than one accidental descendant, and starts small.
 * - An area whose streams keep ending before they were of use (random access to
 *   a small part of a large area, runs of a few pages) is doubted: each such
 *   end asks one more proof of the next stream, up to three; each stream that
 *   grows takes one back.
 * - Slots that are not open, at least two, are recycled first. Random faults
 *   thus never push out an open stream.
 *
 * Strides. Faults of one stream with skipped pages lie multiples of its stride
 * apart, so two distances agree if one is a small multiple of the other, and
 * the smaller one is the stride. Distances of a few pages in one direction
 * agree too: a dense scan over a partly resident area. Their greatest common
 * divisor is the stride.
 *
 * Ahead. A stream whose window is full asks for the next one before it is touched, where the store is slow and can read by
 * itself. Its first page is the mark (Linux: PG_readahead): it stays unmapped, and its touch says that the stream has got so
 * far, and asks for one more. A mark that is still on its way when it is touched came too late: one window more is kept
 * ahead from then on, up to RA_DEPTH_MAX. What is ahead of a stream that only seems to be one is all for nothing (a wide stride
 * across the end of a dense scan), so the last AHEAD_PROOFS faults must have been just where it said.
 *
 *         last          next                     next + ahead
 *      ────┴─ touched now ┴──── read, or on its way ───┴────►
 *
 * Law (readahead_check): window is 0 or 2 … RA_MAX; a slot with a window has a
 * stride; |stride| ≤ RA_STRIDE_MAX; at most VMA_STREAMS - 2 are open; doubt is
 * at most DOUBT_MAX; nothing is ahead of a slot without a window, and no more than RA_DEPTH_MAX windows.
 *
 * Cost: one pass over eight slots of 32 bytes. Related: Linux mm/swap_state.c
 * (swap_vma_readahead: one stream an area, forwards or backwards) and
 * mm/readahead.c; Leap (Al Maruf and Chowdhury, ATC 2020: majority of strides).
 */
#include "mm/backing/readahead.h"

#include <string.h>

#include "base/assert.h"

#define OPEN_MAX (VMA_STREAMS - 2)
#define NEAR_MAX 16 /* pages that a dense scan may skip at once */
#define SKIP_MAX 4  /* strides that a strided scan may skip at once */
#define DOUBT_MAX 3
#define WORTH_HITS 3 /* a stream with so many hits was worth opening: its window is 16 */
#define AHEAD_PROOFS 2
#define SMALL_AREA 8192
#define TINY_AREA 1024

/* How well a fault fits a slot; the highest wins. */
enum fit {
	FIT_NONE,
	FIT_NEAR,   /* near a slot that has no agreeing stride */
	FIT_AHEAD,  /* among the pages that an open stream has asked for ahead: it lacks them, or another stream crosses there */
	FIT_AGREE,  /* agrees with a guess */
	FIT_WITHIN, /* inside an open stream's last window */
	FIT_BEYOND, /* somewhat beyond it */
	FIT_NEXT,   /* just where the stream or the guess said */
};

struct match {
	struct vma_stream *stream;
	enum fit fit;
	int64_t distance; /* from its last fault */
};

static int64_t magnitude(int64_t x)
{
	return x < 0 ? -x : x;
}

static uint64_t area_pages(const struct vma *vma)
{
	return vma->end.n - vma->start.n;
}

/* Distances up to which a dense scan is believed, by size of the area. */
static int64_t near_limit(const struct vma *vma)
{
	return (int64_t)MIN(MAX(area_pages(vma) / 256, 1), NEAR_MAX);
}

/* Faults after which an open stream's window halves. */
static uint64_t patience(const struct vma *vma)
{
	return MIN(MAX(area_pages(vma) / 64, VMA_STREAMS), 256);
}

static unsigned proofs_needed(const struct vma *vma)
{
	return vma->doubt + (area_pages(vma) < TINY_AREA ? 3u : area_pages(vma) < SMALL_AREA ? 2u : 1u);
}

static bool is_open(const struct vma_stream *s)
{
	return s->window != 0;
}

static void close_stream(struct vma *vma, struct vma_stream *s)
{
	if (s->hits < WORTH_HITS && vma->doubt < DOUBT_MAX)
		vma->doubt++;
	s->window = 0;
	s->stride = 0;
	s->proofs = 0;
	s->ahead = 0;
}

/* The stamp of this fault: one above all others. */
static uint32_t next_stamp(struct vma *vma)
{
	uint32_t newest = 0;

	for (unsigned i = 0; i < VMA_STREAMS; i++)
		newest = MAX(newest, vma->streams[i].used);
	if (newest == UINT32_MAX) {
		/* After 2^32 faults in one area its streams start afresh. */
		memset(vma->streams, 0, sizeof(vma->streams));
		newest = 0;
	}
	return newest + 1;
}

/* The window that is left of a stream after a time without faults. */
static unsigned window_left(const struct vma *vma, const struct vma_stream *s, uint32_t now)
{
	uint64_t halvings = (now - s->used) / patience(vma);

	return halvings < 8 ? s->window >> halvings : 0;
}

static int64_t gcd(int64_t a, int64_t b)
{
	while (b != 0) {
		int64_t rest = a % b;

		a = b;
		b = rest;
	}
	return a;
}

/* Is one distance 1 to SKIP_MAX times the other? */
static bool multiples(int64_t a, int64_t b)
{
	int64_t lo = MIN(a, b), hi = MAX(a, b);

	return hi % lo == 0 && hi / lo <= SKIP_MAX;
}

/* The stride that two distances in one direction have in common, or 0: they do not agree. */
static int64_t common_stride(const struct vma *vma, int64_t a, int64_t b)
{
	int64_t pa = magnitude(a), pb = magnitude(b);

	if (a == 0 || b == 0 || (a < 0) != (b < 0))
		return 0;
	if (!multiples(pa, pb) && MAX(pa, pb) > near_limit(vma))
		return 0;
	return a < 0 ? -gcd(pa, pb) : gcd(pa, pb);
}

static enum fit fit_open(const struct vma_stream *s, vpn_t fault)
{
	int64_t stride = s->stride;
	int64_t beyond = (int64_t)(fault.n - s->next) * (stride < 0 ? -1 : 1);
	int64_t step = magnitude(stride);
	/* Trust grows with the window: what a wrong start would take for a hit stays small. */
	int64_t pages = MIN(2 * s->window, NEAR_MAX);

	if (beyond == 0)
		return FIT_NEXT;
	if (beyond % step != 0)
		return FIT_NONE;
	if (beyond > MAX(pages, step * SKIP_MAX))
		return beyond <= step * s->ahead ? FIT_AHEAD : FIT_NONE;
	if (beyond > 0)
		return FIT_BEYOND;
	return -beyond <= step * s->window ? FIT_WITHIN : FIT_NONE;
}

static enum fit fit_seen(const struct vma *vma, const struct vma_stream *s, int64_t distance)
{
	if (magnitude(distance) > RA_STRIDE_MAX)
		return FIT_NONE;
	if (s->stride != 0 && distance == s->stride)
		return FIT_NEXT;
	if (common_stride(vma, s->stride, distance) != 0)
		return FIT_AGREE;
	return FIT_NEAR;
}

/* The slot that explains the fault best; the nearest among equals. Closes streams that waited too long. */
static struct match best_match(struct vma *vma, vpn_t fault, uint32_t now)
{
	struct match best = { NULL, FIT_NONE, 0 };

	for (unsigned i = 0; i < VMA_STREAMS; i++) {
		struct vma_stream *s = &vma->streams[i];
		int64_t distance = (int64_t)(fault.n - s->last);

		if (s->used == 0)
			continue;
		if (is_open(s) && window_left(vma, s, now) < 2)
			close_stream(vma, s);

		enum fit fit = is_open(s) ? fit_open(s, fault) : fit_seen(vma, s, distance);

		if (fit > best.fit ||
		    (fit != FIT_NONE && fit == best.fit && magnitude(distance) < magnitude(best.distance)))
			best = (struct match){ s, fit, distance };
	}
	return best;
}

/* The slot for a fault that fits nothing: unused, or the oldest that is not open. OPEN_MAX leaves two. */
static struct vma_stream *recycle(struct vma *vma)
{
	struct vma_stream *oldest = NULL;

	for (unsigned i = 0; i < VMA_STREAMS; i++) {
		struct vma_stream *s = &vma->streams[i];

		if (!is_open(s) && (oldest == NULL || s->used < oldest->used))
			oldest = s;
	}
	ASSERT(oldest != NULL);
	memset(oldest, 0, sizeof(*oldest));
	return oldest;
}

static void open_stream(struct vma *vma, struct vma_stream *opened)
{
	struct vma_stream *oldest = NULL;
	unsigned open = 0;

	for (unsigned i = 0; i < VMA_STREAMS; i++) {
		struct vma_stream *s = &vma->streams[i];

		if (!is_open(s))
			continue;
		open++;
		if (oldest == NULL || s->used < oldest->used)
			oldest = s;
	}
	if (open == OPEN_MAX)
		close_stream(vma, oldest);
	opened->window = 2;
	opened->hits = 0;
	opened->proofs = 0;
	opened->ahead = 0;
	opened->depth = 1;
}

/* A fault near a slot that is not open: the stride becomes a guess, a guess gains proof, proof opens it. */
static void learn(struct vma *vma, const struct match *m)
{
	struct vma_stream *s = m->stream;

	if (m->distance == 0)
		return;

	int64_t common = common_stride(vma, s->stride, m->distance);

	if (common == 0) {
		s->stride = (int16_t)m->distance;
		s->proofs = 0;
		return;
	}
	s->stride = (int16_t)common;
	if (++s->proofs >= proofs_needed(vma))
		open_stream(vma, s);
}

static void hit(struct vma *vma, const struct match *m, uint32_t now)
{
	struct vma_stream *s = m->stream;
	unsigned window = window_left(vma, s, now);

	if (m->fit >= FIT_BEYOND)
		window = MIN(2 * window, RA_MAX);
	s->window = (uint8_t)window;
	s->proofs = m->fit == FIT_NEXT ? (uint8_t)MIN(s->proofs + 1, AHEAD_PROOFS) : 0;
	if (s->hits < UINT16_MAX)
		s->hits++;
	if (s->hits == WORTH_HITS && vma->doubt > 0)
		vma->doubt--;
}

/* Lists n pages of the stream from v on, as far as the area goes. Returns the one after them. */
static vpn_t list(const struct vma *vma, const struct vma_stream *s, vpn_t v, unsigned n, struct ra_plan *plan)
{
	plan->n = 0;
	while (plan->n < n && v.n >= vma->start.n && v.n < vma->end.n) {
		plan->vpn[plan->n++] = v;
		v.n += (uint64_t)(int64_t)s->stride;
	}
	return v;
}

/* Its present window is [touched, next); what was ahead and is beyond it still is. */
static void move_on(struct vma_stream *s, vpn_t touched, vpn_t next)
{
	int64_t ahead = s->ahead > 0 ? s->ahead - (int64_t)(next.n - s->next) / s->stride : 0;

	s->ahead = (uint8_t)MIN(MAX(ahead, 0), (int64_t)s->ahead);
	s->last = touched.n;
	s->next = next.n;
}

/* The window's pages from the fault on, as far as max and the area allow. */
static void fill(const struct vma *vma, struct vma_stream *s, vpn_t fault, unsigned max, struct ra_plan *plan)
{
	move_on(s, fault, list(vma, s, fault, MIN(MAX(s->window, 1u), MAX(max, 1u)), plan));
}

void readahead_plan(struct vma *vma, vpn_t fault, unsigned max, struct ra_plan *plan)
{
	uint32_t now = next_stamp(vma);
	struct match m = best_match(vma, fault, now);

	ASSERT(fault.n >= vma->start.n && fault.n < vma->end.n);
	plan->hit = m.stream != NULL && is_open(m.stream);
	if (plan->hit)
		hit(vma, &m, now);
	else if (m.stream != NULL)
		learn(vma, &m);
	else
		m.stream = recycle(vma);
	m.stream->used = now;
	fill(vma, m.stream, fault, max, plan);
}

/* How many pages after the next one the stream has asked for this one ahead; -1: it has not. */
static int steps_ahead(const struct vma_stream *s, vpn_t v)
{
	int64_t distance = (int64_t)(v.n - s->next);

	if (s->ahead == 0 || distance % s->stride != 0)
		return -1;
	return distance / s->stride >= 0 && distance / s->stride < s->ahead ? (int)(distance / s->stride) : -1;
}

/* Of several the one that it is next for: where two cross, the page of one must not lead the other on. */
static struct vma_stream *stream_ahead_of(struct vma *vma, vpn_t v)
{
	struct vma_stream *best = NULL;

	for (unsigned i = 0; i < VMA_STREAMS; i++) {
		struct vma_stream *s = &vma->streams[i];
		int steps = steps_ahead(s, v);

		if (steps >= 0 && (best == NULL || steps < steps_ahead(best, v)))
			best = s;
	}
	return best;
}

bool readahead_reached(struct vma *vma, vpn_t touched, bool late)
{
	struct vma_stream *s = stream_ahead_of(vma, touched);

	if (s == NULL)
		return false;
	s->used = next_stamp(vma);
	s->depth = (uint8_t)MIN(s->depth + late, RA_DEPTH_MAX);
	if (late && touched.n != s->next)
		s->proofs = 0;
	move_on(s, touched, (vpn_t){ touched.n + (uint64_t)(int64_t)s->stride * s->window });
	return true;
}

static struct vma_stream *stream_at(struct vma *vma, vpn_t touched)
{
	for (unsigned i = 0; i < VMA_STREAMS; i++)
		if (is_open(&vma->streams[i]) && vma->streams[i].last == touched.n)
			return &vma->streams[i];
	return NULL;
}

bool readahead_further(struct vma *vma, vpn_t touched, unsigned depth_max, struct ra_plan *plan)
{
	struct vma_stream *s = stream_at(vma, touched);

	if (s == NULL || s->window < RA_MAX || s->proofs < AHEAD_PROOFS || (uint32_t)s->ahead + RA_MAX > RA_MAX * MIN(s->depth, depth_max))
		return false;
	list(vma, s, (vpn_t){ s->next + (uint64_t)(int64_t)s->stride * s->ahead }, RA_MAX, plan);
	s->ahead += RA_MAX;
	plan->hit = true;
	return plan->n > 0;
}

void readahead_check(const struct vma *vma)
{
	unsigned open = 0;

	for (unsigned i = 0; i < VMA_STREAMS; i++) {
		const struct vma_stream *s = &vma->streams[i];

		ASSERT(s->used != 0 || (s->window == 0 && s->stride == 0 && s->hits == 0));
		ASSERT(s->window == 0 || (s->window >= 2 && s->window <= RA_MAX && s->stride != 0));
		ASSERT(magnitude(s->stride) <= RA_STRIDE_MAX);
		ASSERT(s->ahead == 0 || (is_open(s) && s->ahead <= RA_DEPTH_MAX * RA_MAX));
		open += is_open(s);
	}
	ASSERT(open <= OPEN_MAX);
	ASSERT(vma->doubt <= DOUBT_MAX);
}
