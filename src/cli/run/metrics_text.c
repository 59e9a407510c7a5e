/*
 * Names and units by Prometheus' conventions: base units (bytes, seconds), _total for what only grows, one metric
 * for one thing with a label for its kinds, whose sum or each of which means something. Everything is about the run as
 * a whole: a series for each of two hundred short processes would cost its reader more than it says.
 */
#include "cli/run/metrics_text.h"

#include "cli/draw/utf8.h"

static void head(struct fmt *f, const char *name, const char *type, const char *help)
{
	fmt_str(f, "# HELP steward_");
	fmt_str(f, name);
	fmt_char(f, ' ');
	fmt_str(f, help);
	fmt_str(f, "\n# TYPE steward_");
	fmt_str(f, name);
	fmt_char(f, ' ');
	fmt_str(f, type);
	fmt_char(f, '\n');
}

/* A scrape that is not UTF-8 is refused as a whole: what is no character, or was cut, becomes U+FFFD. */
static void label_value(struct fmt *f, const char *value)
{
	while (*value != '\0') {
		unsigned n = utf8_len((const unsigned char *)value);

		if (*value == '"' || *value == '\\')
			fmt_char(f, '\\');
		if (n == 0)
			fmt_str(f, "\xef\xbf\xbd");
		for (unsigned i = 0; i < n; i++)
			fmt_char(f, value[i]);
		value += n != 0 ? n : 1;
	}
}

/* label: NULL for none. */
static void series(struct fmt *f, const char *name, const char *label, const char *value)
{
	fmt_str(f, "steward_");
	fmt_str(f, name);
	if (label != NULL) {
		fmt_char(f, '{');
		fmt_str(f, label);
		fmt_str(f, "=\"");
		label_value(f, value);
		fmt_str(f, "\"}");
	}
	fmt_char(f, ' ');
}

static void number(struct fmt *f, const char *name, const char *label, const char *value, uint64_t v)
{
	series(f, name, label, value);
	fmt_u64(f, v);
	fmt_char(f, '\n');
}

static void pages(struct fmt *f, const char *name, const char *label, const char *value, uint64_t n)
{
	number(f, name, label, value, n << PAGE_SHIFT);
}

static void seconds(struct fmt *f, const char *name, uint64_t ns)
{
	series(f, name, NULL, NULL);
	fmt_fixed(f, ns, 9);
	fmt_char(f, '\n');
}

static void put_run(struct fmt *f, const struct sample *s)
{
	static const enum ledger_state states[] = { LEDGER_NATIVE, LEDGER_ARMED, LEDGER_ENGAGED, LEDGER_FATAL };
	uint64_t count[LEDGER_FATAL + 1] = { 0 };

	for (unsigned i = 0; i < s->nr; i++)
		count[MIN(s->process[i].state, LEDGER_FATAL)]++;
	head(f, "run_info", "gauge", "The run: always 1, its command in a label.");
	number(f, "run_info", "command", s->command, 1);
	head(f, "run_age_seconds", "gauge", "Time since the launcher started.");
	seconds(f, "run_age_seconds", s->age_ns);
	head(f, "processes", "gauge", "Processes of the run, by state.");
	for (unsigned i = 0; i < ARRAY_SIZE(states); i++)
		number(f, "processes", "state", sample_state(states[i]), count[states[i]]);
}

static void put_memory(struct fmt *f, const struct sample *s)
{
	const struct ledger_usage *u = &s->use;

	head(f, "budget_bytes", "gauge", "The budget, --ram.");
	pages(f, "budget_bytes", NULL, NULL, s->ram);
	head(f, "budget_free_bytes", "gauge", "Part of the budget that no process has been granted.");
	pages(f, "budget_free_bytes", NULL, NULL, s->free);
	head(f, "memory_bytes", "gauge", "Memory that the run uses of its budget, by kind.");
	pages(f, "memory_bytes", "kind", "managed", u->managed);
	pages(f, "memory_bytes", "kind", "unmanaged", u->unmanaged);
	pages(f, "memory_bytes", "kind", "pool", u->pool);
	pages(f, "memory_bytes", "kind", "own", u->own + s->reserved);
	head(f, "swapped_bytes", "gauge", "Pages that are out, by where they are.");
	pages(f, "swapped_bytes", "store", "pool", u->pooled);
	pages(f, "swapped_bytes", "store", "file", u->filed);
	head(f, "swap_area_bytes", "gauge", "Pages in each swap area.");
	for (unsigned i = 0; i < s->nr_areas; i++)
		pages(f, "swap_area_bytes", "area", s->area[i].name, s->area[i].used);
	head(f, "swap_area_healthy", "gauge", "1: it takes pages, or would if it were not full; 0: it fails.");
	for (unsigned i = 0; i < s->nr_areas; i++)
		number(f, "swap_area_healthy", "area", s->area[i].name, s->area[i].state <= SWAP_FULL);
	head(f, "pool_compressed_bytes", "gauge", "What the pages in the pool are compressed to.");
	number(f, "pool_compressed_bytes", NULL, NULL, u->pool_bytes);
}

