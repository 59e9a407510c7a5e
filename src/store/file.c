/*
 * file: slots of one page in a file (the model is Linux's mm/swapfile.c and
 * mm/page_io.c).
 *
 * A batch gets consecutive slots where it can, so that it goes out, and later
 * comes in again by read-ahead, in one system call. The search is next-fit: it
 * goes on where the last one ended, which writes a young file from front to
 * back. When a bounded look finds no run that holds the whole batch (swapfile.c
 * gives up its clusters in the same way), single free slots are taken.
 *
 * O_DIRECT keeps the kernel from holding a second copy of every page, which
 * would count against the program's cgroup. Where the file system refuses it,
 * writes go through the page cache: POSIX_FADV_DONTNEED starts their writeback,
 * and drops them when it is said again, after the next write.
 *
 * Disk full. A failed write marks the store full, and reserve then refuses at
 * once: callers need not pay for a hopeless write. A free clears the mark, but
 * only slots that held a page before, whose blocks the disk has already given,
 * are taken, until FILE_RETRY_FREES frees have passed and the file may try to
 * grow again. On copy-on-write file systems even an old slot may fail: then the
 * mark is simply set again.
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
#include <limits.h>
#include <string.h>
#include <sys/file.h>

#include "base/assert.h"
#include "base/fmt.h"
#include "base/rand.h"
#include "base/sys.h"

#define NO_SLOT UINT64_MAX
#define RUN_LOOKS 64 /* free runs that are looked at before the batch is torn */
#define NAME_TRIES 16

static struct file_store *to_file(struct store *s)
{
	return container_of(s, struct file_store, store);
}

/* Opening. */

static int open_named(const char *dir)
{
	char path[PATH_MAX];
	struct timespec now;
	struct rand random;
	struct fmt f;
	int fd = -EEXIST;

	sys_clock_gettime(CLOCK_REALTIME, &now);
	rand_seed(&random, (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec + ((uint64_t)sys_getpid() << 40));
	for (int i = 0; i < NAME_TRIES && fd == -EEXIST; i++) {
		fmt_init(&f, path, sizeof(path));
		fmt_str(&f, dir);
		fmt_str(&f, "/.steward-");
		fmt_hex(&f, rand_u64(&random));
		if (f.len + 1 == f.size)
			return -ENAMETOOLONG;
		fd = sys_open(path, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC | O_NOFOLLOW, 0600);
	}
	if (fd < 0)
		return fd;
	int err = sys_unlink(path);

	if (err != 0) {
		sys_close(fd);
		return err;
	}
	return fd;
}

/* Some file systems take the flag and refuse the I/O: a page written and read decides. */
static bool direct_works(int fd)
{
	uint8_t page[PAGE_SIZE] __attribute__((aligned(PAGE_SIZE)));

	memset(page, 0, sizeof(page));
	ssize_t n = sys_pwrite(fd, page, sizeof(page), 0);

	if (n == (ssize_t)sizeof(page))
		n = sys_pread(fd, page, sizeof(page), 0);
	sys_ftruncate(fd, 0);
	return n != -EINVAL && n != -EOPNOTSUPP;
}

int file_store_open(const char *dir)
{
	int fd = sys_open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	/* What kernels and file systems without O_TMPFILE say. */
	if (fd == -EOPNOTSUPP || fd == -EISDIR || fd == -EINVAL)
		fd = open_named(dir);
	if (fd < 0)
		return fd;
	if (sys_fcntl(fd, F_SETFL, O_DIRECT) == 0 && !direct_works(fd))
		sys_fcntl(fd, F_SETFL, 0);
	return fd;
}

/* The bitmap. */

static bool slot_taken(const struct file_store *f, uint64_t slot)
{
	return f->bitmap[slot / 64] >> slot % 64 & 1;
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
		from = 0;
	}
	return NO_SLOT;
}

static uint64_t single_find(const struct file_store *f)
{
	uint64_t slot = slot_next(f, f->hint, f->slots, false);

	if (slot == f->slots)
		slot = slot_next(f, 0, f->slots, false);
	return slot == f->slots ? NO_SLOT : slot;
}

