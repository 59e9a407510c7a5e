#ifndef STW_BASE_SQRT_H
#define STW_BASE_SQRT_H

#include "base/types.h"

/* The square root, rounded down. */
static inline uint32_t int_sqrt(uint64_t x)
{
	uint64_t root = 0;

	for (uint64_t bit = (uint64_t)1 << 31; bit != 0; bit >>= 1) {
		if ((root | bit) * (root | bit) <= x)
			root |= bit;
	}
	return (uint32_t)root;
}

#endif
