/* Memory that was freed goes back by itself, also while the program does nothing. Run with LD_PRELOAD. */
#include <dirent.h>
#include <malloc.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#define PEAK_BYTES ((size_t)64 << 20)
#define KEEP_PARTS 10          /* one of so many stays */
#define PATIENCE_S 30
#define IDLE_S 12

static size_t rss_bytes(void)
{
	unsigned long size, resident;
	FILE *f = fopen("/proc/self/statm", "r");

	assert_non_null(f);
	assert_int_equal(fscanf(f, "%lu %lu", &size, &resident), 2);
	fclose(f);
	return resident * 4096;
}

static unsigned threads(void)
{
	DIR *d = opendir("/proc/self/task");
	unsigned n = 0;

	assert_non_null(d);
	for (struct dirent *e; (e = readdir(d)) != NULL;)
		n += e->d_name[0] != '.';
	closedir(d);
	return n;
}

static size_t bytes_at_start;

/* Seconds until the process is no larger than `bytes`, or PATIENCE_S. */
static unsigned wait_until_below(size_t bytes)
{
	unsigned s = 0;

	for (; s < PATIENCE_S && rss_bytes() > bytes; s++)
		sleep(1);
	return s;
}

/* Of a peak of blocks, made one after the other, the last run of KEEP_PARTS stays. */
static bool stays(size_t i, size_t run)
{
	return i / run % KEEP_PARTS == KEEP_PARTS - 1;
}

/* Blocks of one size up to the peak; runs of so many live and die together. */
static void a_peak_of(size_t bytes, size_t run)
{
	size_t n = PEAK_BYTES / bytes, live = PEAK_BYTES / KEEP_PARTS;
	char **mem = calloc(n, sizeof(*mem));

	for (size_t i = 0; i < n; i++) {
		mem[i] = malloc(bytes);
		memset(mem[i], (int)i, bytes);
	}
	assert_true(rss_bytes() >= PEAK_BYTES);
	for (size_t i = 0; i < n; i++)
		if (!stays(i, run))
			free(mem[i]);

	assert_true(wait_until_below(bytes_at_start + n * sizeof(*mem) + live + live / 100 * 15 + (2 << 20)) < PATIENCE_S);
	for (size_t i = 0; i < n; i++) {
		if (!stays(i, run))
			continue;
		assert_int_equal(mem[i][0], (char)i);
		assert_int_equal(mem[i][bytes - 1], (char)i);
		free(mem[i]);
	}
	free(mem);
}

static void small_blocks_go_back(void **state)
{
	(void)state;
	a_peak_of(64, PEAK_BYTES / 64 / KEEP_PARTS);
}

static void chunks_go_back(void **state)
{
	(void)state;
	a_peak_of(50000, PEAK_BYTES / 50000 / KEEP_PARTS);
}

static void runs_between_survivors_go_back(void **state)
{
	(void)state;
	a_peak_of(500, 2000);
}

/* Allocates and frees `bytes` in blocks of one size. */
static void churn(size_t bytes, size_t size)
{
	size_t n = bytes / size;
	char **mem = calloc(n, sizeof(*mem));

	for (size_t i = 0; i < n; i++) {
		mem[i] = malloc(size);
		memset(mem[i], 1, size);
	}
	for (size_t i = 0; i < n; i++)
		free(mem[i]);
	free(mem);
}

#define OF_SLEEPER (PEAK_BYTES / 500)
#define FREED_PART 40 /* less than makes a thread look after the owner by itself */

static char *of_sleeper[OF_SLEEPER];
static volatile int phase; /* 1: freed; 2: go on; 3: end */

static void *free_a_part_and_wait(void *arg)
{
	for (size_t i = 0; i < OF_SLEEPER / FREED_PART; i++)
		free(of_sleeper[i]);
	for (phase = 1; phase != 2;)
		usleep(1000);
	churn(PEAK_BYTES / 4, 100000); /* the clock runs, and nothing of this stays in the cache */
	while (phase != 3)
		usleep(1000);
	return arg;
}

/* What others freed of its blocks. */
static void a_thread_that_sleeps_keeps_nothing_for_it(void **state)
{
	pthread_t t;
	size_t before;

	(void)state;
	for (size_t i = 0; i < OF_SLEEPER; i++)
		memset(of_sleeper[i] = malloc(500), 1, 500);
	pthread_create(&t, NULL, free_a_part_and_wait, NULL);
	while (phase != 1)
		usleep(1000);
	before = rss_bytes();
	phase = 2;
	assert_true(wait_until_below(before - PEAK_BYTES / FREED_PART / 2) < PATIENCE_S);
	phase = 3;
	pthread_join(t, NULL);
	for (size_t i = OF_SLEEPER / FREED_PART; i < OF_SLEEPER; i++)
		free(of_sleeper[i]);
}

