/*
 * The swap areas of this process: what the ledger describes (swapspec.h), opened
 * here, in its order, which is that of priority.
 *
 * A place that cannot be opened is left out. That is not an error yet: the others
 * may do, and out_of_room names those that there are when they do not. It happens
 * to processes that have changed their user or their root directory since.
 *
 * What fails is tried again with pauses (mm/backing/swap.c), by whoever waits for it:
 * a third of a second in all, during which the handler serves nobody else.
 *
 * fork. Parent and child have one file for both, and extents of it for each
 * (store/extents.h). The child opens it again through the handler's descriptor
 * table (/proc/PARENT/task/HANDLER/fd), which needs no name and no right but that
 * to look at the parent; until it has, the parent waits (preload/fork.c), because it
 * may be about to exit. The parent does not use freed slots again while a child may
 * read them.
 */
#include <errno.h>

#include "base/assert.h"
#include "base/size.h"
#include "live/clock.h"
#include "live/engine.h"

#define NS_PER_S UINT64_C(1000000000)
#define TRY_AGAIN_NS (10 * NS_PER_S) /* after writes have failed */
#define BACK_NS (5 * NS_PER_S)        /* after a server has come back: at a load of ten for each CPU two were not enough */
#define PATIENCE_NS NS_PER_S          /* a disk that is full may get room */

_Static_assert(REMOTE_AREAS == SWAP_SPECS, "any area may be on a server");

#define HEADER_BYTES PAGE_SIZE /* of a named file or device: says that it is swap, and stays */

static const struct swap_spec *spec_of(unsigned i)
{
	return &engine.ledger->swap[i];
}

/* The swap area of a spec; NULL: it has none. */
static struct swap_area *area_at(unsigned i)
{
	return engine.area_of[i] != 0 ? &engine.m.swap.area[engine.area_of[i] - 1] : NULL;
}

static void add_area(unsigned i, struct store *store, bool keep)
{
	int area = swap_add_area(&engine.m.swap, store, spec_of(i)->prio, 0, keep);

	ASSERT(area >= 0);
	engine.area_of[i] = (uint8_t)(area + 1);
}

static int open_pool(unsigned i)
{
	struct engine *e = &engine;
	enum zpool_codec codec = ledger_zpool_codec(e->ledger);
	size_t work_bytes = zpool_work_bytes(codec);
	void *work = engine_own_memory(work_bytes);

	if (work == NULL)
		return -ENOMEM;
	int err = zpool_init(&e->zpool, &e->m.phys, codec, work, work_bytes);

	if (err == 0)
		add_area(i, &e->zpool.store, false);
	return err;
}

static void be_late(void)
{
	const struct timespec moment = { .tv_nsec = 5000000 };

	sys_nanosleep(&moment, NULL);
}

/* Pauses of 1, 4, 16, 64 and 256 ms. */
static void wait_for_store(unsigned try)
{
	const struct timespec pause = { .tv_nsec = 1000000l << 2 * (try - 1) };

	sys_nanosleep(&pause, NULL);
}

_Static_assert(SWAP_TRIES == 6, "the pauses are for five more tries");

/* --debug-store-faults: the store fails now and then. */
static struct store *perhaps_faulty(unsigned i, struct store *store)
{
	static struct faulty_store faulty[SWAP_SPECS];
	const struct ledger *l = engine.ledger;

	if (likely(l->debug_faults == 0))
		return store;
	faulty_init(&faulty[i], store, l->debug_faults_seed * SWAP_SPECS + i, l->debug_faults, l->debug_faults_seed % 2 != 0);
	faulty[i].late = be_late;
	return &faulty[i].store;
}

/* False: it was to be sealed, and cannot be. */
static bool sealed_if_wanted(unsigned i, struct slots *slots)
{
	uint64_t bytes = spec_of(i)->bytes;

	if (!spec_of(i)->encrypt)
		return true;
	void *memory = engine_own_memory(seal_bytes(bytes));

	return memory != NULL && seal_init(&engine.seal[i], slots, bytes, memory) == 0;
}

