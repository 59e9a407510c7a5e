/*
 * zpool: compressed pages, packed by size (the model is Linux's mm/zsmalloc.c).
 *
 * A compressed page and an 8-byte header make an *object*. Objects of one size
 * class lie end to end in a *block*: one to four single frames, chained, so an
 * object may straddle two of them.
 *
 *        frame 0            frame 1            frame 2      class 2456: 5 objects in 3 frames
 *     +-----------------+-----------------+-----------------+
 *     | obj 0   | obj 1 ¦   | obj 2  | obj¦3        | obj 4 |
 *     +-----------------+-----------------+-----------------+
 *
 * Why chains and not contiguous blocks of the buddy system: the pool grows
 * while memory is short, and then free frames are scattered. With 2 % of
 * memory free at random places, one aligned group of four in six million is
 * free. A chain takes any frame; the price is a copy of an object that
 * straddles (of 3 KiB at most) when it is read.
 *
 * Size classes. For every multiple of 32 bytes the chain of 1 to 4 frames that
 * wastes least (a longer one only if it saves 2 %); equal shapes merge, and the
 * class takes the largest size that its shape allows. 45 classes: compressed
 * sizes uniform in 100..3060 waste 4.9 %, normal around 1200 4.1 %. Buddy blocks
 * of order 0 to 2 waste 7.4 % and 5.0 % with as many classes. A half-full block in
 * every class is 49 frames; steps of 64 would save 13 of them and lose 0.3 to
 * 1.9 %, chains of 8 would win 2.5 % and double them, which hurts small machines.
 *
 * Placement. A class prefers its fullest block that has room (lists by eighths
 * of fullness), so the emptiest ones tend to drain; an empty block is freed at
 * once. Without a frame for a new block, an object takes a slot of any larger
 * class. Compaction (shrink) goes on while a class has as many free slots as a
 * block has objects: then its emptiest block fits into the others.
 *
 * A handle is the pfn of the block's first frame and the index in it. All state
 * of a block is in that frame's struct frame: private[] holds struct zblock,
 * inuse the count of objects. Free objects are chained through their headers;
 * those from `bump` on were never used and their memory was never touched.
 *
 *     header of a used object:  owner << 12 | length      (length 1..3064)
 *               of a free one:  next free index << 12 | 0
 *
 * Classes have sizes that are multiples of 8, so no header straddles.
 *
 * Locks: the contract's. Compressing uses only the writer's scratch and the
 * writer's codec state; everything else is under the machine's lock.
 *
 * Failure: commit either stores the page or changes nothing.
 *
 * Frames that a reserve must hold: one commit takes at most one block, four
 * frames. A batch of 32 pages takes 13 on average at a ratio of 2.5 and could
 * take 128 if every page opened a block of its own class; past what is free it
 * uses larger classes and then fails with -ENOMEM, one page at a time.
 *
 * Cost, pages one third random, cold pool: compress 1.7 µs (zstd 7.6), commit
 * 0.24, read 1.1 (zstd 2.5), free 0.05, move 0.8 µs; 0.375 frames a page.
 */
#include "store/zpool.h"

#include <errno.h>
#include <string.h>

#include "base/assert.h"

#define NO_INDEX 255
#define BLOCK_TAG 0x5a
#define HEADER_BYTES sizeof(uint64_t)
#define LENGTH_BITS 12
#define FULL (ZPOOL_GROUPS - 1)
#define WORK_ALIGN 64
#define SCRATCH_BYTES ALIGN_UP(ZCODEC_MAX, WORK_ALIGN)

/* Lives in private[] of a block's first frame. */
struct zblock {
	uint32_t next[ZPOOL_CHAIN_MAX - 1]; /* pfns of the other frames */
	uint8_t class;
	uint8_t free; /* first free object below bump, or NO_INDEX */
	uint8_t bump; /* objects from here on were never used */
	uint8_t tag;  /* BLOCK_TAG */
} __attribute__((may_alias));

_Static_assert(sizeof(struct zblock) == sizeof(((struct frame *)0)->private), "a block's state is its head frame's");
_Static_assert(ZCODEC_MAX < 1 << LENGTH_BITS, "the length must fit the header");

