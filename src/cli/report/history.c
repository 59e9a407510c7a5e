#include "cli/report/history.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli/json.h"
#include "cli/msg.h"

/* What one pass over the samples needs. */
struct pass {
	const char *path;
	struct sample now;
	size_t *index;     /* of the samples among the records */
	unsigned nr;
};

static int no_memory(const char *path)
{
	return msg_fail(1, path, "%s; try again with more memory", strerror(ENOMEM));
}

static int damaged(const struct history *h, const char *path, const struct flight_record *r)
{
	return msg_fail(EXIT_USAGE, path, "byte %llu: no record that steward run writes; get or make it again",
			(unsigned long long)(r->payload - (const uint8_t *)h->file.map));
}

static int find_samples(const struct history *h, struct pass *p)
{
	p->index = malloc(MAX(h->file.nr, 1) * sizeof(*p->index));
	if (p->index == NULL)
		return no_memory(p->path);
	for (size_t i = 0; i < h->file.nr; i++)
		if (h->file.record[i].kind == FLIGHT_SAMPLE)
			p->index[p->nr++] = i;
	if (p->nr == 0)
		return msg_fail(EXIT_USAGE, p->path, "nothing is in it yet; let the run go on for a moment");
	return 0;
}

static int decode(const struct history *h, const struct pass *p, unsigned i, struct sample *s)
{
	const struct flight_record *r = &h->file.record[p->index[i]];

	return flight_get_sample(&h->file.run, r->payload, r->bytes, s) ? 0 : damaged(h, p->path, r);
}

/* The first one with this pid and start, or a new one; NULL: no memory. */
static struct history_process *process_of(struct history *h, const struct sample_process *p, uint64_t ns)
{
	struct history_process *more;

	/* Those seen last are at the end. */
	for (unsigned i = h->nr_processes; i-- > 0;)
		if (h->process[i].last.pid == p->pid && h->process[i].last.start == p->start)
			return &h->process[i];
	if ((h->nr_processes & (h->nr_processes - 1)) == 0) {
		more = reallocarray(h->process, MAX(2 * h->nr_processes, 1), sizeof(*more));
		if (more == NULL)
			return NULL;
		h->process = more;
	}
	h->process[h->nr_processes] = (struct history_process){ .first_ns = ns };
	return &h->process[h->nr_processes++];
}

static bool note_processes(struct history *h, const struct sample *s, uint64_t ns)
{
	for (unsigned i = 0; i < s->nr; i++) {
		struct history_process *p = process_of(h, &s->process[i], ns);

		if (p == NULL)
			return false;
		p->last = s->process[i];
		p->last_ns = ns;
		p->resident_max = MAX(p->resident_max, sample_resident(&s->process[i].use));
		p->swapped_max = MAX(p->swapped_max, s->process[i].use.swapped);
	}
	return true;
}

static bool note(struct history *h, const struct sample *s, uint64_t ns)
{
	if (ledger_usage_total(&s->use) > ledger_usage_total(&h->peak))
		h->peak = s->use;
	h->need_max = MAX(h->need_max, sample_resident(&s->use) + s->use.swapped);
	for (unsigned i = 0; i < s->nr_areas; i++)
		h->area_max[i] = MAX(h->area_max[i], s->area[i].used);
	return note_processes(h, s, ns);
}

static int keep(struct history *h, const struct pass *p, unsigned i)
{
	int err = decode(h, p, i, &h->sample[h->n]);

	h->sample[h->n].ns = h->file.record[p->index[i]].ns;
	h->ns[h->n] = (double)h->sample[h->n].ns;
	h->n++;
	return err;
}

/* Samples [from, to): all are looked at, one is kept. The first and last of all are the ends of the time. */
static int stretch(struct history *h, struct pass *p, unsigned from, unsigned to)
{
	uint64_t most = 0;
	unsigned which = from;
	int err = 0;

	for (unsigned i = from; i < to && err == 0; i++) {
		err = decode(h, p, i, &p->now);
		if (err == 0 && !note(h, &p->now, h->file.record[p->index[i]].ns))
			err = no_memory(p->path);
		if (ledger_usage_total(&p->now.use) > most) {
			most = ledger_usage_total(&p->now.use);
			which = i;
		}
	}
	if (to == p->nr)
		which = p->nr - 1;
	return err != 0 ? err : keep(h, p, from == 0 ? 0 : which);
}

