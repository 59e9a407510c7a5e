/*
 * What the OOM killer knows of the processes. Of an engaged one the ledger has the figures, because its resident size in
 * /proc includes compressed pages and tables, which are Steward's; of the others the kernel has them.
 *
 *     rss        managed pages, and unmanaged memory of every kind
 *     swapents   pages whose only copy is in a store: pool and files
 *     tables     VmPTE
 *
 * Growth is over the last GROWTH_SECONDS, of one size a second: of engaged processes what they would need, of others
 * what they have been granted, which follows their size in steps. A process younger than that has grown by all it has.
 */
#include <stdio.h>
#include <string.h>

#include "cli/run/oom.h"

#define GROWTH_SECONDS 10

static struct {
	uint64_t start_time;
	uint64_t pages[GROWTH_SECONDS]; /* second n at n % GROWTH_SECONDS */
} history[LEDGER_SLOTS];
static uint64_t second;

static uint64_t size_of(const struct ledger_slot *s)
{
	const struct ledger_usage *u = &s->now;

	if (atomic_load(&s->state) == LEDGER_ENGAGED)
		return u->managed + u->swapped + u->unmanaged;
	return atomic_load(&s->granted);
}

void oom_note_growth(const struct ledger *l, uint64_t now_ns)
{
	if (now_ns / 1000000000 == second)
		return;
	second = now_ns / 1000000000;
	for (uint32_t i = 0, used = atomic_load(&l->slots_used); i < used; i++) {
		const struct ledger_slot *s = &l->slot[i];

		if (history[i].start_time != s->start_time)
			memset(&history[i], 0, sizeof(history[i]));
		history[i].start_time = s->start_time;
		history[i].pages[second % GROWTH_SECONDS] = size_of(s);
	}
}

static uint64_t growth_of(const struct ledger *l, const struct ledger_slot *s)
{
	unsigned i = (unsigned)(s - l->slot);
	uint64_t then = history[i].start_time == s->start_time ? history[i].pages[(second + 1) % GROWTH_SECONDS] : 0;
	uint64_t now = size_of(s);

	return now > then ? now - then : 0;
}

static uint64_t kib_pages(const char *line, const char *name)
{
	unsigned long long kib;
	size_t n = strlen(name);

	return strncmp(line, name, n) == 0 && sscanf(line + n, ": %llu kB", &kib) == 1 ? kib * KIB / PAGE_SIZE : 0;
}

/* What /proc/PID/status says. */
static void read_status(uint32_t pid, struct oom_task *t)
{
	char path[40], line[128];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%u/status", pid);
	f = fopen(path, "re");
	while (f != NULL && fgets(line, sizeof(line), f) != NULL) {
		t->rss_anon += kib_pages(line, "RssAnon");
		t->rss_file += kib_pages(line, "RssFile");
		t->rss_shmem += kib_pages(line, "RssShmem");
		t->swapents += kib_pages(line, "VmSwap");
		t->pgtables_bytes += kib_pages(line, "VmPTE") * PAGE_SIZE;
	}
	if (f != NULL)
		fclose(f);
}

/* One number, or one word of up to 15 characters. */
static void read_proc(uint32_t pid, const char *file, const char *format, void *to)
{
	char path[40];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%u/%s", pid, file);
	f = fopen(path, "re");
	if (f == NULL)
		return;
	(void)!fscanf(f, format, to);
	fclose(f);
}

static void fill(const struct ledger *l, struct ledger_slot *s, int32_t pid, char *name, struct oom_task *t)
{
	const struct ledger_usage *u = &s->now;
	int adj = 0;

	*t = (struct oom_task){ .pid = (uint32_t)pid, .tgid = (uint32_t)pid, .name = name, .engine = s,
				.started = s->start_time, .growth = growth_of(l, s) };
	memcpy(name, s->comm, sizeof(s->comm));
	read_proc(t->pid, "comm", "%15[^\n]", name);
	read_proc(t->pid, "oom_score_adj", "%d", &adj);
	t->oom_score_adj = (int16_t)adj;
	read_status(t->pid, t);
	if (atomic_load(&s->state) != LEDGER_ENGAGED)
		return;
	uint64_t known = t->rss_file + t->rss_shmem + t->pgtables_bytes / PAGE_SIZE;

	t->rss_anon = u->managed + (u->unmanaged > known ? u->unmanaged - known : 0);
	t->swapents = u->swapped;
}

unsigned oom_rows(const struct ledger *l, struct oom_task **rows)
{
	static struct oom_task row[LEDGER_SLOTS];
	static char name[LEDGER_SLOTS][16];
	unsigned n = 0;

	for (uint32_t i = 0, used = atomic_load(&l->slots_used); i < used; i++) {
		struct ledger_slot *s = (struct ledger_slot *)&l->slot[i];
		int32_t pid = atomic_load(&s->pid);
		struct oom_task t;
		unsigned at = n;

		/* Start time 0: it is joining the run at this moment. */
		if (pid == 0 || s->start_time == 0)
			continue;
		fill(l, s, pid, name[i], &t);
		for (; at > 0 && row[at - 1].started > t.started; at--)
			row[at] = row[at - 1];
		row[at] = t;
		n++;
	}
	*rows = row;
	return n;
}
