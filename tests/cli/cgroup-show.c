/* Prints what the functions of cli/cgroup.h and budget_auto() find below a directory that looks like a machine. */
#include <inttypes.h>
#include <stdio.h>

#include "cli/run/budget.h"

static void show(const char *name, uint64_t v)
{
	if (v == CGROUP_NO_LIMIT)
		printf("%s=none\n", name);
	else
		printf("%s=%" PRIu64 "\n", name, v);
}

int main(int argc, char **argv)
{
	struct cgroup_memory m;
	struct budget b;
	uint64_t refaults, kept;
	int err;

	if (argc != 2)
		return 2;
	err = cgroup_memory_read(argv[1], &m);
	if (err != 0) {
		printf("err=%d\n", err);
		return 0;
	}
	printf("version=%d\n", m.version);
	show("limit", m.limit);
	show("usage", m.usage);
	show("swap", m.swap_limit);
	printf("file=%s\n", m.file);
	if (cgroup_file_refaults(argv[1], &m, &refaults))
		printf("refaults=%" PRIu64 "\n", refaults);
	if (cgroup_kept(argv[1], &m, &kept))
		printf("kept=%" PRIu64 "\n", kept);
	printf("quota=%d\n", cgroup_cpu_quota(argv[1]));
	show("kills", cgroup_oom_kills(argv[1], &m));
	err = budget_auto(argv[1], &b);
	if (err == 0)
		printf("auto=%" PRIu64 "\nfrom=%s\n", b.bytes, b.from);
	return 0;
}
