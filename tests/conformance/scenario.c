/*
 * The scenarios, and how they are run. Sizes are for a budget of 32 MiB, 8192 pages: PRESSURE is more than what is left
 * of it, and still fits when it is compressed.
 */
#include "scenario.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/page.h"

#define PRESSURE 12000
#define SCATTER 617 /* pages from one to the next: no stream goes so far, and prime to every number of pages here */

enum { A, B, C };

const struct scenario scenarios[] = {
	{ "empty", { { .op = DO_END } } },
	{ "first-touch", { { DO_MAP, A, 0, 2000 }, { DO_WRITE, A, 0, 2000 }, { DO_READ, A, 0, 2000 } } },
	{ "zeros", { { DO_MAP, A, 0, 1000 }, { DO_READ, A, 0, 1000 }, { DO_WRITE, A, 0, 1000 }, { DO_READ, A, 0, 1000 } } },
	{ "refault", { { DO_MAP, A, 0, 1500 }, { DO_WRITE, A, 0, 1500 }, { DO_MAP, B, 0, PRESSURE },
		       { DO_WRITE_ROW, B, 0, PRESSURE }, { DO_READ, A, 0, 1500 } } },
	{ "refault-row", { { DO_MAP, A, 0, 1500 }, { DO_WRITE, A, 0, 1500 }, { DO_MAP, B, 0, PRESSURE },
			   { DO_WRITE_ROW, B, 0, PRESSURE }, { DO_READ_ROW, A, 0, 1500 } } },
	{ "rewrite", { { DO_MAP, A, 0, 1500 }, { DO_WRITE, A, 0, 1500 }, { DO_MAP, B, 0, PRESSURE },
		       { DO_WRITE_ROW, B, 0, PRESSURE }, { DO_WRITE, A, 0, 1500 }, { DO_WRITE_ROW, B, 0, PRESSURE },
		       { DO_READ, A, 0, 1500 }, { DO_READ, B, 0, PRESSURE } } },
	{ "protect", { { DO_MAP, A, 0, 300 }, { DO_WRITE, A, 0, 300 }, { DO_READ_ONLY, A, 50, 200 }, { DO_TRY_WRITE, A, 0, 300 },
		       { DO_READ, A, 0, 300 }, { DO_NO_ACCESS, A, 100, 100 }, { DO_TRY_READ, A, 0, 300 },
		       { DO_READ_WRITE, A, 0, 300 }, { DO_TRY_READ, A, 0, 300 }, { DO_WRITE, A, 0, 300 },
		       { DO_READ, A, 0, 300 } } },
	{ "protect-out", { { DO_MAP, A, 0, 1000 }, { DO_WRITE, A, 0, 1000 }, { DO_NO_ACCESS, A, 0, 500 }, { DO_MAP, B, 0, PRESSURE },
			   { DO_WRITE_ROW, B, 0, PRESSURE }, { DO_TRY_READ, A, 0, 1000 }, { DO_READ_WRITE, A, 0, 1000 },
			   { DO_READ, A, 0, 1000 } } },
	{ "unmap", { { DO_MAP, A, 0, 600 }, { DO_WRITE, A, 0, 600 }, { DO_UNMAP, A, 200, 200 }, { DO_TRY_READ, A, 0, 600 },
		     { DO_MAP, B, 0, 600 }, { DO_READ, B, 0, 600 }, { DO_READ, A, 0, 200 }, { DO_READ, A, 400, 200 } } },
	{ "drop", { { DO_MAP, A, 0, 1000 }, { DO_WRITE, A, 0, 1000 }, { DO_DROP, A, 250, 500 }, { DO_READ, A, 0, 1000 } } },
	{ "drop-out", { { DO_MAP, A, 0, 1500 }, { DO_WRITE, A, 0, 1500 }, { DO_MAP, B, 0, PRESSURE },
			{ DO_WRITE_ROW, B, 0, PRESSURE }, { DO_DROP, A, 0, 750 }, { DO_READ, A, 0, 1500 } } },
	{ "fork", { { DO_MAP, A, 0, 500 }, { DO_WRITE, A, 0, 500 }, { DO_FORK, 0, 0, 0 }, { DO_READ, A, 0, 500 },
		    { DO_WRITE, A, 100, 200 }, { DO_READ, A, 0, 500 }, { DO_JOIN, 0, 0, 0 }, { DO_READ, A, 0, 500 },
		    { DO_WRITE, A, 0, 300 }, { DO_READ, A, 0, 500 } } },
	{ "fork-out", { { DO_MAP, A, 0, 1000 }, { DO_WRITE, A, 0, 1000 }, { DO_MAP, B, 0, PRESSURE },
			{ DO_WRITE_ROW, B, 0, PRESSURE }, { DO_FORK, 0, 0, 0 }, { DO_READ, A, 0, 1000 }, { DO_WRITE, A, 0, 500 },
			{ DO_READ, A, 0, 1000 }, { DO_JOIN, 0, 0, 0 }, { DO_READ, A, 0, 1000 }, { DO_READ, B, 0, PRESSURE } } },
};

