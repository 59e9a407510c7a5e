/* Address spaces of running programs, as /proc tells them. */
#ifndef STW_CLI_PROCMAPS_H
#define STW_CLI_PROCMAPS_H

#include "base/types.h"

/* One line of /proc/PID/smaps, and what stands below it. */
struct proc_area {
	uint64_t start, end;
	uint64_t rss, swap;   /* bytes */
	char rights[5];       /* rwxp */
	bool is_exe;          /* a mapping of the executable */
	char name[64];        /* "[heap]", last part of a path; "" anonymous */
};

struct proc_map {
	unsigned pid;
	char command[32];
	unsigned nr;
	struct proc_area *areas; /* ascending; without what lies above user addresses */
	uint64_t tables;         /* VmPTE, bytes: the kernel's own page tables of it */
};

/*
 * Reads the map of the process whose number is in text; the caller calls proc_map_free. Returns 0, or the exit status
 * after having said why.
 */
int proc_map_read(struct proc_map *m, const char *text);
void proc_map_free(struct proc_map *m);

/* The same in parts, for those who do not want to say anything. */
/* 0, or EXIT_USAGE after having said why it is none. */
int proc_map_pid(const char *text, unsigned *pid);
/* 0; -errno (-ENOENT: no such process; -ESRCH: one without an address space; -EACCES; -ENOMEM), and then there is nothing to be freed. */
int proc_map_open(struct proc_map *m, unsigned pid);
/* Says why; the exit status. */
int proc_map_refused(unsigned pid, int err);

/*
 * The page numbers that are present or in swap, ascending; the caller frees *vpns. Returns 0, or the exit status after
 * having said why.
 */
int proc_map_pages(const struct proc_map *m, uint64_t **vpns, size_t *nr);

#endif
