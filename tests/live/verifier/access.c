/* Plain reads and writes: random, sequential, and pages filled with one byte. */
#include "verifier.h"

#include <string.h>

uint64_t mode_random_read(size_t n, uint64_t seed)
{
	struct region r;

	region_make(&r, n);
	region_fill(&r, 0, n);
	region_sample(&r, &seed, n + n / 2, "random read");
	region_check_all(&r, "last look");
	return region_digest(&r);
}

uint64_t mode_random_write(size_t n, uint64_t seed)
{
	struct region r;

	region_make(&r, n);
	region_fill(&r, 0, n);
	for (size_t k = 0; k < n; k++) {
		size_t i = below64(&seed, n);
		region_check(&r, i, "before the write");
		region_write(&r, i);
	}
	region_check_all(&r, "last look");
	return region_digest(&r);
}

uint64_t mode_sequential(size_t n, uint64_t seed)
{
	struct region r;

	(void)seed;
	region_make(&r, n);
	region_fill(&r, 0, n);
	for (unsigned pass = 0; pass < 2; pass++) {
		for (size_t i = 0; i < n; i++) {
			region_check(&r, i, "forward");
			region_write(&r, i);
		}
	}
	for (size_t i = n; i-- > 0;)
		region_check(&r, i, "backward");
	for (size_t start = 0; start < 8; start++)
		for (size_t i = start; i < n; i += 8)
			region_check(&r, i, "strided");
	return region_digest(&r);
}

static unsigned char fill_byte(size_t i)
{
	return i % 3 == 0 ? 0 : (unsigned char)(i % 251);
}

/* Two pages in three are one byte repeated, some of them zero; the third carries data and is not touched again until the end. */
uint64_t mode_same_filled(size_t n, uint64_t seed)
{
	struct region r;
	uint64_t digest = 0;

	region_make(&r, n);
	for (size_t i = 0; i < n; i++) {
		if (i % 3 == 2)
			region_write(&r, i);
		else
			memset(region_page(&r, i), fill_byte(i), PAGE);
	}
	for (size_t k = 0; k < 2 * n; k++) {
		size_t i = k < n ? below64(&seed, n) : k - n;
		const unsigned char *p = region_page(&r, i);

		if (i % 3 == 2) {
			region_check(&r, i, "data page");
			continue;
		}
		must(p[0] == fill_byte(i) && memcmp(p, p + 1, PAGE - 1) == 0,
		     "page %zu filled with %02x is wrong", i, fill_byte(i));
		digest = mix64(digest + p[PAGE - 1]);
	}
	return digest + region_digest(&r);
}
