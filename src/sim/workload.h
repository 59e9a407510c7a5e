/* Synthetic workloads: sequences of pages that are the same wherever they are run, on a kernel or on a model. */
#ifndef STW_SIM_WORKLOAD_H
#define STW_SIM_WORKLOAD_H

#include "base/types.h"

struct workload {
	const char *name;
	const char *text;  /* one line, for the help */
	uint8_t kind;      /* workload.c's */
	uint8_t tenths;    /* zipf: the page of rank r is touched in proportion to r^(-tenths / 10) */
};

/* The n-th, from 0; NULL: there are no more. */
const struct workload *workload_nth(unsigned n);
/* By name; NULL: there is none. */
const struct workload *workload_find(const char *name);

/*
 * The pages, 0 to pages - 1, of n touches in a row; pages from 4 to 2^31. Equal arguments give equal sequences. 0 or
 * -ENOMEM.
 */
int workload_fill(const struct workload *w, uint32_t pages, uint64_t seed, uint32_t *page, uint64_t n);

#endif