static struct zpool *to_zpool(struct store *s)
{
	return container_of(s, struct zpool, store);
}

static struct zblock *block_of(const struct frame *head)
{
	return (struct zblock *)head->private;
}

static struct zclass *class_of_block(struct zpool *z, const struct frame *head)
{
	return &z->classes[block_of(head)->class];
}

/* Address of byte `offset` of the block. */
static uint8_t *block_byte(const struct zpool *z, const struct frame *head, size_t offset)
{
	size_t i = offset >> PAGE_SHIFT;
	const struct frame *f = i == 0 ? head : pfn_frame(z->phys, (pfn_t){ block_of(head)->next[i - 1] });

	return (uint8_t *)frame_home(z->phys, f) + (offset & ~PAGE_MASK);
}

static uint64_t *object_header(const struct zpool *z, const struct frame *head, unsigned index)
{
	return (uint64_t *)block_byte(z, head, (size_t)index * z->classes[block_of(head)->class].size);
}

static uint64_t header_length(uint64_t header)
{
	return header & ((1 << LENGTH_BITS) - 1);
}

static uint64_t handle_make(const struct zpool *z, const struct frame *head, unsigned index)
{
	return (uint64_t)frame_pfn(z->phys, head).n << 8 | index;
}

/* The block's head, which is not looked at. */
static struct frame *handle_head(const struct zpool *z, uint64_t handle)
{
	ASSERT(handle >> 8 < z->phys->nr_frames);
	return pfn_frame(z->phys, (pfn_t){ (uint32_t)(handle >> 8) });
}

static struct frame *handle_block(const struct zpool *z, uint64_t handle, unsigned *index)
{
	struct frame *head = handle_head(z, handle);

	*index = handle & 0xff;
	ASSERT(block_of(head)->tag == BLOCK_TAG && *index < block_of(head)->bump);
	return head;
}

/* Copies len bytes into the block at offset; they may straddle two frames. */
static void block_write(const struct zpool *z, const struct frame *head, size_t offset, const void *src, size_t len)
{
	size_t part = MIN(len, PAGE_SIZE - (offset & ~PAGE_MASK));

	memcpy(block_byte(z, head, offset), src, part);
	if (part < len)
		memcpy(block_byte(z, head, offset + part), (const uint8_t *)src + part, len - part);
}

/* Where len bytes at offset can be read in one piece: in place, or in the bounce buffer. */
static const uint8_t *block_read(const struct zpool *z, const struct frame *head, size_t offset, size_t len)
{
	const uint8_t *first = block_byte(z, head, offset);
	size_t part = PAGE_SIZE - (offset & ~PAGE_MASK);

	if (len <= part)
		return first;
	memcpy(z->bounce, first, part);
	memcpy(z->bounce + part, block_byte(z, head, offset + part), len - part);
	return z->bounce;
}

/* Blocks and their lists. */

static unsigned group_of(const struct zclass *c, const struct frame *head)
{
	return head->inuse * FULL / c->objects;
}

static void group_add(struct zclass *c, unsigned g, struct frame *head)
{
	TAILQ_INSERT_HEAD(&c->group[g], head, link);
	c->groups |= 1u << g;
}

static void group_remove(struct zclass *c, unsigned g, struct frame *head)
{
	TAILQ_REMOVE(&c->group[g], head, link);
	if (TAILQ_EMPTY(&c->group[g]))
		c->groups &= ~(1u << g);
}

static struct frame *fullest_with_room(const struct zclass *c)
{
	uint32_t partial = c->groups & ~(1u << FULL);

	return partial == 0 ? NULL : TAILQ_FIRST(&c->group[31 - __builtin_clz(partial)]);
}

static struct frame *emptiest(const struct zclass *c)
{
	uint32_t partial = c->groups & ~(1u << FULL);

	return partial == 0 ? NULL : TAILQ_LAST(&c->group[__builtin_ctz(partial)], frame_list);
}

