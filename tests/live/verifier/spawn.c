/* Other programs started under pressure: posix_spawn, vfork, system, popen, and exec of this program itself. */
#include "verifier.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static void by_posix_spawn(char **argv)
{
	pid_t pid;
	int err = posix_spawn(&pid, argv[0], NULL, NULL, argv, environ);

	must(err == 0, "posix_spawn: %s", strerror(err));
	child_must_succeed(pid, "posix_spawn");
}

static void by_vfork(char **argv)
{
	pid_t pid = vfork();

	if (pid == 0) {
		execv(argv[0], argv);
		_exit(127);
	}
	child_must_succeed(pid, "vfork");
}

static void by_popen(const char *command, const char *expected)
{
	char line[128] = "";
	FILE *f = popen(command, "r");

	must(f != NULL, "popen: %s", strerror(errno));
	must(fgets(line, sizeof(line), f) != NULL && strcmp(line, expected) == 0, "popen: read \"%s\"", line);
	must(pclose(f) == 0, "pclose");
}

uint64_t mode_spawn(size_t n, uint64_t seed)
{
	/* Arguments in memory that is under pressure too: exec reads them from there. */
	struct region r;
	char *args = (char *)map_anon(3);
	char *argv[] = { strcpy(args + 10, "/bin/sh"), strcpy(args + PAGE + 4000, "-c"),
			 strcpy(args + 2 * PAGE - 8, "test \"$(echo a b)\" = \"a b\""), NULL };

	region_make(&r, n);
	region_fill(&r, 0, n);
	for (unsigned k = 0; k < 12; k++) {
		switch (k % 4) {
		case 0: by_posix_spawn(argv); break;
		case 1: by_vfork(argv); break;
		case 2: must(system("exit 7") == 7 << 8, "system"); break;
		case 3: by_popen("echo from the pipe", "from the pipe\n"); break;
		}
		for (size_t i = 0; i < n / 12; i++)
			region_write(&r, below64(&seed, n));
		region_sample(&r, &seed, n / 12, "beside spawning");
	}
	region_check_all(&r, "last look");
	return region_digest(&r);
}

/* fork and exec of the verifier, which fills memory of its own while the parent holds on to its pages. */
uint64_t mode_exec(size_t n, uint64_t seed)
{
	struct region r;
	char mib[16];
	char *argv[] = { "verifier", "random-write", mib, NULL };

	snprintf(mib, sizeof(mib), "%zu", n / 2 * PAGE >> 20 > 4 ? n / 2 * PAGE >> 20 : 4);
	region_make(&r, n / 2);
	region_fill(&r, 0, r.pages);
	for (unsigned k = 0; k < 2; k++) {
		pid_t pid = fork();
		if (pid == 0) {
			int null = open("/dev/null", O_WRONLY);

			dup2(null, 1);
			execv("/proc/self/exe", argv);
			_exit(127);
		}
		region_sample(&r, &seed, r.pages / 2, "beside exec");
		child_must_succeed(pid, "exec");
		region_fill(&r, 0, r.pages);
	}
	region_check_all(&r, "last look");
	return region_digest(&r);
}
