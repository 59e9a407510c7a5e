#include "cli/sim/report.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cli/json.h"
#include "cli/msg.h"
#include "cli/outfile.h"
#include "cli/simfigures.h"
#include "cli/table.h"

#define SCHEMA 1
#define TIMELINE_ROWS 16

static uint64_t pages(uint64_t n)
{
	return n << PAGE_SHIFT;
}

static void rows_machine(struct table *t, const struct sim *s)
{
	uint64_t managed = 0;

	for (unsigned node = 0; node < s->m.phys.nr_nodes; node++)
		managed += phys_managed_frames(&s->m.phys, node);
	table_row(t, "memory");
	put_bytes(&t->f, "", pages(managed), "");
	if (s->m.limit != UINT64_MAX)
		put_bytes(&t->f, ", limit ", pages(s->m.limit), "");
	table_row(t, "policy");
	fmt_str(&t->f, s->m.policy->name);
	if (!s->config.accessed_bits)
		fmt_str(&t->f, ", without accessed bits");
	table_row(t, "touches");
	put_count(&t->f, s->touches);
	if (s->touches > 0) {
		put_percent(&t->f, ", a TLB had ", figures_tlb_hits(s), s->touches, " %");
		put_some(&t->f, "; ", figures_walks(s), " walks");
	}
}

static void rows_paging(struct table *t, const struct sim *s)
{
	const uint64_t *c = s->counter;

	table_row(t, "faults");
	put_count(&t->f, figures_all_faults(s));
	for (unsigned k = 0; k < SIM_NR_FAULTS; k++) {
		put_some(&t->f, k == 0 ? ": " : ", ", figures_faults(s, (enum sim_fault)k), " ");
		fmt_str(&t->f, figures_fault_name[k]);
	}
	table_row(t, "pages");
	put_some(&t->f, "", c[VM_pswpout], " to swap");
	put_some(&t->f, " (", c[VM_pgclean], " of them unchanged)");
	put_some(&t->f, ", ", c[VM_pswpin], " back");
	if (c[VM_pgfilein] + c[VM_pgfileout] > 0) {
		table_row(t, "files");
		put_some(&t->f, "", c[VM_pgfilein], " pages read, ");
		put_some(&t->f, "", c[VM_pgfileout], " written");
	}
	table_row(t, "reclaim");
	put_some(&t->f, "kswapd freed ", c[VM_pgsteal_kswapd], " of ");
	put_some(&t->f, "", c[VM_pgscan_kswapd], ", direct reclaim ");
	put_some(&t->f, "", c[VM_pgsteal_direct], " of ");
	put_some(&t->f, "", c[VM_pgscan_direct], " looked at");
	put_some(&t->f, " in ", c[VM_allocstall], " calls");
	table_row(t, "refaults");
	put_some(&t->f, "", c[VM_workingset_refault], ", ");
	put_some(&t->f, "", c[VM_workingset_activate], " of them within the working set");
	if (figures_shootdowns(s) > 0) {
		table_row(t, "shootdowns");
		put_count(&t->f, figures_shootdowns(s));
	}
}

static void rows_time(struct table *t, const struct sim *s)
{
	double own = figures_own_time(s), now = sim_now(s);

	table_row(t, "time");
	put_time(&t->f, "", (uint64_t)now, "");
	put_time(&t->f, ", ", (uint64_t)own, " with memory without end");
	if (own > 0) {
		fmt_str(&t->f, ": ");
		fmt_fixed(&t->f, (uint64_t)(now / own * 100), 2);
		fmt_str(&t->f, " times");
	}
	if (s->fault_ns.count > 0) {
		table_row(t, "a fault");
		put_time(&t->f, "p50 ", hist_quantile(&s->fault_ns, 500), ", ");
		put_time(&t->f, "p99 ", hist_quantile(&s->fault_ns, 990), ", ");
		put_time(&t->f, "longest ", s->fault_ns.max, "");
	}
}

static const char *printable(const char *text, char *buf, size_t size)
{
	snprintf(buf, size, "%s", text);
	msg_clean(buf);
	return buf;
}

static void print_tasks(const struct sim *s)
{
	printf("\n  task  %-20s %10s %10s %10s %10s  end\n", "name", "largest", "minor", "major", "stalled");
	for (uint32_t i = 0; i < s->nr_tasks; i++) {
		const struct sim_task *task = s->task[i];
		char size[32], stall[32], name[SIM_TASK_NAME];
		struct fmt f;

		if (task == NULL)
			continue;
		fmt_init(&f, size, sizeof(size));
		put_bytes(&f, "", pages(task->rss_max), "");
		fmt_init(&f, stall, sizeof(stall));
		put_time(&f, "", (uint64_t)task->stall_ns, "");
		printf("  %4u  %-20.20s %10s %10llu %10llu %10s  %s\n", task->number,
		       task->name[0] != '\0' ? printable(task->name, name, sizeof(name)) : "-", size,
		       (unsigned long long)(task->faults[SIM_MINOR] + task->faults[SIM_SOFT] + task->faults[SIM_COW]),
		       (unsigned long long)task->faults[SIM_MAJOR], stall, figures_end_name[task->end]);
	}
}

