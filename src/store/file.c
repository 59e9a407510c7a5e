/*
 * file: slots of one page in a file (the model is Linux's mm/swapfile.c and
 * mm/page_io.c).
 *
 * Slots are numbered as they come, 1024 in each extent of the file that this
 * process has taken for itself (extents.h); a file that nobody else opens is one
 * that nobody else takes extents of.
 *
 * A batch gets consecutive slots where it can, so that it goes out, and later
 * comes in again by read-ahead, in one system call. The search is next-fit: it
 * goes on where the last one ended, which writes a young file from front to
 * back. When a bounded look finds no run that holds the whole batch, there is one
 * more extent; if that cannot be had either, single free slots are taken
 * (swapfile.c gives up its clusters in the same way).
 *
 * O_DIRECT keeps the kernel from holding a second copy of every page, which
 * would count against the program's cgroup. Where the file system refuses it,
 * writes go through the page cache: POSIX_FADV_DONTNEED starts their writeback,
 * and drops them when it is said again, after the next write.
 *
 * Disk full. A failed write marks the store full, and reserve then refuses at
 * once, for AGAIN_NS: callers need not pay for a hopeless write, and others may
 * have left room after that. A free clears the mark as well, but only slots that
 * held a page before, whose blocks the disk has already given, are taken, until
 * FILE_RETRY_FREES frees have passed and the file may try to grow again. On
 * copy-on-write file systems even an old slot may fail: then the mark is simply
 * set again.
 *
 * Errors. Of a run that fails, pages before the failing one are good; -ENOSPC
 * (also quota and file size limits) fails all that follow in the batch, any
 * other error is -EIO for that page alone and the rest is tried.
 *
 * Cost: one system call for a run. Search: 64 slots a step, so a file of 64 GiB
 * that is full but for one slot takes 256 Ki steps, 0.1 ms.
 */
#include "store/file.h"

#include <errno.h>
#include <string.h>

#include "base/assert.h"
#include "base/sys.h"

#define NO_SLOT UINT64_MAX
#define RUN_LOOKS 64 /* free runs that are looked at before the batch is torn */
#define AGAIN_NS 250000000 /* 0.25 s: after the disk was full, or others had all extents, the next try */

static struct file_store *to_file(struct store *s)
{
	return container_of(s, struct file_store, store);
}

/* The bitmap. */

static bool slot_taken(const struct file_store *f, uint64_t slot)
{
	return f->bitmap[slot / 64] >> slot % 64 & 1;
}

/* Slots of extents that are ours. */
static uint64_t claimed(const struct file_store *f)
{
	return MIN((uint64_t)f->extents.nr * EXTENT_SLOTS, f->max_slots);
}

/* The first one that we may write to: those below were written by who made this process. */
static uint64_t first_own(const struct file_store *f)
{
	return MIN((uint64_t)f->extents.inherited * EXTENT_SLOTS, f->max_slots);
}

/* First slot in [from, end) whose bit is `taken`, or end. */
static uint64_t slot_next(const struct file_store *f, uint64_t from, uint64_t end, bool taken)
{
	while (from < end) {
		uint64_t word = f->bitmap[from / 64];
		uint64_t found = (taken ? word : ~word) >> from % 64;

		if (found != 0)
			return MIN(end, from + (unsigned)__builtin_ctzll(found));
		from = ALIGN_DOWN(from, 64) + 64;
	}
	return end;
}

/* A run of n free slots at or after the hint (wrapping once), if a short look finds one. */
static uint64_t run_find(const struct file_store *f, unsigned n)
{
	uint64_t from = f->hint;
	bool wrapped = false;

	for (unsigned looks = 0; looks < RUN_LOOKS; looks++) {
		uint64_t start = slot_next(f, from, f->slots, false);
		uint64_t end = slot_next(f, start, MIN(start + n, f->slots), true);

		if (end - start == n)
			return start;
		from = end;
		if (end < f->slots)
			continue;
		if (wrapped)
			return NO_SLOT;
		wrapped = true;
		from = first_own(f);
	}
	return NO_SLOT;
}

