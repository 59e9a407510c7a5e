#include "live/proc.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include "base/fmt.h"
#include "base/sys.h"
#include "live/lock.h"

#define FDS_BEYOND 32

static uint64_t parse_hex(const char **p)
{
	uint64_t v = 0;

	for (;; (*p)++) {
		char c = **p;

		if (c >= '0' && c <= '9')
			v = v * 16 + (uint64_t)(c - '0');
		else if (c >= 'a' && c <= 'f')
			v = v * 16 + (uint64_t)(c - 'a' + 10);
		else
			return v;
	}
}

static uint64_t parse_dec(const char **p)
{
	uint64_t v = 0;

	for (; **p >= '0' && **p <= '9'; (*p)++)
		v = v * 10 + (uint64_t)(**p - '0');
	return v;
}

/* 7f00-7f01 rw-p 00000000 00:00 0   name */
static void parse_area(const char *p, struct proc_area *a)
{
	size_t n = 0;

	a->start = parse_hex(&p);
	p++;
	a->end = parse_hex(&p);
	p++;
	a->read = p[0] == 'r';
	a->write = p[1] == 'w';
	a->exec = p[2] == 'x';
	a->shared = p[3] == 's';
	p += 5;
	parse_hex(&p); /* offset */
	p++;
	uint64_t device = parse_hex(&p);
	p++;
	device |= parse_hex(&p);
	p++;
	a->inode = parse_dec(&p);
	a->file = a->inode != 0 || device != 0;
	while (*p == ' ')
		p++;
	for (; *p != '\0' && n + 1 < sizeof(a->name); p++)
		a->name[n++] = *p;
	a->name[n] = '\0';
}

int proc_set_dumpable(int dumpable)
{
	int was = (int)sys_call3(SYS_prctl, PR_GET_DUMPABLE, 0, 0);

	/* 2 (the dump is root's) can only be had from the kernel; 0 is as safe. */
	if (was != dumpable)
		sys_call3(SYS_prctl, PR_SET_DUMPABLE, dumpable == 2 ? 0 : dumpable, 0);
	return was;
}

static long prlimit_nofile(const struct rlimit *set, struct rlimit *was)
{
	return sys_call6(SYS_prlimit64, 0, RLIMIT_NOFILE, (long)set, (long)was, 0, 0);
}

static struct engine_lock limit_lock;
static struct rlimit limit_was;
static unsigned limit_raised;

void proc_raise_limit(void)
{
	engine_lock_take(&limit_lock);
	if (limit_raised++ == 0 && prlimit_nofile(NULL, &limit_was) == 0) {
		uint64_t want = MIN(limit_was.rlim_cur, (uint64_t)INT32_MAX) + FDS_BEYOND;
		struct rlimit more = { want, MAX(limit_was.rlim_max, want) }, most = { MIN(want, limit_was.rlim_max), limit_was.rlim_max };

		if (prlimit_nofile(&more, NULL) != 0)
			prlimit_nofile(&most, NULL);
	}
	engine_lock_drop(&limit_lock);
}

void proc_restore_limit(void)
{
	engine_lock_take(&limit_lock);
	if (--limit_raised == 0)
		prlimit_nofile(&limit_was, NULL);
	engine_lock_drop(&limit_lock);
}

int proc_open(const char *path)
{
	int fd = sys_open(path, O_RDONLY | O_CLOEXEC, 0);

	if (fd == -EMFILE) {
		proc_raise_limit();
		fd = sys_open(path, O_RDONLY | O_CLOEXEC, 0);
		proc_restore_limit();
	}
	if (fd != -EACCES)
		return fd;
	int was = proc_set_dumpable(1);

	fd = sys_open(path, O_RDONLY | O_CLOEXEC, 0);
	proc_set_dumpable(was);
	return fd;
}

int proc_maps(bool (*see)(void *ctx, const struct proc_area *area), void *ctx)
{
	/* Longest line: 73 columns and a path of PATH_MAX. Not more: program threads come here on stacks of their own making. */
	char buf[4608];
	size_t have = 0;
	int fd = proc_open("/proc/thread-self/maps");

	if (fd < 0)
		return fd;
	for (bool more = true; more;) {
		ssize_t n = sys_read(fd, buf + have, sizeof(buf) - 1 - have);

		if (n < 0) {
			sys_close(fd);
			return (int)n;
		}
		if (n == 0)
			break;
		have += (size_t)n;
		buf[have] = '\0';
		char *line = buf, *eol;

		while (more && (eol = memchr(line, '\n', have - (size_t)(line - buf))) != NULL) {
			struct proc_area a;

			*eol = '\0';
			parse_area(line, &a);
			more = see(ctx, &a);
			line = eol + 1;
		}
		have -= (size_t)(line - buf);
		memmove(buf, line, have);
	}
	sys_close(fd);
	return 0;
}

