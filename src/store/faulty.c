#include "store/faulty.h"

#include <errno.h>
#include <string.h>

#include "base/assert.h"

#define LASTING 16 /* one fault in so many is for good, if any may be */

static struct faulty_store *to_faulty(struct store *s)
{
	return container_of(s, struct faulty_store, store);
}

/* Is it time for a fault? */
static bool chance(struct faulty_store *f, struct rand *r)
{
	if (rand_below(r, 1000) >= f->rate)
		return false;
	atomic_fetch_add(&f->faults, 1);
	return true;
}

static bool lasts(const struct faulty_store *f, struct rand *r)
{
	return f->lasting && rand_below(r, LASTING) == 0;
}

/* Lock held: the figures are those of the store behind it. */
static void sync_stat(struct faulty_store *f)
{
	f->store.stat = f->inner->stat;
	f->store.stat.errors += atomic_load(&f->faults);
}

static unsigned faulty_reserve(struct store *s, struct store_io *io, unsigned n)
{
	struct faulty_store *f = to_faulty(s);
	unsigned room = n;

	if (chance(f, &f->locked))
		room = (unsigned)rand_below(&f->locked, n);
	unsigned got = room > 0 ? f->inner->ops->reserve(f->inner, io, room) : 0;

	for (unsigned i = room; i < n; i++)
		io[i].err = -ENOSPC;
	sync_stat(f);
	return got;
}

/* One page goes out with a bit changed. */
static void write_other_bytes(struct faulty_store *f, struct store_io *io)
{
	void *page = io->page;

	memcpy(f->bounce, page, PAGE_SIZE);
	f->bounce[rand_below(&f->writes, PAGE_SIZE)] ^= (uint8_t)(1u << rand_below(&f->writes, 8));
	io->page = f->bounce;
	io->packed = NULL;
	f->inner->ops->write(f->inner, io, 1);
	io->page = page;
}

/* What goes wrong with page i of n that have been written. */
static void spoil_write(struct faulty_store *f, struct store_io *io, unsigned i, unsigned n)
{
	const int err = rand_below(&f->writes, 2) ? -EIO : -EAGAIN;

	if (lasts(f, &f->writes)) {
		if (rand_below(&f->writes, 2))
			atomic_store(&f->writes_fail, true);
		else
			write_other_bytes(f, &io[i]);
		return;
	}
	switch (rand_below(&f->writes, 16)) {
	case 0 ... 3:
		for (unsigned k = i; k < n; k++)
			io[k].err = err;
		break;
	case 4 ... 5:
		if (f->late != NULL)
			f->late();
		break;
	case 6:
		io[i].err = -ENOSPC;
		break;
	default:
		io[i].err = err;
	}
}

static void faulty_write(struct store *s, struct store_io *io, unsigned n)
{
	struct faulty_store *f = to_faulty(s);

	f->inner->ops->write(f->inner, io, n);
	for (unsigned i = 0; i < n; i++) {
		if (io[i].err == 0 && chance(f, &f->writes))
			spoil_write(f, io, i, n);
		if (atomic_load(&f->writes_fail))
			io[i].err = -EIO;
	}
}

static void faulty_commit(struct store *s, struct store_io *io)
{
	struct faulty_store *f = to_faulty(s);

	if (chance(f, &f->locked)) {
		f->inner->ops->abort(f->inner, io);
		io->err = -ENOMEM;
	} else {
		f->inner->ops->commit(f->inner, io);
	}
	sync_stat(f);
}

static void faulty_abort(struct store *s, struct store_io *io)
{
	struct faulty_store *f = to_faulty(s);

	f->inner->ops->abort(f->inner, io);
	sync_stat(f);
}

