/* The preloaded allocator under libc's names: what the standards and glibc's manual promise. Run with LD_PRELOAD. */
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <dlfcn.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

/* Volatile: the compiler knows these functions too well. */
static void *(*volatile p_malloc)(size_t) = malloc;
static void *(*volatile p_calloc)(size_t, size_t) = calloc;
static void *(*volatile p_realloc)(void *, size_t) = realloc;
static void (*volatile p_free)(void *) = free;
static void *(*volatile p_aligned_alloc)(size_t, size_t) = aligned_alloc;
static void *(*volatile p_memalign)(size_t, size_t) = memalign;
static int (*volatile p_posix_memalign)(void **, size_t, size_t) = posix_memalign;
static void *(*volatile p_valloc)(size_t) = valloc;
static void *(*volatile p_pvalloc)(size_t) = pvalloc;

static const size_t too_large[] = { (size_t)PTRDIFF_MAX + 1, SIZE_MAX, SIZE_MAX - 1, SIZE_MAX - 16, SIZE_MAX - 4096,
				    SIZE_MAX / 2 + 100 };

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static void expect_enomem(void *p)
{
	assert_null(p);
	assert_int_equal(errno, ENOMEM);
	errno = 0;
}

static void all_names_are_exported_by_one_object(void **state)
{
	static const char *const names[] = {
		"malloc", "free", "calloc", "realloc", "aligned_alloc", "memalign", "posix_memalign", "valloc", "pvalloc",
		"cfree", "malloc_usable_size", "malloc_trim", "mallopt", "mallinfo", "mallinfo2", "malloc_stats",
		"malloc_info", "free_sized", "free_aligned_sized", "__libc_malloc", "__libc_free", "__libc_calloc",
		"__libc_realloc", "__libc_memalign", "__libc_valloc", "__libc_pvalloc", "__posix_memalign",
	};

	(void)state;
	for (unsigned i = 0; i < COUNT(names); i++) {
		void *sym = dlsym(RTLD_DEFAULT, names[i]);
		Dl_info info;

		assert_non_null(sym);
		assert_true(dladdr(sym, &info) != 0);
		assert_non_null(strstr(info.dli_fname, "steward"));
	}
}

static void too_large_requests_fail_with_enomem(void **state)
{
	void *old = p_malloc(10);

	(void)state;
	for (unsigned i = 0; i < COUNT(too_large); i++) {
		errno = 0;
		expect_enomem(p_malloc(too_large[i]));
		expect_enomem(p_calloc(1, too_large[i]));
		expect_enomem(p_realloc(old, too_large[i]));
		expect_enomem(p_realloc(NULL, too_large[i]));
		expect_enomem(p_aligned_alloc(64, too_large[i]));
		expect_enomem(p_memalign(4096, too_large[i]));
		expect_enomem(p_valloc(too_large[i]));
		expect_enomem(p_pvalloc(too_large[i]));
		expect_enomem(reallocarray(old, too_large[i], 2));
	}
	expect_enomem(p_memalign((size_t)1 << 62, (size_t)1 << 62));
	expect_enomem(p_malloc(PTRDIFF_MAX));
	p_free(old);
}

static void calloc_refuses_a_product_that_overflows(void **state)
{
	(void)state;
	errno = 0;
	expect_enomem(p_calloc(SIZE_MAX / 2, 3));
	expect_enomem(p_calloc((size_t)1 << 32, (size_t)1 << 32));
	expect_enomem(p_calloc(SIZE_MAX, SIZE_MAX));
	p_free(p_calloc(0, SIZE_MAX));
}

static void zero_sizes_give_blocks_of_their_own(void **state)
{
	void *a = p_malloc(0), *b = p_malloc(0), *c = p_calloc(0, 0), *d = p_realloc(NULL, 0);

	(void)state;
	assert_true(a != NULL && b != NULL && c != NULL && d != NULL && a != b && b != c && c != d);
	p_free(a);
	p_free(b);
	p_free(c);
	assert_null(p_realloc(d, 0));
	p_free(NULL);
}

