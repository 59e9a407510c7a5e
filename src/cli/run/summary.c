/*
 * The two forms of the same figures. A quantity is in pages or nanoseconds in
 * the ledger; people get MiB and ms, the file gets bytes and ns.
 */
#include "cli/run/summary.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/size.h"
#include "cli/json.h"
#include "cli/msg.h"
#include "cli/table.h"

#define SCHEMA 2

static uint64_t bytes(uint64_t pages)
{
	return pages << PAGE_SHIFT;
}

/* No process counts launcher and ledger as its own. */
static uint64_t own_bytes(const struct summary *s)
{
	return bytes(s->total->peak.own) + s->launcher_bytes;
}

static uint64_t peak_bytes(const struct summary *s)
{
	return bytes(ledger_usage_total(&s->total->peak)) + s->launcher_bytes;
}

static uint64_t counter(const struct summary *s, enum vm_counter c)
{
	return s->total->counter[c];
}

static bool fitted(const struct summary *s)
{
	return counter(s, VM_pgfault) == 0 && counter(s, VM_pswpout) == 0 && s->watch->fatal[0] == '\0';
}

/* a / b in hundredths; 0 if there is no b. */
static uint64_t ratio_hundredths(uint64_t a, uint64_t b)
{
	return b != 0 ? (uint64_t)(((unsigned __int128)a * 100 + b / 2) / b) : 0;
}

/* --- for people --- */

static void rows_memory(struct table *t, const struct summary *s)
{
	const struct ledger_usage *peak = &s->total->peak;
	uint64_t budget = bytes(s->ledger->ram_pages), need = bytes(s->total->need_peak);

	table_row(t, "budget");
	put_bytes(&t->f, "", budget, "");
	if (s->filecache->most_pages > 0)
		put_bytes(&t->f, ", of which up to ", bytes(s->filecache->most_pages), " were left to the page cache");
	if (s->uncounted->most_pages > 0)
		put_bytes(&t->f, ", of which up to ", bytes(s->uncounted->most_pages), " were taken by what no process counts");
	table_row(t, "peak");
	put_bytes(&t->f, "", peak_bytes(s), " = ");
	put_bytes(&t->f, "managed ", bytes(peak->managed), " + ");
	put_bytes(&t->f, "pool ", bytes(peak->pool), " + ");
	put_bytes(&t->f, "Steward ", own_bytes(s), " + ");
	put_bytes(&t->f, "unmanaged ", bytes(peak->unmanaged), "");
	table_row(t, "without Steward");
	put_bytes(&t->f, "", need, " would have been needed");
	if (need > budget) {
		fmt_str(&t->f, ", ");
		fmt_fixed(&t->f, ratio_hundredths(need, budget), 2);
		fmt_str(&t->f, " times the budget");
	}
	table_row(t, "processes");
	put_count(&t->f, s->total->processes);
	if (s->total->running > 0)
		put_some(&t->f, ", ", s->total->running, " of them still running");
	if (counter(s, VM_oom_kill) > 0)
		put_some(&t->f, ", ", counter(s, VM_oom_kill), " killed for want of memory");
}

static void row_area(struct table *t, const struct swap_spec *spec, const struct ledger_area *a)
{
	table_row(t, spec->kind == SWAP_NBD ? "swap server" : "swap file");
	put_bytes(&t->f, "", bytes(a->used), " in ");
	fmt_str(&t->f, spec->path);
	if (a->worst != SWAP_OK) {
		fmt_str(&t->f, ", ");
		fmt_str(&t->f, swap_state_name(a->worst));
	}
	if (a->errors != 0)
		put_some(&t->f, ", ", a->errors, " errors");
}

static void row_pool(struct table *t, const struct watch *w)
{
	table_row(t, "pool");
	put_bytes(&t->f, "", bytes(w->pooled_peak), "");
	put_bytes(&t->f, " in ", w->pool_bytes, ", ratio ");
	fmt_fixed(&t->f, ratio_hundredths(bytes(w->pooled_peak), w->pool_bytes), 2);
}

