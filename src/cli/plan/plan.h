/*
 * steward plan: one trace simulated with many sizes of memory.
 *
 * plan.c       the command
 * plan_look.c  what the trace says by itself: its working set, and what LRU would miss
 * plan_run.c   which sizes, and the simulations in processes of their own
 * plan_show.c  what came out: for people, and JSON
 * plan_html.c  the same as a page
 */
#ifndef STW_CLI_PLAN_PLAN_H
#define STW_CLI_PLAN_PLAN_H

#include "cli/draw/html.h"
#include "sim/config.h"
#include "sim/locality.h"

#define PLAN_SLOWDOWN 50         /* what is asked for if nothing is said */
#define PLAN_POINTS 16
#define PLAN_POINTS_MIN 4
#define PLAN_POINTS_MAX 64       /* of the first round */
#define PLAN_POINTS_ROOM 256     /* with those that refine */
#define PLAN_LATE 32             /* times as long as with enough memory: nobody waits for the end */
#define PLAN_THRASH 2            /* times as long: thrashing */

enum plan_end {
	PLAN_DONE,
	PLAN_LATE_END,   /* given up after PLAN_LATE times the time; figures are of what was done until then */
	PLAN_KILLED,     /* the OOM killer came; figures are of what was left */
	PLAN_NO_START,   /* there is no such machine, or nothing runs on it */
};

/* One simulation. */
struct plan_point {
	uint64_t bytes;  /* of memory, or of the limit */
	uint8_t end;     /* enum plan_end */
	bool ran;
	double time_ns;
	uint64_t touches, minor, major, swapped_in, swapped_out, scanned;
	uint64_t used_max_bytes, tables_max_bytes;
	uint64_t lru_misses;   /* what LRU would miss in that memory, less page tables: plan_look.c */
};

/* The working set: in windows of three lengths, each four times the one before. */
#define PLAN_LENGTHS 3
struct plan_windows {
	uint64_t length;           /* ns, or touches */
	unsigned n;
	uint32_t pages[LOCALITY_WINDOWS];
};

/* What is asked for. */
struct plan_request {
	char *trace;               /* a file that can be read again and again */
	struct sim_config machine;
	uint64_t slowdown_permille; /* 50: 5 % longer than with enough memory */
	unsigned points;           /* PLAN_POINTS_MIN to PLAN_POINTS_MAX */
};

/* Sizes that divide the axis; 0: none that was tried. Each keeps what it says, as every larger one that was tried does. */
struct plan_answer {
	uint64_t keeps;  /* the slowdown */
	uint64_t quick;  /* takes less than PLAN_THRASH times as long */
	uint64_t works;  /* comes to an end, or would */
};

struct plan {
	const struct plan_request *request;
	bool limit;                /* the limit of the cgroup is varied; false: the machine's memory */
	struct plan_point enough;  /* with memory without end */
	uint64_t grain;            /* bytes: sizes are multiples of it */
	struct plan_point point[PLAN_POINTS_ROOM]; /* sizes ascending */
	unsigned nr_points;
	struct plan_answer answer;
	struct locality *locality; /* what the trace says by itself */
	bool timed;                /* its clock is time; false: touches */
	bool sampled;              /* the trace has not all touches */
	struct plan_windows windows[PLAN_LENGTHS];
};

/* All of it for p->request: looks, and runs. 0, or the exit status after having said why; plan_free in any case. */
int plan_make(struct plan *p);
void plan_free(struct plan *p);
/* Reads the trace once: p->locality and what follows from it. 0, or the exit status after having said why. */
int plan_look(struct plan *p);
/* Fills *p, which has been looked at. 0, or the exit status after having said why. */
int plan_run(struct plan *p);

/* What a point has: times as long as with enough memory. */
double plan_times(const struct plan *p, const struct plan_point *point);
/* Major faults; of a run that was given up, as many as there would be if it went on like that. NAN: not known. */
double plan_major(const struct plan *p, const struct plan_point *point);
bool plan_keeps(const struct plan *p, const struct plan_point *point);

/* "127.5 MiB". Returns buf, of PLAN_SIZE_TEXT bytes at least. */
#define PLAN_SIZE_TEXT 32
const char *plan_size(uint64_t bytes, char *buf);
#define PLAN_HEADLINE_TEXT 256
/* The one sentence. Returns buf. */
const char *plan_headline(const struct plan *p, char *buf, size_t size);
/* The charts: their data in *d, the text of the mark in mark[PLAN_MARK_TEXT]. */
#define PLAN_MARK_TEXT 96
struct plan_curves {
	double size[PLAN_POINTS_ROOM], times[PLAN_POINTS_ROOM], major[PLAN_POINTS_ROOM], lru[PLAN_POINTS_ROOM];
};
void plan_curves(const struct plan *p, struct plan_curves *d, struct chart *time, struct chart *faults, char *mark);
/* To stdout. 0, or the exit status after having said why. */
int plan_print(const struct plan *p);
/* To files ("-": stdout). 0, or the exit status after having said why. */
int plan_json(const struct plan *p, const char *path);
int plan_html(const struct plan *p, const char *path);
/* The JSON as a text, to a descriptor. 0 or -errno. */
int plan_write(const struct plan *p, int fd);
/* Adds it to a page. */
void plan_page(const struct plan *p, struct html *h);

#endif
