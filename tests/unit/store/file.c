/* store/file against a plain array of pages, on real files: the disk, a tiny tmpfs, a ramfs (no O_DIRECT). */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <dirent.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/sys.h"
#include "keys.h"
#include "store/file.h"

#define KEYS 1000

struct world {
	struct file_store f;
	struct keys k;
	void *memory;
	size_t bytes;
};

/* The file is used from page `first` on. */
static struct world *world_make_at(int fd, uint64_t first, uint64_t slots)
{
	struct world *w = calloc(1, sizeof(*w));

	assert_true(fd >= 0);
	keys_make(&w->k, &w->f.slots.store, KEYS, slots);
	w->bytes = slots_bytes(slots * PAGE_SIZE);
	w->memory = calloc(1, w->bytes);
	assert_int_equal(file_store_init(&w->f, fd, first * PAGE_SIZE, slots * PAGE_SIZE + 17, w->memory, w->bytes), 0);
	for (unsigned i = 0; i < KEYS; i++)
		page_make(&w->k.r, w->k.want[i], 64);
	return w;
}

static struct world *world_make(int fd, uint64_t slots)
{
	return world_make_at(fd, 0, slots);
}

/* A descriptor in a file system of its own that has no name any more; skips the test without the right to mount. */
static int open_in_mount(const char *type, const char *options)
{
	char dir[] = "/tmp/steward-test-XXXXXX";

	assert_non_null(mkdtemp(dir));
	if (mount("none", dir, type, 0, options) != 0) {
		rmdir(dir);
		skip();
	}
	int fd = file_store_open(dir);

	umount2(dir, MNT_DETACH);
	rmdir(dir);
	return fd;
}

static void check(const struct world *w)
{
	slots_check(&w->f.slots);
	assert_int_equal(w->f.slots.store.stat.pages, keys_stored(&w->k));
	assert_int_equal(w->f.slots.used, w->f.slots.store.stat.pages);
}

static void world_drop(struct world *w)
{
	keys_free_all(&w->k);
	check(w);
	w->f.slots.store.ops->destroy(&w->f.slots.store);
	free(w->memory);
	keys_drop(&w->k);
	free(w);
}

/* Writes keys; io[i].err says how each one ended. Returns how many were stored. */
static unsigned batch_write(struct world *w, const unsigned *keys, struct store_io *io, unsigned n)
{
	struct store *s = &w->f.slots.store;
	unsigned stored = 0;

	for (unsigned i = 0; i < n; i++)
		io[i] = (struct store_io){ .page = w->k.want[keys[i]], .owner = keys[i] };
	unsigned got = s->ops->reserve(s, io, n);

	for (unsigned i = 0; i < n; i++)
		assert_int_equal(io[i].err, i < got ? 0 : -ENOSPC);
	s->ops->write(s, io, got);
	for (unsigned i = 0; i < got; i++) {
		if (io[i].err != 0) {
			s->ops->abort(s, &io[i]);
			continue;
		}
		assert_int_equal(io[i].bytes, PAGE_SIZE);
		s->ops->commit(s, &io[i]);
		assert_int_equal(io[i].err, 0);
		w->k.handle[keys[i]] = io[i].handle;
		w->k.stored[keys[i]] = true;
		stored++;
	}
	return stored;
}

/* Writes the keys from first on that are not stored, until one is refused. Returns how many were written. */
static unsigned fill(struct world *w, unsigned first)
{
	unsigned total = 0, stored = 0, n;

	do {
		unsigned keys[STORE_BATCH];
		struct store_io io[STORE_BATCH];

		for (n = 0; n < STORE_BATCH && first < KEYS; first++) {
			if (!w->k.stored[first])
				keys[n++] = first;
		}
		stored = batch_write(w, keys, io, n);
		total += stored;
		check(w);
	} while (stored == STORE_BATCH);
	return total;
}

