/*
 * Several transfers of one file in flight (io_submit(2), which needs no library). Where the kernel gives no context, or the
 * file does not take O_DIRECT, they are done one after the other.
 */
#ifndef STW_EMBED_AIO_H
#define STW_EMBED_AIO_H

#include <linux/aio_abi.h>

#include "base/types.h"

#define AIO_DEPTH 64

struct aio {
	aio_context_t context; /* 0: there is none */
	unsigned flying;
	int landed_fd;         /* an eventfd that becomes readable when one is done; -1: none */
};

/* One transfer. Its place does not change while it flies. */
struct aio_op {
	struct iocb cb;
	int fd;
	bool out;        /* to the file */
	bool done;
	void *data;
	size_t bytes;
	size_t least;    /* of a read: so many there must be, the rest is zeros if the file ends there */
	uint64_t offset;
	int err;         /* once done: 0 or -errno; -ENODATA: the file is shorter than it was */
};

void aio_open(struct aio *a, int landed_fd);
void aio_close(struct aio *a);
/* Starts it; AIO_DEPTH at most fly. If that cannot be, or a is NULL, it is done when this returns. */
void aio_start(struct aio *a, struct aio_op *op);
/* Finds out which are done, without waiting. */
void aio_reap(struct aio *a);
/* Returns when it is done. */
void aio_wait(struct aio *a, struct aio_op *op);

#endif
