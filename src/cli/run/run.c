/*
 * steward run: everything that can go wrong goes wrong before the command
 * starts, in one line. Order: options, command, rights, budget, then the things
 * that must be tidied up (ledger, --stats file), then the command.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/size.h"
#include "cli/run/budget.h"
#include "cli/commands.h"
#include "cli/figures/failif.h"
#include "cli/run/compressor.h"
#include "cli/run/keeper.h"
#include "cli/run/malloc_only.h"
#include "cli/run/metrics.h"
#include "cli/run/oom.h"
#include "cli/msg.h"
#include "cli/outfile.h"
#include "cli/policies.h"
#include "cli/run/nbd.h"
#include "cli/run/outsiders.h"
#include "cli/run/filecache.h"
#include "cli/run/places.h"
#include "cli/run/poller.h"
#include "cli/probe.h"
#include "cli/program.h"
#include "cli/run/recorder.h"
#include "cli/run/resize.h"
#include "cli/run/share.h"
#include "cli/run/squeeze.h"
#include "cli/run/stall.h"
#include "cli/run/summary.h"
#include "cli/run/supervise.h"
#include "cli/run/watch.h"

#define FAULTS_DEFAULT 20

enum run_option {
	OPT_RAM, OPT_SQUEEZE, OPT_STATS, OPT_RECORD, OPT_SWAP, OPT_POLICY,
	OPT_OOM_POLICY, OPT_OOM_PREFER, OPT_OOM_AVOID, OPT_OOM_GRACE, OPT_OOM_DRY_RUN, OPT_OOM_ON_STALL,
	OPT_MALLOC_ONLY, OPT_FAIL_IF, OPT_METRICS, OPT_NO_HALTPOLL, OPT_VERBOSE, OPT_BASE_PATH, OPT_MOVE_AGAIN, OPT_ENGAGE, OPT_FAULTS
};

struct run {
	uint64_t ram_bytes;        /* 0: auto */
	const char *ram_from;
	const char *stats;         /* NULL: none */
	struct outfile stats_out;
	struct recorder_options record;
	struct failif failif;
	const char *metrics_at;    /* NULL: nowhere */
	struct metrics metrics;
	uint32_t policy;           /* number in the table */
	bool malloc_only;
	const char *no_haltpoll;   /* why CPUs are not kept awake while somebody waits for a disk; NULL: they are */
	const char *of_budget;     /* an option that is of use with a budget only; NULL: none was given */
	bool verbose;
	bool base_path;
	bool engage;
	bool move_again;
	uint64_t faults_seed;
	uint32_t faults;           /* of a thousand pages; 0: none */
	struct swap_specs swap;    /* none: places_default() */
	struct program program;
	struct share share;
	struct watch watch;
	struct watch_total total;
	struct oom oom;
	struct stall stall;
	struct squeeze squeeze;
	struct resize resize;
	struct cgroup_memory cgroup; /* the limit around the run; file is empty without one */
	struct filecache filecache;
	struct uncounted uncounted;
	struct outsiders outsiders;
	struct outcome outcome;
	uint64_t oom_kills;        /* of the cgroup, before */
	pid_t keeper;
};

