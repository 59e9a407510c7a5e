/* The checksum of law L5: XXH3 over one page, folded to 32 bits. */
#ifndef STW_BASE_HASH_H
#define STW_BASE_HASH_H

#include "base/types.h"

#define XXH_INLINE_ALL
#define XXH_NO_STREAM
#include <xxhash.h>

static inline uint32_t hash_page(const void *page)
{
	uint64_t h = XXH3_64bits(page, PAGE_SIZE);

	return (uint32_t)(h ^ (h >> 32));
}

#endif
