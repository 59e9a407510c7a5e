/*
 * Random use of the whole memory manager against a plain array of pages.
 *
 * Three parties, as in the live engine, take turns where the lock is free:
 *
 *   program   threads that read and write pages and block on faults, and the
 *             kernel's part: munmap, mremap, madvise … change the address
 *             space at once and leave an event
 *   handler   a fiber: reads faults and events, calls mm_fault, mm_unmap …; in
 *             half of the runs it leaves swap-ins on their way
 *   pager     a fiber: kswapd_balance
 *
 * Handler and pager are switched at every unlock, relax and lock-free host
 * call, so a fault, an unmap or a move meets a batch of pages in any state of
 * its eviction. Everything follows from the seed: a failure prints it, and
 * MODEL_SEED=n runs that seed alone.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <cmocka.h>

#include "fiber.h"
#include "mm/swapin.h"
#include "sim.h"

#define THREADS 6
#define QUEUE 256
#define RUN_MAX 120
#define ROUNDS_MAX 60 /* of waiting for a frame; then the fault is given back */

enum message_type { FAULT, MAPPED, UNMAPPED, REMOVED, REMAPPED, FREEZE };

struct message {
	enum message_type type;
	unsigned start, n, to;
};

struct thread {
	bool blocked;
	unsigned page; /* the access that it is at; SIM_PAGES: none */
	bool write;
	unsigned cursor, step; /* a stream */
};

static struct {
	uint64_t seed, step;
	struct fiber handler, pager;
	struct thread thread[THREADS];
	struct message queue[QUEUE];
	unsigned queued;
	unsigned serving;   /* page whose fault the handler serves; SIM_PAGES: none */
	bool handler_idle;
	bool pager_idle;
	bool space_changes; /* the handler is inside a change of the address space */
	bool frozen;        /* copies may be at addresses */
	bool paused, draining;
	struct swapins swapins;
	unsigned later;     /* swap-ins that were on their way */
	unsigned within, beside; /* changes within which pages were on their way, and beside which others were */
	unsigned ahead;     /* of them, those that nobody has waited for */
	struct frame *hog[400];
	unsigned nr_hog;
	unsigned kind[8];   /* faults served, by enum fault_result */
	unsigned moves, unmaps, drops, adopted, readopted;
} w;

static void failed(const char *file, int line, const char *what)
{
	fprintf(stderr, "# seed %llu, step %llu: %s:%d: %s\n", (unsigned long long)w.seed, (unsigned long long)w.step,
		file, line, what);
}

/* The queue of userfaultfd. */

static void push(enum message_type type, unsigned start, unsigned n, unsigned to)
{
	ASSERT(w.queued < QUEUE);
	w.queue[w.queued++] = (struct message){ type, start, n, to };
}

/* Events come in their order; faults are handed out before them, or not. */
static struct message pop(void)
{
	unsigned i = 0;

	if (sim_below(2))
		while (i < w.queued && w.queue[i].type != FAULT)
			i++;
	else
		while (i < w.queued && w.queue[i].type == FAULT)
			i++;
	i = i == w.queued ? 0 : i;
	struct message m = w.queue[i];

	memmove(&w.queue[i], &w.queue[i + 1], (--w.queued - i) * sizeof(m));
	return m;
}

/* Threads that wait for the page try again. A message about them that was not read yet may vanish or stay. */
static void woken(unsigned page)
{
	if (fiber_current == &w.pager)
		/* A page that somebody waits for does not leave. */
		ASSERT(!pte_is_swap(sim_pte(page)));
	for (unsigned i = 0; i < THREADS; i++)
		if (w.thread[i].page == page)
			w.thread[i].blocked = false;
	for (unsigned i = 0; i < w.queued;) {
		if (w.queue[i].type != FAULT || w.queue[i].start != page || (w.queued < QUEUE / 2 && sim_below(2))) {
			i++;
			continue;
		}
		memmove(&w.queue[i], &w.queue[i + 1], (--w.queued - i) * sizeof(w.queue[0]));
	}
}

