/*
 * A trace is read forwards; who touches a page last is written down with the page, and when the page is touched again
 * the earlier touch learns of it.
 *
 *      table   (task, page) ──► last access        in memory, as large as the footprint
 *      next[]  access ──► next access              in a file, as long as the trace: 8 GB for a thousand million
 *
 * A page that goes (munmap, exec, exit …) is not the one that is touched at its address afterwards: its last touch stays
 * the last. For an address space that ends as a whole the tasks have a generation, which is part of the key.
 * mremap takes the last touches along. Of fork nothing is known here: the child's pages are others.
 *
 * The file is mapped and shared, so that the host can write it out; it is made as large as is needed, in steps, before it
 * is touched, because a write to a hole on a full disk would be a signal.
 */
#include "sim/foresight.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/types.h"

#define NONE UINT64_MAX
#define STEP ((uint64_t)8 << 20) /* accesses: 64 MiB */
#define EVENTS 4096

struct slot {
	uint64_t vpn;
	uint64_t task;  /* number, and generation above; NONE: free */
	uint64_t last;  /* access; NONE: the page is gone */
};

struct last_touches {
	struct slot *slot;
	uint64_t size, used; /* a power of two; slots that are not free */
	uint32_t *generation; /* by task */
	int fd;               /* what foresight.next is mapped from */
};

static uint64_t task_of(const struct last_touches *t, uint32_t task)
{
	return task | (uint64_t)t->generation[task] << 32;
}

static struct slot *find(const struct last_touches *t, uint64_t task, uint64_t vpn)
{
	uint64_t i = ((vpn ^ task << 40 ^ task >> 24) * 0x9e3779b97f4a7c15u) >> 20;

	for (;; i++) {
		struct slot *s = &t->slot[i & (t->size - 1)];

		if (s->task == NONE || (s->vpn == vpn && s->task == task))
			return s;
	}
}

/* Twice as large, without the pages that are gone. */
static int grow(struct last_touches *t)
{
	struct last_touches old = *t;

	t->size = MAX(old.size * 2, (uint64_t)4096);
	t->slot = malloc(t->size * sizeof(*t->slot));
	if (t->slot == NULL) {
		*t = old;
		return -ENOMEM;
	}
	t->used = 0;
	for (uint64_t i = 0; i < t->size; i++)
		t->slot[i].task = NONE;
	for (uint64_t i = 0; i < old.size; i++) {
		if (old.slot[i].task == NONE || old.slot[i].last == NONE)
			continue;
		*find(t, old.slot[i].task, old.slot[i].vpn) = old.slot[i];
		t->used++;
	}
	free(old.slot);
	return 0;
}

/* The place of a page's last touch, which may be NONE; NULL: no memory. */
static uint64_t *last_touch(struct last_touches *t, uint64_t task, uint64_t vpn)
{
	struct slot *s;

	if ((t->used + 1) * 2 > t->size && grow(t) != 0)
		return NULL;
	s = find(t, task, vpn);
	if (s->task == NONE) {
		*s = (struct slot){ .vpn = vpn, .task = task, .last = NONE };
		t->used++;
	}
	return &s->last;
}

/* The pages of [vpn, vpn + n) are gone. */
static void forget(struct last_touches *t, uint64_t task, uint64_t vpn, uint64_t n)
{
	if (n > t->size) {
		for (uint64_t i = 0; i < t->size; i++)
			if (t->slot[i].task == task && t->slot[i].vpn - vpn < n)
				t->slot[i].last = NONE;
		return;
	}
	for (uint64_t i = 0; i < n; i++) {
		struct slot *s = find(t, task, vpn + i);

		if (s->task != NONE)
			s->last = NONE;
	}
}

/* Does its page move? What lies where the range goes to was forgotten, or has been moved there just now. */
static bool moves(const struct slot *s, uint64_t task, const struct trace_event *e)
{
	return s->task == task && s->last != NONE && s->vpn - e->vpn < e->n && s->vpn - e->arg >= e->n;
}

static int move_slot(struct last_touches *t, struct slot *s, const struct trace_event *e)
{
	uint64_t last = s->last, *to;

	s->last = NONE;
	to = last_touch(t, s->task, e->arg + (s->vpn - e->vpn));
	if (to == NULL)
		return -ENOMEM;
	*to = last;
	return 0;
}

