/*
 * <linux/userfaultfd.h>, and what newer kernels added to it. Debian 12 builds
 * with the headers of Linux 6.1 and may run on any later kernel, so each name
 * is defined here when the header lacks it and probed at run time
 * (Documentation/admin-guide/mm/userfaultfd.rst; Linux 6.8 has all of them).
 */
#ifndef STW_BASE_UFFD_H
#define STW_BASE_UFFD_H

#include <linux/ioctl.h>
#include <linux/types.h>
#include <linux/userfaultfd.h>

#ifndef UFFD_FEATURE_WP_UNPOPULATED
#define UFFD_FEATURE_WP_UNPOPULATED (1 << 13) /* Linux 6.4 */
#endif
#ifndef UFFD_FEATURE_POISON
#define UFFD_FEATURE_POISON (1 << 14) /* Linux 6.6 */
#endif
#ifndef UFFD_FEATURE_WP_ASYNC
#define UFFD_FEATURE_WP_ASYNC (1 << 15) /* Linux 6.7 */
#endif
#ifndef UFFD_FEATURE_MOVE
#define UFFD_FEATURE_MOVE (1 << 16) /* Linux 6.8 */
#endif

#ifndef UFFDIO_MOVE
#ifndef _UFFDIO_MOVE
#define _UFFDIO_MOVE (0x05)
#endif

/* Moves the pages of src..src+len to dst, which must be unpopulated. */
struct uffdio_move {
	__u64 dst;
	__u64 src;
	__u64 len;
	__u64 mode; /* UFFDIO_MOVE_MODE_… */
	__s64 move; /* out: bytes moved, or -errno if none */
};

#define UFFDIO_MOVE _IOWR(UFFDIO, _UFFDIO_MOVE, struct uffdio_move)
#define UFFDIO_MOVE_MODE_DONTWAKE ((__u64)1 << 0)
#define UFFDIO_MOVE_MODE_ALLOW_SRC_HOLES ((__u64)1 << 1)
#endif

#ifndef UFFDIO_POISON
#define _UFFDIO_POISON (0x08)

/* A touch of these pages, which must be unpopulated, raises SIGBUS. */
struct uffdio_poison {
	struct uffdio_range range;
	__u64 mode; /* UFFDIO_POISON_MODE_… */
	__s64 updated;
};

#define UFFDIO_POISON _IOWR(UFFDIO, _UFFDIO_POISON, struct uffdio_poison)
#endif

#endif
