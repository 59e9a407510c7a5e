/* Payloads, but for those of maps and of decisions of the OOM killer. */
#include <stdlib.h>
#include <string.h>

#include "cli/flight/flight.h"

/* --- putting --- */

#define COUNTER_BLANK(name, text) " " #name
#define COUNTER_WORD(name, text) #name,

void flight_put_run(struct flight_bytes *b, const struct flight_run *run)
{
	pack_group(b, (const uint64_t[]){ (uint64_t)run->launcher, run->began, run->interval_ns }, 3);
	pack_text(b, run->command);
	pack_text(b, run->from);
	pack_text(b, VM_COUNTERS(COUNTER_BLANK) + 1);
	pack_number(b, run->nr_areas);
	for (unsigned i = 0; i < run->nr_areas; i++) {
		pack_text(b, run->area[i]);
		pack_number(b, run->pool[i]);
	}
}

/* Buckets that are not empty, as pairs of their number and what is in them. */
static void put_hist(struct flight_bytes *b, const struct hist *h)
{
	unsigned filled = 0;

	pack_group(b, (const uint64_t[]){ h->count, h->sum, h->max }, 3);
	for (unsigned i = 0; i < HIST_BUCKETS; i++)
		filled += h->bucket[i] != 0;
	pack_number(b, 2 * filled);
	for (unsigned i = 0; i < HIST_BUCKETS; i++) {
		if (h->bucket[i] != 0) {
			pack_number(b, i);
			pack_number(b, h->bucket[i]);
		}
	}
}

/* One group: what was added later is passed over by readers that do not know it. */
struct sizes {
	struct ledger_usage use;
	struct heap_sum heap;
};

static void put_sizes(struct flight_bytes *b, const struct ledger_usage *use, const struct heap_sum *heap)
{
	struct sizes s = { *use, *heap };

	pack_words(b, &s);
}

static void put_process(struct flight_bytes *b, const struct sample_process *p)
{
	pack_group(b, (const uint64_t[]){ (uint64_t)p->pid, (uint64_t)p->parent, p->state, p->start, p->age_ns, p->granted }, 6);
	pack_text(b, p->comm);
	put_sizes(b, &p->use, &p->heap);
	pack_words(b, &p->frames);
	pack_group(b, p->counter, VM_COUNTER_NR);
}

void flight_put_sample(struct flight_bytes *b, const struct sample *s)
{
	pack_group(b, (const uint64_t[]){ s->ram, s->reserved, s->free, s->asked }, 4);
	put_sizes(b, &s->use, &s->heap);
	pack_words(b, &s->frames);
	pack_group(b, s->counter, VM_COUNTER_NR);
	put_hist(b, &s->fault_ns);
	pack_number(b, s->nr_areas);
	for (unsigned i = 0; i < s->nr_areas; i++)
		pack_group(b, (const uint64_t[]){ s->area[i].used, s->area[i].errors, s->area[i].state }, 3);
	pack_number(b, s->nr);
	for (unsigned i = 0; i < s->nr; i++)
		put_process(b, &s->process[i]);
}

void flight_put_event(struct flight_bytes *b, const struct flight_event *e)
{
	pack_number(b, e->bad);
	pack_text(b, e->text);
}

void flight_put_end(struct flight_bytes *b, const char *fatal, const char *json, size_t len)
{
	pack_text(b, fatal);
	pack_bytes(b, json, len);
}

/* --- getting --- */

/* The counters that this version has, by their names. */
static void find_counters(struct flight_run *run, const char *names, size_t len)
{
	static const char *const known[] = { VM_COUNTERS(COUNTER_WORD) };

	run->nr_counters = 0;
	for (size_t n; len > 0 && run->nr_counters < FLIGHT_COUNTERS_MAX; names += n, len -= n) {
		const char *blank = memchr(names, ' ', len);
		uint8_t which = 0;

		n = blank != NULL ? (size_t)(blank - names) : len;
		while (which < VM_COUNTER_NR && (strlen(known[which]) != n || memcmp(known[which], names, n) != 0))
			which++;
		run->counter[run->nr_counters++] = which;
		n += blank != NULL;
	}
}

bool flight_get_run(const uint8_t *payload, size_t bytes, struct flight_run *run)
{
	struct source s = { .at = payload, .end = payload + bytes };
	uint64_t numbers[3];
	const char *names;
	size_t len;

	unpack_group(&s, numbers, 3);
	run->launcher = (int32_t)numbers[0];
	run->began = numbers[1];
	run->interval_ns = numbers[2];
	unpack_text(&s, run->command, sizeof(run->command));
	unpack_text(&s, run->from, sizeof(run->from));
	names = unpack_bytes(&s, &len);
	find_counters(run, names, len);
	uint64_t nr = unpack_number(&s);

	run->nr_areas = (unsigned)MIN(nr, SWAP_SPECS);
	for (unsigned i = 0; i < run->nr_areas; i++) {
		unpack_text(&s, run->area[i], sizeof(run->area[i]));
		run->pool[i] = unpack_number(&s) != 0;
	}
	return !s.bad && nr <= SWAP_SPECS;
}

