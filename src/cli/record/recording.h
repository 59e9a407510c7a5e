/*
 * A trace that is being made: where its events go, and the names it gives out
 * (tasks, threads, files). Both ways of recording end here.
 */
#ifndef STW_CLI_RECORD_RECORDING_H
#define STW_CLI_RECORD_RECORDING_H

#include <sys/stat.h>

#include "sim/trace.h"

/* A file as long as the recording: files are never forgotten. */
struct recorded_file {
	dev_t dev;
	ino_t ino;
	uint64_t bytes; /* its size; in pages as announced */
	char *name;
};

struct recording {
	int (*write)(void *ctx, const struct trace_event *e); /* 0 or -errno */
	void *ctx;
	int err;             /* the first that write() returned, or -ENOMEM; nothing is written after it */
	uint32_t tasks;      /* numbers given out */
	uint16_t threads;
	struct recorded_file *file; /* number in the trace: index + 1 */
	uint32_t nr_files, files_room;
};

void recording_emit(struct recording *r, const struct trace_event *e);
/* "key: value" for people. */
void recording_note(struct recording *r, const char *key, const char *value);
/* A number that no other task has; one that no other thread has, from 1 on (those beyond 65535 share the last one). */
uint32_t recording_task(struct recording *r);
uint16_t recording_thread(struct recording *r);

/* The number of a file that has been announced; 0: it has not. */
uint32_t recording_known(const struct recording *r, dev_t dev, ino_t ino);
/*
 * The number of a file, announced under name if it is new or its size in pages has changed. 0: not a regular file, or
 * r->err is set.
 */
uint32_t recording_file(struct recording *r, const struct stat *st, const char *name);
/* The file is at least so long / just so long now. */
void recording_extend(struct recording *r, uint32_t file, uint64_t bytes);
void recording_resize(struct recording *r, uint32_t file, uint64_t bytes);

void recording_free(struct recording *r);

#endif
