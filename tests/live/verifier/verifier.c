/*
 * verifier MODE MIB [SEED]: runs one mode on MIB of memory and prints
 * "MODE pages=N digest=X"; verifier list prints the modes.
 *
 * Status 0 only when every page held what it had to; otherwise one line on
 * stderr names the page, the word, what was expected and what was there.
 */
#include "verifier.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static const struct {
	const char *name;
	mode_fn *run;
} modes[] = {
	{ "random-read", mode_random_read },
	{ "random-write", mode_random_write },
	{ "sequential", mode_sequential },
	{ "same-filled", mode_same_filled },
	{ "fork-read", mode_fork_read },
	{ "fork-write", mode_fork_write },
	{ "fork-nested", mode_fork_nested },
	{ "fork-threads", mode_fork_threads },
	{ "fork-orphan", mode_fork_orphan },
	{ "fork-inherit", mode_fork_inherit },
	{ "fork-heirs", mode_fork_heirs },
	{ "mremap", mode_mremap },
	{ "madvise", mode_madvise },
	{ "mprotect", mode_mprotect },
	{ "munmap", mode_munmap },
	{ "raw", mode_raw },
	{ "brk", mode_brk },
	{ "bss", mode_bss },
	{ "shared", mode_shared },
	{ "file", mode_file },
	{ "mlock", mode_mlock },
	{ "populate", mode_populate },
	{ "model", mode_model },
	{ "mixed", mode_mixed },
	{ "threads", mode_threads },
	{ "atomic", mode_atomic },
	{ "churn", mode_churn },
	{ "signals", mode_signals },
	{ "recursion", mode_recursion },
	{ "main-stack", mode_main_stack },
	{ "coroutines", mode_coroutines },
	{ "spawn", mode_spawn },
	{ "exec", mode_exec },
};

#define MODES (sizeof(modes) / sizeof(modes[0]))

void die(const char *fmt, ...)
{
	char line[512];
	va_list ap;

	va_start(ap, fmt);
	int n = vsnprintf(line, sizeof(line) - 1, fmt, ap);
	va_end(ap);
	n = n < (int)sizeof(line) - 1 ? n : (int)sizeof(line) - 2;
	line[n++] = '\n';
	if (write(2, line, (size_t)n) < 0)
		_exit(3);
	_exit(1);
}

unsigned char *map_anon(size_t n)
{
	void *p = mmap(NULL, n * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	must(p != MAP_FAILED, "mmap of %zu pages: %s", n, strerror(errno));
	return p;
}

int temp_file(size_t n)
{
	char path[4096];
	const char *dir = getenv("TMPDIR");

	if (strlen(dir != NULL ? dir : "/tmp") > sizeof(path) - 20)
		dir = NULL;
	strcpy(path, dir != NULL ? dir : "/tmp");
	strcat(path, "/verifier.XXXXXX");
	int fd = mkstemp(path);
	must(fd >= 0 && unlink(path) == 0 && ftruncate(fd, (off_t)(n * PAGE)) == 0, "temporary file: %s", strerror(errno));
	return fd;
}

void region_make(struct region *r, size_t pages)
{
	r->base = map_anon(pages);
	r->tag_base = (uintptr_t)r->base;
	r->pages = pages;
	r->gen = (uint32_t *)map_anon((pages * sizeof(*r->gen) + PAGE - 1) / PAGE);
}

void region_free(struct region *r)
{
	munmap(r->base, r->pages * PAGE);
	munmap(r->gen, r->pages * sizeof(*r->gen));
}

void region_write(struct region *r, size_t i)
{
	r->gen[i]++;
	page_fill(region_page(r, i), region_tag(r, i), r->gen[i]);
}

void region_check(const struct region *r, size_t i, const char *when)
{
	const uint64_t *w = (const void *)region_page(r, i);
	int bad = r->gen[i] == 0 ? page_check_zero(w) : page_check(w, region_tag(r, i), r->gen[i]);

	if (bad >= 0)
		die("%s: page %zu at %p (tag %" PRIx64 ", generation %u) is wrong from word %d on: "
		    "it holds %" PRIx64 ", tag %" PRIx64 ", generation %" PRIx64,
		    when, i, (const void *)w, region_tag(r, i), r->gen[i], bad, w[bad], w[0], w[1]);
}

void region_fill(struct region *r, size_t from, size_t to)
{
	for (size_t i = from; i < to; i++)
		region_write(r, i);
}

void region_check_all(const struct region *r, const char *when)
{
	for (size_t i = 0; i < r->pages; i++)
		region_check(r, i, when);
}

void region_sample(const struct region *r, uint64_t *seed, size_t n, const char *when)
{
	while (n-- > 0)
		region_check(r, below64(seed, r->pages), when);
}

uint64_t region_digest(const struct region *r)
{
	uint64_t digest = 0;

	for (size_t i = 0; i < r->pages; i++)
		digest += mix64(i * 0x9e3779b97f4a7c15u + r->gen[i] + 1);
	return digest;
}

void child_must_succeed(int pid, const char *what)
{
	int status;

	must(pid > 0, "%s: fork: %s", what, strerror(errno));
	must(waitpid(pid, &status, 0) == pid, "%s: waitpid: %s", what, strerror(errno));
	must(status == 0, "%s: child ended with wait status 0x%x", what, (unsigned)status);
}

int main(int argc, char **argv)
{
	if (argc == 2 && strcmp(argv[1], "list") == 0) {
		for (size_t i = 0; i < MODES; i++)
			puts(modes[i].name);
		return 0;
	}
	if (argc < 3) {
		fprintf(stderr, "usage: verifier MODE MIB [SEED] | verifier list\n");
		return 2;
	}
	size_t n = strtoul(argv[2], NULL, 10) * (1024 * 1024 / PAGE);
	uint64_t seed = mix64(argc > 3 ? strtoul(argv[3], NULL, 0) : 1) | 1;

	for (size_t i = 0; i < MODES && n >= 1024; i++) {
		if (strcmp(argv[1], modes[i].name) != 0)
			continue;
		uint64_t digest = modes[i].run(n, seed);
		printf("%s pages=%zu digest=%016" PRIx64 "\n", argv[1], n, digest);
		return 0;
	}
	fprintf(stderr, "verifier: no mode %s, or less than 4 MiB\n", argv[1]);
	return 2;
}
