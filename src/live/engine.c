/* The life of the engine: attach to the run, start, stop the program when it must be. */
#include "live/engine.h"

#include <errno.h>
#include <signal.h>
#include <sys/mman.h>

#include "base/assert.h"
#include "base/fmt.h"
#include "live/host.h"
#include "live/proc.h"

#define PROG_FEATURES \
	(UFFD_FEATURE_THREAD_ID | UFFD_FEATURE_PAGEFAULT_FLAG_WP | UFFD_FEATURE_EVENT_REMAP | \
	 UFFD_FEATURE_EVENT_REMOVE | UFFD_FEATURE_EVENT_UNMAP)

#define OWN_SPACE UINT64_C(0x400000000000) /* where our memory is, if that is free: */
#define OWN_SPREAD (UINT64_C(1) << 40)     /* from anywhere in this on, which the host's randomization decides */

struct engine engine;

static struct engine_lock start_lock;

static void own(uint64_t start, uint64_t len, uint64_t guard)
{
	struct engine *e = &engine;

	ASSERT(e->nr_own < OWN_RANGES);
	e->own[e->nr_own++] = (struct own_range){ start, start + len, guard };
	record_own(start, len);
}

void engine_own(uint64_t start, uint64_t len)
{
	own(start, len, 0);
}

void engine_unmap_own(const void *keep)
{
	struct engine *e = &engine;

	for (unsigned i = 0; i < e->nr_own; i++) {
		const struct own_range *r = &e->own[i];

		if (r->start != (uint64_t)(uintptr_t)keep)
			sys_munmap((void *)(uintptr_t)(r->start - r->guard), r->end - r->start + 2 * r->guard);
	}
	e->nr_own = 0;
}

bool engine_owns(uint64_t start, uint64_t end)
{
	for (unsigned i = 0; i < engine.nr_own; i++)
		if (start < engine.own[i].end && engine.own[i].start < end)
			return true;
	return false;
}

void engine_fatal(const char *what)
{
	struct ledger_slot *s = engine.slot;

	if (s != NULL) {
		struct fmt f;

		fmt_init(&f, s->message, sizeof(s->message));
		fmt_str(&f, what);
		atomic_store(&s->state, LEDGER_FATAL);
	}
	for (;;)
		sys_kill(sys_getpid(), SIGKILL);
}

static void assertion_failed(const char *file, int line, const char *what)
{
	char text[200];
	struct fmt f;

	fmt_init(&f, text, sizeof(text));
	fmt_assertion(&f, file, line, what);
	fmt_str(&f, "; the program was stopped, please report this");
	engine_fatal(text);
}

static void read_comm(struct ledger_slot *s)
{
	int fd = sys_open("/proc/self/comm", O_RDONLY | O_CLOEXEC, 0);

	if (fd < 0)
		return;
	ssize_t n = sys_read(fd, s->comm, sizeof(s->comm) - 1);

	sys_close(fd);
	s->comm[n > 0 ? n - 1 : 0] = '\0';
}

int engine_attach(struct ledger *ledger, int device)
{
	struct engine *e = &engine;
	struct proc_memory mem = { 0 };

	assert_fail_hook = assertion_failed;
	e->ledger = ledger;
	e->device = device;
	e->pid = sys_getpid();
	e->slot = ledger_claim(ledger, e->pid, proc_start_time());
	if (e->slot == NULL)
		return -EAGAIN;
	/* After exec the slot still has what belonged to the old image. */
	fork_execed();
	stores_execed();
	ledger_return_all(ledger, e->slot);
	atomic_store(&e->slot->oom, LEDGER_OOM_NONE);
	atomic_store(&e->slot->fault_since, 0);
	atomic_store(&e->slot->state, LEDGER_NATIVE);
	/* Nor will anybody answer what the old image was asked. */
	atomic_store(&e->slot->asked, ASK_IDLE);
	atomic_store(&e->program_threads, 1);
	cpu_attach(e->slot);
	read_comm(e->slot);
	proc_memory(&mem, false);
	ledger_grant(ledger, e->slot, mem.resident - MIN(mem.resident, mem.shared) + file_part(mem.shared));
	record_attach(false);
	atomic_store(&e->state, LEDGER_NATIVE);
	return 0;
}

