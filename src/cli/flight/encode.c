/*
 * Payloads: numbers in LEB128 (seven bits a byte, the lowest first, the top bit: more follow), texts as their length and
 * bytes, groups as a count and so many numbers. A reader takes of a group what it knows: numbers that it lacks are 0, those
 * beyond are passed over, so that groups can grow without a new version.
 */
#include <stdlib.h>
#include <string.h>

#include "cli/flight/flight.h"

#define NUMBER_MAX 10 /* bytes */

/* --- putting --- */

static bool make_room(struct flight_bytes *b, size_t more)
{
	size_t room = b->room != 0 ? b->room : 4096;
	uint8_t *bytes;

	if (b->failed || b->room - b->len >= more)
		return !b->failed;
	while (room - b->len < more)
		room *= 2;
	bytes = realloc(b->bytes, room);
	b->failed = bytes == NULL;
	if (b->failed)
		return false;
	b->bytes = bytes;
	b->room = room;
	return true;
}

static void put_number(struct flight_bytes *b, uint64_t v)
{
	if (!make_room(b, NUMBER_MAX))
		return;
	for (; v >= 0x80; v >>= 7)
		b->bytes[b->len++] = (uint8_t)v | 0x80;
	b->bytes[b->len++] = (uint8_t)v;
}

static void put_bytes(struct flight_bytes *b, const void *bytes, size_t len)
{
	put_number(b, len);
	if (!make_room(b, len))
		return;
	memcpy(b->bytes + b->len, bytes, len);
	b->len += len;
}

static void put_text(struct flight_bytes *b, const char *text)
{
	put_bytes(b, text, strlen(text));
}

static void put_group(struct flight_bytes *b, const uint64_t *numbers, size_t n)
{
	put_number(b, n);
	for (size_t i = 0; i < n; i++)
		put_number(b, numbers[i]);
}

/* A structure of nothing but uint64_t, in the order of its fields. */
#define put_words(b, s) put_group(b, (const uint64_t *)(s), sizeof(*(s)) / sizeof(uint64_t))

#define COUNTER_BLANK(name, text) " " #name
#define COUNTER_WORD(name, text) #name,

void flight_put_run(struct flight_bytes *b, const struct flight_run *run)
{
	put_group(b, (const uint64_t[]){ (uint64_t)run->launcher, run->began, run->interval_ns }, 3);
	put_text(b, run->command);
	put_text(b, run->from);
	put_text(b, VM_COUNTERS(COUNTER_BLANK) + 1);
	put_number(b, run->nr_areas);
	for (unsigned i = 0; i < run->nr_areas; i++) {
		put_text(b, run->area[i]);
		put_number(b, run->pool[i]);
	}
}

/* Buckets that are not empty, as pairs of their number and what is in them. */
static void put_hist(struct flight_bytes *b, const struct hist *h)
{
	unsigned filled = 0;

	put_group(b, (const uint64_t[]){ h->count, h->sum, h->max }, 3);
	for (unsigned i = 0; i < HIST_BUCKETS; i++)
		filled += h->bucket[i] != 0;
	put_number(b, 2 * filled);
	for (unsigned i = 0; i < HIST_BUCKETS; i++) {
		if (h->bucket[i] != 0) {
			put_number(b, i);
			put_number(b, h->bucket[i]);
		}
	}
}

static void put_process(struct flight_bytes *b, const struct sample_process *p)
{
	put_group(b, (const uint64_t[]){ (uint64_t)p->pid, (uint64_t)p->parent, p->state, p->start, p->age_ns, p->granted }, 6);
	put_text(b, p->comm);
	put_words(b, &p->use);
	put_words(b, &p->frames);
	put_group(b, p->counter, VM_COUNTER_NR);
}

void flight_put_sample(struct flight_bytes *b, const struct sample *s)
{
	put_group(b, (const uint64_t[]){ s->ram, s->reserved, s->free, s->asked }, 4);
	put_words(b, &s->use);
	put_words(b, &s->frames);
	put_group(b, s->counter, VM_COUNTER_NR);
	put_hist(b, &s->fault_ns);
	put_number(b, s->nr_areas);
	for (unsigned i = 0; i < s->nr_areas; i++)
		put_group(b, (const uint64_t[]){ s->area[i].used, s->area[i].errors, s->area[i].state }, 3);
	put_number(b, s->nr);
	for (unsigned i = 0; i < s->nr; i++)
		put_process(b, &s->process[i]);
}

void flight_put_event(struct flight_bytes *b, const struct flight_event *e)
{
	put_number(b, e->bad);
	put_text(b, e->text);
}

void flight_put_end(struct flight_bytes *b, const char *fatal, const char *json, size_t len)
{
	put_text(b, fatal);
	put_bytes(b, json, len);
}

/* --- getting --- */

struct source {
	const uint8_t *at, *end;
	bool bad;
};

static uint64_t get_number(struct source *s)
{
	uint64_t v = 0;

	for (unsigned shift = 0; s->at < s->end && shift < 64; shift += 7) {
		uint8_t byte = *s->at++;

		v |= (uint64_t)(byte & 0x7f) << shift;
		if (byte < 0x80)
			return v;
	}
	s->bad = true;
	return 0;
}

