/*
 * steward bench: what would I gain here? The same touches on up to three sides,
 *
 *	all of it in memory          ── what a touch costs by itself
 *	the kernel, swap on zram     ── limit; the zram device takes z on top, outside of the limit
 *	steward run --ram limit + z  ── the same memory in all, pool included
 *
 * one after the other, once each: a short answer. bench/paging.py repeats and takes turns, for figures to go by. Where the
 * kernel's side cannot be made (it takes root, a memory controller, zram), z is what the data would pack to.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/size.h"
#include "cli/bench/bench.h"
#include "cli/commands.h"
#include "cli/json.h"
#include "cli/msg.h"
#include "cli/outfile.h"
#include "cli/table.h"
#include "cli/validate/memcage.h"
#include "cli/validate/zramguard.h"

#define SIZE_DEFAULT (UINT64_C(256) << 20)
#define TOUCHES_DEFAULT 50000
#define ONLY_DEFAULT "random-read,sequential,hot80"
#define PACKS_TO 3      /* a third of each page is random */
#define SWAPPINESS 60
#define PREFIX "steward-bench-"

enum { OPT_SIZE, OPT_LIMIT, OPT_TOUCHES, OPT_ONLY, OPT_JSON, OPT_TOUCH };

static const struct option_row rows[] = {
	[OPT_SIZE] = { "size", '\0', "SIZE", "data that is touched (256M)" },
	[OPT_LIMIT] = { "limit", '\0', "SIZE", "memory for it, what is compressed not counted (a quarter)" },
	[OPT_TOUCHES] = { "touches", 'n', "N", "touches of each workload (50000)" },
	[OPT_ONLY] = { "only", '\0', "LIST", "workloads, separated by commas (" ONLY_DEFAULT ")" },
	[OPT_JSON] = { "json", '\0', "FILE", "the figures as JSON" },
	[OPT_TOUCH] = { "touch", '\0', NULL, "only touch, and print JSON: what each side runs" },
};

struct bench_args {
	uint64_t size, limit, touches;
	const char *only, *json;
	bool touch;
};

enum side_number { SIDE_NATIVE, SIDE_KERNEL, SIDE_STEWARD, NR_SIDES };

static const char *const side_names[NR_SIDES] = { "in memory", "kernel, zram", "steward run" };

struct bench {
	struct bench_args args;
	uint64_t ram;               /* of the third side */
	struct bench_side side[NR_SIDES];
};

static int set_size(const char *name, const char *text, uint64_t *bytes)
{
	if (size_parse(text, bytes) != 0 || *bytes < BENCH_SIZE_MIN)
		return msg_fail(EXIT_USAGE, name, "\"%s\" is no size of 4M or more; write it as 256M or 1G", text);
	return 0;
}

static int set_option(void *ctx, unsigned row, const char *value)
{
	struct bench_args *o = ctx;
	char *end;

	switch (row) {
	case OPT_SIZE:
		return set_size("--size", value, &o->size);
	case OPT_LIMIT:
		return set_size("--limit", value, &o->limit);
	case OPT_TOUCHES:
		errno = 0;
		o->touches = strtoull(value, &end, 10);
		if (errno != 0 || end == value || *end != '\0' || o->touches < 100 || o->touches > UINT32_MAX)
			return msg_fail(EXIT_USAGE, "--touches", "\"%s\" is no number from 100 to 4294967295; leave it out for %d", value,
					TOUCHES_DEFAULT);
		return 0;
	case OPT_ONLY:
		o->only = value;
		return bench_check_list(value);
	case OPT_JSON:
		o->json = value;
		return 0;
	default:
		o->touch = true;
		return 0;
	}
}

const struct option_set bench_options = {
	.command = "bench",
	.usage = "[OPTION…]",
	.summary = "Measures what paging costs on this machine, with the kernel's swap and with Steward.",
	.rows = rows,
	.nr = ARRAY_SIZE(rows),
	.set = set_option,
};

