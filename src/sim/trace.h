/*
 * Traces: what programs did to their memory, as a stream of events.
 * The format of the file is in docs/trace-format.md; this is the interface.
 *
 * Events of all processes stand in one order. A task is a process (an address
 * space), named by a small number that the trace gives out; thread numbers are
 * within the trace as well. Addresses are in pages of 4 KiB.
 *
 * The law of a trace, which the writer demands and the reader has checked
 * (trace_law.c):
 *   1. An event has one of the ops below, and no flags but those that its op can have.
 *   2. Pages and counts are below 2^52, and so is the end of a range. A range, and the count of an access, is not empty.
 *   3. The task of an event is alive: between its TRACE_TASK, or the TRACE_FORK that made it, and its TRACE_EXIT. Its
 *      number may then begin again. TRACE_FILE and TRACE_NOTE belong to no task.
 *   4. A file has been announced by TRACE_FILE.
 *   5. Texts have no NUL in them and are no longer than TRACE_TEXT_MAX.
 * Fields that an op does not use are 0 when read, whatever was written.
 *
 * A task that never had a TRACE_MMAP, nor its parent before the fork, comes
 * from a source that says nothing of mappings: whatever it touches is mapped,
 * as anonymous memory with all rights.
 */
#ifndef STW_SIM_TRACE_H
#define STW_SIM_TRACE_H

#include "base/types.h"

#define TRACE_PAGE_SHIFT 12
#define TRACE_PAGES_MAX ((uint64_t)1 << 52) /* pages of an address space; counts stay below it, too */
#define TRACE_TASKS_MAX (1u << 20)          /* task numbers are below it */
#define TRACE_FILES_MAX (1u << 20)
#define TRACE_TEXT_MAX 4095                 /* bytes, NUL not counted */

enum trace_op {
	TRACE_ACCESS,   /* n touches in a row of page vpn; flags: TRACE_R, TRACE_W or TRACE_X, one of them */
	TRACE_TASK,     /* task begins: a program that nobody in the trace forked; text: its name */
	TRACE_FORK,     /* arg: number of the child, a copy of task */
	TRACE_EXEC,     /* task's address space is empty from now on; text: its name */
	TRACE_EXIT,     /* task ends */
	TRACE_MMAP,     /* [vpn, vpn + n) is mapped, whatever was there is gone; flags: rights and TRACE_MAP_*; file, pgoff */
	TRACE_MUNMAP,   /* [vpn, vpn + n) is unmapped */
	TRACE_MPROTECT, /* [vpn, vpn + n) has the rights in flags */
	TRACE_MREMAP,   /* the pages of [vpn, vpn + n) are at [arg, arg + n) */
	TRACE_DROP,     /* [vpn, vpn + n) reads as zeros, or as the file, from now on (MADV_DONTNEED, MADV_FREE) */
	TRACE_FILE,     /* file has n pages now, of the name in text; announced before it is used, again when its size changes */
	TRACE_READ,     /* read(2): n pages of file from page pgoff on go through the page cache */
	TRACE_WRITE,    /* write(2): the same, dirty afterwards */
	TRACE_FSYNC,    /* the dirty pages of file are written */
	TRACE_TIME,     /* arg: the program's own time since the last one, ns: what it would have taken without faults */
	TRACE_NOTE,     /* text, for people: "key: value" */
	TRACE_OPS
};

/* Bits of trace_event.flags. */
enum trace_flag {
	TRACE_R = 1 << 0,
	TRACE_W = 1 << 1,
	TRACE_X = 1 << 2,
	TRACE_MAP_SHARED = 1 << 3,
	TRACE_MAP_HEAP = 1 << 4,      /* the brk area */
	TRACE_MAP_STACK = 1 << 5,     /* grows down */
	TRACE_MAP_LOCKED = 1 << 6,    /* never reclaimed */
};

struct trace_event {
	uint8_t op;        /* enum trace_op */
	uint8_t flags;     /* enum trace_flag */
	uint16_t thread;
	uint32_t task;
	uint64_t vpn;
	uint64_t n;
	union {
		uint64_t arg;
		uint64_t pgoff;
	};
	uint32_t file;     /* 0: anonymous memory */
	uint32_t text_len;
	const char *text;  /* NUL-terminated; the reader's, until the next read; NULL: none, as text_len 0 */
};

/* "access", "task", …: as `steward trace dump` prints it. op < TRACE_OPS. */
const char *trace_op_name(unsigned op);

/* What a trace says of itself as a whole: known to a reader at its end, or at once if the file can be sought. */
struct trace_totals {
	uint64_t events;
	uint64_t touches;  /* Σ n of TRACE_ACCESS, modulo 2^64 */
	uint64_t bytes;    /* of the file */
	bool sampled;      /* accesses are samples (steward record without --exact): the first touches of an interval, not all */
};

struct trace_error {
	int err;           /* -errno; -EBADMSG: not a trace, or damaged; -ENODATA: ends before its end; -EINVAL: a simulator refused an event */
	uint64_t offset;   /* in the file, bytes: of the header or block that is damaged, or where the file ends too soon; -EINVAL: number of the event, from 0 */
	const char *what;  /* static text */
};

struct trace_writer;
struct trace_reader;

/*
 * Writes to fd, which stays the caller's and need not be seekable. sampled as in the totals. 0 or -ENOMEM.
 * trace_write takes any event that has the law above; -EINVAL: it has not (nothing is written), or -errno of the
 * descriptor, from then on every time. Touches of one page in a row, of one kind and thread, become one event.
 */
int trace_writer_open(struct trace_writer **w, int fd, bool sampled);
int trace_write(struct trace_writer *w, const struct trace_event *e);
/* What the last -EINVAL was about: static text. */
const char *trace_writer_why(const struct trace_writer *w);
/* Writes what is buffered, with the end mark, and frees w. 0 or the first error of the descriptor. */
int trace_writer_close(struct trace_writer *w);
/* Frees w; the file stays without an end, as a reader will notice. NULL is allowed. */
void trace_writer_abort(struct trace_writer *w);

/* Reads from fd, which stays the caller's. NULL: see *error. */
struct trace_reader *trace_reader_open(int fd, struct trace_error *error);
/*
 * Fills up to n events; returns how many (fewer than n at any time), 0 at the end, or -errno with *error filled, from
 * then on every time. An event has the law above when it is returned. text is valid until the next call.
 */
long trace_read(struct trace_reader *r, struct trace_event *e, size_t n, struct trace_error *error);
/* Known before the first read? Then true. Always at the end. */
bool trace_reader_totals(const struct trace_reader *r, struct trace_totals *t);
/* NULL is allowed. */
/* As in the totals: known from the beginning. */
bool trace_reader_sampled(const struct trace_reader *r);
void trace_reader_close(struct trace_reader *r);

#endif
