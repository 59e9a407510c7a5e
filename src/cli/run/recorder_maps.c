/*
 * Where the pages of the processes are, as steward maps has it, large areas in parts. A thread of its own, because a
 * process may take a second to answer, or be stopped.
 *
 * A look costs: the kernel walks the page tables for smaps, the process's pager walks Steward's. So the next one comes the
 * later the larger the processes are: a second for each 400 MiB that they have, at least one. That is half a per cent of the pager's
 * time at 50 ns a page, and the rest of this thread's is measured, and kept to a hundredth.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli/run/recorder.h"
#include "cli/see/where.h"

#define PARTS 160              /* of a process's address space, about */
#define PROCESSES 16           /* of the run, those that have had their slots longest */
#define LOOK_NS 1000000000
#define PAGE_NS 10000          /* of waiting for each page */
#define OWN_SHARE 100          /* of the time, one in so many is this thread's */

static struct {
	struct ledger *ledger;
	bool started;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	bool stop;             /* lock */
} m = { .lock = PTHREAD_MUTEX_INITIALIZER };

static uint64_t clock_ns(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* An area of which nothing is in memory, and that Steward does not manage, is of no interest. */
static bool is_of_interest(const struct where *w, unsigned i)
{
	return w->map.areas[i].rss > 0 || where_may_be_managed(&w->map.areas[i]);
}

static void describe_area(struct flight_map *to, const struct where *w, unsigned i)
{
	const struct proc_area *from = &w->map.areas[i];
	struct flight_area *a = &to->area[to->nr++];

	*a = (struct flight_area){
		.start = from->start >> PAGE_SHIFT,
		.pages = (from->end - from->start) >> PAGE_SHIFT,
		.managed = w->state == LEDGER_ENGAGED && w->answered && where_may_be_managed(from),
		.own = w->said[w->first[i]].own,
		.first = to->nr_parts,
	};
	snprintf(a->name, sizeof(a->name), "%s", from->name);
	memcpy(a->rights, from->rights, sizeof(a->rights));
	a->parts = a->managed ? w->first[i + 1] - w->first[i] : 1;
	a->part_pages = a->parts > 1 ? (w->said[w->first[i]].end - w->said[w->first[i]].start) >> PAGE_SHIFT : a->pages;
	for (unsigned k = 0; k < a->parts; k++) {
		const struct ask_range *said = &w->said[w->first[i] + k];

		to->part[to->nr_parts++] = (struct flight_part){
			.mapped = said->mapped, .sample = said->sample, .pool = said->pool, .filed = said->filed, .same = said->same,
			.discardable = said->discardable,
		};
	}
	/* Steward's own memory is in no table of it; nor is what it does not manage. */
	if (!a->managed || a->own)
		to->part[a->first].mapped = from->rss >> PAGE_SHIFT;
}

/* The parts of a library and the like: one area, of which nothing more is known than how much of it is in memory. */
static void join_last(struct flight_map *to)
{
	struct flight_area *last = &to->area[to->nr - 1], *before = last - 1;

	if (to->nr < 2 || last->managed || before->managed || strcmp(last->name, before->name) != 0 ||
	    before->start + before->pages != last->start)
		return;
	before->part_pages = before->pages += last->pages;
	to->part[before->first].mapped += to->part[last->first].mapped;
	to->nr--;
	to->nr_parts--;
}

static void record(const struct where *w, int32_t pid, uint64_t start)
{
	struct flight_map map = {
		.pid = pid,
		.start = start,
		.area = calloc(MAX(w->map.nr, 1), sizeof(*map.area)),
		.part = calloc(MAX(w->first[w->map.nr], 1), sizeof(*map.part)),
	};
	struct flight_bytes *b = NULL;

	if (map.area != NULL && map.part != NULL) {
		for (unsigned i = 0; i < w->map.nr; i++) {
			if (!is_of_interest(w, i))
				continue;
			describe_area(&map, w, i);
			join_last(&map);
		}
		b = recorder_begin();
	}
	if (b != NULL) {
		flight_put_map(b, &map);
		recorder_end(FLIGHT_MAP, 0);
	}
	flight_map_free(&map);
}

/* Pages that were looked at. */
static uint64_t look_at(unsigned slot)
{
	const struct ledger_slot *s = &m.ledger->slot[slot];
	int32_t pid = atomic_load(&s->pid);
	uint64_t start = s->start_time;
	struct where w;

	if (pid <= 0 || where_read(&w, m.ledger, slot, (unsigned)pid, PARTS) != 0)
		return 0;
	record(&w, pid, start);
	where_free(&w);
	return s->now.managed + s->now.unmanaged + s->now.swapped;
}

static uint64_t look_at_all(void)
{
	unsigned slots = runs_slots(m.ledger), processes = 0;
	uint64_t pages = 0;

	for (unsigned i = 0; i < slots && processes < PROCESSES; i++) {
		if (!runs_alive(m.ledger, i))
			continue;
		pages += look_at(i);
		processes++;
	}
	return pages;
}

static bool wait_until(uint64_t ns)
{
	struct timespec until = { .tv_sec = (time_t)(ns / 1000000000), .tv_nsec = (long)(ns % 1000000000) };
	bool stop;

	pthread_mutex_lock(&m.lock);
	while (!m.stop && pthread_cond_timedwait(&m.wake, &m.lock, &until) == 0)
		;
	stop = m.stop;
	pthread_mutex_unlock(&m.lock);
	return !stop;
}

static void *run(void *arg)
{
	uint64_t pause = LOOK_NS / 4;

	(void)arg;
	while (wait_until(clock_ns(CLOCK_MONOTONIC) + pause)) {
		uint64_t before = clock_ns(CLOCK_THREAD_CPUTIME_ID), pages = look_at_all();

		pause = MAX(LOOK_NS, MAX(pages * PAGE_NS, (clock_ns(CLOCK_THREAD_CPUTIME_ID) - before) * OWN_SHARE));
	}
	return NULL;
}

void recorder_maps_start(struct ledger *l)
{
	pthread_condattr_t attr;

	m.ledger = l;
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&m.wake, &attr);
	pthread_condattr_destroy(&attr);
	m.started = pthread_create(&m.thread, NULL, run, NULL) == 0;
}

void recorder_maps_stop(void)
{
	if (!m.started)
		return;
	pthread_mutex_lock(&m.lock);
	m.stop = true;
	pthread_cond_signal(&m.wake);
	pthread_mutex_unlock(&m.lock);
	pthread_join(m.thread, NULL);
	m.started = false;
}
