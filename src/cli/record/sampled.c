/*
 * The launcher's side of sampling (live/record.c is the program's): takes what the processes put into their rings,
 * looks at /proc/PID/maps, and makes one trace of it.
 *
 *     process 1 ──ring──┐ touches, changes, ticks              ┌──► events, in order of time
 *     process 2 ──ring──┼──► a thread, 200 times a second ─────┤
 *     /proc/PID/maps ───┘ after each tick, and when a page     └──► mmap, munmap, mprotect: what is not as before
 *                         is touched that nobody knows
 *
 * Order. Entries of one process are in order. Between processes they are taken by their time, up to the moment when
 * the round began; so a child's first entry comes when all that its parent did before it has been taken, but for what
 * was in flight. The kernel's changes of managed memory (munmap, mremap, madvise) are entries themselves. All
 * other mappings are found by comparing, at the end of an interval at the latest.
 *
 * What the engine has mapped for itself is hidden: it names its ranges (RECORD_OWN), its files have names.
 *
 * Memory that Steward does not manage (code, files, stacks, shared memory) is in the trace as mappings, not touched.
 */
#include "cli/record/sampled.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/run/keeper.h"
#include "cli/msg.h"
#include "cli/probe.h"
#include "cli/run/share.h"
#include "cli/record/tracee.h"
#include "cli/run/watch.h"
#include "live/clock.h"
#include "live/ledger.h"

#define ROUND_NS 5000000
#define GONE_ROUNDS 20           /* between two looks for processes that have ended */
#define BUDGET_UNLIMITED ((uint64_t)1 << 50) /* pages; as much as a process asks for, again and again */

struct thread_name {
	uint32_t tid;
	uint16_t number;
};

/* One ring: the process that has it. */
struct source {
	struct tracee t;
	bool live;
	bool looked;             /* at its maps, in this round */
	bool ticked;             /* in this round */
	uint64_t moving, moving_n; /* RECORD_MOVE, until the RECORD_MOVED that follows it */
	struct areas own;        /* Steward's own ranges */
	struct thread_name *thread;
	size_t nr_threads;
};

struct sampled {
	struct recording *r;
	struct share share;
	struct watch watch;
	pid_t keeper;
	pthread_t taker;
	_Atomic bool stop;
	struct source source[RECORD_RINGS];
	char name[RECORD_RINGS][17]; /* RECORD_NAME, for the RECORD_BEGIN that follows it in the ring */
};

static void check(struct sampled *s, int err)
{
	if (s->r->err == 0)
		s->r->err = err;
}

/* A walk over /proc/PID/maps. */
struct look {
	struct sampled *s;
	struct areas now;
	uint64_t library_end; /* page after our library, as far as it was seen */
};

static bool is_ours(const char *path)
{
	const char *base = strrchr(path, '/');

	return strncmp(path, "/memfd:steward-ledger", 21) == 0 ||
	       (base != NULL && strncmp(base, "/libsteward-preload.so", 22) == 0);
}

static bool look_at(void *ctx, const struct maps_line *m)
{
	struct look *l = ctx;
	/* Its bss follows it. */
	bool ours = is_ours(m->path) || (m->path[0] == '\0' && m->start >> PAGE_SHIFT == l->library_end);
	struct area a;

	if (m->path[0] == '[' && strcmp(m->path, "[heap]") != 0 && strcmp(m->path, "[stack]") != 0 &&
	    strncmp(m->path, "[anon", 5) != 0)
		return true;
	a = tracee_area(l->s->r, m, ours);
	if (ours && m->path[0] == '/')
		l->library_end = a.end;
	if (strcmp(m->path, "[heap]") == 0)
		a.flags |= TRACE_MAP_HEAP;
	if (strcmp(m->path, "[stack]") == 0)
		a.flags |= TRACE_MAP_STACK;
	check(l->s, areas_map(&l->now, &a));
	return true;
}

#define RIGHTS (TRACE_R | TRACE_W | TRACE_X)

/* The pages are those that were there before; what the area is called does not matter. */
static bool same_backing(const struct area *a, const struct area *b)
{
	return a->file == b->file && a->hidden == b->hidden && ((a->flags ^ b->flags) & TRACE_MAP_SHARED) == 0 &&
	       (a->file == 0 || a->pgoff - a->start == b->pgoff - b->start);
}

static struct area part_of(const struct area *a, uint64_t start, uint64_t end)
{
	struct area p = *a;

	p.pgoff += p.file != 0 ? start - p.start : 0;
	p.start = start;
	p.end = end;
	return p;
}

