/*
 * A measurement that is killed must not leave swap behind on somebody's machine. So a second process makes and keeps
 * it; what ties the two is a socket that the kernel closes when the first one ends, by whatever signal:
 *
 *	command ─── fork ──► guard: zram device, mkswap, swapon ──► "done" or why not
 *	   │                   │
 *	   ends ─── EOF ─────► │ closes the groups (which ends who is inside), swapoff, device removed
 *
 * The order matters: swapoff would bring everything back into groups that are at their limit.
 *
 * The guard ignores the signals that a terminal sends to the whole job, has a session of its own, and keeps no
 * descriptor that somebody may be waiting for. `kill -9` of the guard itself is the one way to leave the device on.
 *
 * Devices are made by /sys/class/zram-control/hot_add, so that one that is in use (Fedora swaps on /dev/zram0) is left
 * alone. The header of the area is written here: a page that ends in SWAPSPACE2 (Linux include/linux/swap.h).
 */
#include "cli/validate/zramguard.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/swap.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/sys.h"
#include "base/types.h"
#include "cli/msg.h"

#define CONTROL "/sys/class/zram-control/"
#define PRIO_FIRST (SWAP_FLAG_PREFER | SWAP_FLAG_PRIO_MASK)
#define NODE_TRIES 100 /* of 10 ms, until the device node is there */

/* What the guard says when it has tried. */
struct answer {
	int err;
	const char *why; /* of the same program: the address is good in both */
	int id;
};

static int write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC), err;

	if (fd < 0)
		return -errno;
	err = write_all(fd, text, strlen(text));
	close(fd);
	return err;
}

static int write_attribute(int id, const char *name, const char *text)
{
	char path[64];

	snprintf(path, sizeof(path), "/sys/block/zram%d/%s", id, name);
	return write_file(path, text);
}

/* The number of a new device, or -errno. */
static int add_device(void)
{
	char text[16] = "";
	int fd = open(CONTROL "hot_add", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	int err = n < 0 ? -errno : 0;

	if (fd >= 0)
		close(fd);
	return err != 0 ? err : atoi(text);
}

static void device_path(char *path, size_t size, int id)
{
	snprintf(path, size, "/dev/zram%d", id);
}

static int write_header(const char *device, uint64_t bytes)
{
	static union {
		unsigned char page[PAGE_SIZE];
		struct {
			unsigned char boot[1024];
			uint32_t version, last_page, nr_badpages;
		} info;
	} header;
	const struct timespec moment = { .tv_nsec = 10000000 };
	int fd = -1, err;

	header.info.version = 1;
	header.info.last_page = (uint32_t)(bytes / PAGE_SIZE - 1);
	memcpy(header.page + PAGE_SIZE - 10, "SWAPSPACE2", 10);
	for (unsigned i = 0; i < NODE_TRIES && fd < 0; i++) {
		fd = open(device, O_WRONLY | O_CLOEXEC);
		if (fd < 0)
			nanosleep(&moment, NULL);
	}
	if (fd < 0)
		return -errno;
	err = write_all(fd, (const char *)header.page, PAGE_SIZE);
	if (err == 0 && fsync(fd) != 0)
		err = -errno;
	close(fd);
	return err;
}

static void take_down(int id)
{
	char device[32], text[16];

	device_path(device, sizeof(device), id);
	swapoff(device);
	write_attribute(id, "reset", "1");
	snprintf(text, sizeof(text), "%d", id);
	write_file(CONTROL "hot_remove", text);
}

static void set_up(struct answer *a, uint64_t bytes)
{
	char device[32], size[32];

	a->why = "no zram device can be made; modprobe zram";
	a->id = add_device();
	if (a->id < 0) {
		a->err = a->id;
		return;
	}
	device_path(device, sizeof(device), a->id);
	snprintf(size, sizeof(size), "%llu", (unsigned long long)bytes);
	a->why = "zram has no lz4";
	a->err = write_attribute(a->id, "comp_algorithm", "lz4");
	if (a->err == 0) {
		a->why = "the zram device cannot be sized";
		a->err = write_attribute(a->id, "disksize", size);
	}
	if (a->err == 0) {
		a->why = "the zram device cannot be written";
		a->err = write_header(device, bytes);
	}
	if (a->err == 0 && swapon(device, PRIO_FIRST) != 0) {
		a->why = "swapon of the zram device failed";
		a->err = -errno;
	}
	if (a->err != 0)
		take_down(a->id);
}

static void ignore_signals(void)
{
	static const int ignored[] = { SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGPIPE, SIGTSTP };

	for (unsigned i = 0; i < ARRAY_SIZE(ignored); i++)
		signal(ignored[i], SIG_IGN);
}

static void __attribute__((noreturn)) guard(int fd, uint64_t bytes, const struct memcage_root *r, const char *prefix)
{
	struct answer a = { 0 };
	char end;

	setsid();
	ignore_signals();
	write_file("/proc/self/oom_score_adj", "-1000");
	if (dup2(fd, 0) != 0)
		_exit(1);
	sys_close_range(1, ~0u, 0);
	set_up(&a, bytes);
	if (write(0, &a, sizeof(a)) != (ssize_t)sizeof(a) || a.err == 0) {
		while (read(0, &end, 1) < 0 && errno == EINTR)
			;
		memcage_sweep(r, prefix);
		if (a.err == 0)
			take_down(a.id);
	}
	_exit(0);
}

int zramguard_start(struct zramguard *g, uint64_t bytes, const struct memcage_root *r, const char *prefix, const char **why)
{
	struct answer a = { .err = -EIO };
	int pair[2];

	*why = "no second process can be started";
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
		return -errno;
	g->pid = fork();
	if (g->pid == 0) {
		close(pair[0]);
		guard(pair[1], bytes, r, prefix);
	}
	int err = g->pid < 0 ? -errno : 0;

	close(pair[1]);
	g->fd = pair[0];
	if (err == 0 && read(g->fd, &a, sizeof(a)) != (ssize_t)sizeof(a))
		a = (struct answer){ .err = -EIO, .why = "the process that keeps the swap ended" };
	if (err == 0) {
		err = a.err;
		*why = a.why;
		device_path(g->device, sizeof(g->device), a.id);
	}
	if (err != 0)
		zramguard_stop(g);
	return err;
}

void zramguard_stop(struct zramguard *g)
{
	close(g->fd);
	if (g->pid > 0)
		waitpid(g->pid, NULL, 0);
	g->pid = 0;
}