/* The command of a side: the touches, behind what runs them. */
static void run_side(const struct bench *b, struct bench_side *side, bool steward, int procs)
{
	char self[4096], ram[32], size[32], touches[32];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	char *touch[] = { self, "bench", "--touch", "--size", size, "--touches", touches, "--only", (char *)b->args.only, NULL };
	char *under[] = { self, "run", "--ram", ram, "--", self, "bench", "--touch", "--size", size, "--touches", touches,
		"--only", (char *)b->args.only, NULL };

	self[MAX(n, 0)] = '\0';
	snprintf(ram, sizeof(ram), "%lluK", (unsigned long long)(b->ram >> 10));
	snprintf(size, sizeof(size), "%lluK", (unsigned long long)(b->args.size >> 10));
	snprintf(touches, sizeof(touches), "%llu", (unsigned long long)b->args.touches);
	bench_run(side, steward ? under : touch, procs);
}

/* The most that the device has taken: field 5 of mm_stat. 0: not known. */
static uint64_t zram_peak(const struct zramguard *g)
{
	char path[96];
	unsigned long long peak = 0;
	const char *name = strrchr(g->device, '/');

	snprintf(path, sizeof(path), "/sys/block/%.31s/mm_stat", name != NULL ? name + 1 : g->device);
	FILE *f = fopen(path, "re");

	if (f == NULL)
		return 0;
	if (fscanf(f, "%*u %*u %*u %*u %llu", &peak) != 1)
		peak = 0;
	fclose(f);
	return peak;
}

static void run_in_cage(struct bench *b, const struct memcage_root *root, const char *name)
{
	struct bench_side *side = &b->side[SIDE_KERNEL];
	struct memcage cage;
	int err = memcage_open(&cage, root, name, b->args.limit, SWAPPINESS);

	if (err != 0) {
		snprintf(side->why, sizeof(side->why), "no group can be made: %s", strerror(-err));
		return;
	}
	int procs = memcage_file(&cage, "cgroup.procs", O_WRONLY);

	if (procs >= 0)
		run_side(b, side, false, procs);
	else
		snprintf(side->why, sizeof(side->why), "the group cannot be entered: %s", strerror(-procs));
	if (procs >= 0)
		close(procs);
	memcage_close(&cage);
}

/* Returns the bytes of the zram device; 0: not measured. */
static uint64_t run_kernel(struct bench *b)
{
	struct bench_side *side = &b->side[SIDE_KERNEL];
	struct memcage_root root;
	struct zramguard guard;
	char prefix[64], name[80];
	const char *why;
	uint64_t zram;

	if (geteuid() != 0) {
		snprintf(side->why, sizeof(side->why), "it takes root to set a limit and swap");
		return 0;
	}
	int err = memcage_find(&root);

	if (err != 0) {
		snprintf(side->why, sizeof(side->why), "no memory controller of cgroups: %s", strerror(-err));
		return 0;
	}
	snprintf(prefix, sizeof(prefix), PREFIX "%d-", (int)getpid());
	snprintf(name, sizeof(name), "%s0", prefix);
	err = zramguard_start(&guard, 2 * b->args.size, &root, prefix, &why);
	if (err != 0) {
		snprintf(side->why, sizeof(side->why), "%s: %s", why, strerror(-err));
		return 0;
	}
	run_in_cage(b, &root, name);
	zram = zram_peak(&guard);
	zramguard_stop(&guard);
	return side->measured ? zram : 0;
}

static void run_all(struct bench *b)
{
	uint64_t out = b->args.size - MIN(b->args.size, b->args.limit), zram;

	run_side(b, &b->side[SIDE_NATIVE], false, -1);
	zram = run_kernel(b);
	b->ram = ALIGN_UP(b->args.limit + (zram != 0 ? zram : out / PACKS_TO), PAGE_SIZE);
	run_side(b, &b->side[SIDE_STEWARD], true, -1);
}

