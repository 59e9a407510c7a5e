/*
 * Can this process have a userfaultfd that also serves faults of the kernel?
 *
 * Three ways lead there, tried in this order:
 *   1. a descriptor of /dev/userfaultfd that our caller left open,
 *   2. opening /dev/userfaultfd (Linux 6.1; file permissions decide),
 *   3. userfaultfd(2), for root, CAP_SYS_PTRACE, or vm.unprivileged_userfaultfd=1.
 * A fourth, UFFD_USER_MODE_ONLY, needs no right at all and is not enough: a
 * read(2) into a page that is out would return EFAULT to the program.
 *
 * UFFDIO_API may be called once for a descriptor and refuses unknown features,
 * so features are asked for with an empty set, on a descriptor of their own
 * (fs/userfaultfd.c, userfaultfd_api). Whether UFFDIO_MOVE works is tried with
 * one page: a feature bit is a promise, a moved page is a fact.
 */
#include "cli/probe.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/uffd.h"
#include "cli/msg.h"

/* Without these no path of the live engine can follow what a program does. */
#define FEATURES_NEEDED                                                                                            \
	((uint64_t)UFFD_FEATURE_PAGEFAULT_FLAG_WP | UFFD_FEATURE_EVENT_REMAP | UFFD_FEATURE_EVENT_REMOVE |         \
	 UFFD_FEATURE_EVENT_UNMAP)

static int uffd_from_device(int device)
{
	int fd = ioctl(device, USERFAULTFD_IOC_NEW, O_CLOEXEC | O_NONBLOCK);

	return fd >= 0 ? fd : -errno;
}

static int uffd_from_syscall(int flags)
{
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | flags);

	return fd >= 0 ? fd : -errno;
}

static int uffd_new(const struct probe *p)
{
	return p->way == PROBE_SYSCALL ? uffd_from_syscall(0) : uffd_from_device(p->device_fd);
}

/* Closes fd if it is one; 0 or the -errno that it is. */
static int drop(int fd)
{
	if (fd < 0)
		return fd;
	close(fd);
	return 0;
}

/* A descriptor of the device that was open before we started; -1 if there is none. */
static int inherited_device(void)
{
	char link[64], target[64];
	struct dirent *e;
	int found = -1;
	DIR *d = opendir("/proc/self/fd");

	if (d == NULL)
		return -1;
	while (found < 0 && (e = readdir(d)) != NULL) {
		ssize_t n;

		snprintf(link, sizeof(link), "/proc/self/fd/%.20s", e->d_name);
		n = readlink(link, target, sizeof(target) - 1);
		if (n < 0)
			continue;
		target[n] = '\0';
		if (strcmp(target, PROBE_DEVICE) == 0)
			found = fcntl(atoi(e->d_name), F_DUPFD_CLOEXEC, 3);
	}
	closedir(d);
	return found;
}

static void find_device(struct probe *p)
{
	p->device_fd = inherited_device();
	if (p->device_fd >= 0) {
		p->device_err = drop(uffd_from_device(p->device_fd));
		if (p->device_err == 0) {
			p->way = PROBE_INHERITED;
			return;
		}
		close(p->device_fd);
	}
	p->device_fd = open(PROBE_DEVICE, O_RDWR | O_CLOEXEC);
	if (p->device_fd < 0) {
		p->device_err = -errno;
		return;
	}
	p->device_err = drop(uffd_from_device(p->device_fd));
	if (p->device_err == 0) {
		p->way = PROBE_DEVICE_OPEN;
		return;
	}
	close(p->device_fd);
	p->device_fd = -1;
}

static uint64_t features_of(const struct probe *p)
{
	struct uffdio_api api = { .api = UFFD_API };
	int fd = uffd_new(p);

	if (fd < 0)
		return 0;
	if (ioctl(fd, UFFDIO_API, &api) != 0)
		api.features = 0;
	close(fd);
	return api.features;
}

static int move_one(int fd, char *pages)
{
	struct uffdio_api api = { .api = UFFD_API, .features = UFFD_FEATURE_MOVE };
	struct uffdio_register reg = {
		.range = { .start = (uintptr_t)pages, .len = PAGE_SIZE },
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};
	struct uffdio_move move = {
		.dst = (uintptr_t)pages,
		.src = (uintptr_t)pages + PAGE_SIZE,
		.len = PAGE_SIZE,
	};

	pages[PAGE_SIZE] = 'm';
	if (ioctl(fd, UFFDIO_API, &api) != 0 || ioctl(fd, UFFDIO_REGISTER, &reg) != 0 ||
	    ioctl(fd, UFFDIO_MOVE, &move) != 0)
		return -errno;
	return pages[0] == 'm' ? 0 : -EIO;
}