static void open_file(unsigned i)
{
	struct engine *e = &engine;
	const struct swap_spec *spec = spec_of(i);
	bool named = spec->kind == SWAP_NAMED;
	int fd = named ? file_store_open_named(spec->path) : file_store_open(spec->path);
	size_t bytes = slots_bytes(spec->bytes);
	void *memory = fd >= 0 ? engine_own_memory(bytes) : NULL;

	if (memory != NULL && file_store_init(&e->file[i], fd, named ? HEADER_BYTES : 0, spec->bytes, memory, bytes) == 0 &&
	    sealed_if_wanted(i, &e->file[i].slots)) {
		e->file[i].reads.room = engine_own_memory(RING_ROOM);
		/* Whatever is read back leaves its copy there: room is cheap. */
		add_area(i, perhaps_faulty(i, &e->file[i].slots.store), true);
		return;
	}
	if (fd >= 0)
		sys_close(fd);
}

/* Which ring is ours; REMOTE_RINGS or more: none. */
static unsigned ring_number(void)
{
	return (unsigned)(engine.slot - engine.ledger->slot);
}

static void open_remote(unsigned i)
{
	struct engine *e = &engine;
	const struct swap_spec *spec = spec_of(i);
	size_t bytes = remote_store_bytes(spec->bytes);
	void *memory = ring_number() < REMOTE_RINGS ? engine_own_memory(bytes) : NULL;

	if (memory == NULL)
		return;
	if (remote_store_init(&e->remote[i], &e->ledger->remote, i, spec->mirror[0] != '\0' ? 2 : 1, ring_number(), spec->bytes,
			      spec->deadline_s * NS_PER_S, memory, bytes) == 0 &&
	    sealed_if_wanted(i, &e->remote[i].slots)) {
		e->remote[i].told.room = engine_own_memory(RING_ROOM);
		add_area(i, perhaps_faulty(i, &e->remote[i].slots.store), true);
	}
}

void stores_execed(void)
{
	remote_forget(&engine.ledger->remote, ring_number());
}

int stores_open(void)
{
	int err = 0;

	engine.m.swap.wait = wait_for_store;
	for (unsigned i = 0; i < engine.ledger->nr_swap && err == 0; i++) {
		if (spec_of(i)->kind == SWAP_POOL)
			err = open_pool(i);
		else if (spec_of(i)->kind == SWAP_NBD)
			open_remote(i);
		else
			open_file(i);
	}
	ahead_init();
	/* A child that others squeeze from its first moment on may not find the frames later. One area is enough to get on. */
	if (err == 0 && engine.m.swap.nr_areas > 0)
		err = swap_prepare(&engine.m.swap, engine.m.swap.nr_areas - 1);
	return err;
}

/* The books of an area outside of memory; NULL: it is none, or not open. */
static struct slots *slots_of(unsigned i)
{
	if (area_at(i) == NULL || spec_of(i)->kind == SWAP_POOL)
		return NULL;
	return spec_of(i)->kind == SWAP_NBD ? &engine.remote[i].slots : &engine.file[i].slots;
}

/* The file behind it; NULL: there is none, or it is not open. */
static struct file_store *file_of(unsigned i)
{
	return slots_of(i) != NULL && spec_of(i)->kind != SWAP_NBD ? &engine.file[i] : NULL;
}

unsigned stores_descriptors(int *fds)
{
	unsigned n = 0;

	for (unsigned i = 0; i < SWAP_SPECS; i++)
		if (file_of(i) != NULL && engine.file[i].fd >= 0)
			fds[n++] = engine.file[i].fd;
	return n;
}

unsigned stores_poll(struct pollfd *fds, uint64_t *until)
{
	unsigned n = 0;

	for (unsigned i = 0; i < SWAP_SPECS; i++) {
		if (slots_of(i) == NULL)
			continue;
		int fd = file_of(i) != NULL ? uring_fd(&engine.file[i].reads) : remote_store_fd(&engine.remote[i], until);

		if (fd >= 0)
			fds[n++] = (struct pollfd){ .fd = fd, .events = POLLIN };
	}
	return n;
}