/* Reads a small file whole; returns its length (NUL added) or -errno. */
static ssize_t read_small(const char *path, char *buf, size_t size)
{
	int fd = proc_open(path);

	if (fd < 0)
		return fd;
	ssize_t n = sys_read(fd, buf, size - 1);
	sys_close(fd);
	if (n >= 0)
		buf[n] = '\0';
	return n;
}

static uint64_t kib_after(const char *text, size_t len, const char *name)
{
	const char *p = memmem(text, len, name, strlen(name));

	if (p == NULL)
		return 0;
	for (p += strlen(name); *p == ' ' || *p == '\t'; p++)
		;
	return parse_dec(&p);
}

static void read_status(struct proc_memory *out)
{
	char buf[4096];
	ssize_t n = read_small("/proc/thread-self/status", buf, sizeof(buf));
	size_t len = n > 0 ? (size_t)n : 0;

	/* The two files are of two moments. */
	out->shmem = MIN(kib_after(buf, len, "RssShmem:") / (PAGE_SIZE / KIB), out->shared);
	out->tables = DIV_ROUND_UP(kib_after(buf, len, "VmPTE:"), PAGE_SIZE / KIB);
}

int proc_memory(struct proc_memory *out, bool in_detail)
{
	char buf[128];
	ssize_t n = read_small("/proc/thread-self/statm", buf, sizeof(buf));

	if (n < 0)
		return (int)n;
	const char *p = buf;
	out->size = parse_dec(&p);
	p++;
	out->resident = parse_dec(&p);
	p++;
	out->shared = parse_dec(&p);
	for (unsigned skipped = 0; skipped < 3; skipped++, p++) /* the space, code, libraries */
		parse_dec(&p);
	out->data = parse_dec(&p);
	out->shmem = out->tables = 0;
	if (in_detail)
		read_status(out);
	return 0;
}

uint64_t proc_shared_part(void)
{
	char buf[2048];
	ssize_t n = read_small("/proc/thread-self/smaps_rollup", buf, sizeof(buf));

	if (n <= 0 || memmem(buf, (size_t)n, "Pss_File:", 9) == NULL)
		return UINT64_MAX;
	return DIV_ROUND_UP(kib_after(buf, (size_t)n, "Pss_File:") + kib_after(buf, (size_t)n, "Pss_Shmem:"), PAGE_SIZE / KIB);
}

#define PAGEMAP_PRESENT ((uint64_t)1 << 63)
#define PAGEMAP_FILE ((uint64_t)1 << 61)
#define PAGEMAP_SWAPPED ((uint64_t)1 << 62)

bool proc_absent(int fd, uint64_t address)
{
	uint64_t entry;
	ssize_t n = sys_pread(fd, &entry, sizeof(entry), (address >> PAGE_SHIFT) * sizeof(entry));

	return n == (ssize_t)sizeof(entry) && (entry & (PAGEMAP_PRESENT | PAGEMAP_SWAPPED)) == 0;
}

#define ENTRIES 128

/* The entries of the pages from at on, ENTRIES at most and none of end or beyond. Returns how many, or -errno. */
static int read_entries(int fd, uint64_t at, uint64_t end, uint64_t entry[ENTRIES])
{
	size_t want = MIN((end - at) >> PAGE_SHIFT, (uint64_t)ENTRIES);
	ssize_t n = sys_pread(fd, entry, want * sizeof(entry[0]), (at >> PAGE_SHIFT) * sizeof(entry[0]));

	if (n < (ssize_t)sizeof(entry[0]))
		return n < 0 ? (int)n : -EIO;
	return (int)((size_t)n / sizeof(entry[0]));
}

/* ioctl_pagemap_scan(2), Linux 6.7; our headers are older. */
struct pagemap_region {
	uint64_t start, end, categories;
};

struct pagemap_scan {
	uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages;
	uint64_t category_inverted, category_mask, category_anyof_mask, return_mask;
};

#define PAGEMAP_SCAN _IOWR('f', 16, struct pagemap_scan)
#define PAGE_IS_PRESENT ((uint64_t)1 << 3)

/*
 * Runs of present pages of [*at, end), from *at on, REGIONS at most; *at: where to go on. Returns how many, or -errno. Where nothing is
 * mapped it takes a step a table, not a page: what a program only reserves is seen at once.
 */
#define REGIONS 64

