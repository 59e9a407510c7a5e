#include "cli/run/budget.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statfs.h>
#include <unistd.h>

#define HEADROOM_SHIFT 5 /* 1/32: page tables, sockets and kernel stacks that the limit counts and Steward cannot see */
#define HEADROOM_MIN (8 * MIB)
#define DIR_FREE_MIN (4 * MIB) /* a disk with less is full */

static int meminfo(const char *root, struct budget *b)
{
	char path[4096], line[128];
	unsigned long long kib;
	FILE *f;

	snprintf(path, sizeof(path), "%s/proc/meminfo", root);
	f = fopen(path, "re");
	if (f == NULL)
		return -errno;
	while (fgets(line, sizeof(line), f) != NULL) {
		if (sscanf(line, "MemTotal: %llu kB", &kib) == 1)
			b->total = kib * KIB;
		else if (sscanf(line, "MemAvailable: %llu kB", &kib) == 1)
			b->available = kib * KIB;
	}
	fclose(f);
	return b->total != 0 && b->available != 0 ? 0 : -ENODATA;
}

int budget_auto(const char *root, struct budget *out)
{
	int err;

	*out = (struct budget){ .from = "memory" };
	err = cgroup_memory_read(root, &out->cgroup);
	if (err == 0)
		err = meminfo(root, out);
	if (err != 0)
		return err;

	uint64_t limit = out->cgroup.limit;
	if (limit <= out->available) {
		out->from = "cgroup";
		out->bytes = limit - MIN(limit, MAX(limit >> HEADROOM_SHIFT, HEADROOM_MIN));
	} else {
		out->bytes = out->available / 4 * 3;
	}
	out->bytes = ALIGN_DOWN(out->bytes, (uint64_t)PAGE_SIZE);
	return 0;
}

/* A file without a name shows that the directory is writable and what it can do. */
static bool try_dir(const char *path, struct swap_dir *out)
{
	struct statfs fs;
	int fd;

	if (strlen(path) >= sizeof(out->path) || path[0] != '/' || statfs(path, &fs) != 0)
		return false;
	out->free = (uint64_t)fs.f_bavail * (uint64_t)fs.f_bsize;
	if (fs.f_type == TMPFS_MAGIC || fs.f_type == RAMFS_MAGIC || out->free < DIR_FREE_MIN)
		return false;
	fd = open(path, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (fd >= 0)
		close(fd);
	else if (errno != EOPNOTSUPP || access(path, W_OK | X_OK) != 0)
		return false;

	memcpy(out->path, path, strlen(path) + 1);
	fd = open(path, O_TMPFILE | O_RDWR | O_DIRECT | O_CLOEXEC, 0600);
	out->direct = fd >= 0;
	if (fd >= 0)
		close(fd);
	return true;
}

void swap_dir_find(struct swap_dir *out)
{
	const char *tmpdir = getenv("TMPDIR");

	*out = (struct swap_dir){ .free = 0 };
	if (tmpdir != NULL && try_dir(tmpdir, out))
		return;
	if (!try_dir("/tmp", out))
		try_dir("/var/tmp", out);
}
