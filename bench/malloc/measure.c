/*
 * measure REPORT PRELOAD PROGRAM [ARGUMENT…]: runs the program with the library
 * PRELOAD (empty: none) and writes what it took to the file REPORT, as one line:
 *
 *   wall_s user_s system_s peak_rss_kib
 *
 * The peak is that of the largest process among the program and those that it waited for.
 * Why not from Python: the kernel counts what a process was before its exec as well (exec_mmap, setmax_mm_hiwater_rss),
 * so a child of a Python is never smaller than the Python. This program is as small as what it starts.
 *
 * Ends as the program does (128 + n for a signal); takes it along if it is killed itself.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double seconds(struct timeval t)
{
	return (double)t.tv_sec + (double)t.tv_usec / 1e6;
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static _Noreturn void fail(const char *what)
{
	dprintf(2, "measure: %s: %s\n", what, strerror(errno));
	_exit(127);
}

static _Noreturn void become(const char *preload, char **argv)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (*preload != '\0' && setenv("LD_PRELOAD", preload, 1) != 0)
		fail("setenv");
	execvp(argv[0], argv);
	fail(argv[0]);
}

int main(int argc, char **argv)
{
	struct rusage usage;
	double began = now();
	int status, report;
	pid_t pid;

	if (argc < 4) {
		dprintf(2, "usage: measure REPORT PRELOAD PROGRAM [ARGUMENT…]\n");
		return 2;
	}
	pid = fork();
	if (pid == 0)
		become(argv[2], argv + 3);
	if (pid < 0 || wait4(pid, &status, 0, &usage) != pid)
		fail("fork");
	report = open(argv[1], O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	if (report < 0 || dprintf(report, "%.6f %.6f %.6f %ld\n", now() - began, seconds(usage.ru_utime),
				  seconds(usage.ru_stime), usage.ru_maxrss) < 0)
		fail(argv[1]);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
