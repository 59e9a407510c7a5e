/*
 * Start-up inside a program: finds the run it belongs to, before the program's
 * own constructors.
 *
 * The environment names the ledger by descriptor and inode; when a parent closed
 * the descriptors, the launcher's socket hands them out again (cli/run/share.h). A
 * process that finds neither, or whose pid means another process to the
 * supervisor, runs as it would without Steward, and says so.
 */
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/fmt.h"
#include "live/engine.h"
#include "malloc/control.h"
#include "preload/preload.h"

bool preload_attached;

/* What the launcher says in LEDGER_ENV. */
static struct run_env {
	char socket[108];
	int ledger_fd, device_fd;
	uint64_t inode;
} run_env;

static void complain(const char *why, const char *what_then)
{
	char text[200];
	struct fmt f;

	fmt_init(&f, text, sizeof(text));
	fmt_str(&f, "steward: cannot join the run: ");
	fmt_str(&f, why);
	fmt_str(&f, "; ");
	fmt_str(&f, what_then);
	fmt_char(&f, '\n');
	sys_write(STDERR_FILENO, text, f.len);
}

static const char goes_on[] = "this process goes on outside of the budget";

bool preload_outside(struct ledger *l)
{
	struct stat ns;

	if (stat("/proc/self/ns/pid", &ns) != 0) {
		complain("/proc is not mounted here", goes_on);
		return true;
	}
	if (ns.st_ino == l->pid_ns)
		return false;
	/* Once a run: a container may start thousands of processes. */
	if (atomic_exchange(&l->told_pid_ns, 1) == 0)
		complain("this process is in another PID namespace", "it and all others there go on outside of the budget");
	return true;
}

/* "SOCKET:LEDGERFD:INODE:UFFDFD" */
static bool parse_env(const char *text, struct run_env *env)
{
	const char *colon = strchr(text, ':');
	char *end;

	if (colon == NULL || (size_t)(colon - text) >= sizeof(env->socket))
		return false;
	memcpy(env->socket, text, (size_t)(colon - text));
	env->socket[colon - text] = '\0';
	env->ledger_fd = (int)strtol(colon + 1, &end, 10);
	if (*end != ':')
		return false;
	env->inode = strtoull(end + 1, &end, 10);
	if (*end != ':')
		return false;
	env->device_fd = (int)strtol(end + 1, &end, 10);
	return *end == '\0';
}

static bool is_ledger(int fd, uint64_t inode)
{
	struct stat st;

	return fd >= 0 && sys_fstat(fd, &st) == 0 && st.st_ino == inode && st.st_size == sizeof(struct ledger);
}

/* /dev/userfaultfd is a misc device: major number 10. */
static bool is_device(int fd)
{
	struct stat st;

	return fd >= 0 && sys_fstat(fd, &st) == 0 && S_ISCHR(st.st_mode) && major(st.st_rdev) == 10;
}

/* Asks the launcher: fds[0] is the ledger, fds[1] the device or -1. 0, -ECONNREFUSED: it has ended; or -EIO. */
static int ask_launcher(const char *name, int *fds)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(2 * sizeof(int))];
	} control;
	int32_t pid;
	struct iovec iov = { .iov_base = &pid, .iov_len = sizeof(pid) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control) };
	size_t len = strlen(name);
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	int err = -EIO;

	memcpy(addr.sun_path + 1, name, len);
	fds[0] = fds[1] = -1;
	if (fd < 0)
		return err;
	if (connect(fd, (struct sockaddr *)&addr, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + len)) != 0) {
		err = errno == ECONNREFUSED ? -ECONNREFUSED : -EIO;
	} else if (recvmsg(fd, &msg, MSG_CMSG_CLOEXEC) == (ssize_t)sizeof(pid)) {
		struct cmsghdr *c = CMSG_FIRSTHDR(&msg);

		if (c != NULL && c->cmsg_type == SCM_RIGHTS) {
			memcpy(fds, CMSG_DATA(c), MIN(c->cmsg_len - CMSG_LEN(0), 2 * sizeof(int)));
			err = 0;
		}
	}
	close(fd);
	return err;
}

/* The source of the allocator under the live engine: plain pages, whose dead content reclaim hears of. */
static struct pagesrc pagesrc_live;

