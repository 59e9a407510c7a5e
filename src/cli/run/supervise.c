/*
 * The launcher between terminal and command: to both it should be as if the
 * other one stood there directly.
 *
 *   signal from            reaches the command by
 *   the terminal           the kernel: the whole foreground group gets it
 *   a process (kill)       us: the signal is passed on
 *   the command itself     nobody: it meant its group, of which we are one
 *
 * All signals are blocked here and read from a signalfd, so none interrupts
 * anything and the command starts with the mask and the dispositions that we
 * were started with. The kernel's own signals say so (SI_KERNEL); of those only
 * SIGHUP is passed on, since it may go to a session leader alone.
 *
 * Job control: the command stops, waitpid tells us, we stop ourselves, and the
 * shell sees a stopped job. Whoever continues us continues the command. And whoever continues the
 * command alone continues us: a child that we leave behind for as long, the waker, sees it and tells us.
 *
 * Killed with SIGKILL, we cannot pass it on; PR_SET_PDEATHSIG does for the command
 * and the keeper (keeper.c) for what the command has started, so that nothing
 * outlives `kill -9` of what looks like the program.
 */
#include "cli/run/supervise.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/sys.h"
#include "cli/msg.h"
#include "cli/procstat.h"
#include "live/clock.h"

#define TICK_MS 50
#define WAKER_MS 50

struct child {
	pid_t pid;
	bool ended;
	bool woken; /* continued by somebody else; the SIGCONT that woke us is then not for it */
	int wait_status;
	struct rusage usage;
};

/* What the command is to start with, and what we change for ourselves. */
struct signals {
	sigset_t mask;
	struct sigaction chld;
};

static uint64_t timeval_ns(struct timeval t)
{
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_usec * 1000;
}

/* Everything but the signals of our own mistakes, which must stay deadly. */
static void block_signals(sigset_t *blocked, struct signals *before)
{
	static const int ours[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS };
	struct sigaction wait_for_children = { .sa_handler = SIG_DFL };

	sigfillset(blocked);
	for (unsigned i = 0; i < ARRAY_SIZE(ours); i++)
		sigdelset(blocked, ours[i]);
	sigprocmask(SIG_SETMASK, blocked, &before->mask);
	/* Ignored by our parent, it would take the exit status away from us. */
	sigaction(SIGCHLD, &wait_for_children, &before->chld);
}

/* In the child: never returns. The errno of a failed exec goes through the pipe. */
static void execute(const struct program *p, char **argv, char **envp, const struct signals *before,
		    pid_t launcher, int pipe_fd)
{
	int err;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() == launcher) {
		sigaction(SIGCHLD, &before->chld, NULL);
		sigprocmask(SIG_SETMASK, &before->mask, NULL);
		execve(p->shell ? "/bin/sh" : p->path, argv, envp);
		err = errno;
		(void)!write(pipe_fd, &err, sizeof(err));
	}
	_exit(EXIT_STEWARD);
}

/* For a text without "#!": sh PATH ARG…; else argv as it is. NULL: no memory. */
static char **command_line(const struct program *p, char **argv)
{
	size_t n = 0;
	char **line;

	if (!p->shell)
		return argv;
	while (argv[n] != NULL)
		n++;
	line = calloc(n + 2, sizeof(*line));
	if (line == NULL)
		return NULL;
	line[0] = (char *)"/bin/sh";
	line[1] = (char *)p->path;
	memcpy(line + 2, argv + 1, n * sizeof(*line));
	return line;
}

int supervise_no_process(const char *command, int err)
{
	return msg_fail(EXIT_STEWARD, command, "no process for it: %s; end other processes", strerror(err));
}

static int start(const struct program *p, char **argv, char **envp, const struct signals *before,
		 struct child *c)
{
	char **line = command_line(p, argv);
	pid_t launcher = getpid();
	int fds[2], err = 0;

	if (line == NULL || pipe2(fds, O_CLOEXEC) != 0)
		return msg_fail(EXIT_STEWARD, argv[0], "%s; try again with more memory", strerror(errno));
	c->pid = fork();
	if (c->pid == 0)
		execute(p, line, envp, before, launcher, fds[1]);
	if (c->pid < 0)
		err = errno;
	close(fds[1]);
	if (line != argv)
		free(line);
	if (c->pid < 0) {
		close(fds[0]);
		return supervise_no_process(argv[0], err);
	}

	ssize_t n = read(fds[0], &err, sizeof(err));
	close(fds[0]);
	if (n != (ssize_t)sizeof(err))
		return 0;
	waitpid(c->pid, NULL, 0);
	return msg_fail(err == ENOENT ? EXIT_NOT_FOUND : EXIT_NOT_EXEC, argv[0], "it cannot be executed (%s); check the file",
			strerror(err));
}

