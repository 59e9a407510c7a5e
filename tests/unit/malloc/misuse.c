/* One misuse a child: each must end with its line on stderr and SIGABRT. Run with LD_PRELOAD. */
#include <dlfcn.h>
#include <malloc.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

static void *(*volatile p_malloc)(size_t) = malloc;
static void *(*volatile p_realloc)(void *, size_t) = realloc;
static void (*volatile p_free)(void *) = free;

/* Runs fn in a child. Its stderr goes to text, which has `room` bytes. */
static int run_child(void (*fn)(void), char *text, size_t room)
{
	int pipefd[2], status = 0;
	size_t len = 0;
	ssize_t n;
	pid_t pid;

	assert_int_equal(pipe(pipefd), 0);
	pid = fork();
	if (pid == 0) {
		struct rlimit none = { 0, 0 };

		setrlimit(RLIMIT_CORE, &none);
		signal(SIGABRT, SIG_DFL);
		signal(SIGSEGV, SIG_DFL);
		dup2(pipefd[1], 2);
		close(pipefd[0]);
		fn();
		_exit(0);
	}
	close(pipefd[1]);
	while ((n = read(pipefd[0], text + len, room - 1 - len)) > 0)
		len += (size_t)n;
	text[len] = '\0';
	close(pipefd[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

/* It must write exactly one line, steward: malloc: WHAT: ADDRESS, and abort. */
static void dies_of(void (*fn)(void), const char *what)
{
	char text[300], want[200];
	int status = run_child(fn, text, sizeof(text));

	snprintf(want, sizeof(want), "steward: malloc: %s: 0x", what);
	if (strncmp(text, want, strlen(want)) != 0)
		fail_msg("want \"%s\", got \"%s\", status %x", want, text, (unsigned)status);
	assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

/* It must meet a page without access, at the very instruction. */
static void dies_at_a_guard(void (*fn)(void))
{
	char text[300];
	int status = run_child(fn, text, sizeof(text));

	assert_string_equal(text, "");
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
}

#define MISUSE(name, what, ...)               \
	static void name##_child(void) __VA_ARGS__ \
	static void name(void **state)        \
	{                                     \
		(void)state;                  \
		dies_of(name##_child, what);  \
	}

#define FAULT(name, ...)                      \
	static void name##_child(void) __VA_ARGS__ \
	static void name(void **state)        \
	{                                     \
		(void)state;                  \
		dies_at_a_guard(name##_child); \
	}

/* One of the blocks that survive in slabs of 64 bytes, after which three MiB of another size were asked for (dissolve.c). */
static char *survivor_of_a_dissolved_slab(void)
{
	enum { N = 100000, STEP = 20, OTHERS = 15000 };
	static char *block[N];

	for (unsigned i = 0; i < N; i++)
		block[i] = p_malloc(64);
	for (unsigned i = 0; i < N; i++)
		if (i % STEP != 0)
			p_free(block[i]);
	for (unsigned i = 0; i < OTHERS; i++)
		if (p_malloc(200) == NULL)
			_exit(1);
	return block[N / 2];
}

MISUSE(double_free_in_a_dissolved_slab, "double free", {
	char *p = survivor_of_a_dissolved_slab();

	p_free(p);
	p_free(p);
})

MISUSE(free_of_the_middle_of_a_block_in_a_dissolved_slab, "free of an invalid pointer", {
	p_free(survivor_of_a_dissolved_slab() + 16);
})

MISUSE(realloc_of_the_middle_of_a_block_in_a_dissolved_slab, "realloc of an invalid pointer", {
	if (p_realloc(survivor_of_a_dissolved_slab() + 16, 64) == NULL)
		_exit(1);
})

MISUSE(double_free, "double free", {
	char *p = p_malloc(100), *q = p_malloc(100);

	p_free(p);
	p_free(p);
	p_free(q);
})

MISUSE(double_free_with_freed_blocks_filled, "double free", {
	char *p;

	mallopt(M_PERTURB, 42);
	p = p_malloc(100);
	p_free(p);
	p_free(p);
})

MISUSE(double_free_after_merging_downward, "double free", {
	char *p = p_malloc(100), *q = p_malloc(100), *r = p_malloc(100);

	p_free(p);
	p_free(q);
	p_free(q);
	p_free(r);
})

MISUSE(double_free_after_merging_on_both_sides, "double free", {
	char *p = p_malloc(100), *q = p_malloc(100), *r = p_malloc(100);

	p_malloc(100);
	p_free(p);
	p_free(r);
	p_free(q);
	p_free(q);
})

MISUSE(double_free_of_the_last_block, "double free", {
	char *p = p_malloc(60000);

	p_free(p);
	p_free(p);
})

MISUSE(realloc_after_free, "double free", {
	char *p = p_malloc(100), *q = p_malloc(100);

	p_free(p);
	p_free(p_realloc(p, 400));
	p_free(q);
})

MISUSE(free_of_a_stack_pointer, "free of an invalid pointer", {
	_Alignas(16) char on_stack[64] = { 0 };

	p_free(on_stack + 16);
})

MISUSE(free_of_static_memory, "free of an invalid pointer", {
	_Alignas(16) static char fixed[64];

	p_free(fixed + 32);
})

MISUSE(free_of_the_middle_of_a_block, "free of an invalid pointer", {
	char *p = p_malloc(1000);

	memset(p, 0, 1000);
	p_free(p + 160);
})

MISUSE(free_of_the_middle_of_a_large_block, "free of an invalid pointer or a block with a corrupted size", {
	char *p = p_malloc(70000);

	memset(p, 0, 70000);
	p_free(p + 160);
})

MISUSE(double_free_with_many_frees_in_between, "double free", {
	static char *p[1000];

	for (int i = 0; i < 1000; i++)
		p[i] = p_malloc(48);
	for (int i = 0; i < 1000; i += 2)
		p_free(p[i]);
	p_free(p[500]);
})

MISUSE(double_free_of_a_block_that_was_written_to, "double free", {
	static char *p[1000];

	for (int i = 0; i < 1000; i++)
		p[i] = p_malloc(48);
	for (int i = 0; i < 1000; i += 2) {
		p_free(p[i]);
		memset(p[i], 0x41, 48);
	}
	p_free(p[500]);
	for (int i = 1; i < 1000; i += 4)
		p_free(p[i]);
})

static void *free_it(void *mem)
{
	p_free(mem);
	return NULL;
}

MISUSE(double_free_by_another_thread, "double free", {
	char *p = p_malloc(48);
	pthread_t t;

	pthread_create(&t, NULL, free_it, p);
	pthread_join(t, NULL);
	pthread_create(&t, NULL, free_it, p);
	pthread_join(t, NULL);
})

MISUSE(double_free_by_its_owner_after_another_thread, "double free", {
	static char *p[1000];
	pthread_t t;

	for (int i = 0; i < 1000; i++)
		p[i] = p_malloc(48);
	pthread_create(&t, NULL, free_it, p[500]);
	pthread_join(t, NULL);
	for (int i = 0; i < 1000; i++)
		p_free(p[i]);
	for (int i = 0; i < 2000; i++)
		p_malloc(48);
})

/* A heap so large that its thread keeps some chunks. */
static void large_heap(void)
{
	for (int i = 0; i < 20; i++)
		p_malloc(60000);
}

MISUSE(double_free_of_a_chunk_in_the_cache, "double free", {
	large_heap();

	char *p = p_malloc(20000);

	p_free(p);
	p_free(p);
})

MISUSE(write_to_a_chunk_in_the_cache, "write to a freed block", {
	large_heap();

	char *p = p_malloc(20000);

	p_free(p);
	p[3] ^= 1;
	p_malloc(20000);
})

MISUSE(write_before_a_chunk_in_the_cache, "write to a freed block", {
	large_heap();

	char *p = p_malloc(20000);

	p_free(p);
	p[-7] ^= 0x10; /* the size of the chunk */
	p_malloc(20000);
})

MISUSE(use_of_a_freed_block, "use of a freed block", {
	static char *p[1000];

	for (int i = 0; i < 1000; i++)
		p[i] = p_malloc(48);
	for (int i = 0; i < 1000; i += 2)
		p_free(p[i]);
	malloc_usable_size(p[0]);
})

MISUSE(free_of_a_misaligned_pointer, "free of an invalid pointer", {
	char *p = p_malloc(100);

	p_free(p + 3);
})

MISUSE(realloc_of_a_stack_pointer, "realloc of an invalid pointer", {
	_Alignas(16) char on_stack[64] = { 0 };

	p_free(p_realloc(on_stack + 16, 100));
})

MISUSE(overrun_into_the_next_header, "corrupted size of the next block", {
	char *p = p_malloc(70008), *q = p_malloc(70008);

	memset(p, 0x41, 70024);
	p_free(p);
	p_free(q);
})

MISUSE(free_after_an_overrun_from_below, "free of an invalid pointer or a block with a corrupted size", {
	char *p = p_malloc(70008), *q = p_malloc(70008);

	memset(p, 0x41, 70024);
	p_free(q);
})

MISUSE(overrun_with_a_false_previous_size, "corrupted size vs. previous size", {
	char *p = p_malloc(70008), *q = p_malloc(70008);

	p_malloc(70008);
	*(size_t *)(p + 70000) = 48;  /* says: 48 bytes before q begins a free chunk … */
	*(size_t *)(p + 70008) &= ~(size_t)1;
	p_free(q);
})

MISUSE(write_after_free_over_the_links, "corrupted free list", {
	static size_t fake[8];
	char *p = p_malloc(70000);

	p_malloc(70000);
	p_free(p);
	((void **)p)[0] = fake;
	((void **)p)[1] = fake;
	p_malloc(66000);
})

MISUSE(overrun_into_the_top, "corrupted top size", {
	char *p = p_malloc(90008);

	p_malloc(70008);
	p = p_malloc(66008);
	memset(p, 0xff, 66016);
	p_malloc(90000);
})

MISUSE(free_of_a_large_block_with_a_broken_header, "free of an invalid pointer", {
	char *p = p_malloc(1 << 20);

	((size_t *)p)[-2] = 0;
	p_free(p);
})

MISUSE(free_of_a_large_block_after_a_write_of_its_last_header_byte, "free of an invalid pointer", {
	char *p = p_malloc(1 << 20);

	p[-1] ^= 'A';
	p_free(p);
})

MISUSE(write_before_a_large_block, "write before the beginning of a block", {
	char *p = p_malloc(1 << 20);

	p[-32] ^= 'A';
	p_free(p);
})

MISUSE(write_before_a_large_block_that_is_resized, "write before the beginning of a block", {
	char *p = p_malloc(1 << 20);

	p[-32] ^= 'A';
	p_realloc(p, 2 << 20);
})

FAULT(write_behind_a_large_block, {
	char *p = p_malloc((1 << 20) - 10);

	p[(1 << 20) - 1] = 'A';
	p[1 << 20] = 'A';
})

FAULT(write_behind_a_large_block_that_was_resized, {
	char *p = p_realloc(p_malloc(1 << 20), 5 << 20);

	p[malloc_usable_size(p) - 1] = 'A';
	p[malloc_usable_size(p)] = 'A';
})

FAULT(read_of_a_block_of_no_bytes, {
	volatile char *p = p_malloc(0);

	(void)*p;
})

FAULT(write_to_a_block_of_no_bytes, {
	volatile char *p = p_malloc(0);

	*p = 'A';
})

MISUSE(double_free_of_a_block_of_no_bytes, "double free", {
	char *p = p_malloc(0);

	p_free(p);
	p_free(p_malloc(0));
	p_free(p);
})

MISUSE(use_of_a_freed_block_of_no_bytes, "use of a freed block", {
	char *p = p_malloc(0);

	p_free(p);
	p_realloc(p, 10);
})

MISUSE(free_beside_a_block_of_no_bytes, "free of an invalid pointer", {
	char *p = p_malloc(0);

	p_free(p + 8);
})

MISUSE(write_to_a_freed_slot, "write to a freed block", {
	char *p = p_malloc(48);

	p_free(p);
	p[7] ^= 1;
	p_malloc(48);
})

MISUSE(write_to_a_freed_slot_found_by_a_refill_of_another_size, "write to a freed block", {
	char *p = p_malloc(48);

	p_free(p);
	p[7] ^= 1;
	p_malloc(7777);
})

MISUSE(write_behind_a_block_into_slots_that_were_never_handed_out, "write to a freed block", {
	char *p = p_malloc(6144);

	memset(p, 0, 6144 + 1);
	p_malloc(6144);
})

MISUSE(write_of_zeros_far_behind_a_block, "write to a freed block", {
	char *p = p_malloc(40);

	memset(p + 48 * 3, 0, 8);
	p_malloc(7777);
})

MISUSE(write_after_a_free_by_another_thread, "write to a freed block", {
	static char *p[1000];
	pthread_t t;

	for (int i = 0; i < 1000; i++)
		p[i] = p_malloc(48);
	pthread_create(&t, NULL, free_it, p[500]);
	pthread_join(t, NULL);
	p[500][0] ^= 1;
	for (int i = 0; i < 2000; i++)
		p_malloc(48);
})

MISUSE(free_of_the_next_block_that_was_never_handed_out, "double free", {
	char *p = p_malloc(7168);

	p_free(p + 7168);
})

/* The first of a slab, and a slot far behind it. */
MISUSE(free_of_a_far_block_that_was_never_handed_out, "free of an invalid pointer", {
	char *p = p_malloc(208);

	if ((uintptr_t)p % 4096 != 0)
		_exit(2);
	p_free(p + 208 * 17);
})

/* Of functions that no library of the build has: the allocator is preloaded. */
static void free_sized(void *mem, size_t bytes)
{
	((void (*)(void *, size_t))dlsym(RTLD_DEFAULT, "free_sized"))(mem, bytes);
}

static void free_aligned_sized(void *mem, size_t align, size_t bytes)
{
	((void (*)(void *, size_t, size_t))dlsym(RTLD_DEFAULT, "free_aligned_sized"))(mem, align, bytes);
}

static void delete_sized(const char *name, void *mem, size_t bytes)
{
	((void (*)(void *, size_t))dlsym(RTLD_DEFAULT, name))(mem, bytes);
}

MISUSE(free_sized_with_more_than_the_slot, "free with a wrong size", { free_sized(p_malloc(1), 72); })
MISUSE(free_sized_with_a_size_of_smaller_slots, "free with a wrong size", { free_sized(p_malloc(4096), 1); })
MISUSE(free_sized_with_more_than_the_chunk, "free with a wrong size", { free_sized(p_malloc(20000), 20100); })
MISUSE(free_sized_with_more_than_the_mapping, "free with a wrong size", { free_sized(p_malloc(1 << 20), (1 << 20) + 1); })
MISUSE(free_sized_of_a_block_of_no_bytes, "free with a wrong size", { free_sized(p_malloc(0), 1); })
MISUSE(free_with_a_wrong_alignment, "free with a wrong alignment", { free_aligned_sized((char *)memalign(64, 64) + 32, 64, 64); })
MISUSE(delete_of_another_type, "free with a wrong size", { delete_sized("_ZdlPvm", p_malloc(1), 72); })
MISUSE(delete_array_of_another_type, "free with a wrong size", { delete_sized("_ZdaPvm", p_malloc(4096), 1); })

/*
 * STEWARD_MALLOC=secure
 */

MISUSE(one_byte_too_many, "write beyond the end of a block", {
	char *p = p_malloc(13);

	p[13] = 0;
	p_free(p);
})

MISUSE(one_byte_too_many_found_by_the_next_call, "write beyond the end of a block", {
	char *p = p_malloc(4096);

	p[4096] = 0;
	p_malloc(7);
})

MISUSE(one_byte_too_many_in_a_chunk, "write beyond the end of a block", {
	char *p = p_malloc(20000);

	p[20000] = 0;
	p_free(p);
})

MISUSE(one_byte_too_many_found_by_realloc, "write beyond the end of a block", {
	char *p = p_malloc(100);

	p[100] = 0;
	p_realloc(p, 1000);
})

MISUSE(one_byte_too_many_after_realloc, "write beyond the end of a block", {
	char *p = p_realloc(p_malloc(100), 90);

	p[90] = 0;
	p_free(p);
})

MISUSE(one_byte_before_a_block, "write beyond the end of a block", {
	char *p = p_malloc(100);

	p[-1] = 0;
	p_free(p);
})

MISUSE(write_to_a_block_that_waits, "write to a freed block", {
	char *p = p_malloc(100);

	p_free(p);
	p[5] = 1;
	p_malloc(100);
})

MISUSE(write_to_the_end_of_a_block_that_waited, "write to a freed block", {
	static char *p[3000];

	for (int i = 0; i < 3000; i++)
		p[i] = p_malloc(1000);
	p_free(p[0]);
	p[0][990] = 1;
	for (int i = 1; i < 3000; i++)
		p_free(p[i]);
})

MISUSE(write_to_a_chunk_that_waits, "write to a freed block", {
	char *p = p_malloc(20000);

	p_free(p);
	p[19990] = 1;
	for (int i = 0; i < 100; i++)
		p_free(p_malloc(20000));
})

MISUSE(double_free_of_a_block_that_waits, "double free", {
	char *p = p_malloc(100);

	p_free(p);
	p_free(p_malloc(100));
	p_free(p);
})

MISUSE(double_free_of_a_chunk_that_waits, "double free", {
	char *p = p_malloc(20000);

	p_free(p);
	p_free(p_malloc(20000));
	p_free(p);
})

MISUSE(double_free_by_another_thread_of_a_block_that_waits, "double free", {
	char *p = p_malloc(100);
	pthread_t t;

	p_free(p);
	pthread_create(&t, NULL, free_it, p);
	pthread_join(t, NULL);
})

MISUSE(realloc_of_a_block_that_waits, "use of a freed block", {
	char *p = p_malloc(100);

	p_free(p);
	p_realloc(p, 300);
})

MISUSE(free_sized_with_another_size, "free with a wrong size", { free_sized(p_malloc(100), 101); })
MISUSE(free_sized_with_a_smaller_size, "free with a wrong size", { free_sized(p_malloc(100), 99); })

MISUSE(write_before_a_large_block_found_by_the_next_call, "write before the beginning of a block", {
	char *p = p_malloc(1 << 20);

	p[-1] = 0;
	p_malloc(7);
})

FAULT(write_a_megabyte_before_a_large_block, {
	volatile char *p = p_malloc(1 << 20);

	p[-(1 << 20)] = 1;
})

FAULT(write_a_megabyte_behind_a_large_block, {
	volatile char *p = p_malloc(1 << 20);

	p[(2 << 20) - 1] = 1;
})

static int run_secure(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_byte_too_many),
		cmocka_unit_test(one_byte_too_many_found_by_the_next_call),
		cmocka_unit_test(one_byte_too_many_in_a_chunk),
		cmocka_unit_test(one_byte_too_many_found_by_realloc),
		cmocka_unit_test(one_byte_too_many_after_realloc),
		cmocka_unit_test(one_byte_before_a_block),
		cmocka_unit_test(write_to_a_block_that_waits),
		cmocka_unit_test(write_to_the_end_of_a_block_that_waited),
		cmocka_unit_test(write_to_a_chunk_that_waits),
		cmocka_unit_test(double_free_of_a_block_that_waits),
		cmocka_unit_test(double_free_of_a_chunk_that_waits),
		cmocka_unit_test(double_free_by_another_thread_of_a_block_that_waits),
		cmocka_unit_test(realloc_of_a_block_that_waits),
		cmocka_unit_test(free_sized_with_another_size),
		cmocka_unit_test(free_sized_with_a_smaller_size),
		cmocka_unit_test(write_before_a_large_block_found_by_the_next_call),
		cmocka_unit_test(write_a_megabyte_before_a_large_block),
		cmocka_unit_test(write_a_megabyte_behind_a_large_block),
		/* As without the mode. */
		cmocka_unit_test(double_free),
		cmocka_unit_test(double_free_with_many_frees_in_between),
		cmocka_unit_test(double_free_by_another_thread),
		cmocka_unit_test(free_of_a_stack_pointer),
		cmocka_unit_test(free_of_the_middle_of_a_block),
		cmocka_unit_test(free_of_a_misaligned_pointer),
		cmocka_unit_test(write_behind_a_large_block),
		cmocka_unit_test(write_before_a_large_block),
		cmocka_unit_test(read_of_a_block_of_no_bytes),
		cmocka_unit_test(double_free_of_a_block_of_no_bytes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(void)
{
	const char *mode = getenv("STEWARD_MALLOC");

	if (mode != NULL && strcmp(mode, "secure") == 0)
		return run_secure();

	const struct CMUnitTest tests[] = {
		cmocka_unit_test(double_free),
		cmocka_unit_test(double_free_with_freed_blocks_filled),
		cmocka_unit_test(double_free_after_merging_downward),
		cmocka_unit_test(double_free_after_merging_on_both_sides),
		cmocka_unit_test(double_free_of_the_last_block),
		cmocka_unit_test(realloc_after_free),
		cmocka_unit_test(free_of_a_stack_pointer),
		cmocka_unit_test(free_of_static_memory),
		cmocka_unit_test(free_of_the_middle_of_a_block),
		cmocka_unit_test(free_of_the_middle_of_a_large_block),
		cmocka_unit_test(double_free_with_many_frees_in_between),
		cmocka_unit_test(double_free_of_a_block_that_was_written_to),
		cmocka_unit_test(double_free_by_another_thread),
		cmocka_unit_test(double_free_by_its_owner_after_another_thread),
		cmocka_unit_test(double_free_of_a_chunk_in_the_cache),
		cmocka_unit_test(write_to_a_chunk_in_the_cache),
		cmocka_unit_test(write_before_a_chunk_in_the_cache),
		cmocka_unit_test(use_of_a_freed_block),
		cmocka_unit_test(free_of_a_misaligned_pointer),
		cmocka_unit_test(realloc_of_a_stack_pointer),
		cmocka_unit_test(overrun_into_the_next_header),
		cmocka_unit_test(free_after_an_overrun_from_below),
		cmocka_unit_test(overrun_with_a_false_previous_size),
		cmocka_unit_test(write_after_free_over_the_links),
		cmocka_unit_test(overrun_into_the_top),
		cmocka_unit_test(free_of_a_large_block_with_a_broken_header),
		cmocka_unit_test(free_of_a_large_block_after_a_write_of_its_last_header_byte),
		cmocka_unit_test(write_before_a_large_block),
		cmocka_unit_test(write_before_a_large_block_that_is_resized),
		cmocka_unit_test(write_behind_a_large_block),
		cmocka_unit_test(write_behind_a_large_block_that_was_resized),
		cmocka_unit_test(read_of_a_block_of_no_bytes),
		cmocka_unit_test(write_to_a_block_of_no_bytes),
		cmocka_unit_test(double_free_of_a_block_of_no_bytes),
		cmocka_unit_test(use_of_a_freed_block_of_no_bytes),
		cmocka_unit_test(free_beside_a_block_of_no_bytes),
		cmocka_unit_test(write_to_a_freed_slot),
		cmocka_unit_test(write_to_a_freed_slot_found_by_a_refill_of_another_size),
		cmocka_unit_test(write_behind_a_block_into_slots_that_were_never_handed_out),
		cmocka_unit_test(write_of_zeros_far_behind_a_block),
		cmocka_unit_test(write_after_a_free_by_another_thread),
		cmocka_unit_test(free_of_the_next_block_that_was_never_handed_out),
		cmocka_unit_test(free_of_a_far_block_that_was_never_handed_out),
		cmocka_unit_test(double_free_in_a_dissolved_slab),
		cmocka_unit_test(free_of_the_middle_of_a_block_in_a_dissolved_slab),
		cmocka_unit_test(realloc_of_the_middle_of_a_block_in_a_dissolved_slab),
		cmocka_unit_test(free_sized_with_more_than_the_slot),
		cmocka_unit_test(free_sized_with_a_size_of_smaller_slots),
		cmocka_unit_test(free_sized_with_more_than_the_chunk),
		cmocka_unit_test(free_sized_with_more_than_the_mapping),
		cmocka_unit_test(free_sized_of_a_block_of_no_bytes),
		cmocka_unit_test(free_with_a_wrong_alignment),
		cmocka_unit_test(delete_of_another_type),
		cmocka_unit_test(delete_array_of_another_type),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
