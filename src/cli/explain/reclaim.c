/*
 * steward explain reclaim: how memory gets full, and how some of it comes back.
 *
 *      free pages │╲
 *                 │ ╲            programs take
 *            HIGH │╌╌╲╌╌╌╌╌╌╌╌╌╱╌╌╌╌╌╌╌╌╌╌╌╌  kswapd sleeps again
 *             LOW │╌╌╌╲╌╌╌╌╱╲╱╌╌╌╌╌╌╌╌╌╌╌╌╌╌  kswapd wakes
 *             MIN │╌╌╌╌╲╱╲╱╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌  who takes reclaims by himself
 *                 └────────────────────────►
 *
 * A machine, by default one so small that all of it can be followed, is filled by the engine of steward sim: a file is
 * read, half of it twice; a program writes memory, of which it uses a few pages again and again; then all CPUs write at
 * once, faster than kswapd can follow. Each line is one pass of reclaim, made of the steps that the manager reports
 * (mm/step.h) and of the lists as it leaves them. With `oom` it goes on until there is nothing left to reclaim.
 */
#include <stdio.h>
#include <string.h>

#include "cli/explain/explain.h"
#include "cli/explain/picture.h"
#include "cli/explain/scene.h"
#include "cli/msg.h"
#include "cli/table.h"

#define PAGES_MAX ((uint64_t)16 << (30 - PAGE_SHIFT)) /* more takes too long */
#define WORKER 1
#define BROWSER 2
#define DATABASE 3
#define FILE_NUMBER 1
#define HOT_PAGES 64
#define HOT_EVERY 64           /* new pages between two rounds over the hot ones */
#define WORKER_START ((uint64_t)0x10000)
#define BURST_ROUNDS 100000
#define LINES_MAX 16           /* passes shown of one chapter: its last ones */

/* What passes did, by the kind of step. */
struct sums {
	uint64_t step[NR_STEPS];
};

struct show {
	struct sim *s;
	struct sums pass;
	bool kswapd;
	uint64_t passes, lines;  /* of this chapter */
	char line[LINES_MAX][128];
	uint64_t written;        /* pages of the worker so far */
};

static uint64_t sum_lists(const struct sim *s, unsigned list)
{
	uint64_t n = 0;

	for (unsigned node = 0; node < s->m.phys.nr_nodes; node++)
		n += s->m.lruvec[node].nr[list];
	return n;
}

static uint64_t free_pages(const struct sim *s)
{
	uint64_t n = 0;

	for (unsigned node = 0; node < s->m.phys.nr_nodes; node++)
		n += phys_free_frames(&s->m.phys, node);
	return n;
}

/*
 * Passes
 */

static void head(void)
{
	printf("\n                       ┌─── pages of each list ──┐ ┌ of those looked at ─┐\n"
	       "                         anonymous       file       stay       go\n"
	       "who       pri     free inact.   act. inact.   act.  kept   act. swapped dropped\n");
}

static void note(struct show *w, const struct mm_step *p)
{
	char *to = w->line[w->lines++ % LINES_MAX];
	const struct sim *s = w->s;
	const uint64_t *step = w->pass.step;

	snprintf(to, sizeof(w->line[0]), "%-9s %3u %8llu %6llu %6llu %6llu %6llu %5llu %6llu %7llu %7llu",
		 w->kswapd ? "kswapd" : "direct", p->priority, (unsigned long long)free_pages(s),
		 (unsigned long long)sum_lists(s, LRU_INACTIVE_ANON), (unsigned long long)sum_lists(s, LRU_ACTIVE_ANON),
		 (unsigned long long)sum_lists(s, LRU_INACTIVE_FILE), (unsigned long long)sum_lists(s, LRU_ACTIVE_FILE),
		 (unsigned long long)step[STEP_KEEP], (unsigned long long)step[STEP_ACTIVATE],
		 (unsigned long long)step[STEP_SWAP_OUT], (unsigned long long)step[STEP_DROP]);
}

static bool did_something(const struct sums *sums)
{
	uint64_t n = 0;

	for (unsigned i = STEP_KEEP; i < STEP_PASS_END; i++)
		n += sums->step[i];
	return n > 0;
}

static void end_pass(struct show *w, const struct mm_step *p)
{
	w->passes++;
	/* At first a list's share is less than a page. */
	if (did_something(&w->pass))
		note(w, p);
}

