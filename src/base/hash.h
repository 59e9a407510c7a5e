/* XXH3 over one page, and its fold to 32 bits: the checksum of law L5. */
#ifndef STW_BASE_HASH_H
#define STW_BASE_HASH_H

#include "base/types.h"

/* The same value whatever the processor can do; with AVX2 in two thirds of the time. */
uint64_t hash_page(const void *page);

static inline uint32_t hash_fold(uint64_t h)
{
	return (uint32_t)(h ^ (h >> 32));
}

#endif
