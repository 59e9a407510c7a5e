/*
 * An allocator that is wrong: now and then it hands out a block that somebody has. It never takes one back, so
 * that nothing but the programs' own checks can notice.
 */
#include <malloc.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>

void *__libc_malloc(size_t size);
void *__libc_memalign(size_t alignment, size_t size);

__attribute__((visibility("default"))) void *malloc(size_t size);
__attribute__((visibility("default"))) void *realloc(void *old, size_t size);
__attribute__((visibility("default"))) void *aligned_alloc(size_t alignment, size_t size);
__attribute__((visibility("default"))) void free(void *p);

enum { EVERY = 97 }; /* a prime, so that it falls on every place of a batch */

void *malloc(size_t size)
{
	static _Atomic(void *) last;
	static atomic_uint calls;
	void *p = last;

	/* libc's own small blocks (stdio, threads) come before the first of those calls. */
	if (p != NULL && ++calls % EVERY == 0 && malloc_usable_size(p) >= size)
		return p;
	p = __libc_malloc(size);
	last = p;
	return p;
}

void *realloc(void *old, size_t size)
{
	void *p = malloc(size);

	if (old != NULL && p != NULL && p != old)
		memcpy(p, old, malloc_usable_size(old) < size ? malloc_usable_size(old) : size);
	return p;
}

void *aligned_alloc(size_t alignment, size_t size)
{
	return __libc_memalign(alignment, size);
}

void free(void *p)
{
	(void)p;
}
