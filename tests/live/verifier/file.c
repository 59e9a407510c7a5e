/*
 * Private mappings of files that are only read, as code is, under pressure: some are made writable for a moment
 * and written to, and libraries are opened and closed. What was written must stay, and what was not is the file's.
 */
#include "verifier.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define MAPPINGS 48
#define PAGES 32            /* of each */
#define SECONDS 2           /* long enough for several looks at what is mapped */
#define WRITTEN 0x5a000000u /* tag of a written page, and the number of its mapping */

static unsigned char *mapping[MAPPINGS];
static size_t written[MAPPINGS]; /* 1 + the page that was written to, 0: none */

static void check_mapping(size_t k)
{
	for (size_t i = 0; i < PAGES; i++) {
		bool changed = written[k] == i + 1;

		must(page_check(mapping[k] + i * PAGE, changed ? WRITTEN + k : i, changed ? 2 : 1) < 0,
		     "mapping %zu, page %zu, %s, holds something else", k, i, changed ? "which was written to" : "the file's");
	}
}

static void write_to(size_t k, size_t i)
{
	must(mprotect(mapping[k], PAGES * PAGE, PROT_READ | PROT_WRITE) == 0, "mprotect: %s", strerror(errno));
	page_fill(mapping[k] + i * PAGE, WRITTEN + k, 2);
	written[k] = i + 1;
	must(mprotect(mapping[k], PAGES * PAGE, PROT_READ) == 0, "mprotect: %s", strerror(errno));
}

static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

uint64_t mode_file(size_t n, uint64_t seed)
{
	struct region r;
	unsigned char page[PAGE];
	int fd = temp_file(PAGES);
	double begin = seconds();

	for (size_t i = 0; i < PAGES; i++) {
		page_fill(page, i, 1);
		must(pwrite(fd, page, PAGE, (off_t)(i * PAGE)) == PAGE, "write: %s", strerror(errno));
	}
	/* All at offset 0: no two become one area. */
	for (size_t k = 0; k < MAPPINGS; k++) {
		mapping[k] = mmap(NULL, PAGES * PAGE, PROT_READ, MAP_PRIVATE, fd, 0);
		must(mapping[k] != MAP_FAILED, "mmap: %s", strerror(errno));
		check_mapping(k);
	}
	region_make(&r, n);
	region_fill(&r, 0, n);
	for (double now = 0, turn = 0; now < SECONDS; now = seconds() - begin) {
		size_t k = below64(&seed, MAPPINGS);
		void *library = dlopen("libresolv.so.2", RTLD_NOW);

		region_sample(&r, &seed, 64, "beside mapped files");
		check_mapping(k);
		/* The last ones stay the file's until the end. */
		if (written[k] == 0 && k < MAPPINGS - 8 && now >= turn) {
			write_to(k, below64(&seed, PAGES));
			turn = now + (double)SECONDS / MAPPINGS;
		}
		must(library == NULL || dlclose(library) == 0, "dlclose: %s", dlerror());
	}
	for (size_t k = 0; k < MAPPINGS; k++)
		check_mapping(k);
	region_check_all(&r, "last look");
	close(fd);
	return region_digest(&r);
}