static const struct option_row rows[] = {
	[OPT_RAM] = { "ram", '\0', "SIZE|auto", "budget: 128M, 1.5G, 2GiB; auto: the memory limit here" },
	[OPT_SQUEEZE] = { "squeeze", '\0', "=PCT", "find the smallest budget that slows it by PCT % at most (10)" },
	[OPT_STATS] = { "stats", '\0', "FILE", "write the summary as JSON to FILE" },
	[OPT_RECORD] = { "record", '\0', "FILE[,max=SIZE]", "keep how it goes in FILE, the last 64M of it, for steward report" },
	[OPT_SWAP] = { "swap", '\0', "SPEC", "where pages go, once for each place: pool[:CODEC], file:PATH, nbd://… (a pool, then a file)" },
	[OPT_POLICY] = { "policy", '\0', "NAME", "which pages go: second-chance (default), two-list, clock, mglru, s3-fifo, random" },
	[OPT_OOM_POLICY] = { "oom-policy", '\0', "NAME", "who goes when memory and swap are full: badness (default), largest, youngest, growing" },
	[OPT_OOM_PREFER] = { "oom-prefer", '\0', "PATTERN", "processes of this name go before others" },
	[OPT_OOM_AVOID] = { "oom-avoid", '\0', "PATTERN", "processes of this name go after all others" },
	[OPT_OOM_GRACE] = { "oom-grace", '\0', "TIME", "SIGTERM first, and SIGKILL after 500ms, 5s, 2m (0)" },
	[OPT_OOM_DRY_RUN] = { "oom-dry-run", '\0', NULL, "say who would go, and stop who ran out of memory" },
	[OPT_OOM_ON_STALL] = { "oom-on-stall", '\0', "PCT:SECONDS", "somebody goes when a process has waited for pages so much, for so long" },
	[OPT_MALLOC_ONLY] = { "malloc-only", '\0', NULL, "give COMMAND Steward's malloc, and no budget" },
	[OPT_FAIL_IF] = FAILIF_OPTION,
	[OPT_METRICS] = { "metrics", '\0', "ADDRESS", "serve figures for Prometheus at unix:PATH or HOST:PORT, /metrics" },
	[OPT_NO_HALTPOLL] = { "no-haltpoll", '\0', NULL, "let a CPU sleep while the program waits for a disk: slower, and cooler" },
	[OPT_VERBOSE] = { "verbose", 'v', NULL, "say what was decided, print all counters" },
	[OPT_BASE_PATH] = { "debug-base-path", '\0', NULL, "as if the kernel could not move pages" },
	[OPT_MOVE_AGAIN] = { "debug-move-again", '\0', NULL, "as if the kernel had moved pages at a second try" },
	[OPT_ENGAGE] = { "debug-engage", '\0', NULL, "manage the memory from the start" },
	[OPT_FAULTS] = { "debug-store-faults", '\0', "SEED[:RATE]", "as if the disk failed for RATE of 1000 pages (20)" },
};

static int parse_ram(struct run *r, const char *text)
{
	if (strcmp(text, "auto") == 0) {
		r->ram_bytes = 0;
		return 0;
	}
	r->ram_from = "--ram";
	return options_ram(text, "128M, 1.5G or auto", &r->ram_bytes);
}

static int add_swap(struct run *r, const char *text)
{
	struct swap_complaint complaint;
	char what[128];

	if (swap_specs_add(&r->swap, text, &complaint) == 0)
		return 0;
	snprintf(what, sizeof(what), "--swap %s", text);
	return msg_fail(EXIT_USAGE, what, "%s", complaint.text);
}

/* "SEED" or "SEED:RATE". */
static int parse_faults(struct run *r, const char *text)
{
	unsigned long long seed;
	unsigned rate = FAULTS_DEFAULT;
	int end = 0;

	if (sscanf(text, "%llu%n:%u%n", &seed, &end, &rate, &end) < 1 || text[end] != '\0' || text[0] == '-' || rate > 1000)
		return msg_fail(EXIT_USAGE, "--debug-store-faults", "\"%s\" is no seed; write it as 7 or 7:20, 1000 at most", text);
	r->faults_seed = seed;
	r->faults = rate;
	return 0;
}

static int set_option(void *ctx, unsigned row, const char *value)
{
	struct run *r = ctx;
	int policy;

	if (row != OPT_MALLOC_ONLY)
		r->of_budget = rows[row].name;
	switch ((enum run_option)row) {
	case OPT_MALLOC_ONLY:
		r->malloc_only = true;
		return 0;
	case OPT_RAM:
		return parse_ram(r, value);
	case OPT_SQUEEZE:
		return squeeze_set(&r->squeeze, value);
	case OPT_STATS:
		if (value[0] == '\0')
			return msg_fail(EXIT_USAGE, "--stats", "the file name is empty; give one");
		r->stats = value;
		return 0;
	case OPT_RECORD:
		return recorder_set(&r->record, value);
	case OPT_SWAP:
		return add_swap(r, value);
	case OPT_POLICY:
		policy = policy_number("--policy", value, true);
		if (policy < 0)
			return -policy;
		r->policy = (uint32_t)policy;
		return 0;
	case OPT_FAIL_IF:
		return failif_add(&r->failif, value);
	case OPT_OOM_POLICY:
		return oom_set_policy(&r->oom.options, value);
	case OPT_OOM_PREFER:
		return oom_set_prefer(&r->oom.options, value);
	case OPT_OOM_AVOID:
		return oom_set_avoid(&r->oom.options, value);
	case OPT_OOM_GRACE:
		return oom_set_grace(&r->oom.options, value);
	case OPT_OOM_DRY_RUN:
		r->oom.options.dry_run = true;
		return 0;
	case OPT_OOM_ON_STALL:
		return stall_set_limit(&r->stall.options, value);
	case OPT_METRICS:
		r->metrics_at = value;
		return 0;
	case OPT_NO_HALTPOLL:
		r->no_haltpoll = "--no-haltpoll";
		return 0;
	case OPT_VERBOSE:
		r->verbose = r->oom.verbose = true;
		return 0;
	case OPT_BASE_PATH:
		r->base_path = true;
		return 0;
	case OPT_MOVE_AGAIN:
		r->move_again = true;
		return 0;
	case OPT_ENGAGE:
		r->engage = true;
		return 0;
	case OPT_FAULTS:
		return parse_faults(r, value);
	}
	return EXIT_USAGE;
}

