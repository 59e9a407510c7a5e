/*
 * The writer and the reader of traces against the list of events that was
 * written, and against a law of traces that this file has for itself.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <cmocka.h>
#include <zstd.h>

#include "base/rand.h"
#include "sim/trace_format.h"
#include "failalloc.h"

#define TASKS 6 /* numbers that random events use, two of them out of range */
#define FILES 5
#define LIMIT ((uint64_t)1 << 52)

static struct rand rng;

/* What was written: a list, and what lives at its end. */
struct list {
	struct trace_event *e;
	size_t n, room;
	uint64_t touches;
	bool alive[TASKS], known[FILES];
};

static const uint32_t task_number[TASKS] = { 0, 1, 77, (1 << 20) - 1, 1 << 20, UINT32_MAX };
static const uint32_t file_number[FILES] = { 0, 1, 65, (1 << 20) - 1, 1 << 20 };

static char text_pool[5000];

static int setup(void **state)
{
	(void)state;
	memset(text_pool, 'x', sizeof(text_pool));
	text_pool[10] = '\n';
	signal(SIGPIPE, SIG_IGN);
	return 0;
}

static void list_free(struct list *l)
{
	for (size_t i = 0; i < l->n; i++)
		free((char *)l->e[i].text);
	free(l->e);
	memset(l, 0, sizeof(*l));
}

static unsigned index_of(const uint32_t *table, unsigned n, uint64_t number)
{
	for (unsigned i = 0; i < n; i++) {
		if (table[i] == number)
			return i;
	}
	fail();
	return 0;
}

/* The law, said a second time: may e follow what is in the list? */
static bool lawful(const struct list *l, const struct trace_event *e)
{
	bool alive = l->alive[index_of(task_number, TASKS, e->task)];
	bool known = l->known[index_of(file_number, FILES, e->file)];
	bool range = e->n >= 1 && e->n < LIMIT && e->vpn < LIMIT && e->vpn + e->n <= LIMIT;
	bool part = e->n >= 1 && e->n < LIMIT && e->pgoff < LIMIT && e->pgoff + e->n <= LIMIT;
	bool text = e->text_len <= 4095 && strnlen(e->text != NULL ? e->text : "", e->text_len) == e->text_len;
	unsigned map_flags = TRACE_R | TRACE_W | TRACE_X | TRACE_MAP_SHARED | TRACE_MAP_HEAP | TRACE_MAP_STACK |
			     TRACE_MAP_LOCKED;

	switch (e->op) {
	case TRACE_ACCESS:
		return alive && (e->flags == TRACE_R || e->flags == TRACE_W || e->flags == TRACE_X) && e->vpn < LIMIT &&
		       e->n >= 1 && e->n < LIMIT;
	case TRACE_TASK:
		return !alive && e->task < 1 << 20 && text;
	case TRACE_FORK:
		return alive && e->arg < 1 << 20 && !l->alive[index_of(task_number, TASKS, e->arg)];
	case TRACE_EXEC:
		return alive && text;
	case TRACE_EXIT:
	case TRACE_TIME:
		return alive;
	case TRACE_MMAP:
		return alive && range && part && (known || e->file == 0) && (e->flags & ~map_flags) == 0;
	case TRACE_MUNMAP:
	case TRACE_DROP:
		return alive && range;
	case TRACE_MPROTECT:
		return alive && range && e->flags < 8;
	case TRACE_MREMAP:
		return alive && range && part;
	case TRACE_FILE:
		return e->file >= 1 && e->file < 1 << 20 && e->n < LIMIT && text;
	case TRACE_READ:
	case TRACE_WRITE:
		return alive && known && part;
	case TRACE_FSYNC:
		return alive && known;
	case TRACE_NOTE:
		return text;
	default:
		return false;
	}
}

/* What a reader must say e was: fields that its op has not are 0. */
static struct trace_event meant(const struct trace_event *e)
{
	struct trace_event m = { .op = e->op };
	unsigned has = trace_shapes[e->op].fields;

