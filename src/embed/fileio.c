#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "base/assert.h"
#include "base/sys.h"
#include "base/uffd.h"
#include "embed/error.h"
#include "embed/file.h"
#include "live/host.h"

#define RUN_BYTES ((size_t)MIB) /* written at once, at most, unless a block is larger */
#define LOOK_BLOCKS 128u        /* from the old end of a queue, when dirty ones among the next to go are looked for, … */
#define LOOK_BYTES ((size_t)4 * MIB) /* … or more if they are small: several runs of neighbours */

/* Bytes of the region that the blocks have. */
static size_t bytes_of(const struct file_region *f, uint32_t first, uint32_t n)
{
	uint64_t start = (uint64_t)first << f->page_shift, end = start + ((uint64_t)n << f->page_shift);

	return MIN(end, f->region.bytes) - start;
}

static void drop_cached(const struct file_region *f, const struct aio_op *op)
{
	if (!f->direct)
		sys_fadvise(f->fd, op->offset, op->bytes, POSIX_FADV_DONTNEED);
}

void file_read_start(struct file_region *f, struct aio *aio, struct aio_op *op, uint32_t first, uint32_t n, uint8_t *data)
{
	size_t bytes = bytes_of(f, first, n);

	op->fd = f->fd;
	op->out = false;
	op->data = data;
	op->bytes = f->direct ? ALIGN_UP(bytes, PAGE_SIZE) : bytes;
	op->least = bytes;
	op->offset = block_offset(f, first);
	aio_start(aio, op);
}

/* Copies to absent addresses; protected: a write is to be a fault. */
static void copy(const struct file_region *f, uint64_t address, const uint8_t *data, size_t bytes, bool protected)
{
	while (bytes > 0) {
		int64_t done = host_copy(f->region.server.uffd, address, data, bytes, protected ? UFFDIO_COPY_MODE_WP : 0);

		/* The region is being closed: nobody will see it. */
		if (done <= 0)
			return;
		address += (uint64_t)done;
		data += done;
		bytes -= (size_t)done;
	}
}

void file_place(struct file_region *f, uint32_t first, uint32_t n, uint8_t *data, const bool *write)
{
	size_t whole = (size_t)n << f->page_shift, ours = bytes_of(f, first, n);

	/* What lies behind the end of the region is not shown, and will not be written. */
	memset(data + ours, 0, whole - ours);
	if (f->poisoned)
		sys_madvise((void *)(uintptr_t)block_address(f, first), whole, MADV_DONTNEED);
	for (uint32_t i = 0; i < n;) {
		bool dirty = write != NULL && write[i];
		uint32_t run = 1;

		while (i + run < n && (write != NULL && write[i + run]) == dirty)
			run++;
		copy(f, block_address(f, first + i), data + ((size_t)i << f->page_shift), (size_t)run << f->page_shift, f->writable && !dirty);
		for (uint32_t k = i; k < i + run; k++) {
			blocks_arrive(&f->blocks, first + k);
			blocks_set_dirty(&f->blocks, first + k, dirty);
			f->blocks.at[first + k].flags |= dirty ? 0 : BLOCK_UNTRIED;
		}
		i += run;
	}
}

static int read_failed(struct file_region *f, const struct aio_op *op)
{
	f->errors++;
	return error_set(-EIO, "cannot read %zu bytes at offset %llu of the file: %s", op->bytes, (unsigned long long)op->offset,
			 op->err == -ENODATA ? "it is shorter than it was" : error_words(op->err));
}

int file_read_end(struct file_region *f, struct aio_op *op)
{
	drop_cached(f, op);
	if (op->err != 0)
		return read_failed(f, op);
	f->bytes_in += op->bytes;
	return 0;
}