static void discard_bits(uint64_t first, uint64_t last, bool set)
{
	uint64_t *map = engine.discard_map;

	while (first < last) {
		uint64_t bit = first % 64, n = MIN(64 - bit, last - first);
		uint64_t mask = (n == 64 ? ~(uint64_t)0 : (((uint64_t)1 << n) - 1)) << bit;

		if (set)
			__atomic_fetch_or(&map[first / 64], mask, __ATOMIC_RELEASE);
		else
			__atomic_fetch_and(&map[first / 64], ~mask, __ATOMIC_SEQ_CST);
		first += n;
	}
}

static void live_discard(void *addr, size_t bytes)
{
	uint64_t page = (uint64_t)(uintptr_t)addr >> PAGE_SHIFT;

	discard_bits(page, page + (bytes >> PAGE_SHIFT), true);
}

static void live_revive(void *addr, size_t bytes)
{
	uint64_t page = (uint64_t)(uintptr_t)addr >> PAGE_SHIFT;

	discard_bits(page, page + (bytes >> PAGE_SHIFT), false);
}

static void tell_allocator(void)
{
	/* Under a limit on address space there is no room for it: reclaim then treats free heap pages as any others. */
	engine.discard_map = engine_own_memory(DISCARD_MAP_BYTES);
	if (engine.discard_map == NULL)
		return;
	pagesrc_live = pagesrc_plain;
	pagesrc_live.discard = live_discard;
	pagesrc_live.revive = live_revive;
	pagesrc_live.guard = NULL; /* a small range without access below an area is how the engine knows a stack */
	malloc_set_source(&pagesrc_live);
}

static struct ledger *map_ledger(int fd)
{
	struct ledger *l = sys_mmap(NULL, sizeof(*l), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (sys_is_err((long)l))
		return NULL;
	return l->magic == LEDGER_MAGIC && l->size == sizeof(*l) ? l : NULL;
}

/* The device once more, or -1. */
static int ask_device(void)
{
	int fds[2], saved_errno = errno;

	if (ask_launcher(run_env.socket, fds) == 0 && fds[0] >= 0)
		sys_close(fds[0]);
	errno = saved_errno;
	return fds[1];
}

static void attach(const char *text)
{
	int asked[2] = { -1, -1 };

	if (!parse_env(text, &run_env)) {
		complain(LEDGER_ENV " is not what the launcher set", goes_on);
		return;
	}
	bool inherited = is_ledger(run_env.ledger_fd, run_env.inode) && (run_env.device_fd < 0 || is_device(run_env.device_fd));
	int err = inherited ? 0 : ask_launcher(run_env.socket, asked);

	if (err != 0) {
		/* What a daemon starts after the run has ended is no part of it, and reads its children's standard error perhaps. */
		if (err != -ECONNREFUSED)
			complain("its descriptors were closed and the launcher cannot be reached", goes_on);
		return;
	}
	struct ledger *l = map_ledger(inherited ? run_env.ledger_fd : asked[0]);

	if (asked[0] >= 0)
		close(asked[0]);
	if (l == NULL) {
		complain("launcher and library are of different versions", goes_on);
		return;
	}
	if (preload_outside(l)) {
		sys_munmap(l, sizeof(*l));
		if (asked[1] >= 0)
			close(asked[1]);
		return;
	}
	/* A descriptor from the socket stays open: it is close-on-exec, and the next image asks for itself. */
	if (engine_attach(l, inherited ? run_env.device_fd : asked[1]) != 0) {
		if (atomic_exchange(&l->told_full, 1) == 0)
			complain("it has too many processes", "this one and others go on outside of the budget");
		return;
	}
	engine.ask_device = ask_device;
	engine.main_tcb = (uint64_t)(uintptr_t)__builtin_thread_pointer();
	preload_attached = true;
	preload_fork_init();
	preload_thread_starts();
	malloc_count_in(&engine.slot->heap);
	tell_allocator();
	if (l->debug_engage)
		engine_start();
}

/*
 * The library is initialised before all others (-z initfirst), libc included,
 * so getenv does not work yet; the loader passes the environment along.
 */
__attribute__((constructor)) static void preload_init(int argc, char **argv, char **envp)
{
	const size_t len = strlen(LEDGER_ENV);
	int saved_errno = errno;

	(void)argc;
	(void)argv;
	malloc_init(envp, malloc_unwind);
	for (; *envp != NULL; envp++) {
		if (strncmp(*envp, LEDGER_ENV, len) != 0 || (*envp)[len] != '=')
			continue;
		attach(*envp + len + 1);
		break;
	}
	errno = saved_errno;
}
