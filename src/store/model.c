#include "store/model.h"

#include <errno.h>
#include <string.h>

#include "base/assert.h"

static struct model_store *model(struct store *s)
{
	return (struct model_store *)s;
}

/* Frames that so many pages take. */
static uint64_t frames_for(const struct model_store *s, uint64_t pages)
{
	return DIV_ROUND_UP(pages * s->packed_bytes, PAGE_SIZE);
}

static unsigned reserve(struct store *store, struct store_io *io, unsigned n)
{
	struct model_store *s = model(store);
	uint64_t room = s->capacity == 0 ? n : s->capacity - MIN(s->capacity, store->stat.pages);

	for (unsigned i = 0; i < n; i++)
		io[i].err = i < room ? 0 : -ENOSPC;
	return (unsigned)MIN(n, room);
}

static void write(struct store *store, struct store_io *io, unsigned n)
{
	struct model_store *s = model(store);

	for (unsigned i = 0; i < n; i++) {
		io[i].err = 0;
		io[i].bytes = s->packed_bytes;
	}
	if (s->moves != NULL)
		s->moves(s->ctx, s, true, n);
}

static uint8_t *bytes_of(struct model_store *s, uint64_t handle)
{
	/* Slot 0 is none. */
	ASSERT(handle > 0 && handle <= s->capacity);
	return s->content + handle * PAGE_SIZE;
}

static void commit(struct store *store, struct store_io *io)
{
	struct model_store *s = model(store);
	uint64_t want = frames_for(s, store->stat.pages + 1);

	io->err = 0;
	if (want > store->stat.frames) {
		struct frame *f = want > store->max_frames ? NULL :
			frame_alloc(s->phys, 0, 0, MIGRATE_UNMOVABLE, ALLOC_RESERVE);

		if (f == NULL) {
			io->err = -ENOSPC;
			return;
		}
		TAILQ_INSERT_HEAD(&s->frames, f, link);
		store->stat.frames++;
	}
	/* Slots are handed out in order, so neighbours in time are neighbours here. */
	io->handle = swp_slot((swp_t){ io->owner });
	if (s->content != NULL)
		memcpy(bytes_of(s, io->handle), io->page, PAGE_SIZE);
	store->stat.pages++;
	store->stat.bytes += s->packed_bytes;
}

static void abort_write(struct store *store, struct store_io *io)
{
	(void)store;
	(void)io;
}

static void read(struct store *store, struct store_io *io, unsigned n)
{
	struct model_store *s = model(store);

	for (unsigned i = 0; i < n; i++) {
		io[i].err = 0;
		if (s->content != NULL)
			memcpy(io[i].page, bytes_of(s, io[i].handle), PAGE_SIZE);
	}
	if (s->moves != NULL)
		s->moves(s->ctx, s, false, n);
}

static void free_page(struct store *store, uint64_t handle)
{
	struct model_store *s = model(store);

	(void)handle;
	store->stat.pages--;
	store->stat.bytes -= s->packed_bytes;
	while (store->stat.frames > frames_for(s, store->stat.pages)) {
		struct frame *f = TAILQ_FIRST(&s->frames);

		TAILQ_REMOVE(&s->frames, f, link);
		frame_free(s->phys, f, 0);
		store->stat.frames--;
	}
}

static void destroy(struct store *store)
{
	ASSERT(store->stat.pages == 0 && store->stat.frames == 0);
}

#define MODEL_OPS(text, memory) \
	{ \
		.name = text, .reserve = reserve, .write = write, .commit = commit, .abort = abort_write, .read = read, \
		.free = free_page, .destroy = destroy, .read_locked = memory, \
	}

static const struct store_ops memory_ops = MODEL_OPS("model of memory", true);
static const struct store_ops device_ops = MODEL_OPS("model of a device", false);

void model_store_init(struct model_store *s, struct phys *p, bool memory, uint32_t packed_bytes, uint64_t capacity,
		      uint8_t *content)
{
	ASSERT(packed_bytes <= PAGE_SIZE && (content == NULL || capacity > 0));
	memset(s, 0, sizeof(*s));
	s->store.ops = memory ? &memory_ops : &device_ops;
	s->store.max_frames = UINT64_MAX;
	s->store.stat.capacity = capacity;
	s->phys = p;
	s->packed_bytes = packed_bytes;
	s->capacity = capacity;
	s->content = content;
	TAILQ_INIT(&s->frames);
}
