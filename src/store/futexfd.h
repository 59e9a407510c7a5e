/*
 * futexfd: a descriptor that can be polled for a change of a futex in shared memory (io_uring's FUTEX_WAIT, Linux 6.7; once
 * there was FUTEX_FD).
 *
 * Who sleeps for several things at once, faults of a program or answers of a server, cannot sleep in futex(2). An eventfd
 * would have to be handed from process to process, again after each fork and exec; here only the word is shared.
 *
 * For one thread at a time. The ring is made when it is first wanted, by the thread that wants it, in its table of
 * descriptors. Where that is refused (an older kernel, kernel.io_uring_disabled, a container's seccomp filter),
 * futexfd_works says no from then on.
 */
#ifndef STW_STORE_FUTEXFD_H
#define STW_STORE_FUTEXFD_H

#include <stdatomic.h>

#include "store/ring.h"

enum futexfd_state { FUTEXFD_UNTRIED, FUTEXFD_WORKS, FUTEXFD_REFUSED };

struct futexfd {
	struct io_uring ring;
	void *room; /* the caller's, to be set; NULL: it does not matter (ring.h) */
	enum futexfd_state state;
	bool armed; /* the kernel watches, or has something to tell */
};

bool futexfd_works(struct futexfd *f);
/*
 * A descriptor for POLLIN: readable when the word is not `seen` any more. Until it has been readable, and futexfd_heard was
 * called, it stays with the word and the value of the first call. -1: it cannot be done now.
 */
int futexfd_poll(struct futexfd *f, _Atomic uint32_t *word, uint32_t seen);
/* Takes what it has told, if it has. */
void futexfd_heard(struct futexfd *f);
void futexfd_close(struct futexfd *f);
/* A child after fork has neither the ring nor its memory. */
void futexfd_forget(struct futexfd *f);

#endif