static void block_frames_free(struct zpool *z, struct frame *head, unsigned n)
{
	uint32_t next[ZPOOL_CHAIN_MAX - 1];

	memcpy(next, block_of(head)->next, sizeof(next));
	memset(head->private, 0, sizeof(head->private));
	for (unsigned i = 1; i < n; i++)
		frame_free(z->phys, pfn_frame(z->phys, (pfn_t){ next[i - 1] }), 0);
	frame_free(z->phys, head, 0);
}

/* A new block of the class, not yet on a list; *err is -ENOSPC or -ENOMEM when it returns NULL. */
static struct frame *block_new(struct zpool *z, struct zclass *c, int *err)
{
	*err = -ENOSPC;
	if (z->store.stat.frames + c->chain > z->store.max_frames)
		return NULL;
	*err = -ENOMEM;
	struct frame *head = frame_alloc(z->phys, 0, 0, MIGRATE_UNMOVABLE, ALLOC_RESERVE);

	if (head == NULL)
		return NULL;
	struct zblock *b = block_of(head);

	*b = (struct zblock){ .class = (uint8_t)(c - z->classes), .free = NO_INDEX, .tag = BLOCK_TAG };
	for (unsigned i = 1; i < c->chain; i++) {
		struct frame *f = frame_alloc(z->phys, 0, 0, MIGRATE_UNMOVABLE, ALLOC_RESERVE);

		if (f == NULL) {
			block_frames_free(z, head, i);
			return NULL;
		}
		b->next[i - 1] = frame_pfn(z->phys, f).n;
	}
	head->inuse = 0;
	c->blocks++;
	c->free_slots += c->objects;
	z->free_bytes += (uint64_t)c->objects * c->size;
	z->store.stat.frames += c->chain;
	group_add(c, 0, head);
	return head;
}

static void block_free(struct zpool *z, struct zclass *c, struct frame *head)
{
	group_remove(c, 0, head);
	c->blocks--;
	c->free_slots -= c->objects;
	z->free_bytes -= (uint64_t)c->objects * c->size;
	z->store.stat.frames -= c->chain;
	block_frames_free(z, head, c->chain);
}

/* inuse becomes n: the block goes to the list that this calls for. */
static void block_set_inuse(struct zpool *z, struct zclass *c, struct frame *head, uint32_t n)
{
	unsigned before = group_of(c, head);
	int64_t freed = (int64_t)head->inuse - n;

	head->inuse = n;
	c->free_slots += (uint64_t)freed;
	z->free_bytes += (uint64_t)(freed * c->size);
	if (group_of(c, head) != before) {
		group_remove(c, before, head);
		group_add(c, group_of(c, head), head);
	}
}

/* Objects. */

static unsigned object_take(struct zpool *z, struct zclass *c, struct frame *head)
{
	struct zblock *b = block_of(head);
	unsigned index = b->free;

	DEBUG_ASSERT(head->inuse < c->objects);
	if (index != NO_INDEX)
		b->free = (uint8_t)(*object_header(z, head, index) >> LENGTH_BITS);
	else
		index = b->bump++;
	block_set_inuse(z, c, head, head->inuse + 1);
	return index;
}

/* The caller frees the block when nothing is left in it. */
static void object_release(struct zpool *z, struct zclass *c, struct frame *head, unsigned index)
{
	struct zblock *b = block_of(head);

	*object_header(z, head, index) = (uint64_t)b->free << LENGTH_BITS;
	b->free = (uint8_t)index;
	block_set_inuse(z, c, head, head->inuse - 1);
}

/* A block with room for an object of this size: the best there is, or a new one. NULL: see *err. */
static struct frame *find_room(struct zpool *z, size_t size, int *err)
{
	struct zclass *c = &z->classes[z->class_of[DIV_ROUND_UP(size, 8)]];
	struct frame *head = fullest_with_room(c);

	if (head == NULL)
		head = block_new(z, c, err);
	while (head == NULL && ++c < &z->classes[z->nr_classes])
		head = fullest_with_room(c);
	return head;
}

/* The contract. */

