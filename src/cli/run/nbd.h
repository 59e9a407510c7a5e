/* Swap areas on NBD servers: the launcher asks them for the processes of the run (store/remote.h). */
#ifndef STW_CLI_RUN_NBD_H
#define STW_CLI_RUN_NBD_H

#include "live/ledger.h"

/* What is wrong with an export, for a message; `what_to_do` follows `why`. */
struct nbd_refusal {
	char why[256];
	const char *what_to_do;
};

/* Connects once: the size of the export, and its first page. 0, or -1 with *refusal. */
int nbd_try(const char *uri, uint64_t *bytes, void *first_page, struct nbd_refusal *refusal);

/*
 * Starts and ends the threads that serve the ledger's areas of this kind, if it has some. Not 0: an exit status; a server
 * is not there any more, which has been said, and no thread runs.
 */
int nbd_start(struct ledger *l);
void nbd_stop(struct ledger *l);

#endif
