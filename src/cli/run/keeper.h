/* Ends the run when the launcher is killed: see keeper.c. */
#ifndef STW_CLI_RUN_KEEPER_H
#define STW_CLI_RUN_KEEPER_H

#include <sys/types.h>

#include "live/ledger.h"

/* Call with all signals blocked. Returns the keeper's pid, or -errno. */
pid_t keeper_start(struct ledger *l);
/* The command has ended by itself; what it left running goes on. */
void keeper_stop(pid_t keeper);

#endif