/* The program's threads. */

/* A page that reclaim has in its hands, or will have soon. */
static unsigned endangered_page(void)
{
	struct frame *f = TAILQ_LAST(&sim->m.lruvec[0].list[LRU_SAMPLE], frame_list);

	for (unsigned i = 0; i < 64; i++) {
		struct frame *any = &sim->frames[sim_below(SIM_FRAMES)];

		if (any->flags & FRAME_LOCKED)
			f = any;
	}
	return f != NULL ? sim_index(f->user.vpn) : 0;
}

static unsigned choose_page(struct thread *t)
{
	/* The first one does nothing but stream. */
	switch (t == &w.thread[0] ? 4 : sim_below(8)) {
	case 0:
		return (unsigned)sim_below(SIM_PAGES);
	case 1:
		return endangered_page();
	case 2 ... 3:
		/* A few hot places. */
		return (unsigned)(sim_below(8) * 190 + sim_below(20));
	default:
		if (sim_below(200) == 0) {
			t->cursor = (unsigned)sim_below(SIM_PAGES);
			t->step = sim_below(3) ? 1 : (unsigned)sim_below(20);
		}
		t->cursor = (t->cursor + t->step) % SIM_PAGES;
		return t->cursor;
	}
}

static void thread_step(void)
{
	struct thread *t = &w.thread[sim_below(THREADS)];

	if (t->blocked)
		return;
	if (t->page == SIM_PAGES) {
		if (w.draining)
			return;
		t->page = choose_page(t);
		t->write = sim_below(2);
	}
	struct sim_page *p = &sim->page[t->page];

	if (!p->mapped || p->busy || p->dead) {
		t->page = SIM_PAGES;
		return;
	}
	if (!p->there) {
		t->blocked = true;
		push(FAULT, t->page, 1, 0);
		return;
	}
	if (t->write || p->undefined)
		sim_write(t->page);
	else
		sim_read(t->page);
	t->page = SIM_PAGES;
}

/* What the kernel does to the address space. */

static bool used_by_thread(unsigned start, unsigned n)
{
	for (unsigned i = 0; i < THREADS; i++)
		if (w.thread[i].page >= start && w.thread[i].page < start + n)
			return true;
	return false;
}

/* Where pages are on their way, or anywhere. */
static unsigned choose_start(void)
{
	for (unsigned i = 0; i < SWAPINS; i++) {
		const struct swapin *in = &w.swapins.in[i];

		if (in->busy && sim_below(4) != 0)
			return sim_index(in->vpn[sim_below(in->n)]);
	}
	return (unsigned)sim_below(SIM_PAGES);
}

/* A run of pages that are all mapped (or all not), with no event on its way and no thread at it. 0: none here. */
static unsigned choose_run(bool mapped, unsigned *start)
{
	unsigned n = 0, most = 1 + (unsigned)sim_below(RUN_MAX);

	*start = choose_start();
	while (n < most && *start + n < SIM_PAGES && sim->page[*start + n].mapped == mapped &&
	       !sim->page[*start + n].busy)
		n++;
	return n > 0 && used_by_thread(*start, n) ? 0 : n;
}

static void page_forget(unsigned page)
{
	sim->page[page].there = sim->page[page].dead = sim->page[page].undefined = false;
	memset(sim->want[page], 0, PAGE_SIZE);
}

static void kernel_mmap(void)
{
	unsigned start, n = choose_run(false, &start);
	bool populated = sim_below(4) == 0;

	for (unsigned i = start; i < start + n; i++) {
		sim->page[i].mapped = sim->page[i].busy = true;
		if (populated && sim_below(3)) {
			sim->page[i].there = true;
			sim_write(i);
		}
	}
	if (n > 0)
		push(MAPPED, start, n, 0);
}

