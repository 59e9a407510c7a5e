#include "cli/see/rows.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/msg.h"

const char *rows_sort_name(enum rows_sort sort)
{
	static const char *const names[] = {
		[SORT_STALL] = "stall", [SORT_MAJOR] = "major", [SORT_RESIDENT] = "resident", [SORT_SWAPPED] = "swapped",
		[SORT_PID] = "pid",
	};

	return names[sort];
}

/* The same process in the sample before; processes are sorted by pid. */
static const struct sample_process *find(const struct sample *s, const struct sample_process *p)
{
	unsigned lo = 0, hi = s->nr;

	while (lo < hi) {
		unsigned mid = (lo + hi) / 2;

		if (s->process[mid].pid == p->pid)
			return s->process[mid].start == p->start ? &s->process[mid] : NULL;
		if (s->process[mid].pid < p->pid)
			lo = mid + 1;
		else
			hi = mid;
	}
	return NULL;
}

static struct row make_row(const struct sample *before, const struct sample *now, const struct sample_process *p)
{
	static const uint64_t none[VM_COUNTER_NR];
	const struct sample_process *was = find(before, p);
	struct row row = { .p = p, .ns = was != NULL ? now->ns - before->ns : p->age_ns };

	for (unsigned c = 0; c < VM_COUNTER_NR; c++)
		row.rise[c] = sample_rise(was != NULL ? was->counter : none, p->counter, (enum vm_counter)c);
	return row;
}

static bool wanted(const struct sample_process *p, const char *filter)
{
	char pid[16];

	snprintf(pid, sizeof(pid), "%d", p->pid);
	return strstr(p->comm, filter) != NULL || strstr(pid, filter) != NULL;
}

static uint64_t sort_key(const struct row *r, enum rows_sort sort)
{
	switch (sort) {
	case SORT_STALL:
		return sample_rate(r->rise[VM_stall_ns], r->ns);
	case SORT_MAJOR:
		return sample_rate(r->rise[VM_pgmajfault], r->ns);
	case SORT_RESIDENT:
		return sample_resident(&r->p->use);
	case SORT_SWAPPED:
		return r->p->use.swapped;
	case SORT_PID:
	case NR_SORTS:
		break;
	}
	/* Largest first is for the others; pids count up. */
	return (uint64_t)(INT32_MAX - r->p->pid);
}

static int compare(const void *a, const void *b, void *how)
{
	const struct rows_how *h = how;
	uint64_t x = sort_key(a, h->sort), y = sort_key(b, h->sort);
	int by_key = (x < y) - (x > y);
	int32_t p = ((const struct row *)a)->p->pid, q = ((const struct row *)b)->p->pid;

	if (h->reverse)
		by_key = -by_key;
	return by_key != 0 ? by_key : (p > q) - (p < q);
}

/* Is the parent of the row among the rows? */
static bool has_parent(const struct rows *r, const struct row *row)
{
	for (unsigned i = 0; i < r->nr; i++)
		if (r->row[i].p->pid == row->p->parent)
			return true;
	return false;
}

/* Moves the row, and below it its descendants, from r to out, keeping the order of r among those of one parent. */
static void move_family(struct rows *r, unsigned i, unsigned depth, struct rows *out)
{
	int32_t pid = r->row[i].p->pid;

	out->row[out->nr] = r->row[i];
	out->row[out->nr++].depth = depth;
	r->row[i].depth = UINT32_MAX;
	for (unsigned k = 0; k < r->nr; k++)
		if (r->row[k].depth != UINT32_MAX && r->row[k].p->parent == pid)
			move_family(r, k, depth + 1, out);
}

static int make_tree(struct rows *r)
{
	struct rows out = { .row = calloc(MAX(r->nr, 1), sizeof(*out.row)) };

	if (out.row == NULL)
		return -ENOMEM;
	for (unsigned i = 0; i < r->nr; i++)
		if (r->row[i].depth != UINT32_MAX && !has_parent(r, &r->row[i]))
			move_family(r, i, 0, &out);
	free(r->row);
	*r = out;
	return 0;
}

int rows_make(struct rows *r, const struct sample *before, const struct sample *now, const struct rows_how *how)
{
	struct row *more = reallocarray(r->row, MAX(now->nr, 1), sizeof(*more));
	int err = more != NULL ? 0 : -ENOMEM;

	r->nr = 0;
	if (err == 0)
		r->row = more;
	for (unsigned i = 0; i < now->nr && err == 0; i++)
		if (wanted(&now->process[i], how->filter))
			r->row[r->nr++] = make_row(before, now, &now->process[i]);
	if (r->nr > 0)
		qsort_r(r->row, r->nr, sizeof(*r->row), compare, (void *)how);
	if (err == 0 && how->tree)
		err = make_tree(r);
	return err == 0 ? 0 : msg_fail(1, "run", "%s; try again with more memory", strerror(-err));
}

void rows_free(struct rows *r)
{
	free(r->row);
	*r = (struct rows){ 0 };
}
