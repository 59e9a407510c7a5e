/*
 * Threads that each go through their own regions in streams, forward, backward, by steps and at random, and change them between:
 * what is on its way in, read ahead of a stream above all, meets what is dropped, moved, mapped over and cut off.
 *
 * Generations never come twice in a thread, so that a page which comes back from before is seen for what it is.
 */
#include "verifier.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define THREADS 2
#define REGIONS 3
#define STEPS 500     /* of each thread; the more pages, the longer its streams */
#define GROWTH 2      /* times what it begins with a region may become */

struct worker {
	pthread_t thread;
	struct region r[REGIONS];
	size_t most;  /* pages of a region */
	uint32_t gen; /* of the last page written */
	uint64_t seed;
};

struct run {
	size_t from, n;
};

/* Whoever maps memory anywhere: another's may have a hole that is not free. */
static pthread_mutex_t holes = PTHREAD_MUTEX_INITIALIZER;

static unsigned char *map_beside_holes(size_t n)
{
	pthread_mutex_lock(&holes);
	unsigned char *p = map_anon(n);

	pthread_mutex_unlock(&holes);
	return p;
}

static struct run choose(struct worker *w, const struct region *r, size_t most)
{
	struct run run = { .from = below64(&w->seed, r->pages) };
	size_t n = 1 + below64(&w->seed, most);

	run.n = n < r->pages - run.from ? n : r->pages - run.from;
	return run;
}

static void write_page(struct worker *w, struct region *r, size_t i)
{
	r->gen[i] = ++w->gen;
	page_fill(region_page(r, i), region_tag(r, i), r->gen[i]);
}

static void are_zeros(struct region *r, size_t from, size_t n)
{
	memset(r->gen + from, 0, n * sizeof(*r->gen));
}

static void check_run(const struct region *r, struct run run, const char *when)
{
	for (size_t i = run.from; i < run.from + run.n; i++)
		region_check(r, i, when);
}

static void stream(struct worker *w, struct region *r)
{
	struct run run = choose(w, r, r->pages / 4);
	size_t step = below64(&w->seed, 3) == 0 ? 2 + below64(&w->seed, 6) : 1;
	bool back = below64(&w->seed, 4) == 0;

	for (size_t k = 0; k < run.n; k += step)
		region_check(r, run.from + (back ? run.n - 1 - k : k), "stream");
}

static void touch_at_random(struct worker *w, struct region *r)
{
	region_sample(r, &w->seed, 30, "touch at random");
}

static void write_run(struct worker *w, struct region *r)
{
	struct run run = choose(w, r, r->pages / 8);

	for (size_t i = run.from; i < run.from + run.n; i++) {
		if (below64(&w->seed, 2) == 0)
			region_check(r, i, "before it is written");
		write_page(w, r, i);
	}
}

static void drop(struct region *r, struct run run)
{
	must(madvise(region_page(r, run.from), run.n * PAGE, MADV_DONTNEED) == 0, "madvise: %s", strerror(errno));
	are_zeros(r, run.from, run.n);
}

static void drop_run(struct worker *w, struct region *r)
{
	struct run run = choose(w, r, r->pages / 16);

	drop(r, run);
	if (below64(&w->seed, 2) == 0)
		check_run(r, run, "dropped");
}

/* A stream, and of what lies ahead of it some is dropped. */
static void drop_ahead(struct worker *w, struct region *r)
{
	struct run read = choose(w, r, 60), ahead = { .from = read.from + read.n + below64(&w->seed, 40) };
	size_t n = 1 + below64(&w->seed, 100);

	check_run(r, read, "stream to what is dropped");
	if (ahead.from >= r->pages)
		return;
	ahead.n = n < r->pages - ahead.from ? n : r->pages - ahead.from;
	drop(r, ahead);
	check_run(r, ahead, "dropped ahead of a stream");
}