static void kernel_munmap(void)
{
	unsigned start, n = choose_run(true, &start);

	for (unsigned i = start; i < start + n; i++) {
		page_forget(i);
		sim->page[i].mapped = false;
		sim->page[i].busy = true;
		sim->page[i].pinned = false;
	}
	if (n > 0) {
		sim->changing++;
		push(UNMAPPED, start, n, 0);
	}
}

/* MADV_DONTNEED: the pages go when the event has been read. */
static void kernel_drop(void)
{
	unsigned start, n = choose_run(true, &start);

	for (unsigned i = start; i < start + n; i++)
		sim->page[i].busy = true;
	if (n > 0) {
		sim->changing++;
		push(REMOVED, start, n, 0);
	}
}

static void kernel_mremap(void)
{
	unsigned from, to, n = choose_run(true, &from), room = choose_run(false, &to);

	n = n < room ? n : room;
	for (unsigned i = 0; i < n; i++) {
		memcpy(sim->want[to + i], sim->want[from + i], PAGE_SIZE);
		memcpy(sim->bytes[to + i], sim->bytes[from + i], PAGE_SIZE);
		sim->page[to + i] = sim->page[from + i];
		sim->page[to + i].busy = true;
		page_forget(from + i);
		sim->page[from + i].mapped = sim->page[from + i].pinned = false;
		sim->page[from + i].busy = true;
	}
	if (n > 0) {
		sim->changing++;
		push(REMAPPED, from, n, to);
	}
}

/* The heap frees pages, or hands freed ones out again. */
static void heap_step(void)
{
	unsigned start, n = choose_run(true, &start);
	bool dead = sim_below(2);

	for (unsigned i = start; i < start + n; i++) {
		sim->page[i].dead = dead;
		sim->page[i].undefined |= dead;
	}
}

static void pin_step(void)
{
	unsigned start, n = choose_run(true, &start);
	bool pinned = sim_below(4) == 0;

	for (unsigned i = start; i < start + n; i++)
		sim->page[i].pinned = pinned;
}

/* Frames vanish and come back: the balloon. */
static void hog_step(void)
{
	struct phys *p = &sim->m.phys;
	unsigned want = (unsigned)sim_below(ARRAY_SIZE(w.hog)) * (sim_below(3) == 0);

	if (sim->locked)
		return;
	while (w.nr_hog > want)
		frame_free(p, w.hog[--w.nr_hog], 0);
	while (w.nr_hog < want) {
		struct frame *f = frame_alloc(p, 0, 0, MIGRATE_MOVABLE, ALLOC_MIN);

		if (f == NULL)
			break;
		w.hog[w.nr_hog++] = f;
	}
}

static void refusals_step(void)
{
	struct phys *p = &sim->m.phys;
	bool on = sim_below(2);

	sim->map_again = on ? 1 + (unsigned)sim_below(30) : 0;
	sim->map_nomem = on ? 1 + (unsigned)sim_below(60) : 0;
	sim->map_short = on ? 1 + (unsigned)sim_below(20) : 0;
	sim->unmap_busy = on ? 1 + (unsigned)sim_below(60) : 0;
	sim->unmap_again = on ? 1 + (unsigned)sim_below(60) : 0;
	sim->disk->commit_fails = on ? 1 + (unsigned)sim_below(30) : 0;
	sim->disk->write_fails = on ? 1 + (unsigned)sim_below(30) : 0;
	sim->zpool.store.max_frames = sim_below(3) ? 100 + sim_below(300) : sim_below(40);
	p->fail_nth = sim_below(2) ? 1 + sim_below(40) : 0;
	p->fail_forever = p->fail_nth != 0 && sim_below(8) == 0;
}

static void world_step(void)
{
	switch (sim_below(16)) {
	case 0 ... 1: kernel_mmap(); break;
	case 2:
		/* Of a fault that is not there any more. */
		push(FAULT, (unsigned)sim_below(SIM_PAGES), 1, 0);
		break;
	case 3: kernel_munmap(); break;
	case 4: kernel_mremap(); break;
	case 5: kernel_drop(); break;
	case 6 ... 8: heap_step(); break;
	case 9: pin_step(); break;
	case 10: hog_step(); break;
	case 11:
		if (sim_below(4) == 0)
			push(FREEZE, 0, 0, 0);
		break;
	case 12:
		if (!sim->locked && w.pager_idle)
			sim->zpool.store.ops->shrink(&sim->zpool.store);
		break;
	default: refusals_step();
	}
}