void engine_leave(void)
{
	fork_ends();
	if (atomic_load(&engine.state) == LEDGER_NATIVE)
		ledger_return_all(engine.ledger, engine.slot);
}

static int open_descriptors(void)
{
	struct engine *e = &engine;

	e->homes.prog_fd = host_uffd_new(e->device);
	/* A daemon closes what it has not opened, and then it may no longer open the device itself. */
	if (e->homes.prog_fd < 0 && e->ask_device != NULL) {
		e->device = e->ask_device();
		e->homes.prog_fd = host_uffd_new(e->device);
	}
	e->homes.trash_fd = host_uffd_new(e->device);
	if (e->homes.prog_fd < 0)
		return e->homes.prog_fd;
	if (e->homes.trash_fd < 0)
		return e->homes.trash_fd;
	e->homes.pagemap_fd = proc_open("/proc/thread-self/pagemap");
	e->mem_fd = proc_open("/proc/thread-self/mem");
	if (e->homes.pagemap_fd < 0)
		return e->homes.pagemap_fd;
	if (e->mem_fd < 0)
		return e->mem_fd;
	e->homes.can_move = !e->ledger->debug_base_path && (host_uffd_features(e->device) & UFFD_FEATURE_MOVE);
	uint64_t move = e->homes.can_move ? UFFD_FEATURE_MOVE : 0;
	int err = host_uffd_api(e->homes.prog_fd, PROG_FEATURES | move);

	return err != 0 ? err : host_uffd_api(e->homes.trash_fd, move);
}

static void close_descriptors(void)
{
	int *const fds[] = { &engine.homes.prog_fd, &engine.homes.trash_fd, &engine.homes.pagemap_fd, &engine.mem_fd };

	for (unsigned i = 0; i < ARRAY_SIZE(fds); i++)
		if (*fds[i] >= 0)
			sys_close(*fds[i]);
	int files[SWAP_SPECS];

	for (unsigned i = stores_descriptors(files); i > 0; i--)
		sys_close(files[i - 1]);
}

/*
 * Far from what the program maps. Where the kernel would put it, it might fill a hole that the program has made, and the
 * program be right to fill that itself (MAP_FIXED), which would take our memory away.
 */
static void *own_place(void)
{
	const struct engine *e = &engine;

	if (e->nr_own > 0)
		return (void *)(uintptr_t)(e->own[e->nr_own - 1].end + PAGE_SIZE);
	return (void *)(uintptr_t)(OWN_SPACE + ALIGN_DOWN((uintptr_t)e, PAGE_SIZE) % OWN_SPREAD);
}