static void rows_paging(struct table *t, const struct summary *s)
{
	const struct watch *w = s->watch;

	table_row(t, "faults");
	put_some(&t->f, "", counter(s, VM_pgfault), ": ");
	put_some(&t->f, "", counter(s, VM_pgminor), " minor, ");
	put_some(&t->f, "", counter(s, VM_pgsoft), " soft, ");
	put_some(&t->f, "", counter(s, VM_pgmajfault), " major");
	table_row(t, "pages out");
	put_some(&t->f, "", counter(s, VM_pswpout), "");
	put_some(&t->f, ", ", counter(s, VM_pgsame), " of one repeated word");
	put_some(&t->f, "; ", counter(s, VM_pgdiscard), " dropped because they were free");
	table_row(t, "pages in");
	put_some(&t->f, "", counter(s, VM_pswpin), "");
	put_some(&t->f, ", ", counter(s, VM_swap_ra), " of them read ahead");
	for (unsigned i = 0; i < s->ledger->nr_swap; i++) {
		if (s->ledger->swap[i].kind == SWAP_POOL)
			row_pool(t, w);
		else
			row_area(t, &s->ledger->swap[i], &w->area[i]);
	}
}

static void rows_time(struct table *t, const struct summary *s)
{
	const struct hist *h = &s->total->fault_ns;

	table_row(t, "stalled");
	put_time(&t->f, "", counter(s, VM_stall_ns), " in all threads");
	put_time(&t->f, "; a fault: p50 ", hist_quantile(h, 500), "");
	put_time(&t->f, ", p99 ", hist_quantile(h, 990), "");
	put_time(&t->f, ", longest ", h->max, "");
	table_row(t, "time");
	put_time(&t->f, "", s->outcome->wall_ns, " elapsed, ");
	put_time(&t->f, "", s->outcome->user_ns, " user, ");
	put_time(&t->f, "", s->outcome->system_ns, " system");
}

static void print_counters(const struct summary *s)
{
	static const struct {
		const char *name, *text;
	} counters[] = {
#define COUNTER_ROW(n, t) { #n, t },
		VM_COUNTERS(COUNTER_ROW)
#undef COUNTER_ROW
	};

	for (unsigned i = 0; i < ARRAY_SIZE(counters); i++) {
		if (s->total->counter[i] != 0)
			fprintf(stderr, "  %-18s %16llu  %s\n", counters[i].name,
				(unsigned long long)s->total->counter[i], counters[i].text);
	}
}

static void print_fitted(const struct summary *s)
{
	char peak[32], budget[32];
	struct fmt f;

	fmt_init(&f, peak, sizeof(peak));
	fmt_size(&f, peak_bytes(s));
	fmt_init(&f, budget, sizeof(budget));
	fmt_size(&f, bytes(s->ledger->ram_pages));
	if (peak_bytes(s) <= bytes(s->ledger->ram_pages))
		msg_note("fitted: Steward did nothing (peak %s of %s)", peak, budget);
	else
		msg_note("Steward did nothing, and yet the peak was %s of %s: what took it was outside of its reach", peak, budget);
}

void summary_print(const struct summary *s, bool verbose)
{
	static struct table t;

	if (s->outcome->signal != 0)
		msg_note("%s: ended by signal %d (%s)%s", s->argv[0], s->outcome->signal, strsignal(s->outcome->signal),
			 s->outcome->core ? ", core dumped" : "");
	if (s->killed_outside > 0)
		msg_note("the kernel killed %llu of the processes: the memory limit around the run was reached (%s); raise it, or lower --ram, "
			 "because shared memory, copies after fork and the kernel's own need come on top",
			 (unsigned long long)s->killed_outside, s->cgroup->file);
	if (s->total->processes == 0) {
		msg_note("%s: Steward's library was not loaded, so nothing was managed; unset LD_PRELOAD tricks in its start script",
			 s->argv[0]);
		return;
	}
	if (fitted(s)) {
		print_fitted(s);
	} else {
		table_init(&t);
		rows_memory(&t, s);
		rows_paging(&t, s);
		rows_time(&t, s);
		fmt_char(&t.f, '\n');
		msg_note("%s", s->argv[0]);
		(void)write_all(STDERR_FILENO, t.text, t.f.len);
	}
	if (verbose)
		print_counters(s);
}

/* --- for programs --- */

