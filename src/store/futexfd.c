#include "store/futexfd.h"

#include <errno.h>
#include <linux/futex.h>

#define OP_FUTEX_WAIT 51  /* IORING_OP_FUTEX_WAIT, which older headers lack */
#define FUTEX_SIZE_U32 2  /* FUTEX2_SIZE_U32, and not private */

static bool arm(struct futexfd *f, _Atomic uint32_t *word, uint32_t seen)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&f->ring);
	int n;

	if (sqe == NULL)
		return false;
	*sqe = (struct io_uring_sqe){ .opcode = OP_FUTEX_WAIT, .fd = FUTEX_SIZE_U32 };
	sqe->addr = (uintptr_t)word;
	sqe->addr2 = seen;
	sqe->addr3 = FUTEX_BITSET_MATCH_ANY;
	do {
		n = io_uring_submit(&f->ring);
	} while (n == -EINTR);
	/* What the ring still holds would be submitted in place of the next one. */
	if (n != 1)
		f->state = FUTEXFD_REFUSED;
	f->armed = n == 1;
	return f->armed;
}

/* False: it has nothing to tell. */
static bool heard(struct futexfd *f, int *result)
{
	struct io_uring_cqe *cqe;

	if (io_uring_peek_cqe(&f->ring, &cqe) != 0)
		return false;
	*result = cqe->res;
	io_uring_cqe_seen(&f->ring, cqe);
	f->armed = false;
	return true;
}

/* A word that has changed already is told of at once; a kernel that does not know the request says so. */
static bool try(struct futexfd *f)
{
	static _Atomic uint32_t word;
	int result;

	if (ring_make(&f->ring, f->room) != 0)
		return false;
	if (arm(f, &word, 1) && heard(f, &result) && result == -EAGAIN)
		return true;
	ring_close(&f->ring);
	return false;
}

bool futexfd_works(struct futexfd *f)
{
	if (f->state == FUTEXFD_UNTRIED)
		f->state = try(f) ? FUTEXFD_WORKS : FUTEXFD_REFUSED;
	return f->state == FUTEXFD_WORKS;
}

int futexfd_poll(struct futexfd *f, _Atomic uint32_t *word, uint32_t seen)
{
	if (!futexfd_works(f) || (!f->armed && !arm(f, word, seen)))
		return -1;
	return f->ring.ring_fd;
}

void futexfd_heard(struct futexfd *f)
{
	int result;

	if (f->armed)
		heard(f, &result);
}

void futexfd_close(struct futexfd *f)
{
	if (f->state == FUTEXFD_WORKS)
		ring_close(&f->ring);
	futexfd_forget(f);
}

void futexfd_forget(struct futexfd *f)
{
	f->state = FUTEXFD_UNTRIED;
	f->armed = false;
}
