/*
 * What system calls do to memory and to files, read off their arguments and results.
 *
 * Only calls that have succeeded come here. Where in a file a read(2) reads is not among
 * its arguments, so the position of every open file is followed: as it was when the
 * program began (/proc/PID/fdinfo), moved by each call, set by lseek. What the buffers of
 * read and write touch counts as a touch by the program: the kernel faults on them as the program would.
 * Vectors are memory that we do not see: the file part of readv and writev is followed, their buffers are not.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cli/record/valgrind.h"

#define TRANSFER_MAX 0x7ffff000 /* bytes that one call moves at most (MAX_RW_COUNT) */

struct context {
	struct recording *r;
	struct tracee *t;
	const struct traced_call *c;
};

static void check(struct context *x, int err)
{
	if (x->r->err == 0)
		x->r->err = err;
}

static uint64_t page(uint64_t bytes)
{
	return bytes >> PAGE_SHIFT;
}

static uint64_t page_up(uint64_t bytes)
{
	return (bytes >> PAGE_SHIFT) + ((bytes & (PAGE_SIZE - 1)) != 0);
}

static uint8_t rights(uint64_t prot)
{
	return (uint8_t)((prot & PROT_READ ? TRACE_R : 0) | (prot & PROT_WRITE ? TRACE_W : 0) |
			 (prot & PROT_EXEC ? TRACE_X : 0));
}

/* Descriptors and other ints come printed as 32 bits without a sign. */
static int64_t number(uint64_t arg)
{
	return (int32_t)(uint32_t)arg;
}

static struct open_file *opened(struct context *x, unsigned arg)
{
	return fdtable_get(&x->t->fds, number(x->c->arg[arg]));
}

static void follow_mmap(struct context *x)
{
	const struct traced_call *c = x->c;
	struct area a = { .start = page(c->result), .end = page(c->result) + page_up(c->arg[1]), .flags = rights(c->arg[2]) };
	uint64_t flags = c->arg[3];
	const struct open_file *of = flags & MAP_ANONYMOUS ? NULL : opened(x, 4);

	if (a.end <= a.start)
		return;
	if ((flags & MAP_TYPE) != MAP_PRIVATE)
		a.flags |= TRACE_MAP_SHARED;
	if (flags & MAP_GROWSDOWN)
		a.flags |= TRACE_MAP_STACK;
	if (flags & MAP_LOCKED)
		a.flags |= TRACE_MAP_LOCKED;
	if (of != NULL) {
		a.file = of->file;
		a.pgoff = page(c->arg[5]);
		a.hidden = of->hidden;
	}
	tracee_map(x->r, x->t, &a);
}

static void follow_munmap(struct context *x)
{
	tracee_unmap(x->r, x->t, page(x->c->arg[0]), page_up(x->c->arg[0] + x->c->arg[1]));
}

static void follow_mprotect(struct context *x)
{
	tracee_protect(x->r, x->t, page(x->c->arg[0]), page_up(x->c->arg[0] + x->c->arg[1]), rights(x->c->arg[2]));
}

static void follow_mremap(struct context *x)
{
	const struct traced_call *c = x->c;
	uint64_t from = page(c->arg[0]), to = page(c->result), old = page_up(c->arg[1]), new = page_up(c->arg[2]);
	const struct area *first = areas_find(&x->t->areas, from);
	struct area a, before;

	if (first == NULL)
		return;
	before = *first;
	before.pgoff += before.file != 0 ? from - before.start : 0;
	before.start = from;
	before.end = from + old;
	a = before;
	if (old > new)
		tracee_unmap(x->r, x->t, from + new, from + old);
	if (from != to && MIN(old, new) > 0)
		tracee_move(x->r, x->t, from, to, MIN(old, new));
	if (new > old) {
		a.start = to + old;
		a.end = to + new;
		a.pgoff += a.file != 0 ? old : 0;
		tracee_map(x->r, x->t, &a);
	}
	if ((c->arg[3] & MREMAP_DONTUNMAP) && from != to)
		tracee_map(x->r, x->t, &before);
}

static void follow_brk(struct context *x)
{
	struct tracee *t = x->t;
	uint64_t old = page_up(t->brk), new = page_up(x->c->result);
	struct area a = { .start = old, .end = new, .flags = TRACE_R | TRACE_W | TRACE_MAP_HEAP };

	if (t->brk != 0 && new > old)
		tracee_map(x->r, t, &a);
	else if (t->brk != 0 && new < old)
		tracee_unmap(x->r, t, new, old);
	t->brk = x->c->result;
}

static void follow_madvise(struct context *x)
{
	if (x->c->arg[2] == MADV_DONTNEED || x->c->arg[2] == MADV_FREE)
		tracee_drop(x->r, x->t, page(x->c->arg[0]), page_up(x->c->arg[0] + x->c->arg[1]));
}

static void follow_shmat(struct context *x)
{
	valgrind_discover(x->r, x->t, page(x->c->result));
}

static void follow_shmdt(struct context *x)
{
	const struct area *a = areas_find(&x->t->areas, page(x->c->arg[0]));

	if (a != NULL)
		tracee_unmap(x->r, x->t, a->start, a->end);
}

