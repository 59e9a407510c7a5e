/*
 * Messages of userfaultfd, from the kernel's queue to the handler.
 *
 * A change of the address space (munmap, mremap, madvise by whatever means) is
 * done when the kernel tells us of it, and its caller goes on the moment the
 * message is read. Three parties must not act on what the manager believed before:
 *
 *   handler   changes are handled before faults, in the order in which they were
 *             read. One that is not read yet makes the kernel refuse MOVE and COPY
 *             with -EAGAIN.
 *   pager     the same -EAGAIN protects it until the message is read. From then on
 *             the gate does: messages are read with the gate held, and an eviction
 *             takes the gate, looks for changes that wait here (inbox_changing),
 *             and moves the page, one step to everybody else.
 *   fork      a child goes on with the changes that wait here. They lie in one
 *             page, so that its copy is a state that has been: a prefix of what
 *             was written to it.
 *
 * The copying path cannot hold the gate while it drops pages, because the drop
 * is itself a change that must be read. It is announced instead (holds), and
 * program threads announce their changes (changers); who comes second gives
 * way. fork does the same, so that no change is half followed in its copy. A
 * change made without libc is not announced: docs/limits.md.
 *
 * A thread that makes one change after the other would have every MOVE, COPY and
 * write protection refused, and nobody would get on but this thread. Whoever is
 * refused holds off the next change, and is done as soon as those before are read
 * (changes_await).
 */
#include <errno.h>

#include "live/clock.h"
#include "live/engine.h"
#include "live/host.h"

#define READ_AT_ONCE 16
#define FAULTS 256
#define FAULTS_KEPT (FAULTS - 64 - READ_AT_ONCE) /* room for every bell */
#define CHANGES 126
#define AHEAD_LOOK_NS 10000000 /* 10 ms */
#define AWAIT_NS 1000000       /* 1 ms: a large munmap takes longer, but then others wait for the kernel as well */
#define AWAIT_AWAKE_NS 50000   /* 50 µs: small ones are over */
#define SOMEBODY_WAITS (UINT32_C(1) << 31)

static struct {
	_Atomic uint32_t head, tail; /* [head, tail) wait or are being handled */
	struct uffd_msg msg[CHANGES];
} changes __attribute__((aligned(PAGE_SIZE)));

_Static_assert(sizeof(changes) <= PAGE_SIZE, "one page: see fork above");

static struct uffd_msg faults[FAULTS];
static unsigned first_fault, nr_faults;

/*
 * The pager's own madvise of the copying path: one message for each of the
 * kernel's areas in the range, in order. The pager waits until the last one is
 * recognised here: later it would be taken for the program's.
 */
static bool own_change(const struct uffd_msg *msg)
{
	struct engine *e = &engine;
	uint64_t next = atomic_load(&e->dropping), end = atomic_load(&e->dropping_end);

	if (msg->event != UFFD_EVENT_REMOVE || next == 0 || msg->arg.remove.start != next || msg->arg.remove.end > end)
		return false;
	atomic_store(&e->dropping, msg->arg.remove.end == end ? 0 : msg->arg.remove.end);
	return true;
}

/*
 * The pager found the page gone that it wanted to copy: another thread has dropped
 * it, and it holds zeros by now. Write-protected as the page was: what that thread
 * writes to it next must not go the way of the copy.
 */
static bool pager_fault(const struct uffd_msg *msg)
{
	uint64_t address = msg->arg.pagefault.address;

	if ((int32_t)msg->arg.pagefault.feat.ptid != atomic_load(&engine.pager.tid) || bell_contains(address))
		return false;
	/* Its own protection is in its way (MADV_POPULATE_WRITE). */
	if (msg->arg.pagefault.flags & UFFD_PAGEFAULT_FLAG_WP) {
		host_protect(engine.homes.prog_fd, ALIGN_DOWN(address, PAGE_SIZE), PAGE_SIZE, false);
		host_wake(engine.homes.prog_fd, ALIGN_DOWN(address, PAGE_SIZE), PAGE_SIZE);
		return true;
	}
	host_copy(engine.homes.prog_fd, ALIGN_DOWN(address, PAGE_SIZE), engine.homes.zeros, PAGE_SIZE, UFFDIO_COPY_MODE_WP);
	host_wake(engine.homes.prog_fd, ALIGN_DOWN(address, PAGE_SIZE), PAGE_SIZE);
	return true;
}

