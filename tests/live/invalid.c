/*
 * invalid MODE MIB: fills MIB of memory, so that most of it is paged out, then
 * makes one invalid access that must kill it with SIGSEGV. Ends with status 3
 * if it survives. Two modes end with status 0:
 *
 *   handled   every access in turn, with a handler that prints si_code and
 *             whether si_addr was the address, and jumps out
 *   child     a forked child dies of each access, the parent stays whole
 */
#include "base/page.h"

#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static unsigned char *base;
static size_t pages;

static unsigned char *map_anon(size_t n)
{
	void *p = mmap(NULL, n * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED) {
		perror("invalid: mmap");
		exit(3);
	}
	return p;
}

/* Each of these prepares an address and says which access to it is invalid. */

static unsigned char *at_null(void)
{
	return (unsigned char *)8;
}

static unsigned char *at_hole(void)
{
	unsigned char *p = base + pages / 2 * PAGE;

	munmap(p, PAGE);
	return p + 123;
}

static unsigned char *at_unmapped(void)
{
	unsigned char *p = map_anon(64);

	memset(p, 1, 64 * PAGE);
	munmap(p, 64 * PAGE);
	return p + 10 * PAGE;
}

static unsigned char *at_discarded_then_unmapped(void)
{
	unsigned char *p = map_anon(64);

	memset(p, 1, 64 * PAGE);
	madvise(p, 64 * PAGE, MADV_DONTNEED);
	munmap(p + 8 * PAGE, 8 * PAGE);
	return p + 9 * PAGE;
}

static unsigned char *at_readonly(void)
{
	unsigned char *p = base + pages / 3 * PAGE;

	mprotect(p, PAGE, PROT_READ);
	return p + 77;
}

static unsigned char *at_none(void)
{
	unsigned char *p = base + pages / 4 * PAGE;

	mprotect(p, PAGE, PROT_NONE);
	return p + 77;
}

/* Not page 0: the first bytes of a page are its own address, and no code anyway. */
static unsigned char *at_data(void)
{
	return base + pages / 5 * PAGE + 64;
}

static unsigned char *at_moved(void)
{
	unsigned char *p = base + pages / 6 * PAGE, *to = map_anon(4);

	if (mremap(p, 4 * PAGE, 4 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, to) != to)
		return NULL;
	return p + PAGE;
}

static unsigned char *at_noncanonical(void)
{
	return (unsigned char *)0x1234567812345678;
}

enum access { LOAD, STORE, CALL };

static const struct {
	const char *name;
	unsigned char *(*address)(void);
	enum access access;
} modes[] = {
	{ "null", at_null, LOAD },
	{ "null-write", at_null, STORE },
	{ "hole", at_hole, LOAD },
	{ "hole-write", at_hole, STORE },
	{ "unmapped", at_unmapped, LOAD },
	{ "unmapped-part", at_discarded_then_unmapped, STORE },
	{ "readonly", at_readonly, STORE },
	{ "none", at_none, LOAD },
	{ "exec-data", at_data, CALL },
	{ "moved-away", at_moved, LOAD },
	{ "noncanonical", at_noncanonical, LOAD },
};

#define MODES (sizeof(modes) / sizeof(modes[0]))

static void touch(unsigned char *p, enum access access)
{
	void (*code)(void);

	switch (access) {
	case LOAD:
		(void)*(volatile unsigned char *)p;
		break;
	case STORE:
		*(volatile unsigned char *)p = 1;
		break;
	case CALL:
		memcpy(&code, &p, sizeof(code));
		code();
		break;
	}
}

static sigjmp_buf out;
static unsigned char *volatile expected;
static volatile int code_seen, address_right;

static void on_segv(int sig, siginfo_t *info, void *context)
{
	(void)sig;
	(void)context;
	code_seen = info->si_code;
	address_right = info->si_addr == expected;
	siglongjmp(out, 1);
}

static void all_handled(void)
{
	struct sigaction sa = { .sa_sigaction = on_segv, .sa_flags = SA_SIGINFO };

	sigaction(SIGSEGV, &sa, NULL);
	for (volatile size_t m = 0; m < MODES; m++) {
		expected = modes[m].address();
		if (sigsetjmp(out, 1) == 0) {
			touch(expected, modes[m].access);
			printf("%s survived\n", modes[m].name);
			exit(3);
		}
		printf("%s si_code=%d address %s\n", modes[m].name, code_seen, address_right ? "right" : "not told");
	}
}

static void all_in_children(void)
{
	for (size_t m = 0; m < MODES; m++) {
		int status, pid = fork();

		if (pid == 0) {
			touch(modes[m].address(), modes[m].access);
			_exit(3);
		}
		if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFSIGNALED(status) || WTERMSIG(status) != SIGSEGV) {
			printf("%s: the child did not die of SIGSEGV\n", modes[m].name);
			exit(3);
		}
		printf("%s: the child died of SIGSEGV\n", modes[m].name);
	}
	for (size_t i = 0; i < pages; i++) {
		if (page_check(base + i * PAGE, i, 1) >= 0) {
			printf("page %zu is wrong\n", i);
			exit(1);
		}
	}
}

int main(int argc, char **argv)
{
	struct rlimit no_core = { 0, 0 };

	if (argc == 2 && strcmp(argv[1], "list") == 0) {
		for (size_t m = 0; m < MODES; m++)
			puts(modes[m].name);
		return 0;
	}
	if (argc != 3 || atoi(argv[2]) < 4) {
		fprintf(stderr, "usage: invalid MODE|handled|child MIB (at least 4) | invalid list\n");
		return 2;
	}
	setrlimit(RLIMIT_CORE, &no_core);
	pages = strtoul(argv[2], NULL, 10) * (1024 * 1024 / PAGE);
	base = map_anon(pages);
	for (size_t i = 0; i < pages; i++)
		page_fill(base + i * PAGE, i, 1);
	if (strcmp(argv[1], "handled") == 0) {
		all_handled();
		return 0;
	}
	if (strcmp(argv[1], "child") == 0) {
		all_in_children();
		return 0;
	}
	for (size_t m = 0; m < MODES; m++) {
		if (strcmp(argv[1], modes[m].name) == 0) {
			puts("before the access");
			fflush(stdout);
			touch(modes[m].address(), modes[m].access);
			puts("survived");
			return 3;
		}
	}
	fprintf(stderr, "invalid: no mode %s\n", argv[1]);
	return 2;
}
