#include "embed/file.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/sys.h"
#include "embed/error.h"

#define PAGE_DEFAULT ((size_t)64 * KIB)
#define PAGE_MOST ((size_t)2 * MIB)
#define BUFFER_PART 32          /* of the budget, for each of the buffers */
#define BUFFER_MOST ((size_t)2 * MIB)
#define BLOCKS_LEAST 8
#define SPARE_BLOCKS 8
#define FLIGHTS_PART 4          /* of the blocks that fit into the buffer */
#define OWN_BYTES ((size_t)64 * KIB) /* stacks */

/* Blocks that the pages touch: up to, not including, *end. */
static void blocks_of(const struct file_region *f, uint64_t start, uint64_t end, uint32_t *first, uint32_t *stop)
{
	*first = block_of(f, start);
	*stop = block_of(f, end - 1) + 1;
}

static void enter(struct file_region *f, uint64_t *signals)
{
	signals_block(signals);
	engine_lock_take(&f->lock);
}

static void leave(struct file_region *f, const uint64_t *signals)
{
	engine_lock_drop(&f->lock);
	signals_restore(signals);
}

/* Blocks that are asked for, until there are enough for one go. */
struct batch {
	uint32_t block[BATCH];
	unsigned n;
};

static int batch_flush(struct file_region *f, struct batch *b)
{
	bool write[BATCH];

	for (unsigned i = 0; i < b->n; i++)
		write[i] = file_expects_write(f);
	int err = b->n > 0 ? file_bring(f, b->block, write, NULL, b->n) : 0;

	b->n = 0;
	return err;
}

/* Keeps it ascending, and each block once. */
static void batch_add(struct batch *b, uint32_t block)
{
	unsigned at = b->n;

	while (at > 0 && b->block[at - 1] > block)
		at--;
	if (at > 0 && b->block[at - 1] == block)
		return;
	memmove(&b->block[at + 1], &b->block[at], (b->n - at) * sizeof(b->block[0]));
	b->block[at] = block;
	b->n++;
}

/* Lock held. */
static int ask(struct file_region *f, struct batch *b, uint32_t block)
{
	if (blocks_has(&f->blocks, block, BLOCK_PRESENT) || ahead_take(f, block, false) || flight_take(f, block)) {
		f->blocks.at[block].flags |= BLOCK_ASKED;
		return 0;
	}
	batch_add(b, block);
	return b->n == f->batch ? batch_flush(f, b) : 0;
}

static int file_get(struct stw_region *r, const struct stw_range *ranges, size_t n)
{
	struct file_region *f = file_of(r);
	struct batch b = { .n = 0 };
	uint64_t signals, start, end;
	uint32_t left = f->blocks.most / 2;
	int err = 0;

	enter(f, &signals);
	for (size_t i = 0; i < n && err == 0; i++) {
		uint32_t at, stop;

		err = region_range(r, ranges[i].offset, ranges[i].bytes, false, &start, &end);
		if (err != 0 || start == end)
			continue;
		blocks_of(f, start, end, &at, &stop);
		for (; at < stop && left > 0 && err == 0; at++, left--)
			err = ask(f, &b, at);
	}
	if (err == 0)
		err = batch_flush(f, &b);
	leave(f, &signals);
	return err;
}

static int file_prefetch(struct stw_region *r, uint64_t start, uint64_t end)
{
	const struct stw_range range = { start - r->start, MIN(end - r->start, r->bytes) - (start - r->start) };

	return file_get(r, &range, 1);
}

/* Lock held. */
static int pin(struct file_region *f, uint32_t block)
{
	struct batch b = { .n = 0 };

	if (blocks_has(&f->blocks, block, BLOCK_PINNED))
		return 0;
	if (f->blocks.pinned >= f->blocks.most / 2)
		return error_set(-ENOMEM, "more than half of the budget of %zu bytes would be pinned", f->budget);
	int err = ask(f, &b, block);

	if (err == 0)
		err = batch_flush(f, &b);
	if (err == 0)
		blocks_pin(&f->blocks, block);
	return err;
}

