/*
 * steward validate: how well the model predicts this machine's kernel. (--live, how well it predicts steward run: live.c.)
 *
 *	workload ──► sequence ─┬─► real runs under a limit, swap on zram ──► band: min, median, max
 *	                       └─► the model, at several phases of the statistics' clock ──► prediction
 *
 * The kernel's runs of one and the same sequence differ, because the statistics by which a group's reclaim decides are
 * up to two seconds old, and when in the run they are refreshed is chance (mm/reclaim/policy/two_list.c). So both
 * sides have a band: the kernel's comes from running again, the model's from starting its clock at other phases.
 * Cases with "stat" read memory.stat every 5 ms, which refreshes them: what is left then is the rules.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "cli/commands.h"
#include "cli/msg.h"
#include "cli/validate/live.h"
#include "cli/validate/validate.h"
#include "cli/validate/zramguard.h"

#define PAGES VALIDATE_PAGES
#define LIMIT (UINT64_C(16896) << PAGE_SHIFT) /* 66 MiB */
#define ZRAM_BYTES (UINT64_C(512) << 20)
#define SWAPPINESS 60
#define SEED 1
#define STATS_NS UINT64_C(2000000000)
#define PHASES 8
#define QUICK_RUNS 3

enum { OPT_LIVE, OPT_RUNS, OPT_ONLY, OPT_QUICK, OPT_TRACE, OPT_TOUCH, OPT_JSON };

static const struct option_row rows[] = {
	[OPT_LIVE] = { "live", '\0', NULL, "steward run instead of the kernel" },
	[OPT_RUNS] = { "runs", 'n', "N", "real runs of each case (default 5)" },
	[OPT_ONLY] = { "only", '\0', "LIST", "these workloads, separated by commas" },
	[OPT_QUICK] = { "quick", 'q', NULL, "only the short cases (--live: the larger budget), 3 runs each" },
	[OPT_TRACE] = { "trace", '\0', "FILE", "the exact recording of COMMAND (steward-record(1))" },
	[OPT_TOUCH] = { "touch", '\0', "WORKLOAD", "touch its pages 500000 times, nothing else: what --live runs" },
	[OPT_JSON] = { "json", '\0', "FILE", "every run and prediction as JSON" },
};

/* Steady ones within 2 per cent, what moves within 10 if the statistics are fresh. The others are told as they are. */
static struct validate_case cases[] = {
	{ .workload = "loop", .thousands = 500, .target = 2 },
	{ .workload = "uniform", .thousands = 500, .target = 2 },
	{ .workload = "hotscan", .thousands = 500, .target = 2 },
	{ .workload = "hotscan", .thousands = 4000, .target = 2 },
	{ .workload = "zipf0.6", .thousands = 500, .target = 2 },
	{ .workload = "zipf0.9", .thousands = 500, .target = 2 },
	{ .workload = "zipf0.9", .thousands = 4000, .target = 2 },
	{ .workload = "hotscan", .thousands = 4000, .polled = true, .target = 2 },
	{ .workload = "zipf0.9", .thousands = 500, .polled = true, .target = 2 },
	{ .workload = "zipf0.9", .thousands = 4000, .polled = true, .target = 2 },
	{ .workload = "window", .thousands = 500, .polled = true, .target = 10 },
	{ .workload = "window", .thousands = 4000, .polled = true, .target = 10 },
	{ .workload = "window", .thousands = 500 },
	{ .workload = "window", .thousands = 4000 },
};

struct validate_args {
	unsigned runs;
	const char *only, *json, *trace, *touch;
	char **command;
	bool quick, live;
};

static int set_option(void *ctx, unsigned row, const char *value)
{
	struct validate_args *o = ctx;
	char *end;

	switch (row) {
	case OPT_LIVE:
		o->live = true;
		return 0;
	case OPT_RUNS:
		o->runs = (unsigned)strtoul(value, &end, 10);
		if (value[0] < '0' || value[0] > '9' || *end != '\0' || o->runs == 0 || o->runs > VALIDATE_RUNS_MAX)
			return msg_fail(EXIT_USAGE, "--runs", "\"%s\" is not a number from 1 to %d; write it as 5", value,
					VALIDATE_RUNS_MAX);
		return 0;
	case OPT_ONLY:
		o->only = value;
		return 0;
	case OPT_QUICK:
		o->quick = true;
		return 0;
	case OPT_TRACE:
		o->trace = value;
		return 0;
	case OPT_TOUCH:
		o->touch = value;
		return 0;
	default:
		o->json = value;
		return 0;
	}
}

const struct option_set validate_options = {
	.command = "validate",
	.usage = "[OPTION…] [--trace FILE [--] COMMAND [ARG…]]",
	.summary = "Compares the model with this machine's kernel: major faults of the same touches under the same limit.",
	.rows = rows,
	.nr = ARRAY_SIZE(rows),
	.set = set_option,
};

