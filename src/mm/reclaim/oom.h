/*
 * The OOM killer's arithmetic and choice: which task must go when nothing is
 * left to reclaim. Killing it is the engine's. Nothing here allocates or keeps
 * state but the caller's scan.
 */
#ifndef STW_MM_RECLAIM_OOM_H
#define STW_MM_RECLAIM_OOM_H

#include "base/types.h"

#define OOM_ADJ_MIN (-1000) /* never */
#define OOM_ADJ_MAX 1000
#define OOM_NEVER INT64_MIN  /* instead of points: not to be killed */
#define OOM_ALWAYS INT64_MAX /* instead of points: asked for it */

enum oom_flag {
	OOM_UNKILLABLE = 1 << 0, /* init, or a kernel thread */
	OOM_NO_MM = 1 << 1,      /* no memory of its own: exiting, or a child of vfork before its exec */
	OOM_VICTIM = 1 << 2,     /* killed already, its memory still to come back */
	OOM_SKIP = 1 << 3,       /* killed already, and all that it had has come back: no hope of more */
	OOM_ORIGIN = 1 << 4,     /* has asked to be first, as swapoff does */
	OOM_ELSEWHERE = 1 << 5,  /* may not use the memory that is short (cpuset): killing it does not help */
};

/* By what tasks are compared. oom_score_adj -1000 spares a task whatever it is. */
enum oom_policy {
	OOM_BADNESS,  /* footprint and oom_score_adj, as Linux */
	OOM_LARGEST,  /* footprint alone */
	OOM_YOUNGEST, /* who was started last */
	OOM_GROWING,  /* whose footprint has grown most lately */
};

/* A row of the kernel's log table; pages unless the name says otherwise. */
struct oom_task {
	uint32_t pid, uid, tgid;
	uint64_t total_vm;
	uint64_t rss_anon, rss_file, rss_shmem;
	uint64_t pgtables_bytes;
	uint64_t swapents;
	uint64_t started;        /* OOM_YOUNGEST: larger is later, in units of the caller's */
	uint64_t growth;         /* OOM_GROWING: of the footprint, over a time of the caller's */
	int16_t oom_score_adj;   /* OOM_ADJ_MIN to OOM_ADJ_MAX */
	uint8_t flags;           /* enum oom_flag */
	const char *name;
	void *engine;            /* the caller's: whom it is about */
};

/* What the task would give back: rss, swap and page tables, in pages. */
uint64_t oom_footprint(const struct oom_task *t);
/*
 * Points: the footprint, plus oom_score_adj thousandths of totalpages (RAM and swap that the shortage is about; a
 * cgroup's limit). May be negative. OOM_NEVER for who must not be killed.
 */
int64_t oom_badness(const struct oom_task *t, uint64_t totalpages);
/* /proc/PID/oom_score: 0 to 2000. totalpages ≥ 1. */
uint32_t oom_score(const struct oom_task *t, uint64_t totalpages);

enum oom_outcome {
	OOM_NONE,    /* nobody can be killed: the kernel panics, or fails the allocation of a cgroup */
	OOM_KILL,    /* the victim */
	OOM_WAIT,    /* somebody is dying already: wait for its memory, kill no second one */
};

/* Why the victim and not another; the first that holds. */
enum oom_reason {
	OOM_BY_ORIGIN,  /* it asked for it */
	OOM_BY_TIE,     /* as many points as another, and scanned after it */
	OOM_ALONE,      /* the only one that can be killed */
	OOM_BY_AGE,     /* OOM_YOUNGEST: the youngest */
	OOM_BY_GROWTH,  /* OOM_GROWING: has grown the most */
	OOM_BY_ADJ,     /* somebody else is larger, but for oom_score_adj */
	OOM_BY_SIZE,    /* the largest */
};

/*
 * A choice while it is made. Rows are copied, so that the caller can make them
 * one by one. Law: nr_killable ≤ nr_scanned; victim has `points`, no killable
 * task scanned so far had more, and second had the most of the others.
 */
struct oom_scan {
	uint64_t totalpages;
	enum oom_policy policy;   /* OOM_BADNESS, unless the caller sets another before the first task */
	enum oom_outcome outcome; /* so far */
	uint32_t nr_scanned, nr_killable;
	struct oom_task victim;   /* OOM_KILL; OOM_WAIT: who is dying */
	int64_t points;           /* of victim; OOM_NEVER: none */
	struct oom_task second;   /* who would be next; valid where second_points is not OOM_NEVER */
	int64_t second_points;
	struct oom_task largest;  /* by footprint, killable or spared by oom_score_adj only; valid where nr_sized > 0 */
	uint32_t nr_sized;
};

/* totalpages as for oom_badness. */
void oom_scan_init(struct oom_scan *s, uint64_t totalpages);
/* By which the scan compares t; OOM_NEVER: not at all. */
int64_t oom_points(const struct oom_scan *s, const struct oom_task *t);
/* The next task, in the order in which tasks were made. False: the scan is over (OOM_WAIT), nobody is to be killed. */
bool oom_scan_task(struct oom_scan *s, const struct oom_task *t);
/* Why the victim of a scan with outcome OOM_KILL. */
enum oom_reason oom_scan_reason(const struct oom_scan *s);
/* "has the most memory", … : what follows the victim's name in a report. Static. */
const char *oom_reason_text(enum oom_reason reason);

#endif
