/* Runs the command and stays its parent until it ends. */
#ifndef STW_CLI_RUN_SUPERVISE_H
#define STW_CLI_RUN_SUPERVISE_H

#include "cli/program.h"

struct outcome {
	int status;        /* exit status of the command; 128 + signal if one ended it */
	int signal;        /* the signal that ended it, or 0 */
	bool core;         /* it left a core file */
	uint64_t wall_ns;
	uint64_t user_ns;
	uint64_t system_ns;
};

/* What else is to be done while the command runs. */
struct attendant {
	void *ctx;
	/* Before the command starts, all signals blocked: 0, or an exit status after having said why. NULL: nothing. */
	int (*begin)(void *ctx, const char *command);
	/* When it has ended, or could not be started. NULL: nothing. */
	void (*end)(void *ctx);
	int fd;                   /* watched for input; -1: none */
	void (*ready)(void *ctx); /* there is some; must not block */
	void (*tick)(void *ctx, uint64_t now_ns); /* monotonic; twenty times a second, and once when the command has ended */
};

/*
 * Executes p with argv (NULL-terminated; argv[0] is the name the user gave) and
 * envp, and serves it until it ends. Returns 0 with *out filled, or 125, 126 or
 * 127 after having said why the command could not be started.
 */
int supervise(const struct program *p, char **argv, char **envp, const struct attendant *a, struct outcome *out);

/*
 * The last thing that the launcher does: it ends by the signal that ended the command, so that a shell takes ctrl-C for what it is; else, and if that
 * does not end it, returns the exit status.
 */
int supervise_end(const struct outcome *out);

/* Says that there is no process for command; EXIT_STEWARD. */
int supervise_no_process(const char *command, int err);

#endif
