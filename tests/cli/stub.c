/*
 * Stands in for libsteward-preload.so: joins the run as a real process does and
 * writes fixed figures into its slot, so that the launcher can be tested to the
 * digit and without a live engine. STUB says what to play:
 *
 *     fit       a small program; nothing was paged
 *     pressure  figures of a program under pressure
 *     fatal     Steward stops the program
 *     ask       a program of pressure's size that is out of room: asks who has to go, stops if it is nobody
 *     (unset)   as if the library had not been loaded
 *
 * SIGUSR2 makes the second place that pages go to fail, for a process that plays "pressure".
 * SIGUSR1 makes a process that plays "pressure" count another 10 minor, 20 soft and 30 major faults, and 40 and 50 pages in and out,
 * and 5 that waited for a frame.
 *
 * A process that is not named by STUB_ONLY (its comm), if that is set, plays
 * "fit" whatever STUB says, and one named by STUB_ASKS plays "ask". STUB_LOG gets a line for each process: how it came
 * to the ledger.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/uffd.h"
#include "live/ledger.h"

static struct ledger *map_ledger(int fd)
{
	struct ledger *l = mmap(NULL, sizeof(*l), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	return l != MAP_FAILED && l->magic == LEDGER_MAGIC && l->size == sizeof(*l) ? l : NULL;
}

/* Asks the launcher for the descriptors; returns how many came. */
static size_t ask(const char *name, size_t len, int fds[2], int32_t *pid)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(2 * sizeof(int))];
	} control;
	struct iovec iov = { .iov_base = pid, .iov_len = sizeof(*pid) };
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof(control.bytes),
	};
	int s = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	size_t n = 0;

	memcpy(addr.sun_path + 1, name, len);
	if (s >= 0 &&
	    connect(s, (struct sockaddr *)&addr, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + len)) == 0 &&
	    recvmsg(s, &msg, MSG_CMSG_CLOEXEC) == (ssize_t)sizeof(*pid) && CMSG_FIRSTHDR(&msg) != NULL) {
		n = (CMSG_FIRSTHDR(&msg)->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		memcpy(fds, CMSG_DATA(CMSG_FIRSTHDR(&msg)), n * sizeof(int));
	}
	close(s);
	return n;
}

static void log_line(const char *how, int device, int32_t pid)
{
	const char *path = getenv("STUB_LOG");
	char line[128];
	int uffd = device >= 0 ? ioctl(device, USERFAULTFD_IOC_NEW, O_CLOEXEC) : -1;
	int fd = path != NULL ? open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666) : -1;

	if (fd >= 0) {
		int n = snprintf(line, sizeof(line), "%s device=%s pid=%s\n", how, uffd >= 0 ? "works" : "no",
				 pid == 0 || pid == getpid() ? "same" : "other");

		(void)!write(fd, line, (size_t)n);
		close(fd);
	}
	if (uffd >= 0)
		close(uffd);
}

static struct ledger *join(void)
{
	const char *env = getenv(LEDGER_ENV);
	const char *colon = env != NULL ? strchr(env, ':') : NULL;
	unsigned long long inode;
	int fds[2] = { -1, -1 }, ledger, device;
	int32_t pid = 0;
	struct stat st;

	if (colon == NULL || sscanf(colon, ":%d:%llu:%d", &ledger, &inode, &device) != 3)
		return NULL;
	if (fstat(ledger, &st) == 0 && st.st_ino == inode) {
		log_line("inherited", device, 0);
		return map_ledger(ledger);
	}
	if (ask(env, (size_t)(colon - env), fds, &pid) == 0)
		return NULL;
	log_line("socket", fds[1], pid);
	struct ledger *l = map_ledger(fds[0]);
	close(fds[0]);
	if (fds[1] >= 0)
		close(fds[1]);
	return l;
}

static uint64_t start_time(void)
{
	char text[1024];
	unsigned long long t = 0;
	int fd = open("/proc/self/stat", O_RDONLY | O_CLOEXEC);
	ssize_t n = read(fd, text, sizeof(text) - 1);

	close(fd);
	text[n > 0 ? n : 0] = '\0';
	sscanf(strrchr(text, ')'), ") %*c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %llu", &t);
	return t;
}

static struct ledger_slot *under_pressure;

static void count_more(int sig)
{
	uint64_t *c = under_pressure->counter;

	(void)sig;
	c[VM_pgfault] += 60;
	c[VM_pgminor] += 10;
	c[VM_pgsoft] += 20;
	c[VM_pgmajfault] += 30;
	c[VM_pswpin] += 40;
	c[VM_pswpout] += 50;
	c[VM_allocstall] += 5;
}