static void map_over(struct worker *w, struct region *r)
{
	struct run run = choose(w, r, r->pages / 16);
	void *at = region_page(r, run.from);

	must(mmap(at, run.n * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == at, "mmap: %s",
	     strerror(errno));
	are_zeros(r, run.from, run.n);
	if (below64(&w->seed, 2) == 0)
		check_run(r, run, "mapped over");
}

static void free_lazily(struct worker *w, struct region *r)
{
	struct run run = choose(w, r, 60);

	must(madvise(region_page(r, run.from), run.n * PAGE, MADV_FREE) == 0, "MADV_FREE: %s", strerror(errno));
	for (size_t i = run.from; i < run.from + run.n; i++)
		write_page(w, r, i);
}

static void protect(struct worker *w, struct region *r)
{
	struct run run = choose(w, r, 100);
	unsigned char *at = region_page(r, run.from);

	must(mprotect(at, run.n * PAGE, PROT_READ) == 0, "mprotect: %s", strerror(errno));
	check_run(r, run, "read-only");
	must(mprotect(at, run.n * PAGE, PROT_READ | PROT_WRITE) == 0, "mprotect: %s", strerror(errno));
}

/* All of it somewhere else. Areas that the kernel has not joined again it moves one at a time, if at all: then it stays. */
static void move(struct worker *w, struct region *r)
{
	unsigned char *to = map_beside_holes(r->pages);
	void *got = mremap(r->base, r->pages * PAGE, r->pages * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, to);

	(void)w;
	must(got == to || errno == EFAULT, "mremap: %s", strerror(errno));
	if (got == to)
		r->base = to;
	else
		must(munmap(to, r->pages * PAGE) == 0, "munmap: %s", strerror(errno));
}

/* A part of it goes elsewhere and comes back, however the kernel has cut it into areas. */
static void move_part(struct worker *w, struct region *r)
{
	struct run run = choose(w, r, 150);
	size_t bytes = run.n * PAGE;
	unsigned char *from = region_page(r, run.from);

	pthread_mutex_lock(&holes);
	unsigned char *to = map_anon(run.n);
	void *got = mremap(from, bytes, bytes, MREMAP_MAYMOVE | MREMAP_FIXED, to);

	must(got == to || errno == EFAULT, "mremap: %s", strerror(errno));
	if (got == to)
		must(mremap(to, bytes, bytes, MREMAP_MAYMOVE | MREMAP_FIXED, from) == from, "mremap back: %s", strerror(errno));
	else
		must(munmap(to, bytes) == 0, "munmap: %s", strerror(errno));
	pthread_mutex_unlock(&holes);
	check_run(r, run, "moved and back");
}

static void grow(struct worker *w, struct region *r)
{
	size_t more = 1 + below64(&w->seed, 64);

	if (r->pages + more > w->most)
		return;
	pthread_mutex_lock(&holes);
	void *got = mremap(r->base, r->pages * PAGE, (r->pages + more) * PAGE, MREMAP_MAYMOVE);

	pthread_mutex_unlock(&holes);

	must(got != MAP_FAILED || errno == EFAULT, "mremap: %s", strerror(errno));
	if (got == MAP_FAILED) {
		got = map_beside_holes(r->pages + more);
		memcpy(got, r->base, r->pages * PAGE);
		must(munmap(r->base, r->pages * PAGE) == 0, "munmap: %s", strerror(errno));
	}
	r->base = got;
	are_zeros(r, r->pages, more);
	r->pages += more;
}

static void shrink(struct worker *w, struct region *r)
{
	size_t less = 1 + below64(&w->seed, 64), left = r->pages - less;

	if (r->pages < 4 * less)
		return;
	if (below64(&w->seed, 2) == 0)
		must(munmap(region_page(r, left), less * PAGE) == 0, "munmap: %s", strerror(errno));
	else
		must(mremap(r->base, r->pages * PAGE, left * PAGE, 0) == r->base, "mremap: %s", strerror(errno));
	r->pages = left;
}

/* The kernel reads and writes pages, in place of the program. */
static void through_a_pipe(struct worker *w, struct region *r)
{
	static __thread unsigned char bytes[PAGE] __attribute__((aligned(PAGE)));
	struct run run = choose(w, r, 16);
	int ends[2];

	must(pipe(ends) == 0, "pipe: %s", strerror(errno));
	for (size_t i = run.from; i < run.from + run.n; i++) {
		struct region copy = { bytes, region_tag(r, i), 1, r->gen + i };

		must(write(ends[1], region_page(r, i), PAGE) == PAGE && read(ends[0], bytes, PAGE) == PAGE, "pipe: %s", strerror(errno));
		region_check(&copy, 0, "written to a pipe");
		write_page(w, &copy, 0);
		must(write(ends[1], bytes, PAGE) == PAGE && read(ends[0], region_page(r, i), PAGE) == PAGE, "pipe: %s", strerror(errno));
	}
	close(ends[0]);
	close(ends[1]);
}

static void in_a_child(struct worker *w, struct region *r)
{
	struct run run = choose(w, r, r->pages / 8);
	pid_t pid = below64(&w->seed, 4) == 0 ? fork() : -2;

	if (pid == -2)
		return;
	if (pid == 0) {
		check_run(r, run, "in a child");
		for (size_t i = run.from; i < run.from + run.n; i += 5)
			write_page(w, r, i);
		drop(r, (struct run){ run.from, (run.n + 1) / 2 });
		check_run(r, run, "in a child, changed");
		_exit(0);
	}
	child_must_succeed(pid, "mixed");
}

static void (*const steps[])(struct worker *, struct region *) = {
	stream, stream, stream, touch_at_random, write_run, write_run, drop_run, drop_ahead, drop_ahead, map_over,
	free_lazily, protect, move, move_part, move_part, move_part, grow, grow, shrink, shrink, through_a_pipe, in_a_child,
};

static void *work(void *arg)
{
	struct worker *w = arg;

	for (unsigned k = 0; k < STEPS; k++) {
		struct region *r = &w->r[below64(&w->seed, REGIONS)];

		steps[below64(&w->seed, sizeof(steps) / sizeof(steps[0]))](w, r);
	}
	return NULL;
}

uint64_t mode_mixed(size_t n, uint64_t seed)
{
	struct worker w[THREADS];
	uint64_t digest = 0;

	for (size_t t = 0; t < THREADS; t++) {
		size_t pages = n / THREADS / REGIONS;

		w[t] = (struct worker){ .most = GROWTH * pages, .seed = mix64(seed + t) | 1 };
		for (size_t k = 0; k < REGIONS; k++) {
			struct region *r = &w[t].r[k];

			region_make(r, w[t].most);
			must(munmap(region_page(r, pages), (w[t].most - pages) * PAGE) == 0, "munmap: %s", strerror(errno));
			r->pages = pages;
			for (size_t i = 0; i < pages; i++)
				write_page(&w[t], r, i);
		}
	}
	for (size_t t = 0; t < THREADS; t++)
		must(pthread_create(&w[t].thread, NULL, work, &w[t]) == 0, "pthread_create");
	for (size_t t = 0; t < THREADS; t++) {
		pthread_join(w[t].thread, NULL);
		for (size_t k = 0; k < REGIONS; k++) {
			region_check_all(&w[t].r[k], "mixed: last look");
			digest += region_digest(&w[t].r[k]);
		}
	}
	return digest;
}
