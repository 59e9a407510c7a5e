/*
 * Version 1 has a hierarchy for memory alone, version 2 one for everything; in a mix of both, version 1 has the memory
 * controller. The differences are names of files, and that a parent of version 2 must hand the controller down.
 *
 *	           version 1                 version 2
 *	limit      memory.limit_in_bytes     memory.max
 *	usage      memory.usage_in_bytes     memory.current
 *	kernel's   memory.kmem.usage_in_…    "kernel" of memory.stat
 *	kills      memory.oom_control        memory.events: oom_kill
 *
 * A group is removed only when it is empty, and a process that was killed leaves it a moment later.
 */
#include "cli/validate/memcage.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <mntent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "cli/msg.h"

#define CLOSE_TRIES 200 /* of 20 ms */

static int write_text(const char *dir, const char *name, const char *text)
{
	char path[PATH_MAX];
	int fd, err;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	err = write_all(fd, text, strlen(text));
	close(fd);
	return err;
}

/* The number in a file; behind `key ` in a file of such lines if there is a key. */
static uint64_t read_number(const struct memcage *c, const char *name, const char *key)
{
	size_t len = key != NULL ? strlen(key) : 0;
	char text[16384], *at = text;
	int fd = memcage_file(c, name, O_RDONLY);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

	if (fd >= 0)
		close(fd);
	if (n < 0)
		return 0;
	text[n] = '\0';
	while (len > 0 && at != NULL && (strncmp(at, key, len) != 0 || at[len] != ' ')) {
		at = strchr(at, '\n');
		at = at != NULL ? at + 1 : NULL;
	}
	return at != NULL ? strtoull(at + len, NULL, 10) : 0;
}

static bool hands_memory_down(const char *root)
{
	char path[PATH_MAX], text[512] = "";
	FILE *f;

	snprintf(path, sizeof(path), "%s/cgroup.controllers", root);
	f = fopen(path, "re");
	if (f == NULL)
		return false;
	bool has = fgets(text, sizeof(text), f) != NULL && strstr(text, "memory") != NULL;

	fclose(f);
	return has;
}

int memcage_find(struct memcage_root *r)
{
	FILE *f = setmntent("/proc/self/mounts", "re");
	struct mntent *e;

	if (f == NULL)
		return -errno;
	r->version = 0;
	while ((e = getmntent(f)) != NULL && r->version != 1) {
		bool v1 = strcmp(e->mnt_type, "cgroup") == 0 && hasmntopt(e, "memory") != NULL;
		bool v2 = strcmp(e->mnt_type, "cgroup2") == 0 && r->version == 0 && hands_memory_down(e->mnt_dir);

		if (!v1 && !v2)
			continue;
		r->version = v1 ? 1 : 2;
		snprintf(r->dir, sizeof(r->dir), "%s", e->mnt_dir);
	}
	endmntent(f);
	if (r->version == 0)
		return -ENOENT;
	return r->version == 2 ? write_text(r->dir, "cgroup.subtree_control", "+memory") : 0;
}

int memcage_file(const struct memcage *c, const char *name, int how)
{
	char path[PATH_MAX + 64];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", c->dir, name);
	fd = open(path, how | O_CLOEXEC);
	return fd >= 0 ? fd : -errno;
}

int memcage_open(struct memcage *c, const struct memcage_root *r, const char *name, uint64_t limit, unsigned swappiness)
{
	char text[32];
	int err;

	c->version = r->version;
	snprintf(c->dir, sizeof(c->dir), "%s/%s", r->dir, name);
	if (mkdir(c->dir, 0755) != 0)
		return -errno;
	snprintf(text, sizeof(text), "%llu", (unsigned long long)limit);
	err = write_text(c->dir, c->version == 1 ? "memory.limit_in_bytes" : "memory.max", text);
	if (err == 0 && c->version == 1) {
		snprintf(text, sizeof(text), "%u", swappiness);
		err = write_text(c->dir, "memory.swappiness", text);
	}
	if (err != 0)
		rmdir(c->dir);
	return err;
}

static void kill_inside(const struct memcage *c)
{
	int fd = memcage_file(c, "cgroup.procs", O_RDONLY);
	FILE *f = fd >= 0 ? fdopen(fd, "r") : NULL;
	int pid;

	while (f != NULL && fscanf(f, "%d", &pid) == 1 && pid > 1)
		kill(pid, SIGKILL);
	if (f != NULL)
		fclose(f);
}

int memcage_close(struct memcage *c)
{
	const struct timespec moment = { .tv_nsec = 20000000 };
	int err = 0;

	for (unsigned i = 0; i < CLOSE_TRIES; i++) {
		if (rmdir(c->dir) == 0 || errno == ENOENT)
			return 0;
		err = -errno;
		kill_inside(c);
		nanosleep(&moment, NULL);
	}
	return err;
}

void memcage_sweep(const struct memcage_root *r, const char *prefix)
{
	DIR *d = opendir(r->dir);
	struct memcage c = { .version = r->version };
	struct dirent *e;

	while (d != NULL && (e = readdir(d)) != NULL) {
		if (strncmp(e->d_name, prefix, strlen(prefix)) != 0)
			continue;
		snprintf(c.dir, sizeof(c.dir), "%s/%s", r->dir, e->d_name);
		memcage_close(&c);
	}
	if (d != NULL)
		closedir(d);
}

uint64_t memcage_usage(const struct memcage *c)
{
	return read_number(c, c->version == 1 ? "memory.usage_in_bytes" : "memory.current", NULL);
}

uint64_t memcage_kernel(const struct memcage *c)
{
	return c->version == 1 ? read_number(c, "memory.kmem.usage_in_bytes", NULL) : read_number(c, "memory.stat", "kernel");
}

uint64_t memcage_peak(const struct memcage *c)
{
	return read_number(c, c->version == 1 ? "memory.max_usage_in_bytes" : "memory.peak", NULL);
}

uint64_t memcage_kernel_peak(const struct memcage *c)
{
	return c->version == 1 ? read_number(c, "memory.kmem.max_usage_in_bytes", NULL) : memcage_kernel(c);
}

uint64_t memcage_oom_kills(const struct memcage *c)
{
	return read_number(c, c->version == 1 ? "memory.oom_control" : "memory.events", "oom_kill");
}
