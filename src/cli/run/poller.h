/* The launcher's threads that keep CPUs from halting: live/haltpoll.h. */
#ifndef STW_CLI_RUN_POLLER_H
#define STW_CLI_RUN_POLLER_H

#include "live/ledger.h"

#define POLLER_PAGES 6 /* that two threads take: stack and thread-local storage; more of them are seldom wanted */

/* Why no CPU should be kept awake here, where CPU time is counted out: a few words. NULL: nothing speaks against it. */
const char *poller_why_not(void);
/* From now on threads come when they are wanted. Signals are blocked already. */
void poller_start(struct ledger *l);
/* Now and then: starts those that are wanted. */
void poller_tick(struct ledger *l);
void poller_stop(struct ledger *l);

#endif
