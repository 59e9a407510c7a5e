/*
 * The scenarios, and how they are run. Sizes are for a budget of 32 MiB, 8192 pages: PRESSURE is more than what is left
 * of it, and still fits when it is compressed.
 */
#include "scenario.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../live/page.h"

#define PRESSURE 12000
#define SCATTER 617 /* pages from one to the next: no stream goes so far, and prime to every number of pages here */

enum { A, B, C };

const struct scenario scenarios[] = {
	{ "empty", { { .op = STEP_END } } },
	{ "first-touch", { { STEP_MAP, A, 0, 2000 }, { STEP_WRITE, A, 0, 2000 }, { STEP_READ, A, 0, 2000 } } },
	{ "zeros", { { STEP_MAP, A, 0, 1000 }, { STEP_READ, A, 0, 1000 }, { STEP_WRITE, A, 0, 1000 }, { STEP_READ, A, 0, 1000 } } },
	{ "refault", { { STEP_MAP, A, 0, 1500 }, { STEP_WRITE, A, 0, 1500 }, { STEP_MAP, B, 0, PRESSURE },
		       { STEP_WRITE_ROW, B, 0, PRESSURE }, { STEP_READ, A, 0, 1500 } } },
	{ "refault-row", { { STEP_MAP, A, 0, 1500 }, { STEP_WRITE, A, 0, 1500 }, { STEP_MAP, B, 0, PRESSURE },
			   { STEP_WRITE_ROW, B, 0, PRESSURE }, { STEP_READ_ROW, A, 0, 1500 } } },
	{ "rewrite", { { STEP_MAP, A, 0, 1500 }, { STEP_WRITE, A, 0, 1500 }, { STEP_MAP, B, 0, PRESSURE },
		       { STEP_WRITE_ROW, B, 0, PRESSURE }, { STEP_WRITE, A, 0, 1500 }, { STEP_WRITE_ROW, B, 0, PRESSURE },
		       { STEP_READ, A, 0, 1500 }, { STEP_READ, B, 0, PRESSURE } } },
	{ "protect", { { STEP_MAP, A, 0, 300 }, { STEP_WRITE, A, 0, 300 }, { STEP_READ_ONLY, A, 50, 200 }, { STEP_TRY_WRITE, A, 0, 300 },
		       { STEP_READ, A, 0, 300 }, { STEP_NO_ACCESS, A, 100, 100 }, { STEP_TRY_READ, A, 0, 300 },
		       { STEP_READ_WRITE, A, 0, 300 }, { STEP_TRY_READ, A, 0, 300 }, { STEP_WRITE, A, 0, 300 },
		       { STEP_READ, A, 0, 300 } } },
	{ "protect-out", { { STEP_MAP, A, 0, 1000 }, { STEP_WRITE, A, 0, 1000 }, { STEP_NO_ACCESS, A, 0, 500 }, { STEP_MAP, B, 0, PRESSURE },
			   { STEP_WRITE_ROW, B, 0, PRESSURE }, { STEP_TRY_READ, A, 0, 1000 }, { STEP_READ_WRITE, A, 0, 1000 },
			   { STEP_READ, A, 0, 1000 } } },
	{ "unmap", { { STEP_MAP, A, 0, 600 }, { STEP_WRITE, A, 0, 600 }, { STEP_UNMAP, A, 200, 200 }, { STEP_TRY_READ, A, 0, 600 },
		     { STEP_MAP, B, 0, 600 }, { STEP_READ, B, 0, 600 }, { STEP_READ, A, 0, 200 }, { STEP_READ, A, 400, 200 } } },
	{ "drop", { { STEP_MAP, A, 0, 1000 }, { STEP_WRITE, A, 0, 1000 }, { STEP_DROP, A, 250, 500 }, { STEP_READ, A, 0, 1000 } } },
	{ "drop-out", { { STEP_MAP, A, 0, 1500 }, { STEP_WRITE, A, 0, 1500 }, { STEP_MAP, B, 0, PRESSURE },
			{ STEP_WRITE_ROW, B, 0, PRESSURE }, { STEP_DROP, A, 0, 750 }, { STEP_READ, A, 0, 1500 } } },
	{ "fork", { { STEP_MAP, A, 0, 500 }, { STEP_WRITE, A, 0, 500 }, { STEP_FORK, 0, 0, 0 }, { STEP_READ, A, 0, 500 },
		    { STEP_WRITE, A, 100, 200 }, { STEP_READ, A, 0, 500 }, { STEP_JOIN, 0, 0, 0 }, { STEP_READ, A, 0, 500 },
		    { STEP_WRITE, A, 0, 300 }, { STEP_READ, A, 0, 500 } } },
	{ "fork-out", { { STEP_MAP, A, 0, 1000 }, { STEP_WRITE, A, 0, 1000 }, { STEP_MAP, B, 0, PRESSURE },
			{ STEP_WRITE_ROW, B, 0, PRESSURE }, { STEP_FORK, 0, 0, 0 }, { STEP_READ, A, 0, 1000 }, { STEP_WRITE, A, 0, 500 },
			{ STEP_READ, A, 0, 1000 }, { STEP_JOIN, 0, 0, 0 }, { STEP_READ, A, 0, 1000 }, { STEP_READ, B, 0, PRESSURE } } },
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
	return op == STEP_WRITE_ROW || op == STEP_READ_ROW;
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
	case STEP_MAP:
		ops->map(ctx, s->region, s->n);
		break;
	case STEP_UNMAP:
		ops->unmap(ctx, s->region, s->from, s->n);
		break;
	case STEP_WRITE:
	case STEP_WRITE_ROW:
		write_pages(s, ops, ctx, generation);
		break;
	case STEP_READ:
	case STEP_READ_ROW:
	case STEP_TRY_READ:
		read_pages(s, ops, ctx);
		break;
	case STEP_TRY_WRITE:
		try_to_write(s, ops, ctx);
		break;
	case STEP_READ_ONLY:
	case STEP_NO_ACCESS:
	case STEP_READ_WRITE:
		ops->protect(ctx, s->region, s->from, s->n, s->op != STEP_NO_ACCESS, s->op == STEP_READ_WRITE);
		break;
	case STEP_DROP:
		ops->drop(ctx, s->region, s->from, s->n);
		break;
	default:
		break;
	}
}

void scenario_run(const struct scenario *s, const struct engine_ops *ops, void *ctx)
{
	const struct step *step = s->step;

	for (; step->op != STEP_END; step++) {
		if (step->op == STEP_JOIN)
			ops->join(ctx);
		else if (step->op != STEP_FORK)
			one_step(step, ops, ctx, (uint64_t)(step - s->step));
		else if (!ops->fork(ctx))
			while (step[1].op != STEP_JOIN)
				step++;
		fflush(stdout);
	}
}
