/*
 * Traces replayed side by side. Each has numbers of its own for its tasks and files; here those of trace i begin where
 * those of trace i - 1 may end. A trace goes on for a batch, then it is the turn of the one whose clock is furthest
 * behind, so that programs which ran at the same time do so again.
 */
#include "sim/engine.h"

#include <errno.h>
#include <stdlib.h>

#define BATCH 4096             /* events read at once: they stay in the cache of the host's CPU */
#define WALKS_MANY 8           /* of so many events one walks the tables: then it is worth while to fetch ahead */
#define TURN 256               /* events of one trace before another may have its turn */
#define BACKGROUND_EVERY 1024  /* events, after which somebody else's time may have come */

struct source {
	struct trace_reader *reader;
	struct trace_event *event;
	long n, at;
	uint64_t events; /* in batches before this one */
	double now;
	uint32_t offset; /* of its tasks and files */
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

/* The numbers that a trace gave out, as they are here. */
static void renumber(struct trace_event *e, uint32_t offset)
{
	if (offset == 0)
		return;
	e->task += offset;
	if (e->file != 0)
		e->file += offset;
	if (e->op == TRACE_FORK)
		e->arg += offset;
}

static uint64_t all_walks(const struct sim *s)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < s->config.cpus; i++)
		n += mmu_stat(s->cpu[i].mmu)->walks;
	return n;
}

static int turn(struct sim *s, struct source *src, unsigned *quiet, long limit, struct trace_error *error)
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
	}
	long end = MIN(src->n, src->at + limit);

	while (src->at < end && err == 0 && !s->stopped) {
		struct trace_event *e = &src->event[src->at];
		long most = MIN(end - src->at, (long)(BACKGROUND_EVERY - *quiet)), done = 0;

		if (src->offset == 0)
			done = sim_access_row(s, e, most, src->walks ? src->n - src->at : 0, &error->what, &err);
		if (done == 0) {
			renumber(e, src->offset);
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
	unsigned quiet = 0;
	int err = 0;

	*error = (struct trace_error){ .what = "no memory" };
	*source = 0;
	for (unsigned i = 0; i < n; i++) {
		src[i].reader = r[i];
		s->samples |= trace_reader_sampled(r[i]);
		src[i].offset = i * (SIM_TASKS_MAX / SIM_SOURCES_MAX);
		src[i].event = malloc(BATCH * sizeof(*src[i].event));
		if (src[i].event == NULL)
			err = error->err = -ENOMEM;
	}
	while (err == 0 && !s->stopped && (next = furthest_behind(src, n)) != NULL) {
		*source = (unsigned)(next - src);
		err = turn(s, next, &quiet, n == 1 ? BATCH : TURN, error);
	}
	for (unsigned i = 0; i < n; i++)
		free(src[i].event);
	if (err == 0)
		sim_finish(s);
	return err;
}
