/*
 * The writer of traces: events in, blocks out.
 *
 *     trace_write ─► law ─► fold ─┬─► control bytes ─┐
 *                                 ├─► low bytes ─────┼─► one zstd frame ─► fd
 *                                 └─► high bytes ────┘
 *
 * An access is one control byte, which has its kind and the lengths of two
 * numbers, and the bytes of these numbers, as in Stream VByte (Lemire, Kurz,
 * Rupp 2018). A reader so knows where numbers begin before it has seen them,
 * and needs no branch for their length. The first number is how far the page is
 * from the last one of the same thread (data and code apart, since they
 * alternate), zigzag; the second how often it is touched beyond once.
 *
 * The streams are apart because they pack apart: control bytes are nearly all
 * alike; the two low bytes of distances are often noise, which zstd then stores
 * as it is and gives back at the speed of memcpy; the rest, all other events
 * included, is few bytes or repeats. Mixed, everything would go through zstd's
 * Huffman coder for nothing: two thirds of the speed. LEB128 in one stream was
 * the first idea: a branch for each byte, on top of that.
 *
 * Invariants:
 *   1. What is in the buffers was lawful. An event that is not changes nothing.
 *   2. Blocks do not depend on each other but for which tasks and files exist:
 *      current thread and guesses start anew with each.
 *   3. The access that is being folded (run) has been through the law, counts in
 *      no block yet, and comes before everything that comes later.
 *
 * A failed write ends the trace: what follows is refused with the same error,
 * and the file lacks its end, which a reader will say.
 *
 * Cost: an access that folds is a comparison; another one 10 ns, of which zstd
 * has most. Memory: 4.5 MiB at most, and zstd's own 1.5 MiB.
 */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>
#include <zstd.h>

#include "sim/trace_format.h"

#define ZSTD_LEVEL 3 /* half the bytes of level 1 on loops, and twice as fast as level 5 */

struct trace_writer {
	int fd;
	int err;                     /* the first one; -errno */
	const char *why;             /* of the last -EINVAL */
	struct trace_event run;      /* the access that is being folded; n is 0: none */
	struct trace_block block;    /* sizes, events and touches so far */
	uint32_t task;               /* whose events these are, in this block */
	uint16_t thread;
	uint64_t (*guess)[2];        /* of that thread; in guesses */
	uint64_t guesses[TRACE_GUESSES][2];
	struct trace_end totals;
	ZSTD_CCtx *zstd;
	uint8_t *packed;             /* room for a block's header and its frame */
	size_t packed_max;
	struct trace_law law;
	uint8_t control[TRACE_CONTROL_MAX], low[TRACE_LOW_MAX + 8], high[TRACE_HIGH_MAX];
	uint8_t raw[TRACE_RAW_MAX];  /* the three in a row, for zstd */
};

static int put(struct trace_writer *w, const void *bytes, size_t len)
{
	const uint8_t *p = bytes;

	for (size_t done = 0; done < len && w->err == 0;) {
		ssize_t n = write(w->fd, p + done, len - done);

		if (n >= 0)
			done += (size_t)n;
		else if (errno != EINTR)
			w->err = -errno;
	}
	w->totals.bytes += len;
	return w->err;
}

static void block_begin(struct trace_writer *w)
{
	w->block = (struct trace_block){ .magic = TRACE_BLOCK_MAGIC };
	w->task = 0;
	w->thread = 0;
	memset(w->guesses, 0, sizeof(w->guesses));
	w->guess = &w->guesses[trace_guess_of(0, 0)];
}

static int block_end(struct trace_writer *w)
{
	struct trace_block *b = &w->block;
	size_t raw = (size_t)b->control + b->low + b->high;

	if (raw == 0)
		return w->err;
	memcpy(w->raw, w->control, b->control);
	memcpy(w->raw + b->control, w->low, b->low);
	memcpy(w->raw + b->control + b->low, w->high, b->high);
	size_t n = ZSTD_compressCCtx(w->zstd, w->packed + sizeof(*b), w->packed_max - sizeof(*b), w->raw, raw,
				     ZSTD_LEVEL);

	if (ZSTD_isError(n)) {
		w->err = -ENOMEM;
		return w->err;
	}
	b->packed = (uint32_t)n;
	b->packed_sum = trace_sum(w->packed + sizeof(*b), n);
	b->sum = trace_sum(b, offsetof(struct trace_block, sum));
	memcpy(w->packed, b, sizeof(*b));
	put(w, w->packed, sizeof(*b) + n);
	block_begin(w);
	return w->err;
}

/* Room for one event more, with the switch before it. */
static int make_room(struct trace_writer *w)
{
	if (likely(w->block.control + 2 <= TRACE_CONTROL_MAX && w->block.high + TRACE_EVENT_HIGH_MAX <= TRACE_HIGH_MAX))
		return 0;
	return block_end(w);
}

static void put_control(struct trace_writer *w, unsigned c)
{
	w->control[w->block.control++] = (uint8_t)c;
}

/* LEB128: seven bits a byte, the lowest first. */
static void put_number(struct trace_writer *w, uint64_t v)
{
	uint8_t *p = w->high + w->block.high;

	for (; v >= 0x80; v >>= 7) {
		*p++ = (uint8_t)(v | 0x80);
		w->block.high++;
	}
	*p = (uint8_t)v;
	w->block.high++;
}

static void put_text(struct trace_writer *w, const char *text, uint32_t len)
{
	put_number(w, len);
	uint8_t *p = w->high + w->block.high;

	if (len > 0)
		memcpy(p, text, len);
	p[len] = '\0';
	w->block.high += len + 1;
}

