/*
 * Bells: how a program thread asks the handler for something.
 *
 * A bell is a page that is write-protected by userfaultfd. The thread fills the
 * request beside it and writes to the page; that is a fault, so it reaches the
 * handler on the same queue as everything else, at the price of a fault, with
 * no descriptor and no lock in the program's hands. The handler executes the
 * request, stores the result and lets the write go on.
 *
 *   FREE ─thread: claim─► TAKEN ─handler─► SERVED ─thread: read result─► RUNG ─re-protected─► FREE
 *
 * A thread that finds no free bell wakes the pager, which makes the rung ones ready
 * at the beginning of each round (the handler does it now and then, too), and yields. Two bells are
 * kept for fork: all others may be taken by threads that wait for its end.
 */
#include <errno.h>

#include "base/assert.h"
#include "live/clock.h"
#include "live/engine.h"
#include "live/host.h"

#define BELLS 64
#define BELL_OF_FREEZE 0
#define BELL_OF_THAW 1
#define BELLS_KEPT 2
#define REARM_EVERY 16 /* requests */
#define OVERLAP_PATIENCE_NS 20000000 /* 20 ms to wait for the word that an old range is gone */

enum bell_state { BELL_FREE, BELL_TAKEN, BELL_SERVED, BELL_RUNG, BELL_ARMING };

struct bell {
	_Atomic uint32_t state;
	enum bell_op op;
	uint64_t arg[3];
	int64_t result;
};

static struct bell bells[BELLS];
static uint64_t pages; /* address of the first bell's page */

int bell_init(void)
{
	uint8_t *p = engine_own_memory(BELLS * PAGE_SIZE);

	if (p == NULL)
		return -ENOMEM;
	/* Only what is there can be protected. */
	for (unsigned i = 0; i < BELLS; i++)
		*(volatile uint8_t *)(p + i * PAGE_SIZE) = 0;
	pages = (uint64_t)(uintptr_t)p;
	return 0;
}

int bell_register(void)
{
	int err = host_register(engine.homes.prog_fd, pages, BELLS * PAGE_SIZE, false);

	if (err == 0)
		err = host_protect(engine.homes.prog_fd, pages, BELLS * PAGE_SIZE, true);
	for (unsigned i = 0; i < BELLS; i++)
		atomic_store(&bells[i].state, BELL_FREE);
	return err;
}

bool bell_contains(uint64_t address)
{
	return address - pages < BELLS * PAGE_SIZE;
}

static bool claim(struct bell *bell)
{
	uint32_t free = BELL_FREE;

	return atomic_compare_exchange_strong(&bell->state, &free, BELL_TAKEN);
}

static struct bell *claim_one(enum bell_op op)
{
	unsigned first = op == BELL_FREEZE ? BELL_OF_FREEZE : op == BELL_THAW ? BELL_OF_THAW : BELLS_KEPT;
	unsigned end = first < BELLS_KEPT ? first + 1 : BELLS;

	for (;;) {
		for (unsigned i = first; i < end; i++)
			if (claim(&bells[i]))
				return &bells[i];
		pager_wake();
		sys_sched_yield();
	}
}

int64_t bell_ring(enum bell_op op, uint64_t a, uint64_t b, uint64_t c)
{
	uint64_t before;

	/* A signal handler that leaves by longjmp would keep the bell for ever. */
	signals_block(&before);
	struct bell *bell = claim_one(op);

	bell->op = op;
	bell->arg[0] = a;
	bell->arg[1] = b;
	bell->arg[2] = c;
	atomic_thread_fence(memory_order_seq_cst);
	*(volatile uint8_t *)(uintptr_t)(pages + (uint64_t)(bell - bells) * PAGE_SIZE) = 1;
	atomic_thread_fence(memory_order_seq_cst);
	int64_t result = bell->result;

	/* A request that was not heard would go unnoticed, a fork without its freeze for one. */
	ASSERT(atomic_load(&bell->state) == BELL_SERVED);
	atomic_store(&bell->state, BELL_RUNG);
	signals_restore(&before);
	return result;
}

/* No word of a change is on its way: while one is, the kernel refuses to protect a page; that of the bell is protected. */
static bool all_is_heard(const struct bell *bell)
{
	return host_protect(engine.homes.prog_fd, pages + (uint64_t)(bell - bells) * PAGE_SIZE, PAGE_SIZE, true) != -EAGAIN;
}

/*
 * A new range. What lay there before has been unmapped, and the word of it may
 * still be on its way: wait until it is handled. If none is, the area
 * is the new one already, found by a scan.
 */