/* The thread goes on, but with one size only: what its cache holds of the others goes back. */
static void what_a_thread_does_not_use_leaves_its_cache(void **state)
{
	unsigned s = 0;

	(void)state;
	for (size_t size = 64; size <= 8192; size += size / 4)
		churn((size_t)128 << 10, size);
	size_t full = mallinfo2().fsmblks;

	assert_true(full > 128 << 10);
	/* Free memory that waits for its time: the clock runs. */
	churn(PEAK_BYTES / 4, 50000);
	for (; s < IDLE_S && mallinfo2().fsmblks > full / 4; s++) {
		churn((size_t)128 << 10, 48);
		sleep(1);
	}
	assert_true(s < IDLE_S);
}

static void the_thread_ends_when_there_is_nothing_left_to_do(void **state)
{
	unsigned s = 0;

	(void)state;
	for (; s < PATIENCE_S && threads() > 1; s++)
		sleep(1);
	assert_int_equal(threads(), 1);
}

static void a_child_purges_for_itself(void **state)
{
	int status = -1;
	pid_t pid = fork();

	(void)state;
	if (pid == 0) {
		a_peak_of(5000, PEAK_BYTES / 5000 / KEEP_PARTS);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

/* Of a thread of ours: the number that follows the name in its status. */
static unsigned long long status_of(const char *tid, const char *name, int base)
{
	char path[300], line[300];
	unsigned long long value = 0;

	snprintf(path, sizeof(path), "/proc/self/task/%s/status", tid);
	FILE *f = fopen(path, "r");

	while (f != NULL && fgets(line, sizeof(line), f) != NULL)
		if (strncmp(line, name, strlen(name)) == 0)
			value = strtoull(line + strlen(name), NULL, base);
	if (f != NULL)
		fclose(f);
	return value;
}

/* Threads beside the first one, how many of them have this uid, and the capabilities that they have. */
static unsigned purgers(uid_t uid, unsigned *with_uid, unsigned long long *capabilities)
{
	DIR *d = opendir("/proc/self/task");
	unsigned n = 0;

	*with_uid = 0;
	*capabilities = 0;
	for (struct dirent *e; d != NULL && (e = readdir(d)) != NULL;) {
		if (e->d_name[0] == '.' || atoi(e->d_name) == getpid())
			continue;
		n++;
		*with_uid += status_of(e->d_name, "Uid:", 10) == uid;
		*capabilities |= status_of(e->d_name, "CapEff:", 16) | status_of(e->d_name, "CapPrm:", 16);
	}
	closedir(d);
	return n;
}

static int give_up_root(void)
{
	unsigned long long capabilities;
	unsigned n, with_uid, s = 0;

	churn(PEAK_BYTES / 4, 50000);
	usleep(100000);
	n = purgers(0, &with_uid, &capabilities);
	if (n != 1 || with_uid != 1 || capabilities != 0)
		return 1;
	if (setgid(65534) != 0 || setuid(65534) != 0)
		return 2;
	for (; s < PATIENCE_S && purgers(0, &with_uid, &capabilities) != 0; s++)
		sleep(1);
	if (s > 3)
		return 3;
	churn(PEAK_BYTES / 4, 50000);
	n = purgers(65534, &with_uid, &capabilities);
	if (n != 1 || with_uid != 1)
		return 4;
	return wait_until_below(bytes_at_start + PEAK_BYTES / 8) < PATIENCE_S ? 0 : 5;
}

static void the_thread_has_no_more_rights_than_the_program(void **state)
{
	int status = -1;

	(void)state;
	if (getuid() != 0)
		skip();
	pid_t pid = fork();

	if (pid == 0)
		_exit(give_up_root());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(WEXITSTATUS(status), 0);
	assert_true(WIFEXITED(status));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(small_blocks_go_back),
		cmocka_unit_test(chunks_go_back),
		cmocka_unit_test(runs_between_survivors_go_back),
		cmocka_unit_test(a_child_purges_for_itself),
		cmocka_unit_test(the_thread_has_no_more_rights_than_the_program),
		cmocka_unit_test(what_a_thread_does_not_use_leaves_its_cache),
		cmocka_unit_test(the_thread_ends_when_there_is_nothing_left_to_do),
		/* Last, for nothing else is on its way back now. */
		cmocka_unit_test(a_thread_that_sleeps_keeps_nothing_for_it),
	};
	bytes_at_start = rss_bytes();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
