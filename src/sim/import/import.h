/*
 * Importers: traces in the formats of others become traces of Steward. Adding
 * one is a file and a row of the table in import.c.
 *
 * What they read has no mappings: a task begins with TRACE_TASK before its first
 * access, and what it touches counts as mapped (sim/trace.h).
 */
#ifndef STW_SIM_IMPORT_IMPORT_H
#define STW_SIM_IMPORT_IMPORT_H

#include "sim/trace.h"

struct import;

struct importer {
	const char *name;
	const char *text;    /* what it reads, for people: one line */
	bool sampled;        /* it has the first touches only, not all */
	bool is_text;        /* errors have line numbers; else offsets in the (unpacked) bytes */
	int (*run)(struct import *im);
};

extern const struct importer importers[];
extern const unsigned nr_importers;

/* The row of that name, or NULL. */
const struct importer *importer_find(const char *name);

enum import_where { IMPORT_NOWHERE, IMPORT_LINE, IMPORT_BYTE, IMPORT_PACKED_BYTE, IMPORT_OUTPUT };

struct import_error {
	int err;                 /* -EBADMSG: no such trace, or damaged; -ENODATA: ends too soon; else of I/O or memory */
	enum import_where where; /* IMPORT_OUTPUT: it is the trace that could not be written */
	uint64_t at;             /* line, 1 up, or offset */
	const char *what;        /* static text */
};

/*
 * Reads all of in, which may be packed with gzip, xz, zstd or zip, and writes the
 * trace to out, which is complete only if this returns 0. Constant memory, but
 * for what identifies tasks, threads and objects. 0 or -errno with *error filled.
 */
int import_run(const struct importer *kind, int in, int out, struct import_error *error);

#endif
