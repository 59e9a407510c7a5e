/* A recording as it can be drawn: so few samples that a page of them stays small, whatever the size of the recording. */
#ifndef STW_CLI_REPORT_HISTORY_H
#define STW_CLI_REPORT_HISTORY_H

#include "cli/flight/flight.h"

#define HISTORY_POINTS 1000

/* A process as it was when it was seen last. */
struct history_process {
	struct sample_process last;
	uint64_t first_ns, last_ns;
	uint64_t resident_max, swapped_max; /* pages */
};

struct history_oom {
	uint64_t ns;
	struct flight_oom oom;
};

struct history_event {
	uint64_t ns;
	struct flight_event event;
};

struct history {
	struct flight file;
	/* Of each stretch of samples the one in which most memory was used; rates between them are exact all the same. */
	struct sample *sample;
	double *ns;                       /* since the recording began */
	unsigned n;                       /* at least 1 */
	unsigned samples;                 /* in the recording */
	struct ledger_usage peak;         /* pages: the sizes when their sum was largest */
	uint64_t need_max;                /* pages: resident and out, at one moment */
	uint64_t area_max[SWAP_SPECS];    /* pages */
	struct history_process *process;  /* by resident_max */
	unsigned nr_processes;
	struct history_event *event;
	unsigned nr_events;
	struct history_oom *oom;
	unsigned nr_ooms;
	bool ended;                       /* by the launcher, with the two below */
	char fatal[256];                  /* "": nobody was stopped */
	const char *json;                 /* the figures of docs/stats-schema.md */
	size_t json_len;
};

/* 0, or an exit status after having said why. */
int history_read(struct history *h, const char *path);
void history_free(struct history *h);

static inline const struct sample *history_last(const struct history *h)
{
	return &h->sample[h->n - 1];
}

/* For conditions: the figures of the summary if the recording has them, else those that samples tell, by the same names. */
int history_figures(const void *history, int fd);

#endif
