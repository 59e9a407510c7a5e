/* hash_page for processors with AVX2. Only hash.c calls it. */
#ifndef STW_BASE_HASH_AVX2_H
#define STW_BASE_HASH_AVX2_H

#include "base/types.h"

uint64_t hash_page_avx2(const void *page);

#endif
