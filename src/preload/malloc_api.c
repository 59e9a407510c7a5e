/*
 * The allocator under libc's names.
 *
 * The operators of C++ are in operators.c. Left to libc: reallocarray and
 * strdup, which call ours. The __libc_ names are for old objects that bind to
 * them.
 *
 * Nothing here needs a constructor: the first call may come from ld.so.
 */
#include <malloc.h>
#include <stdlib.h>

#include "malloc/control.h"
#include "malloc/short.h"

#define EXPORT __attribute__((visibility("default")))

EXPORT void *malloc(size_t bytes) { return malloc_short(bytes); }
EXPORT void free(void *mem) { free_short(mem); }
EXPORT void *calloc(size_t n, size_t bytes) { return calloc_short(n, bytes); }
EXPORT void *realloc(void *mem, size_t bytes) { return stw_realloc(mem, bytes); }
EXPORT void *aligned_alloc(size_t align, size_t bytes) { return stw_aligned_alloc(align, bytes); }
EXPORT void *memalign(size_t align, size_t bytes) { return stw_memalign(align, bytes); }
EXPORT int posix_memalign(void **mem, size_t align, size_t bytes) { return stw_posix_memalign(mem, align, bytes); }
EXPORT void *valloc(size_t bytes) { return stw_valloc(bytes); }
EXPORT void *pvalloc(size_t bytes) { return stw_pvalloc(bytes); }
EXPORT size_t malloc_usable_size(void *mem) { return stw_malloc_usable_size(mem); }
EXPORT int malloc_trim(size_t pad) { return stw_malloc_trim(pad); }
EXPORT int mallopt(int param, int value) { return stw_mallopt(param, value); }
EXPORT void malloc_stats(void) { stw_malloc_stats(); }
EXPORT int malloc_info(int options, FILE *fp) { return stw_malloc_info(options, fp); }

EXPORT struct mallinfo2 mallinfo2(void)
{
	struct stw_mallinfo2 m = stw_mallinfo2();

	return (struct mallinfo2){
		.arena = m.arena, .ordblks = m.ordblks, .smblks = m.smblks, .hblks = m.hblks, .hblkhd = m.hblkhd,
		.usmblks = m.usmblks, .fsmblks = m.fsmblks, .uordblks = m.uordblks, .fordblks = m.fordblks,
		.keepcost = m.keepcost,
	};
}

/* The old form wraps at 4 GiB, as libc's does. */
EXPORT struct mallinfo mallinfo(void)
{
	struct stw_mallinfo2 m = stw_mallinfo2();

	return (struct mallinfo){
		.arena = (int)m.arena, .ordblks = (int)m.ordblks, .smblks = (int)m.smblks, .hblks = (int)m.hblks,
		.hblkhd = (int)m.hblkhd, .usmblks = (int)m.usmblks, .fsmblks = (int)m.fsmblks,
		.uordblks = (int)m.uordblks, .fordblks = (int)m.fordblks, .keepcost = (int)m.keepcost,
	};
}

/* Names that no header of this libc declares. */
void cfree(void *mem);
void free_sized(void *mem, size_t bytes);
void free_aligned_sized(void *mem, size_t align, size_t bytes);

EXPORT void cfree(void *mem) { stw_free(mem); }

EXPORT void free_sized(void *mem, size_t bytes) { stw_free_sized(mem, bytes); }
EXPORT void free_aligned_sized(void *mem, size_t align, size_t bytes) { stw_free_aligned_sized(mem, align, bytes); }

void *__libc_malloc(size_t bytes);
void __libc_free(void *mem);
void *__libc_calloc(size_t n, size_t bytes);
void *__libc_realloc(void *mem, size_t bytes);
void *__libc_memalign(size_t align, size_t bytes);
void *__libc_valloc(size_t bytes);
void *__libc_pvalloc(size_t bytes);
int __posix_memalign(void **mem, size_t align, size_t bytes);

EXPORT void *__libc_malloc(size_t bytes) { return stw_malloc(bytes); }
EXPORT void __libc_free(void *mem) { stw_free(mem); }
EXPORT void *__libc_calloc(size_t n, size_t bytes) { return stw_calloc(n, bytes); }
EXPORT void *__libc_realloc(void *mem, size_t bytes) { return stw_realloc(mem, bytes); }
EXPORT void *__libc_memalign(size_t align, size_t bytes) { return stw_memalign(align, bytes); }
EXPORT void *__libc_valloc(size_t bytes) { return stw_valloc(bytes); }
EXPORT void *__libc_pvalloc(size_t bytes) { return stw_pvalloc(bytes); }
EXPORT int __posix_memalign(void **mem, size_t align, size_t bytes) { return stw_posix_memalign(mem, align, bytes); }

__attribute__((destructor)) static void ends(void)
{
	malloc_exit();
}