	if (has & TRACE_HAS_TASK) {
		m.task = e->task;
		m.thread = e->thread;
	}
	m.flags = has & TRACE_HAS_FLAGS ? e->flags : 0;
	m.vpn = has & TRACE_HAS_VPN ? e->vpn : 0;
	m.n = has & TRACE_HAS_N ? e->n : 0;
	m.arg = has & TRACE_HAS_ARG ? e->arg : 0;
	m.file = has & TRACE_HAS_FILE ? e->file : 0;
	if ((has & TRACE_HAS_TEXT) && e->text_len > 0) {
		m.text = strndup(e->text, e->text_len);
		m.text_len = e->text_len;
	}
	return m;
}

static bool folds(const struct list *l, const struct trace_event *e)
{
	const struct trace_event *last = l->n > 0 ? &l->e[l->n - 1] : NULL;

	return last != NULL && e->op == TRACE_ACCESS && last->op == TRACE_ACCESS && e->vpn == last->vpn &&
	       e->flags == last->flags && e->task == last->task && e->thread == last->thread && e->n + last->n < LIMIT;
}

static void append(struct list *l, const struct trace_event *e)
{
	if (e->op == TRACE_ACCESS)
		l->touches += e->n;
	if (folds(l, e)) {
		l->e[l->n - 1].n += e->n;
		return;
	}
	if (l->n == l->room) {
		l->room = l->room * 2 + 64;
		l->e = realloc(l->e, l->room * sizeof(*l->e));
		assert_non_null(l->e);
	}
	l->e[l->n++] = meant(e);
	if (e->op == TRACE_TASK)
		l->alive[index_of(task_number, TASKS, e->task)] = true;
	else if (e->op == TRACE_FORK)
		l->alive[index_of(task_number, TASKS, e->arg)] = true;
	else if (e->op == TRACE_EXIT)
		l->alive[index_of(task_number, TASKS, e->task)] = false;
	else if (e->op == TRACE_FILE)
		l->known[index_of(file_number, FILES, e->file)] = true;
}

/* Small, large, and round the limits. */
static uint64_t some_number(void)
{
	uint64_t n = (uint64_t)1 << rand_below(&rng, 54);

	switch (rand_below(&rng, 4)) {
	case 0:
		return rand_below(&rng, 4);
	case 1:
		return rand_below(&rng, n + 1);
	case 2:
		return n - 1;
	default:
		return rand_below(&rng, 1 << 20);
	}
}

static struct trace_event some_access(void)
{
	struct trace_event e = { .op = TRACE_ACCESS, .flags = (uint8_t)(1 << rand_below(&rng, 3)), .n = 1 };

	e.task = task_number[rand_below(&rng, 16) == 0 ? 1 : 0];
	e.thread = (uint16_t)(rand_below(&rng, 16) == 0 ? rand_u64(&rng) : 0);
	e.vpn = rand_below(&rng, 4) == 0 ? some_number() : 1000 + rand_below(&rng, 3);
	if (rand_below(&rng, 3) == 0)
		e.n = some_number();
	return e;
}

static struct trace_event some_event(void)
{
	struct trace_event e = some_access();

	if (rand_below(&rng, 3) != 0)
		return e;
	e.op = (uint8_t)rand_below(&rng, TRACE_OPS + 1);
	e.flags = (uint8_t)(rand_below(&rng, 8) == 0 ? rand_u64(&rng) : rand_below(&rng, 8));
	e.task = task_number[rand_below(&rng, rand_below(&rng, 4) == 0 ? TASKS : 4)];
	e.n = some_number();
	e.file = file_number[rand_below(&rng, FILES)];
	e.arg = e.op == TRACE_FORK ? task_number[rand_below(&rng, TASKS)] : some_number();
	if (rand_below(&rng, 2) == 0) {
		e.text = text_pool + rand_below(&rng, 20);
		e.text_len = (uint32_t)rand_below(&rng, rand_below(&rng, 10) == 0 ? 4200 : 20);
	}
	return e;
}

