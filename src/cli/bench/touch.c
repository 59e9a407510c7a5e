/*
 * How long single touches of anonymous memory take when it does not fit: what
 * steward bench runs on each side, and bench/paging.py with each peer.
 *
 * The memory is filled first, page by page: the first store to each page is
 * timed ("first-touch"), the rest of the filling is not. Then each workload
 * makes N touches, timed one by one; a touch reads the page's tag and
 * generation and compares them (and stores the next generation when it writes).
 * Last, untimed, every byte of every page is verified: a third of each page is
 * random, see page.h.
 *
 * Touches above FAULT_NS count as faults; the p50 and p99 are those of the
 * faults. A workload's time is the wall time of its slowest thread. One JSON
 * object on stdout; status 1 and a line on stderr when any byte is wrong.
 */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "base/hist.h"
#include "base/rand.h"
#include "cli/bench/bench.h"
#include "base/page.h"
#include "cli/msg.h"
#include "live/clock.h"

enum { FAULT_NS = 2000, THREADS_MAX = 8, STREAMS = 4, STRIDE = 7 };

static unsigned char *base;
static size_t pages;
static uint64_t touches;
static uint32_t *gens;       /* what word 1 of each page must hold */
static double zipf_theta = 0.9, zipf_zeta;

/* What one thread knows. */
struct walk {
	struct rand rand;
	uint64_t step, steps; /* touches done and to do */
	unsigned me, threads;
	struct hist hist;     /* of the faults */
	uint64_t spent_ns;
	size_t bad;           /* first wrong page + 1, or 0 */
	const struct workload *load;
	pthread_t thread;
};

struct workload {
	const char *name;
	size_t (*next)(struct walk *w);
	unsigned threads;
	bool writes; /* every second touch stores */
};

/* Scatters ranks over the region, so that hot pages are not neighbours (one to one: 40503 is a prime). */
static size_t scatter(size_t rank)
{
	return (size_t)((unsigned __int128)rank * 40503u % pages);
}

static size_t next_random(struct walk *w)
{
	return rand_below(&w->rand, pages);
}

static size_t next_sequential(struct walk *w)
{
	return w->step % pages;
}

static size_t next_reverse(struct walk *w)
{
	return pages - 1 - w->step % pages;
}

/* Every seventh page, and at the end of the region on from the next offset. */
static size_t next_strided(struct walk *w)
{
	size_t column = DIV_ROUND_UP(pages, STRIDE), at = w->step % (column * STRIDE);

	return MIN(at % column * STRIDE + at / column, pages - 1);
}

static size_t next_streams(struct walk *w)
{
	size_t part = pages / STREAMS;

	return w->step % STREAMS * part + w->step / STREAMS % part;
}

static size_t next_hot80(struct walk *w)
{
	size_t hot = pages / 5;

	return scatter(rand_below(&w->rand, 10) < 8 ? rand_below(&w->rand, hot) : hot + rand_below(&w->rand, pages - hot));
}

/* Gray et al., Quickly generating billion-record synthetic databases (SIGMOD 1994): rank by inverting the zeta sum. */
static size_t next_zipf(struct walk *w)
{
	double alpha = 1 / (1 - zipf_theta), n = (double)pages;
	double zeta2 = 1 + pow(0.5, zipf_theta);
	double eta = (1 - pow(2 / n, 1 - zipf_theta)) / (1 - zeta2 / zipf_zeta);
	double u = (double)(rand_u64(&w->rand) >> 11) / 9007199254740992.0, uz = u * zipf_zeta;

	if (uz < 1)
		return scatter(0);
	if (uz < zeta2)
		return scatter(1);
	return scatter(MIN((size_t)(n * pow(eta * u - eta + 1, alpha)), pages - 1));
}

/* Nine touches in ten go to a tenth of the region, which moves on by half its size ten times in the run. */
static size_t next_moving(struct walk *w)
{
	size_t window = pages / 10, start = w->step * 10 / w->steps * (window / 2);

	if (rand_below(&w->rand, 10) == 0)
		return rand_below(&w->rand, pages);
	return (start + rand_below(&w->rand, window)) % pages;
}

static const struct workload workloads[] = {
	{ "random-read", next_random, 1, false },
	{ "random-rw", next_random, 1, true },
	{ "sequential", next_sequential, 1, false },
	{ "sequential-rw", next_sequential, 1, true },
	{ "reverse", next_reverse, 1, false },
	{ "strided", next_strided, 1, false },
	{ "streams4", next_streams, 1, false },
	{ "hot80", next_hot80, 1, false },
	{ "zipf", next_zipf, 1, false },
	{ "moving-hot", next_moving, 1, true },
	{ "random-2t", next_random, 2, true },
	{ "random-8t", next_random, 8, true },
};

static void touch(struct walk *w)
{
	size_t i = w->load->next(w);
	bool write = w->load->writes && w->step % 2 == 1;

	/* Threads read everywhere and write only pages of their own, whose generation nobody else changes. */
	if (write)
		i = i - i % w->threads + w->me;
	if (i >= pages)
		i -= w->threads;
	volatile uint64_t *word = (volatile uint64_t *)(base + i * PAGE);
	uint64_t began = now_ns();
	uint64_t tag = word[0], gen = word[1];

	if (write)
		word[1] = gen + 1;
	uint64_t ns = now_ns() - began;

	bool mine = i % w->threads == w->me;
	if (tag != (uintptr_t)word || (mine && gen != gens[i]))
		w->bad = w->bad != 0 ? w->bad : i + 1;
	if (write)
		gens[i]++;
	if (ns > FAULT_NS)
		hist_add(&w->hist, ns);
	w->step++;
}

