/*
 * What a program that runs under valgrind has mapped.
 *
 *   0 ──── program, ld.so, libraries, brk, mmap ── 0x58000000 valgrind ── 64 GiB ──── valgrind ──── stack ───
 *
 * The first mappings are made by valgrind itself, before the program's first instruction, and no system call
 * tells of them. They are read from /proc/PID/maps when the image says its first line; valgrind cannot have gone
 * far by then, because what it writes waits in a small buffer until we have read it (exact.c). Below 64 GiB everything
 * is the program's but the file of the tool and the anonymous memory that follows it. Above, only the stack
 * is: it is the area that the first data access of an image goes to, whatever the loader.
 *
 * From then on the system calls tell (syscalls.c). Four things remain:
 *   - The stack grows: touches up to 8 MiB below it belong to it.
 *   - Valgrind makes a heap of one page ahead of the program, writable and executable as no other. It is
 *     hidden until the program moves its break.
 *   - An area appears of which nothing was understood (shmat): it is looked up when it is touched.
 *   - A piece of valgrind is loaded into the program by LD_PRELOAD (vgpreload_core). It is hidden, and so is what the
 *     program executes inside of the tool itself (replacements of vsyscalls, returns from signals).
 *
 * Areas that are hidden are in the books and in no event.
 */
#include "cli/record/valgrind.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define VALGRIND_FDS 12 /* descriptors that valgrind takes, above the soft limit or from the top of the hard one */
#define VALGRIND_START (0x1000000000 >> PAGE_SHIFT)
#define STACK_PAGES (8 * MIB >> PAGE_SHIFT)
/*
 * Own time is not to be had under valgrind, so it is counted: 0.3 ns an instruction, what programs that live in caches
 * take on a machine of 3 GHz. A trace needs it as a scale for what faults cost, not as a clock.
 */
#define INSTRUCTION_PS 300
#define INSTRUCTIONS_A_TICK (1 << 18)

static void check(struct recording *r, int err)
{
	if (r->err == 0)
		r->err = err;
}

static bool begins_with(const char *path, const char *directory, const char *name)
{
	const char *base = strrchr(path, '/');

	return base != NULL && strstr(path, directory) != NULL && strncmp(base + 1, name, strlen(name)) == 0;
}

bool valgrind_hides(const char *path)
{
	return begins_with(path, "/valgrind/", "vgpreload_");
}

static bool is_tool(const char *path)
{
	return begins_with(path, "/valgrind/", "lackey-");
}

static struct area map_area(struct recording *r, const struct maps_line *m)
{
	return tracee_area(r, m, is_tool(m->path) || valgrind_hides(m->path));
}

struct image {
	struct recording *r;
	struct tracee *t;
	uint64_t tool_end; /* page after what was taken for the tool's so far */
};

static bool map_image(void *ctx, const struct maps_line *m)
{
	struct image *i = ctx;
	uint64_t start = m->start >> PAGE_SHIFT;

	if (start >= VALGRIND_START)
		return false;
	if (m->path[0] == '[')
		return true;
	struct area a = map_area(i->r, m);

	if (a.hidden || (m->path[0] == '\0' && start == i->tool_end)) {
		a.hidden = true;
		i->tool_end = a.end;
	}
	/* The heap's first page. */
	if (m->path[0] == '\0' && a.end - a.start == 1 && a.flags == (TRACE_R | TRACE_W | TRACE_X))
		a.hidden = true;
	tracee_map(i->r, i->t, &a);
	return true;
}

/* Where in its file the open file behind a descriptor stands; bytes. */
static uint64_t position(int32_t pid, int fd)
{
	unsigned long long pos = 0;
	char name[64];
	FILE *f;

	snprintf(name, sizeof(name), "/proc/%d/fdinfo/%d", pid, fd);
	f = fopen(name, "re");
	if (f == NULL)
		return 0;
	if (fscanf(f, "pos: %llu", &pos) != 1)
		pos = 0;
	fclose(f);
	return pos;
}

static void inherit_one(struct recording *r, struct tracee *t, int fd)
{
	struct open_file of = { .pos = position(t->pid, fd) };
	char name[64], path[4096];
	struct stat st;
	ssize_t n;

	snprintf(name, sizeof(name), "/proc/%d/fd/%d", t->pid, fd);
	n = readlink(name, path, sizeof(path) - 1);
	if (n < 0 || stat(name, &st) != 0)
		return;
	path[n] = '\0';
	of.file = recording_file(r, &st, path);
	if (of.file != 0)
		check(r, fdtable_open(&t->fds, fd, &of, false));
}

void valgrind_start(struct recording *r, struct tracee *t)
{
	struct rlimit limit = { .rlim_cur = 0 };
	struct dirent *e;
	char name[64];
	DIR *d;

	snprintf(name, sizeof(name), "/proc/%d/fd", t->pid);
	d = t->pid != 0 ? opendir(name) : NULL;
	getrlimit(RLIMIT_NOFILE, &limit);
	while (d != NULL && (e = readdir(d)) != NULL) {
		unsigned fd = (unsigned)atoi(e->d_name);

		if (e->d_name[0] != '.' && fd < limit.rlim_cur && fd < limit.rlim_max - VALGRIND_FDS)
			inherit_one(r, t, (int)fd);
	}
	if (d != NULL)
		closedir(d);
}

