/* Runs the command and stays its parent until it ends. */
#ifndef STW_CLI_SUPERVISE_H
#define STW_CLI_SUPERVISE_H

#include "cli/program.h"
#include "cli/share.h"
#include "cli/watch.h"

struct outcome {
	int status;        /* exit status of the command; 128 + signal if one ended it */
	int signal;        /* the signal that ended it, or 0 */
	bool core;         /* it left a core file */
	uint64_t wall_ns;
	uint64_t user_ns;
	uint64_t system_ns;
};

/*
 * Executes p with argv (NULL-terminated; argv[0] is the name the user gave) and
 * envp, and serves it until it ends. Returns 0 with *out filled, or 125, 126 or
 * 127 after having said why the command could not be started.
 */
int supervise(const struct program *p, char **argv, char **envp, struct share *s, struct watch *w,
	      struct outcome *out);

#endif