static void random_use(struct world *w, unsigned steps)
{
	for (unsigned i = 0; i < steps; i++) {
		unsigned keys[STORE_BATCH], n;
		struct store_io io[STORE_BATCH];

		switch (rand_below(&w->k.r, 4)) {
		case 0:
			n = keys_pick(&w->k, false, 1 + (unsigned)rand_below(&w->k.r, STORE_BATCH), keys);
			for (unsigned k = 0; k < n; k++)
				page_make(&w->k.r, w->k.want[keys[k]], 64);
			batch_write(w, keys, io, n);
			break;
		case 1:
			keys_read(&w->k, keys, keys_pick(&w->k, true, 1 + (unsigned)rand_below(&w->k.r, STORE_BATCH), keys));
			break;
		case 2:
			keys_read_by_the_way(&w->k, 1 + (unsigned)rand_below(&w->k.r, 4));
			assert_int_equal(uring_fd(&w->f.reads), -1);
			break;
		default:
			n = keys_pick(&w->k, true, 1 + (unsigned)rand_below(&w->k.r, STORE_BATCH), keys);
			for (unsigned k = 0; k < n; k++) {
				if (rand_below(&w->k.r, 3) != 0)
					keys_free(&w->k, keys[k]);
			}
		}
		check(w);
	}
}

static void random_use_returns_what_was_written(void **state)
{
	(void)state;
	struct world *w = world_make(file_store_open("/tmp"), 700);

	random_use(w, 3000);
	world_drop(w);
}

static void a_file_system_without_direct_io_works_as_well(void **state)
{
	(void)state;
	struct world *w = world_make(open_in_mount("ramfs", ""), 500);

	assert_false(w->f.direct);
	random_use(w, 1000);
	world_drop(w);
}

static bool has_io_uring(void)
{
	struct uring u = { 0 };
	uint8_t byte;
	struct iovec iov = { &byte, 1 };
	int fd = open("/dev/zero", O_RDONLY | O_CLOEXEC), result;
	void *tag;
	bool works = uring_read(&u, fd, &iov, 1, 0, &u) && uring_submit(&u) == 1 && uring_done(&u, true, &tag, &result);

	uring_close(&u);
	close(fd);
	return works;
}

static void several_batches_are_read_at_once_where_the_kernel_can(void **state)
{
	(void)state;
	struct world *w = world_make(file_store_open("/tmp"), KEYS);

	fill(w, 0);
	assert_true((keys_read_by_the_way(&w->k, 4) > 0) == has_io_uring());
	/* Without a ring, each read is the caller's. */
	uring_close(&w->f.reads);
	w->f.reads.state = URING_REFUSED;
	assert_int_equal(keys_read_by_the_way(&w->k, 4), 0);
	world_drop(w);
}

/* Pages that the file does not have any more are read again by whoever finds out why. */
static void what_comes_back_short_is_an_error(void **state)
{
	struct store_io io[2] = { { 0 } };
	uint32_t left = 0;

	(void)state;
	struct world *w = world_make(file_store_open("/tmp"), KEYS);
	struct store *s = &w->f.slots.store;

	fill(w, 0);
	for (unsigned i = 0; i < 2; i++)
		io[i] = (struct store_io){ .page = w->k.buf + i * PAGE_SIZE, .handle = w->k.handle[99 + i] };
	assert_int_equal(io[1].handle, io[0].handle + 1);
	assert_int_equal(ftruncate(w->f.fd, (off_t)(io[1].handle * PAGE_SIZE)), 0);
	if (s->ops->read_begin(s, io, 2, &left) < 2)
		skip();
	while (left > 0)
		s->ops->read_poll(s, true);
	assert_int_equal(io[0].err, 0);
	assert_int_equal(io[1].err, -EIO);
	assert_memory_equal(io[0].page, w->k.want[99], PAGE_SIZE);
	assert_int_equal(s->stat.errors, 1);
	s->ops->read(s, io + 1, 1);
	assert_int_equal(io[1].err, -EIO);
	world_drop(w);
}

/* Each a piece of its own, and nobody looks at what is done: no more than the ring has places for. */
static void no_more_are_on_their_way_than_the_ring_holds(void **state)
{
	static _Alignas(PAGE_SIZE) uint8_t room[RING_ROOM], pages[2 * RING_RESULTS][PAGE_SIZE];
	struct store_io io[2 * RING_RESULTS] = { { 0 } };
	uint32_t left = 0;
	unsigned begun = 0, got;

	(void)state;
	struct world *w = world_make(file_store_open("/tmp"), KEYS);
	struct store *s = &w->f.slots.store;

	fill(w, 0);
	w->f.reads.room = room;
	for (unsigned i = 0; i < 2 * RING_RESULTS; i++)
		io[i] = (struct store_io){ .page = pages[i], .handle = w->k.handle[2 * i], .err = -1 };
	while ((got = s->ops->read_begin(s, io + begun, MIN(STORE_BATCH, 2 * RING_RESULTS - begun), &left)) > 0)
		begun += got;
	assert_int_equal(begun, has_io_uring() ? RING_RESULTS : 0);
	while (left > 0)
		s->ops->read_poll(s, true);
	for (unsigned i = 0; i < begun; i++) {
		assert_int_equal(io[i].err, 0);
		assert_memory_equal(io[i].page, w->k.want[2 * i], PAGE_SIZE);
	}
	/* There is room again. */
	assert_int_equal(s->ops->read_begin(s, io, 1, &left), begun > 0);
	while (left > 0)
		s->ops->read_poll(s, true);
	world_drop(w);
}

