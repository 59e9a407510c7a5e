/* cli/lackey.c: logs as valgrind 3.19 wrote them, cut anywhere, and logs that it never wrote. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/rand.h"
#include "cli/record/lackey.h"

/* Processes that do not exist: nothing is read from /proc. */
#define FIRST 1073741824
#define SECOND (FIRST + 1)
#define THIRD (FIRST + 2)

static char out[1 << 16];
static struct recording recording;
static struct lackey lackey;
static long allocations_left = -1; /* negative: endless */
static bool failed;             /* one has, and all after it */

void *__real_realloc(void *p, size_t size);
void *__wrap_realloc(void *p, size_t size);
void *__real_calloc(size_t n, size_t size);
void *__wrap_calloc(size_t n, size_t size);

static bool may_allocate(void)
{
	if (allocations_left == 0)
		failed = true;
	else if (allocations_left > 0)
		allocations_left--;
	return !failed;
}

void *__wrap_realloc(void *p, size_t size)
{
	return may_allocate() ? __real_realloc(p, size) : NULL;
}

void *__wrap_calloc(size_t n, size_t size)
{
	return may_allocate() ? __real_calloc(n, size) : NULL;
}

/* "op task thread: flags page+n arg text\n", numbers hexadecimal. */
static int print_event(void *ctx, const struct trace_event *e)
{
	size_t len = strlen(out);

	(void)ctx;
	snprintf(out + len, sizeof(out) - len, "%s %u.%u %x %llx+%llx %llx %u %s\n", trace_op_name(e->op), e->task, e->thread,
		 e->flags, (unsigned long long)e->vpn, (unsigned long long)e->n, (unsigned long long)e->arg, e->file,
		 e->text != NULL ? e->text : "");
	return 0;
}

/* Of FIRST, SECOND, THIRD. A start of 0: the kernel does not know it (any more). */
static struct procstat kin[3];

static int look(int32_t pid, struct procstat *s)
{
	if (pid < FIRST || pid > THIRD || kin[pid - FIRST].start == 0)
		return -ENOENT;
	*s = kin[pid - FIRST];
	return 0;
}

static void begin(void)
{
	out[0] = '\0';
	memset(kin, 0, sizeof(kin));
	recording = (struct recording){ .write = print_event };
	lackey = (struct lackey){ .r = &recording, .name = "prog", .look = look };
}

static void end(void)
{
	lackey_end(&lackey);
	recording_free(&recording);
}

static void feed(int32_t pid, const char *text)
{
	lackey_input(&lackey, pid, text, strlen(text));
}

#define IMAGE "==77== Lackey, an example Valgrind tool\n==77== Command: ./prog\n==77== \n"

static const char image_events[] =
	"task 0.1 0 0+0 0 0 prog\n"
	"exec 0.1 0 0+0 0 0 prog\n";

static void expect(const char *rest)
{
	char want[1 << 14];

	snprintf(want, sizeof(want), "%s%s", image_events, rest);
	assert_string_equal(out, want);
}

static void accesses_touch_every_page_that_they_are_in(void **state)
{
	(void)state;
	begin();
	feed(FIRST, IMAGE " S 1fff000ff8,8\nI  04001ffe,4\n M 1fff000008,8\n L 1fff000ffc,8\n");
	expect("mmap 0.1 23 1fff000+1 0 0 \n"
	       "access 0.1 2 1fff000+1 0 0 \n"
	       "mmap 0.1 3 4001+1 0 0 \n"
	       "access 0.1 4 4001+1 0 0 \n"
	       "mmap 0.1 3 4002+1 0 0 \n"
	       "access 0.1 4 4002+1 0 0 \n"
	       "access 0.1 1 1fff000+1 0 0 \n"
	       "access 0.1 2 1fff000+1 0 0 \n"
	       "access 0.1 1 1fff000+1 0 0 \n");
	end();
}

