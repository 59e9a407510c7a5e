/*
 * Which limits hold for this process?
 *
 * /proc/self/cgroup names the group inside its hierarchy; /proc/self/mountinfo
 * says where that hierarchy is mounted and which part of it. A limit of any
 * ancestor holds too, so the walk goes from the own group up to the mount
 * point and keeps the smallest:
 *
 *     mountinfo  … /docker/ab /sys/fs/cgroup/memory … - cgroup cgroup rw,memory
 *                  └ root      └ mount point
 *     cgroup     4:memory:/docker/ab/job
 *                           └ path; below root: /job
 *     walk       /sys/fs/cgroup/memory/job, /sys/fs/cgroup/memory
 *
 * In a container the path may lie outside of what is mounted ("/", "/../x", or
 * the host's name for it). Then the mount point itself is the container's group.
 * Ancestors above the mount point cannot be seen; version 1 tells their limit
 * all the same (hierarchical_memory_limit in memory.stat), version 2 does not.
 *
 * Version 2 has two limits that matter: memory.max kills, memory.high stalls.
 * A run above memory.high would be throttled to a crawl, so both count.
 *
 * Source: Documentation/admin-guide/cgroup-v1/memory.rst, cgroup-v2.rst,
 * proc(5), cgroup_namespaces(7).
 */
#include "cli/cgroup.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PATH_SIZE 4096
#define UNREAD UINT64_MAX

/* Version 1 writes "unlimited" as the largest multiple of a page below 2^63. */
#define V1_UNLIMITED ((uint64_t)1 << 62)

struct hierarchy {
	const char *controller; /* whose it is, if it is of version 1 */
	bool member;           /* /proc/self/cgroup names it */
	bool mounted;
	bool inside;           /* the path lies below the mounted root */
	char path[PATH_SIZE];  /* own group as /proc/self/cgroup has it */
	char mount[PATH_SIZE]; /* mount point */
	char below[PATH_SIZE]; /* own group below the mount point: "" or "/…" */
};

static void copy(char *dst, const char *src)
{
	size_t n = strnlen(src, PATH_SIZE - 1);

	memcpy(dst, src, n);
	dst[n] = '\0';
}

/* Has the comma-separated list the word? */
static bool list_has(const char *list, const char *word)
{
	size_t n = strlen(word);

	for (const char *p = list; p != NULL; p = strchr(p, ',')) {
		if (*p == ',')
			p++;
		if (strncmp(p, word, n) == 0 && (p[n] == ',' || p[n] == '\0'))
			return true;
	}
	return false;
}

/* mountinfo writes blank, tab, newline and backslash as \ooo. In place. */
static void unescape(char *s)
{
	char *out = s;

	for (; *s != '\0'; s++) {
		if (s[0] == '\\' && s[1] >= '0' && s[1] <= '3' && s[2] >= '0' && s[2] <= '7' &&
		    s[3] >= '0' && s[3] <= '7') {
			*out++ = (char)((s[1] - '0') * 64 + (s[2] - '0') * 8 + (s[3] - '0'));
			s += 3;
		} else {
			*out++ = *s;
		}
	}
	*out = '\0';
}

/* "4:memory:/path" and "0::/path". */
static void parse_membership(char *line, struct hierarchy *v1, struct hierarchy *v2)
{
	char *controllers = strchr(line, ':');
	char *path = controllers != NULL ? strchr(controllers + 1, ':') : NULL;

	if (path == NULL || path[1] != '/')
		return;
	*path++ = '\0';
	controllers++;

	struct hierarchy *h = NULL;
	if (list_has(controllers, v1->controller))
		h = v1;
	else if (*controllers == '\0' && strncmp(line, "0:", 2) == 0)
		h = v2;
	if (h == NULL || h->member)
		return;
	h->member = true;
	copy(h->path, path);
}

/* What is left of path below root, or NULL if it lies outside. */
static const char *path_below(const char *path, const char *root)
{
	size_t n = strcmp(root, "/") == 0 ? 0 : strlen(root);

	if (strstr(path, "/..") != NULL || strncmp(path, root, n) != 0)
		return NULL;
	if (path[n] != '/' && path[n] != '\0')
		return NULL;
	return strcmp(path + n, "/") == 0 ? "" : path + n;
}

static void add_mount(struct hierarchy *h, const char *root, const char *mount)
{
	const char *below = path_below(h->path, root);

	/* Of several mounts the first that shows the own group is taken. */
	if (!h->member || h->inside || (h->mounted && below == NULL))
		return;
	h->mounted = true;
	h->inside = below != NULL;
	copy(h->mount, mount);
	copy(h->below, below != NULL ? below : "");
}