static void opening_leaves_no_name(void **state)
{
	char dir[] = "/tmp/steward-test-XXXXXX";

	(void)state;
	assert_non_null(mkdtemp(dir));
	int fd = file_store_open(dir);

	assert_true(fd >= 0);
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	/* Fails when anything is in it. */
	assert_int_equal(rmdir(dir), 0);
	close(fd);
	assert_int_equal(file_store_open(dir), -ENOENT);
	assert_int_equal(file_store_open("/dev/null"), -ENOTDIR);
}

static void a_batch_gets_consecutive_slots(void **state)
{
	unsigned keys[STORE_BATCH];
	struct store_io io[STORE_BATCH];

	(void)state;
	struct world *w = world_make(file_store_open("/tmp"), KEYS);

	assert_int_equal(fill(w, 0), KEYS);
	/* Single holes, then one hole that takes a batch. */
	for (unsigned i = 0; i < 20; i++)
		keys_free(&w->k, 3 * i);
	for (unsigned i = 500; i < 500 + STORE_BATCH; i++)
		keys_free(&w->k, i);
	assert_int_equal(keys_pick(&w->k, false, STORE_BATCH, keys), STORE_BATCH);
	assert_int_equal(batch_write(w, keys, io, STORE_BATCH), STORE_BATCH);
	for (unsigned i = 0; i < STORE_BATCH; i++)
		assert_int_equal(io[i].handle, 500 + i);
	/* Now only the single ones are left. */
	assert_int_equal(keys_pick(&w->k, false, STORE_BATCH, keys), 20);
	assert_int_equal(batch_write(w, keys, io, 20), 20);
	world_drop(w);
}

static void the_cap_is_kept(void **state)
{
	(void)state;
	struct world *w = world_make(file_store_open("/tmp"), 100);

	assert_int_equal(fill(w, 0), 100);
	assert_int_equal(fill(w, 100), 0);
	assert_int_equal(w->f.slots.store.stat.capacity, 100);
	assert_int_equal(w->f.slots.store.stat.errors, 0);
	assert_false(w->f.slots.full);
	keys_free(&w->k, 40);
	assert_int_equal(fill(w, 500), 1);
	assert_int_equal(w->k.handle[500], 40);
	world_drop(w);
}

static void a_full_disk_stops_the_store_until_slots_are_freed(void **state)
{
	(void)state;
	struct world *w = world_make(open_in_mount("tmpfs", "size=1M"), 100000);
	unsigned n = fill(w, 0), key = KEYS - 1;
	struct store_io io;

	/* 1 MiB is 256 pages; the file system may keep a few. */
	assert_true(n > 200 && n <= 256);
	assert_true(w->f.slots.full);
	assert_true(w->f.slots.store.stat.errors > 0);
	assert_int_equal(batch_write(w, &key, &io, 1), 0);
	assert_int_equal(w->f.slots.used, n);

	/* Freed slots are used again, and no others, as long as it is too early for another try. */
	w->f.slots.again_ns = UINT64_MAX;
	for (unsigned i = 10; i < 60; i++)
		keys_free(&w->k, i);
	assert_false(w->f.slots.full);
	uint64_t errors = w->f.slots.store.stat.errors;

	assert_int_equal(fill(w, n), 50);
	assert_int_equal(w->f.slots.store.stat.errors, errors);
	for (unsigned i = 0; i < n + 50; i++) {
		if (w->k.stored[i])
			keys_read(&w->k, &i, 1);
	}

	/* When it is time it tries to grow, whether much has been freed or not. */
	w->f.slots.again_ns = 0;
	assert_int_equal(batch_write(w, &key, &io, 1), 0);
	assert_int_equal(w->f.slots.store.stat.errors, errors + 1);

	/* After many frees it tries to grow, meets the same disk, and still loses nothing. */
	for (unsigned round = 0; round < 10; round++) {
		for (unsigned i = 60; i < 110; i++) {
			if (w->k.stored[i])
				keys_free(&w->k, i);
		}
		fill(w, 60);
		random_use(w, 20);
	}
	assert_true(w->f.slots.used <= 256);
	world_drop(w);
}