static unsigned zpool_reserve(struct store *s, struct store_io *io, unsigned n)
{
	struct zpool *z = to_zpool(s);
	uint64_t frames = s->stat.frames < s->max_frames ? s->max_frames - s->stat.frames : 0;
	uint64_t average = s->stat.pages != 0 ? s->stat.bytes / s->stat.pages : PAGE_SIZE / 2;
	uint64_t room = n;

	ASSERT(n <= STORE_BATCH);
	/* How well a page compresses shows only in write: an estimate that spares hopeless work. commit has the last word. */
	if (frames < n)
		room = (frames * PAGE_SIZE + z->free_bytes) / average;
	for (unsigned i = 0; i < n; i++) {
		io[i].err = i < room ? 0 : -ENOSPC;
		io[i].scratch = i < room ? z->scratch + i * SCRATCH_BYTES : NULL;
		io[i].bytes = 0;
	}
	return (unsigned)MIN(room, n);
}

static void zpool_write(struct store *s, struct store_io *io, unsigned n)
{
	struct zpool *z = to_zpool(s);

	for (unsigned i = 0; i < n; i++) {
		int len = io[i].packed_bytes;

		if (io[i].packed == NULL)
			len = zcodec_compress(&z->codec, io[i].scratch, io[i].page);
		io[i].err = len < 0 ? len : 0;
		io[i].bytes = len < 0 ? 0 : (uint32_t)len + (uint32_t)HEADER_BYTES;
	}
}

static void zpool_commit(struct store *s, struct store_io *io)
{
	struct zpool *z = to_zpool(s);
	size_t len = io->bytes - HEADER_BYTES;

	ASSERT(io->err == 0 && io->scratch != NULL && io->bytes > HEADER_BYTES);
	ASSERT(io->owner >> (64 - LENGTH_BITS) == 0);
	struct frame *head = find_room(z, io->bytes, &io->err);

	if (head == NULL)
		return;
	io->err = 0;
	struct zclass *c = class_of_block(z, head);
	unsigned index = object_take(z, c, head);

	*object_header(z, head, index) = io->owner << LENGTH_BITS | len;
	block_write(z, head, (size_t)index * c->size + HEADER_BYTES, io->packed != NULL ? io->packed : io->scratch, len);
	io->handle = handle_make(z, head, index);
	io->scratch = NULL;
	s->stat.pages++;
	s->stat.bytes += io->bytes;
}

static void zpool_abort(struct store *s, struct store_io *io)
{
	/* Counted here and not in write, which runs without the lock. */
	if (io->err == -E2BIG)
		s->stat.rejected++;
	io->scratch = NULL;
}

/*
 * A page that is read waits for three lines one after the other: the block's head, the object's header, its bytes. Of several,
 * those of the next ones are fetched meanwhile.
 */
#define FETCH_BYTES 512 /* of an object; what follows the host's CPU sees coming */

static void fetch_object(const struct zpool *z, uint64_t handle)
{
	unsigned index;
	const struct frame *head = handle_block(z, handle, &index);
	const uint8_t *object = (const uint8_t *)object_header(z, head, index);

	for (unsigned i = 0; i < FETCH_BYTES; i += 64)
		__builtin_prefetch(object + i);
}

static void zpool_read(struct store *s, struct store_io *io, unsigned n)
{
	struct zpool *z = to_zpool(s);

	for (unsigned i = 0; i < n; i++) {
		unsigned index;

		if (i + 2 < n)
			__builtin_prefetch(handle_head(z, io[i + 2].handle));
		if (i + 1 < n)
			fetch_object(z, io[i + 1].handle);
		struct frame *head = handle_block(z, io[i].handle, &index);
		size_t len = header_length(*object_header(z, head, index));
		size_t offset = (size_t)index * class_of_block(z, head)->size + HEADER_BYTES;

		io[i].err = -EIO;
		if (len + HEADER_BYTES <= class_of_block(z, head)->size)
			io[i].err = zcodec_decompress(&z->codec, io[i].page, block_read(z, head, offset, len), len);
		if (io[i].err != 0)
			s->stat.errors++;
	}
}

static void zpool_free(struct store *s, uint64_t handle)
{
	struct zpool *z = to_zpool(s);
	unsigned index;
	struct frame *head = handle_block(z, handle, &index);
	struct zclass *c = class_of_block(z, head);
	uint64_t len = header_length(*object_header(z, head, index));

	ASSERT(len != 0);
	s->stat.pages--;
	s->stat.bytes -= len + HEADER_BYTES;
	object_release(z, c, head, index);
	if (head->inuse == 0)
		block_free(z, c, head);
}

