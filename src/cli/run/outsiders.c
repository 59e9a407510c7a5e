/*
 * A static program never comes to us, so we must go and look: every half second at our descendants, as the kernel lists
 * them (/proc/PID/task/TID/children). Whoever is not in the ledger and runs a program that the library cannot be in
 * uses memory beside the budget; its user should know. What lives shorter, or whose parent has ended, is not seen.
 */
#include "cli/run/outsiders.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/msg.h"
#include "cli/program.h"

#define LOOK_NS 500000000
#define PROCESSES_MAX 2048 /* looked at in one go */

void outsiders_init(struct outsiders *o, const struct ledger *l)
{
	o->ledger = l;
}

static bool is_member(const struct ledger *l, int32_t pid)
{
	for (uint32_t i = 0, used = atomic_load(&l->slots_used); i < used; i++)
		if (atomic_load(&l->slot[i].pid) == pid)
			return true;
	return false;
}

static bool is_new(struct outsiders *o, const struct stat *st)
{
	for (unsigned i = 0; i < o->nr_told; i++)
		if (o->told[i].dev == st->st_dev && o->told[i].ino == st->st_ino)
			return false;
	return o->nr_told < OUTSIDERS_TOLD;
}

static void look_at(struct outsiders *o, int32_t pid)
{
	char exe[32], path[32], name[16] = "?";
	struct stat st;
	const char *why;
	FILE *f;

	snprintf(exe, sizeof(exe), "/proc/%d/exe", pid);
	why = program_obstacle(exe);
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

	if (now < o->next_ns)
		return;
	o->next_ns = now + LOOK_NS;
	n = add_children_of((int32_t)getpid(), pids, 0);
	for (unsigned i = 0; i < n; i++) {
		n = add_children_of(pids[i], pids, n);
		if (!is_member(o->ledger, pids[i]))
			look_at(o, pids[i]);
	}
}
