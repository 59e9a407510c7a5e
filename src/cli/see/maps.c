/* steward maps: pmap(1) for a process of a run. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/commands.h"
#include "cli/msg.h"
#include "cli/see/sample.h"
#include "cli/see/show.h"
#include "cli/see/where.h"

#define SCHEMA 1

static const struct option_row rows[] = {
	{ "json", '\0', NULL, "print it as JSON" },
};

const struct option_set maps_options = {
	.command = "maps",
	.usage = "[OPTION…] PID",
	.summary = "Says where the pages of a process of a run are, area by area.",
	.rows = rows,
	.nr = ARRAY_SIZE(rows),
	.mixed = true,
	.set = options_set_flag,
};

static int read_maps(struct where *m, struct ledger *l, unsigned slot, const char *text)
{
	unsigned pid;
	int err = proc_map_pid(text, &pid);

	if (err != 0)
		return err;
	err = where_read(m, l, slot, pid, 0);
	if (err == -ENOMEM)
		return msg_fail(1, text, "%s; try again with more memory", strerror(ENOMEM));
	return err == 0 ? 0 : proc_map_refused(pid, -err);
}

/* --- for people --- */

struct totals {
	uint64_t size, mapped;       /* pages */
	struct ask_range said;
};

static void print_said(const struct ask_range *r, bool known)
{
	const uint32_t figures[] = { r->sample, r->pool, r->filed, r->same, r->discardable };

	for (unsigned i = 0; i < ARRAY_SIZE(figures); i++)
		printf(" %6s", known ? show_pages(figures[i]) : "-");
}

static void print_area(const struct where *m, unsigned i, struct totals *t)
{
	const struct proc_area *a = &m->map.areas[i];
	const struct ask_range *r = &m->said[i];
	uint64_t size = (a->end - a->start) >> PAGE_SHIFT, mapped = a->rss >> PAGE_SHIFT;

	printf("%012" PRIx64 " %6s %6s", a->start, show_pages(size), show_pages(mapped));
	print_said(r, m->answered || !where_may_be_managed(a));
	printf(" %s %s\n", a->rights, r->own ? "[steward]" : a->name[0] != '\0' ? a->name : "[anon]");
	t->size += size;
	t->mapped += mapped;
	t->said.sample += r->sample;
	t->said.pool += r->pool;
	t->said.filed += r->filed;
	t->said.same += r->same;
	t->said.discardable += r->discardable;
}

static void print_tables(const struct where *m)
{
	printf("page tables: %s of the kernel", show_pages(m->map.tables >> PAGE_SHIFT));
	for (unsigned i = 0; i < m->head.levels; i++)
		printf("%s %" PRIu64, i == 0 ? "; Steward's, frames from leaf to root:" : ",", m->head.table_frames[i]);
	printf("\n");
}

static void print_maps(const struct where *m)
{
	struct totals t = { 0 };

	printf("%12s %6s %6s %6s %6s %6s %6s %6s %-4s %s\n", "ADDRESS", "SIZE", "MAPPED", "SAMPLE", "POOL", "FILE", "SAME", "FREE",
	       "", "AREA");
	for (unsigned i = 0; i < m->map.nr; i++)
		print_area(m, i, &t);
	printf("%12s %6s %6s", "total", show_pages(t.size), show_pages(t.mapped));
	print_said(&t.said, m->answered);
	printf("\n");
	print_tables(m);
}

/* --- for programs --- */

static void write_pages(struct json *j, const char *key, uint64_t pages, bool known)
{
	if (known)
		json_u64(j, key, pages << PAGE_SHIFT);
	else
		json_null(j, key);
}

static void write_area(struct json *j, const struct where *m, unsigned i)
{
	const struct proc_area *a = &m->map.areas[i];
	const struct ask_range *r = &m->said[i];
	bool known = m->answered || !where_may_be_managed(a);

	json_object(j, NULL);
	json_u64(j, "start", a->start);
	json_u64(j, "end", a->end);
	json_string(j, "rights", a->rights);
	json_string(j, "name", a->name);
	json_bool(j, "own", r->own);
	json_u64(j, "mapped_bytes", a->rss);
	write_pages(j, "sample_bytes", r->sample, known);
	write_pages(j, "pool_bytes", r->pool, known);
	write_pages(j, "swap_file_bytes", r->filed, known);
	write_pages(j, "same_bytes", r->same, known);
	write_pages(j, "discardable_bytes", r->discardable, known);
	json_object_end(j);
}

static int write_maps(const struct where *m, const struct heap_counts *counts)
{
	const struct heap_counts now = *counts;
	const struct heap_sum heap = heap_sum(&now);
	static struct json j;

	json_init(&j, STDOUT_FILENO);
	json_object(&j, NULL);
	json_u64(&j, "schema", SCHEMA);
	json_u64(&j, "pid", m->map.pid);
	json_string(&j, "command", m->map.command);
	json_string(&j, "state", sample_state(m->state));
	json_bool(&j, "answered", m->answered);
	json_u64(&j, "kernel_tables_bytes", m->map.tables);
	json_array(&j, "table_frames");
	for (unsigned i = 0; i < m->head.levels; i++)
		json_u64(&j, NULL, m->head.table_frames[i]);
	json_array_end(&j);
	show_json_heap(&j, &heap, now.class);
	json_array(&j, "areas");
	for (unsigned i = 0; i < m->map.nr; i++)
		write_area(&j, m, i);
	json_array_end(&j);
	json_object_end(&j);
	return show_finish(&j);
}

/* --- both --- */

static int show(struct ledger *l, const char *pid, unsigned slot, bool as_json)
{
	struct where m = { 0 };
	int err = read_maps(&m, l, slot, pid);

	if (err == 0 && as_json) {
		err = write_maps(&m, &l->slot[slot].heap);
	} else if (err == 0) {
		print_maps(&m);
		err = show_finish(NULL);
	}
	if (err == 0 && !m.answered)
		err = msg_fail(1, pid, "it does not answer, so what only it knows is missing; see whether it is stopped");
	where_free(&m);
	return err;
}

int maps_main(int argc, char **argv)
{
	struct runs_one run;
	bool as_json = false;
	int err, first, slot;

	err = options_parse(&maps_options, argc, argv, &as_json, &first);
	if (err != 0)
		return err;
	if (first == argc)
		return msg_fail(EXIT_USAGE, "maps", "no process given; steward ps has their pids");
	if (argc - first > 1)
		return msg_fail(EXIT_USAGE, argv[first + 1], "one process at a time; leave it out");
	err = runs_open(&run, argv[first], true);
	if (err != 0)
		return err;
	slot = runs_slot_of(run.ledger, (int32_t)atoi(argv[first]));
	if (slot >= 0)
		err = show(run.ledger, argv[first], (unsigned)slot, as_json);
	else
		err = msg_fail(1, argv[first], "Steward is not in it; steward ps %s shows the processes of its run", argv[first]);
	runs_close(&run);
	return err;
}