static void fail_place(int sig)
{
	(void)sig;
	under_pressure->area[1].state = under_pressure->area[1].worst = SWAP_FAILING;
}

static void play_pressure(struct ledger *l, struct ledger_slot *s)
{
	static const uint64_t counter[VM_COUNTER_NR] = {
		[VM_pgfault] = 1234567, [VM_pgminor] = 1001, [VM_pgsoft] = 1002, [VM_pgmajfault] = 1003,
		[VM_pswpin] = 1005, [VM_pswpout] = 1006, [VM_swap_ra] = 1007,
		[VM_pgsame] = 1009, [VM_pgdiscard] = 1011, [VM_stall_ns] = 1500000000, [VM_kswapd_ns] = 1012,
	};

	s->peak = s->now = (struct ledger_usage){
		.managed = 20000, .pool = 8000, .own = 1500, .unmanaged = 2000,
		.swapped = 90000, .pooled = 24000, .pool_bytes = 24000 * PAGE_SIZE / 3, .filed = 66000,
	};
	s->area[0] = (struct ledger_area){ .used = 24000 };
	s->area[1] = (struct ledger_area){ .used = 66000, .errors = 3, .worst = SWAP_FULL };
	s->frames = (struct ledger_frames){
		.online = 29000, .free = 300, .min = 100, .low = 200, .high = 400, .active = 15000, .inactive = 4000, .sample = 1000,
	};
	s->need_peak = 112000;
	/* Class 3 has slots of 64 bytes: of 64 MiB 48 are in use. */
	s->heap = (struct heap_counts){
		.heaps = 100 * MIB, .free = 10 * MIB, .cached = MIB, .mapped = 20 * MIB, .meta = 2 * MIB,
		.class = { [3] = { .slots = MIB, .used = 3 * MIB / 4 } },
	};
	memcpy(s->counter, counter, sizeof(counter));
	for (unsigned i = 0; i < 98; i++)
		hist_add(&s->fault_ns, 8);
	hist_add(&s->fault_ns, 1024);
	hist_add(&s->fault_ns, 2000000);
	ledger_grant(l, s, 29000);
	under_pressure = s;
	signal(SIGUSR1, count_more);
	signal(SIGUSR2, fail_place);
	atomic_store(&s->state, LEDGER_ENGAGED);
}

static void play_ask(struct ledger *l, struct ledger_slot *s)
{
	play_pressure(l, s);
	atomic_store(&s->oom, LEDGER_OOM_ASKED);
	for (unsigned i = 0; i < 1000 && atomic_load(&s->oom) == LEDGER_OOM_ASKED; i++)
		usleep(10000);
	if (atomic_load(&s->oom) == LEDGER_OOM_GO_ON)
		return;
	strcpy(s->message, "out of room: nobody helped; raise --ram");
	atomic_store(&s->state, LEDGER_FATAL);
	kill(getpid(), SIGKILL);
}

static void play_fatal(struct ledger_slot *s)
{
	strcpy(s->message, "out of room: the budget of 128M is used, pool is full with 128 MiB; raise --ram, or give more with --swap");
	atomic_store(&s->state, LEDGER_FATAL);
	kill(getpid(), SIGKILL);
}

__attribute__((constructor)) static void stub_start(void)
{
	const char *role = getenv("STUB"), *only = getenv("STUB_ONLY"), *asks = getenv("STUB_ASKS");
	struct ledger *l = join();
	struct ledger_slot *s = l != NULL && role != NULL ? ledger_claim(l, getpid(), start_time()) : NULL;
	char comm[16] = "";

	if (s == NULL)
		return;
	prctl(PR_GET_NAME, comm);
	if (only != NULL && strcmp(comm, only) != 0)
		role = "fit";
	if (asks != NULL && strcmp(comm, asks) == 0)
		role = "ask";
	if (strcmp(role, "pressure") == 0) {
		play_pressure(l, s);
	} else if (strcmp(role, "ask") == 0) {
		play_ask(l, s);
	} else if (strcmp(role, "fatal") == 0) {
		play_fatal(s);
	} else {
		s->peak = s->now = (struct ledger_usage){ .managed = 1000, .own = 10, .unmanaged = 500 };
		s->need_peak = 1500;
		ledger_grant(l, s, 1510);
	}
}