static void begin_chapter(struct show *w, const char *text)
{
	printf("\n%s\n", text);
	w->lines = w->passes = 0;
}

static void end_chapter(const struct show *w)
{
	uint64_t first = w->lines > LINES_MAX ? w->lines - LINES_MAX : 0;

	if (w->lines == 0)
		return;
	head();
	if (first > 0)
		printf("… %llu before\n", (unsigned long long)first);
	for (uint64_t i = first; i < w->lines; i++)
		printf("%s\n", w->line[i % LINES_MAX]);
}

/* The OOM killer's table, as the kernel's log has it. */
static void show_badness(struct sim *s, const struct mm *victim, bool global)
{
	uint64_t total = sim_oom_total(s, global);

	printf("\nOut of memory. Points: what a task would give back, and oom_score_adj\n"
	       "thousandths of %llu pages, which are all memory%s.\n\n",
	       (unsigned long long)total, global ? " and swap" : " of the limit and swap");
	printf("  task name            rss     swap   tables     adj     points\n");
	for (uint32_t i = 0; i < s->nr_tasks; i++) {
		struct oom_task row;

		if (s->task[i] == NULL || s->task[i]->end != SIM_RUNS)
			continue;
		sim_oom_row(s->task[i], &row);
		printf("  %4u %-10s %8llu %8llu %8llu %7d ", row.pid, row.name,
		       (unsigned long long)(row.rss_anon + row.rss_file), (unsigned long long)row.swapents,
		       (unsigned long long)(row.pgtables_bytes >> PAGE_SHIFT), row.oom_score_adj);
		if (row.oom_score_adj == OOM_ADJ_MIN)
			printf("     never\n");
		else
			printf("%10lld%s\n", (long long)oom_badness(&row, total),
			       &s->task[i]->mm == victim ? "  ◄" : "");
	}
}

static void watch(void *watcher, const struct mm_step *p)
{
	struct show *w = watcher;

	switch (p->kind) {
	case STEP_PASS:
		w->pass = (struct sums){ { 0 } };
		w->kswapd = p->arg;
		break;
	case STEP_PASS_END: end_pass(w, p); break;
	case STEP_OOM:
		end_chapter(w);
		show_badness(w->s, p->mm, p->arg);
		break;
	default: w->pass.step[p->kind]++; break;
	}
}

/*
 * The story
 */

static uint64_t memory_pages(const struct sim *s)
{
	uint64_t n = 0;

	for (unsigned node = 0; node < s->m.phys.nr_nodes; node++)
		n += phys_managed_frames(&s->m.phys, node);
	return MIN(n, s->m.limit);
}

static void show_marks(const struct sim *s)
{
	for (unsigned i = 0; i < s->m.phys.nr_zones; i++) {
		const struct zone *z = &s->m.phys.zones[i];

		printf("  %-10s %8u pages   MIN %u, LOW %u, HIGH %u\n", z->name, z->managed, z->wmark[WMARK_MIN],
		       z->wmark[WMARK_LOW], z->wmark[WMARK_HIGH]);
	}
	if (s->m.limit != UINT64_MAX)
		printf("  the limit of the cgroup is %llu pages: it has no marks, only an end\n",
		       (unsigned long long)s->m.limit);
}

/* One more page of the worker, and now and then its hot ones. */
static int write_one(struct show *w, unsigned thread)
{
	struct trace_event e = {
		.op = TRACE_ACCESS, .task = WORKER, .thread = (uint16_t)thread, .n = 1, .flags = TRACE_W
	};
	int err;

	e.vpn = WORKER_START + w->written++;
	err = scene_event(w->s, &e);
	for (unsigned i = 0; w->written % HOT_EVERY == 0 && i < HOT_PAGES && err == 0; i++) {
		e.vpn = WORKER_START + i;
		err = scene_event(w->s, &e);
	}
	return err;
}