static int scan_present(int fd, uint64_t *at, uint64_t end, struct pagemap_region region[REGIONS])
{
	struct pagemap_scan scan = {
		.size = sizeof(scan), .start = *at, .end = end, .vec = (uint64_t)(uintptr_t)region, .vec_len = REGIONS,
		.category_mask = PAGE_IS_PRESENT, .return_mask = PAGE_IS_PRESENT,
	};
	long n = sys_ioctl(fd, PAGEMAP_SCAN, &scan);

	if (n >= 0)
		*at = scan.walk_end;
	return (int)n;
}

static int read_present(int fd, uint64_t *at, uint64_t end, struct pagemap_region region[REGIONS])
{
	uint64_t entry[ENTRIES];
	int got = read_entries(fd, *at, MIN(end, *at + ((uint64_t)REGIONS << PAGE_SHIFT)), entry), n = 0;

	for (int i = 0; i < got; i++)
		if (entry[i] & PAGEMAP_PRESENT)
			region[n++] = (struct pagemap_region){ *at + ((uint64_t)i << PAGE_SHIFT), *at + ((uint64_t)(i + 1) << PAGE_SHIFT), 0 };
	if (got < 0)
		return got;
	*at += (uint64_t)got << PAGE_SHIFT;
	return n;
}

/* Calls see() for the runs of present pages in [start, end), ascending. 0 or -errno. */
static int present(int fd, uint64_t start, uint64_t end, void (*see)(void *ctx, uint64_t start, uint64_t end), void *ctx)
{
	static _Atomic bool old_kernel;
	struct pagemap_region region[REGIONS];
	uint64_t at = start;

	while (at < end) {
		int n = atomic_load(&old_kernel) ? -ENOTTY : scan_present(fd, &at, end, region);

		if (n == -ENOTTY || n == -EINVAL) {
			atomic_store(&old_kernel, true);
			n = read_present(fd, &at, end, region);
		}
		if (n < 0)
			return n;
		for (int i = 0; i < n; i++)
			see(ctx, region[i].start, region[i].end);
	}
	return 0;
}

struct pages {
	void (*see)(void *ctx, uint64_t address);
	void *ctx;
};

static void see_pages(void *ctx, uint64_t start, uint64_t end)
{
	const struct pages *p = ctx;

	for (uint64_t at = start; at < end; at += PAGE_SIZE)
		p->see(p->ctx, at);
}

int proc_present(int fd, uint64_t start, uint64_t end, void (*see)(void *ctx, uint64_t address), void *ctx)
{
	return present(fd, start, end, see_pages, &(struct pages){ see, ctx });
}

bool proc_is_all_file(int fd, uint64_t start, uint64_t end)
{
	uint64_t entry[ENTRIES];
	int got;

	for (uint64_t at = start; at < end; at += (uint64_t)got << PAGE_SHIFT) {
		got = read_entries(fd, at, end, entry);
		if (got < 0)
			return false;
		for (int i = 0; i < got; i++)
			if ((entry[i] & PAGEMAP_SWAPPED) || ((entry[i] & PAGEMAP_PRESENT) && !(entry[i] & PAGEMAP_FILE)))
				return false;
	}
	return true;
}

static void count_run(void *ctx, uint64_t start, uint64_t end)
{
	*(uint64_t *)ctx += (end - start) >> PAGE_SHIFT;
}

uint64_t proc_count_present(int fd, uint64_t start, uint64_t end)
{
	uint64_t n = 0;

	return present(fd, start, end, count_run, &n) == 0 ? n : 0;
}

/* Field number of a stat file; the second one is in parentheses and may hold anything. */
static uint64_t stat_field(const char *path, unsigned field, bool *ok)
{
	char buf[1024];
	ssize_t n = read_small(path, buf, sizeof(buf));
	const char *p = NULL;

	*ok = false;
	for (ssize_t i = n - 1; i >= 0 && p == NULL; i--)
		if (buf[i] == ')')
			p = buf + i + 2;
	if (p == NULL)
		return 0;
	for (unsigned i = 3; i < field; i++) {
		while (*p != ' ' && *p != '\0')
			p++;
		if (*p == '\0')
			return 0;
		p++;
	}
	*ok = true;
	return parse_dec(&p);
}

int proc_thread_cpu(int tid)
{
	char path[64];
	struct fmt f;
	bool ok;

	fmt_init(&f, path, sizeof(path));
	fmt_str(&f, "/proc/self/task/");
	fmt_u64(&f, (uint64_t)tid);
	fmt_str(&f, "/stat");
	uint64_t cpu = stat_field(path, 39, &ok);

	return ok ? (int)cpu : -1;
}

uint64_t proc_start_time(void)
{
	bool ok;

	return stat_field("/proc/self/stat", 22, &ok);
}
