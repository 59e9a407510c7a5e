/* steward run --metrics: the launcher answers Prometheus, over HTTP, between its other duties. */
#ifndef STW_CLI_RUN_METRICS_H
#define STW_CLI_RUN_METRICS_H

#include "cli/run/metrics_text.h"

#define METRICS_PAGES 16 /* that it takes once somebody asks: text, sample */

struct metrics {
	const struct ledger *ledger; /* NULL: nobody may ask */
	int listen_fd;
	char path[108];              /* of the Unix socket, to be removed at the end; empty: TCP */
	uint64_t ticks;
	/* Whoever is served now, one at a time. */
	int fd;                      /* -1: nobody */
	uint64_t until;              /* tick at which patience ends */
	char request[2048];
	size_t got;
	struct fmt answer;           /* being sent if sending */
	size_t sent;
	bool sending;
	struct sample sample;
	char text[METRICS_TEXT_MAX + 256];
};

/* where: "unix:PATH" or "HOST:PORT". Returns 0, or an exit status after having said why. */
int metrics_open(struct metrics *m, const char *where, const struct ledger *l);
/* Twenty times a second; never blocks. */
void metrics_tick(struct metrics *m);
void metrics_close(struct metrics *m);

#endif
