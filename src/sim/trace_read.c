/*
 * The reader of traces: blocks in, events out. The format, and why it is so, is
 * in docs/trace-format.md and trace_write.c.
 *
 *     fd ─► header, sum ─► zstd ─► three streams ─► runs of accesses ─► law ─► caller
 *
 * Nothing of a block is believed before its checksum has been; nothing that a
 * block says is believed because of the checksum: anybody can make one. So each
 * event is checked as well. Accesses are checked a run at a time: the loop that
 * decodes them has no branch but its own end, gathers in one word whatever was
 * too large, and may read numbers beyond their stream, at most RUN × 12 bytes, for
 * which the buffer has room. If anything was wrong the whole run is thrown away.
 *
 * Invariants:
 *   1. An event that is returned has the law of trace.h, in its whole past.
 *   2. A call returns events of one block only: text points into its bytes.
 *   3. After an error every call returns it again.
 *
 * Cost: measured, 4 to 6 ns an access, of which zstd has a third. Memory: 3 MiB
 * at any length of the trace.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

#include "sim/trace_format.h"

#define RUN 256 /* accesses that are decoded before they are checked */
#define SLACK (RUN * TRACE_ACCESS_HIGH_MAX + 16)

struct trace_reader {
	int fd;
	bool sampled;
	bool known;                  /* totals are those of the whole file */
	bool ended;
	struct trace_error error;    /* err is 0: none */
	uint64_t offset;             /* in the file, of what is read next */
	uint64_t block_offset;       /* of the block that events come from */
	struct trace_totals totals;  /* if known */
	struct trace_totals seen;    /* of events decoded so far; touches of whole blocks */
	/* The block. */
	struct trace_block block;
	const uint8_t *control, *control_end;
	const uint8_t *low, *low_end;
	const uint8_t *high, *high_end;
	uint32_t events;             /* decoded of it */
	uint64_t touches;
	uint32_t task;
	uint16_t thread;
	bool alive;                  /* task is */
	uint64_t (*guess)[2];
	uint64_t guesses[TRACE_GUESSES][2];
	ZSTD_DCtx *zstd;
	uint8_t *packed;
	size_t packed_max;
	struct trace_law law;
	uint8_t raw[TRACE_RAW_MAX + SLACK];
};

static long fail(struct trace_reader *r, int err, uint64_t offset, const char *what)
{
	r->error = (struct trace_error){ .err = err, .offset = offset, .what = what };
	return err;
}

static long bad_block(struct trace_reader *r, const char *what)
{
	return fail(r, -EBADMSG, r->block_offset, what);
}

/* Reads len bytes, fewer only at the end of the file; how many, or -errno. */
static long get(struct trace_reader *r, void *buf, size_t len)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = read(r->fd, (uint8_t *)buf + done, len - done);

		if (n == 0)
			break;
		if (n < 0 && errno != EINTR)
			return fail(r, -errno, r->offset, "it cannot be read");
		if (n > 0) {
			done += (size_t)n;
			r->offset += (size_t)n;
		}
	}
	return (long)done;
}

/* All of it, or an error: 0 or -errno. */
static long get_all(struct trace_reader *r, void *buf, size_t len)
{
	long n = get(r, buf, len);

	if (n < 0)
		return n;
	return (size_t)n == len ? 0 : fail(r, -ENODATA, r->offset, "the trace ends before its end");
}

static bool end_is_whole(const struct trace_end *end)
{
	return end->magic == TRACE_END_MAGIC && end->zero == 0 &&
	       end->sum == trace_sum(end, offsetof(struct trace_end, sum));
}

/* Totals of a file that can be sought, from its last bytes. What is not as it should be there is found by reading. */
static void look_ahead(struct trace_reader *r)
{
	off_t here = lseek(r->fd, 0, SEEK_CUR);
	struct trace_end end;
	struct stat st;

	if (here < 0 || fstat(r->fd, &st) != 0 || !S_ISREG(st.st_mode) || st.st_size < (off_t)sizeof(end))
		return;
	off_t at = st.st_size - (off_t)sizeof(end);

	if (pread(r->fd, &end, sizeof(end), at) != (ssize_t)sizeof(end) || !end_is_whole(&end) ||
	    end.bytes != (uint64_t)(st.st_size - here) + r->offset)
		return;
	r->known = true;
	r->totals = (struct trace_totals){ .events = end.events, .touches = end.touches, .bytes = end.bytes,
					   .sampled = r->sampled };
}