static void slot_take(struct file_store *f, uint64_t slot)
{
	DEBUG_ASSERT(slot < f->slots && !slot_taken(f, slot));
	f->bitmap[slot / 64] |= (uint64_t)1 << slot % 64;
	f->used++;
	f->hint = slot + 1 < f->slots ? slot + 1 : 0;
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

static ssize_t run_transfer(int fd, const struct store_io *io, unsigned n, uint64_t slot, bool out)
{
	struct iovec iov[STORE_BATCH];
	ssize_t ret;

	for (unsigned i = 0; i < n; i++)
		iov[i] = (struct iovec){ io[i].page, PAGE_SIZE };
	do {
		ret = out ? sys_pwritev(fd, iov, (int)n, slot * PAGE_SIZE) : sys_preadv(fd, iov, (int)n, slot * PAGE_SIZE);
	} while (ret == -EINTR);
	return ret;
}

/* A write that twice took less than a page met a limit in the middle of it. */
static int write_error(ssize_t ret)
{
	return ret >= 0 || ret == -ENOSPC || ret == -EDQUOT || ret == -EFBIG ? -ENOSPC : -EIO;
}

/* Moves n pages to or from consecutive slots; sets their err. Stops at -ENOSPC and returns it. */
static int run_io(struct file_store *f, struct store_io *io, unsigned n, uint64_t slot, bool out)
{
	bool stalled = false;

	for (unsigned i = 0; i < n;) {
		ssize_t ret = run_transfer(f->fd, io + i, n - i, slot + i, out);
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

static void drop_cached(struct file_store *f, uint64_t slot, unsigned n)
{
	if (!f->direct)
		sys_fadvise(f->fd, slot * PAGE_SIZE, n * PAGE_SIZE, POSIX_FADV_DONTNEED);
}

/* Says twice that a buffered range is not needed: now, which starts its writeback, and after the next write. */
static void write_behind(struct file_store *f, uint64_t slot, unsigned n)
{
	if (f->direct)
		return;
	drop_cached(f, slot, n);
	if (f->behind_bytes != 0)
		sys_fadvise(f->fd, f->behind, f->behind_bytes, POSIX_FADV_DONTNEED);
	f->behind = slot * PAGE_SIZE;
	f->behind_bytes = n * PAGE_SIZE;
}

/* The contract. */

static unsigned file_reserve(struct store *s, struct store_io *io, unsigned n)
{
	struct file_store *f = to_file(s);
	uint64_t run = NO_SLOT;
	unsigned got = 0;

	ASSERT(n <= STORE_BATCH);
	bool closed = f->full || f->retired;

	if (!closed && n > 1)
		run = run_find(f, n);
	for (; got < n && !closed; got++) {
		uint64_t slot = run != NO_SLOT ? run + got : single_find(f);

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
		uint64_t slot = io_slot(&io[i]);

		for (len = 1; i + len < n && io_slot(&io[i + len]) == slot + len; len++)
			;
		/* The disk was full a moment ago: what is left of the batch would only fail as well. */
		for (unsigned k = 0; k < len; k++)
			io[i + k].err = -ENOSPC;
		if (err == 0) {
			err = run_io(f, io + i, len, slot, true);
			write_behind(f, slot, len);
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
	}
}

static void file_read(struct store *s, struct store_io *io, unsigned n)
{
	struct file_store *f = to_file(s);

	for (unsigned i = 0, len; i < n; i += len) {
		for (len = 1; i + len < n && io[i + len].handle == io[i].handle + len; len++)
			;
		run_io(f, io + i, len, io[i].handle, false);
		drop_cached(f, io[i].handle, len);
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
	if (f->shared || f->retired)
		return;
	slot_release(f, handle);
	if (f->full) {
		f->full = false;
		f->slots = f->written;
		f->hint = f->hint < f->slots ? f->hint : 0;
	}
	if (f->retry > 0 && --f->retry == 0)
		f->slots = f->max_slots;
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

void file_store_share(struct file_store *f)
{
	f->shared = true;
}

void file_store_retire(struct file_store *f, int fd)
{
	f->fd = fd;
	f->retired = true;
	/* Held by this opening of the file, so it ends with this process image, however that ends. */
	sys_call3(SYS_flock, fd, LOCK_SH, 0);
}

bool file_store_is_shared(const struct file_store *f)
{
	if (sys_call3(SYS_flock, f->fd, LOCK_EX | LOCK_NB, 0) != 0)
		return true;
	sys_call3(SYS_flock, f->fd, LOCK_UN, 0);
	return false;
}

void file_store_unshare(struct file_store *f)
{
	memset(f->bitmap, 0, DIV_ROUND_UP(MIN(f->written, f->max_slots), 64) * sizeof(f->bitmap[0]));
	f->shared = false;
	f->used = 0;
	f->full = false;
}

void file_store_keep(struct file_store *f, uint64_t handle)
{
	ASSERT(handle < f->max_slots && !slot_taken(f, handle));
	f->bitmap[handle / 64] |= (uint64_t)1 << handle % 64;
	f->used++;
}

size_t file_store_bitmap_bytes(uint64_t max_bytes)
{
	return DIV_ROUND_UP(max_bytes / PAGE_SIZE, 64) * sizeof(uint64_t);
}

int file_store_init(struct file_store *f, int fd, uint64_t max_bytes, uint64_t *bitmap, size_t bitmap_bytes)
{
	if (max_bytes < PAGE_SIZE || bitmap_bytes < file_store_bitmap_bytes(max_bytes))
		return -EINVAL;
	long flags = sys_fcntl(fd, F_GETFL, 0);

	if (flags < 0)
		return (int)flags;
	*f = (struct file_store){ .store.ops = &file_ops, .fd = fd, .direct = (flags & O_DIRECT) != 0,
				  .bitmap = bitmap, .max_slots = max_bytes / PAGE_SIZE };
	f->slots = f->max_slots;
	f->store.stat.capacity = f->max_slots;
	return 0;
}

void file_store_check(const struct file_store *f)
{
	uint64_t used = 0;

	for (uint64_t i = 0; i < DIV_ROUND_UP(f->max_slots, 64); i++)
		used += (unsigned)__builtin_popcountll(f->bitmap[i]);
	ASSERT(used == f->used && used >= f->store.stat.pages);
	ASSERT(f->max_slots % 64 == 0 || f->bitmap[f->max_slots / 64] >> f->max_slots % 64 == 0);
	ASSERT(f->written <= f->max_slots && f->slots <= f->max_slots);
	ASSERT(f->hint < f->max_slots || f->max_slots == 0);
	ASSERT(f->store.stat.bytes == f->store.stat.pages * PAGE_SIZE);
}
