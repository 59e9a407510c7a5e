#include "cli/record/recording.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void recording_emit(struct recording *r, const struct trace_event *e)
{
	if (r->err == 0)
		r->err = r->write(r->ctx, e);
}

static void set_text(struct trace_event *e, const char *text)
{
	e->text = text;
	e->text_len = (uint32_t)strnlen(text, TRACE_TEXT_MAX);
}

void recording_note(struct recording *r, const char *key, const char *value)
{
	struct trace_event e = { .op = TRACE_NOTE };
	char text[TRACE_TEXT_MAX + 1];

	snprintf(text, sizeof(text), "%s: %s", key, value);
	set_text(&e, text);
	recording_emit(r, &e);
}

uint32_t recording_task(struct recording *r)
{
	return r->tasks++;
}

uint16_t recording_thread(struct recording *r)
{
	r->threads += r->threads < UINT16_MAX;
	return r->threads;
}

static uint64_t pages(uint64_t bytes)
{
	return DIV_ROUND_UP(bytes, PAGE_SIZE);
}

static void announce(struct recording *r, uint32_t file)
{
	const struct recorded_file *f = &r->file[file - 1];
	struct trace_event e = { .op = TRACE_FILE, .file = file, .n = pages(f->bytes) };

	set_text(&e, f->name);
	recording_emit(r, &e);
}

/* 0 or -ENOMEM. */
static int add_file(struct recording *r, const struct stat *st, const char *name)
{
	char *copy;

	if (r->nr_files == r->files_room) {
		uint32_t room = MAX(64, 2 * r->files_room);
		struct recorded_file *f = realloc(r->file, room * sizeof(*f));

		if (f == NULL)
			return -ENOMEM;
		r->file = f;
		r->files_room = room;
	}
	copy = strdup(name);
	if (copy == NULL)
		return -ENOMEM;
	r->file[r->nr_files++] = (struct recorded_file){ st->st_dev, st->st_ino, (uint64_t)st->st_size, copy };
	return 0;
}

uint32_t recording_known(const struct recording *r, dev_t dev, ino_t ino)
{
	/* The one that was made last is the likeliest. */
	for (uint32_t i = r->nr_files; i > 0; i--) {
		if (r->file[i - 1].ino == ino && r->file[i - 1].dev == dev)
			return i;
	}
	return 0;
}

uint32_t recording_file(struct recording *r, const struct stat *st, const char *name)
{
	uint32_t known;

	if (!S_ISREG(st->st_mode) || r->err != 0)
		return 0;
	known = recording_known(r, st->st_dev, st->st_ino);
	if (known != 0) {
		recording_resize(r, known, (uint64_t)st->st_size);
		return known;
	}
	r->err = add_file(r, st, name);
	if (r->err != 0)
		return 0;
	announce(r, r->nr_files);
	return r->nr_files;
}

void recording_resize(struct recording *r, uint32_t file, uint64_t bytes)
{
	struct recorded_file *f = &r->file[file - 1];
	bool changed = pages(f->bytes) != pages(bytes);

	f->bytes = bytes;
	if (changed)
		announce(r, file);
}

void recording_extend(struct recording *r, uint32_t file, uint64_t bytes)
{
	if (bytes > r->file[file - 1].bytes)
		recording_resize(r, file, bytes);
}

void recording_free(struct recording *r)
{
	for (uint32_t i = 0; i < r->nr_files; i++)
		free(r->file[i].name);
	free(r->file);
	r->file = NULL;
	r->nr_files = r->files_room = 0;
}
