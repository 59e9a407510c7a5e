/*
 * Steward's allocator under its own names, which libsteward-malloc.so exports.
 * Under libc's names it and libsteward-preload.so have the same functions.
 *
 * All are thread-safe and keep working after fork. Blocks are aligned to 16
 * bytes. A failure returns NULL and sets errno to ENOMEM, unless said
 * otherwise; requests beyond PTRDIFF_MAX fail. Misuse that is detected ends
 * the program with one line on stderr and SIGABRT.
 */
#ifndef STEWARD_MALLOC_H
#define STEWARD_MALLOC_H

#include <stddef.h>
#include <stdio.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A block of at least `bytes` bytes; of 0 bytes too: a block of its own. */
void *stw_malloc(size_t bytes);

/* Gives a block back; NULL is allowed. errno stays as it was. */
void stw_free(void *mem);

/*
 * The same for callers that know what they asked for, as C23 has it: the size,
 * and the alignment if one was asked for. A block of another size ends the program.
 */
void stw_free_sized(void *mem, size_t bytes);
void stw_free_aligned_sized(void *mem, size_t align, size_t bytes);

/* A zeroed block of n * bytes; ENOMEM also when the product overflows. */
void *stw_calloc(size_t n, size_t bytes);

/*
 * Changes the size of a block; it may move. NULL: as stw_malloc. 0 bytes: as
 * stw_free, returns NULL. On failure the old block is untouched.
 */
void *stw_realloc(void *mem, size_t bytes);

/* Aligned blocks. aligned_alloc: NULL and EINVAL unless align is a power of two. */
void *stw_aligned_alloc(size_t align, size_t bytes);
/* As aligned_alloc, but align is rounded up to a power of two; EINVAL when there is none. */
void *stw_memalign(size_t align, size_t bytes);
/* 0, EINVAL (align: a power of two, multiple of sizeof(void *)) or ENOMEM, which errno is then too; on failure *mem stays as it was. */
int stw_posix_memalign(void **mem, size_t align, size_t bytes);
/* Aligned to a page. pvalloc also rounds the size up to whole pages. */
void *stw_valloc(size_t bytes);
void *stw_pvalloc(size_t bytes);

/* Bytes of a block that may be read and written: at least those asked for, the same for its whole life. NULL: 0. */
size_t stw_malloc_usable_size(void *mem);

/* Gives free memory back to the system; `pad` bytes stay at the top of each heap. 1: something was given back, else 0. */
int stw_malloc_trim(size_t pad);

/* Parameters by glibc's numbers (M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_TOP_PAD, M_MMAP_MAX, M_ARENA_MAX, M_PERTURB). 1: set; 0: a value that is not allowed. */
int stw_mallopt(int param, int value);

/* As glibc's struct mallinfo2. */
struct stw_mallinfo2 {
	size_t arena;    /* bytes of heaps, mappings of single blocks not included */
	size_t ordblks;  /* free chunks */
	size_t smblks;   /* free blocks in the caches of threads */
	size_t hblks;    /* blocks in mappings of their own */
	size_t hblkhd;   /* … bytes in them */
	size_t usmblks;  /* 0 */
	size_t fsmblks;  /* bytes of the smblks, part of fordblks */
	size_t uordblks; /* bytes in use in heaps */
	size_t fordblks; /* free bytes in heaps */
	size_t keepcost; /* bytes that trimming the main heap could give back */
};

struct stw_mallinfo2 stw_mallinfo2(void);

/* A summary on stderr. */
void stw_malloc_stats(void);

/* The same as XML. options must be 0. 0, or EINVAL. */
int stw_malloc_info(int options, FILE *fp);

/*
 * The same and more as one JSON object (docs/malloc.md has the schema).
 * Returns the length of the text, or 0 if it does not fit; 64 KiB always do.
 */
size_t stw_malloc_stats_json(char *buf, size_t size);

/*
 * Writes to fd which call stacks the memory in use belongs to, as far as samples
 * tell, in the text format of gperftools that pprof and jeprof read. Needs
 * STEWARD_MALLOC=profile=FILE. 0, ENOTSUP (there is no profile) or the errno
 * of a write that failed.
 */
int stw_malloc_profile(int fd);

/* What the heap consists of. */
enum stw_heap_kind {
	STW_HEAP_USED,  /* a block in use, or kept by the cache of the thread that freed it */
	STW_HEAP_FREE,  /* free, between others */
	STW_HEAP_SLAB,  /* pages cut into slots of one size, for small blocks */
	STW_HEAP_TOP,   /* free, at the end, as far as it was ever touched */
	STW_HEAP_MAPPED /* a block in a mapping of its own */
};

struct stw_heap_region {
	const void *addr;
	size_t bytes;
	enum stw_heap_kind kind;
	unsigned arena;    /* its number; MAPPED: 0 */
	size_t slot_bytes; /* SLAB, else 0, as the following */
	size_t slots;
	size_t slots_used; /* those in the cache of a thread included */
};

/*
 * Calls fn for each region; those of a piece of heap in ascending order. They do not overlap. fn
 * runs under locks of the allocator: it must not allocate or free, nor call stdio.
 */
void stw_heap_map(void (*fn)(void *ctx, const struct stw_heap_region *region), void *ctx);

#ifdef __cplusplus
}
#endif

#endif
