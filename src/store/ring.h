/*
 * ring: an io_uring in the address space of a program. Its requests are made with liburing, which has the kernel map it
 * into the highest hole that is large enough. But a hole that the program has made is the program's to fill (MAP_FIXED),
 * and there are systems whose highest hole is one of those.
 *
 * So a ring can be given a room, memory of the caller's (Linux 6.5: IORING_SETUP_NO_MMAP). A child after fork has the room,
 * and no ring. Before 6.5 the ring is where the kernel puts it: nothing can be mapped from a ring to an address of one's choice.
 */
#ifndef STW_STORE_RING_H
#define STW_STORE_RING_H

#include <liburing.h>

#include "base/types.h"

/* Bytes; one page for requests, one for results, because a kernel before 6.10 takes no more that are not huge. */
#define RING_ROOM ((size_t)(2 * PAGE_SIZE))
#define RING_REQUESTS 64 /* no more can be prepared at once … */
#define RING_RESULTS 128 /* … and no more be done and not yet seen */

/*
 * Makes a ring of RING_REQUESTS and RING_RESULTS; its descriptor is in the table of the thread that calls. room: RING_ROOM
 * bytes, aligned to pages, present in no file; NULL: it does not matter where the ring is. 0 or -errno: an old kernel,
 * kernel.io_uring_disabled, a container's seccomp filter.
 */
int ring_make(struct io_uring *ring, void *room);
void ring_close(struct io_uring *ring);

#endif