const struct option_set run_options = {
	.command = "run",
	.usage = "[OPTION…] [--] COMMAND [ARG…]",
	.summary = "Runs COMMAND inside a memory budget and prints what that took.",
	.rows = rows,
	.nr = ARRAY_SIZE(rows),
	.set = set_option,
};

static const char *size_text(uint64_t bytes, char *buf, size_t size)
{
	struct fmt f;

	fmt_init(&f, buf, size);
	fmt_size(&f, bytes);
	return buf;
}

/* --ram auto. */
static int find_budget(struct run *r)
{
	char limit[32], rest[32];
	struct budget b;
	int err;

	if (r->ram_bytes != 0)
		return 0;
	err = budget_auto("", &b);
	if (err != 0)
		return msg_fail(EXIT_STEWARD, "--ram auto", "/proc cannot be read (%s); give --ram SIZE", strerror(-err));
	r->ram_bytes = b.bytes;
	r->ram_from = b.from;
	if (b.bytes >= BUDGET_FLOOR)
		return 0;
	if (strcmp(b.from, "cgroup") != 0)
		return msg_fail(EXIT_STEWARD, "--ram auto", "only %s of memory are available; end other programs",
				size_text(b.available, limit, sizeof(limit)));
	return msg_fail(EXIT_STEWARD, "--ram auto", "the limit of %s in %s leaves %s; raise it or give --ram SIZE",
			size_text(b.cgroup.limit, limit, sizeof(limit)), b.cgroup.file,
			size_text(b.bytes, rest, sizeof(rest)));
}

static int find_swap(struct run *r)
{
	if (r->swap.nr == 0)
		places_default(&r->swap);
	swap_specs_settle(&r->swap);
	return places_claim(&r->swap);
}

/*
 * What the launcher itself costs, in pages: its private memory, its page tables
 * and what the ledger occupies so far. Called when everything is set up, and at the end.
 */
static uint64_t own_pages(const struct share *s)
{
	unsigned long long size, resident, shared, tables = 0;
	uint64_t pages = share_ledger_bytes(s) / PAGE_SIZE;
	char line[128];
	FILE *f = fopen("/proc/self/statm", "re");

	if (f != NULL) {
		if (fscanf(f, "%llu %llu %llu", &size, &resident, &shared) == 3)
			pages += resident - MIN(resident, shared);
		fclose(f);
	}
	f = fopen("/proc/self/status", "re");
	while (f != NULL && fgets(line, sizeof(line), f) != NULL) {
		if (sscanf(line, "VmPTE: %llu kB", &tables) == 1)
			break;
	}
	if (f != NULL)
		fclose(f);
	return pages + DIV_ROUND_UP(tables * KIB, PAGE_SIZE);
}

static int fill_ledger(struct run *r)
{
	struct ledger *l = r->share.ledger;
	char given[32], least[32];

	l->policy = r->policy;
	l->nr_swap = r->swap.nr;
	memcpy(l->swap, r->swap.spec, sizeof(l->swap));
	l->ram_pages = r->ram_bytes / PAGE_SIZE;
	l->ram_max_pages = resize_max(l->ram_pages);
	l->debug_base_path = r->base_path;
	l->debug_engage = r->engage;
	l->debug_move_again = r->move_again;
	l->debug_faults = r->faults;
	l->debug_faults_seed = r->faults_seed;
	l->verbose = r->verbose;
	l->reserved_pages = own_pages(&r->share) + COMPRESSOR_PAGES + (r->metrics_at != NULL ? METRICS_PAGES : 0) +
			    (r->record.path != NULL ? RECORDER_PAGES : 0) + (r->no_haltpoll == NULL ? POLLER_PAGES : 0);
	if (l->reserved_pages > l->ram_pages / 2)
		return msg_fail(EXIT_STEWARD, "--ram", "%s is too small; the smallest that works is %s",
				size_text(r->ram_bytes, given, sizeof(given)),
				size_text(ALIGN_UP(2 * l->reserved_pages * PAGE_SIZE, MIB), least, sizeof(least)));
	atomic_store(&l->free_pages, (int64_t)(l->ram_pages - l->reserved_pages));
	atomic_store(&l->peak_granted, l->reserved_pages);
	return 0;
}