const unsigned nr_scenarios = sizeof(scenarios) / sizeof(scenarios[0]);

const struct scenario *scenario_find(const char *name)
{
	for (unsigned i = 0; i < nr_scenarios; i++)
		if (strcmp(scenarios[i].name, name) == 0)
			return &scenarios[i];
	return NULL;
}

static bool in_a_row(unsigned op)
{
	return op == DO_WRITE_ROW || op == DO_READ_ROW;
}

static uint32_t nth(const struct step *s, uint32_t i)
{
	return s->from + (in_a_row(s->op) ? i : (uint32_t)((uint64_t)i * SCATTER % s->n));
}

static void write_pages(const struct step *s, const struct engine_ops *ops, void *ctx, uint64_t generation)
{
	static uint64_t page[PAGE_WORDS];

	for (uint32_t i = 0; i < s->n; i++) {
		uint32_t at = nth(s, i);

		page_fill(page, (uint64_t)s->region << 32 | at, generation);
		if (!ops->write(ctx, s->region, at, page)) {
			fprintf(stderr, "a write to page %u of region %u was refused\n", at, s->region);
			exit(1);
		}
	}
}

/* A number that every byte of the pages goes into, and how many could be read. */
static void read_pages(const struct step *s, const struct engine_ops *ops, void *ctx)
{
	static uint64_t page[PAGE_WORDS];
	uint64_t digest = 0;
	uint32_t zeros = 0, got = 0;

	for (uint32_t i = 0; i < s->n; i++) {
		if (!ops->read(ctx, s->region, nth(s, i), page))
			continue;
		got++;
		zeros += page_check_zero(page) < 0;
		for (unsigned w = 0; w < PAGE_WORDS; w++)
			digest = mix64(digest ^ page[w]);
	}
	printf("read %c %u+%u: %u pages, %u of zeros, %016llx\n", 'A' + s->region, s->from, s->n, got, zeros,
	       (unsigned long long)digest);
}

/* Reads what is there where that is allowed, and writes it back. */
static void try_to_write(const struct step *s, const struct engine_ops *ops, void *ctx)
{
	static uint64_t page[PAGE_WORDS];
	uint32_t refused = 0;

	for (uint32_t i = 0; i < s->n; i++)
		refused += !ops->read(ctx, s->region, nth(s, i), page) || !ops->write(ctx, s->region, nth(s, i), page);
	printf("write %c %u+%u: %u refused\n", 'A' + s->region, s->from, s->n, refused);
}

static void one_step(const struct step *s, const struct engine_ops *ops, void *ctx, uint64_t generation)
{
	switch (s->op) {
	case DO_MAP:
		ops->map(ctx, s->region, s->n);
		break;
	case DO_UNMAP:
		ops->unmap(ctx, s->region, s->from, s->n);
		break;
	case DO_WRITE:
	case DO_WRITE_ROW:
		write_pages(s, ops, ctx, generation);
		break;
	case DO_READ:
	case DO_READ_ROW:
	case DO_TRY_READ:
		read_pages(s, ops, ctx);
		break;
	case DO_TRY_WRITE:
		try_to_write(s, ops, ctx);
		break;
	case DO_READ_ONLY:
	case DO_NO_ACCESS:
	case DO_READ_WRITE:
		ops->protect(ctx, s->region, s->from, s->n, s->op != DO_NO_ACCESS, s->op == DO_READ_WRITE);
		break;
	case DO_DROP:
		ops->drop(ctx, s->region, s->from, s->n);
		break;
	default:
		break;
	}
}

void scenario_run(const struct scenario *s, const struct engine_ops *ops, void *ctx)
{
	const struct step *step = s->step;

	for (; step->op != DO_END; step++) {
		if (step->op == DO_JOIN)
			ops->join(ctx);
		else if (step->op != DO_FORK)
			one_step(step, ops, ctx, (uint64_t)(step - s->step));
		else if (!ops->fork(ctx))
			while (step[1].op != DO_JOIN)
				step++;
		fflush(stdout);
	}
}