static long read_header(struct trace_reader *r)
{
	struct trace_header h;
	long n = get(r, &h, sizeof(h));

	if (n < 0)
		return n;
	if ((size_t)n < sizeof(h.magic) || h.magic != TRACE_MAGIC)
		return fail(r, -EBADMSG, 0, "it is not a trace of Steward");
	if ((size_t)n < sizeof(h))
		return fail(r, -ENODATA, r->offset, "the trace ends before its end");
	if (h.sum != trace_sum(&h, offsetof(struct trace_header, sum)))
		return fail(r, -EBADMSG, 0, "the header is damaged");
	if (h.version != TRACE_VERSION || h.page_shift != TRACE_PAGE_SHIFT || (h.flags & ~TRACE_HEADER_SAMPLED) != 0 ||
	    h.zero != 0)
		return fail(r, -EBADMSG, 0, "it was written by another version of Steward");
	r->sampled = h.flags & TRACE_HEADER_SAMPLED;
	return 0;
}

struct trace_reader *trace_reader_open(int fd, struct trace_error *error)
{
	struct trace_reader *r = calloc(1, sizeof(*r));

	if (r != NULL) {
		r->fd = fd;
		r->packed_max = ZSTD_compressBound(TRACE_RAW_MAX);
		r->packed = malloc(r->packed_max);
		r->zstd = ZSTD_createDCtx();
	}
	if (r == NULL || r->packed == NULL || r->zstd == NULL) {
		*error = (struct trace_error){ .err = -ENOMEM, .what = "there is no memory for the reader" };
		trace_reader_close(r);
		return NULL;
	}
	if (read_header(r) != 0) {
		*error = r->error;
		trace_reader_close(r);
		return NULL;
	}
	look_ahead(r);
	return r;
}

/* The block whose magic has been read is the last. 0 or -errno. */
static long read_end(struct trace_reader *r, uint32_t magic)
{
	struct trace_end end = { .magic = magic };
	uint8_t more;
	long n = get_all(r, &end.zero, sizeof(end) - sizeof(end.magic));

	if (n != 0)
		return n;
	if (!end_is_whole(&end))
		return bad_block(r, "its end is damaged");
	if (end.events != r->seen.events || end.touches != r->seen.touches || end.bytes != r->offset)
		return bad_block(r, "its end does not fit what is before it");
	n = get(r, &more, sizeof(more));
	if (n != 0)
		return n < 0 ? n : fail(r, -EBADMSG, end.bytes, "there is something behind its end");
	r->ended = true;
	r->known = true;
	r->totals = r->seen;
	r->totals.bytes = end.bytes;
	r->totals.sampled = r->sampled;
	return 0;
}

static void block_begin(struct trace_reader *r)
{
	r->control = r->raw;
	r->control_end = r->low = r->control + r->block.control;
	r->low_end = r->high = r->low + r->block.low;
	r->high_end = r->high + r->block.high;
	r->events = 0;
	r->touches = 0;
	r->task = 0;
	r->thread = 0;
	r->alive = trace_law_alive(&r->law, 0);
	memset(r->guesses, 0, sizeof(r->guesses));
	r->guess = &r->guesses[trace_guess_of(0, 0)];
}

/* Reads and unpacks the next block, or the end. 0 or -errno. */
static long read_block(struct trace_reader *r)
{
	struct trace_block *b = &r->block;
	long err;

	r->block_offset = r->offset;
	err = get_all(r, &b->magic, sizeof(b->magic));
	if (err != 0)
		return err;
	if (b->magic == TRACE_END_MAGIC)
		return read_end(r, b->magic);
	if (b->magic != TRACE_BLOCK_MAGIC)
		return bad_block(r, "no block begins where one should");
	err = get_all(r, &b->packed, sizeof(*b) - sizeof(b->magic));
	if (err != 0)
		return err;
	if (b->sum != trace_sum(b, offsetof(struct trace_block, sum)) || b->packed > r->packed_max || b->control == 0 ||
	    b->control > TRACE_CONTROL_MAX || b->low > TRACE_LOW_MAX || b->high > TRACE_HIGH_MAX)
		return bad_block(r, "the header of a block is damaged");
	err = get_all(r, r->packed, b->packed);
	if (err != 0)
		return err;
	if (b->packed_sum != trace_sum(r->packed, b->packed))
		return bad_block(r, "the checksum of a block does not fit");
	size_t raw = (size_t)b->control + b->low + b->high;

	if (ZSTD_decompressDCtx(r->zstd, r->raw, TRACE_RAW_MAX, r->packed, b->packed) != raw)
		return bad_block(r, "a block cannot be unpacked");
	block_begin(r);
	return 0;
}