static int compare(const void *a, const void *b)
{
	uintptr_t x = *(const uintptr_t *)a, y = *(const uintptr_t *)b;

	return x < y ? -1 : x > y;
}

static void blocks_of_no_bytes_are_distinct_have_no_bytes_and_can_grow(void **state)
{
	enum { MANY = 50000 };
	static void *mem[MANY];
	void *last = p_malloc(0);
	char *p;

	(void)state;
	for (unsigned i = 0; i < 1000; i++) {
		void *next = p_malloc(0);

		assert_ptr_not_equal(next, last);
		p_free(last);
		last = next;
	}
	for (unsigned round = 0; round < 2; round++) {
		for (unsigned i = 0; i < MANY; i++) {
			mem[i] = i % 2 != 0 ? p_malloc(0) : p_calloc(0, 1);
			assert_true((uintptr_t)mem[i] % 16 == 0 && malloc_usable_size(mem[i]) == 0);
		}
		qsort(mem, MANY, sizeof(mem[0]), compare);
		for (unsigned i = 1; i < MANY; i++)
			assert_ptr_not_equal(mem[i], mem[i - 1]);
		for (unsigned i = 0; i < MANY; i++)
			p_free(mem[i]);
	}
	p = p_realloc(last, 100);
	memset(p, 1, 100);
	p_free(p);
}

static void *named(const char *name)
{
	void *sym = dlsym(RTLD_DEFAULT, name);

	assert_non_null(sym);
	return sym;
}

static void a_block_may_be_freed_with_the_size_it_was_asked_for(void **state)
{
	void (*free_sized)(void *, size_t) = (void (*)(void *, size_t))named("free_sized");
	void (*free_aligned_sized)(void *, size_t, size_t) = (void (*)(void *, size_t, size_t))named("free_aligned_sized");

	(void)state;
	free_sized(NULL, 5);
	for (size_t bytes = 0; bytes < 600000; bytes += 1 + bytes / 50) {
		free_sized(p_malloc(bytes), bytes);
		free_sized(p_calloc(1, bytes), bytes);
		if (bytes != 0) {
			free_sized(p_realloc(p_malloc(bytes), bytes / 2 + 1), bytes / 2 + 1);
			free_sized(p_realloc(p_malloc(bytes), bytes * 2), bytes * 2);
			free_sized(p_realloc(p_realloc(p_malloc(bytes), bytes - bytes / 3), bytes / 3 + 1), bytes / 3 + 1);
		}
		for (size_t align = 1; align <= 1 << 16; align *= 4)
			free_aligned_sized(p_aligned_alloc(align, bytes), align, bytes);
	}
}

static void free_keeps_errno(void **state)
{
	(void)state;
	for (size_t bytes = 1; bytes < (size_t)64 << 20; bytes *= 3) {
		void *p = p_malloc(bytes);

		errno = 1234;
		p_free(p);
		assert_int_equal(errno, 1234);
	}
}

static void alignments_up_to_64_mib(void **state)
{
	(void)state;
	for (size_t align = 1; align <= (size_t)64 << 20; align *= 2) {
		static const size_t sizes[] = { 0, 1, 24, 4096, 100000, 300000 };

		for (unsigned i = 0; i < COUNT(sizes); i++) {
			void *p = p_aligned_alloc(align, sizes[i]), *q = p_memalign(align, sizes[i]), *r = NULL;

			assert_true(p != NULL && (uintptr_t)p % align == 0);
			assert_true(q != NULL && (uintptr_t)q % align == 0);
			memset(p, 1, malloc_usable_size(p));
			memset(q, 2, malloc_usable_size(q));
			if (align >= sizeof(void *)) {
				assert_int_equal(p_posix_memalign(&r, align, sizes[i]), 0);
				assert_true(r != NULL && (uintptr_t)r % align == 0);
			}
			p_free(p);
			p = p_realloc(q, sizes[i] + 10);
			if (sizes[i] > 0)
				assert_int_equal(*(char *)p, 2);
			p_free(p);
			p_free(r);
		}
	}
}