/* "35 31 0:32 ROOT MOUNT OPTIONS [optional…] - FSTYPE SOURCE SUPER_OPTIONS" */
static void parse_mount(char *line, struct hierarchy *v1, struct hierarchy *v2)
{
	char *dash = strstr(line, " - ");
	char *field[5], *save = NULL;
	char *type, *super;

	if (dash == NULL)
		return;
	*dash = '\0';
	for (unsigned i = 0; i < ARRAY_SIZE(field); i++) {
		field[i] = strtok_r(i == 0 ? line : NULL, " ", &save);
		if (field[i] == NULL)
			return;
	}
	type = strtok_r(dash + 3, " ", &save);
	if (type == NULL || strtok_r(NULL, " ", &save) == NULL)
		return;
	super = strtok_r(NULL, " ", &save);
	unescape(field[3]);
	unescape(field[4]);
	if (strcmp(type, "cgroup2") == 0)
		add_mount(v2, field[3], field[4]);
	else if (strcmp(type, "cgroup") == 0 && super != NULL && list_has(super, v1->controller))
		add_mount(v1, field[3], field[4]);
}

static int each_line(const char *root, const char *name, struct hierarchy *v1, struct hierarchy *v2,
		     void (*parse)(char *, struct hierarchy *, struct hierarchy *))
{
	char path[PATH_SIZE], *line = NULL;
	size_t size = 0;
	FILE *f;

	snprintf(path, sizeof(path), "%s%s", root, name);
	f = fopen(path, "re");
	if (f == NULL)
		return -errno;
	while (getline(&line, &size, f) > 0) {
		line[strcspn(line, "\n")] = '\0';
		parse(line, v1, v2);
	}
	free(line);
	fclose(f);
	return 0;
}

/* What stands after key in a line of "key number"; all of it without a key. NULL: it is another line. */
static const char *after_key(const char *line, const char *key)
{
	size_t n = key != NULL ? strlen(key) : 0;

	if (key == NULL)
		return line;
	return strncmp(line, key, n) == 0 && line[n] == ' ' ? line + n + 1 : NULL;
}

static bool parse_number(const char *p, uint64_t *value)
{
	char *end;

	errno = 0;
	*value = strtoull(p, &end, 10);
	return *p >= '0' && *p <= '9' && errno == 0 && (*end == '\n' || *end == '\0');
}

/* The numbers after n keys in a file of "key number" lines, in one reading. False: one is missing. */
static bool read_numbers(const char *path, const char *const *key, unsigned n, uint64_t *value)
{
	char line[256];
	unsigned found = 0;
	FILE *f = fopen(path, "re");

	if (f == NULL)
		return false;
	while (found < n && fgets(line, sizeof(line), f) != NULL)
		for (unsigned i = 0; i < n; i++) {
			const char *p = after_key(line, key[i]);

			found += p != NULL && parse_number(p, &value[i]);
		}
	fclose(f);
	return found == n;
}

/* The same for one key; NULL: a file with one number. */
static bool read_number(const char *path, const char *key, uint64_t *value)
{
	return read_numbers(path, &key, 1, value);
}

/* One directory of the walk: the longest name below it still fits. */
struct level {
	char dir[3 * PATH_SIZE];
	size_t len;
};

static const char *level_file(struct level *l, const char *name)
{
	snprintf(l->dir + l->len, sizeof(l->dir) - l->len, "/%s", name);
	return l->dir;
}

/* Takes the limit in a file of this level if it is the tightest so far. */
static void take_limit(struct cgroup_memory *out, struct level *l, size_t root_len, const char *name,
		       const char *key, const char *usage)
{
	uint64_t limit;

	if (!read_number(level_file(l, name), key, &limit) || limit >= V1_UNLIMITED || limit >= out->limit)
		return;
	out->limit = limit;
	snprintf(out->file, sizeof(out->file), "%s", l->dir + root_len);
	if (!read_number(level_file(l, usage), NULL, &out->usage))
		out->usage = 0;
}

static void read_level_v1(struct cgroup_memory *out, struct level *l, size_t root_len)
{
	uint64_t memory, both;

	take_limit(out, l, root_len, "memory.limit_in_bytes", NULL, "memory.usage_in_bytes");
	/* Only tighter than all files seen if an invisible ancestor sets it. */
	take_limit(out, l, root_len, "memory.stat", "hierarchical_memory_limit", "memory.usage_in_bytes");
	/* memsw limits memory and swap together. */
	if (read_number(level_file(l, "memory.memsw.limit_in_bytes"), NULL, &both) && both < V1_UNLIMITED &&
	    read_number(level_file(l, "memory.limit_in_bytes"), NULL, &memory))
		out->swap_limit = MIN(out->swap_limit, both - MIN(both, memory));
}

static void read_level_v2(struct cgroup_memory *out, struct level *l, size_t root_len)
{
	uint64_t swap;

	take_limit(out, l, root_len, "memory.max", NULL, "memory.current");
	take_limit(out, l, root_len, "memory.high", NULL, "memory.current");
	if (read_number(level_file(l, "memory.swap.max"), NULL, &swap))
		out->swap_limit = MIN(out->swap_limit, swap);
}

