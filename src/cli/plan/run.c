/*
 * Which sizes are tried. The first run has memory without end: it says how long the program takes then, and how much
 * it uses at the worst moment, its peak. The others vary one number, the limit of the cgroup if the machine has one,
 * else its memory (sim/config_memory.c):
 *
 *	1. `points` sizes evenly up to the peak, one above it where reserves want more, and the smallest that there can be.
 *	2. Three questions divide the axis, each at the largest size that fails it:
 *
 *	       killed          thrashes            too slow           keeps the slowdown
 *	   ├────────────┤works├──────────┤quick├────────────────┤keeps├──────────────────► size
 *
 *	   Between that size and the next larger one the middle is tried, for all three at once, until they are `grain`
 *	   apart: at most 1/256 of the peak.
 *
 * Time need not fall with every page more (kswapd's marks, Belady's anomaly), so an answer is the smallest size
 * from which on every size that was tried is good, and not the first that is.
 *
 * Each simulation runs in a child of its own, as many at once as there are CPUs; they share nothing but a page of
 * results. What is tried depends on the results of whole rounds only, so the same trace gives the same bytes on any
 * number of CPUs. A simulation that takes PLAN_LATE times as long is given up: a few sizes that thrash would cost more
 * than all others together.
 */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/msg.h"
#include "cli/plan/plan.h"
#include "cli/sim/args.h"
#include "cli/trace/tracefile.h"
#include "sim/engine.h"

#define GRAINS 256                  /* of the peak */
#define LIMIT_MIN (256 * KIB)       /* the smallest that memory.limit may be */
#define MEMORY_MIN (1 * MIB)
#define SLACK (64 * MIB)
#define GROW_MAX 24                 /* rounds in which the largest size grows by an eighth */

/* --- one size --- */

static uint64_t faults_of(const struct sim *s, bool major)
{
	uint64_t n = 0;

	for (uint32_t i = 0; i < s->nr_tasks; i++) {
		const struct sim_task *t = s->task[i];

		for (unsigned k = 0; t != NULL && k < SIM_NR_FAULTS; k++)
			n += (k == SIM_MAJOR) == major ? t->faults[k] : 0;
	}
	return n;
}

static void take_results(const struct sim *s, struct plan_point *r)
{
	/* Stopped, and not for being late: nobody was left who could be killed. */
	bool killed = s->nr_oom > 0 || (s->stopped && !s->late);

	r->end = killed ? PLAN_KILLED : s->late ? PLAN_LATE_END : PLAN_DONE;
	r->time_ns = sim_now(s);
	r->minor = faults_of(s, false);
	r->major = faults_of(s, true);
	r->swapped_in = s->counter[VM_pswpin];
	r->swapped_out = s->counter[VM_pswpout];
	r->scanned = s->counter[VM_pgscan_direct] + s->counter[VM_pgscan_kswapd];
	r->touches = s->touches;
	for (unsigned i = 0; i < s->nr_samples; i++)
		r->tables_max_bytes = MAX(r->tables_max_bytes, s->sample[i].tables << PAGE_SHIFT);
	r->used_max_bytes = s->used_max << PAGE_SHIFT;
}

/* The host's memory aside, -ENOMEM says that the machine has none for an address space: nothing can run. */
static int replay(struct sim *s, char *name, struct plan_point *r)
{
	struct trace_error error;
	struct tracefile file;
	unsigned source;
	int status = simargs_foresee(s, &name, 1);

	if (status == 0)
		status = tracefile_open(&file, name);
	if (status != 0)
		return status;
	int err = sim_replay(s, &file.reader, 1, &source, &error);

	if (err == 0)
		take_results(s, r);
	else if (err != -ENOMEM)
		status = tracefile_fail(&file, &error);
	tracefile_close(&file);
	return status;
}

/* In the child: the exit status of the whole command if it is not 0. */
static int simulate(const struct sim_config *config, const struct plan_request *q, double deadline, struct plan_point *r)
{
	struct sim_config_error error;
	struct sim *s = sim_create(config, &error);

	r->ran = true;
	r->end = PLAN_NO_START;
	if (s == NULL)
		return 0;
	s->deadline = deadline;
	int status = replay(s, q->trace, r);

	sim_destroy(s);
	return status;
}

