/* Where a file store's descriptor comes from: libc is not needed, but names of the file system are. */
#include <errno.h>
#include <limits.h>
#include <string.h>

#include "base/fmt.h"
#include "base/rand.h"
#include "base/sys.h"
#include "store/file.h"

#define NAME_TRIES 16

static int open_named(const char *dir)
{
	char path[PATH_MAX];
	struct timespec now;
	struct rand random;
	struct fmt f;
	int fd = -EEXIST;

	sys_clock_gettime(CLOCK_REALTIME, &now);
	rand_seed(&random, (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec + ((uint64_t)sys_getpid() << 40));
	for (int i = 0; i < NAME_TRIES && fd == -EEXIST; i++) {
		fmt_init(&f, path, sizeof(path));
		fmt_str(&f, dir);
		fmt_str(&f, "/.steward-");
		fmt_hex(&f, rand_u64(&random));
		if (f.len + 1 == f.size)
			return -ENAMETOOLONG;
		fd = sys_open(path, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC | O_NOFOLLOW, 0600);
	}
	if (fd < 0)
		return fd;
	int err = sys_unlink(path);

	if (err != 0) {
		sys_close(fd);
		return err;
	}
	return fd;
}

/* Some file systems take the flag and refuse the I/O: a page read, and if the file is ours alone written, decides. */
static bool direct_works(int fd, bool ours)
{
	uint8_t page[PAGE_SIZE] __attribute__((aligned(PAGE_SIZE)));
	ssize_t n = sizeof(page);

	memset(page, 0, sizeof(page));
	if (ours)
		n = sys_pwrite(fd, page, sizeof(page), 0);
	if (n == (ssize_t)sizeof(page))
		n = sys_pread(fd, page, sizeof(page), 0);
	if (ours)
		sys_ftruncate(fd, 0);
	return n != -EINVAL && n != -EOPNOTSUPP;
}

static void make_direct(int fd, bool ours)
{
	if (sys_fcntl(fd, F_SETFL, O_DIRECT) == 0 && !direct_works(fd, ours))
		sys_fcntl(fd, F_SETFL, 0);
}

int file_store_open(const char *dir)
{
	int fd = sys_open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	/* What kernels and file systems without O_TMPFILE say. */
	if (fd == -EOPNOTSUPP || fd == -EISDIR || fd == -EINVAL)
		fd = open_named(dir);
	if (fd < 0)
		return fd;
	make_direct(fd, true);
	return fd;
}

int file_store_open_named(const char *path)
{
	int fd = sys_open(path, O_RDWR | O_CLOEXEC, 0);

	if (fd >= 0)
		make_direct(fd, false);
	return fd;
}
