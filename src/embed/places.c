#include "embed/places.h"

#include <errno.h>
#include <string.h>

#include "base/assert.h"
#include "base/sys.h"
#include "embed/error.h"
#include "embed/region.h"

#define POOL_SHARE_PERCENT 65       /* of the frames, where pages can go on to another place */
#define POOL_SHARE_ALONE_PERCENT 85

enum { PRIO_OWN = 1, PRIO_FILE, PRIO_POOL };

static int no_books(size_t bytes)
{
	return error_set(-ENOMEM, "no memory for the books of a store (%zu bytes)", bytes);
}

static void add(struct swap *swap, struct store *store, int prio, bool keep)
{
	int area = swap_add_area(swap, store, prio, 0, keep);

	ASSERT(area >= 0);
}

static int open_pool(struct places *p, struct swap *swap, struct phys *phys, bool alone)
{
	p->work_bytes = ALIGN_UP(zpool_work_bytes(ZPOOL_LZ4), PAGE_SIZE);
	p->work = region_memory(p->work_bytes);
	if (p->work == NULL)
		return no_books(p->work_bytes);
	int err = zpool_init(&p->pool, phys, ZPOOL_LZ4, p->work, p->work_bytes);

	if (err != 0)
		return error_set(err, "cannot make the compressed pool: %s", error_words(err));
	p->pool.store.max_frames = (uint64_t)phys_managed_frames(phys, 0) * (alone ? POOL_SHARE_ALONE_PERCENT : POOL_SHARE_PERCENT) / 100;
	add(swap, &p->pool.store, PRIO_POOL, false);
	return 0;
}

static int open_file(struct places *p, struct swap *swap, const char *dir, uint64_t bytes, bool keep)
{
	uint64_t room = ALIGN_UP(bytes, EXTENT_SLOTS * PAGE_SIZE);
	int fd = file_store_open(dir);

	if (fd < 0)
		return error_set(fd, "cannot make a file in %s: %s", dir, error_words(fd));
	p->file_bytes = ALIGN_UP(slots_bytes(room), PAGE_SIZE);
	p->file_books = region_memory(p->file_bytes);
	int err = p->file_books == NULL ? no_books(p->file_bytes)
					: file_store_init(&p->file, fd, 0, room, p->file_books, p->file_bytes);

	if (err != 0) {
		sys_close(fd);
		p->file.fd = -1;
		return err == -ENOMEM ? err : error_set(err, "cannot use a file in %s: %s", dir, error_words(err));
	}
	add(swap, &p->file.slots.store, PRIO_FILE, keep);
	return 0;
}

static void own_run(struct slots *s, struct store_io *io, unsigned n, uint64_t page, bool out)
{
	struct own_store *own = container_of(s, struct own_store, slots);
	struct iovec pages[STORE_BATCH] = { 0 };

	for (unsigned i = 0; i < n; i++)
		pages[i] = (struct iovec){ io[i].page, PAGE_SIZE };
	int (*call)(void *, uint64_t, const struct iovec *, int) = out ? own->user.write : own->user.read;
	int err = call(own->user.ctx, page * PAGE_SIZE, pages, (int)n);

	for (unsigned i = 0; i < n; i++)
		io[i].err = err == 0 || (out && err == -ENOSPC) ? err : -EIO;
}

static void own_destroy(struct store *store)
{
	(void)store;
}

/* It is nobody else's. */
static int own_lock(void *ctx, uint32_t extent, bool exclusive)
{
	(void)ctx;
	(void)extent;
	(void)exclusive;
	return 0;
}

static const struct store_ops own_ops = {
	.name = "own",
	.reserve = slots_reserve,
	.write = slots_write,
	.commit = slots_commit,
	.abort = slots_abort,
	.read = slots_read,
	.free = slots_free,
	.destroy = own_destroy,
};

static int open_own(struct places *p, struct swap *swap, const struct stw_store *user, bool keep)
{
	if (user->write == NULL || user->read == NULL || user->bytes < PAGE_SIZE)
		return error_set(-EINVAL, "a store needs functions to write and to read, and room for a page at least");
	p->own.user = *user;
	p->own_bytes = ALIGN_UP(slots_bytes(user->bytes), PAGE_SIZE);
	p->own_books = region_memory(p->own_bytes);
	if (p->own_books == NULL)
		return no_books(p->own_bytes);
	int err = slots_init(&p->own.slots, &own_ops, 0, user->bytes, p->own_books, p->own_bytes);

	if (err != 0)
		return error_set(err, "cannot use a store of %llu bytes: %s", (unsigned long long)user->bytes, error_words(err));
	p->own.slots.run = own_run;
	p->own.slots.extents.lock = own_lock;
	add(swap, &p->own.slots.store, PRIO_OWN, keep);
	return 0;
}

/*
 * Pages that were read back leave their copy where they were, so that they need not be written again, only where all pages of
 * the region have room at once: copies are not given up for others.
 */
static bool keeps(uint64_t bytes, const struct stw_memory_config *config)
{
	return bytes >= ALIGN_UP(config->bytes, PAGE_SIZE);
}

int places_open(struct places *p, struct swap *swap, struct phys *phys, const struct stw_memory_config *config)
{
	uint64_t swap_bytes = config->swap_bytes != 0 ? config->swap_bytes : ALIGN_UP(config->bytes, PAGE_SIZE);

	p->file.fd = -1;
	int err = open_pool(p, swap, phys, config->swap_dir == NULL && config->store == NULL);

	if (err == 0 && config->swap_dir != NULL)
		err = open_file(p, swap, config->swap_dir, swap_bytes, keeps(swap_bytes, config));
	if (err == 0 && config->store != NULL)
		err = open_own(p, swap, config->store, keeps(config->store->bytes, config));
	return err;
}

void places_close(struct places *p)
{
	if (p->file.fd >= 0)
		sys_close(p->file.fd);
	region_memory_free(p->work, p->work_bytes);
	region_memory_free(p->file_books, p->file_bytes);
	region_memory_free(p->own_books, p->own_bytes);
}

const char *places_name(const struct places *p, const struct store *store)
{
	if (store == &p->pool.store)
		return "the compressed pool";
	return store == &p->file.slots.store ? "the swap file" : "the program's own store";
}