int file_bring(struct file_region *f, const uint32_t *block, const bool *write, int *err, unsigned n)
{
	struct aio_op op[BATCH];
	unsigned start[BATCH + 1], nr = 0;
	int result = file_make_room(f, n);

	for (unsigned i = 0; i < n; i++)
		DEBUG_ASSERT(!blocks_has(&f->blocks, block[i], BLOCK_PRESENT));
	for (unsigned i = 0; err != NULL && i < n; i++)
		err[i] = result;
	if (result != 0)
		return result;
	/* Blocks in a row are one transfer; one alone is not worth two system calls. */
	for (unsigned i = 0; i < n; nr++) {
		start[nr] = i;
		for (i++; i < n && block[i] == block[i - 1] + 1;)
			i++;
		file_read_start(f, start[nr] == 0 && i == n ? NULL : &f->aio, &op[nr], block[start[nr]], i - start[nr], f->buffer + ((size_t)start[nr] << f->page_shift));
	}
	start[nr] = n;
	for (unsigned r = 0; r < nr; r++) {
		unsigned at = start[r], len = start[r + 1] - at;

		aio_wait(&f->aio, &op[r]);
		int failed = file_read_end(f, &op[r]);

		if (failed == 0)
			file_place(f, block[at], len, op[r].data, write != NULL ? write + at : NULL);
		else
			result = failed;
		for (unsigned i = at; err != NULL && i < at + len && failed != 0; i++)
			err[i] = failed;
	}
	return result;
}

void file_drop(struct file_region *f, uint32_t block)
{
	sys_madvise((void *)(uintptr_t)block_address(f, block), f->page, MADV_DONTNEED);
}

#define UPDATES_SURE 64
#define UPDATES_ENOUGH 48
#define UPDATES_MISSED 3 /* one that left as it came weighs so many that were written: three in four are to be */

bool file_expects_write(struct file_region *f)
{
	return f->writable && f->updates >= UPDATES_ENOUGH && ++f->trial % TRIAL != 0;
}

/* A block is written to that was brought protected, or leaves without. */
static void learn(struct file_region *f, uint32_t block, bool written)
{
	if (!blocks_has(&f->blocks, block, BLOCK_UNTRIED))
		return;
	f->blocks.at[block].flags &= (uint8_t)~BLOCK_UNTRIED;
	f->updates += written ? 1 : -UPDATES_MISSED;
	f->updates = MAX(MIN(f->updates, UPDATES_SURE), 0);
}

void file_make_dirty(struct file_region *f, uint32_t first, uint32_t n)
{
	learn(f, first, true);
	for (uint32_t i = 0; i < n; i++) {
		blocks_set_dirty(&f->blocks, first + i, true);
		f->blocks.at[first + i].flags &= (uint8_t)~BLOCK_UNTRIED;
	}
	host_protect(f->region.server.uffd, block_address(f, first), (uint64_t)n << f->page_shift, false);
}

/* A run of dirty blocks on its way to the file. */
struct run {
	struct aio_op op;
	uint32_t first, n;
	size_t tail; /* bytes behind those of op, less than a page, where the region ends */
};

static bool is_dirty(const struct file_region *f, uint32_t block)
{
	return blocks_has(&f->blocks, block, BLOCK_DIRTY);
}

/* The dirty blocks around one, as far as one write takes them: a disk likes them in a row. */
static void find_run(const struct file_region *f, uint32_t block, struct run *run)
{
	uint32_t most = (uint32_t)MAX(RUN_BYTES >> f->page_shift, (size_t)1);

	run->first = block;
	run->n = 1;
	while (run->n < most && run->first > 0 && is_dirty(f, run->first - 1)) {
		run->first--;
		run->n++;
	}
	while (run->n < most && run->first + run->n < f->blocks.nr && is_dirty(f, run->first + run->n))
		run->n++;
}

/* From now on a write to them is a fault, and they are on their way. They count as clean until it is known that they are not. */
static void start_run(struct file_region *f, struct run *run)
{
	uint64_t address = block_address(f, run->first);
	size_t bytes = bytes_of(f, run->first, run->n);

	host_protect(f->region.server.uffd, address, (uint64_t)run->n << f->page_shift, true);
	for (uint32_t i = 0; i < run->n; i++)
		blocks_set_dirty(&f->blocks, run->first + i, false);
	run->op.fd = f->fd;
	run->op.out = true;
	run->op.data = (void *)(uintptr_t)address;
	run->op.bytes = f->direct ? ALIGN_DOWN(bytes, PAGE_SIZE) : bytes;
	run->op.offset = block_offset(f, run->first);
	run->tail = bytes - run->op.bytes;
	aio_start(run->op.bytes != 0 ? &f->aio : NULL, &run->op);
}