bool validate_listed(const char *list, const char *name)
{
	size_t len = strlen(name);

	for (const char *at = list; at != NULL; at = strchr(at, ',')) {
		at += *at == ',';
		if (strncmp(at, name, len) == 0 && (at[len] == ',' || at[len] == '\0'))
			return true;
	}
	return false;
}

static int check_list(const char *option, const char *list)
{
	char word[32], known[256] = "";
	size_t used = 0;

	for (unsigned i = 0; workload_nth(i) != NULL; i++)
		used += (size_t)snprintf(known + used, sizeof(known) - used, "%s%s", i == 0 ? "" : ", ", workload_nth(i)->name);
	for (const char *at = list; at != NULL; at = strchr(at, ',')) {
		at += *at == ',';
		snprintf(word, sizeof(word), "%.*s", (int)strcspn(at, ","), at);
		if (workload_find(word) == NULL)
			return msg_fail(EXIT_USAGE, option, "\"%s\" is no workload; there are %s", word, known);
	}
	return 0;
}

static bool wanted(const struct validate_args *o, const struct validate_case *c)
{
	return (o->only == NULL || validate_listed(o->only, c->workload)) && (!o->quick || c->thousands <= 500);
}

int validate_fill(struct validate_sequence *s, const char *workload, uint32_t pages, uint64_t n)
{
	uint32_t *page = mmap(NULL, n * sizeof(*page), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (page == MAP_FAILED)
		return msg_fail(1, workload, "no memory for its sequence; free some");
	*s = (struct validate_sequence){ .page = page, .n = n, .pages = pages };
	if (workload_fill(workload_find(workload), pages, SEED, page, n) != 0) {
		munmap(page, n * sizeof(*page));
		return msg_fail(1, workload, "no memory for its sequence; free some");
	}
	return 0;
}

void validate_drop(struct validate_sequence *s)
{
	munmap((void *)(uintptr_t)s->page, s->n * sizeof(*s->page));
}

static int real_failed(const char *workload, int err, const char *why)
{
	if (err == -EINTR)
		return msg_fail(130, workload, "interrupted; everything is taken down");
	return msg_fail(1, workload, "%s (%s); see steward-validate(1)", why, strerror(-err));
}

static int one_real(const struct validate_place *p, const char *workload, uint32_t pages, uint64_t n, bool polled,
		    unsigned runs, struct validate_outcome *out)
{
	struct validate_sequence s;
	const char *why;
	int status = validate_fill(&s, workload, pages, n), err;

	for (unsigned i = 0; status == 0 && i < runs; i++) {
		err = validate_real(p, &s, polled ? VALIDATE_POLL_NS : 0, &out[i], &why);
		if (err != 0)
			status = real_failed(workload, err, why);
	}
	if (s.page != NULL && s.page != MAP_FAILED)
		validate_drop(&s);
	return status;
}

/* What touches and faults take: a run that fits, and one that never does. */
static int measure_costs(const struct validate_place *p, struct validate_costs *costs)
{
	struct validate_outcome fits, never;
	int status = one_real(p, "uniform", PAGES / 4, 2000000, false, 1, &fits);

	if (status == 0)
		status = one_real(p, "loop", PAGES, 200000, false, 1, &never);
	if (status != 0)
		return status;
	costs->kernel_bytes = never.kernel_bytes;
	costs->touch_ns = fits.seconds * 1e9 / (double)fits.touches;
	costs->fault_ns = never.majflt > 0 ? never.seconds * 1e9 / (double)(never.majflt + never.minflt / 3) : 0;
	return 0;
}

static int predict(const struct validate_place *p, const struct validate_costs *costs, const struct validate_sequence *s,
		   struct validate_case *c)
{
	struct sim_config config;

	validate_machine(&config, p, costs, s->pages);
	if (c->polled)
		config.limit_flush_ns = c->poll_ns = validate_polled_every(c);
	for (; c->nr_model < PHASES; c->nr_model++)
		if (validate_model(&config, s, config.limit_flush_ns * c->nr_model / PHASES, &c->model[c->nr_model]) != 0)
			return msg_fail(1, c->workload, "no memory for the model; free some");
	return 0;
}

static int run_case(const struct validate_place *p, const struct validate_costs *costs, struct validate_case *c, unsigned runs)
{
	uint64_t n = (uint64_t)c->thousands * 1000;
	struct validate_sequence s;
	int status = one_real(p, c->workload, PAGES, n, c->polled, runs, c->real);

	if (status != 0)
		return status;
	c->nr_real = runs;
	status = validate_fill(&s, c->workload, PAGES, n);
	if (status != 0)
		return status;
	status = predict(p, costs, &s, c);
	validate_drop(&s);
	if (status == 0)
		validate_show(c);
	return status;
}

static int run_all(const struct validate_args *o, const struct validate_place *p)
{
	struct validate_costs costs;
	unsigned missed = 0, nr_cases = ARRAY_SIZE(cases);
	int status = measure_costs(p, &costs);

	if (status != 0)
		return status;
	printf("A touch takes %.0f ns, a major fault %.1f us.\n", costs.touch_ns, costs.fault_ns / 1000);
	if (o->trace != NULL) {
		status = validate_program(o->trace, o->command, p, &costs, cases, o->runs);
		nr_cases = VALIDATE_SHARES;
		for (unsigned i = 0; i < nr_cases; i++)
			missed += !validate_holds(&cases[i]);
	} else {
		validate_show_head();
	}
	for (unsigned i = 0; i < ARRAY_SIZE(cases) && status == 0 && o->trace == NULL; i++) {
		if (!wanted(o, &cases[i]))
			continue;
		status = run_case(p, &costs, &cases[i], o->runs);
		missed += !validate_holds(&cases[i]);
	}
	if (status == 0 && o->json != NULL)
		status = validate_json(o->json, cases, nr_cases, p, &costs);
	if (status == 0 && missed > 0)
		return msg_fail(1, "validate", "%u predictions miss their targets; the reasons are above", missed);
	return status;
}

/* The number in a file of the kernel's, decimal or 0x…; otherwise if there is none. */
static unsigned setting(const char *path, unsigned otherwise)
{
	FILE *f = fopen(path, "re");
	int value;

	if (f == NULL)
		return otherwise;
	if (fscanf(f, "%i", &value) == 1)
		otherwise = (unsigned)value;
	fclose(f);
	return otherwise;
}

static void say_machine(const struct validate_place *p)
{
	struct utsname u;

	uname(&u);
	printf("Linux %s, cgroups of version %d, limit 66 MiB, swappiness %u, swap on zram with lz4.\n", u.release, p->root.version,
	       p->swappiness);
	if (setting("/sys/kernel/mm/lru_gen/enabled", 0) != 0)
		printf("This kernel reclaims by MGLRU, the model classically; to compare like with like:\n"
		       "echo 0 >/sys/kernel/mm/lru_gen/enabled\n");
}

static int read_args(int argc, char **argv, struct validate_args *o)
{
	int rest = argc, status = options_parse(&validate_options, argc, argv, o, &rest);

	if (status == 0 && rest < argc && o->trace == NULL)
		status = msg_fail(EXIT_USAGE, argv[rest],
				  "a command needs its trace; steward record --exact -o T.stw -- %s makes one, --trace T.stw",
				  argv[rest]);
	if (status == 0 && rest == argc && o->trace != NULL)
		status = msg_fail(EXIT_USAGE, "--trace",
				  "no command given that it is of; steward validate --trace FILE -- COMMAND [ARG…]");
	if (status == 0 && o->live && o->trace != NULL)
		status = msg_fail(EXIT_USAGE, "--live", "it runs the workloads only; leave --trace out");
	if (status == 0 && o->only != NULL)
		status = check_list("--only", o->only);
	if (status == 0 && o->touch != NULL)
		status = check_list("--touch", o->touch);
	o->command = argv + rest;
	o->runs = o->runs != 0 ? o->runs : o->quick ? QUICK_RUNS : 5;
	return status;
}

/* Beside the kernel: swap and groups are made, used and taken down. */
static int beside_kernel(const struct validate_args *o)
{
	struct validate_place p = { .limit_bytes = LIMIT, .swappiness = SWAPPINESS };
	struct zramguard guard;
	const char *why;
	int status, err;

	if (geteuid() != 0)
		return msg_fail(1, "validate", "it sets a memory limit and swaps, and that takes root; run it as root");
	err = memcage_find(&p.root);
	if (err != 0)
		return msg_fail(1, "validate", "no memory controller of cgroups (%s); run it where there is one", strerror(-err));
	if (p.root.version == 2) /* has no swappiness for a group */
		p.swappiness = setting("/proc/sys/vm/swappiness", SWAPPINESS);
	snprintf(p.prefix, sizeof(p.prefix), "steward-validate-%d-", (int)getpid());
	err = zramguard_start(&guard, ZRAM_BYTES, &p.root, p.prefix, &why);
	if (err != 0)
		return msg_fail(1, "validate", "%s (%s); run it where zram can be used", why, strerror(-err));
	say_machine(&p);
	status = run_all(o, &p);
	zramguard_stop(&guard);
	return status;
}

int validate_main(int argc, char **argv)
{
	struct validate_args o = { 0 };
	int status = read_args(argc, argv, &o);

	if (status != 0)
		return status;
	if (o.touch != NULL)
		return live_touch(o.touch);
	if (o.live)
		return live_main(&(struct live_args){ .runs = o.runs, .only = o.only, .json = o.json, .quick = o.quick });
	return beside_kernel(&o);
}