static void *walk(void *arg)
{
	struct walk *w = arg;
	uint64_t began = now_ns();

	while (w->step < w->steps)
		touch(w);
	w->spent_ns = now_ns() - began;
	return NULL;
}

static void report(const char *name, uint64_t n, uint64_t wall_ns, const struct hist *h, long majors)
{
	static bool not_first;

	printf("%s\n  {\"workload\": \"%s\", \"touches\": %" PRIu64 ", \"seconds\": %.6f, \"ns_per_touch\": %.1f, "
	       "\"faults\": %" PRIu64 ", \"fault_mean_ns\": %" PRIu64 ", \"fault_p50_ns\": %" PRIu64 ", "
	       "\"fault_p99_ns\": %" PRIu64 ", \"fault_max_ns\": %" PRIu64 ", \"major_faults\": %ld}",
	       not_first ? "," : "", name, n, (double)wall_ns / 1e9, (double)wall_ns / (double)n,
	       h->count, h->count != 0 ? h->sum / h->count : 0, hist_quantile(h, 500), hist_quantile(h, 990), h->max, majors);
	not_first = true;
}

static long major_faults(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return usage.ru_majflt;
}

static void fill(void)
{
	struct hist h = { 0 };
	uint64_t sum = 0;
	long majors = major_faults();

	for (size_t i = 0; i < pages; i++) {
		volatile uint64_t *word = (volatile uint64_t *)(base + i * PAGE);
		uint64_t began = now_ns();

		word[0] = (uintptr_t)word;
		uint64_t ns = now_ns() - began;

		sum += ns;
		if (ns > FAULT_NS)
			hist_add(&h, ns);
		page_fill(base + i * PAGE, (uintptr_t)word, 0);
	}
	report("first-touch", pages, sum, &h, major_faults() - majors);
}

/* Returns the first wrong page + 1, or 0. */
static size_t run(const struct workload *load, uint64_t seed)
{
	static struct walk w[THREADS_MAX];
	struct hist h = { 0 };
	uint64_t wall = 0;
	size_t bad = 0;
	long majors = major_faults();

	memset(w, 0, sizeof(w));
	for (unsigned t = 0; t < load->threads; t++) {
		w[t].load = load;
		w[t].me = t;
		w[t].threads = load->threads;
		w[t].steps = touches / load->threads;
		rand_seed(&w[t].rand, seed + t);
		if (t > 0 && pthread_create(&w[t].thread, NULL, walk, &w[t]) != 0) {
			msg_fail(1, "bench", "cannot start a thread; allow more of them");
			exit(1);
		}
	}
	walk(&w[0]);
	for (unsigned t = 0; t < load->threads; t++) {
		if (t > 0)
			pthread_join(w[t].thread, NULL);
		wall = MAX(wall, w[t].spent_ns);
		hist_merge(&h, &w[t].hist);
		bad = bad != 0 ? bad : w[t].bad;
	}
	report(load->name, touches / load->threads * load->threads, wall, &h, major_faults() - majors);
	return bad;
}

static size_t verify(void)
{
	for (size_t i = 0; i < pages; i++) {
		const uint64_t *w = (const void *)(base + i * PAGE);

		if (w[0] != (uintptr_t)w || w[1] != gens[i] || page_check_body(w, (uintptr_t)w, 0) >= 0)
			return i + 1;
	}
	return 0;
}

static const struct workload *find(const char *name, size_t len)
{
	for (size_t i = 0; i < ARRAY_SIZE(workloads); i++)
		if (strlen(workloads[i].name) == len && memcmp(workloads[i].name, name, len) == 0)
			return &workloads[i];
	return NULL;
}

/* The name behind this one in a list; NULL: it was the last. */
static const char *next_name(const char *at)
{
	const char *comma = strchr(at, ',');

	return comma != NULL ? comma + 1 : NULL;
}

static int no_workload(const char *name, size_t len)
{
	char known[256] = "";

	for (size_t i = 0, n = 0; i < ARRAY_SIZE(workloads) && n < sizeof(known); i++)
		n += (size_t)snprintf(known + n, sizeof(known) - n, "%s%s", i > 0 ? ", " : "", workloads[i].name);
	return msg_fail(EXIT_USAGE, "--only", "no workload \"%.*s\"; there are %s", (int)len, name, known);
}

int bench_check_list(const char *list)
{
	for (const char *at = list; at != NULL; at = next_name(at))
		if (find(at, strcspn(at, ",")) == NULL)
			return no_workload(at, strcspn(at, ","));
	return 0;
}

static void *map_anon(size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return p != MAP_FAILED ? p : NULL;
}

int bench_touch(uint64_t bytes, uint64_t n, const char *list)
{
	size_t bad = 0;
	uint64_t seed = 1;

	pages = bytes >> PAGE_SHIFT;
	touches = n;
	for (size_t k = 1; k <= pages; k++)
		zipf_zeta += pow((double)k, -zipf_theta);
	base = map_anon(pages * PAGE);
	gens = map_anon(pages * sizeof(*gens));
	if (base == NULL || gens == NULL)
		return msg_fail(1, "bench", "%zu pages: %s; use a smaller --size", pages, strerror(errno));
	/* Pages of 4 KiB are what is measured; a huge page would turn 512 touches into one. */
	madvise(base, pages * PAGE, MADV_NOHUGEPAGE);
	printf("{\"pages\": %zu, \"results\": [", pages);
	fill();
	for (const char *at = list; at != NULL && bad == 0; at = next_name(at))
		bad = run(find(at, strcspn(at, ",")), seed++);
	bad = bad != 0 ? bad : verify();
	printf("],\n \"verified\": %s}\n", bad == 0 ? "true" : "false");
	if (bad != 0)
		return msg_fail(1, "bench", "page %zu has wrong bytes; that is a bug of Steward or of the machine, please report it", bad - 1);
	return 0;
}