static int file_pin(struct stw_region *r, uint64_t start, uint64_t end)
{
	struct file_region *f = file_of(r);
	uint32_t first, stop;
	uint64_t signals;

	blocks_of(f, start, end, &first, &stop);
	if (stop - first > f->blocks.most / 2)
		return error_set(-ENOMEM, "%llu bytes are more than half of the budget of %zu", (unsigned long long)(end - start), f->budget);
	/* With several reads in flight; what is gone again by then comes alone. */
	int err = file_prefetch(r, start, end);

	enter(f, &signals);
	for (uint32_t at = first; at < stop && err == 0; at++)
		err = pin(f, at);
	leave(f, &signals);
	return err;
}

/* Calls act() for each present block that the range touches. */
static int each(struct stw_region *r, uint64_t start, uint64_t end, void (*act)(struct blocks *b, uint32_t block))
{
	struct file_region *f = file_of(r);
	uint32_t at, stop;
	uint64_t signals;

	blocks_of(f, start, end, &at, &stop);
	enter(f, &signals);
	for (; at < stop; at++)
		if (blocks_has(&f->blocks, at, BLOCK_PRESENT))
			act(&f->blocks, at);
	leave(f, &signals);
	return 0;
}

static void cool(struct blocks *b, uint32_t block)
{
	if (!blocks_has(b, block, BLOCK_PINNED))
		blocks_cool(b, block);
}

static int file_cold(struct stw_region *r, uint64_t start, uint64_t end)
{
	return each(r, start, end, cool);
}

static int file_unpin(struct stw_region *r, uint64_t start, uint64_t end)
{
	return each(r, start, end, blocks_unpin);
}

/* Lock held. Blocks [first, stop) are holes of the file, and nowhere else. */
static int punch(struct file_region *f, uint32_t first, uint32_t stop)
{
	/* The last block may go on behind the end of the region, where the file is somebody else's. */
	uint64_t offset = block_offset(f, first), end = MIN(block_offset(f, stop), f->offset + f->region.bytes);
	int err = offset < end ? sys_fallocate(f->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, end - offset) : 0;

	if (err != 0)
		return error_set(err, "cannot make a hole in the file: %s", error_words(err));
	ahead_forget(f, first, stop);
	flight_forget(f, first, stop);
	for (uint32_t at = first; at < stop; at++) {
		if (blocks_has(&f->blocks, at, BLOCK_PRESENT))
			blocks_forget(&f->blocks, at);
		/* Also of one that raises SIGBUS. */
		file_drop(f, at);
	}
	return 0;
}

static int file_discard(struct stw_region *r, uint64_t start, uint64_t end)
{
	struct file_region *f = file_of(r);
	uint64_t from = ALIGN_UP(start, f->page);
	/* The last block ends where the region does. */
	uint64_t to = end >= r->start + r->bytes ? r->start + r->mapped : ALIGN_DOWN(end, f->page);
	uint64_t signals;

	if (!f->writable)
		return error_set(-EINVAL, "the region can only be read");
	if (from >= to)
		return 0;
	enter(f, &signals);
	int err = punch(f, block_of(f, from), block_of(f, to - 1) + 1);

	leave(f, &signals);
	return err;
}

/*
 * Lock held. What was written is on the disk. The kernel tells of what the disk did not take once, and knows the pages as clean
 * from then on; blocks that have left cannot be written again. So one failure is one for good.
 */
static int sync_file(struct file_region *f)
{
	int err = (int)sys_call3(SYS_fdatasync, f->fd, 0, 0);

	if (err != 0) {
		f->errors++;
		f->sync_error = f->sync_error != 0 ? f->sync_error : err;
	}
	if (f->sync_error != 0)
		error_set(f->sync_error, "cannot bring the file to the disk: %s", error_words(f->sync_error));
	return f->sync_error;
}

static int file_flush(struct stw_region *r, uint64_t start, uint64_t end)
{
	struct file_region *f = file_of(r);
	uint32_t first, stop;
	uint64_t signals;

	if (!f->writable)
		return 0;
	blocks_of(f, start, end, &first, &stop);
	enter(f, &signals);
	int err = file_write_back(f, first, stop);

	if (err == 0)
		err = sync_file(f);
	leave(f, &signals);
	return err;
}

