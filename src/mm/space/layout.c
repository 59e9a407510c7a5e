/*
 * Where Linux puts the parts of a new program.
 *
 *	task_size   ┬──────────────────────┐
 *	            │ random offset        │ stack_bits
 *	stack_top   ├──────────────────────┤
 *	            │ stack            ↓   │ grows to RLIMIT_STACK
 *	stack_low   ├ ─ ─ ─ ─ ─ ─ ─ ─ ─ ─ ┤
 *	            │ guard gap, 1 MiB     │
 *	            ├──────────────────────┤
 *	            │ (gap: room for all of the above at its most, 128 MiB to 5/6 of task_size)
 *	            │ random offset        │ mmap_bits
 *	mmap_base   ├──────────────────────┤
 *	            │ mappings         ↓   │ ld.so and libraries first
 *	            │                      │
 *	            │ heap             ↑   │
 *	start_brk   ├──────────────────────┤
 *	            │ random offset        │ brk_bits
 *	            ├──────────────────────┤
 *	            │ bss, data, text      │ executable: at a fixed address, or, position-independent,
 *	            ├──────────────────────┤ exec_bits above two thirds of the address space
 *	0           ┴──────────────────────┘
 *
 * The formulas are those of Linux 6.12: arch/x86/mm/mmap.c (mmap_base, arch_mmap_rnd), fs/binfmt_elf.c
 * (load_elf_binary, randomize_stack_top), fs/exec.c (setup_arg_pages), arch/x86/kernel/process.c (arch_align_stack,
 * arch_randomize_brk), arch/x86/include/asm/elf.h. The figures of a program without random offsets are golden: tested
 * against kernels' own.
 *
 * Entropy. A page has 4 KiB, so an offset of n bits moves by up to 2^n pages. 64-bit: mappings and executable 28 bits,
 * stack 22, heap 18. 32-bit: 8, 8, 11, 13: little enough to be guessed.
 *
 * Not here: the vdso. Its place has changed from version to version; `steward explain layout PID` shows where it is.
 * Five levels change nothing: above 47 bits the kernel gives out addresses only to those who ask for them.
 *
 * Cost: some arithmetic. Rejected: one more pass that maps the parts into a vma_set; who simulates a program has its
 * mappings from the trace, and who explains one wants the numbers.
 */
#include "mm/space/layout.h"

#include <errno.h>

#include "base/assert.h"
#include "base/rand.h"

#define STACK_GUARD_BYTES (256 * PAGE_SIZE)
#define GAP_MIN (128 * MIB)
#define STACK_ALIGN 16
#define STACK_JITTER 8192       /* the stack pointer moves by less than this within its pages */

struct limits {
	uint64_t task_size;
	uint64_t pie_base;      /* of a position-independent executable without random offset */
	uint64_t fixed_base;    /* of any other: where linkers put it */
	uint64_t brk_range;     /* bytes */
	uint64_t stack_range;   /* bytes */
	uint8_t mmap_bits, mmap_bits_most; /* default, which is the least, and most */
};

static const struct limits limits[] = {
	/* The last page below 2^47 stays free: a system call at its end would return to an address that is none. */
	[LAYOUT_X86_64] = { 0x7ffffffff000, 0x555555554000, 0x400000, GIB, PAGE_SIZE << 22, 28, 32 },
	[LAYOUT_I386] = { 0xc0000000, 0x400000, 0x08048000, 32 * MIB, PAGE_SIZE << 11, 8, 16 },
	[LAYOUT_COMPAT] = { 0xffffe000, 0x56555000, 0x08048000, 32 * MIB, PAGE_SIZE << 11, 8, 16 },
};

static uint8_t bits_of(uint64_t range)
{
	return (uint8_t)(63 - __builtin_clzll(range) - PAGE_SHIFT);
}

/* A multiple of a page below range, which is a power of two. */
static uint64_t random_pages(struct rand *r, uint64_t range)
{
	return rand_below(r, range >> PAGE_SHIFT) << PAGE_SHIFT;
}