/* The file behind a descriptor that the call has opened; path as the program gave it, dir to begin at. */
static int find_file(struct context *x, int64_t dir, struct stat *st, char *name, size_t size)
{
	const char *path = x->c->path;
	char link[4096];
	ssize_t n;

	if (x->t->pid == 0)
		return -1;
	if (path != NULL && path[0] == '/')
		snprintf(name, size, "%s", path);
	else if (path != NULL && path[0] != '\0' && dir == AT_FDCWD)
		snprintf(name, size, "/proc/%d/cwd/%s", x->t->pid, path);
	else if (path != NULL && path[0] != '\0')
		snprintf(name, size, "/proc/%d/fd/%d/%s", x->t->pid, (int)dir, path);
	else
		name[0] = '\0';
	if (name[0] == '\0' || stat(name, st) != 0) {
		snprintf(name, size, "/proc/%d/fd/%d", x->t->pid, (int)x->c->result);
		if (stat(name, st) != 0)
			return -1;
	}
	if (path == NULL && (n = readlink(name, link, sizeof(link) - 1)) > 0)
		snprintf(name, size, "%.*s", (int)n, link);
	else if (path != NULL)
		snprintf(name, size, "%s", path);
	return 0;
}

static void open_path(struct context *x, int64_t dir, uint64_t flags)
{
	int64_t fd = number(x->c->result);
	struct open_file of = { .append = (flags & O_APPEND) != 0 };
	char name[4200];
	struct stat st;

	fdtable_close(&x->t->fds, fd, fd);
	if (find_file(x, dir, &st, name, sizeof(name)) != 0)
		return;
	/* It may have been written to since. */
	if ((flags & O_TRUNC) && (flags & O_ACCMODE) != O_RDONLY)
		st.st_size = 0;
	of.hidden = valgrind_hides(name);
	of.file = of.hidden ? UINT32_MAX : recording_file(x->r, &st, name);
	if (of.file != 0)
		check(x, fdtable_open(&x->t->fds, fd, &of, (flags & O_CLOEXEC) != 0));
}

static void follow_open(struct context *x)
{
	open_path(x, AT_FDCWD, x->c->arg[1]);
}

static void follow_openat(struct context *x)
{
	open_path(x, number(x->c->arg[0]), x->c->nr == SYS_openat ? x->c->arg[2] : 0);
}

static void follow_creat(struct context *x)
{
	open_path(x, AT_FDCWD, O_WRONLY | O_TRUNC);
}

static void follow_memfd(struct context *x)
{
	open_path(x, AT_FDCWD, x->c->arg[1] & 1 ? O_CLOEXEC : 0);
}

static void follow_close(struct context *x)
{
	fdtable_close(&x->t->fds, number(x->c->arg[0]), number(x->c->arg[0]));
}

static void follow_close_range(struct context *x)
{
	if (x->c->arg[2] == 0)
		fdtable_close(&x->t->fds, (int64_t)x->c->arg[0], (int64_t)x->c->arg[1]);
}

static void follow_dup(struct context *x)
{
	bool cloexec = x->c->nr == SYS_dup3 && (x->c->arg[2] & O_CLOEXEC);

	check(x, fdtable_dup(&x->t->fds, number(x->c->arg[0]), number(x->c->result), cloexec));
}

static void follow_fcntl(struct context *x)
{
	int64_t fd = number(x->c->arg[0]);

	if (x->c->arg[1] == F_DUPFD || x->c->arg[1] == F_DUPFD_CLOEXEC)
		check(x, fdtable_dup(&x->t->fds, fd, number(x->c->result), x->c->arg[1] == F_DUPFD_CLOEXEC));
	else if (x->c->arg[1] == F_SETFD && opened(x, 0) != NULL)
		x->t->fds.fd[fd].cloexec = x->c->arg[2] & FD_CLOEXEC;
}

static void follow_lseek(struct context *x)
{
	struct open_file *of = opened(x, 0);

	if (of != NULL)
		of->pos = x->c->result;
}

/* done bytes of a file at *pos, which moves on. */
static void transfer(struct context *x, struct open_file *of, uint64_t *pos, uint64_t done, bool write)
{
	struct trace_event e = { .op = write ? TRACE_WRITE : TRACE_READ, .task = x->t->task, .thread = x->c->thread };
	uint64_t end;

	if (of == NULL || of->hidden || done == 0 || done > TRANSFER_MAX)
		return;
	if (write && of->append)
		*pos = x->r->file[of->file - 1].bytes;
	if (__builtin_add_overflow(*pos, done, &end))
		return;
	if (write)
		recording_extend(x->r, of->file, end);
	e.file = of->file;
	e.pgoff = page(*pos);
	e.n = page_up(end) - e.pgoff;
	*pos = end;
	recording_emit(x->r, &e);
}

static bool writes(long nr)
{
	return nr == SYS_write || nr == SYS_pwrite64 || nr == SYS_writev || nr == SYS_pwritev || nr == SYS_pwritev2;
}

