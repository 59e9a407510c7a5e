/*
 * steward trace info: what a trace holds, counted in one pass. Its memory grows
 * with the footprint (a bit and a little for a page, sim/footprint.c) and the
 * number of tasks and files, not with the length.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/size.h"
#include "cli/json.h"
#include "cli/msg.h"
#include "cli/outfile.h"
#include "cli/trace/trace.h"
#include "cli/table.h"
#include "sim/footprint.h"

#define BATCH 256
#define SHOWN 16 /* tasks, files and notes that the text has; JSON has all */

/* A task, a file or a note. */
struct item {
	uint32_t number;
	char *name;        /* "": none */
	uint64_t pages;    /* touched; of a file: its size */
};

struct items {
	struct item *item;
	uint32_t *place;   /* of a number, plus 1; 0: none */
	size_t n, room, numbers;
};

struct info {
	struct trace_totals totals;
	uint64_t events[TRACE_OPS];
	uint64_t reads, writes, executes;
	uint64_t time_ns;
	struct footprint footprint;
	struct items tasks, files, notes;
};

static void items_free(struct items *s)
{
	for (size_t i = 0; i < s->n; i++)
		free(s->item[i].name);
	free(s->item);
	free(s->place);
}

/* A larger array with zeros at its end; false: no memory. */
static bool grow(void **array, size_t *room, size_t need, size_t bytes)
{
	size_t more = *room;

	while (more < need)
		more = more * 2 + 16;
	if (more == *room)
		return true;
	void *p = realloc(*array, more * bytes);

	if (p == NULL)
		return false;
	memset((char *)p + *room * bytes, 0, (more - *room) * bytes);
	*array = p;
	*room = more;
	return true;
}

/* The item of that number, made if it is not there; NULL: no memory. */
static struct item *item_of(struct items *s, uint32_t number)
{
	if (!grow((void **)&s->place, &s->numbers, (size_t)number + 1, sizeof(s->place[0])))
		return NULL;
	if (s->place[number] == 0) {
		if (!grow((void **)&s->item, &s->room, s->n + 1, sizeof(s->item[0])))
			return NULL;
		s->item[s->n++] = (struct item){ .number = number };
		s->place[number] = (uint32_t)s->n;
	}
	return &s->item[s->place[number] - 1];
}

static int name_item(struct item *item, const char *name)
{
	char *copy = item != NULL ? strdup(name != NULL ? name : "") : NULL;

	if (copy == NULL)
		return -ENOMEM;
	free(item->name);
	item->name = copy;
	return 0;
}

static int count_access(struct info *info, const struct trace_event *e)
{
	int is_new = footprint_add(&info->footprint, e->task, e->vpn);

	*(e->flags == TRACE_R ? &info->reads : e->flags == TRACE_W ? &info->writes : &info->executes) += e->n;
	if (is_new > 0)
		info->tasks.item[info->tasks.place[e->task] - 1].pages++;
	return MIN(is_new, 0);
}

static int count_fork(struct info *info, const struct trace_event *e)
{
	struct item *child = item_of(&info->tasks, (uint32_t)e->arg);

	/* item_of() may have moved the parent. */
	return name_item(child, info->tasks.item[info->tasks.place[e->task] - 1].name);
}

static int count_file(struct info *info, const struct trace_event *e)
{
	struct item *file = item_of(&info->files, e->file);
	int err = name_item(file, e->text);

	if (err == 0)
		file->pages = e->n;
	return err;
}

/* 0 or -ENOMEM. */
static int count(struct info *info, const struct trace_event *e)
{
	info->events[e->op]++;
	switch (e->op) {
	case TRACE_ACCESS:
		return count_access(info, e);
	case TRACE_TASK:
	case TRACE_EXEC:
		return name_item(item_of(&info->tasks, e->task), e->text);
	case TRACE_FORK:
		return count_fork(info, e);
	case TRACE_FILE:
		return count_file(info, e);
	case TRACE_NOTE:
		return name_item(item_of(&info->notes, (uint32_t)info->notes.n), e->text);
	case TRACE_TIME:
		info->time_ns += e->arg;
		return 0;
	default:
		return 0;
	}
}

/* The text. */

/* Control characters of names do not reach the terminal. */
static void print_name(const char *name)
{
	for (; *name != '\0'; name++)
		putchar((unsigned char)*name < 0x20 || *name == 0x7f ? '?' : *name);
}

static void print_items(const char *label, const struct items *s)
{
	printf("%-10s %zu\n", label, s->n);
	for (size_t i = 0; i < MIN(s->n, SHOWN); i++) {
		printf("  %-8u %10llu pages  ", s->item[i].number, (unsigned long long)s->item[i].pages);
		print_name(s->item[i].name);
		putchar('\n');
	}
	if (s->n > SHOWN)
		printf("  … and %zu more\n", s->n - SHOWN);
}

static void print_notes(const struct items *s)
{
	for (size_t i = 0; i < MIN(s->n, SHOWN); i++) {
		printf("%-10s ", "note");
		print_name(s->item[i].name);
		putchar('\n');
	}
	if (s->n > SHOWN)
		printf("%-10s … and %zu more\n", "note", s->n - SHOWN);
}

