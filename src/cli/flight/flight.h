/*
 * A recording of a run, *.stwrun: what the flight recorder writes (run/recorder.c) and steward report reads.
 * docs/flight-format.md describes the bytes.
 *
 *     ┌────────┬───────────────────────── ring ─────────────────────────┐
 *     │ header │ block block block …  ► the next goes here ◄  oldest …  │
 *     └────────┴────────────────────────────────────────────────────────┘
 *
 * Each block says what it needs to be understood alone and carries its checksum. So whatever is overwritten, cut or
 * damaged takes only itself away, and a writer that is killed at any moment leaves all that it had written before.
 */
#ifndef STW_CLI_FLIGHT_H
#define STW_CLI_FLIGHT_H

#include "cli/flight/words.h"
#include "cli/see/sample.h"

#define FLIGHT_MAGIC 0x0a0d4e5552575453u /* "STWRUN\r\n" */
#define FLIGHT_VERSION 1
#define FLIGHT_HEADER 4096 /* bytes, the ring begins behind them */
#define FLIGHT_BLOCK_MAGIC 0x4b4c4252u /* "RBLK" */
#define FLIGHT_ALIGN 8
#define FLIGHT_PAYLOAD_MAX (4 * MIB)
#define FLIGHT_COUNTERS_MAX 128
#define FLIGHT_RING_MIN MIB
#define FLIGHT_RING_MAX (64 * GIB)

enum flight_kind { FLIGHT_SAMPLE = 1, FLIGHT_EVENT, FLIGHT_END, FLIGHT_MAP, FLIGHT_OOM, FLIGHT_KINDS };

/* Numbers are little-endian, like the machine. The payload of bytes follows at once. */
struct flight_file {
	uint64_t magic;
	uint32_t version;
	uint32_t bytes;      /* of the payload, at most FLIGHT_HEADER less this */
	uint64_t ring_bytes;
	uint32_t zero;
	uint32_t sum;        /* CRC-32 of this with sum 0, and of the payload */
};

struct flight_block {
	uint32_t magic;
	uint32_t bytes;      /* of the payload; the next block begins at the next multiple of FLIGHT_ALIGN */
	uint64_t seq;        /* 0, 1, 2 … */
	uint64_t ns;         /* since the recording began */
	uint32_t kind;       /* enum flight_kind */
	uint32_t sum;        /* CRC-32 of this with sum 0, and of the payload */
};

/* head: the structure whose sum it is, at its end; both blocks and the file's header end in theirs. */
uint32_t flight_sum(const void *head, size_t head_bytes, const void *payload, size_t bytes);

/* What does not change during a run. */
struct flight_run {
	int32_t launcher;
	uint64_t began;       /* ns since 1970, UTC */
	uint64_t interval_ns; /* of samples */
	char command[512];    /* with its arguments; cut */
	char from[64];        /* who set the budget: "--ram", "cgroup", "memory" */
	char area[SWAP_SPECS][sizeof(((struct sample_area *)0)->name)];
	bool pool[SWAP_SPECS];
	unsigned nr_areas;
	/* Read only: which counter the nth number of a sample is; VM_COUNTER_NR: one that this version does not know. */
	uint8_t counter[FLIGHT_COUNTERS_MAX];
	unsigned nr_counters;
};

struct flight_event {
	bool bad;
	char text[512];
};

/* Where the pages of a part of an area are, in pages. */
struct flight_part {
	uint64_t mapped, sample, pool, filed, same;
	uint64_t discardable;   /* of all these: in free blocks of the heap */
};

struct flight_area {
	uint64_t start, pages;  /* start: page number */
	char name[64];
	char rights[5];
	bool managed;           /* by Steward; of others only what is mapped is known */
	bool own;               /* Steward's memory is in it */
	unsigned first, parts;  /* which of the map's parts are its */
	uint64_t part_pages;    /* of each but the last, which has what is left */
};

