/* A process that is being recorded: its address space and its files as the trace knows them. */
#ifndef STW_CLI_TRACEE_H
#define STW_CLI_TRACEE_H

#include "cli/areas.h"
#include "cli/fdtable.h"
#include "cli/recording.h"

struct tracee {
	int32_t pid;           /* as the recorder sees it; 0: not a process of this machine (tests) */
	uint32_t task;
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

/* The three ways to begin; t is all zeros but for pid. Each gives it a task number and the event. */
void tracee_start(struct recording *r, struct tracee *t, const char *name);
void tracee_fork(struct recording *r, struct tracee *child, const struct tracee *parent);
/* A new image in place of the old one: maps what the loader of the program is to find. Also after tracee_start. */
void tracee_exec(struct recording *r, struct tracee *t, const char *name);
void tracee_exit(struct recording *r, struct tracee *t);

/* A touch of bytes [addr, addr + size): of every page in it, once. flags: TRACE_R, TRACE_W or TRACE_X. */
void tracee_touch(struct recording *r, struct tracee *t, uint16_t thread, uint8_t flags, uint64_t addr, uint64_t size);
void tracee_instruction(struct recording *r, struct tracee *t, uint16_t thread);
/* What a call has done to the address space and to files. syscalls.c. */
void tracee_call(struct recording *r, struct tracee *t, const struct traced_call *c);

/* Changes of the address space, in pages; nothing is said of hidden areas. */
void tracee_map(struct recording *r, struct tracee *t, const struct area *a);
void tracee_unmap(struct recording *r, struct tracee *t, uint64_t start, uint64_t end);
void tracee_protect(struct recording *r, struct tracee *t, uint64_t start, uint64_t end, uint8_t rights);
void tracee_drop(struct recording *r, struct tracee *t, uint64_t start, uint64_t end);
void tracee_move(struct recording *r, struct tracee *t, uint64_t start, uint64_t to, uint64_t n);
/* The area that the kernel has at page vpn, if the trace lacks it. Returns it, or NULL. */
const struct area *tracee_discover(struct recording *r, struct tracee *t, uint64_t vpn);
/* Is the file with this path valgrind's, loaded into the program? */
bool tracee_hides(const char *path);

#endif
