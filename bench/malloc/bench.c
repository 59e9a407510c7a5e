#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"

enum { THREADS_MAX = 256 };

static struct timespec began;

static size_t *find(const struct bench_option *options, const char *arg)
{
	for (; options->name != NULL; options++)
		if (strncmp(arg, "--", 2) == 0 && strcmp(arg + 2, options->name) == 0)
			return options->value;
	return NULL;
}

static _Noreturn void usage(const struct bench_option *options)
{
	fprintf(stderr, "usage: %s", program_invocation_short_name);
	for (; options->name != NULL; options++)
		fprintf(stderr, " [--%s N (%zu)]", options->name, *options->value);
	fprintf(stderr, "\n");
	exit(2);
}

void bench_options(int argc, char **argv, const struct bench_option *options)
{
	char *end = NULL;

	for (int i = 1; i < argc; i += 2) {
		size_t *value = find(options, argv[i]);

		if (value == NULL || i + 1 == argc)
			usage(options);
		*value = strtoull(argv[i + 1], &end, 10);
		if (end == argv[i + 1] || *end != '\0')
			usage(options);
	}
	clock_gettime(CLOCK_MONOTONIC, &began);
}

void bench_report(const char *format, ...)
{
	struct timespec now;
	va_list args;

	clock_gettime(CLOCK_MONOTONIC, &now);
	printf("%s seconds=%.3f ", program_invocation_short_name,
	       (double)(now.tv_sec - began.tv_sec) + (double)(now.tv_nsec - began.tv_nsec) / 1e9);
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	printf("\n");
}

void *bench_table(size_t n, size_t size)
{
	void *p = mmap(NULL, n * size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		bench_out_of_memory(n * size);
	return p;
}

struct start {
	void (*run)(void *arg, size_t i);
	void *arg;
	size_t i;
	pthread_t thread;
};

static void *begin(void *arg)
{
	struct start *s = arg;

	s->run(s->arg, s->i);
	return NULL;
}

void bench_threads(size_t n, void (*run)(void *arg, size_t i), void *args, size_t size)
{
	struct start starts[THREADS_MAX];

	if (n > THREADS_MAX) {
		fprintf(stderr, "%s: at most %d threads\n", program_invocation_short_name, THREADS_MAX);
		exit(2);
	}
	for (size_t i = 0; i < n; i++) {
		starts[i] = (struct start){ .run = run, .arg = (char *)args + i * size, .i = i };
		if (pthread_create(&starts[i].thread, NULL, begin, &starts[i]) != 0) {
			fprintf(stderr, "%s: cannot start a thread\n", program_invocation_short_name);
			exit(1);
		}
	}
	for (size_t i = 0; i < n; i++)
		pthread_join(starts[i].thread, NULL);
}

/* Without stdio, which allocates. */
size_t bench_rss_kib(void)
{
	char text[128];
	int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
	ssize_t n;
	char *resident;

	if (fd < 0)
		return 0;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (n <= 0)
		return 0;
	text[n] = '\0';
	resident = strchr(text, ' ');
	return resident == NULL ? 0 : strtoull(resident, NULL, 10) * (size_t)sysconf(_SC_PAGESIZE) / 1024;
}

void bench_out_of_memory(size_t size)
{
	fprintf(stderr, "%s: no memory for %zu bytes\n", program_invocation_short_name, size);
	exit(1);
}

void bench_wrong(const void *p, size_t size, size_t offset)
{
	fprintf(stderr, "%s: the block of %zu bytes at %p is wrong at byte %zu\n", program_invocation_short_name, size, p, offset);
	exit(1);
}
