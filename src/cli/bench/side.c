#include "cli/bench/bench.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static void __attribute__((noreturn)) child(char *const *argv, int procs, int out, int errors)
{
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	if ((procs >= 0 && write(procs, "0", 1) != 1) || dup2(out, STDOUT_FILENO) < 0 || dup2(errors, STDERR_FILENO) < 0)
		_exit(1);
	execv(argv[0], argv);
	_exit(127);
}

/* The first line that begins as one of ours, without the beginning: the last ones are a summary. Or how it ended. */
static void take_reason(struct bench_side *side, int errors, int status)
{
	char text[4096], *ours = NULL;
	ssize_t n = pread(errors, text, sizeof(text) - 1, 0);

	text[MAX(n, 0)] = '\0';
	for (char *line = strtok(text, "\n"); line != NULL && ours == NULL; line = strtok(NULL, "\n"))
		if (strncmp(line, "steward: ", 9) == 0)
			ours = line + 9;
	if (WIFSIGNALED(status))
		snprintf(side->why, sizeof(side->why), "ended by signal %d%s", WTERMSIG(status),
			 WTERMSIG(status) == SIGKILL ? ": out of memory by the kernel's count" : "");
	else
		snprintf(side->why, sizeof(side->why), "%.*s", (int)sizeof(side->why) - 1, ours != NULL ? ours : "it failed and did not say why");
}

static void take_rows(struct bench_side *side, FILE *out)
{
	char line[1024];

	while (fgets(line, sizeof(line), out) != NULL && side->nr < BENCH_ROWS) {
		struct bench_row *r = &side->row[side->nr];
		unsigned long long p50, p99;

		if (sscanf(line, " {\"workload\": \"%23[^\"]\", \"touches\": %*u, \"seconds\": %*f, \"ns_per_touch\": %lf, \"faults\": %*u, "
			   "\"fault_mean_ns\": %*u, \"fault_p50_ns\": %llu, \"fault_p99_ns\": %llu",
			   r->name, &r->touch_ns, &p50, &p99) != 4)
			continue;
		r->p50_ns = p50;
		r->p99_ns = p99;
		side->nr++;
	}
}

void bench_run(struct bench_side *side, char *const *argv, int procs)
{
	int ends[2], status = 0, errors = memfd_create("steward-bench", MFD_CLOEXEC);
	pid_t pid;

	fflush(NULL);
	if (errors < 0 || pipe2(ends, O_CLOEXEC) != 0) {
		snprintf(side->why, sizeof(side->why), "%s", strerror(errno));
		return;
	}
	pid = fork();
	if (pid == 0)
		child(argv, procs, ends[1], errors);
	close(ends[1]);
	FILE *out = fdopen(ends[0], "r");

	if (out != NULL) {
		take_rows(side, out);
		/* To its end, or the program would die of a pipe that nobody reads. */
		while (fgetc(out) != EOF)
			;
		fclose(out);
	}
	while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	side->measured = pid > 0 && status == 0;
	if (!side->measured)
		take_reason(side, errors, status);
	close(errors);
}
