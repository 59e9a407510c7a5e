/*
 * syscalls MODE MIB [SEED]: each mode does a few hundred calls with buffers at
 * random places of a region of MIB and checks every byte that came and went;
 * "all" runs all modes in one process, syscalls list prints them. Status 0 only
 * when everything was right.
 */
#include "syscalls.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

unsigned char *base;
size_t pages;
uint32_t *gens;
uint64_t seed;
int file;

static const char *mode = "start";

void die(const char *fmt, ...)
{
	int err = errno;
	va_list ap;

	fprintf(stderr, "syscalls %s: ", mode);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fprintf(stderr, " (errno %d, %s)\n", err, strerror(err));
	exit(1);
}

void skip(const char *why)
{
	printf("%s skipped: %s\n", mode, why);
}

void restore(size_t i, size_t n)
{
	for (; n > 0; n--, i++) {
		gens[i]++;
		page_fill(page_at(i), (uintptr_t)page_at(i), gens[i]);
	}
}

void verify(size_t i, size_t n)
{
	for (; n > 0; n--, i++)
		must(page_check(page_at(i), (uintptr_t)page_at(i), gens[i]) < 0, "page %zu is wrong", i);
}

void verify_file_pages(const unsigned char *p, size_t n, size_t first)
{
	for (size_t i = 0; i < n; i++)
		must(page_check(p + i * PAGE, first + i, 7) < 0, "page %zu of the file arrived wrong", first + i);
}

int temp_file(void)
{
	char path[4096];
	const char *dir = getenv("TMPDIR");

	snprintf(path, sizeof(path), "%s/syscalls.XXXXXX", dir != NULL ? dir : "/tmp");
	int fd = mkstemp(path);
	must(fd >= 0, "temporary file %s", path);
	unlink(path);
	return fd;
}

static const struct {
	const char *name;
	mode_fn *run;
} modes[] = {
	{ "read", mode_read },
	{ "write", mode_write },
	{ "pread-pwrite", mode_pread_pwrite },
	{ "readv-writev", mode_readv_writev },
	{ "send-recv", mode_send_recv },
	{ "sendmsg", mode_sendmsg },
	{ "pipe", mode_pipe },
	{ "vmsplice", mode_vmsplice },
	{ "getdents", mode_getdents },
	{ "small", mode_small },
	{ "futex", mode_futex },
	{ "poll", mode_poll },
	{ "process-vm", mode_process_vm },
	{ "sigaltstack", mode_sigaltstack },
	{ "io-uring", mode_io_uring },
	{ "io-uring-fixed", mode_io_uring_fixed },
	{ "direct", mode_direct },
	{ "huge", mode_huge },
};

#define MODES (sizeof(modes) / sizeof(modes[0]))

static void *map_anon(size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	must(p != MAP_FAILED, "mmap");
	return p;
}

static void make_file(void)
{
	unsigned char page[PAGE];

	file = temp_file();
	for (size_t i = 0; i < FILE_PAGES; i++) {
		page_fill(page, i, 7);
		must(write(file, page, PAGE) == PAGE, "write");
	}
	must(fsync(file) == 0, "fsync");
}

static unsigned run(const char *name)
{
	unsigned ran = 0;

	for (size_t m = 0; m < MODES; m++) {
		if (strcmp(name, "all") != 0 && strcmp(name, modes[m].name) != 0)
			continue;
		mode = modes[m].name;
		modes[m].run();
		for (size_t i = 0; i < pages; i += 1 + below64(&seed, 16))
			verify(i, 1);
		printf("%s ok\n", mode);
		ran++;
	}
	return ran;
}

int main(int argc, char **argv)
{
	if (argc == 2 && strcmp(argv[1], "list") == 0) {
		for (size_t m = 0; m < MODES; m++)
			puts(modes[m].name);
		return 0;
	}
	if (argc < 3 || atoi(argv[2]) < 4) {
		fprintf(stderr, "usage: syscalls MODE|all MIB [SEED] (at least 4 MiB) | syscalls list\n");
		return 2;
	}
	pages = strtoul(argv[2], NULL, 10) * (1024 * 1024 / PAGE);
	seed = mix64(argc > 3 ? strtoul(argv[3], NULL, 0) : 1) | 1;
	base = map_anon(pages * PAGE);
	gens = map_anon(pages * sizeof(*gens));
	make_file();
	restore(0, pages);
	if (run(argv[1]) == 0) {
		fprintf(stderr, "syscalls: no mode %s\n", argv[1]);
		return 2;
	}
	mode = "end";
	uint64_t digest = 0;
	for (size_t i = 0; i < pages; i++) {
		verify(i, 1);
		digest = mix64(digest + gens[i]);
	}
	printf("pages=%zu digest=%016" PRIx64 "\n", pages, digest);
	return 0;
}
