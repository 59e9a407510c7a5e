/* The argument of --swap, read and put in order. Whether its places can be used is seen in places.h. */
#ifndef STW_CLI_RUN_SWAPSPEC_H
#define STW_CLI_RUN_SWAPSPEC_H

#include "live/swapspec.h"

/* What is wrong with one, as the second half of a message: "WHY; WHAT TO DO". */
struct swap_complaint {
	char text[512];
};

struct swap_specs {
	unsigned nr;
	struct swap_spec spec[SWAP_SPECS];
};

/*
 * Reads `pool[:CODEC][,max=SIZE]`, `file:PATH[,size=SIZE][,direct]` or an NBD URI with `size=SIZE`, `connections=N`,
 * `deadline=SECONDS`, `rate=SIZE`; each with `prio=N`. A comma of PATH is written twice. Appends it and returns 0, or changes nothing and returns -EINVAL with *complaint.
 */
int swap_specs_add(struct swap_specs *s, const char *text, struct swap_complaint *complaint);

/*
 * All have been read: those without a priority come after the others, in the order in which they were given (swapon(2)
 * does so); then highest first. `auto` becomes zstd where the pool is the only area, lz4 where another one can help.
 */
void swap_specs_settle(struct swap_specs *s);

#endif