/* [start, end) was in one area (NULL: in none) and is in one now. */
static void settle(struct sampled *s, struct tracee *t, uint64_t start, uint64_t end, const struct area *was,
		   const struct area *is)
{
	struct area part;

	if (was != NULL && is != NULL && same_backing(was, is)) {
		if ((was->flags ^ is->flags) & RIGHTS)
			tracee_protect(s->r, t, start, end, is->flags & RIGHTS);
		return;
	}
	if (was != NULL && is == NULL) {
		tracee_unmap(s->r, t, start, end);
	} else if (is != NULL) {
		part = part_of(is, start, end);
		tracee_map(s->r, t, &part);
	}
}

/* The first border above at of the area that ends above it. */
static const struct area *next_border(const struct areas *s, uint64_t at, uint64_t *next)
{
	size_t i = areas_from(s, at);
	const struct area *a = i < s->nr ? &s->area[i] : NULL;

	if (a == NULL)
		return NULL;
	*next = MIN(*next, a->start > at ? a->start : a->end);
	return a->start > at ? NULL : a;
}

/* Brings the books of the process to what the kernel has. */
static void look(struct sampled *s, struct source *src)
{
	struct look l = { .s = s };
	struct areas was = { 0 };
	int err;

	src->looked = true;
	err = maps_each(src->t.pid, look_at, &l);
	for (size_t i = 0; i < src->own.nr && err == 0; i++)
		err = areas_unmap(&l.now, src->own.area[i].start, src->own.area[i].end);
	if (err == 0)
		err = areas_copy(&was, &src->t.areas);
	for (uint64_t at = 0, next; err == 0; at = next) {
		const struct area *a, *b;

		next = UINT64_MAX;
		a = next_border(&was, at, &next);
		b = next_border(&l.now, at, &next);
		if (next == UINT64_MAX)
			break;
		settle(s, &src->t, at, next, a, b);
	}
	/* A process that has ended has no maps; what it had is in the books until its exit. */
	if (err == -ENOMEM)
		check(s, err);
	areas_free(&was);
	areas_free(&l.now);
}

/* Of an image the one that touches first has the number of the process's first. */
static uint16_t thread_number(struct sampled *s, struct source *src, uint32_t tid)
{
	struct thread_name *more;

	for (size_t i = 0; i < src->nr_threads; i++) {
		if (src->thread[i].tid == tid)
			return src->thread[i].number;
	}
	more = realloc(src->thread, (src->nr_threads + 1) * sizeof(*more));
	if (more == NULL) {
		check(s, -ENOMEM);
		return 0;
	}
	src->thread = more;
	more[src->nr_threads] = (struct thread_name){ tid, src->nr_threads == 0 ? src->t.thread : recording_thread(s->r) };
	return more[src->nr_threads++].number;
}

static void end_source(struct sampled *s, struct source *src)
{
	tracee_exit(s->r, &src->t);
	areas_free(&src->own);
	free(src->thread);
	*src = (struct source){ 0 };
}

static struct source *find(struct sampled *s, int32_t pid)
{
	for (unsigned i = 0; i < RECORD_RINGS; i++) {
		if (s->source[i].live && s->source[i].t.pid == pid)
			return &s->source[i];
	}
	return NULL;
}

/* The path of its program, or what it calls itself if it has ended already. */
static void program_name(const struct sampled *s, const struct source *src, char *name, size_t size)
{
	char link[64];
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/%d/exe", src->t.pid);
	n = readlink(link, name, size - 1);
	if (n > 0)
		name[n] = '\0';
	else
		snprintf(name, size, "%s", s->name[src - s->source]);
}

static void take_name(struct sampled *s, const struct source *src, const struct record_entry *e)
{
	char *name = s->name[src - s->source];

	memcpy(name, &e->vpn, sizeof(e->vpn));
	memcpy(name + sizeof(e->vpn), &e->n, sizeof(e->n));
}

static void begin_source(struct sampled *s, struct source *src, const struct record_entry *e)
{
	bool image = e->write == 0, known = src->live && src->t.pid == (int32_t)e->vpn;
	struct source *parent;
	char name[4096];

	if (src->live && !known)
		end_source(s, src);
	/* Not before: who had this ring cannot be the parent of who has it now. */
	parent = find(s, (int32_t)e->n);
	src->live = true;
	src->t.pid = (int32_t)e->vpn;
	program_name(s, src, name, sizeof(name));
	if (!known && parent != NULL) {
		tracee_fork(s->r, &src->t, &parent->t);
		check(s, areas_copy(&src->own, &parent->own));
	} else if (!known) {
		tracee_start(s->r, &src->t, name);
	}
	if (image) {
		areas_free(&src->own);
		src->nr_threads = 0;
		if (known || parent != NULL)
			tracee_exec(s->r, &src->t, name);
	}
	/* Not at once: it is about to say which ranges are not its own. */
	src->ticked = true;
}

