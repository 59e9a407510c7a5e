/*
 * prefork CHILDREN SHARED_MIB HEAP_MIB OWN_KIB: a server that forks all its children at once, as databases do.
 *
 * The parent fills memory that all share and a heap that its children read, copy on write. Each child adds up both and changes a
 * part of its own of the heap, a page in so many; then all wait until everyone is that far, add up again and answer. What a
 * child must say is known; the sum of the answers is printed.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE 4096

static uint64_t *shared, *heap;
static size_t shared_words, heap_words, own_words;

static uint64_t sum(const uint64_t *p, size_t words)
{
	uint64_t s = 0;

	for (size_t i = 0; i < words; i += PAGE / sizeof(*p))
		s = s * 31 + p[i];
	return s;
}

static void fill(uint64_t *p, size_t words, uint64_t seed)
{
	for (size_t i = 0; i < words; i++)
		p[i] = seed = seed * 6364136223846793005u + 1442695040888963407u;
}

static void child(int n, int go, int done)
{
	uint64_t before = sum(heap, heap_words) + sum(shared, shared_words), after;
	size_t at = own_words * (size_t)n % (heap_words - own_words);
	char c = 0;

	for (size_t i = 0; i < own_words; i += PAGE / sizeof(*heap))
		heap[at + i] ^= (uint64_t)n + 1;
	if (write(done, &c, 1) != 1 || read(go, &c, 1) != 1)
		_exit(2);
	for (size_t i = 0; i < own_words; i += PAGE / sizeof(*heap))
		heap[at + i] ^= (uint64_t)n + 1;
	after = sum(heap, heap_words) + sum(shared, shared_words);
	_exit(before == after ? 0 : 3);
}

int main(int argc, char **argv)
{
	int children = argc == 5 ? atoi(argv[1]) : 0, go[2], done[2], status, good = 0;
	char c = 0;

	if (children < 1 || pipe(go) != 0 || pipe(done) != 0)
		return 1;
	shared_words = (size_t)atoi(argv[2]) << 17;
	heap_words = (size_t)atoi(argv[3]) << 17;
	own_words = (size_t)atoi(argv[4]) << 7;
	shared = mmap(NULL, shared_words * 8, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	heap = malloc(heap_words * 8);
	if (shared == MAP_FAILED || heap == NULL)
		return 1;
	fill(shared, shared_words, 1);
	fill(heap, heap_words, 2);
	for (int n = 0; n < children; n++) {
		pid_t pid = fork();

		if (pid < 0)
			return 1;
		if (pid == 0)
			child(n, go[0], done[1]);
	}
	for (int n = 0; n < children; n++)
		if (read(done[0], &c, 1) != 1)
			return 1;
	for (int n = 0; n < children; n++)
		if (write(go[1], &c, 1) != 1)
			return 1;
	while (wait(&status) > 0)
		good += status == 0;
	printf("%d of %d children saw what they must, sum %016llx\n", good, children,
	       (unsigned long long)(sum(heap, heap_words) + sum(shared, shared_words)));
	return good == children ? 0 : 1;
}