static int memory_file(void)
{
	int fd = memfd_create("trace", MFD_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

/* n random events into fd, the lawful ones into the list too. */
static void write_random(struct list *l, int fd, size_t n)
{
	struct trace_writer *w;
	struct trace_event e = { .op = TRACE_TASK, .text = "one", .text_len = 3 };

	assert_int_equal(trace_writer_open(&w, fd, false), 0);
	for (size_t i = 0; i < n; i++) {
		bool ok = lawful(l, &e);

		assert_int_equal(trace_write(w, &e), ok ? 0 : -EINVAL);
		if (ok)
			append(l, &e);
		else
			assert_non_null(trace_writer_why(w));
		e = some_event();
	}
	assert_int_equal(trace_writer_close(w), 0);
}

static void assert_same(const struct trace_event *got, const struct trace_event *want)
{
	assert_int_equal(got->op, want->op);
	assert_int_equal(got->flags, want->flags);
	assert_int_equal(got->thread, want->thread);
	assert_int_equal(got->task, want->task);
	assert_int_equal(got->vpn, want->vpn);
	assert_int_equal(got->n, want->n);
	assert_int_equal(got->arg, want->arg);
	assert_int_equal(got->file, want->file);
	assert_int_equal(got->text_len, want->text_len);
	assert_int_equal(got->text == NULL, want->text == NULL);
	if (got->text != NULL)
		assert_string_equal(got->text, want->text);
}

/* Reads all of fd from its start: what comes must be the list, from its start. 0 at the end, or the error. */
static long read_back(const struct list *l, int fd, size_t *n, struct trace_error *error)
{
	struct trace_event e[700];
	struct trace_reader *r;
	long got;

	*n = 0;
	lseek(fd, 0, SEEK_SET);
	r = trace_reader_open(fd, error);
	if (r == NULL)
		return error->err;
	do {
		got = trace_read(r, e, 1 + rand_below(&rng, ARRAY_SIZE(e)), error);
		for (long i = 0; i < got; i++) {
			assert_true(*n < l->n);
			assert_same(&e[i], &l->e[(*n)++]);
		}
	} while (got > 0);
	/* What it said last, it says again. */
	struct trace_error again = { 0 };

	assert_int_equal(trace_read(r, e, 1, &again), got);
	if (got < 0)
		assert_memory_equal(&again, error, sizeof(again));
	trace_reader_close(r);
	return got;
}

static void check_whole(const struct list *l, int fd, bool sampled)
{
	struct trace_error error;
	struct trace_totals t;
	size_t n;

	assert_int_equal(read_back(l, fd, &n, &error), 0);
	assert_int_equal(n, l->n);
	lseek(fd, 0, SEEK_SET);
	struct trace_reader *r = trace_reader_open(fd, &error);

	assert_non_null(r);
	assert_true(trace_reader_totals(r, &t));
	assert_int_equal(t.events, l->n);
	assert_int_equal(t.touches, l->touches);
	assert_int_equal(t.bytes, lseek(fd, 0, SEEK_END));
	assert_int_equal(t.sampled, sampled);
	trace_reader_close(r);
}

static void random_streams_come_back(void **state)
{
	(void)state;
	for (unsigned seed = 1; seed <= 60; seed++) {
		struct list l = { 0 };
		int fd = memory_file();

		rand_seed(&rng, seed);
		write_random(&l, fd, rand_below(&rng, 5000) + 1);
		check_whole(&l, fd, false);
		list_free(&l);
		close(fd);
	}
}

/* Long enough for several blocks, some full of control bytes and some of texts. */
static void streams_cross_blocks(void **state)
{
	struct list l = { 0 };
	int fd = memory_file();

	(void)state;
	rand_seed(&rng, 7);
	write_random(&l, fd, 700000);
	check_whole(&l, fd, false);
	list_free(&l);
	close(fd);
}

/* A block ends when its control bytes are full: exactly there, and one event to either side. */
static void exact_block_borders(void **state)
{
	(void)state;
	for (int more = -3; more <= 3; more++) {
		struct list l = { 0 };
		struct trace_writer *w;
		struct trace_event e = { .op = TRACE_TASK };
		int fd = memory_file();

		assert_int_equal(trace_writer_open(&w, fd, true), 0);
		for (int i = 0; i < (int)TRACE_CONTROL_MAX + more; i++) {
			assert_int_equal(trace_write(w, &e), 0);
			append(&l, &e);
			e = (struct trace_event){ .op = TRACE_ACCESS, .flags = TRACE_R, .vpn = (uint64_t)i * 7, .n = 1 };
		}
		assert_int_equal(trace_writer_close(w), 0);
		check_whole(&l, fd, true);
		list_free(&l);
		close(fd);
	}
}

static void an_empty_trace_is_one(void **state)
{
	struct list l = { 0 };
	struct trace_writer *w;
	int fd = memory_file();

	(void)state;
	assert_int_equal(trace_writer_open(&w, fd, true), 0);
	assert_int_equal(trace_writer_close(w), 0);
	check_whole(&l, fd, true);
	close(fd);
}

/* Folding never makes a count that is against the law. */
static void folding_stops_at_the_limit(void **state)
{
	struct list l = { 0 };
	struct trace_writer *w;
	struct trace_event e = { .op = TRACE_TASK };
	int fd = memory_file();

	(void)state;
	assert_int_equal(trace_writer_open(&w, fd, false), 0);
	assert_int_equal(trace_write(w, &e), 0);
	append(&l, &e);
	e = (struct trace_event){ .op = TRACE_ACCESS, .flags = TRACE_W, .vpn = LIMIT - 1, .n = LIMIT / 2 };
	for (int i = 0; i < 5; i++) {
		assert_int_equal(trace_write(w, &e), 0);
		append(&l, &e);
	}
	e.n = 0;
	assert_int_equal(trace_write(w, &e), -EINVAL);
	e.n = LIMIT;
	assert_int_equal(trace_write(w, &e), -EINVAL);
	assert_int_equal(trace_writer_close(w), 0);
	assert_int_equal(l.n, 6);
	check_whole(&l, fd, false);
	list_free(&l);
	close(fd);
}

static void a_pipe_is_read(void **state)
{
	struct list l = { 0 };
	struct trace_error error;
	struct trace_totals t;
	struct trace_event e[16];
	size_t n = 0;
	int fd[2];
	long got;

	(void)state;
	rand_seed(&rng, 3);
	assert_int_equal(pipe(fd), 0);
	write_random(&l, fd[1], 2000);
	close(fd[1]);
	struct trace_reader *r = trace_reader_open(fd[0], &error);

	assert_non_null(r);
	assert_false(trace_reader_totals(r, &t));
	while ((got = trace_read(r, e, ARRAY_SIZE(e), &error)) > 0) {
		for (long i = 0; i < got; i++)
			assert_same(&e[i], &l.e[n++]);
	}
	assert_int_equal(got, 0);
	assert_int_equal(n, l.n);
	assert_true(trace_reader_totals(r, &t));
	assert_int_equal(t.events, l.n);
	trace_reader_close(r);
	close(fd[0]);
	list_free(&l);
}

/* A file as bytes, so that it can be damaged. */
static uint8_t *bytes_of(int fd, size_t *size)
{
	*size = (size_t)lseek(fd, 0, SEEK_END);
	uint8_t *bytes = malloc(*size + 1);

	assert_int_equal(pread(fd, bytes, *size, 0), *size);
	return bytes;
}

static void rewrite(int fd, const uint8_t *bytes, size_t size)
{
	assert_int_equal(ftruncate(fd, 0), 0);
	assert_int_equal(pwrite(fd, bytes, size, 0), size);
}

static void every_truncation_is_seen(void **state)
{
	struct list l = { 0 };
	struct trace_error error;
	size_t size, n;
	int fd = memory_file();

	(void)state;
	rand_seed(&rng, 5);
	write_random(&l, fd, 300);
	uint8_t *bytes = bytes_of(fd, &size);

	for (size_t cut = 0; cut < size; cut++) {
		rewrite(fd, bytes, cut);
		assert_int_equal(read_back(&l, fd, &n, &error), cut < 8 ? -EBADMSG : -ENODATA);
		assert_int_equal(error.offset, cut < 8 ? 0 : cut);
		assert_non_null(error.what);
	}
	free(bytes);
	list_free(&l);
	close(fd);
}

static void every_damaged_byte_is_seen(void **state)
{
	struct list l = { 0 };
	struct trace_error error;
	size_t size, n;
	int fd = memory_file();

	(void)state;
	rand_seed(&rng, 6);
	write_random(&l, fd, 300);
	uint8_t *bytes = bytes_of(fd, &size);

	for (size_t at = 0; at < size; at++) {
		uint8_t was = bytes[at];

		bytes[at] ^= (uint8_t)(1 + rand_below(&rng, 255));
		rewrite(fd, bytes, size);
		assert_true(read_back(&l, fd, &n, &error) < 0);
		assert_true(error.offset <= at);
		bytes[at] = was;
	}
	/* Something behind the end, and two traces in a row. */
	rewrite(fd, bytes, size);
	assert_int_equal(pwrite(fd, bytes, size, (off_t)size), size);
	assert_int_equal(read_back(&l, fd, &n, &error), -EBADMSG);
	assert_int_equal(error.offset, size);
	free(bytes);
	list_free(&l);
	close(fd);
}

/* A trace of one block with these streams, all checksums and sizes in order. */
static void forge(int fd, const uint8_t *raw, const struct trace_block *sizes, uint64_t events, uint64_t touches)
{
	struct trace_header h = { .magic = TRACE_MAGIC, .version = 1, .page_shift = 12 };
	struct trace_block b = *sizes;
	struct trace_end end = { .magic = TRACE_END_MAGIC, .events = events, .touches = touches };
	uint8_t packed[1 << 14];

	h.sum = trace_sum(&h, offsetof(struct trace_header, sum));
	size_t n = ZSTD_compress(packed, sizeof(packed), raw, (size_t)b.control + b.low + b.high, 1);

	assert_false(ZSTD_isError(n));
	b.magic = TRACE_BLOCK_MAGIC;
	b.packed = (uint32_t)n;
	b.events = (uint32_t)events;
	b.touches = touches;
	b.packed_sum = trace_sum(packed, n);
	b.sum = trace_sum(&b, offsetof(struct trace_block, sum));
	end.bytes = sizeof(h) + sizeof(b) + n + sizeof(end);
	end.sum = trace_sum(&end, offsetof(struct trace_end, sum));
	assert_int_equal(ftruncate(fd, 0), 0);
	lseek(fd, 0, SEEK_SET);
	assert_int_equal(write(fd, &h, sizeof(h)), sizeof(h));
	assert_int_equal(write(fd, &b, sizeof(b)), sizeof(b));
	assert_int_equal(write(fd, packed, n), n);
	assert_int_equal(write(fd, &end, sizeof(end)), sizeof(end));
}

/* Whoever can compute a checksum can write anything into a block: it is refused, with the block's offset. */
static void forged_blocks_are_refused(void **state)
{
	static const struct {
		struct trace_block sizes;
		uint8_t raw[24];
		uint64_t events, touches;
	} bad[] = {
		/* An access before any task; of no page that there is; a count beyond the limit. */
		{ { .control = 1 }, { 0 }, 1, 1 },
		{ { .control = 2, .low = 2, .high = 7 },
		  { TRACE_TASK << 2 | 3, 7 << 2, 0xfe, 0xff, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff }, 2, 1 },
		{ { .control = 2, .high = 9 },
		  { TRACE_TASK << 2 | 3, 7 << 5, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff }, 2, (uint64_t)1 << 56 },
		/* Numbers, and streams, that end too early or too late. */
		{ { .control = 2, .low = 1, .high = 2 }, { TRACE_TASK << 2 | 3, 2 << 2, 0, 0, 0 }, 2, 1 },
		{ { .control = 2, .low = 3, .high = 2 }, { TRACE_TASK << 2 | 3, 2 << 2, 0, 0, 0, 0, 0 }, 2, 1 },
		{ { .control = 1, .high = 3 }, { TRACE_TASK << 2 | 3, 0, 0, 0 }, 1, 0 },
		{ { .control = 1, .high = 1 }, { TRACE_TASK << 2 | 3, 0 }, 1, 0 },
		{ { .control = 1, .high = 3 }, { TRACE_TASK << 2 | 3, 1, 'x', 'y' }, 1, 0 },
		{ { .control = 1, .high = 3 }, { TRACE_TASK << 2 | 3, 1, 0, 0 }, 1, 0 },
		{ { .control = 1, .high = 3 }, { TRACE_TASK << 2 | 3, 0xff, 0x1f, 0 }, 1, 0 },
		{ { .control = 1, .high = 1 }, { TRACE_OTHER_SWITCH << 2 | 3, 0 }, 0, 0 },
		{ { .control = 1, .high = 4 }, { TRACE_OTHER_SWITCH << 2 | 3, 0, 0xff, 0xff, 0x7f }, 0, 0 },
		/* Other counts than the events have. */
		{ { .control = 1, .high = 2 }, { TRACE_TASK << 2 | 3, 0, 0 }, 2, 0 },
		{ { .control = 1, .high = 2 }, { TRACE_TASK << 2 | 3, 0, 0 }, 1, 1 },
		/* No such op; no block. */
		{ { .control = 1 }, { TRACE_OPS << 2 | 3 }, 1, 0 },
		{ { .high = 1 }, { 0 }, 0, 0 },
	};
	struct list none = { 0 };
	struct trace_error error;
	int fd = memory_file();

	(void)state;
	append(&none, &(struct trace_event){ .op = TRACE_TASK });
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		struct trace_event e[4];

		forge(fd, bad[i].raw, &bad[i].sizes, bad[i].events, bad[i].touches);
		lseek(fd, 0, SEEK_SET);
		struct trace_reader *r = trace_reader_open(fd, &error);
		long got;

		assert_non_null(r);
		while ((got = trace_read(r, e, ARRAY_SIZE(e), &error)) > 0)
			;
		assert_int_equal(got, -EBADMSG);
		assert_int_equal(error.offset, sizeof(struct trace_header));
		trace_reader_close(r);
	}
	list_free(&none);
	close(fd);
}

static bool in_table(const uint32_t *table, unsigned n, uint64_t number)
{
	for (unsigned i = 0; i < n; i++) {
		if (table[i] == number)
			return true;
	}
	return false;
}

/* Numbers that this file's law keeps no books of. */
static bool is_strange(const struct trace_event *e)
{
	return !in_table(task_number, TASKS, e->task) || !in_table(file_number, FILES, e->file) ||
	       (e->op == TRACE_FORK && !in_table(task_number, TASKS, e->arg));
}

/* Streams at random: what the reader lets through has the law, whatever it is. */
static void forged_events_have_the_law(void **state)
{
	struct trace_error error;
	int fd = memory_file();
	unsigned good = 0;

	(void)state;
	rand_seed(&rng, 8);
	for (unsigned round = 0; round < 5000; round++) {
		struct trace_block b = { .control = 1 + (uint32_t)rand_below(&rng, 12),
					 .low = (uint32_t)rand_below(&rng, 8),
					 .high = (uint32_t)rand_below(&rng, 40) };
		struct trace_event e;
		struct list l = { 0 };
		uint8_t raw[64];
		long got;

		for (unsigned i = 0; i < sizeof(raw); i++)
			raw[i] = (uint8_t)(rand_below(&rng, 3) == 0 ? rand_u64(&rng) : 0);
		raw[0] = TRACE_TASK << 2 | TRACE_KIND_OTHER;
		raw[b.control + b.low] = raw[b.control + b.low + 1] = 0;
		/* More events than there can be: the last call is an error, and the ones before return one each. */
		forge(fd, raw, &b, 1000, 0);
		lseek(fd, 0, SEEK_SET);
		struct trace_reader *r = trace_reader_open(fd, &error);

		while ((got = trace_read(r, &e, 1, &error)) == 1 && !is_strange(&e)) {
			assert_true(lawful(&l, &e));
			append(&l, &e);
			good++;
		}
		assert_true(got == -EBADMSG || is_strange(&e));
		trace_reader_close(r);
		list_free(&l);
	}
	assert_true(good > 2500);
	close(fd);
}

static void a_descriptor_that_fails_is_told(void **state)
{
	struct trace_event e = { .op = TRACE_TASK };
	struct trace_writer *w;
	struct trace_error error;
	int full = open("/dev/full", O_WRONLY), pipe_fd[2], fd = memory_file(), dir = open("/", O_RDONLY);

	(void)state;
	assert_int_equal(trace_writer_open(&w, full, false), 0);
	assert_int_equal(trace_write(w, &e), -ENOSPC);
	assert_int_equal(trace_write(w, &e), -ENOSPC);
	assert_int_equal(trace_writer_close(w), -ENOSPC);

	assert_int_equal(pipe(pipe_fd), 0);
	assert_int_equal(trace_writer_open(&w, pipe_fd[1], false), 0);
	assert_int_equal(trace_write(w, &e), 0);
	close(pipe_fd[0]);
	assert_int_equal(trace_writer_close(w), -EPIPE);

	assert_null(trace_reader_open(dir, &error));
	assert_int_equal(error.err, -EISDIR);
	assert_null(trace_reader_open(-1, &error));
	assert_int_equal(error.err, -EBADF);

	/* Given up: no end, and a reader says so. */
	struct list l = { 0 };
	size_t n;

	assert_int_equal(trace_writer_open(&w, fd, false), 0);
	assert_int_equal(trace_write(w, &e), 0);
	trace_writer_abort(w);
	assert_int_equal(read_back(&l, fd, &n, &error), -ENODATA);
	close(full);
	close(pipe_fd[1]);
	close(fd);
	close(dir);
}

static void no_memory_is_told(void **state)
{
	struct trace_error error;
	struct trace_writer *w;
	struct trace_reader *r;
	unsigned nth;
	int fd = memory_file();

	(void)state;
	for (nth = 1;; nth++) {
		fail_nth = nth;
		int err = trace_writer_open(&w, fd, false);

		if (err == 0)
			break;
		assert_int_equal(err, -ENOMEM);
		assert_null(w);
	}
	/* The context of zstd makes its tables when it packs: that may be what fails now. */
	assert_true(nth > 3);
	struct trace_event e = { .op = TRACE_TASK };

	assert_int_equal(trace_write(w, &e), 0);
	fail_nth = 1;
	assert_int_equal(trace_writer_close(w), -ENOMEM);

	struct list l = { 0 };

	fail_nth = 0;
	assert_int_equal(ftruncate(fd, 0), 0);
	lseek(fd, 0, SEEK_SET);
	write_random(&l, fd, 10);
	for (nth = 1;; nth++) {
		lseek(fd, 0, SEEK_SET);
		fail_nth = nth;
		r = trace_reader_open(fd, &error);
		if (r != NULL)
			break;
		assert_int_equal(error.err, -ENOMEM);
	}
	assert_true(nth > 3);
	fail_nth = 0;
	trace_reader_close(r);
	list_free(&l);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_streams_come_back),
		cmocka_unit_test(streams_cross_blocks),
		cmocka_unit_test(exact_block_borders),
		cmocka_unit_test(an_empty_trace_is_one),
		cmocka_unit_test(folding_stops_at_the_limit),
		cmocka_unit_test(a_pipe_is_read),
		cmocka_unit_test(every_truncation_is_seen),
		cmocka_unit_test(every_damaged_byte_is_seen),
		cmocka_unit_test(forged_blocks_are_refused),
		cmocka_unit_test(forged_events_have_the_law),
		cmocka_unit_test(a_descriptor_that_fails_is_told),
		cmocka_unit_test(no_memory_is_told),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