/* The handler. */

static void take(void)
{
	sim->m.ops->lock(&sim->m);
}

static void drop(void)
{
	sim->m.ops->unlock(&sim->m);
}

/* Nothing free: reclaim, or wait for the pager. Lock held. */
static void make_room(void)
{
	bool progress = false;

	if (!sim->m.reclaiming && sim_below(2))
		reclaim_batch(&sim->m, false, &progress);
	if (!progress)
		sim->m.ops->relax(&sim->m);
}

/* The swap-in that the page is on its way with. */
static const struct swapin *swapin_of(unsigned page)
{
	for (unsigned i = 0; i < SWAPINS; i++)
		for (unsigned k = 0; w.swapins.in[i].busy && k < w.swapins.in[i].n; k++)
			if (w.swapins.in[i].vpn[k].n == sim_vpn(page).n)
				return &w.swapins.in[i];
	return NULL;
}

/* Lock held. */
static void end_swapins(bool wait)
{
	struct swapin_done done;

	drop();
	swap_read_poll(&sim->m.swap, wait);
	take();
	while (mm_swapin_done(&sim->m, &done)) {
		ASSERT(done.result == FAULT_DONE || done.result == FAULT_RETRY || done.result == FAULT_NOMEM);
		/* 0: it was begun ahead, and nobody waits for it. */
		ASSERT(done.since == sim_index(done.vpn) || done.since == 0);
		w.ahead += done.since == 0;
		if (done.result != FAULT_DONE)
			woken(sim_index(done.vpn));
		w.later++;
	}
}

/* No page of these is on its way any more. Lock held. */
static void settle_swapins(unsigned start, unsigned n)
{
	while (swapins_within(&w.swapins, sim_vpn(start), sim_vpn(start + n)))
		end_swapins(true);
	for (unsigned i = start; i < start + n; i++)
		ASSERT(swapin_of(i) == NULL);
}

static void settle_all_swapins(void)
{
	take();
	settle_swapins(0, SIM_PAGES);
	ASSERT(w.swapins.nr == 0);
	drop();
}

/* Whoever waits for the page will be woken. Lock held. */
static void check_waited(unsigned page)
{
	pte_t pte = sim_pte(page);

	if (pte_is_swap(pte)) {
		const struct swapin *in = swapin_of(page);

		ASSERT(in != NULL && (in->waited || in->fault.n == sim_vpn(page).n));
		return;
	}
	ASSERT(pte_is_present(pte) || pte_is_soft(pte));
	const struct frame *f = pfn_frame(&sim->m.phys, pte_pfn(pte));

	ASSERT((f->flags & FRAME_LOCKED) && (f->flags & FRAME_WAITED));
}

static void serve(unsigned page)
{
	struct fault_report report = { .since = page };
	enum fault_result r;

	take();
	w.serving = page;
	while (w.swapins.nr == SWAPINS)
		end_swapins(true);
	for (unsigned round = 0;; round++) {
		r = mm_fault(&sim->mm, sim_vpn(page), FAULT_ANY, &report);
		w.kind[r]++;
		ASSERT(r != FAULT_LOST);
		if (r != FAULT_NOMEM || round == ROUNDS_MAX)
			break;
		make_room();
	}
	if (r == FAULT_WAIT)
		check_waited(page);
	else if (r != FAULT_DONE)
		woken(page);
	w.serving = SIM_PAGES;
	drop();
}

static void settle(unsigned start, unsigned n)
{
	for (unsigned i = start; i < start + n; i++)
		sim->page[i].busy = false;
}