static void touch_buffer(struct context *x)
{
	uint8_t flags = writes(x->c->nr) ? TRACE_R : TRACE_W;

	if (x->c->result <= TRANSFER_MAX)
		valgrind_touch(x->r, x->t, x->c->thread, flags, x->c->arg[1], x->c->result);
}

static void follow_io(struct context *x)
{
	struct open_file *of = opened(x, 0);

	if (of != NULL)
		transfer(x, of, &of->pos, x->c->result, writes(x->c->nr));
	if (x->c->nr == SYS_read || x->c->nr == SYS_write)
		touch_buffer(x);
}

static void follow_pio(struct context *x)
{
	uint64_t pos = x->c->arg[3];

	transfer(x, opened(x, 0), &pos, x->c->result, writes(x->c->nr));
	if (x->c->nr == SYS_pread64 || x->c->nr == SYS_pwrite64)
		touch_buffer(x);
}

/* One side of a copy inside the kernel; a position in memory we do not see. */
static void copy_side(struct context *x, unsigned fd, unsigned pos, bool write)
{
	struct open_file *of = opened(x, fd);

	if (of != NULL && x->c->arg[pos] == 0)
		transfer(x, of, &of->pos, x->c->result, write);
}

static void follow_sendfile(struct context *x)
{
	struct open_file *out = opened(x, 0);

	copy_side(x, 1, 2, false);
	if (out != NULL)
		transfer(x, out, &out->pos, x->c->result, true);
}

static void follow_copy_file_range(struct context *x)
{
	copy_side(x, 0, 1, false);
	copy_side(x, 2, 3, true);
}

static void follow_ftruncate(struct context *x)
{
	struct open_file *of = opened(x, 0);

	if (of != NULL && !of->hidden)
		recording_resize(x->r, of->file, x->c->arg[1]);
}

static void emit_fsync(struct context *x, uint32_t file)
{
	struct trace_event e = { .op = TRACE_FSYNC, .task = x->t->task, .thread = x->c->thread, .file = file };

	recording_emit(x->r, &e);
}

static void follow_fsync(struct context *x)
{
	struct open_file *of = opened(x, 0);

	if (of != NULL && !of->hidden)
		emit_fsync(x, of->file);
}

static void follow_msync(struct context *x)
{
	const struct areas *s = &x->t->areas;
	uint64_t end = page_up(x->c->arg[0] + x->c->arg[1]);

	for (size_t i = areas_from(s, page(x->c->arg[0])); i < s->nr && s->area[i].start < end; i++) {
		const struct area *a = &s->area[i];

		if (a->file != 0 && !a->hidden && (a->flags & TRACE_MAP_SHARED) && (x->c->arg[2] & MS_SYNC))
			emit_fsync(x, a->file);
	}
}

static const struct {
	long nr;
	unsigned args; /* that it must have */
	void (*follow)(struct context *x);
} calls[] = {
	{ SYS_mmap, 6, follow_mmap },
	{ SYS_munmap, 2, follow_munmap },
	{ SYS_mprotect, 3, follow_mprotect },
	{ SYS_pkey_mprotect, 3, follow_mprotect },
	{ SYS_mremap, 4, follow_mremap },
	{ SYS_brk, 1, follow_brk },
	{ SYS_madvise, 3, follow_madvise },
	{ SYS_shmat, 1, follow_shmat },
	{ SYS_shmdt, 1, follow_shmdt },
	{ SYS_msync, 3, follow_msync },
	{ SYS_open, 2, follow_open },
	{ SYS_openat, 3, follow_openat },
	{ SYS_openat2, 2, follow_openat },
	{ SYS_creat, 1, follow_creat },
	{ SYS_memfd_create, 2, follow_memfd },
	{ SYS_close, 1, follow_close },
	{ SYS_close_range, 3, follow_close_range },
	{ SYS_dup, 1, follow_dup },
	{ SYS_dup2, 2, follow_dup },
	{ SYS_dup3, 3, follow_dup },
	{ SYS_fcntl, 2, follow_fcntl },
	{ SYS_lseek, 1, follow_lseek },
	{ SYS_read, 3, follow_io },
	{ SYS_write, 3, follow_io },
	{ SYS_readv, 1, follow_io },
	{ SYS_writev, 1, follow_io },
	{ SYS_pread64, 4, follow_pio },
	{ SYS_pwrite64, 4, follow_pio },
	{ SYS_preadv, 4, follow_pio },
	{ SYS_pwritev, 4, follow_pio },
	{ SYS_preadv2, 4, follow_pio },
	{ SYS_pwritev2, 4, follow_pio },
	{ SYS_sendfile, 4, follow_sendfile },
	{ SYS_copy_file_range, 5, follow_copy_file_range },
	{ SYS_ftruncate, 2, follow_ftruncate },
	{ SYS_fsync, 1, follow_fsync },
	{ SYS_fdatasync, 1, follow_fsync },
};

void valgrind_call(struct recording *r, struct tracee *t, const struct traced_call *c)
{
	struct context x = { r, t, c };

	for (unsigned i = 0; i < ARRAY_SIZE(calls); i++) {
		if (calls[i].nr == c->nr && c->nr_args >= calls[i].args)
			calls[i].follow(&x);
	}
}