/* Bytes that the books of an area have touched, and what is shared with the launcher for it. */
static uint64_t books_bytes(unsigned i)
{
	const struct slots *s = slots_of(i);
	uint64_t bytes = s->written / 8;

	if (s->seal != NULL)
		bytes += s->written * sizeof(struct sealed_slot);
	if (spec_of(i)->kind == SWAP_NBD && ring_number() < REMOTE_RINGS)
		bytes += (REMOTE_WAITED + atomic_load(&engine.ledger->remote.ring[ring_number()].reads)) * PAGE_SIZE;
	return bytes;
}

uint64_t stores_own_pages(void)
{
	uint64_t bytes = 0;

	for (unsigned i = 0; i < SWAP_SPECS; i++)
		if (slots_of(i) != NULL)
			bytes += books_bytes(i);
	return bytes >> PAGE_SHIFT;
}

void stores_limit_pool(uint64_t frames)
{
	struct engine *e = &engine;

	for (unsigned i = 0; i < e->ledger->nr_swap; i++)
		if (spec_of(i)->kind == SWAP_POOL && spec_of(i)->has_bytes)
			frames = MIN(frames, spec_of(i)->bytes >> PAGE_SHIFT);
	e->zpool.store.max_frames = frames;
}

static enum swap_state state_of(const struct swap_area *a)
{
	if (a->state == SWAP_AREA_TAKES)
		return a->full ? SWAP_FULL : SWAP_OK;
	return a->state == SWAP_AREA_FAILING ? SWAP_FAILING : SWAP_DEAD;
}

static void publish_area(struct ledger_area *to, const struct swap_area *a)
{
	/* Repeated words take no room anywhere; people count them with the pool. */
	to->used = a->store->ops->read_locked ? a->nr_used : a->store->stat.pages;
	to->errors = __atomic_load_n(&a->store->stat.errors, __ATOMIC_RELAXED);
	to->state = state_of(a);
	to->worst = MAX(to->worst, to->state);
}

void stores_publish(void)
{
	struct engine *e = &engine;
	struct ledger_usage *u = &e->slot->now;

	u->pool = e->zpool.store.stat.frames;
	u->pool_bytes = e->zpool.store.stat.bytes;
	u->filed = 0;
	for (unsigned i = 0; i < e->ledger->nr_swap; i++) {
		if (area_at(i) == NULL)
			continue;
		publish_area(&e->slot->area[i], area_at(i));
		if (slots_of(i) != NULL)
			u->filed += slots_of(i)->store.stat.pages;
	}
	u->pooled = swap_used(&e->m.swap) - u->filed;
}

void stores_lost(vpn_t vpn, unsigned area, uint64_t slot, int err)
{
	char text[256];
	struct fmt f;

	stores_publish();
	fmt_init(&f, text, sizeof(text));
	fmt_str(&f, "page ");
	fmt_hex(&f, vpn_address(vpn));
	fmt_str(&f, " is lost: ");
	fmt_str(&f, err == -EBADMSG ? "checksum mismatch" : err == -EKEYREJECTED ? "broken seal" : "read error");
	fmt_str(&f, " in ");
	for (unsigned i = 0; i < engine.ledger->nr_swap; i++)
		if (engine.area_of[i] == area + 1)
			swap_spec_name(&f, spec_of(i));
	fmt_str(&f, ", slot ");
	fmt_u64(&f, slot);
	fmt_str(&f, "; the program was stopped before it could see wrong data");
	engine_fatal(text);
}

void stores_tell(struct fmt *f)
{
	struct engine *e = &engine;

	for (unsigned i = 0; i < e->ledger->nr_swap; i++) {
		const struct swap_area *a = area_at(i);

		fmt_str(f, ", ");
		swap_spec_name(f, spec_of(i));
		if (a == NULL) {
			fmt_str(f, " could not be opened");
			continue;
		}
		fmt_str(f, a->state == SWAP_AREA_TAKES ? " is full with " : " has failed with ");
		fmt_size(f, a->nr_used << PAGE_SHIFT);
	}
}