static void select_thread(struct trace_writer *w, uint32_t task, uint16_t thread)
{
	if (likely(task == w->task && thread == w->thread))
		return;
	put_control(w, TRACE_KIND_OTHER | TRACE_OTHER_SWITCH << 2);
	put_number(w, task);
	put_number(w, thread);
	w->task = task;
	w->thread = thread;
	w->guess = &w->guesses[trace_guess_of(task, thread)];
}

static unsigned bytes_of(uint64_t v)
{
	return v == 0 ? 0 : (71 - (unsigned)__builtin_clzll(v)) / 8;
}

static void count(struct trace_writer *w, uint64_t touches)
{
	w->block.events++;
	w->block.touches += touches;
	w->totals.events++;
	w->totals.touches += touches;
}

static int put_run(struct trace_writer *w)
{
	const struct trace_event *e = &w->run;

	if (e->n == 0 || make_room(w) != 0)
		return w->err;
	select_thread(w, e->task, e->thread);
	unsigned kind = (unsigned)__builtin_ctz(e->flags);
	uint64_t *guess = &(*w->guess)[e->flags == TRACE_X];
	int64_t far = (int64_t)(e->vpn - *guess);
	uint64_t zigzag = (uint64_t)far << 1 ^ (uint64_t)(far >> 63);
	unsigned len = bytes_of(zigzag), more = bytes_of(e->n - 1);
	unsigned low = trace_low_bytes(len), high = len - low;
	uint8_t *p = w->high + w->block.high;

	/* Eight bytes each, of which the next ones cover what is too much: there is room, as there is for any event. */
	trace_store64(w->low + w->block.low, zigzag);
	trace_store64(p, zigzag >> 16);
	trace_store64(p + high, e->n - 1);
	w->block.low += low;
	w->block.high += high + more;
	put_control(w, kind | len << 2 | more << 5);
	*guess = e->vpn;
	count(w, e->n);
	w->run.n = 0;
	return 0;
}

static int put_other(struct trace_writer *w, const struct trace_event *e)
{
	unsigned fields = trace_shapes[e->op].fields;

	if (make_room(w) != 0)
		return w->err;
	if (fields & TRACE_HAS_TASK)
		select_thread(w, e->task, e->thread);
	put_control(w, TRACE_KIND_OTHER | (unsigned)e->op << 2);
	if (fields & TRACE_HAS_FLAGS)
		put_number(w, e->flags);
	if (fields & TRACE_HAS_VPN)
		put_number(w, e->vpn);
	if (fields & TRACE_HAS_N)
		put_number(w, e->n);
	if (fields & TRACE_HAS_ARG)
		put_number(w, e->arg);
	if (fields & TRACE_HAS_FILE)
		put_number(w, e->file);
	if (fields & TRACE_HAS_TEXT)
		put_text(w, e->text, e->text_len);
	count(w, 0);
	return 0;
}

int trace_write(struct trace_writer *w, const struct trace_event *e)
{
	struct trace_event *run = &w->run;

	if (e->op == TRACE_ACCESS && run->n > 0 && e->vpn == run->vpn && e->flags == run->flags &&
	    e->task == run->task && e->thread == run->thread && e->n - 1 < TRACE_PAGES_MAX - 1 - run->n && w->err == 0) {
		run->n += e->n;
		return 0;
	}
	if (w->err != 0)
		return w->err;
	w->why = trace_law_step(&w->law, e);
	if (w->why != NULL)
		return -EINVAL;
	if (put_run(w) != 0)
		return w->err;
	if (e->op != TRACE_ACCESS)
		return put_other(w, e);
	*run = *e;
	return 0;
}

const char *trace_writer_why(const struct trace_writer *w)
{
	return w->why;
}

int trace_writer_open(struct trace_writer **out, int fd, bool sampled)
{
	struct trace_header h = { .magic = TRACE_MAGIC, .version = TRACE_VERSION, .page_shift = TRACE_PAGE_SHIFT,
				  .flags = sampled ? TRACE_HEADER_SAMPLED : 0 };
	struct trace_writer *w = calloc(1, sizeof(*w));

	*out = NULL;
	if (w == NULL)
		return -ENOMEM;
	w->fd = fd;
	w->packed_max = sizeof(struct trace_block) + ZSTD_compressBound(TRACE_RAW_MAX);
	w->packed = malloc(w->packed_max);
	w->zstd = ZSTD_createCCtx();
	if (w->packed == NULL || w->zstd == NULL) {
		trace_writer_abort(w);
		return -ENOMEM;
	}
	block_begin(w);
	h.sum = trace_sum(&h, offsetof(struct trace_header, sum));
	/* An error stays in the writer: the first event is told. */
	put(w, &h, sizeof(h));
	*out = w;
	return 0;
}

int trace_writer_close(struct trace_writer *w)
{
	struct trace_end *end = &w->totals;

	if (w->err == 0 && put_run(w) == 0 && block_end(w) == 0) {
		end->magic = TRACE_END_MAGIC;
		end->bytes += sizeof(*end);
		end->sum = trace_sum(end, offsetof(struct trace_end, sum));
		put(w, end, sizeof(*end));
	}
	int err = w->err;

	trace_writer_abort(w);
	return err;
}

void trace_writer_abort(struct trace_writer *w)
{
	if (w == NULL)
		return;
	ZSTD_freeCCtx(w->zstd);
	free(w->packed);
	free(w);
}
