/*
 * What the kernel says of our own address space: /proc/self/maps, statm and
 * pagemap, read with raw system calls into memory of ours.
 */
#ifndef STW_LIVE_PROC_H
#define STW_LIVE_PROC_H

#include "base/types.h"

struct proc_area {
	uint64_t start, end;
	bool read, write, exec, shared;
	bool file;           /* backed by a file or device */
	uint64_t inode;
	char name[256];      /* cut; "[heap]", "[stack]", a path, or empty */
};

/*
 * A process that has changed its user is not dumpable, and its files in /proc
 * are root's: it must be dumpable while somebody opens them. Returns what it was.
 */
int proc_set_dumpable(int dumpable);
/*
 * The program may have all the descriptors that it is allowed: in between, ours come on top, where the hard limit or its rights let them. Both may be
 * nested, and called by several threads.
 */
void proc_raise_limit(void);
void proc_restore_limit(void);
/* Opens a file of our own in /proc for reading, close-on-exec; descriptor or -errno. */
int proc_open(const char *path);

/*
 * Calls see() for every area in address order until it returns false.
 * 0 or -errno. see() must not map or unmap.
 */
int proc_maps(bool (*see)(void *ctx, const struct proc_area *area), void *ctx);

struct proc_memory {
	uint64_t size;     /* virtual pages */
	uint64_t resident; /* resident pages, file and shared ones included */
	uint64_t shared;   /* of them backed by files or shared memory */
	uint64_t data;     /* virtual pages that are private and writable, stacks too */
	uint64_t shmem;    /* of those, shared memory and files in memory (RssShmem, Linux 4.5) */
	uint64_t tables;   /* page-table pages (VmPTE) */
};

/* 0 or -errno. shmem and tables cost a second, slower file: 0 unless in_detail. */
int proc_memory(struct proc_memory *out, bool in_detail);

/* Pages of files and shared memory, each divided by the number of those who map it. UINT64_MAX: the kernel does not say. */
uint64_t proc_shared_part(void);

/* Calls see() for every present page in [start, end), ascending. fd: /proc/self/pagemap. 0 or -errno. */
int proc_present(int fd, uint64_t start, uint64_t end, void (*see)(void *ctx, uint64_t address), void *ctx);
/* True: every present page in [start, end) is a file's (or shared memory's), and none is in the host's swap. False also on error. */
bool proc_is_all_file(int fd, uint64_t start, uint64_t end);
/* True: no page is at address, neither in memory nor in the host's swap. False also on error. */
bool proc_absent(int fd, uint64_t address);
/* Present pages in [start, end); 0 on error. */
uint64_t proc_count_present(int fd, uint64_t start, uint64_t end);

/* The CPU that a thread runs on or ran last, -1 if unknown. Costs an open and a read. */
int proc_thread_cpu(int tid);
/* Field 22 of /proc/self/stat: start time, clock ticks after boot. 0 on error. */
uint64_t proc_start_time(void);

#endif
