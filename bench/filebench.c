/*
 * One way to go through a file that is larger than memory, for bench/file.py:
 *
 *     filebench SIDE WORK FILE BUDGET_MIB PAGE_KIB TOUCHES
 *
 * SIDE  mmap          the kernel's, as a program would use it without thinking of it
 *       mmap-random   the same, having said MADV_RANDOM
 *       steward       a region of libsteward
 *       batch         the same; for random work, 32 places at a time are asked for with stw_get first
 * WORK  random        reads 8 bytes at random places
 *       threads       the same by four threads
 *       sequential    reads all of it once
 *       update        adds to 8 bytes at random places, and waits until the disk has them
 *       rewrite       adds to 8 bytes of every page in order, and waits until the disk has them
 *
 * Prints seconds, and a sum of what was read, which all sides must agree on.
 */
#include <err.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/rand.h"
#include "steward/steward.h"

#define BATCH 32
#define THREADS 4
#define WORDS_A_PAGE 512

static uint64_t *words;
static size_t nr_words, touches;
static struct stw_region *region; /* NULL: mmap's */
static bool batches;

static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void ask_for(const size_t *at, size_t n)
{
	struct stw_range ranges[BATCH];

	for (size_t i = 0; i < n; i++)
		ranges[i] = (struct stw_range){ at[i] * 8, 8 };
	if (stw_get(region, ranges, n) != 0)
		errx(1, "%s", stw_error());
}

/* Calls nothing in between: the sum is all there is to do. */
static uint64_t at_random(uint64_t seed, size_t n, bool add)
{
	struct rand r;
	uint64_t sum = 0;
	size_t at[BATCH];

	rand_seed(&r, seed);
	for (size_t done = 0; done < n; done += BATCH) {
		for (size_t i = 0; i < BATCH; i++)
			at[i] = rand_below(&r, nr_words);
		if (batches)
			ask_for(at, BATCH);
		for (size_t i = 0; i < BATCH; i++) {
			sum += words[at[i]];
			if (add)
				words[at[i]]++;
		}
	}
	return sum;
}

static void *thread(void *seed)
{
	return (void *)(uintptr_t)at_random((uint64_t)(uintptr_t)seed, touches / THREADS, false);
}

static uint64_t in_threads(void)
{
	pthread_t t[THREADS];
	uint64_t sum = 0;
	void *part;

	for (uintptr_t i = 0; i < THREADS; i++)
		pthread_create(&t[i], NULL, thread, (void *)(i + 1));
	for (unsigned i = 0; i < THREADS; i++) {
		pthread_join(t[i], &part);
		sum += (uint64_t)(uintptr_t)part;
	}
	return sum;
}

static uint64_t in_order(bool add)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < nr_words; i += add ? WORDS_A_PAGE : 1) {
		sum += words[i];
		if (add)
			words[i]++;
	}
	return sum;
}

static uint64_t work(const char *what)
{
	if (strcmp(what, "random") == 0)
		return at_random(1, touches, false);
	if (strcmp(what, "threads") == 0)
		return in_threads();
	if (strcmp(what, "sequential") == 0)
		return in_order(false);
	if (strcmp(what, "rewrite") == 0)
		return in_order(true);
	return at_random(1, touches, true);
}

static void open_steward(const char *path, size_t budget, size_t page)
{
	struct stw_file_config c = STW_FILE_CONFIG;

	c.path = path;
	c.writable = 1;
	c.budget = budget;
	c.page = page;
	region = stw_file_open(&c);
	if (region == NULL)
		errx(1, "%s", stw_error());
	words = stw_address(region);
	nr_words = stw_bytes(region) / 8;
}

static void open_mmap(const char *path, bool random)
{
	struct stat st;
	int fd = open(path, O_RDWR);

	if (fd < 0 || fstat(fd, &st) != 0)
		err(1, "%s", path);
	words = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (words == MAP_FAILED)
		err(1, "mmap");
	nr_words = (size_t)st.st_size / 8;
	if (random)
		madvise(words, (size_t)st.st_size, MADV_RANDOM);
}

int main(int argc, char **argv)
{
	if (argc != 7)
		errx(2, "usage: filebench SIDE WORK FILE BUDGET_MIB PAGE_KIB TOUCHES");
	batches = strcmp(argv[1], "batch") == 0;
	touches = strtoul(argv[6], NULL, 10);
	if (strncmp(argv[1], "mmap", 4) == 0)
		open_mmap(argv[3], argv[1][4] != '\0');
	else
		open_steward(argv[3], strtoul(argv[4], NULL, 10) << 20, strtoul(argv[5], NULL, 10) << 10);

	bool writes = strcmp(argv[2], "update") == 0 || strcmp(argv[2], "rewrite") == 0;
	double start = seconds();
	uint64_t sum = work(argv[2]);

	if (writes && (region != NULL ? stw_flush(region, 0, nr_words * 8) : msync(words, nr_words * 8, MS_SYNC)) != 0)
		errx(1, "cannot write back: %s", region != NULL ? stw_error() : "msync");
	printf("%.6f %016llx\n", seconds() - start, (unsigned long long)sum);
	return 0;
}