static void take_own(struct sampled *s, struct source *src, const struct record_entry *e)
{
	struct area own = { .start = e->vpn, .end = e->vpn + e->n, .hidden = true };

	check(s, areas_map(&src->own, &own));
	/* It may have been seen already, as the program's. */
	if (src->t.areas.nr > 0 && areas_find(&src->t.areas, e->vpn) != NULL)
		tracee_unmap(s->r, &src->t, own.start, own.end);
}

static void touch(struct sampled *s, struct source *src, const struct record_entry *e)
{
	struct trace_event t = { .op = TRACE_ACCESS, .flags = e->write ? TRACE_W : TRACE_R, .task = src->t.task,
				 .thread = src->t.thread, .n = 1 };

	if (e->tid != 0)
		t.thread = thread_number(s, src, e->tid);
	for (t.vpn = e->vpn; t.vpn < e->vpn + e->n; t.vpn++) {
		if (areas_find(&src->t.areas, t.vpn) == NULL) {
			struct area page = { .start = t.vpn, .end = t.vpn + 1, .flags = TRACE_R | TRACE_W };

			if (!src->looked)
				look(s, src);
			/* Mapped and unmapped between two looks. */
			if (areas_find(&src->t.areas, t.vpn) == NULL)
				tracee_map(s->r, &src->t, &page);
		}
		recording_emit(s->r, &t);
	}
}

/* What was not seen yet: it may be gone again before anybody looks. */
static void map_unknown(struct sampled *s, struct source *src, uint64_t start, uint64_t end)
{
	while (start < end) {
		size_t i = areas_from(&src->t.areas, start);
		const struct area *next = i < src->t.areas.nr ? &src->t.areas.area[i] : NULL;
		struct area a = { .start = start, .end = next != NULL ? MIN(end, next->start) : end,
				  .flags = TRACE_R | TRACE_W };

		/* The heap has grown. */
		if (i > 0 && src->t.areas.area[i - 1].end == start)
			a.flags |= src->t.areas.area[i - 1].flags & TRACE_MAP_HEAP;
		start = next != NULL ? next->end : end;
		if (a.start < a.end)
			tracee_map(s->r, &src->t, &a);
	}
}

static void moved(struct sampled *s, struct source *src, uint64_t to)
{
	uint64_t n = src->moving_n;

	src->moving_n = 0;
	if (n == 0)
		return;
	/* Where it comes from may have been found to be gone already. */
	if (areas_find(&src->t.areas, src->moving) != NULL)
		tracee_move(s->r, &src->t, src->moving, to, n);
}

static void take(struct sampled *s, struct source *src, const struct record_entry *e)
{
	if (e->op == RECORD_NAME)
		take_name(s, src, e);
	if (e->op == RECORD_BEGIN)
		begin_source(s, src, e);
	if (!src->live)
		return;
	switch ((enum record_op)e->op) {
	case RECORD_NAME:
	case RECORD_BEGIN:
		break;
	case RECORD_OWN:
		take_own(s, src, e);
		break;
	case RECORD_MAP:
		map_unknown(s, src, e->vpn, e->vpn + e->n);
		break;
	case RECORD_TOUCH:
		touch(s, src, e);
		break;
	case RECORD_UNMAP:
		tracee_unmap(s->r, &src->t, e->vpn, e->vpn + e->n);
		break;
	case RECORD_MOVE:
		src->moving = e->vpn;
		src->moving_n = e->n;
		break;
	case RECORD_MOVED:
		moved(s, src, e->vpn);
		break;
	case RECORD_DROP:
		tracee_drop(s->r, &src->t, e->vpn, e->vpn + e->n);
		break;
	case RECORD_TICK:
		tracee_time(s->r, &src->t, e->n);
		src->ticked = true;
		break;
	}
}

static const struct record_entry *oldest(struct record_ring *ring, uint64_t until)
{
	uint64_t head = atomic_load_explicit(&ring->head, memory_order_relaxed);
	const struct record_entry *e = &ring->entry[head % RECORD_ENTRIES];

	if (head == atomic_load_explicit(&ring->tail, memory_order_acquire) || e->ns > until)
		return NULL;
	return e;
}

/* Takes what was entered until then, the oldest first. */
static void take_all(struct sampled *s, uint64_t until)
{
	for (;;) {
		const struct record_entry *first = NULL;
		unsigned ring = 0;

		for (unsigned i = 0; i < MIN(RECORD_RINGS, atomic_load(&s->share.ledger->slots_used)); i++) {
			const struct record_entry *e = oldest(&s->share.ledger->record[i], until);

			if (e != NULL && (first == NULL || e->ns < first->ns)) {
				first = e;
				ring = i;
			}
		}
		if (first == NULL)
			return;
		take(s, &s->source[ring], first);
		atomic_fetch_add_explicit(&s->share.ledger->record[ring].head, 1, memory_order_release);
	}
}

