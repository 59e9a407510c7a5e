/*
 * A page that can be checked byte for byte, for the live tests and the paging
 * benchmark. Knows nothing of Steward.
 *
 *   word 0      tag: who the page is, as a rule the address it was filled at
 *   word 1      generation: how often it has been rewritten
 *   2 .. 170    random words derived from both: a third of the page
 *   171 .. 511  one word repeated, derived from both
 *
 * so the page compresses about threefold, and a page of another address, an old
 * generation, zeros, or half of one and half of the other are all told apart.
 */
#ifndef STW_BASE_PAGE_H
#define STW_BASE_PAGE_H

#include <stddef.h>
#include <stdint.h>

enum { PAGE = 4096, PAGE_WORDS = 512, PAGE_RANDOM_END = 171 };

/* The finaliser of splitmix64: every bit of x reaches every bit of the result. */
static inline uint64_t mix64(uint64_t x)
{
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
	return x ^ (x >> 31);
}

/* xorshift64: the next word of a page's random part, and the generator of the tests. */
static inline uint64_t next64(uint64_t *s)
{
	uint64_t x = *s;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return *s = x;
}

static inline uint64_t below64(uint64_t *s, uint64_t n)
{
	return (uint64_t)(((unsigned __int128)(next64(s) * 0x2545f4914f6cdd1du) * n) >> 64);
}

static inline uint64_t page_seed(uint64_t tag, uint64_t gen)
{
	return mix64(tag + gen * 0x9e3779b97f4a7c15u) | 1;
}

/* Words 2 and up. */
static inline void page_fill_body(void *page, uint64_t tag, uint64_t gen)
{
	uint64_t *w = page, s = page_seed(tag, gen);

	for (unsigned i = 2; i < PAGE_RANDOM_END; i++)
		w[i] = next64(&s);
	for (unsigned i = PAGE_RANDOM_END; i < PAGE_WORDS; i++)
		w[i] = s;
}

/* The first wrong word from 2 up, or -1. */
static inline int page_check_body(const void *page, uint64_t tag, uint64_t gen)
{
	const uint64_t *w = page;
	uint64_t s = page_seed(tag, gen);

	for (unsigned i = 2; i < PAGE_RANDOM_END; i++)
		if (w[i] != next64(&s))
			return (int)i;
	for (unsigned i = PAGE_RANDOM_END; i < PAGE_WORDS; i++)
		if (w[i] != s)
			return (int)i;
	return -1;
}

static inline void page_fill(void *page, uint64_t tag, uint64_t gen)
{
	uint64_t *w = page;

	w[0] = tag;
	w[1] = gen;
	page_fill_body(page, tag, gen);
}

static inline int page_check(const void *page, uint64_t tag, uint64_t gen)
{
	const uint64_t *w = page;

	if (w[0] != tag)
		return 0;
	if (w[1] != gen)
		return 1;
	return page_check_body(page, tag, gen);
}

/* The first word that is not zero, or -1. */
static inline int page_check_zero(const void *page)
{
	const uint64_t *w = page;

	for (unsigned i = 0; i < PAGE_WORDS; i++)
		if (w[i] != 0)
			return (int)i;
	return -1;
}

#endif
