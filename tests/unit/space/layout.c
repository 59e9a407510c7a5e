/*
 * mm/space/layout.c: golden addresses that kernels gave programs without random offsets, laws of random ones over many
 * seeds, and this machine's own kernel.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/personality.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/rand.h"
#include "mm/space/layout.h"

#define UNLIMITED UINT64_MAX

static struct layout make(const struct layout_params *p)
{
	struct layout l;

	assert_int_equal(layout_make(&l, p), 0);
	return l;
}

/* Linux 6.18, setarch -R; the 32-bit programs once as they are, once with -3 (3 GiB, as a 32-bit kernel has). */
static const struct {
	enum layout_kind kind;
	bool legacy;
	uint64_t stack_limit, mmap_base, stack_top;
} golden[] = {
	{ LAYOUT_X86_64, false, 8 * MIB, 0x7ffff7fff000, 0x7ffffffff000 },
	{ LAYOUT_X86_64, false, 200000 * KIB, 0x7ffff3baf000, 0x7ffffffff000 },
	{ LAYOUT_X86_64, false, GIB, 0x7fffbfeff000, 0x7ffffffff000 },
	{ LAYOUT_X86_64, false, UNLIMITED, 0x155555556000, 0x7ffffffff000 },
	{ LAYOUT_X86_64, true, 8 * MIB, 0x2aaaaaaab000, 0x7ffffffff000 },
	{ LAYOUT_COMPAT, false, 8 * MIB, 0xf7ffe000, 0xffffe000 },
	{ LAYOUT_COMPAT, false, GIB, 0xbfefe000, 0xffffe000 },
	{ LAYOUT_COMPAT, false, UNLIMITED, 0x2aaab000, 0xffffe000 },
	{ LAYOUT_I386, false, 8 * MIB, 0xb8000000, 0xc0000000 },
	{ LAYOUT_I386, false, GIB, 0x7ff00000, 0xc0000000 },
	{ LAYOUT_I386, false, UNLIMITED, 0x20000000, 0xc0000000 },
	{ LAYOUT_I386, true, 8 * MIB, 0x40000000, 0xc0000000 },
};

static void without_random_offsets_addresses_are_the_kernels(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(golden); i++) {
		struct layout l = make(&(struct layout_params){ .kind = golden[i].kind,
								.legacy = golden[i].legacy,
								.pie = true,
								.stack_limit = golden[i].stack_limit,
								.text_bytes = 1,
								.seed = i });

		if (l.mmap_base != golden[i].mmap_base || l.stack_top != golden[i].stack_top)
			fail_msg("row %zu: %#lx %#lx", i, (unsigned long)l.mmap_base, (unsigned long)l.stack_top);
		assert_int_equal(l.stack_pointer, l.stack_top);
		assert_int_equal(l.exec_bits | l.brk_bits | l.mmap_bits | l.stack_bits, 0);
	}
}

static void the_executable_begins_where_the_kernel_or_the_linker_puts_it(void **state)
{
	static const uint64_t pie[] = { 0x555555554000, 0x400000, 0x56555000 },
			      fixed[] = { 0x400000, 0x8048000, 0x8048000 };

	(void)state;
	for (unsigned kind = 0; kind < 3; kind++) {
		struct layout_params p = { .kind = kind, .pie = true, .stack_limit = 8 * MIB, .text_bytes = 0x2001,
			.data_bytes = 0x10, .bss_bytes = 0x1800 };
		struct layout l = make(&p);

		assert_int_equal(l.text.start, pie[kind]);
		assert_int_equal(l.text.end, l.text.start + 0x3000);
		assert_int_equal(l.data.start, l.text.end);
		assert_int_equal(l.bss.start, l.data.start + 0x1000);
		assert_int_equal(l.bss.end, l.bss.start + 0x1800);
		assert_int_equal(l.start_brk, l.bss.start + 0x2000);
		p.pie = false;
		assert_int_equal(make(&p).text.start, fixed[kind]);
		/* The heap alone stays where it is with randomize_va_space 1. */
		p.random = LAYOUT_NO_BRK;
		l = make(&p);
		assert_int_equal(l.start_brk, l.bss.start + 0x2000);
		assert_true(l.mmap_bits > 0 && l.stack_bits > 0 && l.exec_bits == 0);
	}
}

/* The most that was seen, and which bits were 0 and which 1. */
struct seen {
	uint64_t max, zeros, ones;
};

static void see(struct seen *s, uint64_t v)
{
	s->max = MAX(s->max, v);
	s->zeros |= ~v;
	s->ones |= v;
}

