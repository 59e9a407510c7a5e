/* --fail-if: conditions under which a run or a simulation that went well fails all the same, so that CI holds a budget. */
#ifndef STW_CLI_FIGURES_FAILIF_H
#define STW_CLI_FIGURES_FAILIF_H

#include "cli/figures/figures.h"

#define FAILIF_MAX 8
#define EXIT_FAILIF 124 /* as timeout(1): what was allowed is used up */
#define FAILIF_OPTION { "fail-if", '\0', "CONDITION", "exit status 124 if it holds at the end: 'major>1000', 'peak.total_bytes>1G'" }

struct failif {
	const char *text[FAILIF_MAX];
	unsigned nr;
};

/* One more. 0, or EXIT_USAGE after having said why. */
int failif_add(struct failif *f, const char *text);
/* Are they conditions, on figures that write(ctx, fd) will write? 0, or an exit status after having said why. */
int failif_check(const struct failif *f, int (*write)(const void *ctx, int fd), const void *ctx);
/* 0, or EXIT_FAILIF after having said which hold and with what figures; 1 after having said why that cannot be known. */
int failif_test(const struct failif *f, int (*write)(const void *ctx, int fd), const void *ctx);

#endif
