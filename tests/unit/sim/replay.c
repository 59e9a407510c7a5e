/* Traces replayed: what a trace says of itself decides how its touches are taken; traces side by side; events that do not fit. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <cmocka.h>

#include "sim/engine.h"

#define PAGES 100
#define BASE 0x10000

static struct sim *machine(void)
{
	struct sim_config_error error;
	struct sim_config c;
	struct sim *s;

	sim_config_default(&c);
	s = sim_create(&c, &error);
	assert_non_null(s);
	return s;
}

/* PAGES pages are mapped (or not) and read, three times. */
static struct trace_reader *reads(int *fd, bool sampled, bool mapped, uint64_t base)
{
	struct trace_writer *w;
	struct trace_error error;
	struct trace_reader *r;

	*fd = memfd_create("trace", 0);
	assert_true(*fd >= 0);
	assert_int_equal(trace_writer_open(&w, *fd, sampled), 0);
	assert_int_equal(trace_write(w, &(struct trace_event){ .op = TRACE_TASK, .text = "reader", .text_len = 6 }), 0);
	if (mapped)
		assert_int_equal(trace_write(w, &(struct trace_event){ .op = TRACE_MMAP, .flags = TRACE_R | TRACE_W,
								       .vpn = base, .n = PAGES }), 0);
	for (unsigned i = 0; i < 3 * PAGES; i++)
		assert_int_equal(trace_write(w, &(struct trace_event){ .op = TRACE_ACCESS, .flags = TRACE_R,
								       .vpn = base + i % PAGES, .n = 1 }), 0);
	assert_int_equal(trace_writer_close(w), 0);
	lseek(*fd, 0, SEEK_SET);
	r = trace_reader_open(*fd, &error);
	assert_non_null(r);
	return r;
}

static void expect_frames(bool sampled, bool mapped, uint64_t frames)
{
	struct trace_error error;
	unsigned source;
	int fd;
	struct trace_reader *r = reads(&fd, sampled, mapped, BASE);
	struct sim *s = machine();

	assert_int_equal(sim_replay(s, &r, 1, &source, &error), 0);
	assert_int_equal(s->touches, 3 * PAGES);
	assert_int_equal(s->m.charged, frames);
	assert_int_equal(s->counter[VM_pgminor], PAGES);
	sim_check(s);
	sim_destroy(s);
	trace_reader_close(r);
	close(fd);
}

/* Linux's page of zeros serves reads of memory that nobody wrote to, if the trace would know of a write. */
static void reads_of_untouched_memory_share_a_page_only_where_every_write_is_known(void **state)
{
	(void)state;
	expect_frames(false, true, 0);
	expect_frames(true, true, PAGES);
	/* Imported: it says nothing of mappings, and perhaps nothing of writes. */
	expect_frames(false, false, PAGES);
}

static void traces_side_by_side_have_tasks_of_their_own(void **state)
{
	struct trace_reader *r[3];
	struct trace_error error;
	struct sim *s = machine();
	unsigned source, tasks = 0;
	int fd[3];

	(void)state;
	for (unsigned i = 0; i < 3; i++)
		r[i] = reads(&fd[i], true, true, BASE);
	assert_int_equal(sim_replay(s, r, 3, &source, &error), 0);
	for (uint32_t i = 0; i < s->nr_tasks; i++) {
		if (s->task[i] == NULL)
			continue;
		tasks++;
		assert_int_equal(s->task[i]->touches, 3 * PAGES);
		assert_int_equal(s->task[i]->mm.rss, PAGES);
	}
	assert_int_equal(tasks, 3);
	sim_check(s);
	sim_destroy(s);
	for (unsigned i = 0; i < 3; i++) {
		trace_reader_close(r[i]);
		close(fd[i]);
	}
}

/* The tables of the machine end at 48 bits. The error has the number of the event. */
static void an_address_beyond_the_tables_is_refused_by_its_number(void **state)
{
	struct trace_error error;
	struct sim *s = machine();
	unsigned source;
	int fd;
	struct trace_reader *r = reads(&fd, false, true, UINT64_C(1) << 37);

	(void)state;
	assert_int_equal(sim_replay(s, &r, 1, &source, &error), -EINVAL);
	assert_int_equal(error.err, -EINVAL);
	assert_int_equal(error.offset, 1);
	assert_non_null(strstr(error.what, "page tables"));
	sim_destroy(s);
	trace_reader_close(r);
	close(fd);
}

/* As the number of a process that has ended is given out again. */
static void a_number_that_begins_again_keeps_what_was_counted(void **state)
{
	struct sim *s = machine();
	const char *error;

	(void)state;
	for (unsigned life = 1; life <= 3; life++) {
		const struct trace_event begins = { .op = TRACE_TASK, .task = 7, .text = "again" };

		assert_int_equal(sim_event(s, &begins, &error), 0);
		assert_int_equal(sim_event(s, &begins, &error), -EINVAL);
		for (unsigned i = 0; i < PAGES * life; i++)
			assert_int_equal(sim_event(s, &(struct trace_event){ .op = TRACE_ACCESS, .task = 7, .flags = TRACE_W,
									     .vpn = BASE + i, .n = 1 }, &error), 0);
		assert_int_equal(s->task[7]->mm.rss, PAGES * life);
		sim_check(s);
		assert_int_equal(sim_event(s, &(struct trace_event){ .op = TRACE_EXIT, .task = 7 }, &error), 0);
		assert_int_equal(s->task[7]->end, SIM_EXITED);
		sim_check(s);
	}
	assert_int_equal(s->task[7]->touches, 6 * PAGES);
	assert_int_equal(s->task[7]->faults[SIM_MINOR], 6 * PAGES);
	sim_destroy(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_of_untouched_memory_share_a_page_only_where_every_write_is_known),
		cmocka_unit_test(traces_side_by_side_have_tasks_of_their_own),
		cmocka_unit_test(an_address_beyond_the_tables_is_refused_by_its_number),
		cmocka_unit_test(a_number_that_begins_again_keeps_what_was_counted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