/* The waker, which no signal to the job reaches. */
static void __attribute__((noreturn)) wait_to_wake(pid_t command, pid_t launcher)
{
	static const struct timespec pause = { .tv_nsec = WAKER_MS * 1000000 };

	setsid();
	prctl(PR_SET_NAME, "stw-waker");
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	sys_close_range(0, ~0u, 0);
	while (getppid() == launcher) {
		if (!procstat_is_stopped(command) && procstat_is_stopped(launcher))
			kill(launcher, SIGCONT);
		nanosleep(&pause, NULL);
	}
	_exit(0);
}

static void stop_with(pid_t command)
{
	pid_t launcher = getpid(), waker = fork();

	if (waker == 0)
		wait_to_wake(command, launcher);
	raise(SIGSTOP);
	if (waker < 0)
		return;
	kill(waker, SIGKILL);
	waitpid(waker, NULL, 0);
}

/* Stops, continuations and the end of the command. */
static void reap(struct child *c)
{
	struct rusage usage;
	int status;

	while (wait4(c->pid, &status, WNOHANG | WUNTRACED | WCONTINUED, &usage) == c->pid) {
		if (WIFSTOPPED(status)) {
			c->woken = false;
			stop_with(c->pid);
		} else if (WIFCONTINUED(status)) {
			c->woken = true;
		} else {
			c->ended = true;
			c->wait_status = status;
			c->usage = usage;
			return;
		}
	}
}

static void pass_on(struct child *c, const struct signalfd_siginfo *si)
{
	int sig = (int)si->ssi_signo;
	bool sent = si->ssi_code <= 0;

	if (sig == SIGCHLD || c->ended)
		return;
	if (sent && si->ssi_pid == (uint32_t)c->pid)
		return;
	/* Whoever woke us up has perhaps woken the command too: once is enough. */
	if (sig == SIGCONT) {
		bool woken;

		reap(c);
		woken = c->woken;
		c->woken = false;
		if (c->ended || woken)
			return;
	}
	if (si->ssi_code == SI_QUEUE)
		sigqueue(c->pid, sig, (union sigval){ .sival_ptr = (void *)(uintptr_t)si->ssi_ptr });
	else if (sent || sig == SIGHUP)
		kill(c->pid, sig);
}

static void read_signals(int fd, struct child *c)
{
	struct signalfd_siginfo si;

	while (read(fd, &si, sizeof(si)) == (ssize_t)sizeof(si))
		pass_on(c, &si);
}

static void serve(int signal_fd, struct child *c, const struct attendant *a)
{
	struct pollfd fds[] = {
		{ .fd = signal_fd, .events = POLLIN },
		{ .fd = a->fd, .events = POLLIN },
	};
	uint64_t next = now_ns();

	while (!c->ended) {
		uint64_t now = now_ns();

		if (now >= next) {
			a->tick(a->ctx, now);
			next = now + TICK_MS * 1000000u;
		}
		poll(fds, ARRAY_SIZE(fds), (int)(next > now ? (next - now) / 1000000 + 1 : 0));
		if ((fds[1].revents & POLLIN) != 0)
			a->ready(a->ctx);
		if ((fds[0].revents & POLLIN) != 0) {
			read_signals(signal_fd, c);
			reap(c);
		}
	}
	a->tick(a->ctx, now_ns());
}

int supervise(const struct program *p, char **argv, char **envp, const struct attendant *a, struct outcome *out)
{
	struct child c = { .pid = -1 };
	struct signals before;
	sigset_t blocked;
	uint64_t started;
	int signal_fd, err;

	block_signals(&blocked, &before);
	signal_fd = signalfd(-1, &blocked, SFD_CLOEXEC | SFD_NONBLOCK);
	if (signal_fd < 0)
		return msg_fail(EXIT_STEWARD, "signalfd", "%s; allow more descriptors", strerror(errno));
	err = a->begin != NULL ? a->begin(a->ctx, argv[0]) : 0;
	if (err != 0)
		return err;
	started = now_ns();
	err = start(p, argv, envp, &before, &c);
	if (err == 0)
		serve(signal_fd, &c, a);
	if (a->end != NULL)
		a->end(a->ctx);
	close(signal_fd);
	if (err != 0)
		return err;

	out->wall_ns = now_ns() - started;
	out->user_ns = timeval_ns(c.usage.ru_utime);
	out->system_ns = timeval_ns(c.usage.ru_stime);
	out->signal = WIFSIGNALED(c.wait_status) ? WTERMSIG(c.wait_status) : 0;
	out->core = out->signal != 0 && WCOREDUMP(c.wait_status);
	out->status = out->signal != 0 ? 128 + out->signal : WEXITSTATUS(c.wait_status);
	return 0;
}

int supervise_end(const struct outcome *out)
{
	sigset_t set;

	if (out->signal != 0) {
		fflush(NULL);
		/* The core is the command's, not ours. */
		prctl(PR_SET_DUMPABLE, 0);
		signal(out->signal, SIG_DFL);
		sigemptyset(&set);
		sigaddset(&set, out->signal);
		raise(out->signal);
		sigprocmask(SIG_UNBLOCK, &set, NULL);
	}
	return out->status;
}