/* The size limit of the process stands in for a disk that takes a part of a batch. */
static void pages_before_the_failing_one_are_stored(void **state)
{
	(void)state;
	struct rlimit old, cut;

	signal(SIGXFSZ, SIG_IGN);
	getrlimit(RLIMIT_FSIZE, &old);
	for (unsigned half = 0; half < 2; half++) {
		struct world *w = world_make(file_store_open("/tmp"), KEYS);
		unsigned keys[STORE_BATCH];
		struct store_io io[STORE_BATCH];

		for (unsigned i = 0; i < STORE_BATCH; i++)
			keys[i] = i;
		cut = (struct rlimit){ 10 * PAGE_SIZE + half * PAGE_SIZE / 2, old.rlim_max };
		assert_int_equal(setrlimit(RLIMIT_FSIZE, &cut), 0);
		unsigned stored = batch_write(w, keys, io, STORE_BATCH);

		setrlimit(RLIMIT_FSIZE, &old);
		assert_int_equal(stored, 10);
		/* With O_DIRECT the half page of the second round is an alignment error to the kernel. */
		assert_true(io[10].err == -ENOSPC || (half == 1 && io[10].err == -EIO));
		for (unsigned i = 11; i < STORE_BATCH; i++)
			assert_int_equal(io[i].err, -ENOSPC);
		assert_true(w->f.slots.full);
		keys_read(&w->k, keys, 10);
		check(w);

		/* The disk has room again: after enough frees the file grows past the old end. */
		for (unsigned i = 0; i < SLOTS_RETRY_FREES; i++) {
			keys_free(&w->k, 0);
			assert_int_equal(batch_write(w, keys, io, 1), 1);
		}
		assert_int_equal(fill(w, 10), KEYS - 10);
		world_drop(w);
	}
}

static void a_dead_descriptor_is_eio_for_every_page(void **state)
{
	unsigned keys[4] = { 0, 1, 2, 3 };
	struct store_io io[4];

	(void)state;
	struct world *w = world_make(file_store_open("/tmp"), 100);

	assert_int_equal(batch_write(w, keys, io, 4), 4);
	int fd = w->f.fd, keep = dup(fd);

	close(fd);
	w->f.slots.store.ops->read(&w->f.slots.store, io, 4);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(io[i].err, -EIO);
	assert_int_equal(w->f.slots.store.stat.errors, 4);
	unsigned more[2] = { 10, 11 };

	assert_int_equal(batch_write(w, more, io, 2), 0);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(io[i].err, -EIO);
	assert_int_equal(w->f.slots.store.stat.errors, 6);
	assert_false(w->f.slots.full);
	dup2(keep, fd);
	close(keep);
	keys_read(&w->k, keys, 4);
	world_drop(w);
}

static void a_cut_file_is_eio_for_the_missing_pages(void **state)
{
	unsigned keys[8] = { 0, 1, 2, 3, 4, 5, 6, 7 };
	struct store_io io[8];

	(void)state;
	struct world *w = world_make(file_store_open("/tmp"), 100);

	assert_int_equal(batch_write(w, keys, io, 8), 8);
	assert_int_equal(ftruncate(w->f.fd, 5 * (off_t)PAGE_SIZE), 0);
	for (unsigned i = 0; i < 8; i++)
		io[i].page = w->k.buf + i * PAGE_SIZE;
	w->f.slots.store.ops->read(&w->f.slots.store, io, 8);
	for (unsigned i = 0; i < 8; i++)
		assert_int_equal(io[i].err, i < 5 ? 0 : -EIO);
	assert_memory_equal(w->k.buf, w->k.want[0], 5 * PAGE_SIZE);
	world_drop(w);
}

