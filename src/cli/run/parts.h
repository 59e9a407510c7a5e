/* What each process of a run has in memory, so that the sum is what is there. */
#ifndef STW_CLI_RUN_PARTS_H
#define STW_CLI_RUN_PARTS_H

#include "live/ledger.h"

/*
 * The sizes at this moment of the process of slot i, which lives. What it shares is divided among those who share it; of a
 * process without an engine all is unmanaged, and the kernel's figure. processes: of the run.
 */
struct ledger_usage part_of(unsigned i, const struct ledger_slot *s, uint64_t processes);

#endif
