/* A program under valgrind: which of the process's memory is the program's, and what the tool's log says it touches. */
#ifndef STW_CLI_RECORD_VALGRIND_H
#define STW_CLI_RECORD_VALGRIND_H

#include "cli/record/tracee.h"

/* A program that nobody in the trace forked: the descriptors that it was started with. After tracee_start. */
void valgrind_start(struct recording *r, struct tracee *t);
/* A new image: what valgrind has mapped for it. After tracee_exec. */
void valgrind_image(struct recording *r, struct tracee *t);
/* A touch of bytes [addr, addr + size): of every page in it, once. flags: TRACE_R, TRACE_W or TRACE_X. */
void valgrind_touch(struct recording *r, struct tracee *t, uint16_t thread, uint8_t flags, uint64_t addr,
		    uint64_t size);
/* One instruction more, as time; and: what has not been told of it is. */
void valgrind_instruction(struct recording *r, struct tracee *t);
void valgrind_time(struct recording *r, struct tracee *t);
/* The area that the kernel has at page vpn, if the trace lacks it. Returns it, or NULL. */
const struct area *valgrind_discover(struct recording *r, struct tracee *t, uint64_t vpn);
/* Is the file with this path valgrind's, loaded into the program? */
bool valgrind_hides(const char *path);
/* What a call has done to the address space and to files. syscalls.c. */
void valgrind_call(struct recording *r, struct tracee *t, const struct traced_call *c);

#endif
