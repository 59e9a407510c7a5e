/* steward run --malloc-only: the command with Steward's malloc, and nothing else of it. */
#ifndef STW_CLI_RUN_MALLOC_ONLY_H
#define STW_CLI_RUN_MALLOC_ONLY_H

/*
 * Executes argv in place of this process. of_budget: an option that was given
 * and means nothing here, or NULL. Returns only if it cannot: the exit status
 * after having said why.
 */
int malloc_only(char **argv, const char *of_budget);

#endif
