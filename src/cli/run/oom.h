/* Who has to go when memory and stores of a run are full: the supervisor's OOM killer. */
#ifndef STW_CLI_RUN_OOM_H
#define STW_CLI_RUN_OOM_H

#include "cli/run/watch.h"
#include "mm/reclaim/oom.h"

#define OOM_PATTERNS 16

struct oom_patterns {
	const char *text[OOM_PATTERNS];
	unsigned nr;
};

struct oom_options {
	enum oom_policy policy;
	struct oom_patterns prefer, avoid; /* of process names, as the shell has them */
	uint64_t grace_ns;                 /* from SIGTERM to SIGKILL; 0: SIGKILL at once */
	bool dry_run;
};

/* Values of the options --oom-…; 0, or EXIT_USAGE after having said why. */
int oom_set_policy(struct oom_options *o, const char *value);
int oom_set_prefer(struct oom_options *o, const char *value);
int oom_set_avoid(struct oom_options *o, const char *value);
int oom_set_grace(struct oom_options *o, const char *value);

struct oom_victim {
	struct ledger_slot *slot; /* NULL: nobody is dying */
	int32_t pid;
	uint64_t start_time;
	char name[16];
	uint64_t since_ns;        /* of the last signal */
	bool killed;              /* that was SIGKILL */
};

struct oom {
	struct oom_options options;
	bool verbose;
	struct ledger *ledger;
	struct watch *watch;
	struct oom_victim victim;
	struct oom_victim stuck;  /* killed, and still there after a long time: no hope of its memory */
};

/* options and verbose are set. Processes of the run ask from now on. */
void oom_init(struct oom *o, struct watch *w);

/* Serves those that ask; after each watch_scan(). */
void oom_tick(struct oom *o, uint64_t now_ns);

/*
 * One process goes, though nobody asks; what: "out of memory", or why else. Nothing happens while another is dying or if
 * nobody may be killed.
 */
void oom_kill(struct oom *o, const char *what, uint64_t now_ns);

/* oom_rows.c */
/* For OOM_GROWING: notes the sizes, once a second. */
void oom_note_growth(const struct ledger *l, uint64_t now_ns);
/* A row for each process of the run, in the order of their start; *rows is good until the next call. Returns how many. */
unsigned oom_rows(const struct ledger *l, struct oom_task **rows);

/* oom_say.c */
/* The table of all, with an arrow at the victim of the scan. */
void oom_say_rows(const struct oom_scan *scan, const struct oom_task *rows, unsigned n);
/*
 * One line: for want of what something is done ("killed"), to whom, why, what would have avoided it. which: "" or what
 * makes the victim stand out before its size does. Also in w->fatal if that is empty.
 */
void oom_say_choice(const struct oom_scan *scan, const char *what, const char *done, const char *which, uint64_t need_pages,
		    struct watch *w);

#endif