/*
 * Decodes accesses up to the n-th, the end of the control bytes, or something
 * else. How many there were, or -errno.
 */
static long read_run(struct trace_reader *r, struct trace_event *e, size_t n)
{
	static const uint64_t mask[8] = { 0, 0xff, 0xffff, 0xffffff, 0xffffffff, 0xffffffffff, 0xffffffffffff,
					  0xffffffffffffff };
	/* The first eight bytes of an event, op to task, as one number; for each kind. */
	const uint64_t head = TRACE_ACCESS | (uint64_t)r->thread << 16 | (uint64_t)r->task << 32;
	const uint64_t heads[3] = { head | TRACE_R << 8, head | TRACE_W << 8, head | TRACE_X << 8 };
	const uint8_t *control = r->control, *low = r->low, *high = r->high;
	/* vpn is the guess for the kind of the last access, data or code; other is the one for the other kind. */
	uint64_t vpn = (*r->guess)[0], other = (*r->guess)[1], was_code = 0;
	uint64_t large = 0, touches = 0;
	size_t i;

	n = MIN(n, (size_t)(r->control_end - control));
	for (i = 0; i < n; i++) {
		unsigned c = control[i], kind = c & 3, len = c >> 2 & 7, more = c >> 5;

		if (unlikely(kind == TRACE_KIND_OTHER))
			break;
		/* All ones or 0: kinds at random would mislead a branch. */
		uint64_t code = -(uint64_t)(kind >> 1), exchange = (vpn ^ other) & (code ^ was_code);
		unsigned few = trace_low_bytes(len);
		uint64_t zigzag = (trace_load16(low) | trace_load64(high) << 16) & mask[len];

		low += few;
		high += len - few;
		uint64_t count = 1 + (trace_load64(high) & mask[more]);

		high += more;
		was_code = code;
		other ^= exchange;
		vpn = (vpn ^ exchange) + (zigzag >> 1 ^ -(zigzag & 1));
		large |= vpn | count;
		touches += count;
		trace_store64((uint8_t *)&e[i], heads[kind]);
		e[i].vpn = vpn;
		e[i].n = count;
		e[i].arg = 0;
		e[i].file = e[i].text_len = 0;
		e[i].text = NULL;
	}
	if (unlikely(i > 0 && !r->alive))
		return bad_block(r, "an event of a task that is not there");
	if (unlikely(large >= TRACE_PAGES_MAX || low > r->low_end || high > r->high_end))
		return bad_block(r, "a block holds an access out of range");
	r->control += i;
	r->low = low;
	r->high = high;
	(*r->guess)[0] = was_code ? other : vpn;
	(*r->guess)[1] = was_code ? vpn : other;
	r->events += (uint32_t)i;
	r->touches += touches;
	return (long)i;
}

/* LEB128; false: the bytes end in it, or it has more than 64 bits. */
static bool get_number(struct trace_reader *r, uint64_t *v)
{
	*v = 0;
	for (unsigned shift = 0; shift < 64 && r->high < r->high_end; shift += 7) {
		uint8_t byte = *r->high++;

		if (shift == 63 && byte > 1)
			return false;
		*v |= (uint64_t)(byte & 0x7f) << shift;
		if (byte < 0x80)
			return true;
	}
	return false;
}

/* A number of at most max. */
static bool get_limited(struct trace_reader *r, uint64_t max, uint64_t *v)
{
	return get_number(r, v) && *v <= max;
}

static bool get_text(struct trace_reader *r, struct trace_event *e)
{
	uint64_t len;

	if (!get_limited(r, TRACE_TEXT_MAX, &len) || (uint64_t)(r->high_end - r->high) < len + 1)
		return false;
	e->text = len > 0 ? (const char *)r->high : NULL;
	e->text_len = (uint32_t)len;
	r->high += len;
	return *r->high++ == '\0';
}

