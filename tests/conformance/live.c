/* A scenario as an ordinary program: mmap, mprotect, fork and plain loads and stores. Knows nothing of Steward. */
#include "scenario.h"

#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/page.h"

struct memory {
	unsigned char *base[REGIONS];
	pid_t child;
};

static sigjmp_buf refused;

static void on_fault(int number)
{
	(void)number;
	siglongjmp(refused, 1);
}

static void must(bool ok, const char *what)
{
	if (ok)
		return;
	perror(what);
	exit(1);
}

static unsigned char *page_at(struct memory *m, unsigned region, uint32_t page)
{
	return m->base[region] + (size_t)page * PAGE;
}

static void map(void *ctx, unsigned region, uint32_t n)
{
	struct memory *m = ctx;

	m->base[region] = mmap(NULL, (size_t)n * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	must(m->base[region] != MAP_FAILED, "mmap");
}

static void unmap(void *ctx, unsigned region, uint32_t from, uint32_t n)
{
	/* Nothing else may move in, or a touch there would not be refused. */
	must(mmap(page_at(ctx, region, from), (size_t)n * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) !=
	     MAP_FAILED, "munmap");
}

static void protect(void *ctx, unsigned region, uint32_t from, uint32_t n, bool read, bool write)
{
	must(mprotect(page_at(ctx, region, from), (size_t)n * PAGE, (read ? PROT_READ : 0) | (write ? PROT_WRITE : 0)) == 0, "mprotect");
}

static void drop(void *ctx, unsigned region, uint32_t from, uint32_t n)
{
	must(madvise(page_at(ctx, region, from), (size_t)n * PAGE, MADV_DONTNEED) == 0, "madvise");
}

static bool read_page(void *ctx, unsigned region, uint32_t page, void *buf)
{
	if (sigsetjmp(refused, 1) != 0)
		return false;
	memcpy(buf, page_at(ctx, region, page), PAGE);
	return true;
}

static bool write_page(void *ctx, unsigned region, uint32_t page, const void *buf)
{
	if (sigsetjmp(refused, 1) != 0)
		return false;
	memcpy(page_at(ctx, region, page), buf, PAGE);
	return true;
}

static bool make_child(void *ctx)
{
	struct memory *m = ctx;

	m->child = fork();
	must(m->child >= 0, "fork");
	return m->child == 0;
}

static void join(void *ctx)
{
	struct memory *m = ctx;
	int status;

	if (m->child == 0)
		exit(0);
	must(waitpid(m->child, &status, 0) == m->child, "waitpid");
	if (status != 0)
		exit(1);
}

int main(int argc, char **argv)
{
	static const struct engine_ops ops = {
		.map = map, .unmap = unmap, .protect = protect, .drop = drop, .read = read_page, .write = write_page,
		.fork = make_child, .join = join,
	};
	const struct scenario *s = argc == 2 ? scenario_find(argv[1]) : NULL;
	struct memory m = { .child = -1 };

	for (unsigned i = 0; s == NULL && i < nr_scenarios; i++)
		printf("%s\n", scenarios[i].name);
	if (s == NULL)
		return argc != 1;
	signal(SIGSEGV, on_fault);
	scenario_run(s, &ops, &m);
	return 0;
}
