/* A ledger for tests of the launcher's parts: one process, which has all of the budget. */
#ifndef STW_TESTS_CLI_ONE_PROCESS_H
#define STW_TESTS_CLI_ONE_PROCESS_H

#include <stdlib.h>
#include <string.h>

#include "live/ledger.h"

/* ram in pages. Freed with free(). */
static inline struct ledger *ledger_of_one(uint64_t ram)
{
	struct ledger *l = aligned_alloc(_Alignof(struct ledger), sizeof(*l));

	assert_non_null(l);
	memset(l, 0, sizeof(*l));
	l->ram_pages = ram;
	atomic_store(&l->free_pages, (int64_t)ram);
	assert_non_null(ledger_claim(l, 1, 1));
	ledger_grant(l, &l->slot[0], ram);
	return l;
}

#endif
