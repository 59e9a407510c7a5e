/* What processes of the run have in memory that have no engine to count it: the kernel is asked. */
#ifndef STW_CLI_RUN_NATIVES_H
#define STW_CLI_RUN_NATIVES_H

#include "live/ledger.h"

/* Nobody in the process counts: it fits, and has no engine or one that waits. */
static inline bool native_state(uint32_t state)
{
	return state == LEDGER_NATIVE || state == LEDGER_ARMED;
}

/*
 * Pages that the process of slot i has in memory at this moment, what it shares divided among those who share it.
 * processes: of the run. 0 if it has ended or the kernel does not say.
 */
uint64_t natives_resident(unsigned i, const struct ledger_slot *s, uint64_t processes);

#endif
