/*
 * Allocations that fail. For programs linked with --wrap of malloc, calloc and realloc: all calls of what they link go
 * through here. One source file of a program includes it.
 */
#ifndef STW_TEST_FAILALLOC_H
#define STW_TEST_FAILALLOC_H

#include <stdbool.h>
#include <stddef.h>

/* The nth allocation from now on fails, once. 0: none. */
static unsigned fail_nth;

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);

static bool allocation_fails(void)
{
	return fail_nth > 0 && --fail_nth == 0;
}

void *__wrap_malloc(size_t n)
{
	return allocation_fails() ? NULL : __real_malloc(n);
}

void *__wrap_calloc(size_t n, size_t size)
{
	return allocation_fails() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t n)
{
	return allocation_fails() ? NULL : __real_realloc(p, n);
}

#endif
