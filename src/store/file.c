/*
 * file: slots of one page in a file or on a device (Linux: mm/page_io.c).
 *
 * O_DIRECT keeps the kernel from holding a second copy of every page, which
 * would count against the program's cgroup. Where the file system refuses it,
 * writes go through the page cache: POSIX_FADV_DONTNEED starts their writeback,
 * and drops them when it is said again, after the next write.
 *
 * Errors. Of a run that fails, pages before the failing one are good; -ENOSPC
 * (also quota and file size limits) fails all that follow in the batch, any
 * other error is -EIO for that page alone and the rest is tried.
 *
 * Reads. The runs of a batch go out together (uring.c), so that a batch whose pages
 * lie scattered takes hardly longer than one page: this disk does one read of
 * 4 KiB in 100 µs, and 16 in 250. Whatever comes back short or failed is read
 * again by slots_read, which finds out why.
 *
 * Cost: one system call for a run that is written, one for a batch that is read.
 */
#include "store/file.h"

#include <errno.h>

#include "base/assert.h"
#include "base/sys.h"
#include "store/seal.h"

static struct file_store *to_file(struct slots *s)
{
	return container_of(s, struct file_store, slots);
}

/* Locks of the open file description on an extent's range of bytes. 0, -EAGAIN: another process has it. */
static int lock_extent(void *ctx, uint32_t extent, bool exclusive)
{
	const struct file_store *f = ctx;
	struct flock lock = {
		.l_type = exclusive ? F_WRLCK : F_RDLCK,
		.l_whence = SEEK_SET,
		.l_start = (off_t)((f->slots.first + (uint64_t)extent * EXTENT_SLOTS) * PAGE_SIZE),
		.l_len = (off_t)(EXTENT_SLOTS * PAGE_SIZE),
	};
	long err = sys_fcntl(f->fd, F_OFD_SETLK, (long)&lock);

	return err == -EACCES ? -EAGAIN : (int)err;
}

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

/* Sets the err of each page, up to the first -ENOSPC. */
static void run_io(struct file_store *f, struct store_io *io, unsigned n, uint64_t page, bool out)
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
			return;
		i++;
	}
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

static void file_run(struct slots *s, struct store_io *io, unsigned n, uint64_t page, bool out)
{
	struct file_store *f = to_file(s);

	run_io(f, io, n, page, out);
	if (out)
		write_behind(f, page, n);
	else
		drop_cached(f, page, n);
}

static unsigned file_read_begin(struct store *store, struct store_io *io, unsigned n, uint32_t *left)
{
	struct file_store *f = to_file(container_of(store, struct slots, store));
	struct iovec iov[STORE_BATCH];
	unsigned begun = 0;

	for (unsigned i = 0, len; i < n; i += len) {
		len = slots_run(&f->slots, io + i, n - i, false);
		for (unsigned k = i; k < i + len; k++)
			iov[k] = (struct iovec){ io[k].page, PAGE_SIZE };
		io[i].bytes = len;
		io[i].scratch = left;
		if (!uring_read(&f->reads, f->fd, iov + i, len, slots_page(&f->slots, io[i].handle) * PAGE_SIZE, &io[i]))
			break;
	}
	for (unsigned runs = uring_submit(&f->reads); runs > 0; runs--)
		begun += io[begun].bytes;
	*left += begun;
	return begun;
}

/* A run has been read: `result` bytes of it, or -errno. */
static void run_read(struct file_store *f, struct store_io *io, int result)
{
	unsigned n = io->bytes, good = result > 0 ? (unsigned)result / (unsigned)PAGE_SIZE : 0;
	uint32_t *left = io->scratch;

	for (unsigned i = 0; i < n; i++)
		io[i].err = i < good ? 0 : -EIO;
	if (good < n)
		__atomic_fetch_add(&f->slots.store.stat.errors, n - good, __ATOMIC_RELAXED);
	drop_cached(f, slots_page(&f->slots, io->handle), n);
	if (f->slots.seal != NULL)
		seal_open(f->slots.seal, io, n);
	*left -= n;
}

static void file_read_poll(struct store *store, bool wait)
{
	struct file_store *f = to_file(container_of(store, struct slots, store));
	void *io;
	int result;

	for (; uring_done(&f->reads, wait, &io, &result); wait = false)
		run_read(f, io, result);
}

static void file_destroy(struct store *store)
{
	struct file_store *f = to_file(container_of(store, struct slots, store));

	ASSERT(f->slots.used == 0);
	uring_close(&f->reads);
	sys_close(f->fd);
	f->fd = -1;
}

static const struct store_ops file_ops = {
	.name = "file",
	.reserve = slots_reserve,
	.write = slots_write,
	.commit = slots_commit,
	.abort = slots_abort,
	.read = slots_read,
	.read_begin = file_read_begin,
	.read_poll = file_read_poll,
	.free = slots_free,
	.destroy = file_destroy,
	.read_locked = false,
};

int file_store_init(struct file_store *f, int fd, uint64_t first, uint64_t max_bytes, void *memory, size_t bytes)
{
	long flags = sys_fcntl(fd, F_GETFL, 0);

	if (flags < 0)
		return (int)flags;
	*f = (struct file_store){ .fd = fd, .direct = (flags & O_DIRECT) != 0 };
	int err = slots_init(&f->slots, &file_ops, first, max_bytes, memory, bytes);

	f->slots.run = file_run;
	f->slots.extents.lock = lock_extent;
	f->slots.extents.ctx = f;
	return err;
}

int file_store_inherit(struct file_store *f, int fd)
{
	f->fd = fd;
	uring_forget(&f->reads);
	return slots_inherit(&f->slots, fd >= 0);
}
