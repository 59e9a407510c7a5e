/*
 * The userfaultfd of one region and the thread that reads it.
 *
 * No events are asked for: whatever changes the range of a region comes from the region itself.
 */
#ifndef STW_EMBED_SERVER_H
#define STW_EMBED_SERVER_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/types.h"

#define SERVER_BATCH 32 /* faults that wait are handed over together, so many at most */

struct server_fault {
	uint64_t address; /* of the page */
	uint64_t flags;   /* UFFD_PAGEFAULT_FLAG_… */
	int thread;
};

/* Serves the faults and wakes those who wait. n 0: something has landed (server_hear). */
typedef void server_serve(void *ctx, const struct server_fault *faults, unsigned n);

struct server {
	int uffd;                /* -1: not open */
	int stop_fd;             /* an eventfd: the thread ends */
	int landed_fd;           /* an eventfd: something that faults wait for is there; -1: there is none */
	bool running;
	pthread_t thread;
	server_serve *serve;
	void *ctx;
	int followed;            /* thread that faulted last */
	int stat_fd;             /* its /proc/self/task/TID/stat, or -1 */
	int cpu;                 /* that we are pinned to, -1: none */
	unsigned since;          /* faults since we looked where it runs */
};

/* Opens the descriptor. 0, or -errno and the message. */
int server_open(struct server *s);
/* Before the start: makes landed_fd. 0, or -errno and the message. */
int server_hear(struct server *s);
int server_start(struct server *s, server_serve *serve, void *ctx);
/* Ends the thread, if there is one, and closes the descriptors. */
void server_stop(struct server *s);

/* A thread of ours, without signals. 0, or -errno and the message. */
int server_thread(pthread_t *thread, void *(*run)(void *arg), void *arg);

#endif