/* fork. */

void stores_share(void)
{
	for (unsigned i = 0; i < SWAP_SPECS; i++)
		if (slots_of(i) != NULL)
			slots_share(slots_of(i));
}

void stores_open_to_all(void)
{
	for (unsigned i = 0; i < SWAP_SPECS; i++)
		if (file_of(i) != NULL && spec_of(i)->kind == SWAP_NAMELESS)
			sys_call3(SYS_fchmod, engine.file[i].fd, 0666, 0);
}

static void keep_slot(void *ctx, uint64_t handle)
{
	slots_keep(ctx, handle);
}

static void reuse_slots(void)
{
	struct engine *e = &engine;

	if (e->m.reclaiming)
		return;
	for (unsigned i = 0; i < SWAP_SPECS; i++)
		if (slots_of(i) != NULL && slots_unshare(slots_of(i)))
			swap_each_handle(&e->m.swap, e->area_of[i] - 1u, keep_slot, slots_of(i));
}

static bool is_down(unsigned i)
{
	const struct remote *r = &engine.ledger->remote;

	return atomic_load(&r->down[i]) != 0 && (spec_of(i)->mirror[0] == '\0' || atomic_load(&r->down[i + SWAP_SPECS]) != 0);
}

/* An area has failed whose server can be reached. */
static bool server_is_back(void)
{
	for (unsigned i = 0; i < engine.ledger->nr_swap; i++)
		if (spec_of(i)->kind == SWAP_NBD && area_at(i) != NULL && area_at(i)->state != SWAP_AREA_TAKES && !is_down(i))
			return true;
	return false;
}

uint64_t stores_patience_ns(void)
{
	static uint64_t down[SWAP_SPECS]; /* when it was seen to be down last */
	uint64_t ns = PATIENCE_NS, now = now_ns();

	for (unsigned i = 0; i < engine.ledger->nr_swap; i++) {
		if (spec_of(i)->kind != SWAP_NBD || area_at(i) == NULL)
			continue;
		if (is_down(i))
			down[i] = now;
		/* One that has just come back is written to when the pager has looked (stores_tick). */
		if (down[i] != 0 && now - down[i] < BACK_NS)
			ns = MAX(ns, spec_of(i)->deadline_s * NS_PER_S);
	}
	return ns;
}

void stores_tick(uint64_t now)
{
	static uint64_t tried;

	reuse_slots();
	if (now - tried < TRY_AGAIN_NS && !server_is_back())
		return;
	swap_try_again(&engine.m.swap);
	tried = now;
}

static int reopen(int parent_pid, int parent_handler, const struct file_store *file)
{
	char path[96];
	struct fmt f;

	fmt_init(&f, path, sizeof(path));
	fmt_str(&f, "/proc/");
	fmt_u64(&f, (uint64_t)parent_pid);
	fmt_str(&f, "/task/");
	fmt_u64(&f, (uint64_t)parent_handler);
	fmt_str(&f, "/fd/");
	fmt_u64(&f, (uint64_t)file->fd);
	return sys_open(path, O_RDWR | O_CLOEXEC | (file->direct ? O_DIRECT : 0), 0);
}

static int inherit_file(struct file_store *f, int parent_pid, int parent_handler)
{
	int fd = f->fd >= 0 ? reopen(parent_pid, parent_handler, f) : -1;

	/* Without it the child has less room; what is in it must be read. */
	if (fd < 0 && f->slots.store.stat.pages > 0)
		return fd;
	return file_store_inherit(f, fd);
}

int stores_inherit(int parent_pid, int parent_handler)
{
	int err = 0;

	for (unsigned i = 0; i < SWAP_SPECS && err == 0; i++) {
		if (file_of(i) != NULL)
			err = inherit_file(file_of(i), parent_pid, parent_handler);
		else if (slots_of(i) != NULL)
			err = remote_store_inherit(&engine.remote[i], ring_number());
		if (err == 0 && slots_of(i) != NULL && slots_of(i)->seal != NULL)
			err = seal_inherit(slots_of(i)->seal);
	}
	return err;
}