static void every_block_is_aligned_to_16_and_its_slack_is_writable(void **state)
{
	(void)state;
	for (size_t bytes = 0; bytes < 300000; bytes += 1 + bytes / 60) {
		char *p = p_malloc(bytes);
		size_t usable = malloc_usable_size(p);

		assert_int_equal((uintptr_t)p % 16, 0);
		assert_true(usable >= bytes);
		memset(p, 0xff, usable);
		assert_int_equal(malloc_usable_size(p), usable);
		p_free(p);
	}
	assert_int_equal(malloc_usable_size(NULL), 0);
}

static void bad_alignments_are_refused(void **state)
{
	void *p = (void *)1;

	(void)state;
	static const size_t bad[] = { 0, 3, 24, 100, SIZE_MAX };
	for (unsigned i = 0; i < COUNT(bad); i++) {
		errno = 0;
		assert_null(p_aligned_alloc(bad[i], 10));
		assert_int_equal(errno, EINVAL);
		errno = 99;
		assert_int_equal(p_posix_memalign(&p, bad[i], 10), EINVAL);
		assert_int_equal(errno, 99);
	}
	assert_int_equal(p_posix_memalign(&p, 4, 10), EINVAL);
	assert_int_equal(p_posix_memalign(&p, 64, SIZE_MAX - 64), ENOMEM);
	assert_int_equal(errno, ENOMEM); /* programs look there too */
	assert_ptr_equal(p, (void *)1);
	errno = 0;
	assert_null(p_memalign(SIZE_MAX, 1));
	assert_int_equal(errno, EINVAL);
	p = p_memalign(48, 10);
	assert_int_equal((uintptr_t)p % 64, 0);
	p_free(p);
}

/* A heap so large that a thread keeps what the tests below free. */
static void *ballast[100];

static void take_ballast(void)
{
	for (unsigned i = 0; i < COUNT(ballast); i++)
		ballast[i] = p_malloc(60000);
}

static void drop_ballast(void)
{
	for (unsigned i = 0; i < COUNT(ballast); i++)
		p_free(ballast[i]);
}

/* More than half of them: what lies around them may be merged with some. */
static void aligned_blocks_come_back(void **state)
{
	static const size_t sizes[] = { 23450, 23450, 23550, 23550, 23650, 23650, 33650, 33650 };
	void *before[COUNT(sizes)], *after[COUNT(sizes)], *between;
	unsigned same = 0;

	(void)state;
	if (getenv("STEWARD_MALLOC") != NULL)
		return; /* secure: they wait first */
	take_ballast();
	for (unsigned i = 0; i < COUNT(sizes); i++)
		before[i] = p_memalign(64, sizes[i]);
	for (unsigned i = 0; i < COUNT(sizes); i++)
		p_free(before[i]);
	between = p_malloc(60000);
	for (unsigned i = 0; i < COUNT(sizes); i++)
		after[i] = p_memalign(64, sizes[i]);
	for (unsigned i = 0; i < COUNT(sizes); i++)
		for (unsigned j = 0; j < COUNT(sizes); j++)
			same += before[i] == after[j];
	assert_true(same > COUNT(sizes) / 2);
	for (unsigned i = 0; i < COUNT(sizes); i++)
		p_free(after[i]);
	p_free(between);
	drop_ballast();
}

static void of_freed_blocks_the_one_that_fits_best_is_used_again(void **state)
{
	static const size_t sizes[] = { 22000, 20600, 21000, 20400, 21500, 24000 };
	void *mem[COUNT(sizes)], *again;

	(void)state;
	if (getenv("STEWARD_MALLOC") != NULL)
		return; /* secure: they wait first */
	take_ballast();
	for (unsigned i = 0; i < COUNT(sizes); i++)
		mem[i] = p_malloc(sizes[i]);
	for (unsigned i = 0; i < COUNT(sizes); i++)
		p_free(mem[i]);
	again = p_malloc(20500);
	assert_ptr_equal(again, mem[1]);
	p_free(again);
	drop_ballast();
}

static long minor_faults(void)
{
	struct rusage r;

	getrusage(RUSAGE_SELF, &r);
	return r.ru_minflt;
}

