/* Processes of a run that Steward's library is not in: they are told of, once for each program. */
#ifndef STW_CLI_RUN_OUTSIDERS_H
#define STW_CLI_RUN_OUTSIDERS_H

#include <sys/types.h>

#include "live/ledger.h"

#define OUTSIDERS_TOLD 8 /* programs; of more nobody wants to hear */

struct outsiders {
	const struct ledger *ledger;
	uint64_t next_ns; /* of the next look */
	unsigned looks;
	unsigned nr_told;
	struct {
		dev_t dev;
		ino_t ino;
	} told[OUTSIDERS_TOLD];
};

void outsiders_init(struct outsiders *o, const struct ledger *l);

/* Looks, twice a second, at what the command and its children have started. */
void outsiders_tick(struct outsiders *o, uint64_t now_ns);

#endif
