/* What one page holds, in few bits: XXH3, its fold to 32 bits (the checksum of law L5), and the word that it repeats. */
#ifndef STW_BASE_HASH_H
#define STW_BASE_HASH_H

#include "base/types.h"

/* The same value whatever the processor can do; with AVX2 in two thirds of the time. */
uint64_t hash_page(const void *page);

static inline uint32_t hash_fold(uint64_t h)
{
	return (uint32_t)(h ^ (h >> 32));
}

/* The page is one 64-bit word over and over. */
bool page_same(const void *page, uint64_t *word);

#endif