static uint64_t sum_nodes(const struct sim *s, const uint64_t *per_node)
{
	uint64_t n = 0;

	for (unsigned node = 0; node < s->m.phys.nr_nodes; node++)
		n += per_node[node];
	return n;
}

/* TIMELINE_ROWS lines, each from where the one before ends. */
static void print_timeline(const struct sim *s)
{
	const struct sim_sample *before = NULL;

	printf("\n  %9s %9s %9s %9s %9s %9s %9s %9s %9s\n", "time", "free", "inactive", "active", "files", "swap", "minor/s",
	       "major/s", "scan/s");
	for (uint32_t row = 0; row < TIMELINE_ROWS; row++) {
		uint32_t at = (uint32_t)((uint64_t)(row + 1) * s->nr_samples / TIMELINE_ROWS);
		const struct sim_sample *p = at == 0 ? NULL : &s->sample[at - 1];
		static const struct sim_sample start;

		if (p == NULL || p == before)
			continue;
		const struct sim_sample *b = before != NULL ? before : &start;
		double seconds = (p->now_ns - b->now_ns) / 1e9;
		const uint64_t sizes[] = { sum_nodes(s, p->free), p->lists[0] + p->sample, p->lists[1], p->lists[2] + p->lists[3],
					   p->swap_used };
		const double rates[] = { (double)(p->faults[SIM_MINOR] - b->faults[SIM_MINOR]),
					 (double)(p->faults[SIM_MAJOR] - b->faults[SIM_MAJOR]), (double)(p->scanned - b->scanned) };
		char text[32];
		struct fmt f;

		fmt_init(&f, text, sizeof(text));
		put_time(&f, "", (uint64_t)p->now_ns, "");
		printf("  %9s", text);
		for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
			fmt_init(&f, text, sizeof(text));
			put_bytes(&f, "", pages(sizes[i]), "");
			printf(" %9s", text);
		}
		for (unsigned i = 0; i < ARRAY_SIZE(rates); i++)
			printf(" %9.0f", seconds > 0 ? rates[i] / seconds : 0);
		printf("\n");
		before = p;
	}
}

int simreport_print(const struct sim *s, bool timeline)
{
	struct table t;

	table_init(&t);
	rows_machine(&t, s);
	rows_paging(&t, s);
	rows_time(&t, s);
	printf("%s\n%s\n", s->config.name, t.text);
	print_tasks(s);
	if (timeline)
		print_timeline(s);
	for (uint32_t i = 0; i < s->nr_oom; i++) {
		char text[sizeof(s->oom[i].text)];

		printf("\n  at %.3f s: %s\n", s->oom[i].now_ns / 1e9, printable(s->oom[i].text, text, sizeof(text)));
	}
	if (fflush(stdout) != 0)
		return msg_fail(1, "standard output", "%s; send it somewhere else", strerror(errno));
	return 0;
}

/* --- for programs --- */

static uint64_t whole(double ns)
{
	return (uint64_t)(ns + 0.5);
}

static void json_faults(struct json *j, const char *key, const uint64_t *n)
{
	json_object(j, key);
	for (unsigned k = 0; k < SIM_NR_FAULTS; k++)
		json_u64(j, figures_fault_name[k], n[k]);
	json_object_end(j);
}

static void json_tasks(struct json *j, const struct sim *s)
{
	json_array(j, "tasks");
	for (uint32_t i = 0; i < s->nr_tasks; i++) {
		const struct sim_task *t = s->task[i];

		if (t == NULL)
			continue;
		json_object(j, NULL);
		json_u64(j, "task", t->number);
		json_string(j, "name", t->name);
		json_string(j, "end", figures_end_name[t->end]);
		json_u64(j, "touches", t->touches);
		json_faults(j, "faults", t->faults);
		json_u64(j, "invalid", t->invalid);
		json_u64(j, "rss_max_bytes", pages(t->rss_max));
		json_u64(j, "own_ns", whole(t->own_ns));
		json_u64(j, "stall_ns", whole(t->stall_ns));
		json_object_end(j);
	}
	json_array_end(j);
}