/* The machine of a size; false: there is none. */
static bool machine_of(const struct plan *p, uint64_t bytes, struct sim_config *c)
{
	struct sim_config_error error;

	*c = p->request->machine;
	if (!p->limit)
		return sim_config_resize(c, bytes, &error) == 0;
	/* The host of the cgroup is large enough for it. */
	c->limit_bytes = bytes;
	if (sim_config_memory(c) < bytes + bytes / 8 + SLACK)
		return sim_config_resize(c, bytes + bytes / 8 + SLACK, &error) == 0;
	return true;
}

/* --- many at once --- */

struct pool {
	struct plan_point *result; /* shared with the children */
	unsigned running, cpus;
	int status;
};

static unsigned cpus(void)
{
	cpu_set_t set;

	return sched_getaffinity(0, sizeof(set), &set) == 0 ? (unsigned)CPU_COUNT(&set) : 1;
}

static void reap(struct pool *pool)
{
	int how;
	pid_t pid = wait(&how);

	if (pid < 0) {
		pool->running = 0;
		return;
	}
	pool->running--;
	if (pool->status != 0)
		return;
	if (WIFSIGNALED(how))
		pool->status = msg_fail(1, "plan", "a simulation was ended by signal %d (%s); run fewer at a time with taskset(1)",
					WTERMSIG(how), strsignal(WTERMSIG(how)));
	else
		pool->status = WEXITSTATUS(how);
}

static void start(struct pool *pool, const struct plan *p, uint64_t bytes, double deadline, struct plan_point *r)
{
	struct sim_config config;

	*r = (struct plan_point){ .bytes = bytes, .ran = true, .end = PLAN_NO_START };
	if (!machine_of(p, bytes, &config))
		return;
	while (pool->running >= pool->cpus)
		reap(pool);
	pid_t parent = getpid(), pid = fork();

	if (pid == 0) {
		/* Nobody would wait for us any more. */
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != parent)
			_exit(1);
		_exit(simulate(&config, p->request, deadline, r));
	}
	if (pid < 0 && pool->status == 0)
		pool->status = msg_fail(1, "plan", "no process for a simulation (%s); end others", strerror(errno));
	pool->running += pid > 0;
}

static int by_size(const void *a, const void *b)
{
	const struct plan_point *x = a, *y = b;

	return x->bytes < y->bytes ? -1 : x->bytes > y->bytes;
}

