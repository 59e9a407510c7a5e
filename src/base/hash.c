#include "base/hash.h"

#include <cpuid.h>

#include "base/hash_avx2.h"

#define XXH_INLINE_ALL
#define XXH_NO_STREAM
#include <xxhash.h>

enum { UNKNOWN, PLAIN, AVX2 };

#define XCR0_SSE_AVX 6u /* the system saves both halves of the registers */

static bool system_saves_avx(void)
{
	uint32_t low, high;

	__asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
	return (low & XCR0_SSE_AVX) == XCR0_SSE_AVX;
}

/* Intel SDM vol. 1, 14.3: detection of AVX2. */
static int detect(void)
{
	uint32_t a, b, c, d;

	if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE) || !system_saves_avx())
		return PLAIN;
	return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & bit_AVX2) ? AVX2 : PLAIN;
}

uint64_t hash_page(const void *page)
{
	/* Whoever comes second finds out the same. */
	static int kind;
	int k = __atomic_load_n(&kind, __ATOMIC_RELAXED);

	if (k == UNKNOWN)
		__atomic_store_n(&kind, k = detect(), __ATOMIC_RELAXED);
	return k == AVX2 ? hash_page_avx2(page) : XXH3_64bits(page, PAGE_SIZE);
}

bool page_same(const void *page, uint64_t *word)
{
	const uint64_t *w = page;
	const size_t n = PAGE_SIZE / sizeof(*w);

	/* The last word first: most pages that differ, differ there. */
	if (w[0] != w[n - 1])
		return false;
	for (size_t i = 1; i < n; i++)
		if (w[i] != w[0])
			return false;
	*word = w[0];
	return true;
}
