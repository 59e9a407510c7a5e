/*
 * One run for real: `steward run` as anybody would call it, of this same program with --touch. What the two have to say,
 * the program's line and the run's --stats, comes through one pipe. There is no swap file, so that all pages are in the
 * pool.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/validate/live.h"

#define STATS_MAX 65536

static void __attribute__((noreturn)) run_child(const char *workload, uint64_t ram_bytes, int told)
{
	char self[4096], ram[32];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

	if (n <= 0)
		_exit(EXIT_FAILURE);
	self[n] = '\0';
	snprintf(ram, sizeof(ram), "%lluM", (unsigned long long)(ram_bytes >> 20));
	/* Its summary would be one for each run; whoever wants to see it runs the command. */
	int null = open("/dev/null", O_WRONLY | O_CLOEXEC);

	prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (null < 0 || dup2(null, STDERR_FILENO) < 0 || dup2(told, STDOUT_FILENO) < 0)
		_exit(EXIT_FAILURE);
	close(told);
	execl(self, self, "run", "--ram", ram, "--swap", "pool", "--stats", "/dev/stdout", "--", self, "validate", "--touch",
	      workload, (char *)NULL);
	_exit(EXIT_FAILURE);
}

/* All of it, ended with a zero; false: there was none, or too much. */
static bool read_all(int fd, char *text, size_t size)
{
	size_t len = 0;
	ssize_t n;

	while (len < size - 1 && (n = read(fd, text + len, size - 1 - len)) != 0) {
		if (n < 0 && errno != EINTR)
			break;
		len += n > 0 ? (size_t)n : 0;
	}
	text[len] = '\0';
	return len > 0 && len < size - 1;
}

/* The number of the first key of this name (docs/stats-schema.md). */
static uint64_t number(const char *text, const char *key)
{
	char quoted[64];
	const char *at;

	snprintf(quoted, sizeof(quoted), "\"%s\": ", key);
	at = strstr(text, quoted);
	return at != NULL ? strtoull(at + strlen(quoted), NULL, 10) : 0;
}

/* What the pager keeps for itself beside its frames: src/live/pager.c own_outside. */
#define OWN_FIXED 128

static void take_costs(const char *stats, uint64_t frames, struct live_costs *costs)
{
	uint64_t ram = number(stats, "ram_bytes") >> PAGE_SHIFT, table = frames * sizeof(struct frame) >> PAGE_SHIFT;

	costs->launcher = number(stats, "launcher_bytes") >> PAGE_SHIFT;
	costs->unmanaged = ram - costs->launcher - OWN_FIXED - table - frames;
	uint64_t besides = number(stats, LIVE_BESIDES);

	/* What is in use at the end is unmanaged all the time. */
	costs->besides = (besides - MIN(besides, number(stats, LIVE_FILES))) >> PAGE_SHIFT;
	costs->ratio = (double)number(stats, "stored_peak_bytes") / (double)MAX(number(stats, "memory_bytes"), 1u);
}

static void take_outcome(const char *stats, struct validate_outcome *out)
{
	*out = (struct validate_outcome){
		.majflt = number(stats, "pgmajfault"),
		.minflt = number(stats, "pgminor"),
		.touches = LIVE_TOUCHES,
		.seconds = (double)number(stats, "wall_ns") / 1e9,
		.faults = number(stats, "pgfault"),
		.stalls = number(stats, "allocstall"),
	};
	out->frames = number(stats, "fault_frames") / MAX(out->faults, 1u);
}

int live_run(const char *workload, uint64_t ram_bytes, struct validate_outcome *out, struct live_costs *costs)
{
	char stats[STATS_MAX];
	int ends[2], status = 0;
	pid_t pid;

	fflush(NULL);
	if (pipe(ends) != 0)
		return -errno;
	pid = fork();
	if (pid == 0) {
		close(ends[0]);
		run_child(workload, ram_bytes, ends[1]);
	}
	close(ends[1]);
	bool told = pid > 0 && read_all(ends[0], stats, sizeof(stats));

	close(ends[0]);
	if (pid < 0)
		return -EAGAIN;
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (status != 0 || !told)
		return -ECHILD;
	take_outcome(stats, out);
	if (costs != NULL)
		take_costs(stats, out->frames, costs);
	return 0;
}
