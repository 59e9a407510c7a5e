/* Command-line options from a table: the same rows parse, print the help and are checked against the man pages. */
#ifndef STW_CLI_OPTIONS_H
#define STW_CLI_OPTIONS_H

#include "base/types.h"

struct option_row {
	const char *name;  /* without "--" */
	char letter;       /* '\0': no short form */
	const char *value; /* what it takes, for the help; "=WHAT": behind "=", or nothing; NULL: nothing */
	const char *help;
};

struct option_set {
	const char *command;  /* "run" */
	const char *usage;    /* "[OPTION…] [--] COMMAND [ARG…]" */
	const char *summary;  /* one sentence */
	const struct option_row *rows;
	unsigned nr;
	bool mixed;           /* options may stand behind operands as well; argv is sorted so that operands come last */
	void (*more)(void);   /* prints what the help has below the options; NULL: nothing */
	/* Takes row's value (NULL for a flag); 0, or an exit status after having said why. */
	int (*set)(void *ctx, unsigned row, const char *value);
};

#define OPTIONS_HELP (-1)

/*
 * Parses argv[1..] up to the first operand or past "--"; *rest is the index of
 * the first operand. Returns 0, OPTIONS_HELP after having printed the help that
 * was asked for, or the exit status after having said why.
 */
int options_parse(const struct option_set *o, int argc, char **argv, void *ctx, int *rest);

/*
 * The same for commands whose operands and options may stand in any order: all
 * of argv is parsed, behind "--" only operands are. *nr operands are moved to
 * the start of argv + 1, in their order.
 */
int options_parse_all(const struct option_set *o, int argc, char **argv, void *ctx, int *nr);

/*
 * The value of --ram: a budget that is not hopeless. or_else: how to write it. Returns 0, or EXIT_USAGE after having
 * said why.
 */
int options_ram(const char *text, const char *or_else, uint64_t *bytes);

/* A `set` for commands whose options are one flag: ctx is a bool. */
int options_set_flag(void *ctx, unsigned row, const char *value);

/* Prints the help to stdout. */
void options_help(const struct option_set *o);

#endif