static void abort_gives_slots_back(void **state)
{
	(void)state;
	struct world *w = world_make(file_store_open("/tmp"), 40);
	struct store *s = &w->f.slots.store;
	struct store_io io[STORE_BATCH] = { 0 };

	for (unsigned round = 0; round < 10; round++) {
		assert_int_equal(s->ops->reserve(s, io, STORE_BATCH), STORE_BATCH);
		assert_int_equal(w->f.slots.used, STORE_BATCH);
		for (unsigned i = 0; i < STORE_BATCH; i++)
			s->ops->abort(s, &io[i]);
		check(w);
	}
	assert_int_equal(s->stat.errors, 0);
	world_drop(w);
}

static void init_refuses_what_it_cannot_use(void **state)
{
	struct file_store f;
	uint64_t memory[8];

	(void)state;
	assert_int_equal(file_store_init(&f, 0, 0, PAGE_SIZE - 1, memory, sizeof(memory)), -EINVAL);
	assert_int_equal(file_store_init(&f, 0, 0, 129 * PAGE_SIZE, memory, slots_bytes(129 * PAGE_SIZE) - 1), -EINVAL);
	assert_int_equal(file_store_init(&f, -1, 0, PAGE_SIZE, memory, sizeof(memory)), -EBADF);
	assert_int_equal(file_store_open_named("/nonexistent/file"), -ENOENT);
}

/* A file of so many extents behind one page, whose first page says something; opened n times over. */
static void named_file(int *fd, unsigned n, unsigned extents)
{
	char path[] = "/tmp/steward-test-XXXXXX";
	int first = mkstemp(path);

	assert_true(first >= 0);
	assert_int_equal(ftruncate(first, (off_t)((1 + extents * EXTENT_SLOTS) * PAGE_SIZE)), 0);
	assert_int_equal(pwrite(first, "not ours", 8, 0), 8);
	close(first);
	for (unsigned i = 0; i < n; i++)
		fd[i] = file_store_open_named(path);
	unlink(path);
}

static void claim_all(struct file_store *f)
{
	while (extents_claim(&f->slots.extents) == 0)
		f->slots.end += EXTENT_SLOTS;
}

static void stores_of_one_file_keep_apart(void **state)
{
	struct world *w[3];
	int fd[4];
	char text[PAGE_SIZE] __attribute__((aligned(4096)));

	(void)state;
	named_file(fd, 4, 8);
	for (unsigned i = 0; i < 3; i++)
		w[i] = world_make_at(fd[i], 1, 8 * EXTENT_SLOTS);
	for (unsigned round = 0; round < 300; round++)
		random_use(w[round % 3], 10);
	/* Each has one or more; what is left is for one of them. */
	claim_all(&w[0]->f);
	assert_int_equal(w[0]->f.slots.extents.nr + w[1]->f.slots.extents.nr + w[2]->f.slots.extents.nr, 8);
	assert_int_equal(extents_claim(&w[1]->f.slots.extents), -ENOSPC);
	/* What one had when it ended is free. */
	world_drop(w[0]);
	claim_all(&w[1]->f);
	assert_int_equal(w[1]->f.slots.extents.nr + w[2]->f.slots.extents.nr, 8);
	/* Nobody wrote before the first page. */
	assert_int_equal(pread(fd[3], text, sizeof(text), 0), PAGE_SIZE);
	assert_string_equal(text, "not ours");
	for (unsigned i = 1; i < 3; i++) {
		random_use(w[i], 300);
		world_drop(w[i]);
	}
	close(fd[3]);
}

/* The copy that fork makes: the same pages under the same handles, and the file opened again. */
static struct world *world_fork(struct world *parent, int fd)
{
	struct world *w = calloc(1, sizeof(*w));

	assert_int_equal(slots_share(&parent->f.slots), 0);
	*w = *parent;
	w->memory = malloc(w->bytes);
	memcpy(w->memory, parent->memory, w->bytes);
	w->f.slots.bitmap = w->memory;
	w->f.slots.extents.mine = (uint64_t *)((uint8_t *)w->memory + ((uint8_t *)parent->f.slots.extents.mine - (uint8_t *)parent->memory));
	w->f.slots.extents.at = (uint32_t *)((uint8_t *)w->memory + ((uint8_t *)parent->f.slots.extents.at - (uint8_t *)parent->memory));
	w->f.slots.extents.ctx = &w->f;
	keys_make(&w->k, &w->f.slots.store, KEYS, 1);
	memcpy(w->k.want, parent->k.want, KEYS * PAGE_SIZE);
	memcpy(w->k.stored, parent->k.stored, KEYS * sizeof(*w->k.stored));
	memcpy(w->k.handle, parent->k.handle, KEYS * sizeof(*w->k.handle));
	assert_int_equal(file_store_inherit(&w->f, fd), 0);
	return w;
}