static void round_of(struct sampled *s, bool ends)
{
	for (unsigned i = 0; i < RECORD_RINGS; i++) {
		struct source *src = &s->source[i];

		if (!src->live)
			continue;
		if (src->ticked && !src->looked)
			look(s, src);
		src->ticked = src->looked = false;
		if (ends && watch_is_gone(src->t.pid, 0) && oldest(&s->share.ledger->record[i], UINT64_MAX) == NULL)
			end_source(s, src);
	}
}

static void *take_until_stopped(void *arg)
{
	struct sampled *s = arg;
	const struct timespec nap = { .tv_nsec = ROUND_NS };

	for (unsigned n = 1; !atomic_load(&s->stop); n++) {
		nanosleep(&nap, NULL);
		take_all(s, now_ns());
		round_of(s, n % GONE_ROUNDS == 0);
	}
	take_all(s, UINT64_MAX);
	for (unsigned i = RECORD_RINGS; i > 0; i--) {
		if (s->source[i - 1].live)
			end_source(s, &s->source[i - 1]);
	}
	return NULL;
}

static int begin(void *ctx, const char *command)
{
	struct sampled *s = ctx;
	int err;

	s->keeper = keeper_start(s->share.ledger);
	if (s->keeper < 0)
		return supervise_no_process(command, -s->keeper);
	err = pthread_create(&s->taker, NULL, take_until_stopped, s);
	if (err == 0)
		return 0;
	keeper_stop(s->keeper);
	return supervise_no_process(command, err);
}

static void end(void *ctx)
{
	struct sampled *s = ctx;

	atomic_store(&s->stop, true);
	pthread_join(s->taker, NULL);
	keeper_stop(s->keeper);
}

static void ready(void *ctx)
{
	share_serve(&((struct sampled *)ctx)->share);
}

static void tick(void *ctx, uint64_t now_ns)
{
	watch_scan(&((struct sampled *)ctx)->watch, now_ns);
}

/* No budget: a process may have all that the machine has. */
static void fill_ledger(struct ledger *l, unsigned interval_ms)
{
	l->ram_pages = ALIGN_DOWN((uint64_t)sysconf(_SC_PHYS_PAGES), MIB >> PAGE_SHIFT);
	l->debug_engage = 1;
	/* A pool, if it comes to that. */
	l->nr_swap = 1;
	l->swap[0] = (struct swap_spec){ .kind = SWAP_POOL, .codec = SWAP_LZ4 };
	l->record_ns = (uint64_t)interval_ms * 1000000;
	atomic_store(&l->free_pages, BUDGET_UNLIMITED);
}

static int prepare(struct sampled *s, const char *command, unsigned interval_ms)
{
	char preload[4096];
	struct probe probe;
	int err;

	if (getenv(LEDGER_ENV) != NULL)
		return msg_fail(EXIT_STEWARD, "record", "this is inside a steward run; record outside of one");
	err = program_preload(preload, sizeof(preload));
	if (err == 0)
		err = probe_require(&probe);
	if (err != 0)
		return err;
	err = share_open(&s->share, probe.device_fd, command);
	if (err == 0)
		err = share_environment(&s->share, preload);
	if (err == 0)
		fill_ledger(s->share.ledger, interval_ms);
	return err;
}

static void note_losses(struct sampled *s)
{
	uint64_t lost = 0;
	char text[32];

	for (unsigned i = 0; i < MIN(RECORD_RINGS, atomic_load(&s->share.ledger->slots_used)); i++)
		lost += atomic_load(&s->share.ledger->record[i].lost);
	if (lost == 0)
		return;
	snprintf(text, sizeof(text), "%llu", (unsigned long long)lost);
	recording_note(s->r, "entries lost", text);
	msg_note("record: %s touches are missing, because this machine was too busy to write them", text);
}

int sampled_record(const struct program *p, char **argv, unsigned interval_ms, struct recording *r,
		   struct outcome *out)
{
	/* Static: a megabyte of books. */
	static struct sampled s;
	struct attendant attendant = { .ctx = &s, .begin = begin, .end = end, .ready = ready, .tick = tick };
	char text[32];
	int err;

	s.r = r;
	err = prepare(&s, argv[0], interval_ms);
	if (err != 0)
		return err;
	snprintf(text, sizeof(text), "%u ms", interval_ms);
	recording_note(r, "interval", text);
	watch_init(&s.watch, s.share.ledger);
	attendant.fd = s.share.listen_fd;
	err = supervise(p, argv, environ, &attendant, out);
	if (err == 0)
		note_losses(&s);
	return err;
}