static const char *get_bytes(struct source *s, size_t *len)
{
	uint64_t n = get_number(s);
	const uint8_t *bytes = s->at;

	if (n > (uint64_t)(s->end - s->at)) {
		s->bad = true;
		n = 0;
	}
	s->at += n;
	*len = n;
	return (const char *)bytes;
}

/* Cut if it is longer. */
static void get_text(struct source *s, char *text, size_t size)
{
	size_t len;
	const char *bytes = get_bytes(s, &len);

	len = MIN(len, size - 1);
	memcpy(text, bytes, len);
	text[len] = '\0';
}

static void get_group(struct source *s, uint64_t *numbers, size_t n)
{
	uint64_t there = get_number(s);

	memset(numbers, 0, n * sizeof(*numbers));
	for (uint64_t i = 0; i < there && !s->bad; i++) {
		uint64_t v = get_number(s);

		if (i < n)
			numbers[i] = v;
	}
}

#define get_words(s, to) get_group(s, (uint64_t *)(to), sizeof(*(to)) / sizeof(uint64_t))

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

	get_group(&s, numbers, 3);
	run->launcher = (int32_t)numbers[0];
	run->began = numbers[1];
	run->interval_ns = numbers[2];
	get_text(&s, run->command, sizeof(run->command));
	get_text(&s, run->from, sizeof(run->from));
	names = get_bytes(&s, &len);
	find_counters(run, names, len);
	uint64_t nr = get_number(&s);

	run->nr_areas = (unsigned)MIN(nr, SWAP_SPECS);
	for (unsigned i = 0; i < run->nr_areas; i++) {
		get_text(&s, run->area[i], sizeof(run->area[i]));
		run->pool[i] = get_number(&s) != 0;
	}
	return !s.bad && nr <= SWAP_SPECS;
}

static void get_hist(struct source *s, struct hist *h)
{
	uint64_t numbers[3], there;

	*h = (struct hist){ 0 };
	get_group(s, numbers, 3);
	h->count = numbers[0];
	h->sum = numbers[1];
	h->max = numbers[2];
	there = get_number(s);
	for (uint64_t i = 0; i + 1 < there && !s->bad; i += 2) {
		uint64_t bucket = get_number(s), n = get_number(s);

		if (bucket < HIST_BUCKETS)
			h->bucket[bucket] = n;
		else
			s->bad = true;
	}
}

static void get_counters(struct source *s, const struct flight_run *run, uint64_t counter[VM_COUNTER_NR])
{
	uint64_t numbers[FLIGHT_COUNTERS_MAX];

	get_group(s, numbers, FLIGHT_COUNTERS_MAX);
	memset(counter, 0, VM_COUNTER_NR * sizeof(*counter));
	for (unsigned i = 0; i < run->nr_counters; i++)
		if (run->counter[i] < VM_COUNTER_NR)
			counter[run->counter[i]] = numbers[i];
}

static void get_process(struct source *s, const struct flight_run *run, struct sample_process *p)
{
	uint64_t n[6];

	get_group(s, n, 6);
	*p = (struct sample_process){ .pid = (int32_t)n[0], .parent = (int32_t)n[1], .state = (enum ledger_state)n[2], .start = n[3],
				      .age_ns = n[4], .granted = n[5] };
	get_text(s, p->comm, sizeof(p->comm));
	get_words(s, &p->use);
	get_words(s, &p->frames);
	get_counters(s, run, p->counter);
}

static void get_areas(struct source *s, const struct flight_run *run, struct sample *to)
{
	uint64_t nr = get_number(s);

	s->bad |= nr > SWAP_SPECS;
	to->nr_areas = (unsigned)MIN(nr, SWAP_SPECS);
	for (unsigned i = 0; i < to->nr_areas; i++) {
		uint64_t n[3];

		get_group(s, n, 3);
		to->area[i] = (struct sample_area){ .pool = run->pool[i], .used = n[0], .errors = n[1],
						    .state = (enum swap_state)MIN(n[2], SWAP_DEAD) };
		memcpy(to->area[i].name, run->area[i], sizeof(to->area[i].name));
	}
}

static void get_processes(struct source *s, const struct flight_run *run, struct sample *to)
{
	uint64_t nr = get_number(s);
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

	get_group(&s, n, 4);
	to->ram = n[0];
	to->reserved = n[1];
	to->free = n[2];
	to->asked = n[3];
	get_words(&s, &to->use);
	get_words(&s, &to->frames);
	get_counters(&s, run, to->counter);
	get_hist(&s, &to->fault_ns);
	get_areas(&s, run, to);
	get_processes(&s, run, to);
	return !s.bad;
}

bool flight_get_event(const uint8_t *payload, size_t bytes, struct flight_event *e)
{
	struct source s = { .at = payload, .end = payload + bytes };

	e->bad = get_number(&s) != 0;
	get_text(&s, e->text, sizeof(e->text));
	return !s.bad;
}

bool flight_get_end(const uint8_t *payload, size_t bytes, char *fatal, size_t size, const char **json, size_t *len)
{
	struct source s = { .at = payload, .end = payload + bytes };

	get_text(&s, fatal, size);
	*json = get_bytes(&s, len);
	return !s.bad;
}