static void zeroed_blocks_of_a_few_pages_are_ready_to_be_read_and_written(void **state)
{
	enum { PAGES = 12, BYTES = PAGES * 4096 - 64 };
	static char *mem[200];
	long before;

	(void)state;
	if (getenv("STEWARD_MALLOC") != NULL)
		return; /* secure: pages are touched by its trailers */
	for (unsigned i = 0; i < COUNT(mem); i++)
		mem[i] = p_calloc(1, BYTES);
	before = minor_faults();
	for (unsigned i = 0; i < COUNT(mem); i++)
		for (unsigned at = 0; at < BYTES; at += 4096) {
			assert_int_equal(((volatile char *)mem[i])[at], 0);
			mem[i][at] = 1;
		}
	assert_in_range(minor_faults() - before, 0, COUNT(mem) * PAGES / 10);
	for (unsigned i = 0; i < COUNT(mem); i++)
		p_free(mem[i]);
}

static void pages_from_valloc_and_pvalloc(void **state)
{
	void *p = p_valloc(10), *q = p_pvalloc(1), *r = p_pvalloc(4097);

	(void)state;
	assert_int_equal((uintptr_t)p % 4096, 0);
	assert_int_equal((uintptr_t)q % 4096, 0);
	assert_true(malloc_usable_size(q) >= 4096 && malloc_usable_size(r) >= 8192);
	p_free(p);
	p_free(q);
	p_free(r);
	errno = 0;
	expect_enomem(p_pvalloc((size_t)-1));
}

static void realloc_keeps_contents_over_all_borders(void **state)
{
	unsigned char *p = NULL;
	size_t old = 0;

	(void)state;
	for (size_t bytes = 1; bytes < (size_t)80 << 20; bytes = bytes * 5 / 3 + 7) {
		p = p_realloc(p, bytes);
		assert_non_null(p);
		for (size_t i = 0; i < old; i += 997)
			assert_int_equal(p[i], (unsigned char)(i * 7));
		for (size_t i = 0; i < bytes; i += 997)
			p[i] = (unsigned char)(i * 7);
		old = bytes;
	}
	for (size_t bytes = old; bytes > 100; bytes = bytes / 3) {
		p = p_realloc(p, bytes);
		for (size_t i = 0; i < bytes; i += 997)
			assert_int_equal(p[i], (unsigned char)(i * 7));
	}
	p_free(p);
}

static void statistics_are_ours(void **state)
{
	struct mallinfo2 before = mallinfo2(), with;
	void *p = p_malloc(100000);
	char *text = NULL;
	size_t bytes = 0;
	FILE *fp = open_memstream(&text, &bytes);

	(void)state;
	with = mallinfo2();
	assert_true(with.uordblks + with.hblkhd >= before.uordblks + before.hblkhd + 100000);
	assert_int_equal(with.arena, with.uordblks + with.fordblks);
	assert_int_equal(malloc_info(0, fp), 0);
	assert_int_equal(malloc_info(1, fp), EINVAL);
	fclose(fp);
	assert_non_null(strstr(text, "<malloc version=\"1\">"));
	assert_non_null(strstr(text, "</malloc>"));
	p_free(text);
	p_free(p);
	/* As glibc 2.36: any threshold. */
	assert_int_equal(mallopt(M_MMAP_THRESHOLD, 1 << 30), 1);
	assert_int_equal(mallopt(M_MMAP_THRESHOLD, -1), 1);
	assert_int_equal(mallopt(M_MMAP_THRESHOLD, 128 << 10), 1);
	assert_int_equal(mallopt(M_MXFAST, 64), 1);
	assert_int_equal(mallopt(M_ARENA_MAX, 0), 0);
}

