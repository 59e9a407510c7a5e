/*
 * A small seedable generator (xorshift64*, Vigna 2016): for placement, sampling
 * and tests. Not for secrets.
 */
#ifndef STW_BASE_RAND_H
#define STW_BASE_RAND_H

#include "base/types.h"

struct rand {
	uint64_t state; /* never 0 */
};

static inline void rand_seed(struct rand *r, uint64_t seed)
{
	/* One splitmix64 step, so that neighbouring seeds give unrelated streams. */
	uint64_t z = seed + 0x9e3779b97f4a7c15u;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	z ^= z >> 31;
	r->state = z != 0 ? z : 1;
}

static inline uint64_t rand_u64(struct rand *r)
{
	uint64_t x = r->state;

	x ^= x >> 12;
	x ^= x << 25;
	x ^= x >> 27;
	r->state = x;
	return x * 0x2545f4914f6cdd1du;
}

/* Uniform in [0, n); n ≥ 1 (Lemire's multiply, without the rejection step). */
static inline uint64_t rand_below(struct rand *r, uint64_t n)
{
	return (uint64_t)(((unsigned __int128)rand_u64(r) * n) >> 64);
}

#endif
