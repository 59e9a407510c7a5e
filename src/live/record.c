/*
 * Sampling: which pages does the program touch in an interval?
 *
 * Nobody tells. A process cannot read the accessed bits of its own page tables, and from outside the kernel gives
 * their sums only (smaps), or nothing (PAGEMAP_SCAN). So pages are *sampled* when an interval begins, as reclaim does
 * it (mm/reclaim/reclaim.c): unmapped, but kept. The next touch is a soft fault, and is recorded: page, thread, time,
 * read or written.
 *
 *     interval     │ 1            │ 2            │ 3
 *     page A       unmap ─touch─► mapped ▪ unmap ─touch─► …      a fault an interval
 *     page B       unmap ─────────────────────────────────       no touch: nothing to pay, nothing recorded
 *     page C       mapped ──────── ▪ mapped ───── ▪ …            beyond the bound: taken for touched, ▪
 *
 * First touches of fresh memory are faults of the engine's anyhow. Nothing is evicted: the budget is all the memory
 * that the machine has.
 *
 * The bound. A touch that is recorded takes about 9 µs of a CPU (docs/recording.md). In an interval as many pages are
 * sampled as cost COST_PERCENT of the CPU time that the program itself had in the last one, SAMPLES_MIN_S a second at
 * least; those first that have been mapped the longest. If that is all of them, the record is exact to the interval.
 * If not, pages that stay mapped are taken for touched until their turn comes: the record errs towards touched.
 *
 * First touches are outside of the bound: fresh memory is filled page by page, and not ahead of a stream as in a run, so that
 * each is a fault and exact. Entering a run of 16 as touched would cost a fifth, but what looks like a stream may skip pages:
 * one that touches each third would be recorded as three times as large.
 *
 * An interval is one of the program's: the time that its threads have waited for faults does not count.
 * Otherwise a program that is slowed down touches less in each interval, looks idle, and is sampled all the more.
 *
 * Rejected: protecting pages (mprotect and a signal: system calls on such memory fail with EFAULT); write protection
 * (misses reads); /proc/PID/clear_refs with smaps (sums, no pages); DAMON and idle page tracking (root, and kernels
 * are built without them); perf's memory sampling (no such counter in most virtual machines). A back-off for each page
 * that is touched in every interval: how often such a page is sampled then follows from the bound alone, in turns.
 *
 * What is known of a page is kept by frame number and checked by page number: a frame that has changed hands
 * starts anew. Locks: engine.lock, but for `ring_lock`, which makes one entry at a time and is taken last.
 */
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "live/clock.h"
#include "live/engine.h"
#include "live/proc.h"
#include "mm/reclaim/reclaim.h"

#define FULL_NAP_NS 200000
#define FULL_PATIENCE 5000   /* naps: a second */
#define COST_PERCENT 10      /* of the program's CPU time */
#define TOUCH_NS 9000        /* that recording one touch takes */
#define SAMPLES_MIN_S 10240  /* a second, so that a program that sleeps is recorded well */
#define SAMPLE_AT_ONCE 32
#define ASSUME_AT_ONCE 4096   /* pages looked at with the lock held */

struct known_page {
	uint32_t vpn;          /* its low bits */
	uint32_t interval : 31; /* of its last fault */
	uint32_t write : 1;    /* that was one */
};

static struct {
	struct record_ring *ring;     /* NULL: not recorded */
	struct engine_lock ring_lock;
	struct known_page *page;      /* one a frame */
	uint32_t interval;
	uint64_t begun;               /* the interval, ns */
	uint64_t stall_ns, program_ns; /* at its beginning: waited for faults, CPU time */
	bool write;                   /* the fault that is being served */
	uint32_t tid;                 /* whose it is */
	struct { uint64_t vpn, n; bool write; } run; /* touches that are entered as one */
} record;

