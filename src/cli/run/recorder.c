/*
 * The file, and a thread that takes samples. A thread, because a sample must neither wait for what the supervisor does nor keep it from doing it. It only reads the
 * ledger, as a steward stat would that runs all the time, so nothing in the program is paid for it.
 *
 * Each sample is written at once: what is lost when the launcher is killed is the tenth of a second since the last one. A
 * file that cannot be written any more (the disk is full) ends the recording with one line, and not the run.
 */
#include "cli/run/recorder.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "base/size.h"
#include "cli/flight/flight.h"
#include "cli/msg.h"
#include "cli/see/events.h"

#define INTERVAL_NS 100000000
#define APART_NS 10000000 /* 10 ms: no two samples are closer, for the rates between them */
#define MAX_DEFAULT (64 * MIB)

static struct recorder {
	const struct recorder_options *options; /* NULL: no file is open */
	struct ledger *ledger;
	struct flight_ring ring;
	uint64_t began;                         /* CLOCK_MONOTONIC */
	struct sample before, now;
	struct events events;
	bool broken;                            /* it has been said that the file cannot be written; file_lock, as the ring */
	pthread_mutex_t file_lock;
	bool started;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	bool stop;                              /* lock */
} r = { .lock = PTHREAD_MUTEX_INITIALIZER, .file_lock = PTHREAD_MUTEX_INITIALIZER };

int recorder_set(struct recorder_options *o, const char *text)
{
	const char *comma = strrchr(text, ',');
	bool with_size = comma != NULL && strncmp(comma, ",max=", 5) == 0;

	free(o->path);
	o->path = strndup(text, with_size ? (size_t)(comma - text) : strlen(text));
	o->max_bytes = MAX_DEFAULT;
	if (o->path == NULL)
		return msg_fail(1, "--record", "%s; try again with more memory", strerror(ENOMEM));
	if (o->path[0] == '\0')
		return msg_fail(EXIT_USAGE, "--record", "the file name is empty; give one");
	if (!with_size)
		return 0;
	if (size_parse(comma + 5, &o->max_bytes) != 0)
		return msg_fail(EXIT_USAGE, "--record", "\"%s\" is not a size; write it as max=64M", comma + 5);
	if (o->max_bytes < FLIGHT_RING_MIN || o->max_bytes > FLIGHT_RING_MAX)
		return msg_fail(EXIT_USAGE, "--record", "a recording takes from 1M to 64G, not %s; give another size", comma + 5);
	return 0;
}

