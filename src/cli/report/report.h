/* steward report: one file for each kind of input. */
#ifndef STW_CLI_REPORT_H
#define STW_CLI_REPORT_H

#include "cli/draw/html.h"
#include "cli/report/history.h"

/* Adds a recording to the page. 0 or -ENOMEM. */
int report_run(struct html *h, const struct history *run, const char *path);
/* Where the pages of the largest processes were over time. 0 or -ENOMEM. */
int report_maps(struct html *h, const struct history *run);
/* The sentence that matters: what happened, and what to change. Returns buf. */
const char *report_headline(const struct history *run, char *buf, size_t size);

#endif
