/*
 * Latency histogram: log-linear buckets, eight per power of two, so a quantile
 * is exact within 12.5 %. Fixed size, no allocation; one writer, readers may
 * look at any time (each bucket is a single aligned word).
 */
#ifndef STW_BASE_HIST_H
#define STW_BASE_HIST_H

#include "base/types.h"

#define HIST_SUB_BITS 3
#define HIST_SUB (1u << HIST_SUB_BITS)
#define HIST_BUCKETS (40 * HIST_SUB) /* up to 2^42 ns, more than an hour */

struct hist {
	uint64_t count;
	uint64_t sum; /* of all values, same unit as the values */
	uint64_t max;
	uint64_t bucket[HIST_BUCKETS];
};

static inline unsigned hist_index(uint64_t v)
{
	if (v < HIST_SUB)
		return (unsigned)v;
	unsigned top = 63 - (unsigned)__builtin_clzll(v);
	unsigned index = ((top - HIST_SUB_BITS + 1) << HIST_SUB_BITS) |
			 (unsigned)((v >> (top - HIST_SUB_BITS)) & (HIST_SUB - 1));
	return MIN(index, HIST_BUCKETS - 1);
}

/* The smallest value that falls into bucket index. */
static inline uint64_t hist_floor(unsigned index)
{
	if (index < HIST_SUB)
		return index;
	unsigned shift = (index >> HIST_SUB_BITS) - 1;
	return (uint64_t)(HIST_SUB | (index & (HIST_SUB - 1))) << shift;
}

static inline void hist_add(struct hist *h, uint64_t v)
{
	h->count++;
	h->sum += v;
	if (v > h->max)
		h->max = v;
	h->bucket[hist_index(v)]++;
}

/* Adds all of src to dst. */
static inline void hist_merge(struct hist *dst, const struct hist *src)
{
	dst->count += src->count;
	dst->sum += src->sum;
	dst->max = MAX(dst->max, src->max);
	for (unsigned i = 0; i < HIST_BUCKETS; i++)
		dst->bucket[i] += src->bucket[i];
}

/* The value below which permille/1000 of all values lie; 0 for an empty histogram. */
static inline uint64_t hist_quantile(const struct hist *h, unsigned permille)
{
	uint64_t want = (h->count * permille + 999) / 1000, seen = 0;

	for (unsigned i = 0; i < HIST_BUCKETS; i++) {
		seen += h->bucket[i];
		if (seen >= want && seen > 0)
			return MIN(hist_floor(i + 1), h->max);
	}
	return h->max;
}

#endif
