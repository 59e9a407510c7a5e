/* CLOCK_MONOTONIC, ns. For the engine's own threads too: clock_gettime reads the vDSO, needs no thread-local state, and cannot fail here. */
#ifndef STW_LIVE_CLOCK_H
#define STW_LIVE_CLOCK_H

#include <time.h>

#include "base/types.h"

static inline uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

#endif
