/*
 * The runs of this machine, as far as this user may see them. A run is found by
 * its ledger, and named by its launcher's pid or that of any process in it.
 */
#ifndef STW_CLI_RUNS_H
#define STW_CLI_RUNS_H

#include "live/ledger.h"

struct runs_one {
	struct ledger *ledger;
	uint64_t inode;    /* of the ledger: tells runs apart */
};

struct runs {
	struct runs_one *run; /* by the launcher's pid */
	unsigned nr;
	unsigned strangers;   /* runs of other versions of Steward: they are there, and cannot be read */
	unsigned elsewhere;   /* runs in other PID namespaces: what their ledgers call a pid is somebody else here */
};

/* All of them, to be read. Returns 0, or 1 after having said why. */
int runs_find(struct runs *r);
void runs_free(struct runs *r);

/*
 * The run that name means; NULL: the only one there is. writable: the ledger may be changed, too. Returns 0, or the
 * exit status (1, 2) after having said why there is none. It stays mapped until runs_close.
 */
int runs_open(struct runs_one *out, const char *name, bool writable);
void runs_close(struct runs_one *run);

/* True: the launcher is there. What runs on without it keeps its budget, and nobody divides it any more. */
bool runs_watched(const struct ledger *l);
/* Slots that may be anybody's: those behind were never claimed, and reading them would allocate memory. */
unsigned runs_slots(const struct ledger *l);
/* True: somebody owns slot i, and lives. */
bool runs_alive(const struct ledger *l, unsigned i);
/* The slot of a process that lives; -1: it has none. */
int runs_slot_of(const struct ledger *l, int32_t pid);

#endif
