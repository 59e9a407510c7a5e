/* For importers: what they read from and write to, and the numbers that they give out. */
#ifndef STW_SIM_IMPORT_READER_H
#define STW_SIM_IMPORT_READER_H

#include "sim/import/import.h"
#include "sim/import/source.h"

/* Numbers 0, 1, 2, … for names of 64 bits, in order of appearance: open addressing, doubled when half full. */
struct ids {
	uint64_t *name;
	uint32_t *number;  /* plus 1; 0: free */
	size_t room;       /* power of two, or 0 */
	uint32_t n;
};

/* *number of name; *is_new: it has just been given out. 0 or -ENOMEM, also after 2^32 - 2 names. */
int ids_number(struct ids *ids, uint64_t name, uint32_t *number, bool *is_new);
void ids_free(struct ids *ids);

struct import {
	const struct importer *kind;
	struct source source;
	struct trace_writer *out;
	struct import_error *error;
	struct ids tasks, threads, objects;
	uint32_t task;     /* whose accesses import_touch() writes */
	uint16_t thread;
	bool touched;      /* there has been one */
};

/* Fills the error, with the place where the source is; returns err. */
int import_fail(struct import *im, int err, const char *what);
/* The source has no more: why? 0 at the end; err is what source_line() or source_record() said. */
int import_end(struct import *im, int err);

/* Begins the task that is called pid elsewhere, if it is new, and makes it the current one. 0 or -errno. */
int import_task(struct import *im, uint64_t pid, const char *name, size_t len);
/* The same for a thread. */
int import_thread(struct import *im, uint64_t tid);
int import_event(struct import *im, const struct trace_event *e);

#define IMPORT_SIZE_MAX ((uint64_t)1 << 30) /* bytes of one access: more is taken for damage */

/*
 * size bytes (0: 1) at address are touched n times by the current thread: each
 * page that has one. flag: TRACE_R, _W or _X.
 */
int import_touch(struct import *im, uint64_t address, uint64_t size, uint64_t n, uint8_t flag);
/* The same for a page. */
int import_page(struct import *im, uint64_t vpn, uint64_t n, uint8_t flag);

/*
 * Numbers in lines, which end with a byte that is no digit. They return what is
 * behind the last digit, or NULL: no digit, or more than 64 bits.
 */
const char *parse_hex(const char *p, uint64_t *v);
const char *parse_decimal(const char *p, uint64_t *v);
/* With 0x hexadecimal, else decimal. */
const char *parse_number(const char *p, uint64_t *v);

int import_lackey(struct import *im);
int import_perf(struct import *im);
int import_csv(struct import *im);
int import_oracle(struct import *im);
int import_drmemtrace(struct import *im);
int import_champsim(struct import *im);

#endif
