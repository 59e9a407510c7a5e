/* steward doctor: what this kernel, container and user allow. Looks at things as `steward run` would, changes nothing. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/size.h"
#include "base/uffd.h"
#include "cli/run/budget.h"
#include "cli/commands.h"
#include "cli/msg.h"
#include "cli/probe.h"
#include "cli/table.h"

const struct option_set doctor_options = {
	.command = "doctor",
	.usage = "",
	.summary = "Says what this kernel, container and user allow; exits with 0 if steward run works here.",
};

static void row(const char *label, const char *text, ...) __attribute__((format(printf, 2, 3)));

static void row(const char *label, const char *text, ...)
{
	va_list args;

	printf("%-14s ", label);
	va_start(args, text);
	vprintf(text, args);
	va_end(args);
	putchar('\n');
}

static const char *yes_or_err(int err)
{
	return err == 0 ? "yes" : strerror(-err);
}

static void show_kernel(const struct probe *p)
{
	struct utsname u;

	if (uname(&u) == 0)
		row("kernel", "%s %s %s", u.sysname, u.release, u.machine);
	row("seccomp", "%s", p->seccomp ? "a filter is on this process" : "no filter");
}

static void show_userfaultfd(const struct probe *p)
{
	static const char *const ways[] = {
		[PROBE_NONE] = "no",
		[PROBE_INHERITED] = "yes, through an inherited descriptor of " PROBE_DEVICE,
		[PROBE_DEVICE_OPEN] = "yes, through " PROBE_DEVICE,
		[PROBE_SYSCALL] = "yes, through userfaultfd(2)",
	};
	struct stat st;

	row("userfaultfd", "%s", ways[p->way]);
	if (stat(PROBE_DEVICE, &st) == 0)
		row("  device", "%s (mode %04o, owner %u:%u)", yes_or_err(p->device_err), st.st_mode & 07777, st.st_uid,
		    st.st_gid);
	else
		row("  device", "%s", yes_or_err(p->device_err));
	row("  system call", "%s", yes_or_err(p->syscall_err));
	row("  user mode", "%s (not enough for steward run)", yes_or_err(p->user_mode_err));
	if (p->sysctl >= 0)
		row("  sysctl", "vm.unprivileged_userfaultfd = %d", p->sysctl);
}

static void show_features(const struct probe *p)
{
	static const struct {
		uint64_t bit;
		const char *name;
	} features[] = {
		{ UFFD_FEATURE_PAGEFAULT_FLAG_WP, "WP" },
		{ UFFD_FEATURE_EVENT_FORK, "EVENT_FORK" },
		{ UFFD_FEATURE_EVENT_REMAP, "EVENT_REMAP" },
		{ UFFD_FEATURE_EVENT_REMOVE, "EVENT_REMOVE" },
		{ UFFD_FEATURE_EVENT_UNMAP, "EVENT_UNMAP" },
		{ UFFD_FEATURE_THREAD_ID, "THREAD_ID" },
		{ UFFD_FEATURE_WP_ASYNC, "WP_ASYNC" },
		{ UFFD_FEATURE_POISON, "POISON" },
		{ UFFD_FEATURE_MOVE, "MOVE" },
	};

	if (p->way == PROBE_NONE) {
		row("features", "not to be seen without a userfaultfd");
		return;
	}
	for (int have = 1; have >= 0; have--) {
		char list[256];
		struct fmt f;

		fmt_init(&f, list, sizeof(list));
		for (unsigned i = 0; i < ARRAY_SIZE(features); i++) {
			if (((p->features & features[i].bit) != 0) != (have != 0))
				continue;
			fmt_str(&f, f.len > 0 ? " " : "");
			fmt_str(&f, features[i].name);
		}
		row(have ? "features" : "  missing", "%s", f.len > 0 ? list : "none");
	}
	if (p->move_err == 0)
		row("page moving", "works");
	else
		row("page moving", "no (%s): pages are copied, on the base path", strerror(-p->move_err));
}

static void show_memory(void)
{
	struct budget b;
	int err = budget_auto("", &b);

	if (err != 0) {
		row("memory", "/proc cannot be read: %s", strerror(-err));
		return;
	}
	row("memory", "%s, %s available", size_text(b.total), size_text(b.available));
	if (b.cgroup.version == 0)
		row("cgroup", "no memory controller");
	else if (b.cgroup.limit == CGROUP_NO_LIMIT)
		row("cgroup", "version %d, no memory limit, %s used", b.cgroup.version, size_text(b.cgroup.usage));
	else
		row("cgroup", "version %d, limit %s, %s used; set by %s", b.cgroup.version, size_text(b.cgroup.limit),
		    size_text(b.cgroup.usage), b.cgroup.file);
	if (b.cgroup.swap_limit != CGROUP_NO_LIMIT)
		row("  kernel swap", "at most %s", size_text(b.cgroup.swap_limit));
	row("--ram auto", "%s (%s)", size_text(b.bytes), b.from);
}

static void show_huge_pages(void)
{
	char line[128];
	FILE *f = fopen("/sys/kernel/mm/transparent_hugepage/enabled", "re");

	if (f == NULL || fgets(line, sizeof(line), f) == NULL)
		snprintf(line, sizeof(line), "not known to this kernel");
	line[strcspn(line, "\n")] = '\0';
	row("huge pages", "%s", line);
	if (f != NULL)
		fclose(f);
}

static void show_limits(void)
{
	struct swap_dir dir;
	struct rlimit lock;

	if (getrlimit(RLIMIT_MEMLOCK, &lock) == 0)
		row("memlock", "%s", lock.rlim_cur == RLIM_INFINITY ? "unlimited" : size_text(lock.rlim_cur));
	swap_dir_find(&dir);
	if (dir.path[0] != '\0')
		row("swap file", "in %s, %s free, O_DIRECT %s", dir.path, size_text(dir.free), dir.direct ? "yes" : "no");
	else
		row("swap file", "none: set TMPDIR to a directory on a disk that can be written to");
}

static int no_option(void *ctx, unsigned n, const char *value)
{
	(void)ctx;
	(void)n;
	(void)value;
	return EXIT_USAGE;
}

int doctor_main(int argc, char **argv)
{
	struct option_set options = doctor_options;
	struct probe p;
	int first, err;

	options.set = no_option;
	err = options_parse(&options, argc, argv, NULL, &first);
	if (err != 0)
		return err;
	if (argv[first] != NULL)
		return msg_fail(EXIT_USAGE, argv[first], "doctor takes no argument; leave it out");

	probe_userfaultfd(&p);
	if (p.device_fd >= 0)
		close(p.device_fd);
	show_kernel(&p);
	show_userfaultfd(&p);
	show_features(&p);
	show_memory();
	show_huge_pages();
	show_limits();
	putchar('\n');
	if (probe_suffices(&p))
		printf("steward run works here.\n");
	else
		printf("steward run does not work here: %s; %s\n", probe_why(&p), probe_remedy(&p));
	if (fflush(stdout) != 0)
		return msg_fail(1, "standard output", "%s; send it somewhere else", strerror(errno));
	return probe_suffices(&p) ? 0 : 1;
}