/* The kernel drops the pages of a REMOVED range. */
static void zap(const struct message *m)
{
	for (unsigned i = m->start; i < m->start + m->n; i++)
		page_forget(i);
}

static void handle_mapped(const struct message *m)
{
	take();
	while (mm_map(&sim->mm, sim_vpn(m->start), sim_vpn(m->start + m->n), VMA_READ | VMA_WRITE, NULL, 0) != 0)
		make_room();
	for (unsigned i = m->start; i < m->start + m->n; i++)
		if (sim->page[i].there && sim_below(4) != 0 && mm_adopt(&sim->mm, sim_vpn(i)) == 0)
			w.adopted++;
	drop();
}

static void handle_change(const struct message *m)
{
	bool late = sim_below(2);

	sim->changing--;
	if (m->type == REMOVED && !late)
		zap(m);
	take();
	w.space_changes = true;
	w.within += swapins_within(&w.swapins, sim_vpn(m->start), sim_vpn(m->start + m->n));
	settle_swapins(m->start, m->n);
	if (m->type == REMAPPED)
		settle_swapins(m->to, m->n);
	w.beside += w.swapins.nr > 0;
	switch (m->type) {
	case UNMAPPED:
		while (mm_unmap(&sim->mm, sim_vpn(m->start), sim_vpn(m->start + m->n)) != 0)
			make_room();
		w.unmaps++;
		break;
	case REMAPPED:
		while (mm_move(&sim->mm, sim_vpn(m->start), sim_vpn(m->to), m->n) != 0)
			make_room();
		w.moves++;
		break;
	default:
		mm_drop(&sim->mm, sim_vpn(m->start), sim_vpn(m->start + m->n));
		w.drops++;
	}
	w.space_changes = false;
	drop();
	if (m->type == REMOVED && late) {
		fiber_yield();
		zap(m);
	}
}

/* fork: faults are served with copies and the manager does not change; afterwards it counts what was placed. */
static void handle_freeze(void)
{
	static uint8_t bytes[PAGE_SIZE] __attribute__((aligned(4096)));
	unsigned log[64], n = 0;

	w.paused = true;
	while (!w.pager_idle)
		fiber_yield();
	w.frozen = true;
	for (unsigned round = 0; round < 40; round++) {
		fiber_yield();
		for (unsigned i = 0; i < w.queued && n < ARRAY_SIZE(log); i++) {
			unsigned page = w.queue[i].start;

			if (w.queue[i].type != FAULT || sim->page[page].busy || sim->page[page].there)
				continue;
			take();
			int got = mm_peek(&sim->mm, sim_vpn(page), bytes);

			ASSERT(got == 0 || got == 1 || got == -EEXIST || got == -EFAULT);
			if (got == 0)
				memset(bytes, 0, PAGE_SIZE);
			if (got >= 0 && sim->page[page].mapped && !sim->page[page].busy && !sim->page[page].there) {
				sim_place(page, bytes);
				log[n++] = page;
				woken(page);
			}
			drop();
			break;
		}
	}
	take();
	while (n-- > 0)
		w.readopted += mm_readopt(&sim->mm, sim_vpn(log[n])) == 0;
	drop();
	w.frozen = false;
	w.paused = false;
}

/* Pages that are there and that nobody counted: found by a look at the kernel's tables. */
static void scan(void)
{
	unsigned start = (unsigned)sim_below(SIM_PAGES);

	take();
	for (unsigned i = start; i < SIM_PAGES && i < start + 100; i++)
		if (sim->page[i].there && !sim->page[i].busy && pte_is_none(sim_pte(i)))
			w.adopted += mm_adopt(&sim->mm, sim_vpn(i)) == 0;
	drop();
}

static void handle(void)
{
	struct message m = pop();

	if (m.type == MAPPED || m.type == FREEZE)
		settle_all_swapins();
	switch (m.type) {
	case FAULT:
		serve(m.start);
		return;
	case MAPPED:
		handle_mapped(&m);
		break;
	case FREEZE:
		handle_freeze();
		return;
	default:
		handle_change(&m);
		if (m.type == REMAPPED)
			settle(m.to, m.n);
	}
	settle(m.start, m.n);
}