static int read_file(struct show *w)
{
	uint64_t pages = MAX(memory_pages(w->s) / 8, 2);
	struct trace_event e = { .op = TRACE_FILE, .file = FILE_NUMBER, .n = pages, .text = "data" };
	int err = scene_event(w->s, &e);

	e = (struct trace_event){ .op = TRACE_READ, .task = WORKER, .file = FILE_NUMBER, .n = pages };
	if (err == 0)
		err = scene_event(w->s, &e);
	e.n = pages / 2;
	if (err == 0)
		err = scene_event(w->s, &e);
	if (err != 0)
		return err;
	printf("\n1. A file of %llu pages is read, then its first half again.\n", (unsigned long long)pages);
	printf("   Read once: inactive file list, %llu pages. Again: active, %llu.\n   Free: %llu.\n",
	       (unsigned long long)sum_lists(w->s, LRU_INACTIVE_FILE),
	       (unsigned long long)sum_lists(w->s, LRU_ACTIVE_FILE), (unsigned long long)free_pages(w->s));
	return 0;
}

/* Somebody writes still: the OOM killer has not taken the worker, nor found nobody to take. */
static bool alive(const struct sim *s)
{
	return s->task[WORKER]->end == SIM_RUNS && !s->stopped;
}

static bool any_awake(const struct sim *s)
{
	for (unsigned node = 0; node < s->m.phys.nr_nodes; node++)
		if (s->kswapd[node].awake)
			return true;
	return false;
}

/* One CPU writes until kswapd has woken and gone to sleep again, or until the limit makes it reclaim. */
static int write_alone(struct show *w)
{
	struct sim *s = w->s;
	uint64_t before;
	int err = 0;

	begin_chapter(w, "2. A program writes page after page; 64 of them it uses again and again.");
	do {
		before = free_pages(s);
		err = write_one(w, 0);
	} while (err == 0 && alive(s) && s->counter[VM_kswapd_wake] == 0 && s->counter[VM_allocstall] == 0);
	if (err != 0 || !alive(s))
		return err;
	if (s->counter[VM_kswapd_wake] == 0) {
		end_chapter(w);
		printf("\n   The limit was reached after %llu pages: who allocates reclaims.\n",
		       (unsigned long long)w->written);
		return 0;
	}
	printf("   After %llu pages %llu are free, LOW is passed: kswapd wakes, and works beside\n"
	       "   the program until HIGH. It looks at 1/2^pri of each list, if need be at more.\n",
	       (unsigned long long)w->written, (unsigned long long)before);
	while (err == 0 && alive(s) && any_awake(s))
		err = write_one(w, 0);
	if (!alive(s))
		return err;
	end_chapter(w);
	printf("\n   HIGH is reached: %llu are free, kswapd sleeps. Written so far: %llu pages.\n",
	       (unsigned long long)free_pages(s), (unsigned long long)w->written);
	return err;
}

static int write_together(struct show *w)
{
	struct sim *s = w->s;
	uint64_t stalls = s->counter[VM_allocstall], lowest = UINT64_MAX;
	char title[160];
	int err = 0;

	if (s->config.cpus == 1)
		snprintf(title, sizeof(title), "3. It writes on.");
	else
		snprintf(title, sizeof(title), "3. %u CPUs write at once. A fault takes one %.1f us, a page kswapd %.1f.",
			 s->config.cpus, (double)s->config.minor_ns / 1000,
			 (double)(s->config.scan_ns + s->config.unmap_ns) / 1000);
	begin_chapter(w, title);
	for (unsigned i = 0; i < BURST_ROUNDS && err == 0 && s->counter[VM_allocstall] == stalls && alive(s);
	     i++) {
		err = write_one(w, i);
		lowest = MIN(lowest, free_pages(s));
	}
	if (!alive(s))
		return err;
	end_chapter(w);
	if (s->counter[VM_allocstall] != stalls)
		printf("\n   MIN is passed: who faulted found no frame, and reclaimed by himself (direct).\n");
	else
		printf("\n   kswapd keeps up: free pages did not fall below %llu.\n", (unsigned long long)lowest);
	return err;
}

static int add_task(struct show *w, uint32_t number, const char *name, int adj, uint64_t pages)
{
	int err = scene_task(w->s, number, name);

	for (uint64_t i = 0; i < pages && err == 0; i++)
		err = scene_touch(w->s, number, (vpn_t){ WORKER_START + i }, TRACE_W);
	sim_task(w->s, number)->oom_score_adj = adj;
	return err;
}

static void show_report(const struct sim *s)
{
	printf("\nThe report says:\n");
	picture_wrap(2, s->oom[0].text);
	printf("\nFree afterwards: %llu pages; swap in use: %llu.\n", (unsigned long long)free_pages(s),
	       (unsigned long long)swap_used(&s->m.swap));
}