/* Opened before the command starts: hours of work must not end with "permission denied". */
static int open_stats(struct run *r)
{
	int err = r->stats != NULL ? outfile_open(&r->stats_out, r->stats) : 0;

	return err == 0 ? 0 : msg_fail(EXIT_STEWARD, r->stats, "cannot be written (%s); give --stats another file", strerror(-err));
}

/* Returns 0, or 1 after having said why; then there is no FILE. */
static int write_stats(struct run *r, const struct summary *s)
{
	int err;

	if (r->stats == NULL)
		return 0;
	err = summary_write(s, r->stats_out.fd);
	if (err != 0)
		outfile_drop(&r->stats_out);
	else
		err = outfile_commit(&r->stats_out);
	return err == 0 ? 0 : msg_fail(1, r->stats, "cannot be written (%s); the summary above is all there is", strerror(-err));
}

static void say_plan(const struct run *r)
{
	char text[1024];
	struct fmt f;

	fmt_init(&f, text, sizeof(text));
	fmt_str(&f, "budget ");
	fmt_size(&f, r->ram_bytes);
	fmt_str(&f, " (");
	fmt_str(&f, r->ram_from);
	fmt_str(&f, "), pages go to");
	for (unsigned i = 0; i < r->swap.nr; i++) {
		fmt_str(&f, i == 0 ? " " : ", ");
		swap_spec_describe(&f, &r->swap.spec[i]);
	}
	if (r->no_haltpoll != NULL) {
		fmt_str(&f, "; CPUs are not kept awake for them: ");
		fmt_str(&f, r->no_haltpoll);
	}
	msg_note("%s", text);
}

static struct summary summarize(struct run *r, char **argv)
{
	uint64_t kills = cgroup_oom_kills("", &r->cgroup);

	watch_total(&r->watch, &r->total);
	return (struct summary){
		.argv = argv,
		.budget_from = r->ram_from,
		.ledger = r->share.ledger,
		.watch = &r->watch,
		.total = &r->total,
		.outcome = &r->outcome,
		.squeeze = &r->squeeze,
		.cgroup = &r->cgroup,
		.filecache = &r->filecache,
		.uncounted = &r->uncounted,
		.launcher_bytes = MAX(own_pages(&r->share), r->share.ledger->reserved_pages) * PAGE_SIZE,
		.killed_outside = kills - MIN(kills, r->oom_kills),
	};
}

static int write_summary(const void *summary, int fd)
{
	return summary_write(summary, fd);
}

/* A condition that is none is told now, and not when the command has run for hours: the figures have the same names then. */
static int check_failif(struct run *r, char **argv)
{
	struct summary s = summarize(r, argv);

	return failif_check(&r->failif, write_summary, &s);
}

/* From the command's name to the last thing before its start. */
static int prepare(struct run *r, char **argv)
{
	char preload[4096];
	struct probe probe;
	int err;

	if (getenv(LEDGER_ENV) != NULL)
		return msg_fail(EXIT_STEWARD, "run", "this is already inside a steward run; leave the inner one out, "
						     "the outer budget covers its command");
	err = program_find(argv[0], &r->program);
	if (err == 0)
		err = program_preload(preload, sizeof(preload));
	if (err == 0)
		err = probe_require(&probe);
	if (err != 0)
		return err;
	err = find_budget(r);
	if (err == 0)
		err = find_swap(r);
	if (err == 0)
		err = share_open(&r->share, probe.device_fd, argv[0]);
	if (err == 0)
		err = share_environment(&r->share, preload);
	if (err != 0)
		return err;
	watch_init(&r->watch, r->share.ledger);
	if (r->no_haltpoll == NULL)
		r->no_haltpoll = poller_why_not();
	err = check_failif(r, argv);
	if (err == 0)
		err = fill_ledger(r);
	if (err == 0 && r->metrics_at != NULL)
		err = metrics_open(&r->metrics, r->metrics_at, r->share.ledger);
	if (err == 0)
		err = open_stats(r);
	/* Last: what the file had is gone then. */
	if (err == 0)
		err = recorder_open(&r->record, r->share.ledger, argv, r->ram_from);
	return err;
}

