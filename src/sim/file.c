/*
 * Files of the modelled disk.
 *
 *      trace's number ──► sim_file ──► vm_file: page cache, areas that map it
 *                            │
 *                            └───────► disk: its bytes, page by page (content mode only)
 *
 * The page cache asks for the bytes of a page as it comes in (file_fill) and gives them back when it is written
 * (file_write); nothing else touches the disk, so that what a program reads has been through the cache. A page that was
 * never written is zeros there and takes nothing.
 *
 * Shared anonymous memory (mmap with MAP_SHARED and no file) is a file as well, as in Linux, but one without a name
 * or a disk: swap is behind it (mm/shmem.c). It lives as long as an area maps it, in whatever process; nobody is told
 * when the last one goes, so after each event that can end areas those without any are swept away.
 */
#include "sim/engine.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "mm/shmem.h"

struct sim_file *sim_file(struct sim *s, uint32_t number)
{
	return number < s->nr_files ? s->file[number] : NULL;
}

static struct sim_file *make_file(struct sim *s, uint64_t pages)
{
	struct sim_file *f = calloc(1, sizeof(*f));

	if (f == NULL)
		return NULL;
	vm_file_init(&f->vm, &s->m.pagecache, pages);
	filera_init(&f->vm.ra, s->config.readahead_kb / 4, 0);
	f->vm.name = f->name;
	f->vm.engine = s;
	return f;
}

void sim_file_dirtied(struct vm_file *vm)
{
	const struct sim *s = vm->engine;

	((struct sim_file *)vm)->dirty_since = *s->clock;
}

static int new_file(struct sim *s, uint32_t number, uint64_t pages, const char *name)
{
	int err = sim_grow((void ***)&s->file, &s->nr_files, number);
	struct sim_file *f = err == 0 ? make_file(s, pages) : NULL;

	if (f == NULL)
		return -ENOMEM;
	/* Whoever read it before pays for what it had then. */
	f->vm.pages_elsewhere = s->config.limit_files ? 0 : pages;
	f->number = f->vm.id = number;
	snprintf(f->name, sizeof(f->name), "%s", name != NULL ? name : "");
	s->file[number] = f;
	return 0;
}

/* What lay behind the end is gone: if the file grows again, it has zeros there. */
static void cut_disk(struct sim_file *f, uint64_t pages)
{
	for (uint64_t i = pages; i < f->nr_disk; i++) {
		free(f->disk[i]);
		f->disk[i] = NULL;
	}
}

static void resize(struct sim *s, struct sim_file *f, uint64_t pages)
{
	file_resize(&s->m, &f->vm, pages);
	cut_disk(f, pages);
}

int sim_file_event(struct sim *s, const struct trace_event *e)
{
	struct sim_file *f = sim_file(s, e->file);

	if (f == NULL)
		return new_file(s, e->file, e->n, e->text);
	resize(s, f, e->n);
	return 0;
}

static void free_file(struct sim *s, struct sim_file *f)
{
	if (f->vm.swap_backed)
		shmem_truncate(&s->m, &f->vm);
	else
		resize(s, f, 0);
	vm_file_destroy(&f->vm);
	free(f->disk);
	free(f);
}

void sim_file_free_all(struct sim *s)
{
	sim_shm_sweep(s);
	for (uint32_t i = 0; i < s->nr_files; i++)
		if (s->file[i] != NULL)
			free_file(s, s->file[i]);
	free(s->file);
}

/*
 * Shared anonymous memory
 */

struct sim_file *sim_shm_make(struct sim *s, uint64_t pages)
{
	struct sim_file *f = make_file(s, pages);

	if (f == NULL)
		return NULL;
	f->vm.swap_backed = f->held = true;
	f->next_shm = s->shm;
	s->shm = f;
	return f;
}

void sim_shm_sweep(struct sim *s)
{
	struct sim_file **at = &s->shm;

	while (*at != NULL) {
		struct sim_file *f = *at;

		if (f->vm.rmap.nr > 0 || f->held) {
			at = &f->next_shm;
			continue;
		}
		*at = f->next_shm;
		free_file(s, f);
	}
}

/*
 * The disk
 */