static void file_stats(struct stw_region *r, struct stw_stats *s)
{
	struct file_region *f = file_of(r);
	uint64_t signals;

	enter(f, &signals);
	*s = (struct stw_stats){
		.budget = f->budget,
		.resident = (uint64_t)f->blocks.present << f->page_shift,
		.out = (uint64_t)(f->blocks.nr - f->blocks.present) << f->page_shift,
		.pinned = (uint64_t)f->blocks.pinned << f->page_shift,
		.faults = f->faults,
		.faults_major = f->majors,
		.pages_in = f->bytes_in >> PAGE_SHIFT,
		.pages_out = f->bytes_out >> PAGE_SHIFT,
		.wait_ns = f->wait_ns,
		.errors = f->errors,
		.dirty = (uint64_t)f->blocks.dirty << f->page_shift,
		.faults_write = f->written_faults,
	};
	leave(f, &signals);
}

static void file_close(struct stw_region *r)
{
	struct file_region *f = file_of(r);

	r->closing = true;
	server_stop(&r->server);
	ahead_forget(f, 0, BLOCK_NONE);
	flight_forget(f, 0, BLOCK_NONE);
	aio_close(&f->aio);
	aio_close(&f->ahead_aio);
	aio_close(&f->flight_aio);
	if (f->fd >= 0)
		sys_close(f->fd);
	region_memory_free((void *)(uintptr_t)r->start, r->mapped);
	region_memory_free(f->blocks.at, f->table_bytes);
	region_memory_free(f->buffer, f->buffer_bytes + AHEAD_SLOTS * f->slot_bytes);
	sys_munmap(f, sizeof(*f));
}

static const struct region_ops file_ops = {
	.flush = file_flush,
	.close = file_close,
	.prefetch = file_prefetch,
	.get = file_get,
	.cold = file_cold,
	.discard = file_discard,
	.pin = file_pin,
	.unpin = file_unpin,
	.stats = file_stats,
};

/* Some file systems take the flag and refuse the I/O: a page read decides. */
static bool can_be_direct(int fd)
{
	uint8_t page[PAGE_SIZE] __attribute__((aligned(4096)));

	return sys_fcntl(fd, F_SETFL, O_DIRECT) == 0 && sys_pread(fd, page, sizeof(page), 0) >= 0;
}

static int file_size(const struct stw_file_config *c, int fd, uint64_t *bytes)
{
	struct stat st;
	int err = sys_fstat(fd, &st);

	if (err != 0)
		return error_set(err, "cannot look at %s: %s", c->path, error_words(err));
	if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
		return error_set(-EINVAL, "%s is neither a file nor a block device", c->path);
	long end = sys_call3(SYS_lseek, fd, 0, SEEK_END);

	if (end < 0)
		return error_set((int)end, "%s has no size: %s", c->path, error_words((int)end));
	*bytes = (uint64_t)end;
	return 0;
}

/* bytes: of the region. */
static int open_file(struct file_region *f, const struct stw_file_config *c, size_t *bytes)
{
	int flags = (c->writable ? O_RDWR : O_RDONLY) | (c->writable && c->create ? O_CREAT : 0) | O_CLOEXEC;

	f->writable = c->writable;
	f->offset = c->offset;
	f->fd = sys_open(c->path, flags, 0666);
	if (f->fd < 0)
		return error_set(f->fd, "cannot open %s: %s", c->path, error_words(f->fd));
	uint64_t end = c->offset + c->bytes, there = 0;
	int err = file_size(c, f->fd, &there);

	if (err != 0)
		return err;
	f->direct = can_be_direct(f->fd);
	if (!f->direct)
		sys_fcntl(f->fd, F_SETFL, 0);
	if (c->bytes == 0 && there <= c->offset)
		return error_set(-EINVAL, "%s has %llu bytes, none from offset %llu on", c->path, (unsigned long long)there,
				 (unsigned long long)c->offset);
	*bytes = c->bytes != 0 ? c->bytes : there - c->offset;
	if (end <= there)
		return 0;
	if (!c->writable || !c->create)
		return error_set(-EINVAL, "%s has %llu bytes, and the region wants %llu", c->path, (unsigned long long)there,
				 (unsigned long long)end);
	err = sys_ftruncate(f->fd, end);
	return err == 0 ? 0 : error_set(err, "cannot make %s longer: %s", c->path, error_words(err));
}