/* Everything goes out until nothing more can. */
static int write_until_oom(struct show *w)
{
	struct sim *s = w->s;
	uint64_t most = memory_pages(s) + sim_oom_total(s, true);
	int err = 0;

	begin_chapter(w, "It goes on, and swap fills.");
	for (uint64_t i = 0; i < most && err == 0 && s->nr_oom == 0 && alive(s); i++)
		err = write_one(w, 0);
	if (err != 0)
		return err;
	if (s->nr_oom == 0 && alive(s)) {
		printf("   After %llu pages more nobody had to go: this swap has no bound; give it a size.\n",
		       (unsigned long long)most);
		return 0;
	}
	return 0;
}

static void summary(const struct sim *s)
{
	static const enum vm_counter counters[] = { VM_kswapd_wake,   VM_allocstall,     VM_pgscan_kswapd,
						    VM_pgscan_direct, VM_pgsteal_kswapd, VM_pgsteal_direct,
						    VM_pgactivate,    VM_pgdeactivate,   VM_pswpout,
						    VM_pswpin,        VM_pgmajfault,     VM_oom_kill };

	printf("\nCounters, as in /proc/vmstat:\n");
	for (unsigned i = 0; i < ARRAY_SIZE(counters); i++)
		printf("  %-16s %8llu%s", scene_counter(counters[i]), (unsigned long long)s->counter[counters[i]],
		       i % 2 ? "\n" : "");
}

static int play(struct show *w, bool oom)
{
	uint64_t pages = memory_pages(w->s);
	int err = scene_task(w->s, WORKER, "worker");

	printf("%s: %llu pages.\n", w->s->config.name, (unsigned long long)pages);
	show_marks(w->s);
	if (err == 0)
		err = read_file(w);
	if (err == 0 && oom)
		err = add_task(w, BROWSER, "browser", 300, pages / 16);
	if (err == 0 && oom)
		err = add_task(w, DATABASE, "database", OOM_ADJ_MIN, pages / 4);
	w->s->m.watcher = w;
	w->s->m.watch = watch;
	if (err == 0)
		err = write_alone(w);
	if (err == 0 && alive(w->s) && w->s->counter[VM_kswapd_wake] > 0)
		err = write_together(w);
	if (err == 0 && alive(w->s) && oom)
		err = write_until_oom(w);
	if (err == 0 && w->s->nr_oom > 0)
		show_report(w->s);
	else if (err == 0 && !alive(w->s))
		printf("\n   Out of memory, and nobody may be killed: the machine stands still.\n");
	if (err == 0)
		summary(w->s);
	return err;
}

static int explain(const struct explain_args *a)
{
	bool oom = a->operands[0] != NULL;
	const struct sim_config *c = &a->machine;
	int err = 0;

	if (oom && strcmp(a->operands[0], "oom") != 0)
		return msg_fail(EXIT_USAGE, a->operands[0], "not a scenario; there is oom");
	if (strcmp(c->policy, "two-list") != 0 || !c->accessed_bits)
		return msg_fail(
			EXIT_USAGE, "machine",
			"shown are the lists of two-list with accessed bits; leave vm.policy and vm.accessed_bits");
	struct show w = { .s = scene_create(c) };

	if (w.s == NULL)
		return 1;
	if (memory_pages(w.s) > PAGES_MAX)
		err = msg_fail(EXIT_USAGE, c->name, "%s take too long to fill; take a machine of at most %s",
			       size_text(memory_pages(w.s) * PAGE_SIZE), size_text(PAGES_MAX * PAGE_SIZE));
	else
		err = play(&w, oom);
	sim_destroy(w.s);
	return err;
}

/* So small that all of it can be followed; as much swap. */
static const char *const small[] = {
	"name=small", "memory.zones=[{name: Normal, size: 16M}]",
	"swap=[{kind: disk, size: 16M, read: 80us, write: 20us, bandwidth: 3G, queue_depth: 64}]", NULL,
};

const struct explain_topic explain_reclaim = {
	.name = "reclaim",
	.usage = "[oom]",
	.summary = "how memory gets full, and comes back",
	.takes = 1 << EXPLAIN_MACHINE | 1 << EXPLAIN_SET,
	.operands = 1,
	.machine = small,
	.main = explain,
};