static void keep_stored(struct world *w)
{
	for (unsigned i = 0; i < KEYS; i++)
		if (w->k.stored[i])
			slots_keep(&w->f.slots, w->k.handle[i]);
}

static void read_all(struct world *w)
{
	for (unsigned i = 0; i < KEYS; i++)
		if (w->k.stored[i])
			keys_read(&w->k, &i, 1);
}

/* check() for those that keep what they have freed, or have what others wrote. */
static void check_shared(const struct world *w)
{
	slots_check(&w->f.slots);
	assert_int_equal(w->f.slots.store.stat.pages, keys_stored(&w->k));
}

static void change_some(struct world *w)
{
	unsigned keys[STORE_BATCH], n = keys_pick(&w->k, true, STORE_BATCH, keys);
	struct store_io io[STORE_BATCH];

	for (unsigned i = 0; i < n; i++)
		keys_free(&w->k, keys[i]);
	for (unsigned i = 0; i < n; i++)
		page_make(&w->k.r, w->k.want[keys[i]], 64);
	batch_write(w, keys, io, n);
	check_shared(w);
}

static void after_fork_each_reads_what_was_written_before(void **state)
{
	int fd[4];

	(void)state;
	named_file(fd, 4, 8);
	struct world *parent = world_make_at(fd[0], 1, 8 * EXTENT_SLOTS);

	assert_int_equal(fill(parent, 0), KEYS);
	struct world *child = world_fork(parent, fd[1]);

	for (unsigned i = 0; i < 60; i++)
		change_some(i % 2 == 0 ? parent : child);
	/* A child of the child, and one that has nothing left to read of its ancestors. */
	struct world *grandchild = world_fork(child, fd[2]);

	for (unsigned i = 0; i < 40; i++)
		change_some(i % 2 == 0 ? child : grandchild);
	read_all(parent);
	read_all(child);
	read_all(grandchild);
	assert_false(slots_unshare(&parent->f.slots));
	keys_free_all(&child->k);
	child->f.slots.used = 0;
	close(child->f.fd);
	assert_false(slots_unshare(&parent->f.slots));
	read_all(grandchild);
	close(grandchild->f.fd);
	/* Nobody else is left. */
	assert_true(slots_unshare(&parent->f.slots));
	keep_stored(parent);
	check(parent);
	assert_false(slots_unshare(&parent->f.slots));
	random_use(parent, 200);
	/* A child that could not open the file has room for nothing, and asks for nothing. */
	keys_free_all(&parent->k);
	struct world *shut = world_fork(parent, fd[3]);
	unsigned key = 0;
	struct store_io io;

	assert_int_equal(file_store_inherit(&shut->f, -1), 0);
	assert_int_equal(batch_write(shut, &key, &io, 1), 0);
	close(fd[3]);
	assert_true(slots_unshare(&parent->f.slots));
	world_drop(parent);
	for (unsigned i = 0; i < 3; i++) {
		struct world *w = i == 0 ? child : i == 1 ? grandchild : shut;

		keys_drop(&w->k);
		free(w->memory);
		free(w);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_use_returns_what_was_written),
		cmocka_unit_test(a_file_system_without_direct_io_works_as_well),
		cmocka_unit_test(several_batches_are_read_at_once_where_the_kernel_can),
		cmocka_unit_test(what_comes_back_short_is_an_error),
		cmocka_unit_test(no_more_are_on_their_way_than_the_ring_holds),
		cmocka_unit_test(opening_leaves_no_name),
		cmocka_unit_test(a_batch_gets_consecutive_slots),
		cmocka_unit_test(the_cap_is_kept),
		cmocka_unit_test(a_full_disk_stops_the_store_until_slots_are_freed),
		cmocka_unit_test(pages_before_the_failing_one_are_stored),
		cmocka_unit_test(a_dead_descriptor_is_eio_for_every_page),
		cmocka_unit_test(a_cut_file_is_eio_for_the_missing_pages),
		cmocka_unit_test(abort_gives_slots_back),
		cmocka_unit_test(init_refuses_what_it_cannot_use),
		cmocka_unit_test(stores_of_one_file_keep_apart),
		cmocka_unit_test(after_fork_each_reads_what_was_written_before),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