static void sort_in(const struct uffd_msg *msg)
{
	if (msg->event == UFFD_EVENT_PAGEFAULT) {
		uint64_t address = msg->arg.pagefault.address;

		if (pager_fault(msg))
			return;
		/* More than that is tried again later. */
		if (nr_faults >= FAULTS_KEPT && !bell_contains(address))
			host_wake(engine.homes.prog_fd, ALIGN_DOWN(address, PAGE_SIZE), PAGE_SIZE);
		else
			faults[(first_fault + nr_faults++) % FAULTS] = *msg;
		return;
	}
	if (own_change(msg))
		return;
	uint32_t tail = atomic_load_explicit(&changes.tail, memory_order_relaxed);

	if (tail - atomic_load(&changes.head) == CHANGES)
		engine_fatal("too many address space changes at once: more than 126 threads unmap memory");
	changes.msg[tail % CHANGES] = *msg;
	atomic_store_explicit(&changes.tail, tail + 1, memory_order_release);
}

void inbox_wait(void)
{
	struct pollfd p[1 + SWAP_SPECS] = { { .fd = engine.homes.prog_fd, .events = POLLIN } };
	uint64_t until = UINT64_MAX;
	unsigned n = engine.swapins.awaited > 0 ? stores_poll(p + 1, &until) : 0;

	/* What nothing can be polled for is over when it is next asked for. */
	if (engine.swapins.awaited > 0 && n == 0)
		until = 0;
	/* What nobody waits for is mapped when the next fault comes: to wake up for each piece of it would cost the program more than it gains. */
	else if (engine.swapins.awaited == 0 && engine.swapins.nr > 0)
		until = now_ns() + AHEAD_LOOK_NS;
	uint64_t now = until < UINT64_MAX ? now_ns() : 0, ns = until - MIN(until, now);
	struct timespec timeout = { .tv_sec = (time_t)(ns / 1000000000), .tv_nsec = (long)(ns % 1000000000) };

	sys_ppoll(p, 1 + n, until < UINT64_MAX ? &timeout : NULL);
}

bool inbox_receive(void)
{
	struct uffd_msg msg[READ_AT_ONCE];
	uint32_t waiting = atomic_load(&changes.tail) - atomic_load(&changes.head);

	/* Who makes more changes than we can follow waits in the kernel. But the pager's own word must be heard, and the end of a fork. */
	if (CHANGES - waiting < READ_AT_ONCE && atomic_load(&engine.dropping) == 0 && !engine.frozen)
		return false;
	engine_lock_take(&engine.gate);
	ssize_t n = sys_read(engine.homes.prog_fd, msg, sizeof(msg));

	for (unsigned i = 0; n > 0 && i < (size_t)n / sizeof(msg[0]); i++)
		sort_in(&msg[i]);
	engine_lock_drop(&engine.gate);
	return n > 0;
}

const struct uffd_msg *inbox_change(void)
{
	uint32_t head = atomic_load(&changes.head);

	return head != atomic_load(&changes.tail) ? &changes.msg[head % CHANGES] : NULL;
}

void inbox_change_done(void)
{
	atomic_fetch_add(&changes.head, 1);
}

bool inbox_fault(struct uffd_msg *msg)
{
	if (nr_faults == 0)
		return false;
	*msg = faults[first_fault];
	first_fault = (first_fault + 1) % FAULTS;
	nr_faults--;
	return true;
}

void inbox_forget_faults(void)
{
	first_fault = nr_faults = 0;
}

static bool overlap(uint64_t a, uint64_t a_end, uint64_t b, uint64_t b_end)
{
	return a < b_end && b < a_end;
}

