#include "cli/run/share.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "cli/msg.h"
#include "cli/procstat.h"
#include "cli/program.h"

/* Out of the way of numbers that programs and shells pick for themselves (bash: 255 and 10, scripts: 200). */
#define HIGH_FD 210

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 8U /* Linux 6.3 */
#endif

/* Moves fd to a high number without close-on-exec; keeps the low one if the limit on descriptors is low. */
static int make_inherited(int fd)
{
	int high = fcntl(fd, F_DUPFD, HIGH_FD);

	if (high >= 0) {
		close(fd);
		return high;
	}
	return fcntl(fd, F_SETFD, 0) == 0 ? fd : -errno;
}

/* Who we are, for those who look for runs. */
static int sign(struct ledger *l, const char *command)
{
	const char *slash = strrchr(command, '/');
	struct procstat stat;
	int err = procstat_read((int32_t)getpid(), &stat);

	if (err != 0)
		return err;
	l->launcher = (int32_t)getpid();
	l->launcher_start = stat.start;
	snprintf(l->command, sizeof(l->command), "%s", slash != NULL && slash[1] != '\0' ? slash + 1 : command);
	return 0;
}

/* The limit on the size of files counts for memory files too; as far as it may be, it is raised for this one. -errno: -EFBIG. */
static int set_size(int fd, off_t bytes)
{
	static const struct rlimit none = { .rlim_cur = RLIM_INFINITY, .rlim_max = RLIM_INFINITY };
	struct rlimit was, most;
	sighandler_t action = signal(SIGXFSZ, SIG_IGN);
	int err;

	getrlimit(RLIMIT_FSIZE, &was);
	most = (struct rlimit){ .rlim_cur = was.rlim_max, .rlim_max = was.rlim_max };
	if (setrlimit(RLIMIT_FSIZE, &none) != 0)
		setrlimit(RLIMIT_FSIZE, &most);
	err = ftruncate(fd, bytes) == 0 ? 0 : -errno;
	setrlimit(RLIMIT_FSIZE, &was);
	signal(SIGXFSZ, action);
	return err;
}

static int make_ledger(struct share *s, const char *command)
{
	unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
	struct stat ns;
	int err, fd = memfd_create(LEDGER_NAME, flags | MFD_NOEXEC_SEAL);

	if (fd < 0 && errno == EINVAL)
		fd = memfd_create(LEDGER_NAME, flags);
	if (fd < 0)
		return -errno;
	err = set_size(fd, sizeof(struct ledger));
	if (err != 0)
		return err;
	/* Sealed: nobody can shrink it under the feet of the others. */
	if (fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0)
		return -errno;
	s->ledger = mmap(NULL, sizeof(struct ledger), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (s->ledger == MAP_FAILED)
		return -errno;
	if (stat("/proc/self/ns/pid", &ns) != 0)
		return -errno;
	s->ledger->pid_ns = ns.st_ino;
	err = sign(s->ledger, command);
	if (err != 0)
		return err;
	s->ledger->size = sizeof(struct ledger);
	s->ledger->magic = LEDGER_MAGIC;
	s->ledger_fd = make_inherited(fd);
	return MIN(s->ledger_fd, 0);
}

static int make_socket(struct share *s, char *name, size_t size)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	uint64_t random;
	int len;

	if (getrandom(&random, sizeof(random), 0) != sizeof(random))
		return -errno;
	len = snprintf(name, size, "steward-%d-%016llx", (int)getpid(), (unsigned long long)random);
	memcpy(addr.sun_path + 1, name, (size_t)len);
	s->listen_fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (s->listen_fd < 0 ||
	    bind(s->listen_fd, (struct sockaddr *)&addr,
		 (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)len)) != 0 ||
	    listen(s->listen_fd, SOMAXCONN) != 0)
		return -errno;
	return 0;
}

int share_open(struct share *s, int device_fd, const char *command)
{
	char name[64];
	struct stat st;
	int err;

	s->device_fd = device_fd >= 0 ? make_inherited(device_fd) : -1;
	err = make_ledger(s, command);
	if (err == 0 && fstat(s->ledger_fd, &st) != 0)
		err = -errno;
	if (err == -EFBIG)
		return msg_fail(EXIT_STEWARD, "ledger", "the limit on the size of files is too low; allow %llu MiB or more (ulimit -f)",
				(unsigned long long)(ALIGN_UP(sizeof(struct ledger), MIB) / MIB));
	if (err != 0)
		return msg_fail(EXIT_STEWARD, "ledger", "%s; allow more memory or descriptors", strerror(-err));
	err = make_socket(s, name, sizeof(name));
	if (err != 0)
		return msg_fail(EXIT_STEWARD, "socket", "%s; allow Unix sockets", strerror(-err));
	snprintf(s->env, sizeof(s->env), LEDGER_ENV "=%s:%d:%llu:%d", name, s->ledger_fd,
		 (unsigned long long)st.st_ino, s->device_fd);
	return 0;
}

int share_environment(struct share *s, const char *preload)
{
	int err = program_preload_first(preload);

	if (err == 0 && putenv(s->env) != 0)
		err = msg_fail(EXIT_STEWARD, "environment", "%s; try again with more memory", strerror(errno));
	return err;
}

/* One message with the descriptors. Whoever does not take it at once gets none. */
static void answer(struct share *s, int fd, int32_t pid)
{
	int fds[2] = { s->ledger_fd, s->device_fd };
	size_t n = s->device_fd >= 0 ? 2 : 1;
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(fds))];
	} control = { .bytes = { 0 } };
	struct iovec iov = { .iov_base = &pid, .iov_len = sizeof(pid) };
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = CMSG_SPACE(n * sizeof(int)),
	};
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(n * sizeof(int));
	memcpy(CMSG_DATA(c), fds, n * sizeof(int));
	(void)sendmsg(fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* It may have changed its user since. */
static bool is_member(const struct ledger *l, int32_t pid)
{
	const struct ledger_slot *slot = ledger_slot_of(l, pid);
	struct procstat stat;

	return slot != NULL && procstat_read(pid, &stat) == 0 && stat.start == slot->start_time;
}

void share_serve(struct share *s)
{
	struct ucred peer;
	socklen_t len;
	int fd;

	while ((fd = accept4(s->listen_fd, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
		len = sizeof(peer);
		if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 &&
		    (peer.uid == geteuid() || peer.uid == 0 || is_member(s->ledger, peer.pid)))
			answer(s, fd, peer.pid);
		close(fd);
	}
}

uint64_t share_ledger_bytes(const struct share *s)
{
	struct stat st;

	return fstat(s->ledger_fd, &st) == 0 ? (uint64_t)st.st_blocks * 512 : 0;
}
