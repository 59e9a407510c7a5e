/* What a test of a region has in memory. */
#ifndef STW_TESTS_EMBED_RESIDENT_H
#define STW_TESTS_EMBED_RESIDENT_H

#include <stddef.h>
#include <stdio.h>

#include "base/page.h"

/*
 * The shadow of AddressSanitizer, in bytes: an eighth of all memory that was looked at, where the kernel does not map its page of
 * zeros for what is only read, but makes a page.
 */
static inline size_t shadow(void)
{
	size_t bytes = 0;
#ifdef __SANITIZE_ADDRESS__
	const unsigned long shadow_start = 0x7fff8000, shadow_end = 0x10007fff8000; /* x86-64 */
	FILE *f = fopen("/proc/self/smaps", "r");
	unsigned long start = 0, end = 0, kib;
	char line[256];

	while (fgets(line, sizeof(line), f) != NULL)
		if (sscanf(line, "Rss: %lu", &kib) == 1)
			bytes += start >= shadow_start && end <= shadow_end ? kib * 1024 : 0;
		else
			sscanf(line, "%lx-%lx ", &start, &end);
	fclose(f);
#endif
	return bytes;
}

/* Resident pages of this process that are not files, in bytes. */
static inline size_t resident(void)
{
	unsigned long size, pages, shared;
	FILE *f = fopen("/proc/self/statm", "r");

	assert_int_equal(fscanf(f, "%lu %lu %lu", &size, &pages, &shared), 3);
	fclose(f);
	return (pages - shared) * PAGE - shadow();
}

#endif
