/* A process that is being recorded: its address space and its files as the trace knows them. */
#ifndef STW_CLI_RECORD_TRACEE_H
#define STW_CLI_RECORD_TRACEE_H

#include "cli/record/areas.h"
#include "cli/record/fdtable.h"
#include "cli/maps.h"
#include "cli/record/recording.h"

struct tracee {
	int32_t pid;           /* as the recorder sees it; 0: not a process of this machine (tests) */
	uint32_t task;
	uint16_t thread;       /* the first one that it has: whatever is not known to be of another is of it */
	struct areas areas;
	struct fdtable fds;
	uint64_t brk;          /* bytes; 0: not known yet */
	uint64_t instructions; /* since the last TRACE_TIME */
	bool fresh;            /* the image has not touched data yet */
	struct { uint64_t start, end; } last[3]; /* the visible area of the last touch: executed, read, written; pages */
};

/* A system call that has succeeded. */
struct traced_call {
	long nr;
	uint16_t thread;
	unsigned nr_args;
	uint64_t arg[6];
	uint64_t result;
	char *path;            /* the first text among the arguments, or NULL */
};

/* The three ways to begin; t is all zeros but for pid. Those that begin a process give it a task and a thread number; each, the event. */
void tracee_start(struct recording *r, struct tracee *t, const char *name);
void tracee_fork(struct recording *r, struct tracee *child, const struct tracee *parent);
/* A new image in place of the old one. Also after tracee_start. */
void tracee_exec(struct recording *r, struct tracee *t, const char *name);
void tracee_exit(struct recording *r, struct tracee *t);

/* ns of CPU time that the program has had since the last time that this was told; 0 is not told. */
void tracee_time(struct recording *r, const struct tracee *t, uint64_t ns);

/* Changes of the address space, in pages; nothing is said of hidden areas. */
void tracee_map(struct recording *r, struct tracee *t, const struct area *a);
void tracee_unmap(struct recording *r, struct tracee *t, uint64_t start, uint64_t end);
void tracee_protect(struct recording *r, struct tracee *t, uint64_t start, uint64_t end, uint8_t rights);
void tracee_drop(struct recording *r, struct tracee *t, uint64_t start, uint64_t end);
void tracee_move(struct recording *r, struct tracee *t, uint64_t start, uint64_t to, uint64_t n);
/* An area as the kernel has it; its file is announced unless it is hidden. */
struct area tracee_area(struct recording *r, const struct maps_line *m, bool hidden);

#endif
