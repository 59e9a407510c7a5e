/* Asks a process of a run where its pages are (live/ask.h). */
#ifndef STW_CLI_SEE_QUESTION_H
#define STW_CLI_SEE_QUESTION_H

#include "cli/runs.h"

/*
 * Fills what the process of slot i says of ranges [0, nr), whose start and end are set, and *head but for its ranges. l is
 * writable. 0; -ESTALE: it is not engaged, there is nothing to ask it; -ETIMEDOUT: it does not answer.
 */
int question_ask(struct ledger *l, unsigned i, struct ask_range *range, unsigned nr, struct ask *head);

#endif
