/*
 * The model against counts that a kernel gave: Linux 6.18, classical reclaim, a group of 16896 pages, swap on zram,
 * 500000 touches of 32768 pages, no refresh of the group's statistics during the run. `steward validate` takes them
 * anew; each of these came out of several runs, and always the same.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "cli/validate/validate.h"
#include "sim/engine.h"

#define PAGES 32768u
#define TOUCHES 500000u
#define NEVER_NS UINT64_C(3600000000000)

static const struct validate_place place = { .limit_bytes = UINT64_C(16896) << 12, .swappiness = 60 };
static const struct validate_costs costs = { .touch_ns = 30, .fault_ns = 7500, .kernel_bytes = 65 << 12 };

static struct validate_outcome run(const char *workload, uint64_t flush_ns)
{
	uint32_t *page = malloc(TOUCHES * sizeof(*page));
	struct validate_sequence s = { .page = page, .n = TOUCHES, .pages = PAGES };
	struct sim_config config;
	struct validate_outcome out;

	assert_non_null(page);
	assert_int_equal(workload_fill(workload_find(workload), PAGES, 1, page, TOUCHES), 0);
	validate_machine(&config, &place, &costs, PAGES);
	config.limit_flush_ns = flush_ns;
	assert_int_equal(validate_model(&config, &s, 0, &out), 0);
	free(page);
	return out;
}

static void expect(const char *workload, uint64_t majflt, uint64_t minflt)
{
	struct validate_outcome out = run(workload, NEVER_NS);

	assert_false(out.killed);
	assert_int_equal(out.touches, TOUCHES);
	assert_int_equal(out.majflt, majflt);
	assert_int_equal(out.minflt, minflt);
}

static void a_loop_faults_as_often_as_on_linux(void **state)
{
	(void)state;
	expect("loop", 467232, 32768);
}

static void zipf_faults_as_often_as_on_linux(void **state)
{
	(void)state;
	expect("zipf0.6", 122575, 32755);
	expect("zipf0.9", 42073, 31847);
}

static void hot_pages_and_a_scan_fault_as_often_as_on_linux(void **state)
{
	(void)state;
	expect("hotscan", 91632, 32768);
}

/* With nearly all of its swap free: the inactive list is empty, and by the old statistics it is not low. */
static void a_moving_window_is_killed_where_linux_kills_it(void **state)
{
	struct validate_outcome out = run("window", NEVER_NS);

	(void)state;
	assert_true(out.killed);
	assert_int_equal(out.touches, 488790);
	assert_int_equal(out.majflt, 54341);
	assert_non_null(strstr(out.why, "active 16813"));
}

static void a_moving_window_lives_with_fresh_statistics(void **state)
{
	struct validate_outcome out = run("window", 5000000);

	(void)state;
	assert_false(out.killed);
	assert_in_range(out.majflt, 1817 * 9 / 10, 1870 * 11 / 10);
}

#define FILE_PAGES 1000u
#define FILE_VPN 0x400u

static struct sim *with_a_file(bool limit_files)
{
	const struct trace_event events[] = {
		{ .op = TRACE_TASK, .task = 1 },
		{ .op = TRACE_FILE, .file = 1, .n = FILE_PAGES },
		{ .op = TRACE_MMAP, .task = 1, .vpn = FILE_VPN, .n = FILE_PAGES, .flags = TRACE_R | TRACE_W, .file = 1 },
	};
	struct sim_config_error config_error;
	struct sim_config config;
	const char *error;

	validate_machine(&config, &place, &costs, PAGES);
	config.limit_bytes = UINT64_C(256) << 12;
	config.limit_files = limit_files;
	struct sim *s = sim_create(&config, &config_error);

	assert_non_null(s);
	for (unsigned i = 0; i < ARRAY_SIZE(events); i++)
		assert_int_equal(sim_event(s, &events[i], &error), 0);
	return s;
}

static void touch_file(struct sim *s, unsigned pages, unsigned flags)
{
	const char *error;

	for (unsigned i = 0; i < pages; i++) {
		struct trace_event e = { .op = TRACE_ACCESS, .task = 1, .vpn = FILE_VPN + i, .n = 1, .flags = (uint8_t)flags };

		assert_int_equal(sim_event(s, &e, &error), 0);
	}
	sim_check(s);
}

/* Four times the limit of file pages, each page read twice. */
static void pages_of_files_that_others_read_cost_nothing(void **state)
{
	struct sim *s = with_a_file(false);

	(void)state;
	touch_file(s, FILE_PAGES, TRACE_R);
	touch_file(s, FILE_PAGES, TRACE_R);
	assert_int_equal(s->m.charged, 0);
	assert_int_equal(s->task[1]->faults[SIM_MAJOR], 0);
	assert_int_equal(s->disk.reads, 0);
	/* A private copy is the task's own. */
	touch_file(s, 100, TRACE_W);
	assert_int_equal(s->m.charged, 100);
	assert_int_equal(sim_event(s, &(struct trace_event){ .op = TRACE_EXIT, .task = 1 }, &(const char *){ NULL }), 0);
	assert_int_equal(s->m.charged, 0);
	sim_destroy(s);
}

static void transfer_file(struct sim *s, uint64_t from, unsigned pages, enum trace_op op)
{
	struct trace_event e = { .op = op, .task = 1, .file = 1, .pgoff = from, .n = pages };
	const char *error;

	assert_int_equal(sim_event(s, &e, &error), 0);
	sim_check(s);
}

/* What others have read is theirs, written or not; what is new, behind the end or after the file was cut, is the writer's. */
static void pages_of_files_that_the_program_makes_count(void **state)
{
	struct sim *s = with_a_file(false);
	const char *error;

	(void)state;
	transfer_file(s, 0, FILE_PAGES, TRACE_WRITE);
	assert_int_equal(s->m.charged, 0);
	transfer_file(s, FILE_PAGES, 100, TRACE_WRITE);
	assert_int_equal(s->m.charged, 100);
	assert_int_equal(sim_event(s, &(struct trace_event){ .op = TRACE_FILE, .file = 1, .n = 0 }, &error), 0);
	assert_int_equal(s->m.charged, 0);
	transfer_file(s, 0, 50, TRACE_WRITE);
	assert_int_equal(s->m.charged, 50);
	transfer_file(s, 0, 50, TRACE_READ);
	assert_int_equal(s->m.charged, 50);
	assert_int_equal(s->disk.reads, 0);
	/* More than the limit: the flusher and reclaim give back what is written. */
	transfer_file(s, 50, FILE_PAGES, TRACE_WRITE);
	assert_in_range(s->m.charged, 100, 256);
	sim_destroy(s);
}

static void pages_of_files_count_in_the_limit_otherwise(void **state)
{
	struct sim *s = with_a_file(true);

	(void)state;
	touch_file(s, FILE_PAGES, TRACE_R);
	assert_in_range(s->m.charged, 100, 256);
	assert_true(s->task[1]->faults[SIM_MAJOR] > 0);
	sim_destroy(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_loop_faults_as_often_as_on_linux),
		cmocka_unit_test(zipf_faults_as_often_as_on_linux),
		cmocka_unit_test(hot_pages_and_a_scan_fault_as_often_as_on_linux),
		cmocka_unit_test(a_moving_window_is_killed_where_linux_kills_it),
		cmocka_unit_test(a_moving_window_lives_with_fresh_statistics),
		cmocka_unit_test(pages_of_files_that_others_read_cost_nothing),
		cmocka_unit_test(pages_of_files_that_the_program_makes_count),
		cmocka_unit_test(pages_of_files_count_in_the_limit_otherwise),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