static void read_memory(void *ctx, struct level *l, size_t root_len, int version)
{
	struct cgroup_memory *out = ctx;

	/* Of the own group, if no limit is found. */
	if (out->usage == UNREAD && !read_number(level_file(l, version == 1 ? "memory.usage_in_bytes" : "memory.current"), NULL, &out->usage))
		out->usage = 0;
	if (version == 1)
		read_level_v1(out, l, root_len);
	else
		read_level_v2(out, l, root_len);
}

static void read_quota(void *ctx, struct level *l, size_t root_len, int version)
{
	bool *quota = ctx;
	long long us;
	FILE *f = fopen(level_file(l, version == 1 ? "cpu.cfs_quota_us" : "cpu.max"), "re");

	(void)root_len;
	if (f == NULL)
		return;
	/* "-1", "max 100000": none. */
	*quota |= fscanf(f, "%lld", &us) == 1 && us > 0;
	fclose(f);
}

/* From the own group up to the mount point. */
static void walk(const char *root, const struct hierarchy *h, int version,
		 void (*read)(void *ctx, struct level *l, size_t root_len, int version), void *ctx)
{
	size_t root_len = strlen(root), top = root_len + strlen(h->mount);
	struct level l;

	snprintf(l.dir, sizeof(l.dir), "%s%s%s", root, h->mount, h->below);
	l.len = strlen(l.dir);
	for (;;) {
		read(ctx, &l, root_len, version);
		if (l.len <= top)
			break;
		do {
			l.len--;
		} while (l.len > top && l.dir[l.len] != '/');
	}
}

/* The hierarchy that has the controller. Returns its version, 0: there is none to be seen, or -errno. */
static int find(const char *root, const char *controller, const struct hierarchy **h)
{
	/* Static: some 24 KiB that a launcher's stack need not keep. */
	static struct hierarchy v1, v2;
	int err;

	v1.controller = controller;
	v1.member = v1.mounted = v1.inside = false;
	v2.member = v2.mounted = v2.inside = false;
	err = each_line(root, "/proc/self/cgroup", &v1, &v2, parse_membership);
	if (err != 0)
		return err;
	err = each_line(root, "/proc/self/mountinfo", &v1, &v2, parse_mount);
	if (err != 0)
		return err;
	/* A controller lives in one hierarchy: in a mix of both, version 1 has it. */
	*h = v1.mounted ? &v1 : &v2;
	return v1.mounted ? 1 : v2.mounted ? 2 : 0;
}

int cgroup_memory_read(const char *root, struct cgroup_memory *out)
{
	const struct hierarchy *h;
	int version = find(root, "memory", &h);

	*out = (struct cgroup_memory){ .version = MAX(version, 0), .limit = CGROUP_NO_LIMIT, .usage = UNREAD, .swap_limit = CGROUP_NO_LIMIT };
	if (version > 0)
		walk(root, h, version, read_memory, out);
	if (out->usage == UNREAD)
		out->usage = 0;
	return MIN(version, 0);
}

bool cgroup_cpu_quota(const char *root)
{
	const struct hierarchy *h;
	bool quota = false;
	int version = find(root, "cpu", &h);

	if (version > 0)
		walk(root, h, version, read_quota, &quota);
	return quota;
}

/* The numbers after n keys in a file of the group that sets the limit. */
static bool read_beside(const char *root, const struct cgroup_memory *group, const char *name, const char *const *key, unsigned n,
			uint64_t *value)
{
	char path[sizeof(group->file) + PATH_SIZE];
	const char *slash = strrchr(group->file, '/');

	if (slash == NULL)
		return false;
	snprintf(path, sizeof(path), "%s%.*s/%s", root, (int)(slash - group->file), group->file, name);
	return read_numbers(path, key, n, value);
}

bool cgroup_file_refaults(const char *root, const struct cgroup_memory *group, uint64_t *pages)
{
	const char *key = group->version == 1 ? "total_workingset_refault_file" : "workingset_refault_file";

	return read_beside(root, group, "memory.stat", &key, 1, pages);
}

bool cgroup_kept(const char *root, const struct cgroup_memory *group, uint64_t *bytes)
{
	static const char *const v1[] = { "total_rss", "total_shmem" }, *const v2[] = { "anon", "shmem" };
	uint64_t value[2];

	if (!read_beside(root, group, "memory.stat", group->version == 1 ? v1 : v2, 2, value))
		return false;
	*bytes = value[0] + value[1];
	return true;
}

uint64_t cgroup_oom_kills(const char *root, const struct cgroup_memory *group)
{
	const char *key = "oom_kill";
	uint64_t kills;

	return read_beside(root, group, group->version == 1 ? "memory.oom_control" : "memory.events", &key, 1, &kills) ? kills : 0;
}
