/*
 * Traces replayed side by side. Each has numbers of its own for its tasks and files; if there are several traces, what they
 * name gets a number here in the order in which it is met, so that no two are the same and tasks are spread over the CPUs.
 * A trace goes on for a batch, then it is the turn of the one whose clock is furthest behind, so that programs which ran at
 * the same time do so again.
 */
#include "sim/engine.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define BATCH 4096             /* events read at once: they stay in the cache of the host's CPU */
#define WALKS_MANY 8           /* of so many events one walks the tables: then it is worth while to fetch ahead */
#define TURN 256               /* events of one trace before another may have its turn */
#define BACKGROUND_EVERY 1024  /* events, after which somebody else's time may have come */
#define NUMBERS 64             /* of a trace, at first */

/* What the numbers of a trace are here. */
struct numbers {
	uint32_t *here; /* plus 1; 0: not met yet */
	uint32_t nr;
};

/* Given out so far. */
struct given {
	uint32_t tasks, files;
};

struct source {
	struct trace_reader *reader;
	struct trace_event *event;
	long n, at;
	uint64_t events; /* in batches before this one */
	double now;
	struct numbers tasks, files;
	bool own_time;   /* sim.own_time, while it is its turn */
	bool over;
	bool walks;      /* often, of late */
	uint64_t walked; /* so far, when that was asked last */
};

int sim_event(struct sim *s, const struct trace_event *e, const char **error)
{
	struct sim_task *t;

	if (unlikely(e->vpn >= s->vpn_end || (e->op != TRACE_ACCESS && e->n > s->vpn_end - e->vpn && e->op != TRACE_FILE) ||
		     (e->op == TRACE_MREMAP && e->arg + e->n > s->vpn_end))) {
		*error = "its address is beyond what the machine's page tables reach (paging.bits)";
		return -EINVAL;
	}
	if (unlikely(e->op != TRACE_ACCESS))
		return sim_task_event(s, e, error);
	if (unlikely(s->m.policy->foresight))
		s->access++;
	t = sim_task(s, e->task);
	if (unlikely(t == NULL)) {
		*error = "a touch by a task that does not exist";
		return -EINVAL;
	}
	return likely(t->end == SIM_RUNS) ? sim_access(s, t, e, error) : 0;
}

static int renumber(struct numbers *t, uint32_t *number, uint32_t *given)
{
	if (*number >= t->nr) {
		uint32_t want = MAX(MAX(t->nr * 2, *number + 1), (uint32_t)NUMBERS);
		uint32_t *more = realloc(t->here, want * sizeof(*more));

		if (more == NULL)
			return -ENOMEM;
		memset(more + t->nr, 0, (want - t->nr) * sizeof(*more));
		t->here = more;
		t->nr = want;
	}
	if (t->here[*number] == 0)
		t->here[*number] = ++*given;
	*number = t->here[*number] - 1;
	return 0;
}

/* The numbers that a trace gave out, as they are here. */
static int renumber_event(struct source *src, struct given *given, struct trace_event *e)
{
	uint32_t child = (uint32_t)e->arg;
	int err = 0;

	/* These two are of no task. */
	if (e->op != TRACE_FILE && e->op != TRACE_NOTE)
		err = renumber(&src->tasks, &e->task, &given->tasks);
	if (err == 0 && e->op == TRACE_FORK) {
		err = renumber(&src->tasks, &child, &given->tasks);
		e->arg = child;
	}
	/* File 0 is none. */
	if (err == 0 && e->file != 0) {
		err = renumber(&src->files, &e->file, &given->files);
		e->file++;
	}
	return err;
}

static uint64_t all_walks(const struct sim *s)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < s->config.cpus; i++)
		n += mmu_stat(s->cpu[i].mmu)->walks;
	return n;
}

/* given NULL: numbers stay as they are. */
static int turn(struct sim *s, struct source *src, struct given *given, unsigned *quiet, long limit, struct trace_error *error)
{
	int err = 0;

	if (src->at == src->n) {
		src->events += (uint64_t)src->n;
		src->n = trace_read(src->reader, src->event, BATCH, error);
		src->at = 0;
		src->walks = all_walks(s) - src->walked > BATCH / WALKS_MANY;
		src->walked = all_walks(s);
		if (src->n <= 0) {
			src->over = true;
			return (int)src->n;
		}
		for (long i = 0; given != NULL && i < src->n && err == 0; i++)
			err = renumber_event(src, given, &src->event[i]);
		if (err != 0)
			return error->err = err;
	}
	s->own_time = src->own_time;
	long end = MIN(src->n, src->at + limit);

	while (src->at < end && err == 0 && !s->stopped) {
		const struct trace_event *e = &src->event[src->at];
		long most = MIN(end - src->at, (long)(BACKGROUND_EVERY - *quiet));
		long done = sim_access_row(s, e, most, src->walks ? src->n - src->at : 0, &error->what, &err);

		if (done == 0) {
			err = sim_event(s, e, &error->what);
			done = 1;
		}
		src->at += done;
		*quiet += (unsigned)done;
		if (*quiet == BACKGROUND_EVERY) {
			sim_background(s, *s->clock);
			*quiet = 0;
		}
	}
	src->own_time = s->own_time;
	src->now = *s->clock;
	if (s->deadline > 0 && src->now > s->deadline)
		s->late = s->stopped = true;
	if (err != 0) {
		error->err = err;
		error->offset = src->events + (uint64_t)src->at - 1;
	}
	return err;
}

static struct source *furthest_behind(struct source *src, unsigned n)
{
	struct source *best = NULL;

	for (unsigned i = 0; i < n; i++)
		if (!src[i].over && (best == NULL || src[i].now < best->now))
			best = &src[i];
	return best;
}

int sim_replay(struct sim *s, struct trace_reader *const *r, unsigned n, unsigned *source, struct trace_error *error)
{
	struct source src[SIM_SOURCES_MAX] = { 0 }, *next;
	struct given given = { 0 };
	unsigned quiet = 0;
	int err = 0;

	*error = (struct trace_error){ .what = "no memory" };
	*source = 0;
	for (unsigned i = 0; i < n; i++) {
		src[i].reader = r[i];
		s->samples |= trace_reader_sampled(r[i]);
		src[i].own_time = s->own_time;
		src[i].event = malloc(BATCH * sizeof(*src[i].event));
		if (src[i].event == NULL)
			err = error->err = -ENOMEM;
	}
	while (err == 0 && !s->stopped && (next = furthest_behind(src, n)) != NULL) {
		*source = (unsigned)(next - src);
		err = turn(s, next, n > 1 ? &given : NULL, &quiet, n == 1 ? BATCH : TURN, error);
	}
	for (unsigned i = 0; i < n; i++) {
		free(src[i].event);
		free(src[i].tasks.here);
		free(src[i].files.here);
	}
	if (err == 0)
		sim_finish(s);
	return err;
}
