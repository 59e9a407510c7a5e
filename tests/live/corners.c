/*
 * corners MODE MIB: fills MIB of memory, so that much of it is paged out, and does what few programs do, and programs that are
 * right may. Prints "ok" and ends with status 0 if everything in memory is as it should be. corners list prints the modes.
 */
#include "base/page.h"
#include "base/sys.h"

#include <errno.h>
#include <grp.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102 /* Linux 6.13 */
#define MADV_GUARD_REMOVE 103
#endif

#define MUCH ((size_t)8 << 20)

static unsigned char *base;
static size_t bytes;

static void must(int right, const char *what)
{
	if (right)
		return;
	fprintf(stderr, "corners: %s (errno %d, %s)\n", what, errno, strerror(errno));
	exit(1);
}

static unsigned char *map(size_t n)
{
	void *p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	must(p != MAP_FAILED, "mmap");
	return p;
}

/* What lies at p, of something that began from bytes before. */
static void fill_from(unsigned char *p, size_t n, size_t from, unsigned salt)
{
	for (size_t i = 0; i < n; i += PAGE)
		page_fill(p + i, from + i, salt);
}

static void verify_from(unsigned char *p, size_t n, size_t from, unsigned salt)
{
	for (size_t i = 0; i < n; i += PAGE)
		must(page_check(p + i, from + i, salt) < 0, "a page is wrong");
}

static void fill(unsigned char *p, size_t n, unsigned salt) { fill_from(p, n, 0, salt); }

static void verify(unsigned char *p, size_t n, unsigned salt) { verify_from(p, n, 0, salt); }

static void start(pthread_t *t, const pthread_attr_t *attr, void *(*run)(void *))
{
	errno = pthread_create(t, attr, run, NULL);
	must(errno == 0, "pthread_create");
}

static int end_of(pid_t pid)
{
	int status;

	must(pid > 0, "fork");
	while (waitpid(pid, &status, 0) < 0)
		must(errno == EINTR, "waitpid");
	return status;
}

/* Two threads make hundreds of changes to the address space, one after the other. */

static void *drop_one_by_one(void *unused)
{
	enum { BLOCKS = 400 };
	unsigned char *p = map(BLOCKS * 32768);

	for (unsigned round = 0;; round++) {
		for (size_t i = 0; i < BLOCKS; i++)
			p[i * 32768] = 1;
		for (size_t i = 0; i < BLOCKS; i++)
			madvise(p + i * 32768, 16384, MADV_DONTNEED);
	}
	return unused;
}

static void changes(void)
{
	pthread_t t;

	start(&t, NULL, drop_one_by_one);
	for (int i = 0; i < 1500; i++) {
		unsigned char *p = map(1 << 20);

		p[0] = 1;
		must(munmap(p, 1 << 20) == 0, "munmap");
	}
}

/* Two threads change the address space without a pause, and a third one gets on all the same. */

static void *drop_again_and_again(void *unused)
{
	unsigned char *p = map(64 * PAGE);

	for (;;)
		madvise(p, 64 * PAGE, MADV_DONTNEED);
	return unused;
}

static void *move_again_and_again(void *unused)
{
	const size_t len = 64 * PAGE;
	unsigned char *p = map(len);

	for (;;) {
		unsigned char *to = map(len);

		p[0] = p[len / 2] = 1;
		p = mremap(p, len, len, MREMAP_MAYMOVE | MREMAP_FIXED, to);
		must(p == to && p[0] == 1 && p[len / 2] == 1, "mremap");
		must(munmap(p, len) == 0, "munmap");
		p = map(len);
	}
	return unused;
}

static void restless(void)
{
	pthread_t t;

	start(&t, NULL, drop_again_and_again);
	start(&t, NULL, move_again_and_again);
	for (unsigned salt = 1; salt < 4; salt++) {
		fill(base, bytes, salt);
		verify(base, bytes, salt);
	}
	fill(base, bytes, 0);
}

/* A thread stops the one that forks, by a signal, and maps memory until it lets it go, as collectors of garbage do. */

static pthread_t mutator;
static sem_t stopped, go;
static volatile sig_atomic_t collected;

static void wait_for(sem_t *s)
{
	while (sem_wait(s) != 0)
		;
}

static void stop(int signal_number)
{
	int saved_errno = errno;

	(void)signal_number;
	sem_post(&stopped);
	wait_for(&go);
	errno = saved_errno;
}

static void *collect(void *unused)
{
	while (!collected) {
		pthread_kill(mutator, SIGUSR1);
		wait_for(&stopped);
		unsigned char *p = map(1 << 20);

		p[0] = 1;
		munmap(p, 1 << 20);
		sem_post(&go);
		usleep(300);
	}
	return unused;
}