/* Hundredths of bytes for a touch, rounded. */
static uint64_t bytes_per_touch(const struct trace_totals *t)
{
	return t->touches > 0 ? (uint64_t)((double)t->bytes * 100 / (double)t->touches + 0.5) : 0;
}

static void print_info(const struct info *info)
{
	const struct trace_totals *t = &info->totals;
	uint64_t per_touch = bytes_per_touch(t), ms = info->time_ns / 1000000;

	printf("%-10s %s, %llu.%02llu bytes a touch\n", "size", size_text(t->bytes),
	       (unsigned long long)(per_touch / 100), (unsigned long long)(per_touch % 100));
	printf("%-10s %llu%s\n", "touches", (unsigned long long)t->touches,
	       t->sampled ? ", samples: the first ones of an interval, not all" : "");
	printf("  %-8s %llu\n  %-8s %llu\n  %-8s %llu\n", "read", (unsigned long long)info->reads, "write",
	       (unsigned long long)info->writes, "execute", (unsigned long long)info->executes);
	printf("%-10s %llu pages, %s\n", "footprint", (unsigned long long)info->footprint.pages,
	       size_text(info->footprint.pages << TRACE_PAGE_SHIFT));
	printf("%-10s %llu.%03llu s of the programs' own, all threads together\n", "time",
	       (unsigned long long)(ms / 1000), (unsigned long long)(ms % 1000));
	printf("%-10s %llu\n", "events", (unsigned long long)t->events);
	for (unsigned i = 0; i < TRACE_OPS; i++) {
		if (info->events[i] > 0)
			printf("  %-8s %llu\n", trace_op_name(i), (unsigned long long)info->events[i]);
	}
	print_items("tasks", &info->tasks);
	print_items("files", &info->files);
	print_notes(&info->notes);
}

/* The JSON. */

static void json_items(struct json *j, const char *key, const struct items *s, const char *number, const char *pages)
{
	json_array(j, key);
	for (size_t i = 0; i < s->n; i++) {
		json_object(j, NULL);
		json_u64(j, number, s->item[i].number);
		json_string(j, "name", s->item[i].name);
		json_u64(j, pages, s->item[i].pages);
		json_object_end(j);
	}
	json_array_end(j);
}

static int write_json(const struct info *info, const char *name)
{
	struct json j;
	struct outfile out;
	int err = outfile_open(&out, name);

	if (err != 0)
		return err;
	json_init(&j, out.fd);
	json_object(&j, NULL);
	json_u64(&j, "schema", 1);
	json_u64(&j, "size_bytes", info->totals.bytes);
	json_fixed(&j, "bytes_per_touch", bytes_per_touch(&info->totals), 2);
	json_bool(&j, "sampled", info->totals.sampled);
	json_u64(&j, "touches", info->totals.touches);
	json_u64(&j, "reads", info->reads);
	json_u64(&j, "writes", info->writes);
	json_u64(&j, "executes", info->executes);
	json_u64(&j, "footprint_pages", info->footprint.pages);
	json_u64(&j, "time_ns", info->time_ns);
	json_u64(&j, "events", info->totals.events);
	json_object(&j, "events_by_kind");
	for (unsigned i = 0; i < TRACE_OPS; i++)
		json_u64(&j, trace_op_name(i), info->events[i]);
	json_object_end(&j);
	json_items(&j, "tasks", &info->tasks, "task", "touched_pages");
	json_items(&j, "files", &info->files, "file", "pages");
	json_array(&j, "notes");
	for (size_t i = 0; i < info->notes.n; i++)
		json_string(&j, NULL, info->notes.item[i].name);
	json_array_end(&j);
	json_object_end(&j);
	err = json_finish(&j);
	if (err != 0) {
		outfile_drop(&out);
		return err;
	}
	return outfile_commit(&out);
}

static int show(const struct info *info, const char *json)
{
	int err = json != NULL ? write_json(info, json) : 0;

	if (err != 0)
		return msg_fail(1, json, "it cannot be written (%s); give --json another file", strerror(-err));
	if (json == NULL || strcmp(json, "-") != 0)
		print_info(info);
	if (fflush(stdout) != 0 || ferror(stdout))
		return msg_fail(1, "standard output", "%s; send it somewhere else", strerror(errno));
	return 0;
}

int trace_info(struct tracefile *t, const struct trace_request *o)
{
	static struct trace_event e[BATCH];
	struct info info = { 0 };
	struct trace_error error;
	int status = 0, err = 0;
	long n = 0;

	while (err == 0 && (n = trace_read(t->reader, e, BATCH, &error)) > 0) {
		for (long i = 0; i < n && err == 0; i++)
			err = count(&info, &e[i]);
	}
	if (err != 0)
		status = msg_fail(1, t->name, "its footprint does not fit in memory; try where there is more");
	else if (n < 0)
		status = tracefile_fail(t, &error);
	else if (trace_reader_totals(t->reader, &info.totals))
		status = show(&info, o->json);
	footprint_free(&info.footprint);
	items_free(&info.tasks);
	items_free(&info.files);
	items_free(&info.notes);
	return status;
}
