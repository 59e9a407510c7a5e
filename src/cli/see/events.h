/* What happened in a run between two samples, as lines: so nobody in the run has to write a log. */
#ifndef STW_CLI_SEE_EVENTS_H
#define STW_CLI_SEE_EVENTS_H

#include <time.h>

#include "cli/see/sample.h"

#define EVENTS_MAX 64

struct event {
	time_t when, until; /* the first time, and the last */
	uint64_t times;     /* of what goes on; else 1 */
	bool bad;           /* somebody waits, or ends */
	char text[96];
};

struct events {
	struct event event[EVENTS_MAX]; /* the nth is at n % EVENTS_MAX */
	unsigned nr;                    /* ever seen */
};

/* Adds what is new in now. before: of the same run. What goes on is counted where it was said. */
void events_add(struct events *e, const struct sample *before, const struct sample *now);
/* The nth from the end, 0 the newest; NULL: there are not so many, or it is forgotten. */
const struct event *events_last(const struct events *e, unsigned n);

#endif
