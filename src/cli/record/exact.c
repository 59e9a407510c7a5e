/*
 * Every load, store and instruction, by valgrind's tool lackey, which prints them.
 *
 *     command under valgrind ──┐ log, a line a write                       ┌─► lackey.c ─► trace
 *     its children ────────────┴─► Unix socket          ─► recvmsg: (pid, bytes) ┘
 *
 * Why a socket. After a fork parent and child write to the same log, and the lines of accesses do not say whose
 * they are. The receiver of a Unix socket is told who wrote each piece (SO_PASSCRED), and the kernel
 * never puts pieces of two writers into one. So one descriptor serves all processes of the command,
 * in the order in which things happened. A pipe cannot tell; a file for each process would
 * have to be stored; valgrind's own --log-socket is shared by parent and child just the same.
 *
 * The socket is also what holds the program back: it cannot be more than some hundred lines ahead of us. That
 * is why /proc/PID/maps, read at the first line of an image, shows what the image began with (tracee.c).
 *
 * Programs close descriptors that they do not know (closefrom, daemons). Valgrind keeps some for itself
 * above the soft limit on open files and refuses to close those for the program; the log goes there.
 *
 * Cost. 1.1 µs a line, most of it the system call that writes it; lackey.c reads one in 0.1 µs, on another CPU if there
 * is one. A program runs some thousand times slower than alone, its threads one at a time.
 */
#include "cli/record/exact.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "cli/record/lackey.h"
#include "cli/msg.h"
#include "cli/procstat.h"
#include "cli/run/watch.h"

#define READ_BYTES (256 * KIB)
#define READS_A_TURN 64 /* before signals are looked at again */
#define LOG_BYTES (512 * KIB)   /* that the kernel may hold; a line takes 768 */
#define BATCH_NS 200000
#define FAR_AWAY 512    /* above the soft limit: every image in a row of execs raises its limit by 12 */

struct exact {
	struct lackey lackey;
	int read_fd, write_fd;
	char log[READ_BYTES];
};

int exact_find(const char *command, struct program *valgrind)
{
	struct program p;
	int err = program_locate(command, &p);

	if (err != 0)
		return err;
	valgrind->shell = false;
	if (program_search("valgrind", valgrind) == 0)
		return 0;
	return msg_fail(EXIT_STEWARD, "--exact",
			"valgrind is not installed; install the package valgrind, or record without --exact");
}

/* Where a program cannot close it, or the highest place that there is. Returns the new descriptor or -errno. */
static int move_away(int fd)
{
	struct rlimit before, more;
	int moved;

	if (getrlimit(RLIMIT_NOFILE, &before) != 0)
		return -errno;
	more = before;
	more.rlim_cur = MIN(before.rlim_cur + FAR_AWAY + 1, before.rlim_max);
	if (setrlimit(RLIMIT_NOFILE, &more) != 0)
		return -errno;
	moved = fcntl(fd, F_DUPFD, (int)more.rlim_cur - 1);
	if (moved < 0)
		moved = -errno;
	setrlimit(RLIMIT_NOFILE, &before);
	return moved;
}

static int open_log(struct exact *x)
{
	int fds[2], on = 1, room = LOG_BYTES;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0)
		return -errno;
	x->read_fd = fds[0];
	setsockopt(fds[1], SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
	x->write_fd = move_away(fds[1]);
	close(fds[1]);
	if (x->write_fd < 0)
		return x->write_fd;
	return setsockopt(x->read_fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)) == 0 ? 0 : -errno;
}

/* One piece of log: its length, 0 if there is none at the moment. */
static size_t receive(struct exact *x, int32_t *pid)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(struct ucred))];
	} control = { .bytes = { 0 } };
	struct iovec iov = { .iov_base = x->log, .iov_len = sizeof(x->log) };
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof(control.bytes),
	};
	ssize_t n = recvmsg(x->read_fd, &msg, MSG_DONTWAIT);
	struct cmsghdr *c = n > 0 ? CMSG_FIRSTHDR(&msg) : NULL;
	struct ucred peer;

	if (c == NULL || c->cmsg_type != SCM_CREDENTIALS || c->cmsg_len != CMSG_LEN(sizeof(peer)))
		return 0;
	memcpy(&peer, CMSG_DATA(c), sizeof(peer));
	*pid = peer.pid;
	return (size_t)n;
}

static void ready(void *ctx)
{
	struct exact *x = ctx;

	for (unsigned i = 0; i < READS_A_TURN; i++) {
		int32_t pid;
		size_t n = receive(x, &pid);

		if (n == 0) {
			x->lackey.drained = true;
			/* Whoever waits for each line is woken for each line. */
			nanosleep(&(struct timespec){ .tv_nsec = BATCH_NS }, NULL);
			return;
		}
		lackey_input(&x->lackey, pid, x->log, n);
	}
}

static bool gone(int32_t pid)
{
	return watch_is_gone(pid, 0);
}

static void tick(void *ctx, uint64_t now_ns)
{
	(void)now_ns;
	lackey_sweep(&((struct exact *)ctx)->lackey, gone);
}

/* What is still in the socket was written before the command ended. */
static void end(void *ctx)
{
	struct exact *x = ctx;

	do {
		x->lackey.drained = false;
		ready(x);
	} while (!x->lackey.drained);
	lackey_end(&x->lackey);
}

/* valgrind OPTION… -- COMMAND ARG…; NULL: no memory. */
static char **command_line(char **argv, char *log)
{
	const char *const options[] = { "valgrind", "--command-line-only=yes", "--tool=lackey", "--basic-counts=no",
					"--trace-mem=yes", "--trace-children=yes", "--trace-syscalls=yes", "--trace-sched=yes",
					"--run-libc-freeres=no", "--vgdb=no", log, "--" };
	size_t n = 0;
	char **line;

	while (argv[n] != NULL)
		n++;
	line = calloc(ARRAY_SIZE(options) + n + 1, sizeof(*line));
	if (line == NULL)
		return NULL;
	memcpy(line, options, sizeof(options));
	memcpy(line + ARRAY_SIZE(options), argv, n * sizeof(*line));
	return line;
}

int exact_record(const struct program *valgrind, char **argv, struct recording *r, struct outcome *out)
{
	struct exact *x = calloc(1, sizeof(*x));
	struct attendant attendant = { .ctx = x, .end = end, .ready = ready, .tick = tick };
	char option[32], **line = command_line(argv, option);
	int err = x != NULL && line != NULL ? open_log(x) : -ENOMEM;

	if (err != 0) {
		err = msg_fail(EXIT_STEWARD, "--exact", "%s; allow more memory or descriptors", strerror(-err));
	} else {
		x->lackey.r = r;
		x->lackey.name = argv[0];
		x->lackey.look = procstat_read;
		attendant.fd = x->read_fd;
		snprintf(option, sizeof(option), "--log-fd=%d", x->write_fd);
		unsetenv("VALGRIND_OPTS");
		err = supervise(valgrind, line, environ, &attendant, out);
		close(x->write_fd);
		close(x->read_fd);
	}
	free(line);
	free(x);
	return err;
}