/* How the budget is spent: tables, buffers, and the rest is for blocks. */
static int share_out(struct file_region *f)
{
	uint64_t nr = f->region.mapped >> f->page_shift;

	f->buffer_bytes = MAX(MIN(ALIGN_DOWN(f->budget / BUFFER_PART, f->page), BUFFER_MOST), f->page);
	f->slot_bytes = MAX(ALIGN_DOWN(f->buffer_bytes / 2, f->page), f->page);
	f->table_bytes = ALIGN_UP(nr * sizeof(struct block), PAGE_SIZE);
	size_t buffers = f->buffer_bytes + AHEAD_SLOTS * f->slot_bytes, own = OWN_BYTES + f->table_bytes + buffers, least = own + BLOCKS_LEAST * f->page;

	if (nr >= BLOCK_NONE)
		return error_set(-EINVAL, "%zu bytes are too many pages of %zu; use larger ones", f->region.bytes, f->page);
	if (f->budget < least)
		return error_set(-EINVAL, "a budget of %zu bytes is too small for pages of %zu; %zu at least", f->budget, f->page, least);
	uint64_t most = MIN((f->budget - own) >> f->page_shift, nr);
	struct block *at = region_memory(f->table_bytes);

	f->buffer = region_memory(buffers);
	blocks_init(&f->blocks, at, (uint32_t)nr, (uint32_t)MAX(most, (uint64_t)BLOCKS_LEAST));
	if (at == NULL || f->buffer == NULL)
		return error_set(-ENOMEM, "no memory for a budget of %zu bytes", f->budget);
	uint32_t fit = (uint32_t)(f->buffer_bytes >> f->page_shift);

	f->window_max = MIN((uint32_t)(f->slot_bytes >> f->page_shift), f->blocks.most / 4);
	f->nr_flights = MIN(MIN(fit, f->blocks.most) / FLIGHTS_PART, (uint32_t)FLIGHTS);
	f->batch = MIN(MIN(fit - f->nr_flights, (uint32_t)BATCH), f->blocks.most / 2);
	f->spare = f->blocks.most < nr ? MIN((uint32_t)SPARE_BLOCKS, f->blocks.most / 32) : 0;
	return 0;
}

static int check(const struct stw_file_config *c)
{
	if (c->config_bytes != sizeof(*c))
		return error_set(-EINVAL, "config_bytes is %zu: start from STW_FILE_CONFIG", c->config_bytes);
	if (c->path == NULL)
		return error_set(-EINVAL, "a region of a file needs a path");
	if (c->page != 0 && (c->page < PAGE_SIZE || c->page > PAGE_MOST || (c->page & (c->page - 1)) != 0))
		return error_set(-EINVAL, "pages cannot have %zu bytes; a power of two, 4096 to %zu", c->page, PAGE_MOST);
	if (c->offset % PAGE_SIZE != 0)
		return error_set(-EINVAL, "offset %llu is no multiple of 4096", (unsigned long long)c->offset);
	if (c->bytes > (uint64_t)INT64_MAX - MIN(c->offset, (uint64_t)INT64_MAX))
		return error_set(-EINVAL, "a file cannot have %zu bytes from offset %llu on", c->bytes, (unsigned long long)c->offset);
	return 0;
}

static int open_region(struct file_region *f, const struct stw_file_config *c)
{
	size_t bytes = 0;
	int err = open_file(f, c, &bytes);

	if (err == 0)
		err = server_open(&f->region.server);
	if (err == 0)
		err = region_map(&f->region, bytes, f->page);
	if (err == 0)
		err = share_out(f);
	if (err == 0 && !f->writable)
		sys_mprotect((void *)(uintptr_t)f->region.start, f->region.mapped, PROT_READ);
	aio_open(&f->aio, -1);
	aio_open(&f->ahead_aio, -1);
	if (err == 0 && f->nr_flights > 0)
		err = server_hear(&f->region.server);
	aio_open(&f->flight_aio, f->region.server.landed_fd);
	return err != 0 ? err : server_start(&f->region.server, file_fault, f);
}

EXPORT struct stw_region *stw_file_open(const struct stw_file_config *config)
{
	if (check(config) != 0)
		return NULL;
	struct file_region *f = (struct file_region *)region_new(&file_ops, sizeof(*f));

	if (f == NULL)
		return NULL;
	f->fd = -1;
	f->budget = config->budget;
	f->page = config->page != 0 ? config->page : PAGE_DEFAULT;
	f->page_shift = (unsigned)__builtin_ctzl(f->page);
	if (open_region(f, config) == 0)
		return &f->region;
	file_close(&f->region);
	return NULL;
}