static int try_move(const struct probe *p)
{
	char *pages;
	int fd, err;

	if ((p->features & UFFD_FEATURE_MOVE) == 0)
		return -EOPNOTSUPP;
	fd = uffd_new(p);
	if (fd < 0)
		return fd;
	pages = mmap(NULL, 2 * PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (pages == MAP_FAILED) {
		err = -errno;
	} else {
		err = move_one(fd, pages);
		munmap(pages, 2 * PAGE_SIZE);
	}
	close(fd);
	return err;
}

/* The number in that file; -1 if there is none. */
static int read_number(const char *path)
{
	int value = -1;
	FILE *f = fopen(path, "re");

	if (f == NULL)
		return -1;
	if (fscanf(f, "%d", &value) != 1)
		value = -1;
	fclose(f);
	return value;
}

static bool has_seccomp(void)
{
	char line[256];
	int mode = 0;
	FILE *f = fopen("/proc/self/status", "re");

	if (f == NULL)
		return false;
	while (fgets(line, sizeof(line), f) != NULL) {
		if (sscanf(line, "Seccomp: %d", &mode) == 1)
			break;
	}
	fclose(f);
	return mode == 2;
}

void probe_userfaultfd(struct probe *p)
{
	*p = (struct probe){ .way = PROBE_NONE, .device_fd = -1, .move_err = -EOPNOTSUPP };
	find_device(p);
	p->syscall_err = drop(uffd_from_syscall(0));
	p->user_mode_err = drop(uffd_from_syscall(UFFD_USER_MODE_ONLY));
	if (p->way == PROBE_NONE && p->syscall_err == 0)
		p->way = PROBE_SYSCALL;
	if (p->way != PROBE_NONE) {
		p->features = features_of(p);
		p->move_err = try_move(p);
	}
	p->sysctl = read_number("/proc/sys/vm/unprivileged_userfaultfd");
	p->seccomp = has_seccomp();
}

bool probe_suffices(const struct probe *p)
{
	return p->way != PROBE_NONE && (p->features & FEATURES_NEEDED) == FEATURES_NEEDED;
}

/* Where a filter answers for the kernel, ENOSYS says nothing about it: some profiles refuse with that. */
static bool kernel_lacks_it(const struct probe *p)
{
	return p->syscall_err == -ENOSYS && !p->seccomp;
}

const char *probe_why(const struct probe *p)
{
	if (p->way != PROBE_NONE)
		return "this kernel's userfaultfd is too old (write protection and events are missing)";
	if (kernel_lacks_it(p))
		return "this kernel has no userfaultfd";
	if (p->device_err == -EACCES)
		return "this user may not open " PROBE_DEVICE;
	if (p->seccomp)
		return "a seccomp filter forbids userfaultfd and there is no usable " PROBE_DEVICE;
	return "this user may not have a userfaultfd";
}

/*
 * How this user could open the device: through its group, as the udev rule of our package has it, or because everybody
 * may. Rootless containers have their groups mapped away: the device seems to be owned by nobody, and the user's own
 * groups are dropped unless the container keeps them.
 */
static const char *open_device(void)
{
	static char text[128];
	const struct group *g;
	struct stat st;
	bool by_group = stat(PROBE_DEVICE, &st) == 0 && st.st_gid != 0 && (st.st_mode & 060) == 060;

	if (by_group && st.st_gid == (gid_t)read_number("/proc/sys/kernel/overflowgid"))
		return "start the container with: --group-add keep-groups";
	g = by_group ? getgrgid(st.st_gid) : NULL;
	if (g == NULL)
		return "allow it: sudo chmod a+rw " PROBE_DEVICE;
	snprintf(text, sizeof(text), "allow it: sudo adduser $USER %s, and log in again", g->gr_name);
	return text;
}

const char *probe_remedy(const struct probe *p)
{
	if (p->way != PROBE_NONE)
		return "use Linux 5.7 or later";
	if (kernel_lacks_it(p))
		return "use a kernel with CONFIG_USERFAULTFD";
	if (p->device_err == -EACCES)
		return open_device();
	if (p->seccomp)
		return "start the container with: --device " PROBE_DEVICE;
	return "allow it: sudo sysctl vm.unprivileged_userfaultfd=1";
}

int probe_require(struct probe *p)
{
	probe_userfaultfd(p);
	if (probe_suffices(p))
		return 0;
	return msg_fail(EXIT_STEWARD, "userfaultfd", "%s; %s", probe_why(p), probe_remedy(p));
}
