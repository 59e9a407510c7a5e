/*
 * Six patterns that replacement policies are told apart by. Each touch is one page of a range:
 *
 *	loop      0 1 2 … N-1 0 1 2 …      a range larger than memory: worst case of LRU, every touch is a fault
 *	uniform   any page                 no policy can do better than another
 *	zipf      few pages often          rank r in proportion to r^-0.6 or r^-0.9; ranks are scattered over the range
 *	hotscan   7 of 10 touches in the first quarter, 3 a scan of all: what active and inactive lists are for
 *	window    a third of the range, that moves from its beginning to its end: what is hot changes all the time, and
 *	          fits into half of the range
 *
 * Zipf by search in the sum of all weights: exact, 8 bytes a page for the time of filling. Rejection sampling (Hörmann
 * & Derflinger 1996) needs no table, but its sequence is harder to check by hand. Powers come from tenth roots by
 * Newton's method and not from pow(3), whose last bit is libm's own and might move a touch to the next rank: so the
 * sequences are the same on every machine.
 */
#include "sim/workload.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/rand.h"

#define ROOT_STEPS 32 /* five are enough from the root of the number before */

enum kind { LOOP, UNIFORM, ZIPF, HOTSCAN, WINDOW };

static const struct workload workloads[] = {
	{ "loop", "one page after the other, over and over", LOOP, 0 },
	{ "uniform", "any page", UNIFORM, 0 },
	{ "zipf0.6", "few pages often, mildly", ZIPF, 6 },
	{ "zipf0.9", "few pages often", ZIPF, 9 },
	{ "hotscan", "a hot quarter (70 %) and a scan of everything (30 %)", HOTSCAN, 0 },
	{ "window", "a third of the pages, moving", WINDOW, 0 },
};

const struct workload *workload_nth(unsigned n)
{
	return n < ARRAY_SIZE(workloads) ? &workloads[n] : NULL;
}

const struct workload *workload_find(const char *name)
{
	for (unsigned i = 0; i < ARRAY_SIZE(workloads); i++)
		if (strcmp(workloads[i].name, name) == 0)
			return &workloads[i];
	return NULL;
}

static double power(double x, unsigned n)
{
	double p = 1;

	while (n-- > 0)
		p *= x;
	return p;
}

/* Of x ≥ 1, from a guess ≥ 1: after the first step the roots come down from above. */
static double tenth_root(double x, double guess)
{
	double root = guess, next;

	for (unsigned i = 0; i < ROOT_STEPS; i++, root = next) {
		next = (9 * root + x / power(root, 9)) / 10;
		if (next == root)
			break;
	}
	return root;
}

/* sum[r]: the probability of a rank up to r. */
static void fill_sums(double *sum, uint32_t pages, unsigned tenths)
{
	double total = 0, root = 1;

	for (uint32_t r = 0; r < pages; r++) {
		root = tenth_root((double)r + 1, root);
		sum[r] = total += 1 / power(root, tenths);
	}
	for (uint32_t r = 0; r < pages; r++)
		sum[r] /= total;
}

static uint32_t rank_of(const double *sum, uint32_t pages, double u)
{
	uint32_t lo = 0, hi = pages - 1;

	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;

		if (sum[mid] < u)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

/* Fisher and Yates: where the page of each rank is. */
static void scatter(uint32_t *place, uint32_t pages, struct rand *rand)
{
	for (uint32_t i = 0; i < pages; i++)
		place[i] = i;
	for (uint32_t i = pages - 1; i > 0; i--) {
		uint32_t j = (uint32_t)rand_below(rand, i + 1), other = place[i];

		place[i] = place[j];
		place[j] = other;
	}
}

static int fill_zipf(unsigned tenths, uint32_t pages, struct rand *rand, uint32_t *page, uint64_t n)
{
	double *sum = malloc(pages * sizeof(*sum));
	uint32_t *place = malloc(pages * sizeof(*place));
	int err = sum == NULL || place == NULL ? -ENOMEM : 0;

	if (err == 0) {
		fill_sums(sum, pages, tenths);
		scatter(place, pages, rand);
	}
	for (uint64_t i = 0; err == 0 && i < n; i++)
		page[i] = place[rank_of(sum, pages, (double)(rand_u64(rand) >> 11) * 0x1p-53)];
	free(place);
	free(sum);
	return err;
}

int workload_fill(const struct workload *w, uint32_t pages, uint64_t seed, uint32_t *page, uint64_t n)
{
	uint32_t third = pages / 3, scan = 0;
	struct rand rand;

	rand_seed(&rand, seed);
	if (w->kind == ZIPF)
		return fill_zipf(w->tenths, pages, &rand, page, n);
	for (uint64_t i = 0; i < n; i++) {
		switch ((enum kind)w->kind) {
		case LOOP:
			page[i] = (uint32_t)(i % pages);
			break;
		case HOTSCAN:
			page[i] = rand_below(&rand, 10) < 7 ? (uint32_t)rand_below(&rand, pages / 4) : scan++ % pages;
			break;
		case WINDOW:
			page[i] = (uint32_t)(i * (pages - third) / n + rand_below(&rand, third));
			break;
		default:
			page[i] = (uint32_t)rand_below(&rand, pages);
			break;
		}
	}
	return 0;
}
