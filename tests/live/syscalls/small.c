/* Calls that read or write a small structure, a string or a word: where a fault in the kernel is easily forgotten. */
#include "syscalls.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

struct raw_dirent {
	uint64_t ino;
	int64_t off;
	unsigned short len;
	unsigned char type;
	char name[];
};

void mode_getdents(void)
{
	char dir[64], path[128];
	const char *tmp = getenv("TMPDIR");

	snprintf(dir, sizeof(dir), "%.40s/dents.XXXXXX", tmp != NULL && strlen(tmp) < 40 ? tmp : "/tmp");
	must(mkdtemp(dir) != NULL, "mkdtemp %s", dir);
	for (unsigned i = 0; i < 300; i++) {
		snprintf(path, sizeof(path), "%s/entry-with-a-long-name-%u", dir, i);
		must(close(open(path, O_CREAT | O_WRONLY, 0600)) == 0, "open %s", path);
	}
	for (unsigned k = 0; k < 30; k++) {
		int fd = open(dir, O_RDONLY | O_DIRECTORY);
		uint64_t sum = 0;
		unsigned found = 0;

		for (;;) {
			size_t i = pick(4);
			long got = syscall(SYS_getdents64, fd, page_at(i) + 8, 3 * PAGE);

			must(got >= 0, "getdents64");
			for (long at = 0; at < got;) {
				struct raw_dirent *d = (void *)(page_at(i) + 8 + at);

				if (strncmp(d->name, "entry-with-a-long-name-", 23) == 0) {
					found++;
					sum += strtoul(d->name + 23, NULL, 10);
				}
				at += d->len;
			}
			if (got == 0)
				break;
			restore(i, 4);
		}
		must(found == 300 && sum == 299 * 300 / 2, "getdents64 returned %u of 300 entries", found);
		close(fd);
	}
	for (unsigned i = 0; i < 300; i++) {
		snprintf(path, sizeof(path), "%s/entry-with-a-long-name-%u", dir, i);
		unlink(path);
	}
	rmdir(dir);
}

/* Calls that fill a small structure, or read a string, in the middle of a page. */
void mode_small(void)
{
	struct stat expected;
	char cwd[4096];

	must(fstat(file, &expected) == 0 && getcwd(cwd, sizeof(cwd)) != NULL, "fstat");
	for (unsigned k = 0; k < CALLS; k++) {
		size_t a = pick(1), b = pick(1), c = pick(2), d = pick(1);
		struct stat *st = (void *)(page_at(a) + 1024);
		struct timespec *ts = (void *)(page_at(b) + 512);
		char *where = (char *)page_at(c) + 4000, *path = (char *)page_at(d) + 100;

		must(fstat(file, st) == 0 && st->st_ino == expected.st_ino && st->st_size == expected.st_size, "fstat");
		restore(a, 1);
		must(syscall(SYS_clock_gettime, CLOCK_MONOTONIC, ts) == 0 && ts->tv_nsec < 1000000000, "clock_gettime by system call");
		restore(b, 1);
		must(clock_gettime(CLOCK_MONOTONIC, ts) == 0 && ts->tv_nsec < 1000000000, "clock_gettime by the vDSO");
		restore(b, 1);
		must(getcwd(where, PAGE) == where && strcmp(where, cwd) == 0, "getcwd");
		restore(c, 2);
		strcpy(path, "/proc/self/status");
		for (unsigned j = 0; j < 8; j++)
			verify((d + 1 + below64(&seed, pages - 1)) % pages, 1);
		int fd = open(path, O_RDONLY);
		must(fd >= 0 && close(fd) == 0, "open with a paged-out name");
		restore(d, 1);
	}
}

static struct {
	_Atomic uint32_t *word;
	uint32_t rounds;
} game;

static void futex_wait_for(_Atomic uint32_t *word, uint32_t value)
{
	uint32_t now;

	while ((now = atomic_load(word)) != value)
		must(syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, now, NULL, NULL, 0) == 0 || errno == EAGAIN || errno == EINTR,
		     "futex wait");
}