static void write_command(struct json *j, const struct summary *s)
{
	json_array(j, "command");
	for (char **a = s->argv; *a != NULL; a++)
		json_string(j, NULL, *a);
	json_array_end(j);
	json_object(j, "exit");
	json_u64(j, "status", (uint64_t)s->outcome->status);
	if (s->outcome->signal != 0)
		json_u64(j, "signal", (uint64_t)s->outcome->signal);
	else
		json_null(j, "signal");
	json_object_end(j);
	if (s->watch->fatal[0] != '\0')
		json_string(j, "fatal", s->watch->fatal);
	else
		json_null(j, "fatal");
	json_object(j, "time");
	json_u64(j, "wall_ns", s->outcome->wall_ns);
	json_u64(j, "user_ns", s->outcome->user_ns);
	json_u64(j, "system_ns", s->outcome->system_ns);
	json_object_end(j);
}

static void write_memory(struct json *j, const struct summary *s)
{
	const struct ledger_usage *peak = &s->total->peak;
	const struct ledger *l = s->ledger;

	json_object(j, "budget");
	json_u64(j, "ram_bytes", bytes(l->ram_pages));
	json_string(j, "from", s->budget_from);
	json_u64(j, "launcher_bytes", bytes(l->reserved_pages));
	json_u64(j, "granted_peak_bytes", bytes(atomic_load(&l->peak_granted)));
	json_u64(j, "page_cache_peak_bytes", bytes(s->filecache->most_pages));
	json_u64(j, "uncounted_peak_bytes", bytes(s->uncounted->most_pages));
	json_object_end(j);

	json_object(j, "processes");
	json_u64(j, "total", s->total->processes);
	json_u64(j, "running", s->total->running);
	json_object_end(j);

	json_object(j, "peak");
	json_u64(j, "total_bytes", peak_bytes(s));
	json_u64(j, "managed_bytes", bytes(peak->managed));
	json_u64(j, "pool_bytes", bytes(peak->pool));
	json_u64(j, "own_bytes", own_bytes(s));
	json_u64(j, "unmanaged_bytes", bytes(peak->unmanaged));
	json_object_end(j);
	json_u64(j, "need_peak_bytes", bytes(s->total->need_peak));
	squeeze_write(s->squeeze, j);
}

static void write_area(struct json *j, const struct swap_spec *spec, const struct ledger_area *a)
{
	json_object(j, NULL);
	json_string(j, "kind", spec->kind == SWAP_POOL ? "pool" : spec->kind == SWAP_NBD ? "nbd" : "file");
	if (spec->kind == SWAP_POOL)
		json_string(j, "codec", spec->codec == SWAP_ZSTD ? "zstd" : "lz4");
	else
		json_string(j, "path", spec->path);
	json_bool(j, "encrypted", spec->encrypt);
	json_u64(j, "size_bytes", spec->bytes);
	json_i64(j, "prio", spec->prio);
	json_u64(j, "used_peak_bytes", bytes(a->used));
	json_u64(j, "errors", a->errors);
	json_string(j, "state", swap_state_name(a->worst));
	json_object_end(j);
}

static void write_stores(struct json *j, const struct summary *s)
{
	const struct watch *w = s->watch;

	json_object(j, "pool");
	json_u64(j, "stored_peak_bytes", bytes(w->pooled_peak));
	json_u64(j, "compressed_bytes", w->pool_bytes);
	json_u64(j, "memory_bytes", bytes(w->pool_frames));
	if (w->pool_bytes != 0)
		json_fixed(j, "ratio", ratio_hundredths(bytes(w->pooled_peak), w->pool_bytes), 2);
	else
		json_null(j, "ratio");
	json_object_end(j);
	json_array(j, "areas");
	for (unsigned i = 0; i < s->ledger->nr_swap; i++)
		write_area(j, &s->ledger->swap[i], &w->area[i]);
	json_array_end(j);
}

static void write_counters(struct json *j, const struct summary *s)
{
	json_object(j, "counters");
#define COUNTER_JSON(name, text) json_u64(j, #name, counter(s, VM_##name));
	VM_COUNTERS(COUNTER_JSON)
#undef COUNTER_JSON
	json_object_end(j);
}

int summary_write(const struct summary *s, int fd)
{
	static struct json j;

	json_init(&j, fd);
	json_object(&j, NULL);
	json_u64(&j, "schema", SCHEMA);
	json_string(&j, "version", STW_VERSION);
	write_command(&j, s);
	json_bool(&j, "fitted", fitted(s));
	write_memory(&j, s);
	write_stores(&j, s);
	write_counters(&j, s);
	json_hist(&j, "fault_ns", &s->total->fault_ns);
	json_object_end(&j);
	return json_finish(&j);
}
