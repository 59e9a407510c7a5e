/*
 * steward explain TOPIC: how memory management works, told with the numbers of a machine or of a running program.
 *
 * The numbers come from the memory manager itself (mm/) wherever it has them, so that an explanation cannot drift away
 * from what is explained. A topic is a row of the table below and a file NAME.c.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/explain/explain.h"
#include "cli/machine_file.h"
#include "cli/msg.h"

#define SETS_MAX 64
#define PAGES_MAX ((uint64_t)1 << 24) /* 64 GiB */

static const struct explain_topic *const topics[] = {
	&explain_alloc,   &explain_fault,  &explain_keys, &explain_layout,     &explain_machine,
	&explain_reclaim, &explain_tables, &explain_walk, &explain_watermarks,
};

static const struct option_row rows[] = {
	[EXPLAIN_MACHINE] = { "machine", 'm', "FILE", "the machine (docs/machine-files.md); default: an 8 GiB laptop" },
	[EXPLAIN_SET] = { "set", 's', "KEY=VALUE", "changes it: vm.swappiness=10; may be repeated" },
	[EXPLAIN_SEED] = { "seed", '\0', "N", "of random numbers; default: the machine's" },
	[EXPLAIN_FIXED] = { "fixed", '\0', NULL, "layout: without random offsets, as setarch -R" },
	[EXPLAIN_PAGES] = { "pages", '\0', "N", "tables: pages of a made-up program; walk: mapped at each address" },
	[EXPLAIN_SPREAD] = { "spread", '\0', "HOW", "tables: where they lie: program, dense or random" },
	[EXPLAIN_SLABS] = { "slabs", '\0', NULL, "alloc: with slabs and the thread's cache in front of the arena" },
	[EXPLAIN_REPORT] = { "report", '\0', "FILE", "alloc: also a page for a browser, in which the requests are played one by one" },
};

static void list_topics(void)
{
	printf("\nTopics:\n");
	for (unsigned i = 0; i < ARRAY_SIZE(topics); i++) {
		char left[64];

		snprintf(left, sizeof(left), "%s %s", topics[i]->name, topics[i]->usage);
		printf("  %-28s %s\n", left, topics[i]->summary);
	}
}

const struct option_set explain_options = {
	.command = "explain",
	.usage = "TOPIC [OPTION…] [ARG…]",
	.summary = "Explains memory management with the numbers of a machine or a program.",
	.rows = rows,
	.nr = ARRAY_SIZE(rows),
	.more = list_topics,
};

/* What options_parse hands over before the machine is read: a file first, then changes to it. */
struct given {
	struct explain_args args;
	const struct explain_topic *topic;
	const char *machine, *sets[SETS_MAX];
	unsigned nr_sets;
	bool has_seed;
};

static int take_number(const char *option, const char *value, uint64_t max, uint64_t *n)
{
	char *end;

	errno = 0;
	*n = strtoull(value, &end, 10);
	if (value[0] < '0' || value[0] > '9' || *end != '\0')
		return msg_fail(EXIT_USAGE, option, "\"%s\" is not a whole number; write digits only", value);
	if (errno != 0 || *n > max)
		return msg_fail(EXIT_USAGE, option, "%s is too large; the most is %llu", value,
				(unsigned long long)max);
	return 0;
}

static int take_spread(const char *value, enum explain_spread *spread)
{
	static const char *const names[NR_SPREADS] = { "program", "dense", "random" };

	for (unsigned i = 0; i < NR_SPREADS; i++) {
		if (strcmp(value, names[i]) == 0) {
			*spread = (enum explain_spread)i;
			return 0;
		}
	}
	return msg_fail(EXIT_USAGE, "--spread", "\"%s\" is unknown; use program, dense or random", value);
}