bool inbox_changing(uint64_t start, uint64_t end)
{
	uint32_t tail = atomic_load(&changes.tail);

	for (uint32_t i = atomic_load(&changes.head); i != tail; i++) {
		const struct uffd_msg *msg = &changes.msg[i % CHANGES];

		if (msg->event != UFFD_EVENT_REMAP) {
			if (overlap(start, end, msg->arg.remove.start, msg->arg.remove.end))
				return true;
			continue;
		}
		uint64_t from = msg->arg.remap.from, to = msg->arg.remap.to, len = msg->arg.remap.len;

		if (overlap(start, end, from, from + len) || overlap(start, end, to, to + len))
			return true;
	}
	return false;
}

void change_announce(uint64_t *signals)
{
	struct engine *e = &engine;

	signals_block(signals);
	/* One at a time: the words of two that meet at an address could come in another order than they were done. */
	engine_lock_take(&e->change_lock);
	atomic_fetch_add(&e->changers, 1);
	while (atomic_load(&e->holds) != 0) {
		atomic_fetch_sub(&e->changers, 1);
		uint32_t holds = atomic_fetch_or(&e->holds, SOMEBODY_WAITS) | SOMEBODY_WAITS;
		/* Nobody holds us off any more: the word is ours to clear. */
		if (holds == SOMEBODY_WAITS)
			atomic_compare_exchange_strong(&e->holds, &holds, 0);
		else
			futex_wait(&e->holds, holds, NULL);
		atomic_fetch_add(&e->changers, 1);
	}
}

void change_over(const uint64_t *signals)
{
	atomic_fetch_sub(&engine.changers, 1);
	engine_lock_drop(&engine.change_lock);
	signals_restore(signals);
}

void changes_settle(void)
{
	struct engine *e = &engine;

	changes_hold(HOLD_FORK);
	do {
		inbox_receive();
		handler_follow();
		if (atomic_load(&e->changers) == 0 && inbox_change() == NULL)
			break;
		sys_sched_yield();
	} while (true);
}

void changes_hold(enum change_hold who)
{
	atomic_fetch_or(&engine.holds, who);
}

bool changes_rest(void)
{
	return atomic_load(&engine.changers) == 0;
}

void changes_let_go(enum change_hold who)
{
	struct engine *e = &engine;
	uint32_t left = atomic_fetch_and(&e->holds, ~(uint32_t)who) & ~(uint32_t)who;

	if (left == SOMEBODY_WAITS && atomic_compare_exchange_strong(&e->holds, &left, 0))
		futex_wake_all(&e->holds);
}

int64_t changes_await(uint64_t start, uint64_t end, int64_t (*try)(const void *ctx), const void *ctx)
{
	struct engine *e = &engine;
	bool handler = task_is_current(&e->handler);
	enum change_hold who = handler ? HOLD_HANDLER : HOLD_PAGER;
	const struct timespec moment = { .tv_nsec = AWAIT_AWAKE_NS };
	uint64_t start_ns = now_ns(), waited;
	int64_t got = -EAGAIN;

	changes_hold(who);
	while (got == -EAGAIN && (waited = now_ns() - start_ns) < AWAIT_NS) {
		if (handler)
			inbox_receive();
		/* He may sleep until there are frames. */
		else if (atomic_load(&e->frames_wanted) != 0)
			futex_wake(&e->frames_wanted);
		/* What was read he has to follow first. */
		if (handler && inbox_changing(start, end))
			break;
		if (waited < AWAIT_AWAKE_NS)
			sys_sched_yield();
		else
			sys_nanosleep(&moment, NULL);
		got = try(ctx);
	}
	changes_let_go(who);
	return got;
}

struct protection {
	uint64_t start, len;
	bool on;
};

static int64_t try_protect(const void *ctx)
{
	const struct protection *p = ctx;

	return host_protect(engine.homes.prog_fd, p->start, p->len, p->on);
}

int changes_protect(uint64_t start, uint64_t len, bool on)
{
	struct protection p = { start, len, on };
	int64_t err = try_protect(&p);

	return (int)(err == -EAGAIN ? changes_await(start, start + len, try_protect, &p) : err);
}
