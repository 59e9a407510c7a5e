#include "cli/record/tracee.h"

#include <string.h>
#include <sys/sysmacros.h>

static void check(struct recording *r, int err)
{
	if (r->err == 0)
		r->err = err;
}

static void changed(struct tracee *t)
{
	memset(t->last, 0, sizeof(t->last));
}

static void emit_range(struct recording *r, const struct tracee *t, uint8_t op, uint64_t start, uint64_t end,
		       uint8_t flags)
{
	struct trace_event e = { .op = op, .task = t->task, .thread = t->thread, .vpn = start, .n = end - start, .flags = flags };

	recording_emit(r, &e);
}

/* One event for each part of [start, end) that has nothing hidden in it. */
static void emit_visible(struct recording *r, const struct tracee *t, uint8_t op, uint64_t start, uint64_t end,
			 uint8_t flags)
{
	for (size_t i = areas_from(&t->areas, start); i < t->areas.nr && t->areas.area[i].start < end; i++) {
		const struct area *a = &t->areas.area[i];

		if (!a->hidden)
			continue;
		if (a->start > start)
			emit_range(r, t, op, start, a->start, flags);
		start = a->end;
	}
	if (start < end)
		emit_range(r, t, op, start, end, flags);
}

void tracee_map(struct recording *r, struct tracee *t, const struct area *a)
{
	struct trace_event e = { .op = TRACE_MMAP, .task = t->task, .thread = t->thread, .vpn = a->start, .n = a->end - a->start,
				 .flags = a->flags, .pgoff = a->pgoff, .file = a->file };

	/* A log may say anything. */
	if (a->end > TRACE_PAGES_MAX || (a->file != 0 && a->pgoff + e.n > TRACE_PAGES_MAX))
		return;
	changed(t);
	check(r, areas_map(&t->areas, a));
	if (!a->hidden)
		recording_emit(r, &e);
}

void tracee_unmap(struct recording *r, struct tracee *t, uint64_t start, uint64_t end)
{
	if (start >= end)
		return;
	emit_visible(r, t, TRACE_MUNMAP, start, end, 0);
	changed(t);
	check(r, areas_unmap(&t->areas, start, end));
}

void tracee_protect(struct recording *r, struct tracee *t, uint64_t start, uint64_t end, uint8_t rights)
{
	if (start >= end)
		return;
	emit_visible(r, t, TRACE_MPROTECT, start, end, rights);
	changed(t);
	check(r, areas_protect(&t->areas, start, end, rights));
}

void tracee_drop(struct recording *r, struct tracee *t, uint64_t start, uint64_t end)
{
	if (start < end)
		emit_visible(r, t, TRACE_DROP, start, end, 0);
}

void tracee_move(struct recording *r, struct tracee *t, uint64_t start, uint64_t to, uint64_t n)
{
	struct trace_event e = { .op = TRACE_MREMAP, .task = t->task, .thread = t->thread, .vpn = start, .n = n, .arg = to };
	struct areas moved = { 0 };
	int err = 0;

	if (MAX(start, to) + n > TRACE_PAGES_MAX)
		return;
	tracee_unmap(r, t, to, to + n);
	recording_emit(r, &e);
	changed(t);
	for (size_t i = areas_from(&t->areas, start); i < t->areas.nr && err == 0; i++) {
		struct area a = t->areas.area[i];

		if (a.start >= start + n)
			break;
		uint64_t from = MAX(a.start, start);

		a.pgoff += a.file != 0 ? from - a.start : 0;
		a.start = from - start + to;
		a.end = MIN(a.end, start + n) - start + to;
		err = areas_map(&moved, &a);
	}
	if (err == 0)
		err = areas_unmap(&t->areas, start, start + n);
	for (size_t i = 0; i < moved.nr && err == 0; i++)
		err = areas_map(&t->areas, &moved.area[i]);
	areas_free(&moved);
	check(r, err);
}

/* The number of the file of a mapping, which may have been replaced or removed since; 0: none. */
static uint32_t map_file(struct recording *r, const struct maps_line *m)
{
	uint64_t bytes = m->offset + m->end - m->start;
	struct stat st;
	uint32_t known;

	if (m->path[0] != '/')
		return 0;
	if (stat(m->path, &st) == 0 && st.st_ino == m->ino)
		return recording_file(r, &st, m->path);
	/* As long as what is mapped of it, at least. */
	known = recording_known(r, makedev(m->major, m->minor), m->ino);
	if (known != 0) {
		recording_extend(r, known, bytes);
		return known;
	}
	st = (struct stat){ .st_mode = S_IFREG, .st_dev = makedev(m->major, m->minor), .st_ino = m->ino,
			    .st_size = (off_t)bytes };
	return recording_file(r, &st, m->path);
}

struct area tracee_area(struct recording *r, const struct maps_line *m, bool hidden)
{
	struct area a = { .start = m->start >> PAGE_SHIFT, .end = m->end >> PAGE_SHIFT, .flags = m->flags, .hidden = hidden };

	if (!hidden)
		a.file = map_file(r, m);
	a.pgoff = a.file != 0 ? m->offset >> PAGE_SHIFT : 0;
	return a;
}

static void emit_text(struct recording *r, const struct tracee *t, uint8_t op, const char *text)
{
	struct trace_event e = { .op = op, .task = t->task, .thread = t->thread, .text = text,
				 .text_len = (uint32_t)strnlen(text, TRACE_TEXT_MAX) };

	recording_emit(r, &e);
}

void tracee_start(struct recording *r, struct tracee *t, const char *name)
{
	t->task = recording_task(r);
	t->thread = recording_thread(r);
	emit_text(r, t, TRACE_TASK, name);
}

void tracee_fork(struct recording *r, struct tracee *child, const struct tracee *parent)
{
	struct trace_event e = { .op = TRACE_FORK, .task = parent->task, .thread = parent->thread };

	child->task = recording_task(r);
	child->thread = recording_thread(r);
	e.arg = child->task;
	recording_emit(r, &e);
	child->brk = parent->brk;
	child->fresh = parent->fresh;
	check(r, areas_copy(&child->areas, &parent->areas));
	check(r, fdtable_fork(&child->fds, &parent->fds));
}

void tracee_exec(struct recording *r, struct tracee *t, const char *name)
{
	emit_text(r, t, TRACE_EXEC, name);
	check(r, areas_unmap(&t->areas, 0, UINT64_MAX));
	changed(t);
	fdtable_exec(&t->fds);
	t->brk = 0;
	t->fresh = true;
}

void tracee_time(struct recording *r, const struct tracee *t, uint64_t ns)
{
	struct trace_event e = { .op = TRACE_TIME, .task = t->task, .thread = t->thread, .arg = ns };

	if (ns > 0)
		recording_emit(r, &e);
}

void tracee_exit(struct recording *r, struct tracee *t)
{
	struct trace_event e = { .op = TRACE_EXIT, .task = t->task, .thread = t->thread };

	recording_emit(r, &e);
	areas_free(&t->areas);
	fdtable_free(&t->fds);
}