static int take(void *ctx, unsigned row, const char *value)
{
	struct given *g = ctx;
	char option[32];

	snprintf(option, sizeof(option), "--%s", rows[row].name);
	if (!(g->topic->takes & 1u << row))
		return msg_fail(EXIT_USAGE, option, "explain %s does not use it; leave it out", g->topic->name);
	switch ((enum explain_option)row) {
	case EXPLAIN_MACHINE: g->machine = value; return 0;
	case EXPLAIN_FIXED: g->args.fixed = true; return 0;
	case EXPLAIN_SLABS: g->args.slabs = true; return 0;
	case EXPLAIN_REPORT: g->args.report = value; return 0;
	case EXPLAIN_SPREAD: return take_spread(value, &g->args.spread);
	case EXPLAIN_SEED: g->has_seed = true; return take_number(option, value, UINT64_MAX, &g->args.seed);
	case EXPLAIN_PAGES: g->args.has_pages = true; return take_number(option, value, PAGES_MAX, &g->args.pages);
	case EXPLAIN_SET: break;
	}
	if (g->nr_sets == SETS_MAX)
		return msg_fail(EXIT_USAGE, option, "given more than %d times; write a machine file", SETS_MAX);
	g->sets[g->nr_sets++] = value;
	return 0;
}

enum layout_kind explain_layout_kind(const struct sim_config *c)
{
	unsigned bits = PAGE_SHIFT;

	for (unsigned i = 0; i < c->levels; i++)
		bits += c->bits[i];
	return bits <= 32 ? LAYOUT_I386 : LAYOUT_X86_64;
}

static const struct explain_topic *find(const char *name)
{
	for (unsigned i = 0; i < ARRAY_SIZE(topics); i++) {
		if (strcmp(topics[i]->name, name) == 0)
			return topics[i];
	}
	return NULL;
}

static int check_operands(const struct given *g)
{
	for (unsigned i = 0; g->args.operands[i] != NULL; i++) {
		if (g->topic->operands == 0)
			return msg_fail(EXIT_USAGE, g->args.operands[i], "explain %s takes no argument; leave it out",
					g->topic->name);
		if (i == g->topic->operands)
			return msg_fail(EXIT_USAGE, g->args.operands[i], "too much; steward explain %s %s",
					g->topic->name, g->topic->usage);
	}
	return 0;
}

/* The machine that the topic is told with: a file or the topic's own, then what --set changes. */
static int load_machine(struct given *g)
{
	const char *sets[2 * SETS_MAX];
	unsigned nr = 0;

	for (unsigned i = 0; g->machine == NULL && g->topic->machine != NULL && g->topic->machine[i] != NULL; i++)
		sets[nr++] = g->topic->machine[i];
	memcpy(sets + nr, g->sets, g->nr_sets * sizeof(*sets));
	return machine_load(&g->args.machine, g->machine, sets, nr + g->nr_sets);
}

int explain_main(int argc, char **argv)
{
	struct option_set options = explain_options;
	struct given g = { .args = { .pages = 25600 } };
	int err, first;

	options.set = take;
	if (argc < 2)
		return msg_fail(EXIT_USAGE, "explain", "no topic given; see steward explain --help");
	g.topic = find(argv[1]);
	if (g.topic == NULL && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
		options_help(&explain_options);
		return OPTIONS_HELP;
	}
	if (g.topic == NULL)
		return msg_fail(EXIT_USAGE, argv[1], "unknown topic; see steward explain --help");
	err = options_parse(&options, argc - 1, argv + 1, &g, &first);
	if (err != 0)
		return err;
	g.args.operands = (const char *const *)argv + 1 + first;
	err = check_operands(&g);
	if (err == 0)
		err = load_machine(&g);
	if (err != 0)
		return err;
	g.args.has_machine = g.machine != NULL || g.nr_sets > 0;
	if (!g.has_seed)
		g.args.seed = g.args.machine.seed;
	err = g.topic->main(&g.args);
	if (err == 0 && (fflush(stdout) != 0 || ferror(stdout)))
		return msg_fail(1, "standard output", "%s; send it somewhere else", strerror(errno));
	return err;
}
