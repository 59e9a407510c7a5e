/*
 * steward explain alloc --report: the requests as steps of a page, each with what was told of it and with the heap
 * afterwards: its chunks, the bins and their bitmap, top, last remainder, the thread's cache, and the frames below.
 */
#ifndef STW_CLI_EXPLAIN_HEAPSTEPS_H
#define STW_CLI_EXPLAIN_HEAPSTEPS_H

#include <stdio.h>

#include "cli/json.h"
#include "malloc/arena.h"
#include "sim/engine.h"

struct heapsteps {
	const struct sim *s;
	/* Says in buf whose a chunk is that is in use. */
	void (*name)(const void *ctx, const struct chunk *c, char *buf, size_t size);
	const void *ctx;
	struct json json;     /* into a file without a name; the caller fills what is above */
	FILE *terminal;       /* where stdout goes while a step is not told */
	char *told;
	size_t len;
};

/* 0, or 1 after having said why. */
int heapsteps_begin(struct heapsteps *p);
/* Between the two, what is printed is kept as that of one step; then it is printed. 0, or 1 after having said why. */
int heapsteps_listen(struct heapsteps *p);
int heapsteps_end(struct heapsteps *p);
/* Writes the page to the file. 0, or the exit status after having said why. */
int heapsteps_write(struct heapsteps *p, const char *path);
void heapsteps_free(struct heapsteps *p);

#endif
