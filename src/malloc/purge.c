/*
 * Free memory goes back to the system when it has been free for a while.
 *
 * A page that is given back and wanted again costs a fault, ten times what
 * giving it back costs; one that is kept for nothing costs memory. So only what
 * has been free for PURGE_AGE ticks goes, oldest or not. Each free chunk of
 * some pages knows since when most of it is free (freed_at) and from where on it
 * is purged (purged_from): from the end downward, because allocation cuts from the
 * start, whose first pages stay. Of the top goes what no block has reached for
 * that long.
 *
 * The clock is a thread of ours, for a program that does nothing more must
 * shrink as well. It exists only while there is something to wait for: it
 * starts when much is free, and ends when all of that is purged or in use
 * again. Small programs never have it, and libc does not know it (base/clone.h):
 * a program with one thread stays one for libc. Where a thread is not wanted
 * (STEWARD_MALLOC=nothread, under the live engine, whose reclaim knows these
 * pages) memory goes back as in glibc: the top, at once, when it exceeds a
 * threshold.
 *
 * As libc does not know it, no setuid visits it. So it has no capabilities, and ends when the program has another user or
 * group than it: the next one is started by a thread that has the right ones.
 *
 * The arena's lock is held for PURGE_STEP at a time. Its threads wait for that
 * rather than make an arena of their own (arena_acquire).
 *
 * jemalloc's decay, and why a thread: its issues 1398 and 2688.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/close_range.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "base/clone.h"
#include "base/sys.h"
#include "malloc/arena.h"
#include "malloc/control.h"
#include "malloc/meta.h"
#include "malloc/tcache.h"

#define TICK_S 1
#define PURGE_AGE 4                          /* ticks */
#define KEEP_BYTES ((size_t)32 << 10)        /* of a chunk of more than KEEP_SIZE */
#define KEEP_SIZE ((size_t)256 << 10)
#define PURGE_STEP ((size_t)256 << 10)
#define START_BYTES ((size_t)4 << 20)        /* free in one arena */
#define STATUS_BYTES 2048                    /* of /proc/PID/status: its user and group are at the start */
#define PURGER_STACK_BYTES (2 * CLONE_TCB_ROOM + 32 * KIB)

static _Atomic bool allowed, running;
static _Atomic uint32_t ticks;
static uint32_t gone;                        /* 0: the last thread has left the stack */
static _Atomic int our_pid;                  /* a child by vfork is not to start a thread in us */

uint32_t purge_ticks(void)
{
	return atomic_load_explicit(&ticks, memory_order_relaxed);
}

bool purge_is_on(void)
{
	return atomic_load_explicit(&allowed, memory_order_relaxed);
}

/* The pages of a free chunk that have not gone back and may. */
static struct range unpurged(const struct chunk *c, size_t size)
{
	struct range r = chunk_inner(c, size);

	if (r.hi == 0)
		return r;
	if (size > KEEP_SIZE)
		r.lo += KEEP_BYTES;
	if (c->purged_from != 0)
		r.hi = MAX(r.lo, MIN(c->purged_from, r.hi));
	return r;
}

/* Counts bytes that go back; one step. What is too young is counted as waiting. */
struct pass {
	uint32_t age;
	size_t left, done, waiting;
};

static void purge_chunk(struct pass *p, struct chunk *c)
{
	struct range r = unpurged(c, chunk_size(c));
	size_t bytes = r.hi - r.lo;

	if (bytes == 0)
		return;
	if (purge_ticks() - c->freed_at < p->age || p->left == 0) {
		p->waiting += bytes;
		return;
	}
	bytes = MIN(bytes, p->left);
	p->left -= bytes;
	p->waiting += r.hi - r.lo - bytes;
	if (!source()->purge((void *)(r.hi - bytes), bytes))
		return;
	c->purged_from = r.hi - bytes;
	p->done += bytes;
}

static void purge_bins(struct arena *a, struct pass *p)
{
	for (unsigned i = BIN_UNSORTED; i <= BIN_LAST; i = i == BIN_UNSORTED ? bin_index(2 * PAGE_SIZE) : i + 1)
		for (struct chunk *bin = bin_head(a, i), *c = bin->fd; c != bin; c = c->fd)
			purge_chunk(p, c);
}

static void purge_top(struct arena *a, struct pass *p)
{
	uintptr_t top = (uintptr_t)a->top, reached = MAX(a->top_reached[0], a->top_reached[1]);
	size_t pad = param_get(&params.top_pad) + (reached > top ? reached - top : 0);

	if (a->top == NULL || a->top_fresh - top <= pad + PAGE_SIZE) {
		p->waiting += a->top != NULL && a->top_fresh - top > param_get(&params.top_pad) + PAGE_SIZE;
		return;
	}
	arena_trim(a, pad);
}

