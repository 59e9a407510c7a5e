/*
 * One run for real: a child that touches pages in the order of the sequence, in a group of its own.
 *
 * Everything that is not the experiment is done before the child joins the group, so that it is charged to somebody
 * else: the sequence and the results are in memory that the parent has touched, the child has read them once so that
 * its tables for them are there, its stack is. After that come only the range, its page tables, and ru_majflt.
 *
 * Every touch counts, and every touch writes: the first one of a page, too. (A read would map the zero page first, and
 * a pass before the measurement would leave the lists in a state that no trace tells.) What is written is not zero,
 * because Linux drops a page of zeros without asking zram.
 *
 * The child has a CPU for itself and real-time priority where that is allowed: statistics are brought up to date every
 * two seconds of the clock on the wall, so other load would not only take time, it would change what is counted.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cli/validate/validate.h"
#include "live/clock.h"

#define HUGE_BYTES ((size_t)2 << 20)
#define LOOK_NS 5000000 /* how often the parent looks whether the child has ended, when it has nothing else to do */

/* In memory of both. */
struct shared {
	_Atomic uint64_t touches;
	uint64_t majflt, minflt, ns;
	_Atomic bool done;
};

/* The child gets the last CPU that we may use, the parent the others, if there are any. */
static void take_cpu(const cpu_set_t *allowed, bool child)
{
	cpu_set_t mine = *allowed;
	int last = CPU_SETSIZE - 1;

	while (last > 0 && !CPU_ISSET(last, allowed))
		last--;
	if (child) {
		CPU_ZERO(&mine);
		CPU_SET(last, &mine);
	} else if (CPU_COUNT(allowed) > 1) {
		CPU_CLR(last, &mine);
	}
	sched_setaffinity(0, sizeof(mine), &mine);
}

static void be_first(void)
{
	const struct sched_param param = { .sched_priority = 1 };

	if (sched_setscheduler(0, SCHED_FIFO, &param) != 0)
		setpriority(PRIO_PROCESS, 0, -20);
}

/* A range that begins where a page table does, so that it needs as many as the model's. */
static unsigned char *map_range(uint64_t bytes)
{
	unsigned char *p = mmap(NULL, bytes + HUGE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		return NULL;
	madvise(p, bytes + HUGE_BYTES, MADV_NOHUGEPAGE);
	return (unsigned char *)ALIGN_UP((uintptr_t)p, HUGE_BYTES);
}

static void touch_all(const struct validate_sequence *s, unsigned char *range, struct shared *shared)
{
	struct rusage before, after;
	uint64_t began;

	getrusage(RUSAGE_SELF, &before);
	began = now_ns();
	for (uint64_t i = 0; i < s->n; i++) {
		((volatile unsigned char *)range)[(size_t)s->page[i] << PAGE_SHIFT] = (unsigned char)(i | 1);
		atomic_store_explicit(&shared->touches, i + 1, memory_order_relaxed);
	}
	shared->ns = now_ns() - began;
	getrusage(RUSAGE_SELF, &after);
	shared->majflt = (uint64_t)(after.ru_majflt - before.ru_majflt);
	shared->minflt = (uint64_t)(after.ru_minflt - before.ru_minflt);
	atomic_store(&shared->done, true);
}

static void __attribute__((noreturn)) child(const struct validate_sequence *s, const cpu_set_t *allowed, int procs,
					     struct shared *shared)
{
	unsigned char *range = map_range((uint64_t)s->pages << PAGE_SHIFT);
	uint32_t sum = 0;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	take_cpu(allowed, true);
	be_first();
	for (uint64_t i = 0; i < s->n; i += PAGE_SIZE / sizeof(*s->page))
		sum += ((volatile const uint32_t *)s->page)[i];
	atomic_store(&shared->touches, sum & 0);
	/* Once without a touch, so that the pages it takes itself are there. */
	touch_all(&(struct validate_sequence){ .page = s->page }, range, shared);
	atomic_store(&shared->done, false);
	if (range == NULL || write(procs, "0", 1) != 1)
		_exit(1);
	touch_all(s, range, shared);
	/* The parent looks at the group once more before the tables go. */
	pause();
	_exit(0);
}

static volatile sig_atomic_t interrupted;

static void on_interrupt(int nr)
{
	(void)nr;
	interrupted = 1;
}

/* Reads memory.stat until the child is done, and counts how often; true: it has ended by itself before that. */
static bool watch(pid_t pid, int stat_fd, uint64_t poll_ns, const struct shared *shared, uint64_t *polls)
{
	const struct timespec pause_for = { .tv_nsec = (long)(poll_ns != 0 ? poll_ns : LOOK_NS) };
	char text[16384];
	siginfo_t info;

	while (!atomic_load(&shared->done) && !interrupted) {
		nanosleep(&pause_for, NULL);
		if (poll_ns != 0 && pread(stat_fd, text, sizeof(text), 0) < 0)
			return true;
		(*polls)++;
		info.si_pid = 0;
		if (waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == pid)
			return true;
	}
	return false;
}

static int run_in(const struct memcage *cage, const struct validate_sequence *s, uint64_t poll_ns, struct shared *shared,
		  struct validate_outcome *out, const char **why)
{
	int procs = memcage_file(cage, "cgroup.procs", O_WRONLY), stat_fd = memcage_file(cage, "memory.stat", O_RDONLY);
	cpu_set_t allowed;
	pid_t pid;

	*why = "the group cannot be used";
	if (procs < 0 || stat_fd < 0)
		return -EIO;
	sched_getaffinity(0, sizeof(allowed), &allowed);
	fflush(NULL);
	pid = fork();
	if (pid == 0)
		child(s, &allowed, procs, shared);
	if (pid < 0)
		return -errno;
	take_cpu(&allowed, false);
	be_first();
	bool ended = watch(pid, stat_fd, poll_ns, shared, &out->polls);

	out->kernel_bytes = memcage_kernel(cage);
	out->killed = ended && memcage_oom_kills(cage) > 0;
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	sched_setaffinity(0, sizeof(allowed), &allowed);
	close(procs);
	close(stat_fd);
	*why = "the process ended before it was done";
	if (interrupted)
		return -EINTR;
	return ended && !out->killed ? -ECHILD : 0;
}

static void __attribute__((noreturn)) exec_child(char *const *argv, const cpu_set_t *allowed, int procs)
{
	int null = open("/dev/null", O_RDWR);

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	take_cpu(allowed, true);
	setpriority(PRIO_PROCESS, 0, -20);
	if (null < 0 || dup2(null, STDIN_FILENO) < 0 || dup2(null, STDOUT_FILENO) < 0 || write(procs, "0", 1) != 1)
		_exit(1);
	execvp(argv[0], argv);
	_exit(127);
}

/* Until it has ended, with memory.stat read meanwhile. */
static void watch_program(pid_t pid, int stat_fd, uint64_t poll_ns, struct validate_outcome *out)
{
	const struct timespec pause_for = { .tv_nsec = (long)poll_ns };
	char text[16384];
	siginfo_t info = { 0 };

	while (poll_ns != 0 && !interrupted && info.si_pid != pid) {
		nanosleep(&pause_for, NULL);
		out->polls += pread(stat_fd, text, sizeof(text), 0) > 0;
		if (waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) != 0)
			break;
	}
}

