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
#define FRAMES 500
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

static struct trace_reader *written(int fd, struct trace_writer *w)
{
	struct trace_error error;
	struct trace_reader *r;

	assert_int_equal(trace_writer_close(w), 0);
	lseek(fd, 0, SEEK_SET);
	r = trace_reader_open(fd, &error);
	assert_non_null(r);
	return r;
}

/* A task of that number touches so many pages, and a file of that number; timed: it says that it took a millisecond. */
static struct trace_reader *numbered(int *fd, uint32_t task, uint32_t file, unsigned pages, bool timed)
{
	struct trace_writer *w;

	*fd = memfd_create("trace", 0);
	assert_int_equal(trace_writer_open(&w, *fd, false), 0);
	trace_write(w, &(struct trace_event){ .op = TRACE_FILE, .file = file, .n = pages, .text = "f", .text_len = 1 });
	trace_write(w, &(struct trace_event){ .op = TRACE_TASK, .task = task });
	if (timed)
		trace_write(w, &(struct trace_event){ .op = TRACE_TIME, .task = task, .arg = 1000000 });
	trace_write(w, &(struct trace_event){ .op = TRACE_READ, .task = task, .file = file, .n = pages });
	for (unsigned i = 0; i < pages; i++)
		trace_write(w, &(struct trace_event){ .op = TRACE_ACCESS, .flags = TRACE_W, .task = task, .vpn = BASE + i, .n = 1 });
	return written(*fd, w);
}

/* Numbers that were in each other's way where those of the second trace began at 4095. */
static void numbers_of_traces_side_by_side_do_not_meet(void **state)
{
	static const uint32_t number[] = { 4096, 1, 3 * 4095, 1u << 19 };
	struct trace_reader *r[ARRAY_SIZE(number)];
	int fd[ARRAY_SIZE(number)];
	struct trace_error error;
	struct sim *s = machine();
	unsigned source, seen = 0;

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(number); i++)
		r[i] = numbered(&fd[i], number[i], number[i], 10 + i, false);
	assert_int_equal(sim_replay(s, r, ARRAY_SIZE(number), &source, &error), 0);
	for (uint32_t i = 0; i < s->nr_tasks; i++)
		if (s->task[i] != NULL)
			assert_int_equal(s->task[i]->touches, 10 + seen++);
	assert_int_equal(seen, ARRAY_SIZE(number));
	for (uint32_t i = seen = 0; i < s->nr_files; i++)
		if (s->file[i] != NULL)
			assert_int_equal(s->file[i]->vm.size_pages, 10 + seen++);
	assert_int_equal(seen, ARRAY_SIZE(number));
	sim_check(s);
	sim_destroy(s);
	for (unsigned i = 0; i < ARRAY_SIZE(number); i++) {
		trace_reader_close(r[i]);
		close(fd[i]);
	}
}