static void futex_set(_Atomic uint32_t *word, uint32_t value)
{
	atomic_store(word, value);
	must(syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0) >= 0, "futex wake");
}

static void *futex_partner(void *arg)
{
	(void)arg;
	for (uint32_t k = 0; k < game.rounds; k++) {
		futex_wait_for(&game.word[k % 1024], k + 1);
		futex_set(&game.word[1024 + k % 1024], k + 1);
	}
	return NULL;
}

void mode_futex(void)
{
	pthread_t partner;
	size_t at = pick(2);

	memset(page_at(at), 0, 2 * PAGE);
	game.word = (_Atomic uint32_t *)(void *)page_at(at);
	game.rounds = CALLS;
	must(pthread_create(&partner, NULL, futex_partner, NULL) == 0, "pthread_create");
	for (uint32_t k = 0; k < CALLS; k++) {
		futex_set(&game.word[k % 1024], k + 1);
		futex_wait_for(&game.word[1024 + k % 1024], k + 1);
		for (unsigned j = 0; j < 200; j++) {
			size_t i = pick(1);

			if (i != at && i != at + 1)
				verify(i, 1);
		}
	}
	pthread_join(partner, NULL);
	restore(at, 2);
}

void mode_poll(void)
{
	int ends[2], ep = epoll_create1(0);
	struct epoll_event want = { .events = EPOLLIN, .data.u64 = 0x1234567890abcdef };

	must(pipe(ends) == 0 && write(ends[1], "x", 1) == 1, "pipe");
	must(ep >= 0 && epoll_ctl(ep, EPOLL_CTL_ADD, ends[0], &want) == 0, "epoll_ctl");
	for (unsigned k = 0; k < CALLS; k++) {
		size_t a = pick(1), b = pick(1), c = pick(1);
		struct pollfd *pfd = (void *)(page_at(a) + 8 * below64(&seed, 500));
		struct epoll_event *ev = (void *)(page_at(b) + 16 * below64(&seed, 240));
		fd_set *set = (void *)(page_at(c) + 256);

		*pfd = (struct pollfd){ .fd = ends[0], .events = POLLIN };
		must(poll(pfd, 1, 1000) == 1 && pfd->revents == POLLIN, "poll");
		restore(a, 1);
		must(epoll_wait(ep, ev, 2, 1000) == 1 && ev->data.u64 == want.data.u64, "epoll_wait");
		restore(b, 1);
		FD_ZERO(set);
		FD_SET(ends[0], set);
		struct timeval tv = { 1, 0 };
		must(select(ends[0] + 1, set, NULL, NULL, &tv) == 1 && FD_ISSET(ends[0], set), "select");
		restore(c, 1);
	}
	close(ep);
	close(ends[0]);
	close(ends[1]);
}

static volatile sig_atomic_t signals_seen;

static void on_signal(int sig, siginfo_t *info, void *context)
{
	(void)sig;
	(void)context;
	signals_seen += info->si_pid == getpid();
}

/* The kernel writes the signal frame to a stack that is paged out. */
void mode_sigaltstack(void)
{
	struct sigaction sa = { .sa_sigaction = on_signal, .sa_flags = SA_ONSTACK | SA_SIGINFO };
	stack_t off = { .ss_flags = SS_DISABLE };

	must(sigaction(SIGUSR1, &sa, NULL) == 0, "sigaction");
	for (int k = 0; k < CALLS / 3; k++) {
		size_t i = pick(16);
		stack_t stack = { .ss_sp = page_at(i), .ss_size = 16 * PAGE };

		must(sigaltstack(&stack, NULL) == 0, "sigaltstack");
		must(kill(getpid(), SIGUSR1) == 0 && signals_seen == k + 1, "signal %d did not arrive", k);
		must(sigaltstack(&off, NULL) == 0, "sigaltstack off");
		restore(i, 16);
	}
}
