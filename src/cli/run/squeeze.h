/* --squeeze: finds the smallest budget in which the program is slower by no more than so many per cent. */
#ifndef STW_CLI_RUN_SQUEEZE_H
#define STW_CLI_RUN_SQUEEZE_H

#include "cli/json.h"
#include "live/ledger.h"

struct squeeze {
	unsigned percent;        /* 0: --squeeze was not given */
	struct ledger *ledger;
	uint64_t start_pages;    /* the budget at the beginning, never exceeded */
	uint64_t asked_pages;    /* the budget that is tried */
	uint64_t next_ns;        /* of the next look */
	uint64_t looked_ns;
	unsigned looks;          /* at this budget */
	uint64_t sum;            /* of the shares that they saw, in thousandths, but for the first */
	uint64_t best_pages;     /* the smallest that was good and has not turned out too small since; 0: none */
	uint64_t small_pages;    /* the largest that was too small; 0: none */
	uint64_t stalled_ns[LEDGER_SLOTS]; /* at the last look */
};

/* NULL: the default. 0, or EXIT_USAGE after having said why. */
int squeeze_set(struct squeeze *s, const char *percent);

/* The ledger has its budget. */
void squeeze_init(struct squeeze *s, struct ledger *l);

/* One step of the search when its time has come. Between stall_tick() and resize_tick(). */
void squeeze_tick(struct squeeze *s, uint64_t now_ns);

void squeeze_say(const struct squeeze *s);
/* null without --squeeze. */
void squeeze_write(const struct squeeze *s, struct json *j);

#endif