static void put(struct record_entry e)
{
	struct record_ring *r = record.ring;
	uint64_t tail;

	if (r == NULL)
		return;
	engine_lock_take(&record.ring_lock);
	tail = atomic_load_explicit(&r->tail, memory_order_relaxed);
	for (unsigned i = 0; tail - atomic_load(&r->head) == RECORD_ENTRIES && i < FULL_PATIENCE; i++) {
		const struct timespec nap = { .tv_nsec = FULL_NAP_NS };

		sys_nanosleep(&nap, NULL);
	}
	if (tail - atomic_load(&r->head) == RECORD_ENTRIES) {
		atomic_fetch_add(&r->lost, 1);
	} else {
		e.ns = now_ns();
		r->entry[tail % RECORD_ENTRIES] = e;
		atomic_store_explicit(&r->tail, tail + 1, memory_order_release);
	}
	engine_lock_drop(&record.ring_lock);
}

static void put_range(enum record_op op, uint64_t start, uint64_t end)
{
	put((struct record_entry){ .op = (uint8_t)op, .vpn = start >> PAGE_SHIFT,
				   .n = (ALIGN_UP(end, PAGE_SIZE) - ALIGN_DOWN(start, PAGE_SIZE)) >> PAGE_SHIFT });
}

void record_attach(bool child)
{
	struct engine *e = &engine;
	struct record_entry name = { .op = RECORD_NAME };
	uint64_t slot = (uint64_t)(e->slot - e->ledger->slot);

	atomic_store(&record.ring_lock.word, 0);
	record.ring = e->ledger->record_ns != 0 && slot < RECORD_RINGS ? &e->ledger->record[slot] : NULL;
	record.program_ns = 0;
	memcpy(&name.vpn, e->slot->comm, sizeof(name.vpn));
	memcpy(&name.n, e->slot->comm + sizeof(name.vpn), sizeof(name.n));
	put(name);
	put((struct record_entry){ .op = RECORD_BEGIN, .write = child, .vpn = (uint64_t)e->pid,
				   .n = (uint64_t)sys_getppid() });
}

void record_own(uint64_t start, uint64_t len)
{
	put_range(RECORD_OWN, start, start + len);
}

/* What is known of page vpn, which frame f holds; NULL: there is no memory for it. */
static struct known_page *page_of(const struct frame *f, uint64_t vpn)
{
	struct engine *e = &engine;
	struct known_page *p;
	uint64_t bytes = ALIGN_UP(e->arena_pages * sizeof(*p), PAGE_SIZE);

	if (record.page == NULL) {
		record.page = engine_own_memory(bytes);
		if (record.page == NULL)
			return NULL;
	}
	p = &record.page[frame_pfn(&e->m.phys, f).n];
	if (p->vpn != (uint32_t)vpn)
		*p = (struct known_page){ .vpn = (uint32_t)vpn };
	return p;
}

/* The page is touched now. */
static void know(const struct frame *f, uint64_t vpn, bool write)
{
	struct known_page *p = page_of(f, vpn);

	if (p == NULL)
		return;
	p->write = write;
	p->interval = record.interval & INT32_MAX;
}

void record_fault(bool write, uint32_t tid)
{
	record.write = write;
	record.tid = tid;
}

void record_placing(uint64_t vpn, struct frame *const *frames, unsigned n)
{
	if (record.ring == NULL)
		return;
	for (unsigned i = 0; i < n; i++)
		know(frames[i], vpn + i, record.write);
	put((struct record_entry){ .op = RECORD_TOUCH, .vpn = vpn, .n = n, .tid = record.tid, .write = record.write });
}

void record_adopted(uint64_t vpn)
{
	if (record.ring == NULL)
		return;
	know(pfn_frame(&engine.m.phys, pte_pfn(pt_get(&engine.mm.pt, (vpn_t){ vpn }))), vpn, true);
	put((struct record_entry){ .op = RECORD_TOUCH, .vpn = vpn, .n = 1, .write = true });
}

void record_mapped(uint64_t start, uint64_t end)
{
	put_range(RECORD_MAP, start, end);
}

void record_unmapped(uint64_t start, uint64_t end)
{
	put_range(RECORD_UNMAP, start, end);
}

void record_moved(uint64_t from, uint64_t to, uint64_t len)
{
	put_range(RECORD_MOVE, from, from + len);
	put_range(RECORD_MOVED, to, to + len);
}

void record_dropped(uint64_t start, uint64_t end)
{
	put_range(RECORD_DROP, start, end);
}

