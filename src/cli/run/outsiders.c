/*
 * A static program never comes to us, so we must go and look: every half second at our descendants, as the kernel lists
 * them (/proc/PID/task/TID/children). Whoever is not in the ledger and runs a program that the library cannot be in, or was started with an
 * environment that does not name it, uses memory beside the budget; its user should know. A process of the ledger may have executed
 * such a program since: of those only the environment is looked at, and seldom. What lives shorter, or whose parent has ended, is not seen.
 */
#include "cli/run/outsiders.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/msg.h"
#include "cli/program.h"

#define LOOK_NS 500000000
#define PROCESSES_MAX 2048 /* looked at in one go */
#define MEMBERS_LOOKS 8    /* at members of the ledger each so many looks */
#define NO_LIBRARY "its environment has lost LD_PRELOAD"

void outsiders_init(struct outsiders *o, const struct ledger *l)
{
	o->ledger = l;
}

static bool is_new(struct outsiders *o, const struct stat *st)
{
	for (unsigned i = 0; i < o->nr_told; i++)
		if (o->told[i].dev == st->st_dev && o->told[i].ino == st->st_ino)
			return false;
	return o->nr_told < OUTSIDERS_TOLD;
}

/* Does the file have this text in it, which may come in two reads? 1, 0, or below 0: it cannot be read. */
static int has_text(const char *path, const char *text)
{
	size_t len = strlen(text), kept = 0;
	char buf[4096];
	ssize_t n;
	int fd = open(path, O_RDONLY | O_CLOEXEC), found = 0;

	if (fd < 0)
		return -1;
	while (found == 0 && (n = read(fd, buf + kept, sizeof(buf) - kept)) > 0) {
		found = memmem(buf, kept + (size_t)n, text, len) != NULL;
		n += (ssize_t)kept;
		kept = MIN((size_t)n, len - 1);
		memmove(buf, buf + (size_t)n - kept, kept);
	}
	close(fd);
	return found;
}

/*
 * It was executed without the library. Programs write over their environment to change what ps shows (nginx, PostgreSQL), so what is
 * mapped decides. One that cannot be asked is not told of, and the launcher's own helpers are none of the run.
 */
static bool lost_library(int32_t pid)
{
	char path[32];
	struct stat own, exe;

	snprintf(path, sizeof(path), "/proc/%d/exe", pid);
	if (stat("/proc/self/exe", &own) != 0 || stat(path, &exe) != 0 || (own.st_dev == exe.st_dev && own.st_ino == exe.st_ino))
		return false;
	snprintf(path, sizeof(path), "/proc/%d/environ", pid);
	if (has_text(path, LEDGER_ENV "=") != 0)
		return false;
	snprintf(path, sizeof(path), "/proc/%d/maps", pid);
	return has_text(path, "/") == 1 && has_text(path, "/libsteward-") == 0;
}

static void look_at(struct outsiders *o, int32_t pid, bool member)
{
	char exe[32], path[32], name[16] = "?";
	struct stat st;
	const char *why;
	FILE *f;

	snprintf(exe, sizeof(exe), "/proc/%d/exe", pid);
	why = member ? NULL : program_obstacle(exe);
	if (why == NULL && lost_library(pid))
		why = NO_LIBRARY;
	/* Of a closed one, the process stands for its program. */
	if (why == NULL || (stat(exe, &st) != 0 && lstat(exe, &st) != 0) || !is_new(o, &st))
		return;
	snprintf(path, sizeof(path), "/proc/%d/comm", pid);
	f = fopen(path, "re");
	if (f != NULL) {
		(void)!fscanf(f, "%15[^\n]", name);
		fclose(f);
	}
	msg_note("%s (pid %d): %s, so it runs outside of the budget; leave room for it beside --ram", name, pid, why);
	o->told[o->nr_told].dev = st.st_dev;
	o->told[o->nr_told++].ino = st.st_ino;
}

/* Appends the children of one thread to pids. */
static unsigned add_children(const char *path, int32_t *pids, unsigned n)
{
	FILE *f = fopen(path, "re");
	int pid;

	while (f != NULL && n < PROCESSES_MAX && fscanf(f, "%d", &pid) == 1)
		pids[n++] = pid;
	if (f != NULL)
		fclose(f);
	return n;
}

static unsigned add_children_of(int32_t pid, int32_t *pids, unsigned n)
{
	char path[64];
	const struct dirent *d;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	dir = opendir(path);
	while (dir != NULL && (d = readdir(dir)) != NULL) {
		if (d->d_name[0] < '0' || d->d_name[0] > '9')
			continue;
		snprintf(path, sizeof(path), "/proc/%d/task/%.12s/children", pid, d->d_name);
		n = add_children(path, pids, n);
	}
	if (dir != NULL)
		closedir(dir);
	return n;
}

void outsiders_tick(struct outsiders *o, uint64_t now)
{
	static int32_t pids[PROCESSES_MAX];
	unsigned n;
	bool members;

	if (now < o->next_ns)
		return;
	o->next_ns = now + LOOK_NS;
	members = o->looks++ % MEMBERS_LOOKS == 1;
	n = add_children_of((int32_t)getpid(), pids, 0);
	for (unsigned i = 0; i < n; i++) {
		n = add_children_of(pids[i], pids, n);

		bool member = ledger_slot_of(o->ledger, pids[i]) != NULL;

		if (!member || members)
			look_at(o, pids[i], member);
	}
}
