/* Replacement policies by the names that users give them. */
#ifndef STW_CLI_POLICIES_H
#define STW_CLI_POLICIES_H

#include "base/types.h"

/*
 * The number of a policy in the table (policy_nth), or an exit status, negative, after having said that there is no such
 * one and which there are. what: where the name was given. live: only those that need no accessed bits.
 */
int policy_number(const char *what, const char *name, bool live);

#endif