/* All offsets of so many bits occur, in pages, and none beyond. */
static void has_bits(const struct seen *s, unsigned bits)
{
	assert_true(s->max < (uint64_t)1 << (bits + PAGE_SHIFT));
	assert_int_equal(s->zeros & s->ones, (((uint64_t)1 << bits) - 1) << PAGE_SHIFT);
}

static void laws(const struct layout *l, const struct layout_params *p)
{
	assert_true(l->text.start < l->text.end && l->text.end <= l->data.start && l->data.end <= l->bss.start &&
		    l->bss.start <= l->bss.end && l->bss.end <= l->start_brk);
	assert_int_equal((l->text.start | l->data.start | l->bss.start | l->start_brk | l->mmap_base | l->stack_top) %
				 PAGE_SIZE,
			 0);
	assert_int_equal(l->stack_pointer % 16, 0);
	assert_true(l->stack_pointer <= l->stack_top && l->stack_top - l->stack_pointer < PAGE_SIZE);
	assert_true(l->stack_top <= l->task_size && l->stack_low <= l->stack_top && l->guard_low <= l->stack_low);
	assert_true(l->gap >= 128 * MIB && l->gap <= l->task_size / 6 * 5);
	if (p->legacy)
		return;
	assert_true(l->mmap_base <= l->task_size - 128 * MIB + PAGE_SIZE);
	/* What the gap is for: the stack at its largest, wherever it begins, ends above all mappings. */
	if (p->stack_limit <= l->task_size / 4)
		assert_true(l->guard_low + 2 * PAGE_SIZE >= l->mmap_base);
}