static void flush_run(void)
{
	if (record.run.n > 0)
		put((struct record_entry){ .op = RECORD_TOUCH, .vpn = record.run.vpn, .n = record.run.n,
					   .write = record.run.write });
	record.run.n = 0;
}

static void add_to_run(uint64_t vpn, bool write)
{
	if (record.run.n == 0 || vpn != record.run.vpn + record.run.n || write != record.run.write) {
		flush_run();
		record.run.vpn = vpn;
		record.run.write = write;
	}
	record.run.n++;
}

/* Enters pages of [at, end) that were mapped all through the interval as touched. Looks at n; returns where to go on. */
static vpn_t assume(vpn_t at, vpn_t end, unsigned n)
{
	struct engine *e = &engine;
	pte_t pte;

	for (; n > 0 && pt_next(&e->mm.pt, at, end, &at, &pte); at.n++, n--) {
		struct known_page *p = pte_is_present(pte) ? page_of(pfn_frame(&e->m.phys, pte_pfn(pte)), at.n) : NULL;

		if (p != NULL && p->interval != (record.interval & INT32_MAX))
			add_to_run(at.n, p->write);
	}
	flush_run();
	return n > 0 ? end : at;
}

static void assume_all(void)
{
	const vpn_t end = { (uint64_t)1 << (47 - PAGE_SHIFT) };
	vpn_t at = { 0 };

	while (at.n < end.n && atomic_load(&engine.pause) == 0) {
		engine_take();
		at = assume(at, end, ASSUME_AT_ONCE);
		engine_drop();
	}
}

/* Unmaps up to max of the pages that are mapped and on the list now. Returns how many. */
static uint64_t sample_list(enum lru_list list, uint64_t max)
{
	struct machine *m = &engine.m;
	uint64_t done = 0, n = 1;

	engine_take();
	for (max = MIN(max, m->lruvec[0].nr[list]); done < max && n > 0 && atomic_load(&engine.pause) == 0; done += n) {
		while (m->reclaiming)
			m->ops->relax(m);
		n = reclaim_sample(m, list, (unsigned)MIN(max - done, SAMPLE_AT_ONCE));
		/* Faults that queued up come first. */
		m->ops->relax(m);
	}
	engine_drop();
	return done;
}

static uint64_t cpu_ns(long clock)
{
	struct timespec t = { 0 };

	sys_call3(SYS_clock_gettime, clock, (long)&t, 0);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* The clock of another thread's CPU time (kernel: MAKE_THREAD_CPUCLOCK(tid, CPUCLOCK_SCHED)). */
static long thread_clock(const struct task *t)
{
	return ~(long)atomic_load(&t->tid) << 3 | 6;
}

/* CPU time of the program's threads so far, as far as it is not ours. */
static uint64_t program_ns(void)
{
	struct engine *e = &engine;
	uint64_t ours = cpu_ns(thread_clock(&e->handler)) + cpu_ns(thread_clock(&e->pager));
	uint64_t all = cpu_ns(CLOCK_PROCESS_CPUTIME_ID);

	return all > ours ? all - ours : 0;
}

uint64_t record_patience(void)
{
	return record.ring != NULL ? engine.ledger->record_ns : UINT64_MAX;
}

void record_tick(uint64_t now)
{
	struct engine *e = &engine;
	uint64_t stalled = e->m.counter[VM_stall_ns] - record.stall_ns;

	if (record.ring == NULL || now - record.begun < e->ledger->record_ns + stalled)
		return;
	uint64_t program = program_ns(), had = program - MIN(program, record.program_ns);
	uint64_t least = SAMPLES_MIN_S * e->ledger->record_ns / 1000000000;
	uint64_t samples = MAX(had * COST_PERCENT / 100 / TOUCH_NS, least);

	assume_all();
	put((struct record_entry){ .op = RECORD_TICK, .n = had });
	record.interval++;
	samples -= sample_list(LRU_ACTIVE_ANON, samples);
	sample_list(LRU_INACTIVE_ANON, samples);
	record.program_ns = program;
	record.stall_ns = e->m.counter[VM_stall_ns];
	record.begun = now_ns();
}