static uint64_t single_find(const struct file_store *f)
{
	uint64_t slot = slot_next(f, f->hint, f->slots, false);

	if (slot == f->slots)
		slot = slot_next(f, first_own(f), f->slots, false);
	return slot == f->slots ? NO_SLOT : slot;
}

static uint64_t now_ns(void)
{
	struct timespec t;

	sys_clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* Takes one more extent of the file. False: there is none, or the disk has just been full. */
static bool file_grow(struct file_store *f)
{
	if (f->retry > 0 || f->extents.nr == f->extents.total || now_ns() < f->again_ns)
		return false;
	if (extents_claim(&f->extents) != 0) {
		f->again_ns = now_ns() + AGAIN_NS;
		return false;
	}
	f->hint = f->slots;
	f->slots = claimed(f);
	return true;
}

static void slot_take(struct file_store *f, uint64_t slot)
{
	DEBUG_ASSERT(slot < f->slots && !slot_taken(f, slot));
	f->bitmap[slot / 64] |= (uint64_t)1 << slot % 64;
	f->used++;
	f->hint = slot + 1 < f->slots ? slot + 1 : first_own(f);
}

static void slot_release(struct file_store *f, uint64_t slot)
{
	ASSERT(slot < f->max_slots && slot_taken(f, slot));
	f->bitmap[slot / 64] &= ~((uint64_t)1 << slot % 64);
	f->used--;
}

/* The slot of an io between reserve and commit is kept in its scratch pointer, plus one: NULL is none. */
static void io_set_slot(struct store_io *io, uint64_t slot)
{
	io->scratch = (void *)(uintptr_t)(slot + 1);
}

static uint64_t io_slot(const struct store_io *io)
{
	return (uint64_t)(uintptr_t)io->scratch - 1;
}

/* Input and output. */

static ssize_t run_transfer(int fd, const struct store_io *io, unsigned n, uint64_t page, bool out)
{
	struct iovec iov[STORE_BATCH];
	ssize_t ret;

	for (unsigned i = 0; i < n; i++)
		iov[i] = (struct iovec){ io[i].page, PAGE_SIZE };
	do {
		ret = out ? sys_pwritev(fd, iov, (int)n, page * PAGE_SIZE) : sys_preadv(fd, iov, (int)n, page * PAGE_SIZE);
	} while (ret == -EINTR);
	return ret;
}

/* A write that twice took less than a page met a limit in the middle of it. */
static int write_error(ssize_t ret)
{
	return ret >= 0 || ret == -ENOSPC || ret == -EDQUOT || ret == -EFBIG ? -ENOSPC : -EIO;
}

/* Moves n pages to or from consecutive pages of the file; sets their err. Stops at -ENOSPC and returns it. */
static int run_io(struct file_store *f, struct store_io *io, unsigned n, uint64_t page, bool out)
{
	bool stalled = false;

	for (unsigned i = 0; i < n;) {
		ssize_t ret = run_transfer(f->fd, io + i, n - i, page + i, out);
		unsigned pages = ret > 0 ? (unsigned)((size_t)ret / PAGE_SIZE) : 0;

		for (unsigned k = 0; k < pages; k++)
			io[i++].err = 0;
		/* A part of a page is done again as a whole, once: the reason shows in the second try. */
		if (pages > 0 || (ret >= 0 && !stalled)) {
			stalled = pages == 0;
			continue;
		}
		stalled = false;
		io[i].err = out ? write_error(ret) : -EIO;
		if (io[i].err == -ENOSPC)
			return -ENOSPC;
		i++;
	}
	return 0;
}

static void drop_cached(struct file_store *f, uint64_t page, unsigned n)
{
	if (!f->direct)
		sys_fadvise(f->fd, page * PAGE_SIZE, n * PAGE_SIZE, POSIX_FADV_DONTNEED);
}

/* Says twice that a buffered range is not needed: now, which starts its writeback, and after the next write. */
static void write_behind(struct file_store *f, uint64_t page, unsigned n)
{
	if (f->direct)
		return;
	drop_cached(f, page, n);
	if (f->behind_bytes != 0)
		sys_fadvise(f->fd, f->behind, f->behind_bytes, POSIX_FADV_DONTNEED);
	f->behind = page * PAGE_SIZE;
	f->behind_bytes = n * PAGE_SIZE;
}

/* The contract. */

/* Nothing is taken. After the disk was full, for a while. */
static bool is_closed(struct file_store *f)
{
	if (f->full && now_ns() >= f->again_ns) {
		f->full = false;
		f->retry = 0;
		f->slots = claimed(f);
	}
	return f->full || f->closed;
}

static unsigned file_reserve(struct store *s, struct store_io *io, unsigned n)
{
	struct file_store *f = to_file(s);
	uint64_t run = NO_SLOT;
	unsigned got = 0;

	ASSERT(n <= STORE_BATCH);
	bool closed = is_closed(f);

	if (!closed && n > 1)
		run = run_find(f, n);
	if (!closed && run == NO_SLOT && n > 1 && file_grow(f))
		run = run_find(f, n);
	for (; got < n && !closed; got++) {
		uint64_t slot = run != NO_SLOT ? run + got : single_find(f);

		if (slot == NO_SLOT && file_grow(f))
			slot = single_find(f);
		if (slot == NO_SLOT)
			break;
		slot_take(f, slot);
		io_set_slot(&io[got], slot);
		io[got].err = 0;
		io[got].bytes = 0;
	}
	for (unsigned i = got; i < n; i++) {
		io[i].err = -ENOSPC;
		io[i].scratch = NULL;
	}
	return got;
}

static void file_write(struct store *s, struct store_io *io, unsigned n)
{
	struct file_store *f = to_file(s);
	int err = 0;

	for (unsigned i = 0, len; i < n; i += len) {
		uint64_t page = extents_page(&f->extents, io_slot(&io[i]));

		for (len = 1; i + len < n && extents_page(&f->extents, io_slot(&io[i + len])) == page + len; len++)
			;
		/* The disk was full a moment ago: what is left of the batch would only fail as well. */
		for (unsigned k = 0; k < len; k++)
			io[i + k].err = -ENOSPC;
		if (err == 0) {
			err = run_io(f, io + i, len, page, true);
			write_behind(f, page, len);
		}
		for (unsigned k = 0; k < len; k++)
			io[i + k].bytes = io[i + k].err == 0 ? (uint32_t)PAGE_SIZE : 0;
	}
}

static void file_commit(struct store *s, struct store_io *io)
{
	struct file_store *f = to_file(s);

	ASSERT(io->err == 0 && io->scratch != NULL);
	io->handle = io_slot(io);
	io->scratch = NULL;
	f->written = MAX(f->written, io->handle + 1);
	s->stat.pages++;
	s->stat.bytes += PAGE_SIZE;
}

static void file_abort(struct store *s, struct store_io *io)
{
	struct file_store *f = to_file(s);

	if (io->scratch == NULL)
		return;
	slot_release(f, io_slot(io));
	io->scratch = NULL;
	if (io->err == 0)
		return;
	__atomic_fetch_add(&s->stat.errors, 1, __ATOMIC_RELAXED);
	if (io->err == -ENOSPC) {
		f->full = true;
		f->retry = FILE_RETRY_FREES;
		f->again_ns = now_ns() + AGAIN_NS;
	}
}

static void file_read(struct store *s, struct store_io *io, unsigned n)
{
	struct file_store *f = to_file(s);

	for (unsigned i = 0, len; i < n; i += len) {
		uint64_t page = extents_page(&f->extents, io[i].handle);

		for (len = 1; i + len < n && extents_page(&f->extents, io[i + len].handle) == page + len; len++)
			;
		run_io(f, io + i, len, page, false);
		drop_cached(f, page, len);
		for (unsigned k = 0; k < len; k++) {
			if (io[i + k].err != 0)
				__atomic_fetch_add(&s->stat.errors, 1, __ATOMIC_RELAXED);
		}
	}
}

static void file_free(struct store *s, uint64_t handle)
{
	struct file_store *f = to_file(s);

	s->stat.pages--;
	s->stat.bytes -= PAGE_SIZE;
	if (f->shared || handle < first_own(f))
		return;
	slot_release(f, handle);
	if (f->full) {
		f->full = false;
		f->slots = MAX(f->written, first_own(f));
		f->hint = f->hint < f->slots ? f->hint : first_own(f);
	}
	if (f->retry > 0 && --f->retry == 0)
		f->slots = claimed(f);
}

static void file_destroy(struct store *s)
{
	struct file_store *f = to_file(s);

	ASSERT(f->used == 0);
	sys_close(f->fd);
	f->fd = -1;
}

static const struct store_ops file_ops = {
	.name = "file",
	.reserve = file_reserve,
	.write = file_write,
	.commit = file_commit,
	.abort = file_abort,
	.read = file_read,
	.free = file_free,
	.destroy = file_destroy,
	.read_locked = false,
};

int file_store_share(struct file_store *f)
{
	f->shared = true;
	return extents_share(&f->extents);
}

int file_store_inherit(struct file_store *f, int fd)
{
	f->fd = fd;
	f->closed = fd < 0;
	f->shared = f->full = false;
	f->used = 0;
	int err = extents_inherit(&f->extents, fd);

	f->slots = f->hint = claimed(f);
	f->retry = 0;
	return f->closed ? 0 : err;
}

bool file_store_unshare(struct file_store *f)
{
	uint64_t first = first_own(f) / 64;

	if (!f->shared || !extents_unshare(&f->extents))
		return false;
	if (f->written > first * 64)
		memset(f->bitmap + first, 0, (DIV_ROUND_UP(f->written, 64) - first) * sizeof(f->bitmap[0]));
	f->shared = false;
	f->used = 0;
	f->full = false;
	return true;
}

void file_store_keep(struct file_store *f, uint64_t handle)
{
	if (handle < first_own(f))
		return;
	ASSERT(handle < f->max_slots && !slot_taken(f, handle));
	f->bitmap[handle / 64] |= (uint64_t)1 << handle % 64;
	f->used++;
}

/* Whole extents, or a part of a single one. */
static uint64_t usable_slots(uint64_t max_bytes)
{
	uint64_t slots = max_bytes / PAGE_SIZE;

	return slots > EXTENT_SLOTS ? MIN(ALIGN_DOWN(slots, EXTENT_SLOTS), (uint64_t)UINT32_MAX) : slots;
}

static uint32_t extents_of(uint64_t max_bytes)
{
	return (uint32_t)DIV_ROUND_UP(usable_slots(max_bytes), EXTENT_SLOTS);
}

static size_t bitmap_bytes(uint64_t max_bytes)
{
	return DIV_ROUND_UP(usable_slots(max_bytes), 64) * sizeof(uint64_t);
}

size_t file_store_bytes(uint64_t max_bytes)
{
	return bitmap_bytes(max_bytes) + extents_bytes(extents_of(max_bytes));
}

int file_store_init(struct file_store *f, int fd, uint64_t first, uint64_t max_bytes, void *memory, size_t bytes)
{
	if (max_bytes < PAGE_SIZE || bytes < file_store_bytes(max_bytes))
		return -EINVAL;
	long flags = sys_fcntl(fd, F_GETFL, 0);

	if (flags < 0)
		return (int)flags;
	*f = (struct file_store){ .store.ops = &file_ops, .fd = fd, .direct = (flags & O_DIRECT) != 0,
				  .bitmap = memory, .max_slots = usable_slots(max_bytes) };
	extents_init(&f->extents, fd, first, extents_of(max_bytes), (uint8_t *)memory + bitmap_bytes(max_bytes));
	f->store.stat.capacity = f->max_slots;
	return 0;
}

void file_store_check(const struct file_store *f)
{
	uint64_t used = 0;

	extents_check(&f->extents);
	for (uint64_t i = DIV_ROUND_UP(first_own(f), 64); i < DIV_ROUND_UP(f->max_slots, 64); i++)
		used += (unsigned)__builtin_popcountll(f->bitmap[i]);
	ASSERT(used == f->used && (used >= f->store.stat.pages || f->extents.inherited > 0));
	ASSERT(f->max_slots % 64 == 0 || f->bitmap[f->max_slots / 64] >> f->max_slots % 64 == 0);
	ASSERT(f->written <= claimed(f) && f->slots <= claimed(f) && f->hint <= f->slots);
	ASSERT(f->store.stat.bytes == f->store.stat.pages * PAGE_SIZE);
}