/* Executable: three page-aligned parts behind each other. */
static int place_executable(struct layout *l, const struct layout_params *p, const struct limits *m, struct rand *r)
{
	uint64_t base = m->fixed_base;

	if (p->text_bytes == 0 || p->text_bytes >= l->task_size || p->data_bytes >= l->task_size ||
	    p->bss_bytes >= l->task_size)
		return -EINVAL;
	if (p->pie) {
		base = m->pie_base;
		if (p->random != LAYOUT_FIXED) {
			l->exec_bits = l->mmap_bits;
			l->exec_offset = random_pages(r, PAGE_SIZE << l->exec_bits);
		}
	}
	l->text.start = base + l->exec_offset;
	l->text.end = ALIGN_UP(l->text.start + p->text_bytes, PAGE_SIZE);
	l->data.start = l->text.end;
	l->data.end = ALIGN_UP(l->data.start + p->data_bytes, PAGE_SIZE);
	l->bss.start = l->data.end;
	l->bss.end = l->bss.start + p->bss_bytes;
	return 0;
}

/* Heap: after bss, a page free between them, and then anywhere within a range. */
static void place_heap(struct layout *l, const struct layout_params *p, const struct limits *m, struct rand *r)
{
	l->start_brk = ALIGN_UP(l->bss.end, PAGE_SIZE);
	if (p->random != LAYOUT_ALL)
		return;
	l->brk_bits = bits_of(m->brk_range);
	l->brk_offset = PAGE_SIZE + random_pages(r, m->brk_range);
	l->start_brk += l->brk_offset;
}

static void place_stack(struct layout *l, const struct layout_params *p, const struct limits *m, struct rand *r)
{
	uint64_t jitter = 0, most;

	if (p->random != LAYOUT_FIXED) {
		l->stack_bits = bits_of(m->stack_range);
		l->stack_offset = random_pages(r, m->stack_range);
		jitter = rand_below(r, STACK_JITTER);
	}
	l->stack_pointer = ALIGN_DOWN(l->task_size - l->stack_offset - jitter, STACK_ALIGN);
	l->stack_top = ALIGN_UP(l->stack_pointer, PAGE_SIZE);
	most = MIN(ALIGN_DOWN(p->stack_limit, PAGE_SIZE), l->stack_top);
	l->stack_low = l->stack_top - most;
	l->guard_low = l->stack_low > STACK_GUARD_BYTES ? l->stack_low - STACK_GUARD_BYTES : 0;
}

/* What is kept below task_size so that the stack can grow to its limit wherever it begins. */
static uint64_t stack_gap(const struct layout *l, const struct layout_params *p, const struct limits *m)
{
	uint64_t pad = STACK_GUARD_BYTES + (p->random != LAYOUT_FIXED ? m->stack_range - PAGE_SIZE : 0);
	uint64_t gap;

	if (__builtin_add_overflow(p->stack_limit, pad, &gap))
		gap = p->stack_limit;
	return MIN(MAX(gap, GAP_MIN), l->task_size / 6 * 5);
}

static void place_mappings(struct layout *l, const struct layout_params *p, const struct limits *m, struct rand *r)
{
	l->gap = stack_gap(l, p, m);
	if (p->random != LAYOUT_FIXED)
		l->mmap_offset = random_pages(r, PAGE_SIZE << l->mmap_bits);
	if (p->legacy)
		l->mmap_base = ALIGN_UP(l->task_size / 3, PAGE_SIZE) + l->mmap_offset;
	else
		l->mmap_base = ALIGN_UP(l->task_size - l->gap - l->mmap_offset, PAGE_SIZE);
}

int layout_make(struct layout *l, const struct layout_params *p)
{
	const struct limits *m = &limits[p->kind];
	uint8_t mmap_bits = p->mmap_bits != 0 ? p->mmap_bits : m->mmap_bits;
	struct rand r;
	int err;

	if (mmap_bits < m->mmap_bits || mmap_bits > m->mmap_bits_most)
		return -EINVAL;
	rand_seed(&r, p->seed);
	*l = (struct layout){ .task_size = m->task_size, .mmap_bits = p->random != LAYOUT_FIXED ? mmap_bits : 0 };
	err = place_executable(l, p, m, &r);
	if (err != 0)
		return err;
	place_heap(l, p, m, &r);
	place_stack(l, p, m, &r);
	place_mappings(l, p, m, &r);
	if (l->start_brk > (p->legacy || l->text.start > l->mmap_base ? l->task_size : l->mmap_base))
		return -EINVAL;
	return 0;
}
