/*
 * Touches a set of pages over and over, then another one, and says which: "MARK KIND PAGE…" a phase. The mark is a page
 * that is touched once, when the phase begins.
 */
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <time.h>

#define PAGE 4096
#define PAGES 4000
#define PHASE_NS 1000000000

static volatile char *base;

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void phase(int mark, int write, int first, int last, int step)
{
	uint64_t end;

	printf("%d %s", mark, write ? "write" : "read");
	for (int i = first; i < last; i += step)
		printf(" %d", i);
	printf("\n");
	fflush(stdout);
	base[mark * PAGE] = 1;
	for (end = now_ns() + PHASE_NS; now_ns() < end;) {
		for (int i = first; i < last; i += step) {
			if (write)
				base[i * PAGE] = 1;
			else
				(void)base[i * PAGE];
		}
	}
}

int main(void)
{
	base = mmap(NULL, (PAGES + 10) * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (base == MAP_FAILED)
		return 1;
	printf("%lu\n", (unsigned long)((uintptr_t)base / PAGE));
	phase(PAGES, 1, 0, 900, 1);
	phase(PAGES + 1, 0, 0, 900, 2);
	phase(PAGES + 2, 0, 300, 500, 1);
	phase(PAGES + 3, 1, 1000, PAGES, 7);
	phase(PAGES + 4, 0, 899, 900, 1);
	return 6;
}