static bool get_fields(struct trace_reader *r, struct trace_event *e, unsigned fields)
{
	uint64_t v;

	if (fields & TRACE_HAS_TASK) {
		e->task = r->task;
		e->thread = r->thread;
	}
	if (fields & TRACE_HAS_FLAGS) {
		if (!get_limited(r, UINT8_MAX, &v))
			return false;
		e->flags = (uint8_t)v;
	}
	if ((fields & TRACE_HAS_VPN) && !get_number(r, &e->vpn))
		return false;
	if ((fields & TRACE_HAS_N) && !get_number(r, &e->n))
		return false;
	if ((fields & TRACE_HAS_ARG) && !get_number(r, &e->arg))
		return false;
	if (fields & TRACE_HAS_FILE) {
		if (!get_limited(r, UINT32_MAX, &v))
			return false;
		e->file = (uint32_t)v;
	}
	return !(fields & TRACE_HAS_TEXT) || get_text(r, e);
}

static bool switch_thread(struct trace_reader *r)
{
	uint64_t task, thread;

	if (!get_limited(r, UINT32_MAX, &task) || !get_limited(r, UINT16_MAX, &thread))
		return false;
	r->task = (uint32_t)task;
	r->thread = (uint16_t)thread;
	r->alive = trace_law_alive(&r->law, r->task);
	r->guess = &r->guesses[trace_guess_of(r->task, r->thread)];
	return true;
}

/* What the next control byte means, which is no access: 1 event, 0 none, or -errno. */
static long read_other(struct trace_reader *r, struct trace_event *e)
{
	unsigned op = *r->control++ >> 2;
	const char *why;

	if (op == TRACE_OTHER_SWITCH)
		return switch_thread(r) ? 0 : bad_block(r, "a block ends within an event");
	if (op >= TRACE_OPS)
		return bad_block(r, "an event of an unknown kind");
	*e = (struct trace_event){ .op = (uint8_t)op };
	if (!get_fields(r, e, trace_shapes[op].fields))
		return bad_block(r, "a block ends within an event");
	why = trace_law_step(&r->law, e);
	if (why != NULL)
		return bad_block(r, why);
	r->alive = trace_law_alive(&r->law, r->task);
	r->events++;
	return 1;
}

/* The block has been decoded to its end: is it what its header says? 0 or -errno. */
static long check_block(struct trace_reader *r)
{
	if (r->low != r->low_end || r->high != r->high_end || r->events != r->block.events ||
	    r->touches != r->block.touches)
		return bad_block(r, "a block holds other events than it says");
	r->seen.events += r->events;
	r->seen.touches += r->touches;
	return 0;
}

/* Up to n events of the block, 0 if nothing is left of it, or -errno. */
static long read_events(struct trace_reader *r, struct trace_event *e, size_t n)
{
	size_t done = 0;
	long got = 0;

	while (done < n && r->control < r->control_end) {
		got = read_run(r, e + done, MIN(n - done, RUN));
		if (got == 0)
			got = read_other(r, e + done);
		if (got < 0)
			return got;
		done += (size_t)got;
	}
	if (r->control == r->control_end && r->control != NULL) {
		got = check_block(r);
		r->control = r->control_end = NULL;
	}
	return got < 0 ? got : (long)done;
}

long trace_read(struct trace_reader *r, struct trace_event *e, size_t n, struct trace_error *error)
{
	long got = r->error.err;

	while (got == 0 && n > 0) {
		if (r->control != NULL)
			got = read_events(r, e, n);
		if (got != 0 || r->ended)
			break;
		if (r->control == NULL)
			got = read_block(r);
	}
	if (got < 0)
		*error = r->error;
	return got;
}

bool trace_reader_totals(const struct trace_reader *r, struct trace_totals *t)
{
	if (r->known)
		*t = r->totals;
	return r->known;
}

bool trace_reader_sampled(const struct trace_reader *r)
{
	return r->sampled;
}

void trace_reader_close(struct trace_reader *r)
{
	if (r == NULL)
		return;
	ZSTD_freeDCtx(r->zstd);
	free(r->packed);
	free(r);
}