static void stopped_in_fork(void)
{
	struct sigaction act = { .sa_handler = stop, .sa_flags = SA_RESTART };
	pthread_t t;

	mutator = pthread_self();
	sem_init(&stopped, 0, 0);
	sem_init(&go, 0, 0);
	sigaction(SIGUSR1, &act, NULL);
	start(&t, NULL, collect);
	for (int i = 0; i < 60; i++) {
		pid_t pid = fork();

		if (pid == 0)
			_exit(0);
		must(end_of(pid) == 0, "a child failed");
	}
	collected = 1;
	must(pthread_join(t, NULL) == 0, "pthread_join");
}

/* Children that are made without fork, and so without its handlers. */

static int verify_in_child(void *unused)
{
	(void)unused;
	verify(base, bytes / 4, 0); /* what has been out longest */
	return 0;
}

static pid_t by_clone(void)
{
	return clone(verify_in_child, map(1 << 20) + (1 << 20), SIGCHLD, NULL);
}

static pid_t by_number(void)
{
	return (pid_t)syscall(SYS_fork);
}

/* And ends so as well. */
static pid_t by_number_of_clone(void)
{
	pid_t pid = (pid_t)syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, 0);

	if (pid == 0)
		syscall(SYS_exit, verify_in_child(NULL));
	return pid;
}

static void other_forks(void)
{
	pid_t (*const ways[])(void) = { by_clone, _Fork, by_number, by_number_of_clone };

	for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
		pid_t pid = ways[i]();

		if (pid == 0)
			_exit(verify_in_child(NULL));
		must(end_of(pid) == 0, "a child failed");
	}
}

