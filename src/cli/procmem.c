#include "cli/procmem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/page.h"
#include "cli/maps.h"

/* A small file of the process, whole, with a NUL behind it. 0 or -errno. */
static int read_file(int32_t pid, const char *name, char *text, size_t size)
{
	char path[48];
	ssize_t n;
	int fd, err;

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	n = read(fd, text, size - 1);
	err = n < 0 ? -errno : 0;
	close(fd);
	text[n > 0 ? n : 0] = '\0';
	return err;
}

int procmem_read(int32_t pid, struct procmem *m)
{
	unsigned long long size, resident, shared;
	char text[128];
	int err = read_file(pid, "statm", text, sizeof(text));

	*m = (struct procmem){ 0 };
	if (err != 0)
		return err;
	if (sscanf(text, "%llu %llu %llu", &size, &resident, &shared) != 3)
		return -EINVAL;
	*m = (struct procmem){ .resident = resident, .shared = MIN(resident, shared) };
	return 0;
}

/* Of a line "Name:   123 kB". */
static uint64_t kib_of(const char *text, const char *name)
{
	const char *p = strstr(text, name);

	return p != NULL ? strtoull(p + strlen(name), NULL, 10) : 0;
}

int procmem_read_part(int32_t pid, struct procmem_part *part)
{
	char text[2048];
	int err = read_file(pid, "smaps_rollup", text, sizeof(text));
	const uint64_t page_kib = PAGE_SIZE / KIB;

	*part = (struct procmem_part){ 0 };
	if (err != 0)
		return err;
	if (strstr(text, "\nPss_Anon:") == NULL)
		return -EINVAL;
	part->anon = DIV_ROUND_UP(kib_of(text, "\nPss_Anon:"), page_kib);
	part->anon_whole = kib_of(text, "\nAnonymous:") / page_kib;
	part->shared = DIV_ROUND_UP(kib_of(text, "\nPss_File:") + kib_of(text, "\nPss_Shmem:"), page_kib);
	return 0;
}

int procmem_read_untouched(int32_t pid, uint64_t largest, uint64_t *pages)
{
	char path[48], line[4096 + 128];
	uint64_t size = 0, sum = 0;
	struct maps_line l;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/smaps", pid);
	f = fopen(path, "re");
	*pages = 0;
	if (f == NULL)
		return -errno;
	while (fgets(line, sizeof(line), f) != NULL) {
		if (maps_parse(line, &l)) {
			size = l.rights[1] == 'w' && l.rights[3] == 'p' ? (l.end - l.start) >> PAGE_SHIFT : 0;
			size = size <= largest ? size : 0;
		} else if (strncmp(line, "Anonymous:", strlen("Anonymous:")) == 0) {
			uint64_t touched = strtoull(line + strlen("Anonymous:"), NULL, 10) / (PAGE_SIZE / KIB);

			sum += size - MIN(size, touched);
		}
	}
	fclose(f);
	*pages = sum;
	return 0;
}
