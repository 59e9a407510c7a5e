/* Regions of files where something is refused or fails: touches, disks, files that change, calls in a child, bad input. */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <cmocka.h>

#include "allowed.h"
#include "world.h"
/* What a touch raises. */

static sigjmp_buf jump;

static void on_signal(int sig)
{
	siglongjmp(jump, sig);
}

static int signal_of(volatile uint8_t *at, bool write)
{
	struct sigaction action = { .sa_handler = on_signal }, bus, segv;
	int raised;

	sigaction(SIGBUS, &action, &bus);
	sigaction(SIGSEGV, &action, &segv);
	raised = sigsetjmp(jump, 1);
	if (raised == 0) {
		uint8_t byte = *at;

		if (write)
			*at = byte;
	}
	sigaction(SIGBUS, &bus, NULL);
	sigaction(SIGSEGV, &segv, NULL);
	return raised;
}

static void a_region_that_is_not_writable_cannot_be_written(void **state)
{
	struct world w = world_make(MIB);
	struct stw_file_config c = config_of(&w, 2 * MIB, 64 * KIB);

	(void)state;
	c.writable = 0;
	open_with(&w, &c);
	assert_memory_equal(address(&w), w.want, w.bytes);
	assert_int_equal(signal_of(address(&w) + 5, true), SIGSEGV);
	assert_int_equal(stw_discard(w.r, 0, w.bytes), -EINVAL);
	assert_int_equal(stw_flush(w.r, 0, w.bytes), 0);
	world_end(&w);
}

static void a_file_that_gets_shorter_raises_sigbus(void **state)
{
	struct world w = world_make(4 * MIB);

	(void)state;
	world_open(&w, 2 * MIB, 64 * KIB);
	assert_int_equal(truncate(w.path, MIB), 0);
	assert_int_equal(signal_of(address(&w) + 3 * MIB, false), SIGBUS);
	assert_int_equal(stw_prefetch(w.r, 3 * MIB, 1), -EIO);
	assert_non_null(strstr(stw_error(), "shorter than it was"));
	assert_memory_equal(address(&w), w.want, MIB);
	assert_true(stats_of(&w).errors > 0);
	/* It is there again. */
	assert_int_equal(truncate(w.path, 4 * MIB), 0);
	assert_int_equal(stw_prefetch(w.r, 3 * MIB, 1), 0);
	assert_int_equal(signal_of(address(&w) + 3 * MIB, false), 0);
	world_end(&w);
}

static void on_a_full_disk_nothing_is_lost_and_close_says_so(void **state)
{
	char dir[] = "/tmp/steward-full-XXXXXX", path[64], ballast[64];
	struct stw_file_config c = STW_FILE_CONFIG;

	(void)state;
	assert_non_null(mkdtemp(dir));
	if (mount("tmpfs", dir, "tmpfs", 0, "size=2m") != 0) {
		rmdir(dir);
		skip();
	}
	snprintf(path, sizeof(path), "%s/data", dir);
	snprintf(ballast, sizeof(ballast), "%s/ballast", dir);
	int fd = open(ballast, O_CREAT | O_WRONLY, 0600);

	assert_int_equal(fallocate(fd, 0, 0, MIB), 0);
	close(fd);
	c.path = path;
	c.writable = c.create = 1;
	c.bytes = 2 * MIB;
	c.budget = 8 * MIB;
	c.page = 4096;
	struct stw_region *r = stw_file_open(&c);

	assert_non_null(r);
	memset(stw_address(r), 'x', 2 * MIB);
	assert_int_equal(stw_close(r), -ENOSPC);
	assert_non_null(strstr(stw_error(), "cannot write"));
	for (size_t i = 0; i < 2 * MIB; i += 4096)
		assert_int_equal(((uint8_t *)stw_address(r))[i], 'x');
	unlink(ballast);
	assert_int_equal(stw_close(r), 0);
	uint8_t *have = malloc(2 * MIB);

	fd = open(path, O_RDONLY);
	assert_int_equal(read(fd, have, 2 * MIB), 2 * MIB);
	for (size_t i = 0; i < 2 * MIB; i++)
		assert_int_equal(have[i], 'x');
	close(fd);
	free(have);
	umount(dir);
	rmdir(dir);
}

/* A flush by a thread whose fdatasync fails, and only its. */
static void *flush_to_a_disk_that_fails(void *arg)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_fdatasync, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EIO),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog filter = { sizeof(code) / sizeof(code[0]), code };
	struct world *w = arg;

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) != 0)
		return NULL;
	return (void *)(intptr_t)stw_flush(w->r, 0, w->bytes);
}

