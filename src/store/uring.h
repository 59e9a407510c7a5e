/*
 * uring: reads of one file that are on their way while their thread does other work (io_uring, through liburing).
 *
 * For one thread at a time. The ring is made when it is first wanted, by the thread that wants it, in its table of
 * descriptors. Where that is refused (an old kernel, kernel.io_uring_disabled, a container's seccomp filter), or
 * requests are later, uring_read says no from then on, and its caller reads by itself; as it does when too many are on
 * their way.
 */
#ifndef STW_STORE_URING_H
#define STW_STORE_URING_H

#include "store/ring.h"

enum uring_state { URING_UNTRIED, URING_WORKS, URING_REFUSED };

/* Law: pending = requests that the kernel has taken, and uring_done has not given back. */
struct uring {
	struct io_uring ring;
	void *room;       /* the caller's, to be set; NULL: it does not matter (ring.h) */
	enum uring_state state;
	unsigned queued;  /* prepared, not submitted */
	unsigned pending;
};

/* Prepares to read n ≤ IOV_MAX pieces from offset; iov stays until uring_submit. False: it cannot be done in this way. */
bool uring_read(struct uring *u, int fd, const struct iovec *iov, unsigned n, uint64_t offset, void *tag);
/* Gives what is prepared to the kernel. Returns how many of the first ones it took; the others are forgotten. */
unsigned uring_submit(struct uring *u);
/* A read that is done, and bytes or -errno of it. wait: until there is one. False: none (is on its way). */
bool uring_done(struct uring *u, bool wait, void **tag, int *result);
/* To be polled for POLLIN while reads are pending; -1: none are. */
int uring_fd(const struct uring *u);
/* Nothing may be pending. */
void uring_close(struct uring *u);
/* A child after fork has neither the ring nor its memory. */
void uring_forget(struct uring *u);

#endif