void *engine_own_memory(size_t bytes)
{
	/*
	 * Between two pages of other rights: the kernel joins neighbours of one kind, and what is ours in part would be
	 * taken for ours. (Not PROT_NONE: that would make a stack of what lies above, see native.c.)
	 */
	size_t len = ALIGN_UP(bytes, PAGE_SIZE);
	uint8_t *p = sys_mmap(own_place(), len + 2 * PAGE_SIZE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (sys_is_err((long)p))
		return NULL;
	p += PAGE_SIZE;
	if (sys_mprotect(p, len, PROT_READ | PROT_WRITE) != 0) {
		sys_munmap(p - PAGE_SIZE, len + 2 * PAGE_SIZE);
		return NULL;
	}
	own((uint64_t)(uintptr_t)p, len, PAGE_SIZE);
	return p;
}

static int task_stacks(void)
{
	engine.handler.stack = engine_own_memory(TASK_STACK);
	engine.pager.stack = engine_own_memory(TASK_STACK);
	return engine.handler.stack != NULL && engine.pager.stack != NULL ? 0 : -ENOMEM;
}

static void sort_descriptors(int *fds, unsigned n)
{
	for (unsigned i = 1; i < n; i++)
		for (unsigned j = i; j > 0 && fds[j - 1] > fds[j]; j--) {
			int t = fds[j];

			fds[j] = fds[j - 1];
			fds[j - 1] = t;
		}
}

/* The handler takes the descriptors into a table of its own; the pager shares that table. */
static int start_tasks(void)
{
	struct engine *e = &engine;
	int keep[5 + SWAP_SPECS];
	unsigned n = 0;

	keep[n++] = e->homes.prog_fd;
	keep[n++] = e->homes.trash_fd;
	keep[n++] = e->homes.pagemap_fd;
	keep[n++] = e->mem_fd;
	n += stores_descriptors(keep + n);
	sort_descriptors(keep, n);
	keep[n] = -1;

	atomic_store(&e->pause, 0);
	atomic_store(&e->paused, 0);
	atomic_store(&e->pager_word, 0);
	e->handler.run = handler_run;
	e->handler.keep = keep;
	e->pager.run = pager_run;
	e->pager.keep = NULL;
	return task_start(&e->handler);
}

/*
 * Pages that are to be recorded must be ours, and those that a child inherits protected, whether memory is short or not; and before the
 * program goes on, because what it maps while its areas are looked for would be found and announced, and be taken for two areas (bell.c).
 */
static void engage_first(void)
{
	engine.m.precise = engine.ledger->record_ns != 0;
	engine_take();
	native_engage();
	engine_drop();
}

static int start(void)
{
	struct engine *e = &engine;

	e->homes.prog_fd = e->homes.trash_fd = e->homes.pagemap_fd = e->mem_fd = -1;
	/* For the engine itself, of what others have left for those that start. Who inherits has it. */
	if (!e->inheriting)
		ledger_grant(e->ledger, e->slot, ENGINE_PAGES);
	proc_raise_limit();
	int err = open_descriptors();
	if (err == 0)
		err = task_stacks();
	if (err == 0)
		err = arena_init();
	if (err == 0)
		err = arena_register();
	if (err == 0)
		err = bell_init();
	if (err == 0)
		err = bell_register();
	if (err == 0)
		err = stores_open();
	if (err == 0) {
		cpu_init();
		atomic_store(&e->state, LEDGER_ARMED);
		atomic_store(&e->slot->state, LEDGER_ARMED);
		if (e->ledger->record_ns != 0 || e->inheriting)
			engage_first();
		err = start_tasks();
	}
	close_descriptors();
	proc_restore_limit();
	return err;
}

int engine_reopen(void)
{
	engine.homes.prog_fd = engine.homes.trash_fd = engine.homes.pagemap_fd = engine.mem_fd = -1;
	int err = open_descriptors();

	cpu_init();
	return err;
}

int engine_restart(void)
{
	int err = start_tasks();

	close_descriptors();
	return err;
}

/* Under the start lock. The second thread that comes here finds the work done. */
static int with_start_lock(int (*run)(void))
{
	uint64_t before;
	int result = 0;

	signals_block(&before);
	engine_lock_take(&start_lock);
	if (atomic_load(&engine.state) == LEDGER_NATIVE)
		result = run();
	engine_lock_drop(&start_lock);
	signals_restore(&before);
	return result;
}

void engine_hold_start(void)
{
	engine_lock_take(&start_lock);
}

void engine_release_start(void)
{
	engine_lock_drop(&start_lock);
}

static int start_or_die(void)
{
	int err = start();

	if (err == 0)
		return 0;
	char text[200];
	struct fmt f;

	fmt_init(&f, text, sizeof(text));
	fmt_str(&f, "the program has reached its budget, and Steward cannot serve it (error ");
	fmt_i64(&f, -err);
	fmt_str(&f, "); see steward doctor, or raise --ram");
	engine_fatal(text);
}

int engine_start(void)
{
	return with_start_lock(start_or_die);
}

static int look_or_start(void)
{
	if (native_look())
		return 0;
	start_or_die();
	return -ENOSPC;
}

int engine_cover(void)
{
	int err = with_start_lock(look_or_start);

	return err != 0 || atomic_load(&engine.state) != LEDGER_NATIVE ? -ENOSPC : 0;
}

static int settle(void)
{
	native_settle();
	return 0;
}

void engine_settle(void)
{
	if (atomic_load(&engine.state) == LEDGER_NATIVE && native_is_loose())
		with_start_lock(settle);
}
