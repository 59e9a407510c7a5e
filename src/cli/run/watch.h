/* The launcher's look at the ledger, twenty times a second: peaks over all processes, and the slots of the dead. */
#ifndef STW_CLI_RUN_WATCH_H
#define STW_CLI_RUN_WATCH_H

#include "live/ledger.h"

struct watch {
	struct ledger *ledger;
	unsigned slots;                  /* slots 0..slots have been claimed at some time */
	bool told[LEDGER_SLOTS];         /* the slot's message has been printed */
	struct ledger_usage peak;        /* sizes of all processes when their sum was largest; pages */
	uint64_t need_peak;              /* largest need of all processes at one moment; pages */
	uint64_t pooled_peak;            /* largest number of pages in the pool */
	uint64_t pool_bytes;             /* their compressed size */
	uint64_t pool_frames;            /* what they took of memory */
	struct ledger_area area[SWAP_SPECS]; /* used: the most at one moment; errors of processes that have ended; worst */
	char fatal[256];                 /* the first message of a process that Steward stopped; empty: none */
};

/* What all processes of the run, ended or not, have together. */
struct watch_total {
	uint64_t processes;              /* that Steward's library was in */
	uint64_t running;                /* of them: not ended yet */
	struct ledger_usage peak;        /* pages; without the launcher's own */
	uint64_t need_peak;
	uint64_t counter[VM_COUNTER_NR];
	struct hist fault_ns;
};

/* No such process, or a zombie. start_time: as in the ledger, 0 if not known yet. */
bool watch_is_gone(int32_t pid, uint64_t start_time);

/* Sends sig to the process with this pid and start time, and to no other that has got its number since. */
void watch_signal(int32_t pid, uint64_t start_time, int sig);

void watch_init(struct watch *w, struct ledger *l);

/* Samples, prints the messages of stopped processes, retires the slots of processes that are gone. now_ns: monotonic. */
void watch_scan(struct watch *w, uint64_t now_ns);

/* The sums. Call after the last watch_scan(). */
void watch_total(const struct watch *w, struct watch_total *t);

#endif