/* Much is reserved in one piece and a part of it used: beside something of ours the kernel would make one area of both. */
static void reserves(void)
{
	size_t much = (size_t)1 << 30;

	base = mmap(NULL, much, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	must(base != MAP_FAILED, "mmap");
	fill(base, bytes, 0);
}

/* Maps by an instruction of its own, as SBCL does, of which nobody hears; mprotect is libc's. */
static void maps_itself(void)
{
	unsigned char *known = map(PAGE);

	base = sys_mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	must(!sys_is_err((long)base), "mmap");
	must(mprotect(known, PAGE, PROT_READ) == 0, "mprotect");
	fill(base, bytes, 0);
}

static void fill_hole(unsigned char *at)
{
	must(mmap(at, MUCH, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) == at,
	     "a hole is not ours any more");
	fill(at, MUCH, 1);
	verify(at, MUCH, 1);
}

/*
 * Holes for something at a fixed address, made before paging begins, and when pages are out. Where anything may be mapped
 * anywhere, the kernel takes the highest hole first.
 */
static void holes(void)
{
	unsigned char *early = map(MUCH), *late = map(MUCH);

	base = map(bytes);
	while (map(PAGE) > early)
		;
	must(munmap(early, MUCH) == 0, "munmap");
	fill(base, bytes, 0);
	must(munmap(late, MUCH) == 0, "munmap");
	verify(base, bytes, 0);
	fill_hole(early);
	fill_hole(late);
}

/* What is dropped while it is being read ahead does not come back. */
static void drops_ahead(void)
{
	const size_t step = MUCH / 4, dropped = MUCH / 8;

	for (size_t at = 0, ahead = 16; at + step <= bytes; at += step, ahead = ahead * 5 % 89) {
		unsigned char *p = base + at + ahead * PAGE;

		verify_from(base + at, ahead * PAGE, at, 0);
		must(madvise(p, dropped, MADV_DONTNEED) == 0, "madvise");
		for (size_t i = 0; i < dropped; i++)
			must(p[i] == 0, "what was dropped is there");
		fill_from(p, dropped, at + ahead * PAGE, 0);
	}
}

/* Pages that the kernel may take come into use again. */
static void lazily_freed(void)
{
	for (unsigned i = 0; i < 2 * bytes / MUCH; i++) {
		unsigned char *p = map(MUCH);

		fill(p, MUCH, i);
		must(madvise(p, MUCH, MADV_FREE) == 0, "MADV_FREE");
		fill(p, MUCH, i + 100);
		usleep(30000);
		verify(p, MUCH, i + 100);
	}
}

/* What was there before a guard does not come back after it, whether it was out or not. */
static void guards(void)
{
	unsigned char *p = map(MUCH);

	fill(p, MUCH, 1);
	fill(base, bytes, 0);
	fill(p + MUCH / 2, MUCH / 2, 2);
	if (madvise(p, MUCH, MADV_GUARD_INSTALL) != 0)
		return; /* not in this kernel */
	fill(base, bytes, 0);
	must(madvise(p, MUCH, MADV_GUARD_REMOVE) == 0, "MADV_GUARD_REMOVE");
	for (size_t i = 0; i < MUCH; i++)
		must(p[i] == 0, "something is left behind a guard");
	fill(p, MUCH, 3);
	fill(base, bytes, 0);
	verify(p, MUCH, 3);
}

/* The thread that the process is named after ends before the others. */

static void *go_on(void *unused)
{
	usleep(300000);
	for (size_t at = 0; at < bytes; at += MUCH) {
		unsigned char *p = map(MUCH);

		fill(p, MUCH, (unsigned)at);
		usleep(20000);
	}
	verify(base, bytes, 0);
	puts("ok");
	exit(0);
	return unused;
}

static void main_ends(void)
{
	pthread_t t;

	start(&t, NULL, go_on);
	pthread_exit(NULL);
}

/* A child makes threads, with stacks of threads that its parent has joined long ago. */

static pthread_barrier_t all_there;

static void *use_stack(void *unused)
{
	volatile unsigned char some[20 * PAGE];

	for (size_t i = 0; i < sizeof(some); i += PAGE)
		some[i] = 1;
	pthread_barrier_wait(&all_there);
	return unused;
}

static void *nothing(void *unused)
{
	return unused;
}

static void cached_stacks(void)
{
	enum { THREADS = 16 };
	pthread_t t[THREADS];
	pthread_attr_t attr;
	pid_t pid;

	pthread_attr_init(&attr);
	pthread_attr_setguardsize(&attr, 0);
	pthread_attr_setstacksize(&attr, 512 << 10);
	pthread_barrier_init(&all_there, NULL, THREADS);
	for (int i = 0; i < THREADS; i++)
		start(&t[i], &attr, use_stack);
	for (int i = 0; i < THREADS; i++)
		pthread_join(t[i], NULL);
	for (int i = 0; i < 4; i++) {
		fill(base, bytes, 0);
		usleep(200000);
	}
	pid = fork();
	if (pid == 0) {
		start(&t[0], &attr, nothing);
		_exit(pthread_join(t[0], NULL));
	}
	must(end_of(pid) == 0, "the child failed");
}

/* Keeps only the descriptors that it knows and the rights that it needs. */
static void become_daemon(void)
{
	for (int fd = 3; fd < 1024; fd++)
		close(fd);
	if (geteuid() == 0)
		must(setgroups(0, NULL) == 0 && setgid(65534) == 0 && setuid(65534) == 0, "setuid");
}

static void fork_and_verify(void)
{
	for (int i = 0; i < 3; i++) {
		pid_t pid = fork();

		if (pid == 0) {
			verify(base, bytes, 0);
			_exit(0);
		}
		must(end_of(pid) == 0, "a child failed");
	}
}

static void daemon_forks(void)
{
	become_daemon();
	fork_and_verify();
}

/* Before it has taken any memory. */
static void daemon_grows(void)
{
	become_daemon();
	base = map(bytes);
	fill(base, bytes, 0);
	fork_and_verify();
}

static const struct {
	const char *name;
	void (*run)(void);
	int begins_empty;
} modes[] = {
	{ "changes", changes, 0 },
	{ "restless", restless, 0 },
	{ "stopped-in-fork", stopped_in_fork, 0 },
	{ "other-forks", other_forks, 0 },
	{ "reserves", reserves, 1 },
	{ "maps-itself", maps_itself, 1 },
	{ "holes", holes, 1 },
	{ "drops-ahead", drops_ahead, 0 },
	{ "lazily-freed", lazily_freed, 0 },
	{ "guards", guards, 0 },
	{ "main-ends", main_ends, 0 },
	{ "cached-stacks", cached_stacks, 0 },
	{ "daemon-forks", daemon_forks, 0 },
	{ "daemon-grows", daemon_grows, 1 },
};

int main(int argc, char **argv)
{
	const size_t nr = sizeof(modes) / sizeof(modes[0]);

	if (argc == 2 && strcmp(argv[1], "list") == 0) {
		for (size_t i = 0; i < nr; i++)
			puts(modes[i].name);
		return 0;
	}
	for (size_t i = 0; argc == 3 && i < nr; i++) {
		if (strcmp(argv[1], modes[i].name) != 0)
			continue;
		bytes = strtoul(argv[2], NULL, 10) << 20;
		if (!modes[i].begins_empty) {
			base = map(bytes);
			fill(base, bytes, 0);
		}
		modes[i].run();
		verify(base, bytes, 0);
		puts("ok");
		return 0;
	}
	fprintf(stderr, "usage: corners MODE MIB, or corners list\n");
	return 2;
}
