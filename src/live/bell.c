/*
 * Bells: how a program thread asks the handler for something.
 *
 * A bell is a page that is write-protected by userfaultfd. The thread fills the
 * request beside it and writes to the page; that is a fault, so it reaches the
 * handler on the same queue as everything else, at the price of a fault, with
 * no descriptor and no lock in the program's hands. The handler executes the
 * request, stores the result and lets the write go on.
 *
 *   FREE ──thread: claim──► TAKEN ──handler: served──► thread: read result──► RUNG ──re-protected──► FREE
 *
 * A thread that finds no free bell yields until the pager has made the rung ones ready.
 */
#include <errno.h>
#include <signal.h>
#include <sys/mman.h>

#include "live/clock.h"
#include "live/engine.h"
#include "live/host.h"

#define BELLS 64
#define OVERLAP_PATIENCE_NS 20000000 /* 20 ms to wait for the word that an old range is gone */

enum bell_state { BELL_FREE, BELL_TAKEN, BELL_RUNG };

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
	void *p = sys_mmap(NULL, BELLS * PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE,
			   -1, 0);

	if (sys_is_err((long)p))
		return (int)(long)p;
	pages = (uint64_t)(uintptr_t)p;
	engine_own(pages, BELLS * PAGE_SIZE);
	return 0;
}

int bell_register(void)
{
	int err = host_register(engine.prog_fd, pages, BELLS * PAGE_SIZE, false);

	if (err == 0)
		err = host_protect(engine.prog_fd, pages, BELLS * PAGE_SIZE, true);
	for (unsigned i = 0; i < BELLS; i++)
		atomic_store(&bells[i].state, BELL_FREE);
	return err;
}

bool bell_contains(uint64_t address)
{
	return address - pages < BELLS * PAGE_SIZE;
}

static int64_t ring_once(enum bell_op op, uint64_t a, uint64_t b, uint64_t c)
{
	uint64_t blocked = ~(uint64_t)0, before;
	struct bell *bell = NULL;

	/* A signal handler that leaves by longjmp would keep the bell for ever. */
	sys_call6(SYS_rt_sigprocmask, SIG_SETMASK, (long)&blocked, (long)&before, sizeof(blocked), 0, 0);
	for (unsigned i = 0; bell == NULL; i = (i + 1) % BELLS) {
		uint32_t free = BELL_FREE;

		if (atomic_compare_exchange_strong(&bells[i].state, &free, BELL_TAKEN))
			bell = &bells[i];
		else if (i == BELLS - 1)
			sys_sched_yield();
	}
	bell->op = op;
	bell->arg[0] = a;
	bell->arg[1] = b;
	bell->arg[2] = c;
	atomic_thread_fence(memory_order_seq_cst);
	*(volatile uint8_t *)(uintptr_t)(pages + (uint64_t)(bell - bells) * PAGE_SIZE) = 1;
	atomic_thread_fence(memory_order_seq_cst);
	int64_t result = bell->result;

	atomic_store(&bell->state, BELL_RUNG);
	sys_call6(SYS_rt_sigprocmask, SIG_SETMASK, (long)&before, 0, sizeof(before), 0, 0);
	return result;
}

int64_t bell_ring(enum bell_op op, uint64_t a, uint64_t b, uint64_t c)
{
	int64_t result;

	/* -EAGAIN: a fork is going on. */
	while ((result = ring_once(op, a, b, c)) == -EAGAIN)
		sys_sched_yield();
	return result;
}

/*
 * A new range. What lay there before has been unmapped, and the word of it may
 * still be on its way: wait until it is handled. If it does not come, the area
 * is the new one already, found by a scan.
 */
static int64_t mapped(uint64_t start, uint64_t len, uint64_t flags)
{
	struct engine *e = &engine;
	vpn_t from = vpn_of(start), to = vpn_of(start + len);

	uint64_t start_ns = now_ns();

	engine_take();
	while (vma_overlap(&e->mm.vmas, from, to) != NULL && now_ns() - start_ns < OVERLAP_PATIENCE_NS) {
		engine_drop();
		inbox_receive();
		handler_follow();
		sys_sched_yield();
		engine_take();
	}
	int64_t err = vma_overlap(&e->mm.vmas, from, to) != NULL && atomic_load(&e->state) != LEDGER_ENGAGED
			      ? 0
			      : native_mapped(start, len, flags & BELL_WRITABLE, flags & BELL_POPULATED);

	engine_drop();
	return err;
}

/* The range is the host's from now on (mlock, a stack with a thread's TCB): everything in it is brought in. */
static int64_t unmanage(uint64_t start, uint64_t end)
{
	struct engine *e = &engine;

	engine_take();
	int64_t err = native_release(start, end);

	if (err == 0 && atomic_load(&e->state) == LEDGER_ENGAGED)
		pager_wake();
	engine_drop();
	return err;
}

static int64_t execute(const struct bell *bell)
{
	if (engine.frozen && bell->op != BELL_THAW)
		return -EAGAIN;
	switch (bell->op) {
	case BELL_MAPPED:
		return mapped(bell->arg[0], bell->arg[1], bell->arg[2]);
	case BELL_FREEZE:
		return fork_freeze();
	case BELL_THAW:
		return fork_thaw();
	case BELL_UNMANAGE:
		return unmanage(bell->arg[0], bell->arg[1]);
	}
	return -EINVAL;
}

void bell_serve(uint64_t address)
{
	struct bell *bell = &bells[(address - pages) >> PAGE_SHIFT];

	/* A second word of the same write: the first one was served. */
	if (atomic_load(&bell->state) == BELL_TAKEN)
		bell->result = execute(bell);
	/* -EAGAIN: an event waits to be read, and the write would never go on. */
	while (host_protect(engine.prog_fd, ALIGN_DOWN(address, PAGE_SIZE), PAGE_SIZE, false) == -EAGAIN)
		inbox_receive();
}

void bell_rearm(void)
{
	for (unsigned i = 0; i < BELLS; i++) {
		if (atomic_load(&bells[i].state) != BELL_RUNG)
			continue;
		if (host_protect(engine.prog_fd, pages + i * PAGE_SIZE, PAGE_SIZE, true) == 0)
			atomic_store(&bells[i].state, BELL_FREE);
	}
}
