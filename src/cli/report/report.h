/*
 * steward report: an input is one of several kinds of files, with a file here for each.
 *
 * recording.c  a recording of steward run: history.c reads it, headline.c says what it means, pagemap.c draws its maps
 * trace.c      a trace: what steward plan says of it
 * sim.c        the JSON of steward sim
 */
#ifndef STW_CLI_REPORT_H
#define STW_CLI_REPORT_H

#include "cli/draw/html.h"
#include "cli/report/history.h"

struct report_kind {
	const char *begins;       /* what such a file begins with */
	/* NULL after having said why, with the exit status in *status. */
	void *(*read)(const char *path, int *status);
	/* Adds it to the page. 0 or -ENOMEM. */
	int (*put)(struct html *h, const void *input, const char *path);
	/* What conditions are about: JSON. 0 or -errno. */
	int (*figures)(const void *input, int fd);
	void (*free)(void *input);
};

extern const struct report_kind report_recording, report_trace, report_sim;

/* --- between the files of recordings --- */

/* Where the pages of the largest processes were over time. 0 or -ENOMEM. */
int report_maps(struct html *h, const struct history *run);
/* The sentence that matters: what happened, and what to change. Returns buf. */
const char *report_headline(const struct history *run, char *buf, size_t size);

#endif