/* Twice in PURGE_AGE the look back gets shorter. */
static void forget_reached(struct arena *a)
{
	a->top_reached[1] = a->top_reached[0];
	a->top_reached[0] = (uintptr_t)a->top;
}

bool arena_purge(struct arena *a)
{
	struct pass all = { .age = 0, .left = SIZE_MAX };

	if (a->ready && source()->purge != NULL)
		purge_bins(a, &all);
	return all.done != 0;
}

/* Lets the lock go between steps. Bytes that wait for their time. */
static size_t purge_old(struct arena *a)
{
	struct pass p;

	do {
		p = (struct pass){ .age = PURGE_AGE, .left = PURGE_STEP };
		atomic_store(&a->purging, true);
		if (!arena_lock(a))
			break;
		if (a->ready && source()->purge != NULL) {
			purge_bins(a, &p);
			if (p.left != 0) {
				if (purge_ticks() % (PURGE_AGE / 2) == 0)
					forget_reached(a);
				purge_top(a, &p);
			}
		}
		arena_unlock(a);
	} while (p.left == 0);
	atomic_store(&a->purging, false);
	return p.waiting;
}

static size_t purge_all_old(void)
{
	size_t waiting = 0;

	for (unsigned i = 0; i < ARENAS_MAX; i++) {
		struct arena *a = arena_nth(i);

		if (a != NULL)
			waiting += purge_old(a);
	}
	return waiting;
}

/* False: somebody began to wait in the last moment, and nobody else has started. */
static bool may_end(void)
{
	atomic_store(&running, false);
	return purge_all_old() == 0 || atomic_exchange(&running, true);
}

/* The lines Uid and Gid of the status, in text; NULL: not to be had. */
static const char *credentials(const char *path, char text[STATUS_BYTES])
{
	int fd = sys_open(path, O_RDONLY | O_CLOEXEC, 0);

	if (fd < 0)
		return NULL;

	ssize_t n = sys_read(fd, text, STATUS_BYTES - 1);

	sys_close(fd);
	text[MAX(n, 0)] = '\0';

	char *from = strstr(text, "\nUid:"), *to = strstr(text, "\nFDSize:");

	if (to != NULL)
		*to = '\0';
	return from;
}

/* Without /proc nobody knows: false. */
static bool others_have_changed(void)
{
	char ours[STATUS_BYTES], theirs[STATUS_BYTES];
	const char *a = credentials("/proc/thread-self/status", ours), *b = credentials("/proc/self/status", theirs);

	return a != NULL && b != NULL && strcmp(a, b) != 0;
}

static void give_up_capabilities(void)
{
	struct __user_cap_header_struct header = { _LINUX_CAPABILITY_VERSION_3, 0 };
	const struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = { { 0 } };

	sys_call3(SYS_capset, (long)&header, (long)none, 0);
}

static void purger_main(void *unused)
{
	const struct timespec tick = { TICK_S, 0 };

	(void)unused;
	give_up_capabilities();
	/* Descriptors of our own, none as yet: the program's numbers are not to be taken, not for a moment. */
	bool can_look = sys_close_range(0, ~0u, CLOSE_RANGE_UNSHARE) == 0;

	do {
		sys_nanosleep(&tick, NULL);
		if (can_look && others_have_changed()) {
			atomic_store(&running, false);
			break;
		}
		atomic_fetch_add_explicit(&ticks, 1, memory_order_relaxed);
		tcache_look_after_all();
	} while (purge_all_old() != 0 || !may_end());
	sys_exit(0);
}

static bool start_thread(void)
{
	static uint8_t *stack;
	sigset_t all, old;
	bool done;

	if (__atomic_load_n(&gone, __ATOMIC_SEQ_CST) != 0)
		return false;
	if (stack == NULL && (stack = meta_alloc(PURGER_STACK_BYTES)) == NULL)
		return false;
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &old);
	done = clone_thread(CLONE_FILES, stack, PURGER_STACK_BYTES, purger_main, NULL, &gone) > 0;
	sigprocmask(SIG_SETMASK, &old, NULL);
	return done;
}

void purge_start(void)
{
	int saved_errno = errno;

	if (!atomic_exchange(&running, true) && (getpid() != our_pid || !start_thread()))
		atomic_store(&running, false);
	errno = saved_errno;
}

bool purge_wanted(const struct arena *a)
{
	return purge_is_on() && !atomic_load_explicit(&running, memory_order_relaxed) &&
	       arena_free_bytes(a) >= START_BYTES;
}

void malloc_purge_in_background(bool on)
{
	our_pid = getpid();
	atomic_store(&allowed, on);
}

void purge_child(void)
{
	atomic_store(&running, false);
	__atomic_store_n(&gone, 0, __ATOMIC_SEQ_CST);
	our_pid = getpid();
}