/* Moves every object of the block into other blocks of its class, which have room for them. Returns how many. */
static unsigned block_evacuate(struct zpool *z, struct zclass *c, struct frame *src)
{
	unsigned moves = 0;

	/* Off the lists, so that it is not chosen as its own target. */
	group_remove(c, group_of(c, src), src);
	for (unsigned i = 0; src->inuse > 0; i++) {
		uint64_t header = *object_header(z, src, i);

		if (header_length(header) == 0)
			continue;
		struct frame *dst = fullest_with_room(c);
		unsigned to = object_take(z, c, dst);
		size_t len = header_length(header);

		*object_header(z, dst, to) = header;
		block_write(z, dst, (size_t)to * c->size + HEADER_BYTES,
			    block_read(z, src, (size_t)i * c->size + HEADER_BYTES, len), len);
		z->store.moved(z->store.moved_ctx, header >> LENGTH_BITS, handle_make(z, dst, to));
		*object_header(z, src, i) = 0;
		src->inuse--;
		c->free_slots++;
		z->free_bytes += c->size;
		moves++;
	}
	group_add(c, 0, src);
	block_free(z, c, src);
	return moves;
}

/* Returns after about ZPOOL_SHRINK_MOVES moves, for the lock's sake; 0 only when no class has a block to give. */
static uint32_t zpool_shrink(struct store *s)
{
	struct zpool *z = to_zpool(s);
	unsigned moves = 0, idle = 0;
	uint64_t before = s->stat.frames;

	if (s->moved == NULL)
		return 0;
	while (idle < z->nr_classes && moves < ZPOOL_SHRINK_MOVES) {
		struct zclass *c = &z->classes[z->shrink_class];

		if (c->free_slots >= c->objects) {
			moves += block_evacuate(z, c, emptiest(c));
			idle = 0;
			continue;
		}
		idle++;
		z->shrink_class = (uint8_t)((z->shrink_class + 1) % z->nr_classes);
	}
	return (uint32_t)(before - s->stat.frames);
}

static void zpool_destroy(struct store *s)
{
	ASSERT(s->stat.pages == 0 && s->stat.frames == 0);
}

static const struct store_ops zpool_ops = {
	.name = "zpool",
	.reserve = zpool_reserve,
	.write = zpool_write,
	.commit = zpool_commit,
	.abort = zpool_abort,
	.read = zpool_read,
	.free = zpool_free,
	.shrink = zpool_shrink,
	.destroy = zpool_destroy,
	.read_locked = true,
};

/* Start-up. */

/* The shape for objects of this size: the chain that wastes least, a longer one only if it saves 2 %. */
static void shape_for(size_t size, uint8_t *chain, uint8_t *objects)
{
	*chain = *objects = 0;
	for (unsigned k = 1; k <= ZPOOL_CHAIN_MAX; k++) {
		size_t n = MIN(k * PAGE_SIZE / size, NO_INDEX);

		/* Blocks that hold no more objects than frames gain nothing. */
		if (n <= k || (*chain != 0 && k * *objects * 100 >= *chain * n * 98))
			continue;
		*chain = (uint8_t)k;
		*objects = (uint8_t)n;
	}
}

/* Builds classes[] downwards from the largest size, then puts them in ascending order. */
static void build_classes(struct zpool *z)
{
	struct zclass *c = z->classes;
	unsigned n = 0;

	for (size_t size = ZPOOL_OBJECT_MAX; size >= ZPOOL_STEP; size -= ZPOOL_STEP) {
		uint8_t chain, objects;

		shape_for(size, &chain, &objects);
		ASSERT(chain != 0 && n < ZPOOL_CLASSES_MAX);
		/* No cheaper an object than in the class above: use that one. */
		if (n > 0 && chain * c[n - 1].objects >= c[n - 1].chain * objects)
			continue;
		c[n++] = (struct zclass){ .size = (uint16_t)ALIGN_DOWN(chain * PAGE_SIZE / objects, 8),
					  .chain = chain, .objects = objects };
	}
	for (unsigned i = 0; i < n / 2; i++) {
		struct zclass t = c[i];

		c[i] = c[n - 1 - i];
		c[n - 1 - i] = t;
	}
	z->nr_classes = (uint8_t)n;
	for (size_t words = 0, i = 0; words < ARRAY_SIZE(z->class_of); words++) {
		while (c[i].size < words * 8)
			i++;
		z->class_of[words] = (uint8_t)i;
	}
	for (unsigned i = 0; i < n; i++) {
		for (unsigned g = 0; g < ZPOOL_GROUPS; g++)
			TAILQ_INIT(&c[i].group[g]);
	}
}

