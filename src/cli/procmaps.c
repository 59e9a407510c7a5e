#include "cli/procmaps.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/maps.h"
#include "cli/msg.h"

#define USER_END ((uint64_t)1 << 63) /* above it is the kernel's half, of which [vsyscall] is shown in maps */
#define PAGEMAP_PRESENT ((uint64_t)1 << 63)
#define PAGEMAP_SWAPPED ((uint64_t)1 << 62)
#define PAGEMAP_BATCH 65536 /* pages looked at in one read */

int proc_map_refused(unsigned pid, int err)
{
	char name[32];

	snprintf(name, sizeof(name), "process %u", pid);
	if (err == ENOENT)
		return msg_fail(1, name, "there is none; check the number");
	if (err == ESRCH)
		return msg_fail(1, name, "it has no address space: a thread of the kernel, or ended; name another one");
	return msg_fail(1, name, "it may not be looked at (%s); try as its user, or with sudo", strerror(err));
}

static FILE *open_file(const struct proc_map *m, const char *name)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%u/%s", m->pid, name);
	return fopen(path, "re");
}

int proc_map_pid(const char *text, unsigned *pid)
{
	char *end;
	unsigned long n;

	errno = 0;
	n = strtoul(text, &end, 10);
	if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0 || n == 0 || n > 1u << 22)
		return msg_fail(EXIT_USAGE, text, "not a process number; write one as ps shows it");
	*pid = (unsigned)n;
	return 0;
}

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash != NULL && path[0] == '/' ? slash + 1 : path;
}

/* Names are anybody's: nothing of them may move the cursor. */
static void copy_name(char *to, size_t size, const char *from)
{
	size_t n = 0;

	for (; from[n] != '\0' && n + 1 < size; n++)
		to[n] = (unsigned char)from[n] < ' ' || from[n] == 0x7f ? '?' : from[n];
	to[n] = '\0';
}

static bool parse_area(char *line, const char *exe, struct proc_area *a)
{
	struct maps_line l;

	if (!maps_parse(line, &l))
		return false;
	a->start = l.start;
	a->end = l.end;
	a->rss = a->swap = 0;
	memcpy(a->rights, l.rights, sizeof(a->rights));
	a->is_exe = exe[0] != '\0' && strcmp(l.path, exe) == 0;
	copy_name(a->name, sizeof(a->name), base_name(l.path));
	return true;
}

static struct proc_area *add_area(struct proc_map *m)
{
	if ((m->nr & (m->nr - 1)) == 0) {
		struct proc_area *more = realloc(m->areas, (m->nr != 0 ? 2 * m->nr : 1) * sizeof(*more));

		if (more == NULL)
			return NULL;
		m->areas = more;
	}
	return &m->areas[m->nr];
}

/* 0 or -ENOMEM. */
static int parse_smaps(struct proc_map *m, FILE *f, const char *exe)
{
	char line[4096 + 128];
	bool keep = false;

	while (fgets(line, sizeof(line), f) != NULL) {
		unsigned long long kb;
		struct proc_area a;

		if (parse_area(line, exe, &a)) {
			struct proc_area *to = add_area(m);

			keep = a.end <= USER_END;
			if (to == NULL)
				return -ENOMEM;
			if (keep) {
				*to = a;
				m->nr++;
			}
		} else if (keep && sscanf(line, "Rss: %llu kB", &kb) == 1) {
			m->areas[m->nr - 1].rss = kb * 1024;
		} else if (keep && sscanf(line, "Swap: %llu kB", &kb) == 1) {
			m->areas[m->nr - 1].swap = kb * 1024;
		}
	}
	return ferror(f) ? -EIO : 0;
}

