#include "store/ring.h"

#include <string.h>

#include "base/sys.h"

/* Both of Linux 6.5, which older headers lack. */
#define NO_MMAP (1u << 14) /* IORING_SETUP_NO_MMAP */
#define USER_ADDR(offsets) (((uint64_t *)(&(offsets) + 1))[-1]) /* their last word, user_addr */

_Static_assert(RING_REQUESTS * sizeof(struct io_uring_sqe) <= PAGE_SIZE, "requests have a page");
_Static_assert(RING_RESULTS * sizeof(struct io_uring_cqe) + RING_REQUESTS * sizeof(uint32_t) + 256 <= PAGE_SIZE,
	       "results have a page, with the order of the requests and the counters of both");

static void point_sq(struct io_uring_sq *sq, const struct io_sqring_offsets *at, uint8_t *base)
{
	sq->khead = (unsigned *)(base + at->head);
	sq->ktail = (unsigned *)(base + at->tail);
	sq->kring_mask = (unsigned *)(base + at->ring_mask);
	sq->kring_entries = (unsigned *)(base + at->ring_entries);
	sq->kflags = (unsigned *)(base + at->flags);
	sq->kdropped = (unsigned *)(base + at->dropped);
	sq->array = (unsigned *)(base + at->array);
	sq->ring_mask = *sq->kring_mask;
	sq->ring_entries = *sq->kring_entries;
	/* Request i is always in place i of the queue. */
	for (unsigned i = 0; i < sq->ring_entries; i++)
		sq->array[i] = i;
}

static void point_cq(struct io_uring_cq *cq, const struct io_cqring_offsets *at, uint8_t *base)
{
	cq->khead = (unsigned *)(base + at->head);
	cq->ktail = (unsigned *)(base + at->tail);
	cq->kring_mask = (unsigned *)(base + at->ring_mask);
	cq->kring_entries = (unsigned *)(base + at->ring_entries);
	cq->koverflow = (unsigned *)(base + at->overflow);
	cq->cqes = (struct io_uring_cqe *)(base + at->cqes);
	cq->ring_mask = *cq->kring_mask;
	cq->ring_entries = *cq->kring_entries;
}

/* io_uring_queue_init_mem, which liburing has since 2.5. */
static int make_in(struct io_uring *ring, uint8_t *room)
{
	struct io_uring_params p = { .flags = IORING_SETUP_CQSIZE | NO_MMAP, .cq_entries = RING_RESULTS };

	/* A child has what its parent's ring has left there. */
	memset(room, 0, RING_ROOM);
	USER_ADDR(p.sq_off) = (uint64_t)(uintptr_t)room;
	USER_ADDR(p.cq_off) = (uint64_t)(uintptr_t)(room + PAGE_SIZE);
	int fd = (int)sys_call3(SYS_io_uring_setup, RING_REQUESTS, (long)&p, 0);

	if (fd < 0)
		return fd;
	*ring = (struct io_uring){ .ring_fd = fd, .enter_ring_fd = fd, .flags = p.flags, .features = p.features };
	ring->sq.sqes = (struct io_uring_sqe *)room;
	point_sq(&ring->sq, &p.sq_off, room + PAGE_SIZE);
	point_cq(&ring->cq, &p.cq_off, room + PAGE_SIZE);
	return 0;
}

static int make_anywhere(struct io_uring *ring)
{
	struct io_uring_params p = { .flags = IORING_SETUP_CQSIZE, .cq_entries = RING_RESULTS };
	int err = io_uring_queue_init_params(RING_REQUESTS, ring, &p);

	if (err != 0)
		return err;
	err = io_uring_ring_dontfork(ring);
	if (err != 0)
		ring_close(ring);
	return err;
}

int ring_make(struct io_uring *ring, void *room)
{
	return room != NULL && make_in(ring, room) == 0 ? 0 : make_anywhere(ring);
}

void ring_close(struct io_uring *ring)
{
	if (ring->flags & NO_MMAP)
		sys_close(ring->ring_fd);
	else
		io_uring_queue_exit(ring);
}