static int64_t mapped(const struct bell *bell)
{
	struct engine *e = &engine;
	uint64_t start = bell->arg[0], len = bell->arg[1], flags = bell->arg[2], start_ns = now_ns();
	vpn_t from = vpn_of(start), to = vpn_of(start + len);
	bool heard = false;

	engine_take();
	if (flags & BELL_GROWN) {
		int err = native_grown(start, start + len);

		engine_drop();
		return err;
	}
	while (vma_overlap(&e->mm.vmas, from, to) != NULL && !heard && now_ns() - start_ns < OVERLAP_PATIENCE_NS) {
		engine_drop();
		heard = all_is_heard(bell);
		inbox_receive();
		handler_follow();
		sys_sched_yield();
		engine_take();
	}
	int64_t err = vma_overlap(&e->mm.vmas, from, to) != NULL && atomic_load(&e->state) != LEDGER_ENGAGED
			      ? 0
			      : native_mapped(start, len, flags & BELL_WRITABLE);

	engine_drop();
	return err;
}

/* The range is the host's from now on (mlock, a stack with a thread's TCB): everything in it is brought in. */
static int64_t unmanage(const struct bell *bell)
{
	struct engine *e = &engine;

	engine_take();
	int64_t err = bell->op == BELL_LOCK ? native_lock(bell->arg[0], bell->arg[1], bell->arg[2])
					    : native_release(bell->arg[0], bell->arg[1]);

	if (err == 0 && atomic_load(&e->state) == LEDGER_ENGAGED)
		pager_wake();
	engine_drop();
	return err;
}

static int64_t join(uint64_t start, uint64_t len)
{
	engine_take();
	native_join(start, start + len);
	engine_drop();
	return 0;
}

static int64_t execute(const struct bell *bell)
{
	switch (bell->op) {
	case BELL_MAPPED:
		return mapped(bell);
	case BELL_ROOM:
		return fork_room(bell->arg[0]);
	case BELL_FREEZE:
		return fork_freeze((uint32_t)bell->arg[0], (uint32_t)bell->arg[1]);
	case BELL_THAW:
		return fork_thaw();
	case BELL_UNMANAGE:
	case BELL_LOCK:
		return unmanage(bell);
	case BELL_JOIN:
		return join(bell->arg[0], bell->arg[1]);
	case BELL_UNSEEN:
		engine_take();
		native_find_unseen();
		engine_drop();
		return 0;
	}
	return -EINVAL;
}

void bell_serve(uint64_t address)
{
	struct bell *bell = &bells[(address - pages) >> PAGE_SHIFT];
	static unsigned served;

	/* While a fork copies the manager it must not change: bell_wake, at the end of it, brings the request again. */
	if (engine.frozen && bell->op != BELL_THAW)
		return;
	/* A second word of a write that was served: the bell may be free again by now, and must stay protected. */
	if (atomic_load(&bell->state) != BELL_TAKEN) {
		host_wake(engine.homes.prog_fd, ALIGN_DOWN(address, PAGE_SIZE), PAGE_SIZE);
		return;
	}
	handler_settle();
	bell->result = execute(bell);
	atomic_store(&bell->state, BELL_SERVED);
	/*
	 * -EAGAIN: an event waits to be read, and the write would never go on. What is read is followed, because a thread that makes one change
	 * after another fills the inbox, and then nothing is read any more.
	 */
	while (changes_protect(ALIGN_DOWN(address, PAGE_SIZE), PAGE_SIZE, false) == -EAGAIN) {
		inbox_receive();
		handler_follow();
	}
	if (++served % REARM_EVERY == 0)
		bell_rearm();
}

void bell_arm_thaw(void)
{
	/* It has been rung by the last fork, and the pager that arms bells stands. */
	while (atomic_load(&bells[BELL_OF_THAW].state) != BELL_FREE) {
		bell_rearm();
		inbox_receive();
		handler_follow();
	}
}

void bell_wake(void)
{
	host_wake(engine.homes.prog_fd, pages, BELLS * PAGE_SIZE);
}

void bell_rearm(void)
{
	for (unsigned i = 0; i < BELLS; i++) {
		uint32_t rung = BELL_RUNG;

		if (!atomic_compare_exchange_strong(&bells[i].state, &rung, BELL_ARMING))
			continue;
		bool armed = changes_protect(pages + i * PAGE_SIZE, PAGE_SIZE, true) == 0;

		atomic_store(&bells[i].state, armed ? BELL_FREE : BELL_RUNG);
	}
}