static int read_samples(struct history *h, struct pass *p)
{
	unsigned points = MIN(p->nr, HISTORY_POINTS);
	int err = 0;

	h->samples = p->nr;
	h->sample = calloc(points, sizeof(*h->sample));
	h->ns = calloc(points, sizeof(*h->ns));
	if (h->sample == NULL || h->ns == NULL)
		return no_memory(p->path);
	for (unsigned k = 0; k < points && err == 0; k++)
		err = stretch(h, p, (unsigned)((uint64_t)k * p->nr / points), (unsigned)((uint64_t)(k + 1) * p->nr / points));
	return err;
}

/* What is no sample. Maps are read by who draws them (pagemap.c). */
static bool read_other(struct history *h, const struct flight_record *r)
{
	switch (r->kind) {
	case FLIGHT_EVENT:
		h->event[h->nr_events].ns = r->ns;
		return flight_get_event(r->payload, r->bytes, &h->event[h->nr_events++].event);
	case FLIGHT_OOM:
		h->oom[h->nr_ooms].ns = r->ns;
		return flight_get_oom(r->payload, r->bytes, &h->oom[h->nr_ooms++].oom);
	case FLIGHT_END:
		return h->ended = flight_get_end(r->payload, r->bytes, h->fatal, sizeof(h->fatal), &h->json, &h->json_len);
	default:
		return true;
	}
}

static int read_others(struct history *h, const char *path)
{
	size_t events = 0, ooms = 0;

	for (size_t i = 0; i < h->file.nr; i++) {
		events += h->file.record[i].kind == FLIGHT_EVENT;
		ooms += h->file.record[i].kind == FLIGHT_OOM;
	}
	h->event = calloc(MAX(events, 1), sizeof(*h->event));
	h->oom = calloc(MAX(ooms, 1), sizeof(*h->oom));
	if (h->event == NULL || h->oom == NULL)
		return no_memory(path);
	for (size_t i = 0; i < h->file.nr; i++) {
		const struct flight_record *r = &h->file.record[i];

		if (!read_other(h, r))
			return damaged(h, path, r);
	}
	return 0;
}

static int by_resident(const void *a, const void *b)
{
	const struct history_process *x = a, *y = b;

	if (x->resident_max != y->resident_max)
		return x->resident_max > y->resident_max ? -1 : 1;
	return (x->last.pid > y->last.pid) - (x->last.pid < y->last.pid);
}

int history_read(struct history *h, const char *path)
{
	struct pass p = { .path = path };
	int err;

	*h = (struct history){ 0 };
	err = flight_open(&h->file, path);
	if (err != 0)
		return err;
	err = find_samples(h, &p);
	if (err == 0)
		err = read_samples(h, &p);
	if (err == 0)
		err = read_others(h, path);
	if (err == 0 && h->nr_processes > 0)
		qsort(h->process, h->nr_processes, sizeof(*h->process), by_resident);
	sample_free(&p.now);
	free(p.index);
	if (err != 0)
		history_free(h);
	return err;
}

void history_free(struct history *h)
{
	for (unsigned i = 0; i < h->n; i++)
		sample_free(&h->sample[i]);
	free(h->sample);
	free(h->ns);
	free(h->process);
	free(h->event);
	for (unsigned i = 0; i < h->nr_ooms; i++)
		flight_oom_free(&h->oom[i].oom);
	free(h->oom);
	flight_free(&h->file);
	*h = (struct history){ 0 };
}

static void json_pages(struct json *j, const char *key, uint64_t pages)
{
	json_u64(j, key, pages << PAGE_SHIFT);
}

int history_figures(const void *history, int fd)
{
	static struct json j;
	const struct history *h = history;
	const struct sample *last = history_last(h);

	if (h->ended)
		return write_all(fd, h->json, h->json_len);
	json_init(&j, fd);
	json_object(&j, NULL);
	json_object(&j, "budget");
	json_pages(&j, "ram_bytes", last->ram);
	json_pages(&j, "launcher_bytes", last->reserved);
	json_object_end(&j);
	json_object(&j, "peak");
	json_pages(&j, "total_bytes", ledger_usage_total(&h->peak) + last->reserved);
	json_pages(&j, "managed_bytes", h->peak.managed);
	json_pages(&j, "pool_bytes", h->peak.pool);
	json_pages(&j, "own_bytes", h->peak.own + last->reserved);
	json_pages(&j, "unmanaged_bytes", h->peak.unmanaged);
	json_object_end(&j);
	json_pages(&j, "need_peak_bytes", h->need_max);
	json_object(&j, "counters");
#define COUNTER_JSON(name, text) json_u64(&j, #name, last->counter[VM_##name]);
	VM_COUNTERS(COUNTER_JSON)
#undef COUNTER_JSON
	json_object_end(&j);
	json_hist(&j, "fault_ns", &last->fault_ns);
	json_object_end(&j);
	return json_finish(&j);
}
