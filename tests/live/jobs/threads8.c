/*
 * threads8 MIB: a small parallel sort. Eight threads fill an eighth each of an
 * array of numbers, sort it, then merge pairwise in three rounds into a second
 * array; last, all eight look random numbers up by binary search. Prints a
 * digest; status 1 when the result is not sorted or a lookup fails.
 */
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { THREADS = 8, LOOKUPS = 5000 };

static uint64_t *from, *to;
static size_t per_thread;
static pthread_barrier_t barrier;
static uint64_t found[THREADS];

static uint64_t next(uint64_t *s)
{
	*s ^= *s << 13;
	*s ^= *s >> 7;
	*s ^= *s << 17;
	return *s;
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

/* qsort would allocate a copy; this is the plain in-place quicksort, with qsort for the short runs. */
static void quicksort(uint64_t *v, size_t n)
{
	while (n > 512) {
		uint64_t pivot = v[n / 2], swap;
		size_t i = 0, j = n - 1;

		for (;; i++, j--) {
			while (v[i] < pivot)
				i++;
			while (v[j] > pivot)
				j--;
			if (i >= j)
				break;
			swap = v[i];
			v[i] = v[j];
			v[j] = swap;
		}
		quicksort(v, j + 1);
		v += j + 1;
		n -= j + 1;
	}
	qsort(v, n, sizeof(*v), compare);
}

static void merge(const uint64_t *a, const uint64_t *b, size_t n, uint64_t *out)
{
	size_t i = 0, j = 0;

	for (size_t k = 0; k < 2 * n; k++)
		out[k] = j == n || (i < n && a[i] <= b[j]) ? a[i++] : b[j++];
}

static uint64_t look_up(const uint64_t *v, size_t n, uint64_t *seed)
{
	uint64_t sum = 0;

	for (unsigned k = 0; k < LOOKUPS; k++) {
		size_t at = next(seed) % n, low = 0, high = n;

		while (low < high) {
			size_t mid = low + (high - low) / 2;
			if (v[mid] < v[at])
				low = mid + 1;
			else
				high = mid;
		}
		if (low == n || v[low] != v[at]) {
			fprintf(stderr, "threads8: number %zu is not found\n", at);
			exit(1);
		}
		sum += v[low] ^ low;
	}
	return sum;
}

static void *work(void *arg)
{
	size_t me = (size_t)arg;
	uint64_t seed = me + 88172645463325252u;
	uint64_t *mine = from + me * per_thread, *src = from, *dst = to;

	for (size_t i = 0; i < per_thread; i++)
		mine[i] = next(&seed) >> 36;
	quicksort(mine, per_thread);
	for (size_t width = 1; width < THREADS; width *= 2) {
		pthread_barrier_wait(&barrier);
		if (me % (2 * width) == 0)
			merge(src + me * per_thread, src + (me + width) * per_thread, width * per_thread, dst + me * per_thread);
		uint64_t *swap = src;
		src = dst;
		dst = swap;
	}
	pthread_barrier_wait(&barrier);
	found[me] = look_up(src, THREADS * per_thread, &seed);
	return NULL;
}

int main(int argc, char **argv)
{
	size_t mib = argc > 1 ? strtoul(argv[1], NULL, 10) : 0;
	pthread_t threads[THREADS];
	uint64_t digest = 0;

	if (mib < 2) {
		fprintf(stderr, "usage: threads8 MIB (at least 2)\n");
		return 2;
	}
	per_thread = (mib << 20) / 2 / sizeof(uint64_t) / THREADS;
	from = malloc(THREADS * per_thread * sizeof(uint64_t));
	to = malloc(THREADS * per_thread * sizeof(uint64_t));
	if (from == NULL || to == NULL) {
		fprintf(stderr, "threads8: no memory\n");
		return 1;
	}
	pthread_barrier_init(&barrier, NULL, THREADS);
	for (size_t t = 0; t < THREADS; t++)
		pthread_create(&threads[t], NULL, work, (void *)t);
	for (size_t t = 0; t < THREADS; t++)
		pthread_join(threads[t], NULL);
	/* Three rounds: the result is in the second array. */
	for (size_t i = 0; i < THREADS * per_thread; i++) {
		digest = digest * 31 + to[i];
		if (i > 0 && to[i] < to[i - 1]) {
			fprintf(stderr, "threads8: number %zu is out of order\n", i);
			return 1;
		}
	}
	for (size_t t = 0; t < THREADS; t++)
		digest = digest * 31 + found[t];
	printf("numbers=%zu digest=%016" PRIx64 "\n", THREADS * per_thread, digest);
	return 0;
}
