/* /proc/PID/maps, line by line, and the same lines in smaps. */
#ifndef STW_CLI_MAPS_H
#define STW_CLI_MAPS_H

#include "base/types.h"

struct maps_line {
	uint64_t start, end; /* bytes */
	uint64_t offset;     /* bytes */
	char rights[5];      /* "rw-p" */
	uint8_t flags;       /* TRACE_R, TRACE_W, TRACE_X, TRACE_MAP_SHARED */
	uint64_t ino;
	unsigned major, minor;
	const char *path;    /* "": anonymous; "[stack]" and the like as the kernel has them */
};

/* m->path points into the line, whose newline goes. False: it is not such a line. */
bool maps_parse(char *line, struct maps_line *m);
/* Calls each() for all of them until it returns false. 0, or -errno: they cannot be read (-ENOENT: no such process). */
int maps_each(int32_t pid, bool (*each)(void *ctx, const struct maps_line *m), void *ctx);

#endif
