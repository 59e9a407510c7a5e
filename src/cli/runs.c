/*
 * Nobody keeps a list of runs, so none can be out of date: a run is there as long
 * as somebody holds its ledger, a memfd with a name of its own.
 *
 *   /proc/PID/fd/N ──► "/memfd:steward-ledger (deleted)" ──open──► inode seen? seals, size, magic ──► mmap
 *
 * The kernel shows the descriptors of a process to its own user and to root; so
 * everybody sees his own runs. A file of that name may be anybody's work:
 *
 *   - it must be sealed against shrinking, or its maker could kill us with SIGBUS,
 *   - what is read of it is bounded by whoever reads (texts are cut, slots counted here).
 *
 * A process of the run that has closed the descriptor is still known by its slot; one that
 * has no slot (a static program) is known by the descriptor that it has inherited. A look at all
 * descriptors of a machine with 300 processes takes some milliseconds.
 */
#include "cli/runs.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/msg.h"
#include "cli/run/watch.h"

/* What a descriptor turned out to be. */
enum look { LOOK_NOTHING, LOOK_RUN, LOOK_STRANGER, LOOK_ELSEWHERE };

struct found {
	enum look what;
	uint64_t inode;
	int fd;
};

/* Goes through all ledgers that somebody holds, each as often as it is held, until each() returns false. */
struct search {
	bool (*each)(struct search *s, int32_t holder, const struct found *f);
	uint64_t pid_ns;   /* ours */
	bool writable;
	bool failed;       /* out of memory */
	struct runs *all;  /* runs_find */
	uint64_t *seen;    /* inodes of ledgers that are not ours to read, so that each counts once */
	unsigned nr_seen;
	int32_t wanted;    /* runs_open: pid; 0: any */
	struct runs_one *out;
	enum look met;     /* runs_open: the best that wanted has to do with */
	bool several;
};

static bool is_pid(const char *text)
{
	return isdigit((unsigned char)text[0]);
}

/* Is it a ledger that we can read? Its size is what a mapping would reach: nobody can shrink it. */
static enum look look_at(int fd, uint64_t pid_ns, struct found *f)
{
	struct { uint64_t magic; uint32_t size; } head = { 0 };
	uint64_t ns = 0;
	struct stat st;
	int seals = fcntl(fd, F_GET_SEALS);

	if (fstat(fd, &st) != 0 || seals < 0 || (seals & F_SEAL_SHRINK) == 0)
		return LOOK_NOTHING;
	f->inode = st.st_ino;
	/* A launcher that has only just made it has not signed yet. */
	if (pread(fd, &head, sizeof(head), 0) != sizeof(head) || head.magic == 0)
		return LOOK_NOTHING;
	if (head.magic != LEDGER_MAGIC || head.size != sizeof(struct ledger) || (uint64_t)st.st_size < head.size)
		return LOOK_STRANGER;
	if (pread(fd, &ns, sizeof(ns), offsetof(struct ledger, pid_ns)) != sizeof(ns) || ns != pid_ns)
		return LOOK_ELSEWHERE;
	return LOOK_RUN;
}