static const char life[] =
	IMAGE
	"--77--   SCHED[1]:  acquired lock (thread_wrapper(starting new thread))\n"
	" S 1fff000ff8,8\n"
	"SYSCALL[77,1](12) sys_brk ( 0x0 ) --> [pre-success] Success(0x4035000) \n"
	"SYSCALL[77,1](12) sys_brk ( 0x4037010 ) --> [pre-success] Success(0x4037010) \n"
	"SYSCALL[77,1](12) sys_brk ( 0x4036000 ) --> [pre-success] Success(0x4036000) \n"
	"SYSCALL[77,1](9) sys_mmap ( 0x0, 40960, 3, 34, 4294967295, 0 ) --> [pre-success] Success(0x4a2c000) \n"
	"SYSCALL[77,1](9) sys_mmap ( 0x0, 40960, 3, 34, 4294967295, 0 ) --> [pre-fail] Failure(0xc) \n"
	"SYSCALL[77,1](10) sys_mprotect ( 0x4a2c000, 8192, 1 )[sync] --> Success(0x0) \n"
	"SYSCALL[77,1](28) sys_madvise ( 0x4a2c000, 4096, 4 ) --> [async] ... \n"
	"--77--   SCHED[2]:  acquired lock (VG_(client_syscall)[async])\n"
	" L 4a35fff,1\n"
	"SYSCALL[77,1](28) ... [async] --> Success(0x0) \n"
	"SYSCALL[77,1](334) unimplemented (by the kernel) syscall: 334! (ni_syscall)\n"
	" --> [pre-fail] Failure(0x26) \n"
	"SYSCALL[77,1](25) sys_mremap ( 0x4a2c000, 8192, 12288, 0x1 ) --> [pre-success] Success(0x5000000) \n"
	"SYSCALL[77,1](11) sys_munmap ( 0x4a2e000, 8192 )[sync] --> Success(0x0) \n"
	"SYSCALL[77,1](56) sys_clone ( 1200011, 0x0, 0x0, 0x4a29a10, 0x0 )   clone(fork): process 77 created child "
	"1073741825\n\n";

static void a_life(void **state)
{
	(void)state;
	begin();
	feed(FIRST, life);
	expect("mmap 0.1 23 1fff000+1 0 0 \n"
	       "access 0.1 2 1fff000+1 0 0 \n"
	       "mmap 0.1 13 4035+3 0 0 \n"
	       "munmap 0.1 0 4036+2 0 0 \n"
	       "mmap 0.1 3 4a2c+a 0 0 \n"
	       "mprotect 0.1 1 4a2c+2 0 0 \n"
	       "access 0.2 1 4a35+1 0 0 \n"
	       "drop 0.1 0 4a2c+1 0 0 \n"
	       "munmap 0.1 0 5000+2 0 0 \n"
	       "mremap 0.1 0 4a2c+2 5000 0 \n"
	       "mmap 0.1 1 5002+1 0 0 \n"
	       "munmap 0.1 0 4a2e+2 0 0 \n"
	       "fork 0.1 0 0+0 1 0 \n");
	end();
}

/* However a log is cut into pieces, the events are the same. */
static void pieces_of_any_size(void **state)
{
	static char whole[sizeof(out)];
	struct rand r;

	(void)state;
	begin();
	feed(FIRST, life);
	end();
	memcpy(whole, out, sizeof(out));
	rand_seed(&r, 7);
	for (int round = 0; round < 200; round++) {
		size_t at = 0, n;

		begin();
		for (; at < sizeof(life) - 1; at += n) {
			n = 1 + rand_below(&r, MIN(30, sizeof(life) - 1 - at));
			lackey_input(&lackey, FIRST, life + at, n);
		}
		end();
		assert_string_equal(out, whole);
	}
}

#define CALL "SYSCALL[77,1](57) sys_fork ( )   "
#define CREATED "fork: process 77 created child 1073741825\n"
#define PARENT_GOES_ON " S 1fff000008,8\n"
#define CHILD_BEGINS " --> [pre-success] Success(0x0) \n S 1fff000010,8\n"

