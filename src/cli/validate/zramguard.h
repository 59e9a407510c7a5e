/* Swap on zram for the time of a measurement, taken down by a process that outlives whoever asked for it. */
#ifndef STW_CLI_VALIDATE_ZRAMGUARD_H
#define STW_CLI_VALIDATE_ZRAMGUARD_H

#include <sys/types.h>

#include "cli/validate/memcage.h"

struct zramguard {
	pid_t pid;
	int fd;                  /* closed by our end, however that comes */
	char device[32];         /* "/dev/zram1" */
};

/*
 * Makes a zram device of so many bytes with lz4 and swaps on it before all other areas. When the caller calls
 * zramguard_stop or ends in any way, groups below r whose names begin with prefix are closed and the device is gone.
 * 0, or -errno; *why then says in a few words what could not be done (static text).
 */
int zramguard_start(struct zramguard *g, uint64_t bytes, const struct memcage_root *r, const char *prefix, const char **why);
void zramguard_stop(struct zramguard *g);

#endif
