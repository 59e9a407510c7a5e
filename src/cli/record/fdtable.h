/*
 * The descriptors of a recorded process, as far as they are of regular files:
 * which file, and where in it the next read begins. As in the kernel a descriptor
 * refers to an open file, which dup and fork share, and with it the position.
 */
#ifndef STW_CLI_RECORD_FDTABLE_H
#define STW_CLI_RECORD_FDTABLE_H

#include "base/types.h"

#define FDS_MAX (1 << 20) /* descriptors are below it; those above are not followed */

struct open_file {
	uint32_t refs;
	uint32_t file;  /* number in the trace; never 0 */
	uint64_t pos;   /* bytes */
	bool append;    /* O_APPEND */
	bool hidden;    /* a file of the recorder's */
};

struct fdtable {
	struct fd {
		struct open_file *of; /* NULL: closed, or not a regular file */
		bool cloexec;
	} *fd;
	int nr;
};

/* NULL if there is none, or none of a regular file. */
struct open_file *fdtable_get(const struct fdtable *t, int64_t fd);
/* fd is a new open file, or refers to the same as from (which may be none). 0 or -ENOMEM; fd is closed then. */
int fdtable_open(struct fdtable *t, int64_t fd, const struct open_file *of, bool cloexec);
int fdtable_dup(struct fdtable *t, int64_t from, int64_t fd, bool cloexec);
void fdtable_close(struct fdtable *t, int64_t first, int64_t last);
void fdtable_exec(struct fdtable *t);
int fdtable_fork(struct fdtable *child, const struct fdtable *parent); /* child: empty */
void fdtable_free(struct fdtable *t);

#endif
