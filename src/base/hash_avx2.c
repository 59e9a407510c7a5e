/* Everything in this file is compiled for AVX2, the intrinsics of xxhash.h included. */
#pragma GCC target("avx2")

#include "base/hash_avx2.h"

#define XXH_INLINE_ALL
#define XXH_NO_STREAM
#define XXH_VECTOR XXH_AVX2
#include <xxhash.h>

uint64_t hash_page_avx2(const void *page)
{
	return XXH3_64bits(page, PAGE_SIZE);
}
