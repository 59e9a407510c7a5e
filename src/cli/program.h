/* The command of a run: where it is, and whether Steward's library can get into it. */
#ifndef STW_CLI_PROGRAM_H
#define STW_CLI_PROGRAM_H

#include "base/types.h"

struct program {
	char path[4096]; /* what to execute */
	bool shell;      /* a text without "#!": /bin/sh reads it, as execvp(3) has it */
};

/* Searches $PATH for name, which has no slash. 0 or errno (positive). */
int program_search(const char *name, struct program *p);

/* Looks name up as execvp(3) does, and no more: 0, or the exit status (126, 127) after having said why. */
int program_locate(const char *name, struct program *p);

/*
 * The same, and follows its "#!" lines to the ELF file
 * that will really run. Returns 0, or the exit status (125, 126, 127) after
 * having said why.
 */
int program_find(const char *name, struct program *p);

/* Why Steward's library cannot be in the program at path, /proc/PID/exe for instance; NULL: it can, or nobody knows. */
const char *program_obstacle(const char *path);

/*
 * The path of libsteward-preload.so: $STEWARD_PRELOAD, else found relative to
 * this executable (build tree, then installed). Returns 0, or EXIT_STEWARD
 * after having said why.
 */
int program_preload(char *path, size_t size);

/* The path of libsteward-malloc.so.0, found the same way but for the variable. */
int program_malloc(char *path, size_t size);

/* Sets LD_PRELOAD to this library and what was there, in this order. Returns 0, or EXIT_STEWARD after having said why. */
int program_preload_first(const char *library);

#endif