/* The address space of a process. */
struct flight_map {
	int32_t pid;
	uint64_t start;         /* with pid: who it is */
	struct flight_area *area;
	unsigned nr;
	struct flight_part *part;
	unsigned nr_parts;
};

/* Whom the OOM killer looked at. */
struct flight_oom_task {
	int32_t pid;
	char name[16];
	uint64_t resident, swapped; /* pages */
	uint64_t tables_bytes;
	int64_t adj;
	bool never;             /* it may not be killed; then it has no points */
	int64_t points;
};

struct flight_oom {
	char what[64];          /* for want of what: "out of memory" */
	unsigned victim;        /* among the tasks; nr: nobody */
	struct flight_oom_task *task;
	unsigned nr;
};

/* --- payloads (flight/encode.c, flight/map.c, flight/oom.c) --- */

void flight_put_run(struct flight_bytes *b, const struct flight_run *run);
void flight_put_sample(struct flight_bytes *b, const struct sample *s);
void flight_put_event(struct flight_bytes *b, const struct flight_event *e);
void flight_put_map(struct flight_bytes *b, const struct flight_map *m);
void flight_put_oom(struct flight_bytes *b, const struct flight_oom *o);
/* json: the figures of docs/stats-schema.md, fatal: why a process was stopped, or "". */
void flight_put_end(struct flight_bytes *b, const char *fatal, const char *json, size_t len);

/* Payloads back. False: they are not what a recorder writes; then what was filled in means nothing. */
bool flight_get_run(const uint8_t *payload, size_t bytes, struct flight_run *run);
/* s is zero or from an earlier call. What the run has once for all is filled in, too. */
bool flight_get_sample(const struct flight_run *run, const uint8_t *payload, size_t bytes, struct sample *s);
bool flight_get_event(const uint8_t *payload, size_t bytes, struct flight_event *e);
/* Zero or from an earlier call. */
bool flight_get_map(const uint8_t *payload, size_t bytes, struct flight_map *m);
void flight_map_free(struct flight_map *m);
bool flight_get_oom(const uint8_t *payload, size_t bytes, struct flight_oom *o);
void flight_oom_free(struct flight_oom *o);
/* *json points into the payload. */
bool flight_get_end(const uint8_t *payload, size_t bytes, char *fatal, size_t size, const char **json, size_t *len);

/* --- writing (flight/ring.c) --- */

struct flight_ring {
	int fd;               /* -1: closed */
	uint64_t ring_bytes;
	uint64_t at;          /* in the ring: where the next block goes */
	uint64_t seq;
	struct flight_bytes block; /* the one being written */
};

/* A new file, whose ring takes ring_bytes at most. 0 or -errno; -EAGAIN: somebody writes it. */
int flight_create(struct flight_ring *r, const char *path, uint64_t ring_bytes, const struct flight_run *run);
/* Begins a block; its payload is put into the bytes returned. */
struct flight_bytes *flight_begin(struct flight_ring *r);
/* Writes it. 0 or -errno. */
int flight_write(struct flight_ring *r, enum flight_kind kind, uint64_t ns);
void flight_close(struct flight_ring *r);

/* --- reading (flight/read.c) --- */

struct flight_record {
	enum flight_kind kind;
	uint64_t seq, ns;
	const uint8_t *payload;
	size_t bytes;
};

struct flight {
	struct flight_run run;
	uint64_t ring_bytes;
	struct flight_record *record; /* by seq */
	size_t nr;
	uint64_t damage_at;           /* offset of the first place that should hold a block and does not; 0: none */
	void *map;                    /* the file */
	size_t size;
};

/* All whole blocks of a file in memory, which must outlive f. 0; -ENOMEM; -EINVAL: *at and *what say what is wrong with it. */
int flight_parse(struct flight *f, const uint8_t *bytes, size_t size, uint64_t *at, const char **what);
/* From a file. 0, or 2 after having said why, with the offset. */
int flight_open(struct flight *f, const char *path);
void flight_free(struct flight *f);

#endif