size_t zpool_work_bytes(enum zpool_codec codec)
{
	return (STORE_BATCH + 1) * SCRATCH_BYTES + zcodec_work_bytes(codec);
}

int zpool_init(struct zpool *z, struct phys *p, enum zpool_codec codec, void *work, size_t work_bytes)
{
	uint8_t *w = work;

	if ((uintptr_t)work % WORK_ALIGN != 0 || work_bytes < zpool_work_bytes(codec))
		return -EINVAL;
	*z = (struct zpool){ .store.ops = &zpool_ops, .store.max_frames = UINT64_MAX, .phys = p };
	z->scratch = w;
	z->bounce = w + STORE_BATCH * SCRATCH_BYTES;
	w = z->bounce + SCRATCH_BYTES;
	build_classes(z);
	return zcodec_init(&z->codec, codec, w, work_bytes - (size_t)(w - (uint8_t *)work));
}

/* The law, executed. */

static void check_block(const struct zpool *z, const struct zclass *c, const struct frame *head, uint64_t *bytes)
{
	const struct zblock *b = block_of(head);
	unsigned live = 0, idle = 0;

	ASSERT(b->tag == BLOCK_TAG && &z->classes[b->class] == c);
	ASSERT(head->flags == 0 && head->inuse > 0 && head->inuse <= b->bump && b->bump <= c->objects);
	for (unsigned i = 1; i < c->chain; i++)
		ASSERT(pfn_frame(z->phys, (pfn_t){ b->next[i - 1] })->flags == 0);
	for (unsigned i = 0; i < b->bump; i++) {
		uint64_t len = header_length(*object_header(z, head, i));

		if (len == 0)
			continue;
		ASSERT(len + HEADER_BYTES <= c->size);
		*bytes += len + HEADER_BYTES;
		live++;
	}
	for (unsigned i = b->free; i != NO_INDEX; i = (unsigned)(*object_header(z, head, i) >> LENGTH_BITS)) {
		ASSERT(i < b->bump && header_length(*object_header(z, head, i)) == 0);
		ASSERT(++idle <= b->bump);
	}
	ASSERT(live == head->inuse && live + idle == b->bump);
}

static void check_class(const struct zpool *z, const struct zclass *c, struct store_stat *sum)
{
	uint64_t blocks = 0, used = 0;

	for (unsigned g = 0; g < ZPOOL_GROUPS; g++) {
		const struct frame *head;

		ASSERT(TAILQ_EMPTY(&c->group[g]) == !(c->groups >> g & 1));
		TAILQ_FOREACH(head, &c->group[g], link) {
			ASSERT(group_of(c, head) == g);
			check_block(z, c, head, &sum->bytes);
			blocks++;
			used += head->inuse;
		}
	}
	ASSERT(blocks == c->blocks && blocks * c->objects - used == c->free_slots);
	sum->frames += blocks * c->chain;
	sum->pages += used;
}

void zpool_check(const struct zpool *z)
{
	struct store_stat sum = { 0 };
	uint64_t free_bytes = 0;

	for (unsigned i = 0; i < z->nr_classes; i++) {
		check_class(z, &z->classes[i], &sum);
		free_bytes += z->classes[i].free_slots * z->classes[i].size;
	}
	ASSERT(sum.frames == z->store.stat.frames);
	ASSERT(sum.pages == z->store.stat.pages);
	ASSERT(sum.bytes == z->store.stat.bytes);
	ASSERT(free_bytes == z->free_bytes);
}
