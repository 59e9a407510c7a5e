/*
 * Where Linux puts the parts of a new program: layout.c has the picture and the formulas. Pure arithmetic.
 */
#ifndef STW_MM_SPACE_LAYOUT_H
#define STW_MM_SPACE_LAYOUT_H

#include "base/types.h"

enum layout_kind {
	LAYOUT_X86_64, /* 64-bit program */
	LAYOUT_I386,   /* 32-bit program on a 32-bit kernel: 3 GiB for it, 1 GiB for the kernel */
	LAYOUT_COMPAT, /* 32-bit program on a 64-bit kernel: nearly 4 GiB for it */
};

/* kernel.randomize_va_space */
enum layout_random {
	LAYOUT_FIXED,  /* 0, or setarch -R: the same addresses each time */
	LAYOUT_NO_BRK, /* 1: all but the heap, which follows bss */
	LAYOUT_ALL,    /* 2: what distributions have */
};

struct layout_params {
	enum layout_kind kind;
	enum layout_random random;
	bool pie;             /* position-independent executable */
	bool legacy;          /* vm.legacy_va_layout: mappings from below, upwards */
	uint8_t mmap_bits;    /* vm.mmap_rnd_bits or mmap_rnd_compat_bits; 0: 28 for 64-bit programs, 8 for others */
	uint64_t stack_limit; /* RLIMIT_STACK, bytes */
	uint64_t text_bytes, data_bytes, bss_bytes; /* of the executable; at least a byte of text */
	uint64_t seed;        /* of the random numbers: the kernel has no such thing */
};

/* [start, end), bytes. */
struct layout_range {
	uint64_t start, end;
};

/*
 * Law: text, data, bss and brk follow each other in this order; the stack ends at or below task_size; mmap_base, unless
 * legacy, is at least 128 MiB less a page below task_size.
 */
struct layout {
	uint64_t task_size;   /* first address that no program may use */
	struct layout_range text, data, bss; /* page-aligned but for bss.end */
	uint64_t start_brk;   /* the heap grows up from here; page-aligned */
	uint64_t mmap_base;   /* mappings are placed below it, the highest first; legacy: above it */
	uint64_t stack_top;   /* end of the stack's area; page-aligned */
	uint64_t stack_pointer; /* within it, before arguments and environment are written */
	uint64_t stack_low;   /* what RLIMIT_STACK lets it grow to */
	uint64_t guard_low;   /* below this, other mappings may lie: 256 pages under the stack at its largest */
	uint64_t gap;         /* kept below task_size for the stack: task_size - mmap_base without the random part */
	/* How much each was moved, bytes. */
	uint64_t exec_offset, brk_offset, mmap_offset, stack_offset;
	/* Of how many bits that is. */
	uint8_t exec_bits, brk_bits, mmap_bits, stack_bits;
};

/* 0, or -EINVAL: no text, parts that do not fit, or mmap_bits beyond what the kernel allows (28 to 32; 8 to 16). */
int layout_make(struct layout *l, const struct layout_params *p);

#endif
