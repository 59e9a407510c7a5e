#include "store/uring.h"

#include <errno.h>

#include "base/assert.h"

static bool works(struct uring *u)
{
	if (u->state != URING_UNTRIED)
		return u->state == URING_WORKS;
	u->state = URING_REFUSED;
	u->queued = u->pending = 0;
	if (ring_make(&u->ring, u->room) != 0)
		return false;
	u->state = URING_WORKS;
	return true;
}

bool uring_read(struct uring *u, int fd, const struct iovec *iov, unsigned n, uint64_t offset, void *tag)
{
	/* What is done must find a place in the ring: an older kernel takes no request while something does not. */
	bool fits = works(u) && u->queued + u->pending < RING_RESULTS;
	struct io_uring_sqe *sqe = fits ? io_uring_get_sqe(&u->ring) : NULL;

	if (sqe == NULL)
		return false;
	io_uring_prep_readv(sqe, fd, iov, n, offset);
	io_uring_sqe_set_data(sqe, tag);
	u->queued++;
	return true;
}

unsigned uring_submit(struct uring *u)
{
	unsigned taken = 0;

	while (taken < u->queued) {
		int n = io_uring_submit(&u->ring);

		if (n == -EINTR)
			continue;
		/* What the ring still holds is never submitted: nothing is, from now on. */
		if (n <= 0) {
			u->state = URING_REFUSED;
			break;
		}
		taken += (unsigned)n;
	}
	u->queued = 0;
	u->pending += taken;
	return taken;
}

bool uring_done(struct uring *u, bool wait, void **tag, int *result)
{
	struct io_uring_cqe *cqe;
	int err;

	if (u->pending == 0)
		return false;
	do {
		err = wait ? io_uring_wait_cqe(&u->ring, &cqe) : io_uring_peek_cqe(&u->ring, &cqe);
	} while (err == -EINTR);
	if (err != 0) {
		ASSERT(!wait);
		return false;
	}
	*tag = io_uring_cqe_get_data(cqe);
	*result = cqe->res;
	io_uring_cqe_seen(&u->ring, cqe);
	u->pending--;
	return true;
}

int uring_fd(const struct uring *u)
{
	return u->pending > 0 ? u->ring.ring_fd : -1;
}

void uring_close(struct uring *u)
{
	ASSERT(u->pending == 0);
	if (u->state == URING_WORKS)
		ring_close(&u->ring);
	u->state = URING_UNTRIED;
}

void uring_forget(struct uring *u)
{
	u->state = URING_UNTRIED;
	u->queued = u->pending = 0;
}
