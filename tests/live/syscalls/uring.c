/* io_uring: the kernel reaches the buffers from the submitting thread, from its workers, and through pinned pages. */
#include "syscalls.h"

#include <linux/io_uring.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

/* io_uring by its raw interface: one ring, one request at a time. */
struct ring {
	int fd;
	_Atomic unsigned *sq_tail, *cq_head, *cq_tail;
	unsigned *sq_mask, *sq_array, *cq_mask;
	struct io_uring_sqe *sqe;
	struct io_uring_cqe *cqe;
};

static int ring_open(struct ring *r)
{
	struct io_uring_params p = { 0 };

	r->fd = (int)syscall(SYS_io_uring_setup, 8, &p);
	if (r->fd < 0)
		return -1;
	size_t sq_size = p.sq_off.array + p.sq_entries * sizeof(unsigned);
	size_t cq_size = p.cq_off.cqes + p.cq_entries * sizeof(struct io_uring_cqe);
	char *sq = mmap(NULL, sq_size, PROT_READ | PROT_WRITE, MAP_SHARED, r->fd, IORING_OFF_SQ_RING);
	char *cq = mmap(NULL, cq_size, PROT_READ | PROT_WRITE, MAP_SHARED, r->fd, IORING_OFF_CQ_RING);
	void *sqe = mmap(NULL, p.sq_entries * sizeof(struct io_uring_sqe), PROT_READ | PROT_WRITE, MAP_SHARED, r->fd, IORING_OFF_SQES);

	must(sq != MAP_FAILED && cq != MAP_FAILED && sqe != MAP_FAILED, "mmap of the ring");
	r->sq_tail = (void *)(sq + p.sq_off.tail);
	r->sq_mask = (void *)(sq + p.sq_off.ring_mask);
	r->sq_array = (void *)(sq + p.sq_off.array);
	r->cq_head = (void *)(cq + p.cq_off.head);
	r->cq_tail = (void *)(cq + p.cq_off.tail);
	r->cq_mask = (void *)(cq + p.cq_off.ring_mask);
	r->cqe = (void *)(cq + p.cq_off.cqes);
	r->sqe = sqe;
	return 0;
}

static int ring_do(struct ring *r, int op, int fd, void *buf, size_t len, size_t offset, unsigned flags)
{
	unsigned tail = atomic_load(r->sq_tail), slot = tail & *r->sq_mask;

	r->sqe[slot] = (struct io_uring_sqe){
		.opcode = (uint8_t)op, .fd = fd, .addr = (uintptr_t)buf, .len = (uint32_t)len, .off = offset, .flags = (uint8_t)flags,
	};
	r->sq_array[slot] = slot;
	atomic_store(r->sq_tail, tail + 1);
	must(syscall(SYS_io_uring_enter, r->fd, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0) == 1, "io_uring_enter");
	unsigned head = atomic_load(r->cq_head);
	must(head != atomic_load(r->cq_tail), "no completion");
	int res = r->cqe[head & *r->cq_mask].res;
	atomic_store(r->cq_head, head + 1);
	return res;
}

void mode_io_uring(void)
{
	struct ring r;
	unsigned char back[PAGE];
	int fd = temp_file();

	if (ring_open(&r) < 0)
		return skip("io_uring is not allowed here");
	for (unsigned k = 0; k < CALLS; k++) {
		size_t n = 1 + below64(&seed, 16), i = pick(n), from = below64(&seed, FILE_PAGES - n);
		unsigned flags = k % 2 == 0 ? 0 : IOSQE_ASYNC; /* in this thread, and in a kernel worker */

		must(ring_do(&r, IORING_OP_READ, file, page_at(i), n * PAGE, from * PAGE, flags) == (int)(n * PAGE), "io_uring read");
		verify_file_pages(page_at(i), n, from);
		restore(i, n);
		i = pick(1);
		must(ring_do(&r, IORING_OP_WRITE, fd, page_at(i), PAGE, 0, flags) == PAGE, "io_uring write");
		must(pread(fd, back, PAGE, 0) == PAGE && page_check(back, (uintptr_t)page_at(i), gens[i]) < 0, "io_uring wrote page %zu wrong", i);
	}
	close(fd);
	close(r.fd);
}

/* A registered buffer is pinned: its pages cannot leave, and nothing may break because of that. */
void mode_io_uring_fixed(void)
{
	struct ring r;
	size_t i = pick(16);
	struct iovec iov = { page_at(i), 16 * PAGE };

	if (ring_open(&r) < 0)
		return skip("io_uring is not allowed here");
	must(syscall(SYS_io_uring_register, r.fd, IORING_REGISTER_BUFFERS, &iov, 1) == 0, "register a buffer");
	for (unsigned k = 0; k < CALLS / 3; k++) {
		size_t from = below64(&seed, FILE_PAGES - 16);

		for (unsigned j = 0; j < 200; j++) {
			size_t other = pick(1);

			if (other < i || other >= i + 16)
				verify(other, 1);
		}
		must(ring_do(&r, IORING_OP_READ_FIXED, file, page_at(i), 16 * PAGE, from * PAGE, 0) == 16 * PAGE, "fixed read");
		verify_file_pages(page_at(i), 16, from);
	}
	close(r.fd);
	restore(i, 16);
}
