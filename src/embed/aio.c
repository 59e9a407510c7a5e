#include "embed/aio.h"

#include <errno.h>
#include <string.h>

#include "base/sys.h"

void aio_open(struct aio *a, int landed_fd)
{
	a->context = 0;
	a->landed_fd = landed_fd;
	a->flying = 0;
	if (sys_call3(SYS_io_setup, AIO_DEPTH, (long)&a->context, 0) != 0)
		a->context = 0;
}

void aio_close(struct aio *a)
{
	if (a->context != 0)
		sys_call3(SYS_io_destroy, (long)a->context, 0, 0);
	a->context = 0;
}

/* What is left of it after so many bytes. */
static void finish(struct aio_op *op, size_t done)
{
	op->err = 0;
	while (done < op->bytes) {
		uint8_t *at = (uint8_t *)op->data + done;
		size_t left = op->bytes - done;
		ssize_t n = op->out ? sys_pwrite(op->fd, at, left, op->offset + done) : sys_pread(op->fd, at, left, op->offset + done);

		if (n == -EINTR)
			continue;
		if (n < 0 || (n == 0 && op->out)) {
			op->err = n < 0 ? (int)n : -EIO;
			break;
		}
		if (n == 0) {
			op->err = done < op->least ? -ENODATA : 0;
			memset(at, 0, left);
			break;
		}
		done += (size_t)n;
	}
	op->done = true;
}

void aio_start(struct aio *a, struct aio_op *op)
{
	struct iocb *cb = &op->cb;

	op->done = false;
	*cb = (struct iocb){
		.aio_data = (uint64_t)(uintptr_t)op,
		.aio_lio_opcode = op->out ? IOCB_CMD_PWRITE : IOCB_CMD_PREAD,
		.aio_fildes = (uint32_t)op->fd,
		.aio_buf = (uint64_t)(uintptr_t)op->data,
		.aio_nbytes = op->bytes,
		.aio_offset = (int64_t)op->offset,
		.aio_flags = a != NULL && a->landed_fd >= 0 ? IOCB_FLAG_RESFD : 0,
		.aio_resfd = a != NULL && a->landed_fd >= 0 ? (uint32_t)a->landed_fd : 0,
	};
	if (a != NULL && a->context != 0 && a->flying < AIO_DEPTH && sys_call3(SYS_io_submit, (long)a->context, 1, (long)&cb) == 1) {
		a->flying++;
		return;
	}
	finish(op, 0);
}

/* Takes those that are done; waits for `least` of them. */
static void take(struct aio *a, long least)
{
	struct io_event events[AIO_DEPTH];
	long n = sys_call6(SYS_io_getevents, (long)a->context, least, AIO_DEPTH, (long)events, 0, 0);

	for (long i = 0; i < n; i++) {
		struct aio_op *landed = (struct aio_op *)(uintptr_t)events[i].data;

		a->flying--;
		/* What fails, or falls short, is tried once more in the plain way, which says why. */
		finish(landed, events[i].res > 0 ? (size_t)events[i].res : 0);
	}
}

void aio_reap(struct aio *a)
{
	if (a->flying > 0)
		take(a, 0);
}

void aio_wait(struct aio *a, struct aio_op *op)
{
	while (!op->done)
		take(a, 1);
}