static void put_frames(struct fmt *f, const struct ledger_frames *r)
{
	head(f, "free_bytes", "gauge", "Free frames of processes whose memory is managed.");
	pages(f, "free_bytes", NULL, NULL, r->free);
	head(f, "watermark_bytes", "gauge", "Watermarks of the free frames.");
	pages(f, "watermark_bytes", "mark", "min", r->min);
	pages(f, "watermark_bytes", "mark", "low", r->low);
	pages(f, "watermark_bytes", "mark", "high", r->high);
	head(f, "lru_bytes", "gauge", "Resident pages by the list that they are on.");
	pages(f, "lru_bytes", "list", "active", r->active);
	pages(f, "lru_bytes", "list", "inactive", r->inactive);
	pages(f, "lru_bytes", "list", "sample", r->sample);
}

/* The kinds add up to what is held. */
static void put_heap(struct fmt *f, const struct heap_sum *h)
{
	head(f, "heap_bytes", "gauge", "What malloc holds in the processes of the run, by what it is.");
	number(f, "heap_bytes", "kind", "live", h->live);
	number(f, "heap_bytes", "kind", "free_slots", h->free_slots);
	number(f, "heap_bytes", "kind", "cached", h->cached);
	number(f, "heap_bytes", "kind", "free_chunks", h->free_chunks);
	number(f, "heap_bytes", "kind", "meta", h->meta);
}

/* Those of them that tell a run's health have names of their own; the rest is as in /proc/vmstat. */
static void put_counters(struct fmt *f, const uint64_t *c)
{
	static const struct {
		const char *name, *help;
	} counters[] = {
#define COUNTER_NAME(n, text) { "vm_" #n "_total", text },
		VM_COUNTERS(COUNTER_NAME)
#undef COUNTER_NAME
	};

	head(f, "faults_total", "counter", "Page faults that Steward served, by kind.");
	number(f, "faults_total", "kind", "minor", c[VM_pgminor]);
	number(f, "faults_total", "kind", "soft", c[VM_pgsoft]);
	number(f, "faults_total", "kind", "major", c[VM_pgmajfault]);
	head(f, "stall_seconds_total", "counter", "Time that threads waited for their faults.");
	seconds(f, "stall_seconds_total", c[VM_stall_ns]);
	head(f, "kswapd_seconds_total", "counter", "Time that kswapd worked.");
	seconds(f, "kswapd_seconds_total", c[VM_kswapd_ns]);
	for (unsigned i = 0; i < VM_COUNTER_NR; i++) {
		if (i == VM_pgminor || i == VM_pgsoft || i == VM_pgmajfault || i == VM_stall_ns || i == VM_kswapd_ns)
			continue;
		head(f, counters[i].name, "counter", counters[i].help);
		number(f, counters[i].name, NULL, NULL, c[i]);
	}
}

/* From one microsecond, about, to one second, in steps of four: their borders are borders of struct hist, too. */
static void put_faults(struct fmt *f, const struct hist *h)
{
	uint64_t sum = 0;
	unsigned at = 0;

	head(f, "fault_duration_seconds", "histogram", "Time from the delivery of a fault to the wake-up of its thread.");
	for (unsigned power = 10; power <= 30; power += 2) {
		char le[24];
		struct fmt border;

		for (; at < HIST_BUCKETS && hist_floor(at) < (uint64_t)1 << power; at++)
			sum += h->bucket[at];
		fmt_init(&border, le, sizeof(le));
		fmt_fixed(&border, (uint64_t)1 << power, 9);
		number(f, "fault_duration_seconds_bucket", "le", le, sum);
	}
	for (; at < HIST_BUCKETS; at++)
		sum += h->bucket[at];
	number(f, "fault_duration_seconds_bucket", "le", "+Inf", sum);
	seconds(f, "fault_duration_seconds_sum", h->sum);
	number(f, "fault_duration_seconds_count", NULL, NULL, sum);
}

void metrics_text(struct fmt *f, const struct sample *s)
{
	put_run(f, s);
	put_memory(f, s);
	put_frames(f, &s->frames);
	put_heap(f, &s->heap);
	put_counters(f, s->counter);
	put_faults(f, &s->fault_ns);
}
