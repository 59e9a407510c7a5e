/* sim/foresight.c against looking ahead by hand, on traces with everything that ends a page's life. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/rand.h"
#include "sim/foresight.h"

enum { EVENTS = 20000, PAGES = 40, TASKS = 3 };

static struct trace_event event[EVENTS];

static bool within(uint64_t vpn, uint64_t start, uint64_t n)
{
	return vpn - start < n;
}

/* Where the page touched by event i is after event e: false if it is gone. */
static bool follow(const struct trace_event *e, uint32_t task, uint64_t *vpn)
{
	if (e->task != task)
		return true;
	switch (e->op) {
	case TRACE_EXIT:
	case TRACE_EXEC:
		return false;
	case TRACE_MMAP:
	case TRACE_MUNMAP:
	case TRACE_DROP:
		return !within(*vpn, e->vpn, e->n);
	case TRACE_MREMAP:
		if (within(*vpn, e->vpn, e->n))
			*vpn += e->arg - e->vpn;
		else if (within(*vpn, e->arg, e->n))
			return false;
		return true;
	default:
		return true;
	}
}

/* The number, among accesses, of the next touch of the page that event i touches; number: that of event i. */
static uint64_t next_touch(unsigned i, uint64_t number)
{
	uint64_t vpn = event[i].vpn;

	for (unsigned k = i + 1; k < EVENTS; k++) {
		if (event[k].op != TRACE_ACCESS) {
			if (!follow(&event[k], event[i].task, &vpn))
				return UINT64_MAX;
			continue;
		}
		number++;
		if (event[k].task == event[i].task && event[k].vpn == vpn)
			return number;
	}
	return UINT64_MAX;
}

static void random_event(struct trace_event *e, struct rand *r, bool *alive)
{
	uint32_t task = (uint32_t)rand_below(r, TASKS);

	*e = (struct trace_event){ .op = TRACE_ACCESS, .flags = TRACE_W, .task = task, .vpn = rand_below(r, PAGES), .n = 1 };
	if (!alive[task]) {
		*e = (struct trace_event){ .op = TRACE_TASK, .task = task, .text = "t", .text_len = 1 };
		alive[task] = true;
		return;
	}
	switch (rand_below(r, 200)) {
	case 0: *e = (struct trace_event){ .op = TRACE_EXIT, .task = task }; alive[task] = false; break;
	case 1: *e = (struct trace_event){ .op = TRACE_EXEC, .task = task, .text = "u", .text_len = 1 }; break;
	case 2: e->op = TRACE_MUNMAP; e->flags = 0; e->n = 1 + rand_below(r, 10); break;
	case 3: e->op = TRACE_DROP; e->flags = 0; e->n = 1 + rand_below(r, 10); break;
	case 4: e->op = TRACE_MMAP; e->n = 1 + rand_below(r, 10); break;
	case 5: e->op = TRACE_MUNMAP; e->flags = 0; e->n = (uint64_t)1 << 40; break;
	case 6: e->op = TRACE_MREMAP; e->flags = 0; e->n = 1 + rand_below(r, 10); e->arg = e->vpn + PAGES; break;
	/* A large range: far up, or from there down. */
	case 7: e->op = TRACE_MREMAP; e->flags = 0; e->n = (uint64_t)1 << 40; e->arg = e->vpn + ((uint64_t)1 << 41); break;
	case 8: e->op = TRACE_MREMAP; e->flags = 0; e->n = (uint64_t)1 << 40; e->arg = e->vpn; e->vpn += (uint64_t)1 << 41; break;
	default: break;
	}
}

static int make_trace(uint64_t seed)
{
	int fd = memfd_create("trace", MFD_CLOEXEC);
	bool alive[TASKS] = { false };
	struct trace_writer *w;
	struct rand r;

	rand_seed(&r, seed);
	assert_int_equal(trace_writer_open(&w, fd, false), 0);
	for (unsigned i = 0; i < EVENTS; i++) {
		do {
			random_event(&event[i], &r, alive);
			/* Touches of one page in a row would become one event. */
		} while (i > 0 && event[i].op == TRACE_ACCESS && event[i - 1].op == TRACE_ACCESS &&
			 event[i].vpn == event[i - 1].vpn);
		assert_int_equal(trace_write(w, &event[i]), 0);
	}
	assert_int_equal(trace_writer_close(w), 0);
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	return fd;
}

static void each_touch_knows_the_next_of_its_page(void **state)
{
	(void)state;
	for (uint64_t seed = 0; seed < 3; seed++) {
		int fd = make_trace(seed);
		struct trace_error error;
		struct trace_reader *r = trace_reader_open(fd, &error);
		struct foresight f = { 0 };
		uint64_t number = 0;

		assert_non_null(r);
		assert_int_equal(foresight_read(&f, r, "/tmp", &error), 0);
		for (unsigned i = 0; i < EVENTS; i++) {
			if (event[i].op != TRACE_ACCESS)
				continue;
			assert_true(number < f.n);
			assert_int_equal(f.next[number], next_touch(i, number));
			number++;
		}
		assert_int_equal(f.n, number);
		foresight_drop(&f);
		trace_reader_close(r);
		close(fd);
	}
}

static void what_cannot_be_had_is_told_and_nothing_is_left(void **state)
{
	int fd = make_trace(9);
	struct trace_error error;
	struct trace_reader *r = trace_reader_open(fd, &error);
	struct foresight f = { 0 };

	(void)state;
	assert_int_equal(foresight_read(&f, r, "/there/is/no/such/directory", &error), -ENOENT);
	assert_int_equal(error.err, 0);
	assert_null(f.next);
	trace_reader_close(r);
	/* A trace that is cut. */
	assert_int_equal(ftruncate(fd, 200), 0);
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	r = trace_reader_open(fd, &error);
	assert_int_equal(foresight_read(&f, r, "/tmp", &error), -ENODATA);
	assert_int_equal(error.err, -ENODATA);
	assert_null(f.next);
	trace_reader_close(r);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_touch_knows_the_next_of_its_page),
		cmocka_unit_test(what_cannot_be_had_is_told_and_nothing_is_left),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