/* One link of /proc/PID/fd. False: the search is over. */
static bool look_at_link(struct search *s, int32_t holder, const char *path)
{
	static const char name[] = "/memfd:" LEDGER_NAME " ";
	char target[sizeof(name)];
	struct found f = { 0 };
	bool go_on = true;

	if (readlink(path, target, sizeof(target)) < (ssize_t)sizeof(name) - 1 ||
	    memcmp(target, name, sizeof(name) - 1) != 0)
		return true;
	f.fd = open(path, (s->writable ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NONBLOCK);
	if (f.fd < 0)
		return true;
	f.what = look_at(f.fd, s->pid_ns, &f);
	if (f.what != LOOK_NOTHING)
		go_on = s->each(s, holder, &f);
	close(f.fd);
	return go_on;
}

static bool look_at_process(struct search *s, const char *pid)
{
	char path[64];
	const struct dirent *d;
	bool go_on = true;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%.20s/fd", pid);
	dir = opendir(path);
	while (dir != NULL && go_on && (d = readdir(dir)) != NULL) {
		if (!is_pid(d->d_name))
			continue;
		snprintf(path, sizeof(path), "/proc/%.20s/fd/%.20s", pid, d->d_name);
		go_on = look_at_link(s, (int32_t)atoi(pid), path);
	}
	if (dir != NULL)
		closedir(dir);
	return go_on;
}

static int search(struct search *s)
{
	const struct dirent *d;
	struct stat ns;
	DIR *proc = opendir("/proc");

	if (proc == NULL || stat("/proc/self/ns/pid", &ns) != 0)
		return msg_fail(1, "/proc", "cannot be read (%s); mount it", strerror(errno));
	s->pid_ns = ns.st_ino;
	while ((d = readdir(proc)) != NULL)
		if (is_pid(d->d_name) && !look_at_process(s, d->d_name))
			break;
	closedir(proc);
	return s->failed ? msg_fail(1, "runs", "%s; try again with more memory", strerror(ENOMEM)) : 0;
}

static struct ledger *map(const struct found *f, bool writable)
{
	void *l = mmap(NULL, sizeof(struct ledger), PROT_READ | (writable ? PROT_WRITE : 0), MAP_SHARED, f->fd, 0);

	return l != MAP_FAILED ? l : NULL;
}

void runs_close(struct runs_one *run)
{
	if (run->ledger != NULL)
		munmap(run->ledger, sizeof(struct ledger));
	run->ledger = NULL;
}

/* --- all --- */

static bool note_seen(struct search *s, uint64_t inode)
{
	uint64_t *more = reallocarray(s->seen, s->nr_seen + 1, sizeof(*more));

	if (more == NULL)
		return false;
	s->seen = more;
	s->seen[s->nr_seen++] = inode;
	return true;
}

static bool add_run(struct runs *r, const struct found *f)
{
	struct runs_one *more = reallocarray(r->run, r->nr + 1, sizeof(*more));
	struct ledger *l;

	if (more == NULL)
		return false;
	r->run = more;
	l = map(f, false);
	if (l == NULL)
		return false;
	r->run[r->nr++] = (struct runs_one){ .ledger = l, .inode = f->inode };
	return true;
}

static bool collect(struct search *s, int32_t holder, const struct found *f)
{
	(void)holder;
	for (unsigned i = 0; i < s->nr_seen; i++)
		if (s->seen[i] == f->inode)
			return true;
	s->failed = !note_seen(s, f->inode) || (f->what == LOOK_RUN && !add_run(s->all, f));
	s->all->strangers += f->what == LOOK_STRANGER;
	s->all->elsewhere += f->what == LOOK_ELSEWHERE;
	return !s->failed;
}

static int by_launcher(const void *a, const void *b)
{
	int32_t x = ((const struct runs_one *)a)->ledger->launcher, y = ((const struct runs_one *)b)->ledger->launcher;

	return (x > y) - (x < y);
}

int runs_find(struct runs *r)
{
	struct search s = { .each = collect, .all = r };
	int err;

	*r = (struct runs){ 0 };
	err = search(&s);
	free(s.seen);
	if (err != 0)
		runs_free(r);
	else if (r->nr > 0)
		qsort(r->run, r->nr, sizeof(*r->run), by_launcher);
	return err;
}

void runs_free(struct runs *r)
{
	for (unsigned i = 0; i < r->nr; i++)
		runs_close(&r->run[i]);
	free(r->run);
	*r = (struct runs){ 0 };
}

/* --- one --- */

static bool has_process(const struct ledger *l, int32_t pid)
{
	return l->launcher == pid || runs_slot_of(l, pid) >= 0;
}

/* Keeps the run if it is the one that is wanted. */
static bool choose(struct search *s, int32_t holder, const struct found *f)
{
	struct runs_one run = { .inode = f->inode };
	bool wanted = s->wanted == 0 || s->wanted == holder;

	if (s->out->ledger != NULL && s->out->inode == f->inode)
		return true;
	if (f->what != LOOK_RUN) {
		if (wanted)
			s->met = f->what;
		return true;
	}
	run.ledger = map(f, s->writable);
	if (run.ledger == NULL) {
		s->failed = true;
		return false;
	}
	if (!wanted && !has_process(run.ledger, s->wanted)) {
		runs_close(&run);
		return true;
	}
	if (s->out->ledger != NULL) {
		s->several = true;
		runs_close(&run);
		return false;
	}
	*s->out = run;
	return s->wanted == 0;
}

/* The pid that name is, 0 for none; or -1 after having said that it is not one. */
static int32_t parse_pid(const char *name)
{
	char *end;
	long pid;

	if (name == NULL)
		return 0;
	errno = 0;
	pid = strtol(name, &end, 10);
	if (is_pid(name) && *end == '\0' && errno == 0 && pid > 0 && pid <= INT32_MAX)
		return (int32_t)pid;
	msg_fail(EXIT_USAGE, name, "not a pid; give that of steward run or of a process in it, steward ps has them");
	return -1;
}

static int say_none(const struct search *s, const char *name)
{
	if (s->met == LOOK_STRANGER)
		return msg_fail(1, name != NULL ? name : "run",
				"it is of another version of Steward; use the steward command of that version");
	if (s->met == LOOK_ELSEWHERE)
		return msg_fail(1, name != NULL ? name : "run", "it is in another PID namespace; call steward in there");
	if (name == NULL)
		return msg_fail(1, "run", "there is none that you may see; steward run starts one");
	if (kill(s->wanted, 0) != 0 && errno == ESRCH)
		return msg_fail(1, name, "there is no such process; steward ps shows those of all runs");
	return msg_fail(1, name, "it is in no run that you may see; steward ps shows those of all runs");
}

int runs_open(struct runs_one *out, const char *name, bool writable)
{
	struct search s = { .each = choose, .writable = writable, .wanted = parse_pid(name), .out = out };
	int err;

	*out = (struct runs_one){ 0 };
	if (s.wanted < 0)
		return EXIT_USAGE;
	err = search(&s);
	if (err == 0 && s.several)
		err = msg_fail(EXIT_USAGE, "run", "there are several; name one by its pid, steward ps has them");
	if (err == 0 && out->ledger == NULL)
		err = say_none(&s, name);
	if (err != 0)
		runs_close(out);
	return err;
}

bool runs_watched(const struct ledger *l)
{
	return !watch_is_gone(l->launcher, l->launcher_start);
}

unsigned runs_slots(const struct ledger *l)
{
	return MIN(atomic_load(&l->slots_used), LEDGER_SLOTS);
}

bool runs_alive(const struct ledger *l, unsigned i)
{
	const struct ledger_slot *s = &l->slot[i];
	int32_t pid = atomic_load(&s->pid);

	return pid > 0 && !watch_is_gone(pid, s->start_time);
}

int runs_slot_of(const struct ledger *l, int32_t pid)
{
	for (unsigned i = 0; i < runs_slots(l); i++)
		if (atomic_load(&l->slot[i].pid) == pid)
			return runs_alive(l, i) ? (int)i : -1;
	return -1;
}
