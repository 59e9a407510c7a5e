#include "cli/maps.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim/trace.h"

bool maps_parse(char *line, struct maps_line *m)
{
	unsigned long long start, end, offset, ino;
	int path = 0;

	if (sscanf(line, "%llx-%llx %4s %llx %x:%x %llu %n", &start, &end, m->rights, &offset, &m->major, &m->minor, &ino,
		   &path) != 7 || path == 0 || start >= end)
		return false;
	m->start = start;
	m->end = end;
	m->offset = offset;
	m->ino = ino;
	m->flags = (uint8_t)((m->rights[0] == 'r' ? TRACE_R : 0) | (m->rights[1] == 'w' ? TRACE_W : 0) |
			     (m->rights[2] == 'x' ? TRACE_X : 0) | (m->rights[3] == 's' ? TRACE_MAP_SHARED : 0));
	line[strcspn(line, "\n")] = '\0';
	m->path = line + path;
	return true;
}

int maps_each(int32_t pid, bool (*each)(void *ctx, const struct maps_line *m), void *ctx)
{
	char name[32], *line = NULL;
	size_t room = 0;
	FILE *f;

	snprintf(name, sizeof(name), "/proc/%d/maps", pid);
	f = fopen(name, "re");
	if (f == NULL)
		return -errno;
	while (getline(&line, &room, f) > 0) {
		struct maps_line m;

		if (maps_parse(line, &m) && !each(ctx, &m))
			break;
	}
	free(line);
	fclose(f);
	return 0;
}