static void handler_run(void)
{
	for (;;) {
		w.handler_idle = true;
		fiber_yield();
		w.handler_idle = false;
		if (w.queued > 0) {
			handle();
		} else if (w.swapins.nr > 0) {
			take();
			end_swapins(false);
			drop();
		} else if (sim_below(16) == 0) {
			scan();
		}
	}
}

/* The pager. */

static bool should_stop(void *ctx)
{
	(void)ctx;
	return w.paused || sim_below(32) == 0;
}

static void pager_run(void)
{
	struct phys *p = &sim->m.phys;

	for (;;) {
		w.pager_idle = true;
		fiber_yield();
		if (w.paused)
			continue;
		w.pager_idle = false;
		take();
		if (sim_below(3) == 0) {
			int err = kswapd_balance(&sim->m, 0, should_stop, NULL);

			ASSERT(err == 0 || err == -ENOMEM);
		} else {
			int err = kswapd_balance(&sim->m, 0, NULL, NULL);

			ASSERT(err == -ENOMEM || phys_free_frames(p, 0) >= phys_wmark(p, 0, WMARK_HIGH));
		}
		ASSERT(!sim->m.reclaiming || !w.handler_idle);
		drop();
	}
}

/* The laws. */

/* A thread that waits has a message under way, or the handler at its page, or a page that will wake it. */
static void check_thread(const struct thread *t)
{
	if (!t->blocked || w.serving == t->page)
		return;
	for (unsigned i = 0; i < w.queued; i++)
		if (w.queue[i].type == FAULT && w.queue[i].start == t->page)
			return;
	/* The handler has taken the message, and waits for the lock. */
	if (!w.handler_idle)
		return;
	check_waited(t->page);
}

static void check(void)
{
	take();
	for (unsigned i = 0; i < THREADS; i++)
		check_thread(&w.thread[i]);
	if (!w.space_changes)
		mm_check(&sim->mm);
	drop();
}

static void check_some_page(void)
{
	take();
	if (!w.space_changes)
		sim_check_page((unsigned)sim_below(SIM_PAGES), w.frozen);
	drop();
}

/* One run. */

static void begin(uint64_t seed)
{
	memset(&w, 0, sizeof(w));
	w.seed = seed;
	/* What can be left on its way is read through the store that fails now and then, which does it late. */
	sim_make_faulty(seed, 500 + 50 * (uint32_t)(seed % 4), true, 300, seed / 2 % 2, false);
	sim->m.swapins = seed / 2 % 2 ? &w.swapins : NULL;
	sim->m.gather = seed % 2 == 0;
	if (seed % 3 != 0)
		sim_add_helper();
	sim->helper.fails = 4;
	w.serving = SIM_PAGES;
	for (unsigned i = 0; i < THREADS; i++)
		w.thread[i] = (struct thread){ .page = SIM_PAGES, .step = 1 };
	for (unsigned i = 0; i < 1000; i++)
		sim->page[i].mapped = true;
	int err = mm_map(&sim->mm, sim_vpn(0), sim_vpn(1000), VMA_READ | VMA_WRITE, NULL, 0);
	ASSERT(err == 0);
	drop();
	fiber_make(&w.handler, handler_run);
	fiber_make(&w.pager, pager_run);
	sim->unlocked = fiber_yield;
	sim->woken = woken;
	assert_fail_hook = failed;
}

static void step(void)
{
	w.step++;
	switch (sim_below(16)) {
	case 0 ... 4:
		for (unsigned i = 0; i < 4; i++)
			thread_step();
		break;
	case 5 ... 10: fiber_switch(&w.handler); break;
	case 11 ... 14: fiber_switch(&w.pager); break;
	default:
		if (!w.draining && w.queued < QUEUE / 4 && sim_below(3) == 0)
			world_step();
	}
}

