/*
 * libnbd, loaded when an area is on a server: linked, it would cost each run some MiB of its budget.
 */
#ifndef STW_CLI_RUN_LIBNBD_H
#define STW_CLI_RUN_LIBNBD_H

#include <libnbd.h>

#define LIBNBD_FUNCTIONS(X)                                                                                \
	X(create) X(close) X(set_uri_allow_local_file) X(aio_connect_uri) X(aio_is_ready) X(aio_is_dead)   \
	X(aio_is_closed) X(poll) X(get_size) X(is_read_only) X(aio_pread) X(aio_pwrite)                    \
	X(aio_get_fd) X(aio_get_direction) X(aio_disconnect) X(aio_command_completed) X(get_error) X(get_errno)

struct libnbd {
#define LIBNBD_FIELD(name) __typeof__(nbd_##name) *name;
	LIBNBD_FUNCTIONS(LIBNBD_FIELD)
#undef LIBNBD_FIELD
};

extern struct libnbd nbd;

/* 0, or -ENOENT: it is not installed, or lacks something. */
int libnbd_load(void);

#endif