/* Less than a page, which direct I/O does not take. Transfers in flight stay as they began. 0 or -errno. */
static int write_tail(const struct file_region *f, const struct run *run)
{
	struct aio_op op = { .fd = f->fd, .out = true, .data = (uint8_t *)run->op.data + run->op.bytes, .bytes = run->tail,
			     .offset = run->op.offset + run->op.bytes };
	int err = sys_fcntl(f->fd, F_SETFL, 0);

	if (err != 0)
		return err;
	aio_start(NULL, &op);
	err = sys_fcntl(f->fd, F_SETFL, O_DIRECT);
	return op.err != 0 ? op.err : err;
}

/* 0, or -errno and the message: the blocks are dirty as before. */
static int end_run(struct file_region *f, struct run *run)
{
	aio_wait(&f->aio, &run->op);
	if (run->op.err == 0 && run->tail != 0)
		run->op.err = write_tail(f, run);
	if (run->op.err == 0) {
		f->bytes_out += run->op.bytes + run->tail;
		f->write_error = 0;
		drop_cached(f, &run->op);
		return 0;
	}
	file_make_dirty(f, run->first, run->n);
	f->errors++;
	f->write_error = run->op.err;
	return error_set(run->op.err, "cannot write %zu bytes at offset %llu of the file: %s", run->op.bytes + run->tail,
			 (unsigned long long)run->op.offset, error_words(run->op.err));
}

static int end_runs(struct file_region *f, struct run *run, unsigned n)
{
	int result = 0;

	for (unsigned i = 0; i < n; i++) {
		int err = end_run(f, &run[i]);

		result = err != 0 ? err : result;
	}
	return result;
}

int file_write_back(struct file_region *f, uint32_t first, uint32_t end)
{
	struct run run[BATCH];
	unsigned n = 0;
	int result = 0, err;

	for (uint32_t at = first; at < end && f->blocks.dirty + n > 0;) {
		if (!is_dirty(f, at)) {
			at++;
			continue;
		}
		find_run(f, at, &run[n]);
		start_run(f, &run[n]);
		at = run[n].first + run[n].n;
		if (++n == BATCH) {
			err = end_runs(f, run, n);
			result = err != 0 ? err : result;
			n = 0;
		}
	}
	err = end_runs(f, run, n);
	return err != 0 ? err : result;
}

/* A block that has to go is dirty: it is written, and with it those dirty ones that would have to go next, all at once. */
static int clean(struct file_region *f, uint32_t victim)
{
	struct run run[BATCH];
	unsigned n = 0, looks = 0, most = MAX(LOOK_BLOCKS, (unsigned)(LOOK_BYTES >> f->page_shift));

	find_run(f, victim, &run[n]);
	start_run(f, &run[n++]);
	for (unsigned q = 0; q < 2; q++) {
		uint32_t at = q == 0 ? f->blocks.in.tail : f->blocks.main.tail;

		for (; at != BLOCK_NONE && n < BATCH && looks < most; at = f->blocks.at[at].prev, looks++) {
			if (!is_dirty(f, at))
				continue;
			find_run(f, at, &run[n]);
			start_run(f, &run[n++]);
		}
	}
	return end_runs(f, run, n);
}

/* Blocks in a row that have left: their memory is dropped in one call. */
struct leaving {
	uint32_t first, n;
};

static void drop_leaving(struct file_region *f, struct leaving *l)
{
	if (l->n > 0)
		sys_madvise((void *)(uintptr_t)block_address(f, l->first), (size_t)l->n << f->page_shift, MADV_DONTNEED);
	l->n = 0;
}

static void leave(struct file_region *f, struct leaving *l, uint32_t block)
{
	if (l->n > 0 && block != l->first + l->n)
		drop_leaving(f, l);
	if (l->n++ == 0)
		l->first = block;
	learn(f, block, false);
	blocks_leave(&f->blocks, block);
}

int file_make_room(struct file_region *f, uint32_t n)
{
	struct blocks *b = &f->blocks;
	struct leaving leaving = { 0 };
	uint32_t refused = 0;
	int err = 0;

	while (b->present + n > b->most && refused <= b->present) {
		uint32_t victim = blocks_victim(b);

		if (victim == BLOCK_NONE)
			break;
		if (is_dirty(f, victim))
			err = clean(f, victim);
		if (is_dirty(f, victim)) {
			blocks_stay(b, victim);
			refused++;
			continue;
		}
		leave(f, &leaving, victim);
	}
	drop_leaving(f, &leaving);
	if (b->present + n <= b->most)
		return 0;
	return err != 0 ? err : error_set(-ENOMEM, "no room in a budget of %zu bytes: the rest is pinned", f->budget);
}