static void that_the_disk_did_not_take_what_was_written_is_not_forgotten(void **state)
{
	struct world w = world_make(MIB);
	pthread_t thread;
	void *said;

	(void)state;
	world_open(&w, 8 * MIB, 64 * KIB);
	write_some(&w, 20);
	assert_int_equal(pthread_create(&thread, NULL, flush_to_a_disk_that_fails, &w), 0);
	pthread_join(thread, &said);
	assert_int_equal((intptr_t)said, -EIO);
	assert_int_equal(stats_of(&w).errors, 1);
	write_some(&w, 20);
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(stw_flush(w.r, 0, w.bytes), -EIO);
		assert_int_equal(stw_close(w.r), -EIO);
		assert_non_null(strstr(stw_error(), "cannot bring the file to the disk: Input/output error"));
	}
	assert_int_equal(stats_of(&w).errors, 1);
	assert_memory_equal(address(&w), w.want, w.bytes);
	assert_int_equal(stw_abandon(w.r), 0);
	w.r = NULL;
	world_end(&w);
}

static void in_a_child_calls_fail_and_the_parent_goes_on(void **state)
{
	struct world w = world_make(4 * MIB);

	(void)state;
	world_open(&w, 2 * MIB, 64 * KIB);
	write_some(&w, 50);
	pid_t child = fork();

	if (child == 0)
		_exit(stw_flush(w.r, 0, w.bytes) == -ECHILD && stw_close(w.r) == -ECHILD && stw_abandon(w.r) == -ECHILD &&
				      signal_of(address(&w), false) == SIGSEGV ? 0 : 1);
	write_some(&w, 50);
	int status;

	waitpid(child, &status, 0);
	assert_int_equal(status, 0);
	assert_memory_equal(address(&w), w.want, w.bytes);
	world_end(&w);
}

static void refused(const struct stw_file_config *c, const char *words)
{
	assert_null(stw_file_open(c));
	if (strstr(stw_error(), words) == NULL)
		fail_msg("\"%s\" lacks \"%s\"", stw_error(), words);
}

static void an_open_that_fails_closes_no_descriptor_of_the_program(void **state)
{
	struct stw_file_config c = STW_FILE_CONFIG;

	(void)state;
	c.path = "/nonexistent/file";
	c.budget = 8 * MIB;
	assert_true(fcntl(0, F_GETFD) >= 0 || open("/dev/null", O_RDONLY) == 0);
	refused(&c, "cannot open");
	assert_true(fcntl(0, F_GETFD) >= 0);
}

static void bad_input_is_refused_with_its_reason(void **state)
{
	struct world w = world_make(MIB), empty = world_make(0);
	struct stw_file_config good = config_of(&w, 8 * MIB, 64 * KIB), c;

	(void)state;
	c = good, c.config_bytes = 1, refused(&c, "STW_FILE_CONFIG");
	c = good, c.path = NULL, refused(&c, "needs a path");
	c = good, c.path = "/nonexistent/file", refused(&c, "cannot open /nonexistent/file: No such file");
	c = good, c.path = "/dev/null", refused(&c, "neither a file nor a block device");
	c = good, c.page = 5000, refused(&c, "pages cannot have 5000 bytes");
	c = good, c.page = 2048, refused(&c, "pages cannot have 2048 bytes");
	c = good, c.page = 4 * MIB, refused(&c, "pages cannot have");
	c = good, c.offset = 100, refused(&c, "no multiple of 4096");
	c = good, c.bytes = 2 * MIB, refused(&c, "has 1048576 bytes, and the region wants 2097152");
	c = good, c.bytes = 2 * MIB, c.create = 1, c.writable = 0, refused(&c, "has 1048576 bytes");
	c = good, c.offset = MIB, refused(&c, "none from offset 1048576 on");
	c = good, c.budget = 64 * KIB, refused(&c, "too small for pages of 65536");
	c = good, c.bytes = SIZE_MAX, refused(&c, "a file cannot have");
	c = good, c.path = empty.path, refused(&c, "has 0 bytes");
	world_end(&w);
	world_end(&empty);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_region_that_is_not_writable_cannot_be_written),
		cmocka_unit_test(a_file_that_gets_shorter_raises_sigbus),
		cmocka_unit_test(on_a_full_disk_nothing_is_lost_and_close_says_so),
		cmocka_unit_test(that_the_disk_did_not_take_what_was_written_is_not_forgotten),
		cmocka_unit_test(in_a_child_calls_fail_and_the_parent_goes_on),
		cmocka_unit_test(an_open_that_fails_closes_no_descriptor_of_the_program),
		cmocka_unit_test(bad_input_is_refused_with_its_reason),
	};

	return tests_begin(argc, argv) ? cmocka_run_group_tests(tests, NULL, NULL) : 0;
}