static void random_offsets_have_the_kernels_entropy(void **state)
{
	static const struct {
		enum layout_kind kind;
		unsigned mmap_bits, exec, brk, mmap, stack;
	} want[] = {
		{ LAYOUT_X86_64, 0, 28, 18, 28, 22 },
		{ LAYOUT_X86_64, 32, 32, 18, 32, 22 },
		{ LAYOUT_I386, 0, 8, 13, 8, 11 },
		{ LAYOUT_COMPAT, 16, 16, 13, 16, 11 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(want); i++) {
		struct seen exec = { .max = 0 }, brk = { .max = 0 }, mmap = { .max = 0 }, stack = { .max = 0 };

		for (uint64_t seed = 0; seed < 5000; seed++) {
			struct layout_params p = { .kind = want[i].kind, .random = LAYOUT_ALL, .pie = true,
				.mmap_bits = (uint8_t)want[i].mmap_bits, .stack_limit = 8 * MIB, .text_bytes = 100000,
				.data_bytes = 5000, .bss_bytes = seed, .seed = seed };
			struct layout l = make(&p), fixed;

			laws(&l, &p);
			p.random = LAYOUT_FIXED;
			fixed = make(&p);
			assert_int_equal(l.text.start - fixed.text.start, l.exec_offset);
			assert_int_equal(l.start_brk - l.exec_offset - fixed.start_brk, l.brk_offset);
			see(&exec, l.exec_offset);
			see(&brk, l.brk_offset - PAGE_SIZE);
			see(&mmap, l.task_size - l.gap - l.mmap_base);
			see(&stack, l.stack_offset);
			/* Stack: its offset, and up to 8 KiB of jitter. */
			assert_true(l.task_size - l.stack_top - l.stack_offset <= 2 * PAGE_SIZE);
			assert_int_equal(l.exec_bits, want[i].exec);
			assert_int_equal(l.brk_bits, want[i].brk);
			assert_int_equal(l.mmap_bits, want[i].mmap);
			assert_int_equal(l.stack_bits, want[i].stack);
		}
		has_bits(&exec, want[i].exec);
		has_bits(&brk, want[i].brk);
		has_bits(&mmap, want[i].mmap);
		has_bits(&stack, want[i].stack);
	}
}

static void laws_hold_for_random_parameters(void **state)
{
	struct rand r;

	(void)state;
	rand_seed(&r, 1);
	for (unsigned i = 0; i < 20000; i++) {
		struct layout_params p = { .kind = (enum layout_kind)rand_below(&r, 3),
					   .random = (enum layout_random)rand_below(&r, 3),
					   .pie = rand_below(&r, 2),
					   .legacy = rand_below(&r, 2),
					   .stack_limit = rand_below(&r, 4)
								  ? rand_below(&r, (uint64_t)1 << rand_below(&r, 48))
								  : UNLIMITED,
					   .text_bytes = 1 + rand_below(&r, 64 * MIB),
					   .data_bytes = rand_below(&r, 64 * MIB),
					   .bss_bytes = rand_below(&r, 64 * MIB),
					   .seed = i };
		struct layout l, again;

		if (layout_make(&l, &p) != 0)
			fail_msg("round %u", i);
		laws(&l, &p);
		again = make(&p);
		assert_memory_equal(&again, &l, sizeof(l));
	}
}

static void programs_that_do_not_fit_are_refused(void **state)
{
	struct layout_params ok = { .kind = LAYOUT_I386, .stack_limit = 8 * MIB, .text_bytes = 1 }, p;
	struct layout l;

	(void)state;
	assert_int_equal(layout_make(&l, &ok), 0);
	p = ok;
	p.text_bytes = 0;
	assert_int_equal(layout_make(&l, &p), -EINVAL);
	p = ok;
	p.bss_bytes = 3 * GIB;
	assert_int_equal(layout_make(&l, &p), -EINVAL);
	p = ok;
	p.data_bytes = 0xb0000000;
	assert_int_equal(layout_make(&l, &p), -EINVAL);
	p = ok;
	p.mmap_bits = 17;
	assert_int_equal(layout_make(&l, &p), -EINVAL);
	p.mmap_bits = 7;
	assert_int_equal(layout_make(&l, &p), -EINVAL);
	p.kind = LAYOUT_X86_64;
	p.mmap_bits = 27;
	assert_int_equal(layout_make(&l, &p), -EINVAL);
}

/*
 * This machine's kernel
 */

/* What a program sees of itself. */
struct program {
	uint64_t text, heap, mmap_end, stack_end;
};

static void read_maps(FILE *f, struct program *p)
{
	char line[512];

	memset(p, 0, sizeof(*p));
	while (fgets(line, sizeof(line), f) != NULL) {
		unsigned long start, end;

		assert_int_equal(sscanf(line, "%lx-%lx", &start, &end), 2);
		if (p->text == 0)
			p->text = start;
		if (strstr(line, "[heap]") != NULL)
			p->heap = start;
		if (strstr(line, "[stack]") != NULL)
			p->stack_end = end;
		if (strstr(line, "/ld-") != NULL)
			p->mmap_end = MAX(p->mmap_end, end);
	}
}

/* Runs cat on its own maps. */
static void look_at_cat(bool fixed, uint64_t stack_limit, struct program *p)
{
	int out[2], status;
	FILE *f;
	pid_t pid;

	assert_int_equal(pipe(out), 0);
	pid = fork();
	if (pid == 0) {
		struct rlimit limit;

		getrlimit(RLIMIT_STACK, &limit);
		limit.rlim_cur = stack_limit;
		dup2(out[1], STDOUT_FILENO);
		if (setrlimit(RLIMIT_STACK, &limit) == 0 && personality(fixed ? ADDR_NO_RANDOMIZE : 0) >= 0)
			execl("/bin/cat", "cat", "/proc/self/maps", NULL);
		_exit(1);
	}
	close(out[1]);
	f = fdopen(out[0], "r");
	assert_non_null(f);
	read_maps(f, p);
	fclose(f);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	/* A container may forbid the one or the other. */
	if (status != 0 || p->mmap_end == 0 || p->heap == 0)
		skip();
}

static void this_kernel_agrees(void **state)
{
	const uint64_t stack_limits[] = { MIB, 8 * MIB, 32 * MIB };
	struct program seen;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(stack_limits); i++) {
		struct layout_params p = { .pie = true, .stack_limit = stack_limits[i], .text_bytes = 1 };
		struct layout l = make(&p);

		look_at_cat(true, p.stack_limit, &seen);
		assert_int_equal(seen.text, l.text.start);
		assert_int_equal(seen.mmap_end, l.mmap_base);
		assert_int_equal(seen.stack_end, l.stack_top);
		for (unsigned round = 0; round < 10; round++) {
			p.random = LAYOUT_ALL;
			p.seed = round;
			l = make(&p);
			look_at_cat(false, p.stack_limit, &seen);
			/* The vdso may be above ld.so, and a kernel may be set to more bits. */
			assert_true(seen.mmap_end <= l.task_size - l.gap + PAGE_SIZE);
			assert_true(seen.stack_end <= l.task_size);
			assert_true(seen.stack_end > l.task_size - ((uint64_t)1 << 34) - 3 * PAGE_SIZE);
			assert_true(seen.text >= l.text.start - l.exec_offset);
			assert_true(seen.heap > seen.text && seen.heap - seen.text < GIB + 16 * MIB);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_random_offsets_addresses_are_the_kernels),
		cmocka_unit_test(the_executable_begins_where_the_kernel_or_the_linker_puts_it),
		cmocka_unit_test(random_offsets_have_the_kernels_entropy),
		cmocka_unit_test(laws_hold_for_random_parameters),
		cmocka_unit_test(programs_that_do_not_fit_are_refused),
		cmocka_unit_test(this_kernel_agrees),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
