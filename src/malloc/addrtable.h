/*
 * A table from addresses of blocks to what is known about them, for what few
 * blocks have: a mapping of their own, a sample of a profile.
 *
 *   tables[0]   256 entries    an address may be in any of PLACES entries of each
 *   tables[1]   512            table, from its hash on; the next table is made when
 *   tables[2]  1024 …          those places of all before are taken
 *
 * No lock: an entry is claimed with one exchange, filled, and published with
 * its address. Who copies one out compares the address again afterwards.
 */
#ifndef STW_MALLOC_ADDRTABLE_H
#define STW_MALLOC_ADDRTABLE_H

#include <stdatomic.h>

#include "base/types.h"

#define ADDR_TABLES_MAX 16

/* An entry is words; the first is the address, neither 0 nor 1. */
struct addr_table {
	size_t words;
	_Atomic(void *) tables[ADDR_TABLES_MAX]; /* never given back */
};

/* Takes a copy of the entry, whose address must not be in the table. False: no memory. */
bool addr_insert(struct addr_table *t, const uintptr_t *entry);
/* False: it is not there. Else out, if not NULL, is its entry. */
bool addr_remove(struct addr_table *t, uintptr_t addr, uintptr_t *out);
/* Calls fn with a copy of each entry, which stands in room. */
void addr_each(struct addr_table *t, uintptr_t *room, void (*fn)(void *ctx, const uintptr_t *entry), void *ctx);

#endif