static int begin(void *ctx, const char *command)
{
	struct run *r = ctx;

	r->keeper = keeper_start(r->share.ledger);
	if (r->keeper < 0)
		return supervise_no_process(command, -r->keeper);
	int err = nbd_start(r->share.ledger);

	if (err != 0) {
		keeper_stop(r->keeper);
		return err;
	}
	/* Before the command: a program that looks for it finds it running. */
	compressor_start(r->share.ledger);
	if (r->no_haltpoll == NULL)
		poller_start(r->share.ledger);
	recorder_start();
	return 0;
}

static void end(void *ctx)
{
	struct run *r = ctx;

	recorder_stop();
	nbd_stop(r->share.ledger);
	compressor_stop(r->share.ledger);
	poller_stop(r->share.ledger);
	atomic_store(&r->share.ledger->ended, 1);
	keeper_stop(r->keeper);
}

static void ready(void *ctx)
{
	share_serve(&((struct run *)ctx)->share);
}

static void tick(void *ctx, uint64_t now_ns)
{
	struct run *r = ctx;

	watch_scan(&r->watch, now_ns);
	poller_tick(r->share.ledger);
	outsiders_tick(&r->outsiders, now_ns);
	stall_tick(&r->stall, &r->oom, now_ns);
	squeeze_tick(&r->squeeze, now_ns);
	resize_tick(&r->resize, now_ns);
	filecache_tick(&r->filecache, now_ns);
	uncounted_tick(&r->uncounted, now_ns);
	oom_tick(&r->oom, now_ns);
	metrics_tick(&r->metrics);
}

static int finish(struct run *r, char **argv)
{
	struct summary s = summarize(r, argv);
	int err, failed;

	summary_print(&s, r->verbose);
	squeeze_say(&r->squeeze);
	recorder_close(&s);
	err = write_stats(r, &s);
	failed = failif_test(&r->failif, write_summary, &s);
	if (r->outcome.status != 0)
		return supervise_end(&r->outcome);
	return err != 0 ? err : failed;
}

int run_main(int argc, char **argv)
{
	/* Static: all of the launcher's memory is in the budget, and none of it on the heap. */
	static struct run r = { .ram_from = "auto", .stats_out.fd = -1 };
	struct attendant attendant = { .ctx = &r, .begin = begin, .end = end, .ready = ready, .tick = tick };
	int first, err;

	err = options_parse(&run_options, argc, argv, &r, &first);
	if (err != 0)
		return err;
	argv += first;
	if (argv[0] == NULL)
		return msg_fail(EXIT_USAGE, "run", "no command given; steward run [OPTION…] [--] COMMAND [ARG…]");
	if (r.malloc_only)
		return malloc_only(argv, r.of_budget);
	err = prepare(&r, argv);
	if (err != 0) {
		metrics_close(&r.metrics);
		outfile_drop(&r.stats_out);
		return err;
	}
	if (r.verbose)
		say_plan(&r);
	oom_init(&r.oom, &r.watch);
	stall_init(&r.stall, r.share.ledger);
	squeeze_init(&r.squeeze, r.share.ledger);
	resize_init(&r.resize, r.share.ledger);
	/* If that cannot be read at all there is no limit to be seen. */
	cgroup_memory_read("", &r.cgroup);
	filecache_init(&r.filecache, r.share.ledger, &r.cgroup);
	uncounted_init(&r.uncounted, r.share.ledger, &r.cgroup);
	r.oom_kills = cgroup_oom_kills("", &r.cgroup);
	outsiders_init(&r.outsiders, r.share.ledger);
	attendant.fd = r.share.listen_fd;
	err = supervise(&r.program, argv, environ, &attendant, &r.outcome);
	metrics_close(&r.metrics);
	if (err != 0) {
		outfile_drop(&r.stats_out);
		recorder_drop();
		return err;
	}
	return finish(&r, argv);
}