/* 4095 is 3 × 3 × 5 × 7 × 13. And one that tells its time leaves the others theirs. */
static void traces_side_by_side_have_cpus_and_time_of_their_own(void **state)
{
	struct sim_config_error why;
	struct sim_config c;

	(void)state;
	sim_config_default(&c);
	for (c.cpus = 3; c.cpus <= 7; c.cpus += 2) {
		struct trace_reader *r[7];
		struct trace_error error;
		unsigned source;
		int fd[7];
		struct sim *s = sim_create(&c, &why);

		assert_non_null(s);
		for (unsigned i = 0; i < c.cpus; i++)
			r[i] = numbered(&fd[i], 1, 1, PAGES, i == 0);
		assert_int_equal(sim_replay(s, r, c.cpus, &source, &error), 0);
		for (unsigned i = 0; i < c.cpus; i++)
			assert_true(s->cpu[i].own_ns == (i == 0 ? 1000000 : PAGES * c.access_ns));
		sim_destroy(s);
		for (unsigned i = 0; i < c.cpus; i++) {
			trace_reader_close(r[i]);
			close(fd[i]);
		}
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

/* Without swap. */
static struct sim *small_machine(uint64_t frames, uint64_t limit)
{
	struct sim_config_error error;
	struct sim_config c;
	struct sim *s;

	sim_config_default(&c);
	c.nr_zones = 1;
	c.zone[0] = (struct sim_zone_config){ .name = "Normal", .size_bytes = frames << PAGE_SHIFT };
	c.nr_swaps = 0;
	c.limit_bytes = limit << PAGE_SHIFT;
	s = sim_create(&c, &error);
	assert_non_null(s);
	return s;
}

/* The parent has all the memory and needs more; then two generations of children, the first of which ends. */
static void fork_after_the_kill(struct trace_writer *w)
{
	trace_write(w, &(struct trace_event){ .op = TRACE_TASK, .text = "parent", .text_len = 6 });
	for (unsigned i = 0; i < 2 * PAGES; i++)
		trace_write(w, &(struct trace_event){ .op = TRACE_ACCESS, .flags = TRACE_W, .vpn = BASE + i, .n = 1 });
	for (uint32_t child = 1; child <= 2; child++) {
		trace_write(w, &(struct trace_event){ .op = TRACE_FORK, .task = child - 1, .arg = child });
		trace_write(w, &(struct trace_event){ .op = TRACE_EXEC, .task = child });
		trace_write(w, &(struct trace_event){ .op = TRACE_MMAP, .task = child, .flags = TRACE_R | TRACE_W, .vpn = BASE,
						      .n = PAGES });
		trace_write(w, &(struct trace_event){ .op = TRACE_ACCESS, .task = child, .flags = TRACE_W, .vpn = BASE, .n = 1 });
		trace_write(w, &(struct trace_event){ .op = TRACE_TIME, .task = child, .arg = 1000 });
	}
	trace_write(w, &(struct trace_event){ .op = TRACE_EXIT, .task = 1 });
	/* The number of one that never was is given out again, to one that is. */
	trace_write(w, &(struct trace_event){ .op = TRACE_TASK, .task = 1 });
	trace_write(w, &(struct trace_event){ .op = TRACE_ACCESS, .task = 1, .flags = TRACE_W, .vpn = BASE, .n = 1 });
}

/* The trace knows nothing of the kill, and goes on. */
static void what_a_killed_task_forks_is_not_there(void **state)
{
	int fd = memfd_create("trace", 0);
	struct trace_error error;
	struct trace_writer *w;
	struct trace_reader *r;
	unsigned source;

	(void)state;
	assert_int_equal(trace_writer_open(&w, fd, false), 0);
	fork_after_the_kill(w);
	assert_int_equal(trace_writer_close(w), 0);
	lseek(fd, 0, SEEK_SET);
	r = trace_reader_open(fd, &error);
	assert_non_null(r);
	struct sim *s = small_machine(FRAMES, PAGES);

	assert_int_equal(sim_replay(s, &r, 1, &source, &error), 0);
	assert_int_equal(s->task[0]->end, SIM_KILLED_OOM);
	assert_int_equal(s->task[1]->end, SIM_RUNS);
	assert_int_equal(s->task[1]->touches, 1);
	assert_true(s->task[1]->own_ns < 1000);
	assert_int_equal(s->task[2]->end, SIM_UNBORN);
	assert_int_equal(s->task[2]->touches, 0);
	assert_string_equal(s->task[2]->name, "parent");
	sim_check(s);
	sim_destroy(s);
	trace_reader_close(r);
	close(fd);
}

static void event(struct sim *s, struct trace_event e)
{
	const char *error;

	assert_int_equal(sim_event(s, &e, &error), 0);
}

/* A file of a page, mapped and clean. */
static struct sim *machine_with_a_file(uint64_t writeback_ns)
{
	struct sim_config_error error;
	struct sim_config c;
	struct sim *s;

	sim_config_default(&c);
	c.dirty_writeback_ns = writeback_ns;
	c.dirty_expire_ns = 30 * UINT64_C(1000000000);
	s = sim_create(&c, &error);
	assert_non_null(s);
	event(s, (struct trace_event){ .op = TRACE_TASK });
	event(s, (struct trace_event){ .op = TRACE_FILE, .file = 1, .n = 1, .text = "f" });
	event(s, (struct trace_event){ .op = TRACE_MMAP, .flags = TRACE_R | TRACE_W | TRACE_MAP_SHARED, .vpn = BASE, .n = 1, .file = 1 });
	return s;
}

static void pass_seconds(struct sim *s, unsigned seconds)
{
	for (unsigned i = 0; i < seconds; i++)
		event(s, (struct trace_event){ .op = TRACE_TIME, .arg = 1000000000 });
}

/* Whether write(2) or a store made it so. */
static void a_page_is_written_when_it_has_been_dirty_for_long(void **state)
{
	static const struct trace_event by[] = { { .op = TRACE_WRITE, .file = 1, .n = 1 },
						 { .op = TRACE_ACCESS, .flags = TRACE_W, .vpn = BASE, .n = 1 } };

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(by); i++) {
		struct sim *s = machine_with_a_file(1000000000);

		for (unsigned round = 1; round <= 2; round++) {
			pass_seconds(s, 40);
			event(s, by[i]);
			pass_seconds(s, 28);
			assert_int_equal(s->counter[VM_pgfileout], round - 1);
			pass_seconds(s, 4);
			assert_int_equal(s->counter[VM_pgfileout], round);
		}
		sim_destroy(s);
	}
}

static void a_flusher_that_never_looks_writes_nothing(void **state)
{
	struct sim *s = machine_with_a_file(0);

	(void)state;
	event(s, (struct trace_event){ .op = TRACE_WRITE, .file = 1, .n = 1 });
	pass_seconds(s, 100);
	assert_int_equal(s->counter[VM_pgfileout], 0);
	event(s, (struct trace_event){ .op = TRACE_FSYNC, .file = 1 });
	assert_int_equal(s->counter[VM_pgfileout], 1);
	sim_destroy(s);
}

/* As many as a shell has in days, never more than two at one time: address-space numbers are given out again. */
static void more_processes_than_address_space_numbers_one_after_the_other(void **state)
{
	struct sim *s = small_machine(FRAMES, 0);
	const uint32_t lives = SIM_ASIDS + 5000;
	const char *error;

	(void)state;
	assert_int_equal(sim_event(s, &(struct trace_event){ .op = TRACE_TASK }, &error), 0);
	for (uint32_t child = 1; child <= lives; child++) {
		assert_int_equal(sim_event(s, &(struct trace_event){ .op = TRACE_FORK, .arg = child }, &error), 0);
		/* Each has another frame there; the CPU must not remember the one of before. */
		assert_int_equal(sim_event(s, &(struct trace_event){ .op = TRACE_ACCESS, .task = child, .flags = TRACE_W,
								     .vpn = BASE + child % 3, .n = 1 }, &error), 0);
		assert_int_equal(s->task[child]->faults[SIM_MINOR], 1);
		assert_int_equal(sim_event(s, &(struct trace_event){ .op = TRACE_EXIT, .task = child }, &error), 0);
	}
	assert_int_equal(s->touches, lives);
	sim_check(s);
	sim_destroy(s);
}

/* oom_score_adj is in thousandths of what a group may have in memory and in swap (Linux: mem_cgroup_get_max). */
static void points_in_a_group_are_of_its_memory_and_of_swap(void **state)
{
	struct sim_config_error error;
	struct sim_config c;
	struct sim *s;

	(void)state;
	sim_config_default(&c);
	c.limit_bytes = 2000 << PAGE_SHIFT;
	c.nr_swaps = 2;
	for (unsigned i = 0; i < 2; i++)
		c.swap[i] = (struct sim_swap_config){ .kind = SIM_SWAP_DISK, .size_bytes = 1000 << PAGE_SHIFT, .prio = (int16_t)-i,
						      .queue_depth = 1 };
	s = sim_create(&c, &error);
	assert_non_null(s);
	assert_int_equal(sim_oom_total(s, false), 4000);
	assert_true(sim_oom_total(s, true) > 4000);
	sim_destroy(s);
	/* Nothing of a group's anonymous memory goes to swap. */
	c.swappiness = 0;
	s = sim_create(&c, &error);
	assert_non_null(s);
	assert_int_equal(sim_oom_total(s, false), 2000);
	sim_destroy(s);
}

/* Each page has a table of its own, and the child would need as many tables again. */
static void a_fork_that_has_no_room_kills_the_parent_and_leaves_no_child(void **state)
{
	struct sim *s = small_machine(FRAMES, 0);
	const char *error;

	(void)state;
	assert_int_equal(sim_event(s, &(struct trace_event){ .op = TRACE_TASK }, &error), 0);
	for (uint64_t i = 0; i < FRAMES / 5 * 2; i++)
		assert_int_equal(sim_event(s, &(struct trace_event){ .op = TRACE_ACCESS, .flags = TRACE_W, .vpn = BASE + 512 * i,
								     .n = 1 }, &error), 0);
	assert_int_equal(s->task[0]->end, SIM_RUNS);
	assert_int_equal(sim_event(s, &(struct trace_event){ .op = TRACE_FORK, .arg = 1 }, &error), 0);
	assert_int_equal(s->task[0]->end, SIM_KILLED_OOM);
	assert_int_equal(s->task[1]->end, SIM_UNBORN);
	sim_check(s);
	sim_destroy(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_of_untouched_memory_share_a_page_only_where_every_write_is_known),
		cmocka_unit_test(traces_side_by_side_have_tasks_of_their_own),
		cmocka_unit_test(numbers_of_traces_side_by_side_do_not_meet),
		cmocka_unit_test(traces_side_by_side_have_cpus_and_time_of_their_own),
		cmocka_unit_test(an_address_beyond_the_tables_is_refused_by_its_number),
		cmocka_unit_test(a_number_that_begins_again_keeps_what_was_counted),
		cmocka_unit_test(what_a_killed_task_forks_is_not_there),
		cmocka_unit_test(a_page_is_written_when_it_has_been_dirty_for_long),
		cmocka_unit_test(a_flusher_that_never_looks_writes_nothing),
		cmocka_unit_test(more_processes_than_address_space_numbers_one_after_the_other),
		cmocka_unit_test(points_in_a_group_are_of_its_memory_and_of_swap),
		cmocka_unit_test(a_fork_that_has_no_room_kills_the_parent_and_leaves_no_child),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