static void spoil_read(struct faulty_store *f, struct store_io *io)
{
	uint8_t *page = io->page;

	if (lasts(f, &f->reads)) {
		atomic_store(&f->reads_fail, true);
		return;
	}
	switch (rand_below(&f->reads, 4)) {
	case 0:
		page[rand_below(&f->reads, PAGE_SIZE)] ^= (uint8_t)(1u << rand_below(&f->reads, 8));
		break;
	case 1:
		if (f->late != NULL)
			f->late();
		break;
	default:
		/* What is in the page then is anybody's guess. */
		memset(page, 0xdb, rand_below(&f->reads, PAGE_SIZE));
		io->err = rand_below(&f->reads, 2) ? -EIO : -EAGAIN;
	}
}

static void spoil_reads(struct faulty_store *f, struct store_io *io, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		if (io[i].err == 0 && chance(f, &f->reads))
			spoil_read(f, &io[i]);
		if (atomic_load(&f->reads_fail))
			io[i].err = -EIO;
	}
}

static void faulty_read(struct store *s, struct store_io *io, unsigned n)
{
	struct faulty_store *f = to_faulty(s);

	f->inner->ops->read(f->inner, io, n);
	spoil_reads(f, io, n);
}

static unsigned faulty_read_begin(struct store *s, struct store_io *io, unsigned n, uint32_t *left)
{
	struct faulty_store *f = to_faulty(s);
	struct faulty_read *r = f->reading;

	while (r < f->reading + FAULTY_READS && r->io != NULL)
		r++;
	if (r == f->reading + FAULTY_READS || chance(f, &f->reads))
		return 0;
	*r = (struct faulty_read){ .io = io, .n = n, .left = left };
	*left += n;
	if (f->inner->ops->read_begin != NULL)
		r->begun = f->inner->ops->read_begin(f->inner, io, n, &r->inner_left);
	return n;
}

/* A store that can only be waited for is read when somebody asks whether it is done, often later ones first. */
static void faulty_read_poll(struct store *s, bool wait)
{
	struct faulty_store *f = to_faulty(s);
	bool forwards = f->inner->ops->read_begin != NULL;

	if (forwards)
		f->inner->ops->read_poll(f->inner, wait);
	for (struct faulty_read *r = f->reading; r < f->reading + FAULTY_READS; r++) {
		if (r->io == NULL || r->inner_left > 0 || (!forwards && !wait && rand_below(&f->reads, 2)))
			continue;
		if (r->begun < r->n)
			f->inner->ops->read(f->inner, r->io + r->begun, r->n - r->begun);
		spoil_reads(f, r->io, r->n);
		*r->left -= r->n;
		r->io = NULL;
	}
}

static void faulty_free(struct store *s, uint64_t handle)
{
	struct faulty_store *f = to_faulty(s);

	f->inner->ops->free(f->inner, handle);
	sync_stat(f);
}

static void faulty_destroy(struct store *s)
{
	struct faulty_store *f = to_faulty(s);

	f->inner->ops->destroy(f->inner);
}

void faulty_init(struct faulty_store *f, struct store *inner, uint64_t seed, uint32_t rate, bool lasting)
{
	/* One whose pages move, or that takes frames, is memory: that fails in other ways. */
	ASSERT(inner->ops->shrink == NULL && !inner->ops->read_locked);
	memset(f, 0, sizeof(*f));
	f->inner = inner;
	f->rate = rate;
	f->lasting = lasting;
	rand_seed(&f->locked, seed * 3);
	rand_seed(&f->writes, seed * 3 + 1);
	rand_seed(&f->reads, seed * 3 + 2);
	f->ops = (struct store_ops){
		.name = inner->ops->name,
		.reserve = faulty_reserve,
		.write = faulty_write,
		.commit = faulty_commit,
		.abort = faulty_abort,
		.read = faulty_read,
		.read_begin = faulty_read_begin,
		.read_poll = faulty_read_poll,
		.free = faulty_free,
		.destroy = faulty_destroy,
		.read_locked = false,
	};
	f->store.ops = &f->ops;
	sync_stat(f);
}