/* Everybody finishes what they are at; nothing is refused any more. */
static void drain(void)
{
	bool busy = true;

	w.draining = true;
	sim->map_again = sim->map_nomem = sim->map_short = sim->unmap_busy = sim->unmap_again = 0;
	sim->disk->commit_fails = sim->disk->write_fails = 0;
	sim->zpool.store.max_frames = UINT64_MAX;
	sim->disk->cells = FAKE_CELLS;
	sim->m.phys.fail_nth = 0;
	sim->m.phys.fail_forever = false;
	while (w.nr_hog > 0)
		frame_free(&sim->m.phys, w.hog[--w.nr_hog], 0);
	for (uint64_t until = w.step + 200000; busy; step()) {
		busy = w.queued > 0 || w.swapins.nr > 0 || !w.handler_idle || !w.pager_idle;
		for (unsigned i = 0; i < THREADS; i++)
			busy |= w.thread[i].page != SIM_PAGES;
		/* A thread that nobody wakes would never finish. */
		ASSERT(w.step < until);
	}
	while (!w.handler_idle || !w.pager_idle)
		step();
}

static void end(void)
{
	drain();
	sim->unlocked = NULL;
	take();
	ASSERT(sim->changing == 0);
	for (unsigned i = 0; i < SIM_PAGES; i++) {
		ASSERT(!sim->page[i].busy);
		sim_check_page(i, false);
	}
	sim_drop();
	fiber_drop(&w.handler);
	fiber_drop(&w.pager);
	assert_fail_hook = NULL;
}

/* What all runs together have met: a run that meets nothing proves nothing. */
static struct {
	uint64_t result[FAULT_LOST], major, soft, clean, discarded, moves, unmaps, drops, adopted, readopted, demoted, exchanged, helped, later, within, beside, ahead;
} met;

static void count_met(void)
{
	for (unsigned i = 0; i < FAULT_LOST; i++)
		met.result[i] += w.kind[i];
	met.major += sim->counter[VM_pgmajfault];
	met.soft += sim->counter[VM_pgsoft];
	met.clean += sim->counter[VM_pgclean];
	met.discarded += sim->counter[VM_pgdiscard];
	met.demoted += sim->counter[VM_pgdemote];
	met.exchanged += sim->exchanged;
	met.helped += sim->helper.done;
	met.later += w.later;
	met.within += w.within;
	met.beside += w.beside;
	met.ahead += w.ahead;
	met.moves += w.moves;
	met.unmaps += w.unmaps;
	met.drops += w.drops;
	met.adopted += w.adopted;
	met.readopted += w.readopted;
}

static void run(uint64_t seed, unsigned steps, unsigned check_every)
{
	begin(seed);
	while (w.step < steps) {
		step();
		if (w.step % check_every == 0)
			check();
		if (w.step % 4 == 0)
			check_some_page();
	}
	count_met();
	end();
}

static void a_short_run_checked_at_every_step(void **state)
{
	(void)state;
	run(1, 10000, 1);
}

static void long_runs_of_many_seeds(void **state)
{
	const char *only = getenv("MODEL_SEED");

	(void)state;
	if (only != NULL) {
		run(strtoull(only, NULL, 0), 40000, 64);
		return;
	}
	for (uint64_t seed = 2; seed < 10; seed++)
		run(seed, 40000, 64);
	for (unsigned i = 0; i < FAULT_LOST; i++)
		assert_true(met.result[i] > 50);
	assert_true(met.major > 1000 && met.soft > 1000 && met.clean > 100 && met.discarded > 100);
	assert_true(met.moves > 20 && met.unmaps > 20 && met.drops > 20 && met.adopted > 100 && met.readopted > 100);
	assert_true(met.demoted > 1000 && met.exchanged > 1000 && met.helped > 1000 && met.later > 1000 && met.ahead > 0);
	assert_true(met.within > 10 && met.beside > 10);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_short_run_checked_at_every_step),
		cmocka_unit_test(long_runs_of_many_seeds),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