static void get_hist(struct source *s, struct hist *h)
{
	uint64_t numbers[3], there;

	*h = (struct hist){ 0 };
	unpack_group(s, numbers, 3);
	h->count = numbers[0];
	h->sum = numbers[1];
	h->max = numbers[2];
	there = unpack_number(s);
	for (uint64_t i = 0; i + 1 < there && !s->bad; i += 2) {
		uint64_t bucket = unpack_number(s), n = unpack_number(s);

		if (bucket < HIST_BUCKETS)
			h->bucket[bucket] = n;
		else
			s->bad = true;
	}
}

static void get_counters(struct source *s, const struct flight_run *run, uint64_t counter[VM_COUNTER_NR])
{
	uint64_t numbers[FLIGHT_COUNTERS_MAX];

	unpack_group(s, numbers, FLIGHT_COUNTERS_MAX);
	memset(counter, 0, VM_COUNTER_NR * sizeof(*counter));
	for (unsigned i = 0; i < run->nr_counters; i++)
		if (run->counter[i] < VM_COUNTER_NR)
			counter[run->counter[i]] = numbers[i];
}

static void get_sizes(struct source *s, struct ledger_usage *use, struct heap_sum *heap)
{
	struct sizes sizes;

	unpack_words(s, &sizes);
	*use = sizes.use;
	*heap = sizes.heap;
}

static void get_process(struct source *s, const struct flight_run *run, struct sample_process *p)
{
	uint64_t n[6];

	unpack_group(s, n, 6);
	*p = (struct sample_process){ .pid = (int32_t)n[0], .parent = (int32_t)n[1], .state = (enum ledger_state)n[2], .start = n[3],
				      .age_ns = n[4], .granted = n[5] };
	unpack_text(s, p->comm, sizeof(p->comm));
	get_sizes(s, &p->use, &p->heap);
	unpack_words(s, &p->frames);
	get_counters(s, run, p->counter);
}

static void get_areas(struct source *s, const struct flight_run *run, struct sample *to)
{
	uint64_t nr = unpack_number(s);

	s->bad |= nr > SWAP_SPECS;
	to->nr_areas = (unsigned)MIN(nr, SWAP_SPECS);
	for (unsigned i = 0; i < to->nr_areas; i++) {
		uint64_t n[3];

		unpack_group(s, n, 3);
		to->area[i] = (struct sample_area){ .pool = run->pool[i], .used = n[0], .errors = n[1],
						    .state = (enum swap_state)MIN(n[2], SWAP_DEAD) };
		memcpy(to->area[i].name, run->area[i], sizeof(to->area[i].name));
	}
}

static void get_processes(struct source *s, const struct flight_run *run, struct sample *to)
{
	uint64_t nr = unpack_number(s);
	struct sample_process *more;

	s->bad |= nr > LEDGER_SLOTS;
	to->nr = 0;
	if (s->bad || nr == 0)
		return;
	more = reallocarray(to->process, nr, sizeof(*more));
	s->bad |= more == NULL;
	if (more == NULL)
		return;
	to->process = more;
	while (to->nr < nr && !s->bad)
		get_process(s, run, &more[to->nr++]);
}

bool flight_get_sample(const struct flight_run *run, const uint8_t *payload, size_t bytes, struct sample *to)
{
	struct source s = { .at = payload, .end = payload + bytes };
	uint64_t n[4];

	unpack_group(&s, n, 4);
	to->ram = n[0];
	to->reserved = n[1];
	to->free = n[2];
	to->asked = n[3];
	get_sizes(&s, &to->use, &to->heap);
	unpack_words(&s, &to->frames);
	get_counters(&s, run, to->counter);
	get_hist(&s, &to->fault_ns);
	get_areas(&s, run, to);
	get_processes(&s, run, to);
	return !s.bad;
}

bool flight_get_event(const uint8_t *payload, size_t bytes, struct flight_event *e)
{
	struct source s = { .at = payload, .end = payload + bytes };

	e->bad = unpack_number(&s) != 0;
	unpack_text(&s, e->text, sizeof(e->text));
	return !s.bad;
}

bool flight_get_end(const uint8_t *payload, size_t bytes, char *fatal, size_t size, const char **json, size_t *len)
{
	struct source s = { .at = payload, .end = payload + bytes };

	unpack_text(&s, fatal, size);
	*json = unpack_bytes(&s, len);
	return !s.bad;
}
