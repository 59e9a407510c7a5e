/*
 * Where the thread runs decides what a fault costs: woken on the CPU of the thread that faulted it takes over in a few
 * microseconds, on another one that sleeps ten times as long (live/cpu.c has the figures). So it goes where the thread is that
 * faults, and looks again now and then, because the scheduler moves threads. Where that is says /proc, for any
 * thread and without its help; the look costs a microsecond or two once the file is open.
 */
#include "embed/server.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/eventfd.h>

#include "base/fmt.h"
#include "base/sys.h"
#include "base/uffd.h"
#include "embed/error.h"
#include "live/host.h"
#include "live/urgent.h"

#define FEATURES \
	(UFFD_FEATURE_THREAD_ID | UFFD_FEATURE_PAGEFAULT_FLAG_WP | UFFD_FEATURE_MOVE | UFFD_FEATURE_POISON)
#define LOOK_FAULTS 32     /* between two looks where the thread runs that faults */
#define STAT_PROCESSOR 39  /* field of /proc/PID/stat, proc(5) */

static int make_eventfd(int *fd, int flags)
{
	*fd = eventfd(0, EFD_CLOEXEC | flags);
	return *fd >= 0 ? 0 : error_set(-errno, "cannot make an eventfd: %s", error_words(-errno));
}

int server_open(struct server *s)
{
	s->uffd = host_uffd_new(-1);
	if (s->uffd < 0)
		return error_set(s->uffd, "no right to userfaultfd (%s); steward doctor names the command that gives it",
				 error_words(s->uffd));
	int err = host_uffd_api(s->uffd, FEATURES);

	if (err != 0)
		return error_set(-ENOSYS, "this kernel cannot move pages between addresses; Linux 6.8 or later can");
	return make_eventfd(&s->stop_fd, 0);
}

int server_hear(struct server *s)
{
	return make_eventfd(&s->landed_fd, EFD_NONBLOCK);
}

int server_thread(pthread_t *thread, void *(*run)(void *arg), void *arg)
{
	sigset_t all, before;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	int err = pthread_create(thread, NULL, run, arg);

	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return err == 0 ? 0 : error_set(-err, "cannot start a thread: %s", error_words(-err));
}

static int open_stat(int tid)
{
	char path[64];
	struct fmt f;

	fmt_init(&f, path, sizeof(path));
	fmt_str(&f, "/proc/self/task/");
	fmt_u64(&f, (uint64_t)tid);
	fmt_str(&f, "/stat");
	return sys_open(path, O_RDONLY | O_CLOEXEC, 0);
}

/* The number in that field of a line of stat, whose second one is in brackets and may hold anything; -1: there is none. */
static int stat_field(const char *line, size_t len, unsigned field)
{
	size_t at = len;
	int value = 0;

	while (at > 0 && line[at - 1] != ')')
		at--;
	for (unsigned f = 2; f < field; f++) {
		while (at < len && line[at] != ' ')
			at++;
		at++;
	}
	if (at >= len || line[at] < '0' || line[at] > '9')
		return -1;
	for (; at < len && line[at] >= '0' && line[at] <= '9'; at++)
		value = value * 10 + (line[at] - '0');
	return value;
}

/* The CPU that the thread followed runs on, or -1. */
static int cpu_of_followed(const struct server *s)
{
	char line[512];
	ssize_t n = s->stat_fd >= 0 ? sys_pread(s->stat_fd, line, sizeof(line), 0) : -1;

	return n > 0 ? stat_field(line, (size_t)n, STAT_PROCESSOR) : -1;
}

static void follow(struct server *s, int tid)
{
	cpu_set_t set;

	if (s->followed != 0 && ++s->since < LOOK_FAULTS)
		return;
	if (tid != s->followed) {
		if (s->stat_fd >= 0)
			sys_close(s->stat_fd);
		s->stat_fd = open_stat(tid);
		s->followed = tid;
	}
	s->since = 0;
	int cpu = cpu_of_followed(s);

	if (cpu < 0 || cpu == s->cpu || cpu >= CPU_SETSIZE)
		return;
	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sys_sched_setaffinity(0, sizeof(set), &set) >= 0)
		s->cpu = cpu;
}

/* Faults that wait, without sleeping. Returns how many. */
static unsigned receive(struct server *s, struct server_fault *faults)
{
	struct uffd_msg msg[SERVER_BATCH];
	ssize_t got = sys_read(s->uffd, msg, sizeof(msg));
	unsigned n = 0;

	for (ssize_t i = 0; i < got / (ssize_t)sizeof(msg[0]); i++) {
		if (msg[i].event != UFFD_EVENT_PAGEFAULT)
			continue;
		faults[n++] = (struct server_fault){ ALIGN_DOWN(msg[i].arg.pagefault.address, PAGE_SIZE), msg[i].arg.pagefault.flags,
						     (int)msg[i].arg.pagefault.feat.ptid };
		if (n == 1)
			follow(s, faults[0].thread);
	}
	return n;
}

static void heard(struct server *s)
{
	uint64_t times;

	sys_read(s->landed_fd, &times, sizeof(times));
	s->serve(s->ctx, NULL, 0);
}

static void *run(void *arg)
{
	struct server *s = arg;
	struct pollfd fds[] = { { .fd = s->uffd, .events = POLLIN }, { .fd = s->stop_fd, .events = POLLIN },
				{ .fd = s->landed_fd, .events = POLLIN } };
	struct server_fault faults[SERVER_BATCH];

	urgent();
	for (;;) {
		unsigned n = receive(s, faults);

		if (n > 0) {
			s->serve(s->ctx, faults, n);
			continue;
		}
		sys_poll(fds, ARRAY_SIZE(fds), -1);
		if (fds[2].revents != 0)
			heard(s);
		else if (fds[0].revents == 0 && fds[1].revents != 0)
			return NULL;
	}
}

int server_start(struct server *s, server_serve *serve, void *ctx)
{
	s->serve = serve;
	s->ctx = ctx;
	int err = server_thread(&s->thread, run, s);

	s->running = err == 0;
	return err;
}

void server_stop(struct server *s)
{
	const uint64_t one = 1;
	int *const fds[] = { &s->uffd, &s->stop_fd, &s->landed_fd, &s->stat_fd };

	if (s->running) {
		sys_write(s->stop_fd, &one, sizeof(one));
		pthread_join(s->thread, NULL);
		s->running = false;
	}
	for (unsigned i = 0; i < ARRAY_SIZE(fds); i++) {
		if (*fds[i] >= 0)
			sys_close(*fds[i]);
		*fds[i] = -1;
	}
}