static uint64_t clock_ns(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void describe(struct flight_run *run, const struct ledger *l, char **argv, const char *budget_from)
{
	size_t at = 0;

	*run = (struct flight_run){ .launcher = l->launcher, .began = clock_ns(CLOCK_REALTIME), .interval_ns = INTERVAL_NS };
	for (char **a = argv; *a != NULL && at < sizeof(run->command); a++)
		at += (size_t)snprintf(run->command + at, sizeof(run->command) - at, "%s%s", a != argv ? " " : "", *a);
	snprintf(run->from, sizeof(run->from), "%s", budget_from);
	run->nr_areas = r.now.nr_areas;
	for (unsigned i = 0; i < run->nr_areas; i++) {
		memcpy(run->area[i], r.now.area[i].name, sizeof(run->area[i]));
		run->pool[i] = r.now.area[i].pool;
	}
}

int recorder_open(const struct recorder_options *o, struct ledger *l, char **argv, const char *budget_from)
{
	static struct flight_run run;
	int err;

	if (o->path == NULL)
		return 0;
	err = sample_take(&r.now, l);
	if (err != 0)
		return err;
	describe(&run, l, argv, budget_from);
	err = flight_create(&r.ring, o->path, o->max_bytes - FLIGHT_HEADER, &run);
	if (err == -ESPIPE)
		return msg_fail(EXIT_STEWARD, o->path, "a recording is written in a circle, which only a file allows; give --record one");
	if (err == -EAGAIN)
		return msg_fail(EXIT_STEWARD, o->path, "another steward run records there; give --record another file");
	if (err != 0)
		return msg_fail(EXIT_STEWARD, o->path, "cannot be written (%s); give --record another file", strerror(-err));
	r.options = o;
	r.ledger = l;
	r.began = clock_ns(CLOCK_MONOTONIC);
	return 0;
}

struct flight_bytes *recorder_begin(void)
{
	if (r.options == NULL)
		return NULL;
	pthread_mutex_lock(&r.file_lock);
	if (!r.broken)
		return flight_begin(&r.ring);
	pthread_mutex_unlock(&r.file_lock);
	return NULL;
}

void recorder_end(enum flight_kind kind, uint64_t ns)
{
	int err;

	if (ns == 0)
		ns = clock_ns(CLOCK_MONOTONIC);
	err = flight_write(&r.ring, kind, ns > r.began ? ns - r.began : 0);
	r.broken = err != 0;
	pthread_mutex_unlock(&r.file_lock);
	if (err != 0)
		msg_note("%s: cannot be written (%s); the recording ends here, the run goes on", r.options->path, strerror(-err));
}

static bool is_broken(void)
{
	bool broken;

	pthread_mutex_lock(&r.file_lock);
	broken = r.broken;
	pthread_mutex_unlock(&r.file_lock);
	return broken;
}

static void record_event(const struct event *e)
{
	struct flight_event event;
	struct flight_bytes *b = recorder_begin();

	if (b == NULL)
		return;
	event.bad = e->bad;
	snprintf(event.text, sizeof(event.text), "%s", e->text);
	flight_put_event(b, &event);
	recorder_end(FLIGHT_EVENT, r.now.ns);
}

static void record_sample(void)
{
	struct sample old = r.before;
	unsigned known = r.events.nr;
	struct flight_bytes *b;

	if (is_broken())
		return;
	r.before = r.now;
	r.now = old;
	if (sample_take(&r.now, r.ledger) != 0) {
		/* It has been said, and is not to be said ten times a second. */
		pthread_mutex_lock(&r.file_lock);
		r.broken = true;
		pthread_mutex_unlock(&r.file_lock);
		return;
	}
	events_add(&r.events, &r.before, &r.now);
	for (unsigned left = MIN(r.events.nr - known, EVENTS_MAX - 1); left > 0; left--)
		record_event(events_last(&r.events, left - 1));
	b = recorder_begin();
	if (b == NULL)
		return;
	flight_put_sample(b, &r.now);
	recorder_end(FLIGHT_SAMPLE, r.now.ns);
}

static void *run(void *arg)
{
	struct timespec next;

	(void)arg;
	clock_gettime(CLOCK_MONOTONIC, &next);
	pthread_mutex_lock(&r.lock);
	while (!r.stop) {
		uint64_t ns = (uint64_t)next.tv_nsec + INTERVAL_NS;

		pthread_mutex_unlock(&r.lock);
		record_sample();
		pthread_mutex_lock(&r.lock);
		next.tv_sec += (time_t)(ns / 1000000000);
		next.tv_nsec = (long)(ns % 1000000000);
		while (!r.stop && pthread_cond_timedwait(&r.wake, &r.lock, &next) == 0)
			;
	}
	pthread_mutex_unlock(&r.lock);
	nanosleep(&(struct timespec){ .tv_nsec = APART_NS }, NULL);
	record_sample();
	return NULL;
}

void recorder_start(void)
{
	pthread_condattr_t attr;

	if (r.options == NULL)
		return;
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&r.wake, &attr);
	pthread_condattr_destroy(&attr);
	r.started = pthread_create(&r.thread, NULL, run, NULL) == 0;
	if (!r.started)
		msg_note("%s: no thread for the recorder; nothing is recorded", r.options->path);
	else
		recorder_maps_start(r.ledger);
}

void recorder_stop(void)
{
	if (!r.started)
		return;
	recorder_maps_stop();
	pthread_mutex_lock(&r.lock);
	r.stop = true;
	pthread_cond_signal(&r.wake);
	pthread_mutex_unlock(&r.lock);
	pthread_join(r.thread, NULL);
	r.started = false;
}

/* The figures of --stats, as a text. NULL: no memory. */
static char *figures_of_run(const struct summary *s, size_t *len)
{
	int fd = memfd_create("steward-figures", MFD_CLOEXEC);
	char *text = NULL;
	off_t end;

	if (fd >= 0 && summary_write(s, fd) == 0 && (end = lseek(fd, 0, SEEK_CUR)) > 0) {
		text = malloc((size_t)end);
		if (text != NULL && pread(fd, text, (size_t)end, 0) != end) {
			free(text);
			text = NULL;
		}
		*len = (size_t)end;
	}
	if (fd >= 0)
		close(fd);
	return text;
}

static void free_all(void)
{
	flight_close(&r.ring);
	sample_free(&r.before);
	sample_free(&r.now);
	r.options = NULL;
}

void recorder_close(const struct summary *s)
{
	struct flight_bytes *b;
	size_t len;
	char *text;

	if (r.options == NULL)
		return;
	text = figures_of_run(s, &len);
	b = text != NULL ? recorder_begin() : NULL;
	if (b != NULL) {
		flight_put_end(b, s->watch->fatal, text, len);
		recorder_end(FLIGHT_END, 0);
	}
	free(text);
	free_all();
}

void recorder_drop(void)
{
	if (r.options == NULL)
		return;
	unlink(r.options->path);
	free_all();
}