static int exec_in(const struct memcage *cage, char *const *argv, uint64_t poll_ns, struct validate_outcome *out,
		   const char **why)
{
	int procs = memcage_file(cage, "cgroup.procs", O_WRONLY), stat_fd = memcage_file(cage, "memory.stat", O_RDONLY);
	int status = 0;
	struct rusage usage;
	cpu_set_t allowed;
	uint64_t began;
	pid_t pid;

	*why = "the group cannot be used";
	if (procs < 0 || stat_fd < 0)
		return -EIO;
	sched_getaffinity(0, sizeof(allowed), &allowed);
	fflush(NULL);
	began = now_ns();
	pid = fork();
	if (pid == 0)
		exec_child(argv, &allowed, procs);
	close(procs);
	if (pid < 0)
		return -errno;
	watch_program(pid, stat_fd, poll_ns, out);
	close(stat_fd);
	while (wait4(pid, &status, 0, &usage) < 0 && errno == EINTR)
		if (interrupted)
			kill(pid, SIGKILL);
	out->seconds = (double)(now_ns() - began) / 1e9;
	out->majflt = (uint64_t)usage.ru_majflt;
	out->minflt = (uint64_t)usage.ru_minflt;
	out->killed = memcage_oom_kills(cage) > 0;
	out->peak_bytes = memcage_peak(cage);
	out->kernel_bytes = memcage_kernel_peak(cage);
	*why = "the command failed";
	if (interrupted)
		return -EINTR;
	return status != 0 && !out->killed ? -ECHILD : 0;
}

/* Signals set a flag from now on; the name of the next cage. */
static void prepare(const struct validate_place *p, char *name, size_t size)
{
	struct sigaction act = { .sa_handler = on_interrupt };
	static unsigned number;

	sigaction(SIGINT, &act, NULL);
	sigaction(SIGTERM, &act, NULL);
	sigaction(SIGHUP, &act, NULL);
	snprintf(name, size, "%s%u", p->prefix, number++ % 100000);
}

int validate_real_program(const struct validate_place *p, char *const *argv, uint64_t poll_ns, struct validate_outcome *out,
			  const char **why)
{
	char name[sizeof(p->prefix) + 8];
	struct memcage cage;

	*out = (struct validate_outcome){ 0 };
	*why = "no group can be made";
	prepare(p, name, sizeof(name));
	int err = memcage_open(&cage, &p->root, name, p->limit_bytes, p->swappiness);

	if (err == 0) {
		err = exec_in(&cage, argv, poll_ns, out, why);
		memcage_close(&cage);
	}
	return err;
}

int validate_real(const struct validate_place *p, const struct validate_sequence *s, uint64_t poll_ns,
		  struct validate_outcome *out, const char **why)
{
	char name[sizeof(p->prefix) + 8];
	struct shared *shared;
	struct memcage cage;

	prepare(p, name, sizeof(name));
	*out = (struct validate_outcome){ 0 };
	*why = "no group can be made";
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED)
		return -ENOMEM;
	int err = memcage_open(&cage, &p->root, name, p->limit_bytes, p->swappiness);

	if (err == 0) {
		err = run_in(&cage, s, poll_ns, shared, out, why);
		memcage_close(&cage);
	}
	out->majflt = shared->majflt;
	out->minflt = shared->minflt;
	out->touches = atomic_load(&shared->touches);
	out->seconds = (double)shared->ns / 1e9;
	munmap(shared, sizeof(*shared));
	return err;
}