static void show_cell(const struct bench_side *side, unsigned i)
{
	if (!side->measured || i >= side->nr)
		printf("  %12s %7s %7s", "-", "-", "-");
	else
		printf("  %12.2f %7.1f %7.1f", side->row[i].touch_ns / 1000, (double)side->row[i].p50_ns / 1000,
		       (double)side->row[i].p99_ns / 1000);
}

static void show(const struct bench *b)
{
	const struct bench_side *kernel = &b->side[SIDE_KERNEL], *ours = &b->side[SIDE_STEWARD];
	struct utsname u;

	uname(&u);
	printf("Linux %s: %s of data in %s, %s with what is compressed. Microseconds a touch; p50 and p99 of a fault.\n\n", u.release,
	       size_text(b->args.size), size_text(b->args.limit), size_text(b->ram));
	printf("%-14s %9s", "", side_names[SIDE_NATIVE]);
	for (unsigned s = SIDE_KERNEL; s < NR_SIDES; s++)
		printf("  %12s %7s %7s", side_names[s], "p50", "p99");
	printf("  gain\n");
	for (unsigned i = 0; i < b->side[SIDE_NATIVE].nr; i++) {
		const struct bench_row *row = &b->side[SIDE_NATIVE].row[i];

		printf("%-14s %9.2f", row->name, row->touch_ns / 1000);
		show_cell(kernel, i);
		show_cell(ours, i);
		if (kernel->measured && ours->measured)
			printf("  %.2f", kernel->row[i].touch_ns / ours->row[i].touch_ns);
		printf("\n");
	}
	for (unsigned s = 0; s < NR_SIDES; s++)
		if (!b->side[s].measured)
			printf("\n%s: not measured: %s\n", side_names[s], b->side[s].why);
}

static void put_side(struct json *j, const char *key, const struct bench_side *side)
{
	json_object(j, key);
	if (!side->measured)
		json_string(j, "not_measured", side->why);
	for (unsigned i = 0; i < side->nr && side->measured; i++) {
		json_object(j, side->row[i].name);
		json_u64(j, "touch_ns", (uint64_t)(side->row[i].touch_ns + 0.5));
		json_u64(j, "fault_p50_ns", side->row[i].p50_ns);
		json_u64(j, "fault_p99_ns", side->row[i].p99_ns);
		json_object_end(j);
	}
	json_object_end(j);
}

static void put_bench(struct json *j, const void *what)
{
	const struct bench *b = what;

	json_object(j, NULL);
	json_u64(j, "schema", 1);
	json_u64(j, "size_bytes", b->args.size);
	json_u64(j, "limit_bytes", b->args.limit);
	json_u64(j, "ram_bytes", b->ram);
	json_u64(j, "touches", b->args.touches);
	put_side(j, "native", &b->side[SIDE_NATIVE]);
	put_side(j, "kernel", &b->side[SIDE_KERNEL]);
	put_side(j, "steward", &b->side[SIDE_STEWARD]);
	json_object_end(j);
}

int bench_main(int argc, char **argv)
{
	static struct bench b = { .args = { .size = SIZE_DEFAULT, .touches = TOUCHES_DEFAULT, .only = ONLY_DEFAULT } };
	int rest = argc, status = options_parse(&bench_options, argc, argv, &b.args, &rest);

	if (status != 0)
		return status;
	if (rest < argc)
		return msg_fail(EXIT_USAGE, argv[rest], "bench takes no operands; steward run runs a command");
	if (b.args.touch)
		return bench_touch(b.args.size, b.args.touches, b.args.only);
	if (b.args.limit == 0)
		b.args.limit = MAX(b.args.size / 4, BENCH_SIZE_MIN);
	if (b.args.limit >= b.args.size)
		return msg_fail(EXIT_USAGE, "--limit", "%s holds all of the data; use less, or more --size", size_text(b.args.limit));
	run_all(&b);
	show(&b);
	status = b.args.json != NULL ? outfile_json(b.args.json, put_bench, &b) : 0;
	if (status == 0 && !b.side[SIDE_STEWARD].measured)
		status = 1;
	return status;
}