static void a_child_may_speak_before_its_parent(void **state)
{
	char first[sizeof(out)];

	(void)state;
	begin();
	feed(FIRST, IMAGE " S 1fff000ff8,8\n" CALL CREATED);
	feed(SECOND, CHILD_BEGINS);
	feed(FIRST, PARENT_GOES_ON);
	end();
	memcpy(first, out, sizeof(out));
	assert_non_null(strstr(out, "fork 0.1 0 0+0 1 0 \n"));
	assert_non_null(strstr(out, "access 1.2 2 1fff000+1 0 0 \n"));

	begin();
	feed(FIRST, IMAGE " S 1fff000ff8,8\n" CALL);
	feed(SECOND, CHILD_BEGINS);
	feed(FIRST, CREATED PARENT_GOES_ON);
	end();
	assert_string_equal(out, first);
}

/* Two have begun to fork when a child speaks. */
static void a_child_has_the_parent_that_the_kernel_says(void **state)
{
	(void)state;
	for (int32_t parent = FIRST; parent <= SECOND; parent++) {
		begin();
		kin[THIRD - FIRST] = (struct procstat){ .parent = parent, .start = 3 };
		feed(FIRST, IMAGE CALL CREATED CALL);
		feed(SECOND, CHILD_BEGINS CALL);
		feed(THIRD, CHILD_BEGINS);
		assert_non_null(strstr(out, parent == FIRST ? "fork 0.1 0 0+0 2 0 \n" : "fork 1.2 0 0+0 2 0 \n"));
		end();
	}
}

/* Valgrind's own last words come while the parent is forking again, and then the pid is given to the new child. */
static void the_last_words_of_a_process_are_no_child(void **state)
{
	(void)state;
	begin();
	kin[SECOND - FIRST] = (struct procstat){ .parent = FIRST, .start = 2 };
	feed(FIRST, IMAGE CALL CREATED CALL);
	feed(SECOND, CHILD_BEGINS "SYSCALL[77,1](231) exit_group( 5 ) --> [pre-success] Success(0x0) \n");
	out[0] = '\0';
	feed(SECOND, "==77== \n");
	kin[SECOND - FIRST].start = 0;
	feed(SECOND, "==77== \n");
	assert_string_equal(out, "");
	kin[SECOND - FIRST].start = 3;
	feed(SECOND, CHILD_BEGINS);
	assert_non_null(strstr(out, "fork 0.1 0 0+0 2 0 \n"));
	end();
}

static bool all_are_gone(int32_t pid)
{
	(void)pid;
	return true;
}

static void an_end_is_told_once(void **state)
{
	(void)state;
	begin();
	feed(FIRST, IMAGE "SYSCALL[77,1](231) exit_group( 5 ) --> [pre-success] Success(0x0) \n==77== \n");
	expect("exit 0.1 0 0+0 0 0 \n");
	end();
	expect("exit 0.1 0 0+0 0 0 \n");

	begin();
	feed(FIRST, IMAGE "==77== Process terminating with default action of signal 11 (SIGSEGV)\n==77==  Access not\n");
	expect("exit 0.1 0 0+0 0 0 \n");
	end();

	/* Without a word: not before what it has written can have been read. */
	begin();
	feed(FIRST, IMAGE);
	lackey_sweep(&lackey, all_are_gone);
	lackey_sweep(&lackey, all_are_gone);
	expect("");
	lackey.drained = true;
	lackey_sweep(&lackey, all_are_gone);
	expect("exit 0.1 0 0+0 0 0 \n");
	end();
}

static void an_image_that_a_call_made(void **state)
{
	(void)state;
	begin();
	feed(FIRST, IMAGE "SYSCALL[77,1](59) sys_execve ( 0x10a004(/bin/a (b), c), 0x1fff000410, 0x1fff000568 )"
			  "==77== Lackey, an example Valgrind tool\n");
	expect("exec 0.1 0 0+0 0 0 /bin/a (b), c\n");
	end();
}

static int write_event(void *ctx, const struct trace_event *e)
{
	return trace_write(ctx, e);
}