/* Simulates the sizes and puts them among the points. 0 or the exit status. */
static int try_sizes(struct plan *p, const uint64_t *bytes, unsigned n)
{
	struct pool pool = { .cpus = cpus() };
	size_t room = n * sizeof(*pool.result);

	pool.result = mmap(NULL, room, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (pool.result == MAP_FAILED)
		return msg_fail(1, "plan", "no memory for the results; free some");
	for (unsigned i = 0; i < n && pool.status == 0; i++)
		start(&pool, p, bytes[i], p->enough.time_ns * PLAN_LATE, &pool.result[i]);
	while (pool.running > 0)
		reap(&pool);
	if (pool.status == 0) {
		memcpy(&p->point[p->nr_points], pool.result, room);
		p->nr_points += n;
		qsort(p->point, p->nr_points, sizeof(p->point[0]), by_size);
	}
	munmap(pool.result, room);
	return pool.status;
}

/* --- which sizes --- */

double plan_times(const struct plan *p, const struct plan_point *point)
{
	return p->enough.time_ns > 0 ? point->time_ns / p->enough.time_ns : 1;
}

bool plan_keeps(const struct plan *p, const struct plan_point *point)
{
	return point->end == PLAN_DONE && plan_times(p, point) <= 1 + (double)p->request->slowdown_permille / 1000;
}

static bool is_quick(const struct plan *p, const struct plan_point *point)
{
	return point->end == PLAN_DONE && plan_times(p, point) < PLAN_THRASH;
}

static bool works(const struct plan *p, const struct plan_point *point)
{
	(void)p;
	return point->end == PLAN_DONE || point->end == PLAN_LATE_END;
}

typedef bool question(const struct plan *p, const struct plan_point *point);

/* The index from which on all points are good; nr_points: the last is not. */
static unsigned border(const struct plan *p, question *good)
{
	unsigned i = p->nr_points;

	while (i > 0 && good(p, &p->point[i - 1]))
		i--;
	return i;
}

static uint64_t answer(const struct plan *p, question *good)
{
	unsigned i = border(p, good);

	return i < p->nr_points ? p->point[i].bytes : 0;
}

/* With memory without end. */
static int run_enough(struct plan *p)
{
	const struct plan_request *q = p->request;
	struct sim_config config = q->machine;
	struct sim_config_error error;
	struct plan_point *r = &p->enough;
	uint64_t bytes = sim_config_memory(&config);
	int status;

	config.limit_bytes = 0;

	/* Twice as much until nothing had to leave. */
	do {
		status = simulate(&config, q, 0, r);
		bytes *= 2;
	} while (status == 0 && (r->swapped_out > 0 || r->end != PLAN_DONE || r->scanned > 0) &&
		 sim_config_resize(&config, bytes, &error) == 0);
	if (status == 0 && r->end != PLAN_DONE)
		status = msg_fail(1, q->trace, "it does not fit into any machine; check the trace with steward trace info");
	return status;
}

static uint64_t smallest(const struct plan *p)
{
	return ALIGN_UP(p->limit ? LIMIT_MIN : MEMORY_MIN, p->grain);
}

/* Evenly up to the peak, and the smallest. */
static int first_round(struct plan *p)
{
	uint64_t bytes[PLAN_POINTS_MAX + 1], peak = MAX(p->enough.used_max_bytes, smallest(p));
	unsigned n = 0;

	bytes[n++] = smallest(p);
	for (unsigned i = 1; i <= p->request->points; i++) {
		uint64_t b = ALIGN_UP(peak * i / p->request->points, p->grain);

		if (b > bytes[n - 1])
			bytes[n++] = b;
	}
	return try_sizes(p, bytes, n);
}

/* Reserves and watermarks come on top of what is used. */
static int grow(struct plan *p)
{
	int status = 0;

	for (unsigned i = 0; i < GROW_MAX && status == 0 && !plan_keeps(p, &p->point[p->nr_points - 1]); i++) {
		uint64_t last = p->point[p->nr_points - 1].bytes, more = ALIGN_UP(last + last / 8, p->grain);

		status = try_sizes(p, &more, 1);
	}
	return status;
}

/* The middle between the border and the point before it, unless that is tried already. */
static void add_middle(const struct plan *p, question *good, uint64_t *bytes, unsigned *n)
{
	unsigned i = border(p, good);

	if (i == 0 || i == p->nr_points || p->point[i].bytes - p->point[i - 1].bytes <= p->grain)
		return;
	uint64_t middle = ALIGN_DOWN((p->point[i].bytes + p->point[i - 1].bytes) / 2, p->grain);

	for (unsigned k = 0; k < *n; k++)
		if (bytes[k] == middle)
			return;
	bytes[(*n)++] = middle;
}

static int refine(struct plan *p)
{
	int status = 0;

	for (;;) {
		uint64_t bytes[3];
		unsigned n = 0;

		add_middle(p, plan_keeps, bytes, &n);
		add_middle(p, is_quick, bytes, &n);
		add_middle(p, works, bytes, &n);
		if (n == 0 || p->nr_points + n > PLAN_POINTS_ROOM || status != 0)
			return status;
		status = try_sizes(p, bytes, n);
	}
}

int plan_run(struct plan *p)
{
	int status = run_enough(p);

	p->limit = p->request->machine.limit_bytes != 0;
	p->grain = PAGE_SIZE;
	while (p->grain * GRAINS * 2 <= p->enough.used_max_bytes)
		p->grain *= 2;
	if (status == 0)
		status = first_round(p);
	if (status == 0)
		status = grow(p);
	if (status == 0)
		status = refine(p);
	for (unsigned i = 0; i < p->nr_points; i++) {
		uint64_t tables = MIN(p->enough.tables_max_bytes, p->point[i].bytes);

		p->point[i].lru_misses = locality_misses(p->locality, (p->point[i].bytes - tables) >> PAGE_SHIFT);
	}
	p->answer.keeps = answer(p, plan_keeps);
	p->answer.quick = answer(p, is_quick);
	p->answer.works = answer(p, works);
	return status;
}
