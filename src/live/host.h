/*
 * userfaultfd, one function an ioctl. Descriptors and addresses are the
 * caller's business; every function returns what its comment says or -errno.
 *
 * Two descriptors are in use. `prog` serves the program's ranges and reports its
 * munmap, mremap and madvise; the homes are registered with it too, because
 * UFFDIO_MOVE looks at the destination's descriptor for changes of the address
 * space that we have not heard of yet (-EAGAIN), and only so an eviction cannot
 * take a page that has just come to an address instead of the one we mean.
 * `trash` has no events: where homes are emptied (arena.c).
 */
#ifndef STW_LIVE_HOST_H
#define STW_LIVE_HOST_H

#include "base/types.h"
#include "base/uffd.h"

/*
 * A new userfaultfd, through a descriptor of /dev/userfaultfd (≥ 0), by opening
 * the device, or by the system call, in this order. Close-on-exec; read does not wait.
 */
int host_uffd_new(int device);
/* Handshake with the features asked for. 0, or -EINVAL if the kernel lacks one. */
int host_uffd_api(int fd, uint64_t features);
/* All features that the kernel knows, asked of a scratch descriptor. 0: none, or no userfaultfd. */
uint64_t host_uffd_features(int device);

/* missing: absent pages fault to us. Write-protect mode is always on: the copying path needs it. */
int host_register(int fd, uint64_t start, uint64_t len, bool missing);
int host_unregister(int fd, uint64_t start, uint64_t len);
/* Bytes moved (> 0), or -errno of the first page. */
int64_t host_move(int fd, uint64_t dst, uint64_t src, uint64_t len, uint64_t mode);
/* Bytes copied (> 0), or -errno. mode: UFFDIO_COPY_MODE_* */
int64_t host_copy(int fd, uint64_t dst, const void *src, uint64_t len, uint64_t mode);
int host_wake(int fd, uint64_t start, uint64_t len);
/* on: writes fault to us; off: they go on, and waiters are woken. */
int host_protect(int fd, uint64_t start, uint64_t len, bool on);
/* Touches of the absent pages raise SIGBUS; waiters are woken, to get theirs. */
int host_poison(int fd, uint64_t start, uint64_t len);

#endif
