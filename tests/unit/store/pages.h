/* Test pages: a random part of the length wanted, then a few words over and over, so that the compressed size follows the length. */
#ifndef STW_TESTS_STORE_PAGES_H
#define STW_TESTS_STORE_PAGES_H

#include <string.h>

#include "base/rand.h"
#include "base/types.h"

static inline void page_make(struct rand *r, uint8_t *page, size_t random_bytes)
{
	for (size_t i = 0; i < PAGE_SIZE; i += 8) {
		uint64_t v = i < random_bytes ? rand_u64(r) : 0x6567617020656874u + i / 256;

		memcpy(page + i, &v, 8);
	}
}

#endif
