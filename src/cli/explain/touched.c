#include "cli/explain/touched.h"

#include <errno.h>
#include <stdlib.h>

#include "cli/msg.h"
#include "cli/trace/tracefile.h"
#include "sim/footprint.h"

#define BATCH 4096
#define CHUNK_BITS 43 /* of a key of the footprint; the task is above */
#define CHUNK_MASK (((uint64_t)1 << CHUNK_BITS) - 1)

static int add(struct footprint *f, const struct trace_event *e, long n)
{
	int got = 0;

	for (long i = 0; i < n && got >= 0; i++)
		if (e[i].op == TRACE_ACCESS)
			got = footprint_add(f, e[i].task, e[i].vpn);
	return MIN(got, 0);
}

static int read_all(struct footprint *f, const struct tracefile *t)
{
	struct trace_event *e = malloc(BATCH * sizeof(*e));
	struct trace_error error = { .err = -ENOMEM, .what = "no memory" };
	long n = e == NULL ? -ENOMEM : 1;

	while (n > 0) {
		n = trace_read(t->reader, e, BATCH, &error);
		if (n > 0 && add(f, e, n) != 0) {
			error = (struct trace_error){ .err = -ENOMEM, .what = "no memory for all its pages" };
			n = -ENOMEM;
		}
	}
	free(e);
	return n == 0 ? 0 : tracefile_fail(t, &error);
}

static int by_key(const void *a, const void *b)
{
	const struct footprint_chunk *x = a, *y = b;

	return x->key < y->key ? -1 : x->key > y->key;
}

/* Sorts the table in place: keys of a task stand together, and 0 marks those that are free. */
static int unpack(struct touched *t, struct footprint *f)
{
	uint64_t last = UINT64_MAX;

	t->vpns = malloc(MAX(f->pages, 1) * sizeof(*t->vpns));
	t->end = malloc(MAX(f->n, 1) * sizeof(*t->end));
	if (t->vpns == NULL || t->end == NULL)
		return -ENOMEM;
	if (f->room > 0)
		qsort(f->chunk, f->room, sizeof(*f->chunk), by_key);
	for (size_t i = f->room - f->n; i < f->room; i++) {
		uint64_t key = f->chunk[i].key - 1;

		t->nr_tasks += key >> CHUNK_BITS != last;
		last = key >> CHUNK_BITS;
		for (unsigned bit = 0; bit < FOOTPRINT_PAGES; bit++)
			if (f->chunk[i].bits[bit / 64] >> bit % 64 & 1)
				t->vpns[t->nr++] = (key & CHUNK_MASK) * FOOTPRINT_PAGES + bit;
		t->end[t->nr_tasks - 1] = t->nr;
	}
	return 0;
}

int touched_read(struct touched *t, const char *trace)
{
	struct footprint f = { 0 };
	struct tracefile file;
	int err = tracefile_open(&file, trace);

	*t = (struct touched){ 0 };
	if (err != 0)
		return err;
	err = read_all(&f, &file);
	tracefile_close(&file);
	if (err == 0 && unpack(t, &f) != 0)
		err = msg_fail(1, trace, "no memory for its %llu pages; take a shorter one",
			       (unsigned long long)f.pages);
	if (err == 0 && t->nr == 0)
		err = msg_fail(EXIT_USAGE, trace, "it touches no page; take another one");
	footprint_free(&f);
	if (err != 0) {
		free(t->vpns);
		free(t->end);
	}
	return err;
}