uint8_t *sim_file_disk(struct sim *s, struct sim_file *f, uint64_t pgoff)
{
	uint64_t want = MAX(f->nr_disk, f->vm.size_pages);

	if (!s->config.content || pgoff >= f->vm.size_pages)
		return NULL;
	if (want > f->nr_disk) {
		uint8_t **more = realloc(f->disk, want * sizeof(*more));

		if (more == NULL)
			return NULL;
		memset(more + f->nr_disk, 0, (want - f->nr_disk) * sizeof(*more));
		f->disk = more;
		f->nr_disk = want;
	}
	if (f->disk[pgoff] == NULL)
		f->disk[pgoff] = calloc(1, PAGE_SIZE);
	return f->disk[pgoff];
}

void sim_file_fill(struct sim *s, struct frame *frame)
{
	const struct sim_file *f = (const struct sim_file *)frame->cache.file;
	uint64_t at = frame->cache.pgoff;
	uint8_t *home = frame_home(&s->m.phys, frame);

	if (at < f->nr_disk && f->disk[at] != NULL)
		memcpy(home, f->disk[at], PAGE_SIZE);
	else
		memset(home, 0, PAGE_SIZE);
}

void sim_file_write_back(struct sim *s, struct sim_file *f, uint64_t pgoff, unsigned n)
{
	for (uint64_t at = pgoff; at < pgoff + n; at++) {
		const struct frame *frame = pagecache_get(&f->vm, at);
		uint8_t *page = sim_file_disk(s, f, at);

		ASSERT(frame != NULL && page != NULL);
		memcpy(page, frame_home(&s->m.phys, frame), PAGE_SIZE);
	}
}

/*
 * read(2), write(2), fsync(2)
 */

/* Bytes between the caller and pages that are in the cache just now. */
static void copy_pages(struct sim *s, struct sim_file *f, uint64_t at, uint64_t n, bool write, uint8_t *buf)
{
	for (uint64_t i = 0; i < n; i++) {
		uint8_t *home = frame_home(&s->m.phys, pagecache_get(&f->vm, at + i));

		memcpy(write ? home : buf + i * PAGE_SIZE, write ? buf + i * PAGE_SIZE : home, PAGE_SIZE);
	}
}

/* Pages beyond the end are new ones, or not there. buf NULL: only the touches count. */
static long transfer(struct sim *s, struct sim_task *t, struct sim_file *f, uint64_t pgoff, uint64_t n, bool write,
		     uint8_t *buf)
{
	uint64_t at = pgoff, end = pgoff + n, done;
	unsigned tries = 0;

	if (write && end > f->vm.size_pages)
		file_resize(&s->m, &f->vm, end);
	end = MIN(end, f->vm.size_pages);
	while (at < end) {
		enum fault_result r = file_access(&s->m, &f->vm, at, end - at, write, &done);

		if (buf != NULL)
			copy_pages(s, f, at, done, write, buf + ((at - pgoff) << PAGE_SHIFT));
		at += done;
		if (r == FAULT_NOMEM && !sim_make_room(s, t, &tries))
			return -ESRCH;
		sim_note_use(s);
		sim_background(s, *s->clock);
	}
	return at > pgoff ? (long)(at - pgoff) : 0;
}

int sim_file_io_event(struct sim *s, struct sim_task *t, const struct trace_event *e, const char **error)
{
	struct sim_file *f = sim_file(s, e->file);

	if (f == NULL) {
		*error = "a file that was not announced";
		return -EINVAL;
	}
	if (e->op != TRACE_FSYNC)
		transfer(s, t, f, e->pgoff, e->n, e->op == TRACE_WRITE, NULL);
	else if (file_flush(&s->m, &f->vm, UINT32_MAX) > 0)
		*s->clock = MAX(*s->clock, s->disk.wire_free + s->disk.write_ns);
	return 0;
}

long sim_pread(struct sim *s, struct sim_task *t, unsigned thread, struct sim_file *f, uint64_t pgoff, void *buf,
	       uint64_t n)
{
	sim_on_cpu(s, sim_cpu_of(s, t, thread));
	return transfer(s, t, f, pgoff, n, false, buf);
}

long sim_pwrite(struct sim *s, struct sim_task *t, unsigned thread, struct sim_file *f, uint64_t pgoff, const void *buf,
		uint64_t n)
{
	sim_on_cpu(s, sim_cpu_of(s, t, thread));
	return transfer(s, t, f, pgoff, n, true, (uint8_t *)buf);
}