/* Name and size of page tables; what cannot be read stays empty. */
static void read_status(struct proc_map *m)
{
	FILE *f = open_file(m, "status");
	char line[256], name[128];
	unsigned long long kb;

	while (f != NULL && fgets(line, sizeof(line), f) != NULL) {
		if (sscanf(line, "Name: %127[^\n]", name) == 1)
			copy_name(m->command, sizeof(m->command), name);
		if (sscanf(line, "VmPTE: %llu kB", &kb) == 1)
			m->tables = kb * 1024;
	}
	if (f != NULL)
		fclose(f);
}

static void read_exe(const struct proc_map *m, char *exe, size_t size)
{
	char path[64];
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%u/exe", m->pid);
	n = readlink(path, exe, size - 1);
	exe[n > 0 ? n : 0] = '\0';
}

int proc_map_open(struct proc_map *m, unsigned pid)
{
	char exe[4096];
	FILE *f;
	int err;

	*m = (struct proc_map){ .pid = pid };
	f = open_file(m, "smaps");
	if (f == NULL)
		return -errno;
	read_exe(m, exe, sizeof(exe));
	read_status(m);
	err = parse_smaps(m, f, exe);
	fclose(f);
	if (err == 0 && m->nr == 0)
		err = -ESRCH;
	if (err != 0)
		proc_map_free(m);
	return err;
}

int proc_map_read(struct proc_map *m, const char *text)
{
	unsigned pid = 0;
	int err = proc_map_pid(text, &pid);

	if (err != 0)
		return err;
	err = proc_map_open(m, pid);
	return err == 0 ? 0 : proc_map_refused(pid, -err);
}

void proc_map_free(struct proc_map *m)
{
	free(m->areas);
	m->areas = NULL;
	m->nr = 0;
}

struct pages {
	uint64_t *vpns;
	size_t nr, room;
};

static int add_page(struct pages *p, uint64_t vpn)
{
	if (p->nr == p->room) {
		size_t room = p->room != 0 ? 2 * p->room : 4096;
		uint64_t *more = realloc(p->vpns, room * sizeof(*more));

		if (more == NULL)
			return -ENOMEM;
		p->vpns = more;
		p->room = room;
	}
	p->vpns[p->nr++] = vpn;
	return 0;
}

/* 0 or -errno. */
static int look_at_area(struct pages *p, int fd, const struct proc_area *a, uint64_t *entry)
{
	uint64_t vpn = a->start >> PAGE_SHIFT, end = a->end >> PAGE_SHIFT;

	while (vpn < end) {
		size_t n = MIN(end - vpn, PAGEMAP_BATCH);
		ssize_t got = pread(fd, entry, n * sizeof(*entry), (off_t)(vpn * sizeof(*entry)));

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return got < 0 ? -errno : 0;
		for (size_t i = 0; i < (size_t)got / sizeof(*entry); i++, vpn++) {
			if ((entry[i] & (PAGEMAP_PRESENT | PAGEMAP_SWAPPED)) != 0 && add_page(p, vpn) != 0)
				return -ENOMEM;
		}
	}
	return 0;
}

int proc_map_pages(const struct proc_map *m, uint64_t **vpns, size_t *nr)
{
	uint64_t *entry = malloc(PAGEMAP_BATCH * sizeof(*entry));
	struct pages p = { 0 };
	char path[64];
	int fd, err = 0;

	snprintf(path, sizeof(path), "/proc/%u/pagemap", m->pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || entry == NULL) {
		err = fd < 0 ? -errno : -ENOMEM;
		goto out;
	}
	/* An area with nothing in it may be terabytes: a sanitizer's shadow. */
	for (unsigned i = 0; i < m->nr && err == 0; i++) {
		if (m->areas[i].rss + m->areas[i].swap > 0)
			err = look_at_area(&p, fd, &m->areas[i], entry);
	}
out:
	if (fd >= 0)
		close(fd);
	free(entry);
	*vpns = p.vpns;
	*nr = p.nr;
	if (err == 0)
		return 0;
	free(p.vpns);
	return proc_map_refused(m->pid, -err);
}
