#include "cli/procstat.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int procstat_read(int32_t pid, struct procstat *s)
{
	unsigned long long faults, threads, start;
	char path[32], text[1024];
	const char *p;
	ssize_t n;
	int fd, err;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	n = read(fd, text, sizeof(text) - 1);
	err = n < 0 ? -errno : 0;
	close(fd);
	if (err != 0)
		return err;
	text[n] = '\0';
	/* The name in field 2 may hold anything, but no ')' comes after it. */
	p = strrchr(text, ')');
	if (p == NULL || sscanf(p, ") %c %d %*s %*s %*s %*s %*s %llu %*s %*s %*s %*s %*s %*s %*s %*s %*s %llu %*s %llu",
				&s->state, &s->parent, &faults, &threads, &start) != 5)
		return -EINVAL;
	s->faults = faults;
	s->threads = threads;
	s->start = start;
	return 0;
}

bool procstat_is_stopped(int32_t pid)
{
	struct procstat s;

	return procstat_read(pid, &s) == 0 && procstat_stopped(&s);
}