/* A range with more pages than there are slots: the slots are walked, and must not get others meanwhile. */
static int move_large(struct last_touches *t, uint64_t task, const struct trace_event *e)
{
	uint64_t moving = 0;
	int err = 0;

	for (uint64_t i = 0; i < t->size; i++)
		moving += moves(&t->slot[i], task, e);
	while ((t->used + moving + 1) * 2 > t->size && err == 0)
		err = grow(t);
	for (uint64_t i = 0; i < t->size && err == 0; i++)
		if (moves(&t->slot[i], task, e))
			err = move_slot(t, &t->slot[i], e);
	return err;
}

/* What was known of [vpn, vpn + n) is of [arg, arg + n) now. */
static int move(struct last_touches *t, uint64_t task, const struct trace_event *e)
{
	int err = 0;

	forget(t, task, e->arg, e->n);
	if (e->n > t->size)
		return move_large(t, task, e);
	for (uint64_t i = 0; i < e->n && err == 0; i++) {
		struct slot *s = find(t, task, e->vpn + i);

		if (moves(s, task, e))
			err = move_slot(t, s, e);
	}
	return err;
}

static int make_room(struct foresight *f, int fd)
{
	uint64_t room = f->room + STEP;
	int err = posix_fallocate(fd, (off_t)(f->room * sizeof(*f->next)), (off_t)(STEP * sizeof(*f->next)));
	void *p;

	if (err != 0)
		return -err;
	if (f->room == 0)
		p = mmap(NULL, room * sizeof(*f->next), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	else
		p = mremap(f->next, f->room * sizeof(*f->next), room * sizeof(*f->next), MREMAP_MAYMOVE);
	if (p == MAP_FAILED)
		return -errno;
	f->next = p;
	f->room = room;
	return 0;
}

static int see_access(struct foresight *f, struct last_touches *t, const struct trace_event *e)
{
	int err = f->n == f->room ? make_room(f, t->fd) : 0;
	uint64_t *last = last_touch(t, task_of(t, e->task), e->vpn);

	if (err != 0)
		return err;
	if (last == NULL)
		return -ENOMEM;
	if (*last != NONE)
		f->next[*last] = f->n;
	f->next[f->n] = NONE;
	*last = f->n++;
	return 0;
}

static int see(struct foresight *f, struct last_touches *t, const struct trace_event *e)
{
	switch (e->op) {
	case TRACE_ACCESS:
		return see_access(f, t, e);
	case TRACE_EXEC:
	case TRACE_EXIT:
		t->generation[e->task]++;
		return 0;
	case TRACE_MMAP:
	case TRACE_MUNMAP:
	case TRACE_DROP:
		forget(t, task_of(t, e->task), e->vpn, e->n);
		return 0;
	case TRACE_MREMAP:
		return move(t, task_of(t, e->task), e);
	default:
		return 0;
	}
}

static int read_all(struct foresight *f, struct last_touches *t, struct trace_reader *r, struct trace_event *events,
		    struct trace_error *error)
{
	long n;

	while ((n = trace_read(r, events, EVENTS, error)) > 0) {
		for (long i = 0; i < n; i++) {
			int err = see(f, t, &events[i]);

			if (err != 0)
				return err;
		}
	}
	return (int)n;
}

int foresight_read(struct foresight *f, struct trace_reader *r, const char *dir, struct trace_error *error)
{
	struct last_touches t = { .generation = calloc(TRACE_TASKS_MAX, sizeof(*t.generation)) };
	struct trace_event *events = malloc(EVENTS * sizeof(*events));
	int err = -ENOMEM;

	error->err = 0;
	*f = (struct foresight){ 0 };
	t.fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (t.fd < 0)
		err = -errno;
	else if (t.generation != NULL && events != NULL && grow(&t) == 0)
		err = read_all(f, &t, r, events, error);
	free(t.slot);
	free(t.generation);
	free(events);
	if (t.fd >= 0)
		close(t.fd);
	if (err != 0)
		foresight_drop(f);
	return err;
}

void foresight_drop(struct foresight *f)
{
	if (f->room > 0)
		munmap(f->next, f->room * sizeof(*f->next));
	*f = (struct foresight){ 0 };
}