static void json_timeline(struct json *j, const struct sim *s)
{
	static const char *const lists[] = { "inactive_anon_pages", "active_anon_pages", "inactive_file_pages",
					     "active_file_pages" };

	json_array(j, "timeline");
	for (uint32_t i = 0; i < s->nr_samples; i++) {
		const struct sim_sample *p = &s->sample[i];

		json_object(j, NULL);
		json_u64(j, "ns", whole(p->now_ns));
		json_u64(j, "touches", p->touches);
		json_faults(j, "faults", p->faults);
		json_u64(j, "tlb_misses", p->tlb_misses);
		json_u64(j, "scanned", p->scanned);
		json_u64(j, "swapped_in", p->swapped_in);
		json_u64(j, "swapped_out", p->swapped_out);
		json_array(j, "free_pages");
		for (unsigned node = 0; node < s->m.phys.nr_nodes; node++)
			json_u64(j, NULL, p->free[node]);
		json_array_end(j);
		json_u64(j, "charged_pages", p->charged);
		for (unsigned k = 0; k < ARRAY_SIZE(lists); k++)
			json_u64(j, lists[k], p->lists[k]);
		json_u64(j, "sample_pages", p->sample);
		json_u64(j, "cached_pages", p->cached);
		json_u64(j, "dirty_pages", p->dirty);
		json_u64(j, "table_pages", p->tables);
		json_u64(j, "swap_pages", p->swap_used);
		json_object_end(j);
	}
	json_array_end(j);
}

static void json_nodes(struct json *j, const struct sim *s)
{
	json_array(j, "zones");
	for (unsigned i = 0; i < s->m.phys.nr_zones; i++) {
		const struct zone *z = &s->m.phys.zones[i];

		json_object(j, NULL);
		json_string(j, "name", z->name);
		json_u64(j, "node", z->node);
		json_u64(j, "managed_pages", z->managed);
		json_u64(j, "free_pages", z->free);
		json_u64(j, "min_pages", z->wmark[WMARK_MIN]);
		json_u64(j, "low_pages", z->wmark[WMARK_LOW]);
		json_u64(j, "high_pages", z->wmark[WMARK_HIGH]);
		json_object_end(j);
	}
	json_array_end(j);
}

static void json_tlbs(struct json *j, const struct sim *s)
{
	json_array(j, "tlbs");
	for (unsigned i = 0; i < s->config.nr_tlbs; i++) {
		uint64_t hits = 0;

		for (unsigned cpu = 0; cpu < s->config.cpus; cpu++)
			hits += mmu_stat(s->cpu[cpu].mmu)->hits[i];
		json_object(j, NULL);
		json_string(j, "name", s->config.tlb[i].name);
		json_u64(j, "hits", hits);
		json_object_end(j);
	}
	json_array_end(j);
	json_u64(j, "walks", figures_walks(s));
	json_u64(j, "shootdowns", figures_shootdowns(s));
}

static void json_counters(struct json *j, const struct sim *s)
{
#define COUNTER_NAME(name, text) #name,
	static const char *const names[] = { VM_COUNTERS(COUNTER_NAME) };

	json_object(j, "counters");
	for (unsigned i = 0; i < VM_COUNTER_NR; i++)
		json_u64(j, names[i], s->counter[i]);
	json_object_end(j);
}

int simreport_write(const struct sim *s, int fd)
{
	struct json j;

	json_init(&j, fd);
	json_object(&j, NULL);
	json_u64(&j, "schema", SCHEMA);
	json_string(&j, "machine", s->config.name);
	json_string(&j, "policy", s->m.policy->name);
	json_bool(&j, "accessed_bits", s->config.accessed_bits);
	json_u64(&j, "limit_bytes", s->config.limit_bytes);
	json_u64(&j, "touches", s->touches);
	json_u64(&j, "time_ns", whole(sim_now(s)));
	json_u64(&j, "own_ns", whole(figures_own_time(s)));
	json_u64(&j, "fault_p50_ns", hist_quantile(&s->fault_ns, 500));
	json_u64(&j, "fault_p99_ns", hist_quantile(&s->fault_ns, 990));
	json_tlbs(&j, s);
	json_nodes(&j, s);
	json_counters(&j, s);
	json_tasks(&j, s);
	json_array(&j, "oom");
	for (uint32_t i = 0; i < s->nr_oom; i++) {
		json_object(&j, NULL);
		json_u64(&j, "ns", whole(s->oom[i].now_ns));
		json_u64(&j, "task", s->oom[i].task);
		json_string(&j, "why", s->oom[i].text);
		json_object_end(&j);
	}
	json_array_end(&j);
	json_timeline(&j, s);
	json_object_end(&j);
	return json_finish(&j);
}

int simreport_json(const struct sim *s, const char *path)
{
	struct outfile out;
	int err = outfile_open(&out, path);

	if (err != 0)
		return msg_fail(1, path, "%s; name a file that can be written", strerror(-err));
	err = simreport_write(s, out.fd);
	if (err != 0)
		outfile_drop(&out);
	else
		err = outfile_commit(&out);
	return err == 0 ? 0 : msg_fail(1, path, "%s; name a file that can be written", strerror(-err));
}
