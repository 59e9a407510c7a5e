/*
 * start: what a program pays that needs hardly any memory. Runs itself many times; each run allocates one
 * block. Time is of exec, the loader and the allocator's start, peak RSS that of one run.
 */
#include <spawn.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

static size_t runs = 400, child;

static int once(void)
{
	struct block b = block_new(100);

	block_free(&b);
	return 0;
}

int main(int argc, char **argv)
{
	const struct bench_option options[] = { { "runs", &runs }, { "child", &child }, { NULL, NULL } };
	char name[] = "start", option[] = "--child", one[] = "1", *args[] = { name, option, one, NULL };
	int status;

	bench_options(argc, argv, options);
	if (child)
		return once();
	for (size_t i = 0; i < runs; i++) {
		pid_t pid;

		if (posix_spawn(&pid, "/proc/self/exe", NULL, NULL, args, environ) != 0 || waitpid(pid, &status, 0) != pid ||
		    status != 0) {
			fprintf(stderr, "start: a run failed\n");
			return 1;
		}
	}
	bench_report("runs=%zu", runs);
	return 0;
}
