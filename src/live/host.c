#include "live/host.h"

#include <errno.h>

#include "base/sys.h"

#define NEW_FLAGS (O_CLOEXEC | O_NONBLOCK)

int host_uffd_new(int device)
{
	int fd = -EBADF;

	if (device >= 0)
		fd = (int)sys_ioctl(device, USERFAULTFD_IOC_NEW, (void *)(uintptr_t)NEW_FLAGS);
	if (fd < 0) {
		int own = sys_open("/dev/userfaultfd", O_RDWR | O_CLOEXEC, 0);

		if (own >= 0) {
			fd = (int)sys_ioctl(own, USERFAULTFD_IOC_NEW, (void *)(uintptr_t)NEW_FLAGS);
			sys_close(own);
		}
	}
	if (fd < 0)
		fd = (int)sys_call3(SYS_userfaultfd, NEW_FLAGS, 0, 0);
	return fd;
}

int host_uffd_api(int fd, uint64_t features)
{
	struct uffdio_api api = { .api = UFFD_API, .features = features };

	return (int)sys_ioctl(fd, UFFDIO_API, &api);
}

uint64_t host_uffd_features(int device)
{
	struct uffdio_api api = { .api = UFFD_API };
	int fd = host_uffd_new(device);

	if (fd < 0)
		return 0;
	int err = (int)sys_ioctl(fd, UFFDIO_API, &api);

	sys_close(fd);
	return err == 0 ? api.features : 0;
}

int host_register(int fd, uint64_t start, uint64_t len, bool missing)
{
	struct uffdio_register r = {
		.range = { start, len },
		.mode = UFFDIO_REGISTER_MODE_WP | (missing ? UFFDIO_REGISTER_MODE_MISSING : 0),
	};

	return (int)sys_ioctl(fd, UFFDIO_REGISTER, &r);
}

int host_unregister(int fd, uint64_t start, uint64_t len)
{
	struct uffdio_range r = { start, len };

	return (int)sys_ioctl(fd, UFFDIO_UNREGISTER, &r);
}

int64_t host_move(int fd, uint64_t dst, uint64_t src, uint64_t len, uint64_t mode)
{
	struct uffdio_move m = { .dst = dst, .src = src, .len = len, .mode = mode };
	long err = sys_ioctl(fd, UFFDIO_MOVE, &m);

	if (err == 0 || m.move > 0)
		return m.move;
	return m.move < 0 ? m.move : err;
}

int64_t host_copy(int fd, uint64_t dst, const void *src, uint64_t len, uint64_t mode)
{
	struct uffdio_copy c = { .dst = dst, .src = (uint64_t)(uintptr_t)src, .len = len, .mode = mode };
	long err = sys_ioctl(fd, UFFDIO_COPY, &c);

	if (err == 0 || c.copy > 0)
		return c.copy;
	return c.copy < 0 ? c.copy : err;
}

int host_wake(int fd, uint64_t start, uint64_t len)
{
	struct uffdio_range r = { start, len };

	return (int)sys_ioctl(fd, UFFDIO_WAKE, &r);
}

int host_protect(int fd, uint64_t start, uint64_t len, bool on)
{
	struct uffdio_writeprotect w = {
		.range = { start, len },
		.mode = on ? UFFDIO_WRITEPROTECT_MODE_WP : 0,
	};

	return (int)sys_ioctl(fd, UFFDIO_WRITEPROTECT, &w);
}

int host_poison(int fd, uint64_t start, uint64_t len)
{
	struct uffdio_poison p = { .range = { start, len } };

	return (int)sys_ioctl(fd, UFFDIO_POISON, &p);
}
