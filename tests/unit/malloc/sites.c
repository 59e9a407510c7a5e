/*
 * A program whose call sites are known, for the test of the heap profile: prints "NAME ADDRESS BYTES" for each, with the
 * bytes in use that are its own, and ends.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <pthread.h>

#define SITE __attribute__((noinline, noclone))

static void *keep[300000];
static size_t kept;

/* The barrier keeps it from being the last call: its frame must be there. */
SITE static void *small(void)
{
	void *volatile mem = malloc(100);

	return mem;
}

SITE static void *medium(void)
{
	void *volatile mem = malloc(20000);

	return mem;
}

SITE static void *large(void)
{
	void *volatile mem = malloc(1000000);

	return mem;
}

SITE static void *grows(void)
{
	void *volatile mem = NULL;

	for (size_t bytes = 1000; bytes <= 4096000; bytes *= 2)
		mem = realloc(mem, bytes);
	return mem;
}

SITE static void comes_and_goes(void)
{
	void *volatile mem = malloc(100);

	free(mem);
}

SITE static void *of_a_thread(void *arg)
{
	for (unsigned i = 0; i < 50000; i++) {
		void *volatile mem = malloc(60);

		((void **)arg)[i] = mem;
	}
	return NULL;
}

static void report(const char *name, const void *site, size_t bytes)
{
	printf("%s %#zx %zu\n", name, (size_t)(uintptr_t)site, bytes);
}

int main(void)
{
	static void *of_thread[50000];
	pthread_t t;

	for (unsigned i = 0; i < 100000; i++) {
		keep[kept++] = small();
		for (unsigned j = 0; j < 20; j++)
			comes_and_goes();
	}
	for (unsigned i = 0; i < 1000; i++)
		keep[kept++] = medium();
	for (unsigned i = 0; i < 20; i++)
		keep[kept++] = large();
	keep[kept++] = grows();
	pthread_create(&t, NULL, of_a_thread, of_thread);
	pthread_join(t, NULL);
	report("small", (void *)small, 100000 * 112);
	report("medium", (void *)medium, 1000 * 20000);
	report("large", (void *)large, 20 * 1000000);
	report("grows", (void *)grows, 4096000);
	report("of_a_thread", (void *)of_a_thread, 50000 * 64);
	report("comes_and_goes", (void *)comes_and_goes, 0);
	return 0;
}