void valgrind_image(struct recording *r, struct tracee *t)
{
	struct image image = { r, t, 0 };

	if (t->pid != 0)
		maps_each(t->pid, map_image, &image);
}

struct search {
	uint64_t vpn;
	struct recording *r;
	struct area found;
};

static bool search_map(void *ctx, const struct maps_line *m)
{
	struct search *s = ctx;

	if (m->end >> PAGE_SHIFT <= s->vpn)
		return true;
	if (m->start >> PAGE_SHIFT <= s->vpn)
		s->found = map_area(s->r, m);
	return false;
}

/* No more of *a than what no area has yet; vpn is in it. */
static void clip(const struct areas *s, struct area *a, uint64_t vpn)
{
	size_t i = areas_from(s, vpn);
	uint64_t start = a->start;

	if (i > 0 && s->area[i - 1].end > start)
		start = s->area[i - 1].end;
	if (i < s->nr && s->area[i].start < a->end)
		a->end = s->area[i].start;
	a->pgoff += a->file != 0 ? start - a->start : 0;
	a->start = start;
}

const struct area *valgrind_discover(struct recording *r, struct tracee *t, uint64_t vpn)
{
	struct search s = { .vpn = vpn, .r = r };

	if (areas_find(&t->areas, vpn) == NULL && t->pid != 0)
		maps_each(t->pid, search_map, &s);
	if (s.found.end == 0)
		return areas_find(&t->areas, vpn);
	clip(&t->areas, &s.found, vpn);
	/* What the program has up there it has asked for, but for its stack. */
	if (t->fresh)
		s.found.flags |= TRACE_MAP_STACK;
	else if (s.found.start >= VALGRIND_START)
		s.found.hidden = true;
	tracee_map(r, t, &s.found);
	return areas_find(&t->areas, vpn);
}

static const struct area *grow_stack(struct recording *r, struct tracee *t, uint64_t vpn)
{
	size_t i = areas_from(&t->areas, vpn);
	const struct area *above = i < t->areas.nr ? &t->areas.area[i] : NULL;
	struct area more;

	if (above == NULL || !(above->flags & TRACE_MAP_STACK) || above->start - vpn > STACK_PAGES)
		return NULL;
	more = (struct area){ .start = vpn, .end = above->start, .flags = above->flags };
	tracee_map(r, t, &more);
	return areas_find(&t->areas, vpn);
}

/* The area of a page that is touched: there is one, or it is made. NULL: not without memory. */
static const struct area *locate(struct recording *r, struct tracee *t, uint64_t vpn)
{
	const struct area *a = areas_find(&t->areas, vpn);

	if (a == NULL)
		a = grow_stack(r, t, vpn);
	if (a == NULL)
		a = valgrind_discover(r, t, vpn);
	if (a == NULL) {
		struct area page = { .start = vpn, .end = vpn + 1, .flags = TRACE_R | TRACE_W,
				     .hidden = vpn >= VALGRIND_START && !t->fresh };

		if (t->fresh)
			page.flags |= TRACE_MAP_STACK;
		tracee_map(r, t, &page);
		a = areas_find(&t->areas, vpn);
	}
	return a;
}

static void touch(struct recording *r, struct tracee *t, uint16_t thread, uint8_t flags, uint64_t vpn)
{
	struct trace_event e = { .op = TRACE_ACCESS, .flags = flags, .thread = thread, .task = t->task, .vpn = vpn, .n = 1 };
	unsigned kind = flags == TRACE_X ? 0 : flags;

	if (vpn < t->last[kind].start || vpn >= t->last[kind].end) {
		const struct area *a = locate(r, t, vpn);

		if (flags != TRACE_X)
			t->fresh = false;
		if (a == NULL || a->hidden)
			return;
		t->last[kind].start = a->start;
		t->last[kind].end = a->end;
	}
	recording_emit(r, &e);
}

void valgrind_touch(struct recording *r, struct tracee *t, uint16_t thread, uint8_t flags, uint64_t addr,
		    uint64_t size)
{
	uint64_t last;

	if (size == 0 || __builtin_add_overflow(addr, size - 1, &last))
		return;
	for (uint64_t vpn = addr >> PAGE_SHIFT; vpn <= last >> PAGE_SHIFT; vpn++)
		touch(r, t, thread, flags, vpn);
}

void valgrind_time(struct recording *r, struct tracee *t)
{
	tracee_time(r, t, t->instructions * INSTRUCTION_PS / 1000);
	t->instructions = 0;
}

void valgrind_instruction(struct recording *r, struct tracee *t)
{
	if (++t->instructions == INSTRUCTIONS_A_TICK)
		valgrind_time(r, t);
}