/* Lines that break every rule: whatever they say, the events are such that a trace can take them. */
static void nonsense(void **state)
{
	static const char *const lines[] = {
		"", "I", "I  ", "I  ,", "I  zz,4\n", " L \n", " S 10,\n", " M 10,99999\n", " L ffffffffffffffff,8\n", "SYSCALL[\n",
		"SYSCALL[1,\n", "SYSCALL[1,99999](9) x\n", "SYSCALL[1,1](\n", "SYSCALL[1,1](9)\n", "SYSCALL[1,1](9) sys_mmap (\n",
		"SYSCALL[77,1](9) sys_mmap ( 0x0, 18446744073709551615, 3, 34, 4294967295, 0 ) --> Success(0xfffffffffffff000)\n",
		"SYSCALL[77,1](9) sys_mmap ( 0x0, 4096, 3, 2, 5, 18446744073709551615 ) --> Success(0x1000)\n",
		"SYSCALL[77,1](11) sys_munmap ( 0xfffffffffffff000, 18446744073709551615 ) --> Success(0x0)\n",
		"SYSCALL[77,1](25) sys_mremap ( 0x1000, 18446744073709551615, 18446744073709551615, 0x3 ) --> Success(0xff0000)\n",
		"SYSCALL[77,1](12) sys_brk ( 0x0 ) --> Success(0xffffffffffffffff)\n",
		"SYSCALL[77,1](12) sys_brk ( 0x0 ) --> Success(0x1)\n",
		"SYSCALL[77,1](0) sys_read ( 3, 0x1000, 9 ) --> Success(0xffffffffffffffff)\n",
		"SYSCALL[77,1](32) sys_dup ( 4294967295 ) --> Success(0xffffffffffffffff)\n",
		"SYSCALL[77,1](257) sys_openat ( 1, 0x1(x --> Success(0x3)\n", "--1--   SCHED[9999]:  acquired lock\n",
		"SYSCALL[77,1](57) sys_fork ( )   created child 99999999999\n",
		"SYSCALL[77,1](59) sys_execve ( 0x1(/bin/x\n== Lackey, an example Valgrind tool\n", "\n\n",
	};
	int fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
	struct trace_writer *writer;
	struct rand r;

	(void)state;
	rand_seed(&r, 3);
	for (int round = 0; round < 300; round++) {
		begin();
		assert_int_equal(trace_writer_open(&writer, fd, false), 0);
		recording.write = write_event;
		recording.ctx = writer;
		feed(FIRST, IMAGE);
		for (int i = 0; i < 60; i++) {
			feed(rand_below(&r, 8) == 0 ? SECOND : FIRST, lines[rand_below(&r, ARRAY_SIZE(lines))]);
		}
		end();
		assert_int_equal(recording.err, 0);
		assert_int_equal(trace_writer_close(writer), 0);
	}
	close(fd);
}

static void lines_without_end(void **state)
{
	char x[1000];

	(void)state;
	memset(x, 'x', sizeof(x));
	begin();
	feed(FIRST, IMAGE " S 1fff000ff8,8\nSYSCALL[77,1](");
	for (int i = 0; i < 100; i++)
		lackey_input(&lackey, FIRST, x, sizeof(x));
	feed(FIRST, "\n L 1fff000000,8\n");
	expect("mmap 0.1 23 1fff000+1 0 0 \naccess 0.1 2 1fff000+1 0 0 \naccess 0.1 1 1fff000+1 0 0 \n");
	end();
}

static void every_allocation_fails_in_turn(void **state)
{
	bool clean = false;

	(void)state;
	for (long n = 0; !clean; n++) {
		begin();
		allocations_left = n;
		feed(FIRST, life);
		feed(SECOND, CHILD_BEGINS);
		clean = !failed;
		assert_int_equal(recording.err, clean ? 0 : -ENOMEM);
		allocations_left = -1;
		failed = false;
		end();
		assert_true(n < 1000);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(accesses_touch_every_page_that_they_are_in),
		cmocka_unit_test(a_life),
		cmocka_unit_test(pieces_of_any_size),
		cmocka_unit_test(a_child_may_speak_before_its_parent),
		cmocka_unit_test(a_child_has_the_parent_that_the_kernel_says),
		cmocka_unit_test(the_last_words_of_a_process_are_no_child),
		cmocka_unit_test(an_end_is_told_once),
		cmocka_unit_test(an_image_that_a_call_made),
		cmocka_unit_test(nonsense),
		cmocka_unit_test(lines_without_end),
		cmocka_unit_test(every_allocation_fails_in_turn),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
