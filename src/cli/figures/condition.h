/*
 * Conditions on figures, as --fail-if has them:
 *
 *     condition = all { ("or" | "||") all }
 *     all       = test { ("and" | "&&") test }
 *     test      = sum [ ("<" | "<=" | ">" | ">=" | "=" | "==" | "!=") sum ]
 *     sum       = product { ("+" | "-") product }
 *     product   = factor { ("*" | "/") factor }
 *     factor    = number [unit] | name | "-" factor | "(" condition ")"
 *     unit      = "K" … "P", each with "B" or "iB" | "ns" | "us" | "ms" | "s" | "%"
 *
 * Units of sizes are powers of 1024, those of times are nanoseconds, because that is what the figures are in.
 */
#ifndef STW_CLI_FIGURES_CONDITION_H
#define STW_CLI_FIGURES_CONDITION_H

#include "cli/figures/figures.h"

#define CONDITION_NAMES 8

struct condition {
	bool holds;
	const struct figure *used[CONDITION_NAMES]; /* each figure that is named, once; those beyond are not kept */
	unsigned nr_used;
	/* What is wrong with the text. */
	const char *what;
	const char *at;   /* where in it */
	int at_len;       /* of what is meant there */
};

/* 0, or -EINVAL: it is no condition, see c->what. */
int condition_eval(struct condition *c, const char *text, const struct figures *f);

#endif