static void perturb_fills_new_and_freed_blocks(void **state)
{
	unsigned char *p;

	(void)state;
	if (getenv("STEWARD_MALLOC") != NULL)
		return; /* secure: freed blocks are zero, and have to stay so */
	mallopt(M_PERTURB, 0xa5);
	p = p_malloc(50);
	for (unsigned i = 0; i < 50; i++)
		assert_int_equal(p[i], 0x5a);
	p_free(p);
	p = p_calloc(1, 50);
	for (unsigned i = 0; i < 50; i++)
		assert_int_equal(p[i], 0);
	mallopt(M_PERTURB, 0);
	p_free(p);
}

static void trim_gives_back_what_is_free(void **state)
{
	void *mem[200];

	(void)state;
	for (unsigned i = 0; i < COUNT(mem); i++)
		memset(mem[i] = p_malloc(50000), 1, 50000);
	for (unsigned i = 0; i + 1 < COUNT(mem); i++)
		p_free(mem[i]);
	assert_int_equal(malloc_trim(0), 1);
	p_free(mem[COUNT(mem) - 1]);
}

static pthread_key_t key;

static void free_late(void *mem)
{
	p_free(mem);
	p_free(p_malloc(100));
}

static void *with_destructor(void *arg)
{
	pthread_setspecific(key, p_malloc(1000));
	return arg;
}

static void threads_may_free_in_their_last_destructor(void **state)
{
	(void)state;
	pthread_key_create(&key, free_late);
	for (unsigned i = 0; i < 200; i++) {
		pthread_t t;

		assert_int_equal(pthread_create(&t, NULL, with_destructor, NULL), 0);
		pthread_join(t, NULL);
	}
}

static volatile int stop;

static void *churn(void *arg)
{
	while (!stop) {
		void *mem[50];

		for (unsigned i = 0; i < COUNT(mem); i++)
			mem[i] = p_malloc(i * 100);
		for (unsigned i = 0; i < COUNT(mem); i++)
			p_free(mem[i]);
	}
	return arg;
}

static void *print_all(void *arg)
{
	while (!stop)
		fflush(NULL);
	return arg;
}

static void fork_works_while_threads_allocate_and_print(void **state)
{
	pthread_t threads[3];

	(void)state;
	for (unsigned i = 0; i < COUNT(threads); i++)
		pthread_create(&threads[i], NULL, i == 0 ? print_all : churn, NULL);
	for (unsigned i = 0; i < 100; i++) {
		int status = -1;
		pid_t pid = fork();

		if (pid == 0) {
			alarm(10);
			for (unsigned j = 0; j < 100; j++)
				p_free(p_malloc(j * 50));
			_exit(0);
		}
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_int_equal(status, 0);
	}
	stop = 1;
	for (unsigned i = 0; i < COUNT(threads); i++)
		pthread_join(threads[i], NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(zeroed_blocks_of_a_few_pages_are_ready_to_be_read_and_written), /* first: the heap is fresh */
		cmocka_unit_test(all_names_are_exported_by_one_object),
		cmocka_unit_test(too_large_requests_fail_with_enomem),
		cmocka_unit_test(calloc_refuses_a_product_that_overflows),
		cmocka_unit_test(zero_sizes_give_blocks_of_their_own),
		cmocka_unit_test(blocks_of_no_bytes_are_distinct_have_no_bytes_and_can_grow),
		cmocka_unit_test(a_block_may_be_freed_with_the_size_it_was_asked_for),
		cmocka_unit_test(free_keeps_errno),
		cmocka_unit_test(alignments_up_to_64_mib),
		cmocka_unit_test(every_block_is_aligned_to_16_and_its_slack_is_writable),
		cmocka_unit_test(bad_alignments_are_refused),
		cmocka_unit_test(aligned_blocks_come_back),
		cmocka_unit_test(of_freed_blocks_the_one_that_fits_best_is_used_again),
		cmocka_unit_test(pages_from_valloc_and_pvalloc),
		cmocka_unit_test(realloc_keeps_contents_over_all_borders),
		cmocka_unit_test(statistics_are_ours),
		cmocka_unit_test(perturb_fills_new_and_freed_blocks),
		cmocka_unit_test(trim_gives_back_what_is_free),
		cmocka_unit_test(threads_may_free_in_their_last_destructor),
		cmocka_unit_test(fork_works_while_threads_allocate_and_print),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
