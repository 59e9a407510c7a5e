/* Many threads and signals at pressure. */
#include "verifier.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/time.h>

struct worker {
	pthread_t thread;
	struct region own;            /* only this thread writes it */
	const struct region *common;  /* everybody reads it */
	uint64_t seed;
};

static void *work(void *arg)
{
	struct worker *w = arg;

	region_fill(&w->own, 0, w->own.pages);
	for (size_t k = 0; k < 2 * w->own.pages; k++) {
		size_t i = below64(&w->seed, w->own.pages);

		region_check(&w->own, i, "own page");
		if (k % 2 == 0)
			region_write(&w->own, i);
		region_check(w->common, below64(&w->seed, w->common->pages), "common page");
	}
	return NULL;
}

uint64_t mode_threads(size_t n, uint64_t seed)
{
	struct region common, rest;
	struct worker w[8];

	region_make(&common, n / 4);
	region_fill(&common, 0, common.pages);
	region_make(&rest, n - n / 4);
	for (size_t t = 0; t < 8; t++) {
		size_t from = rest.pages / 8 * t;

		w[t] = (struct worker){
			.own = { region_page(&rest, from), region_tag(&rest, from), rest.pages / 8, rest.gen + from },
			.common = &common,
			.seed = mix64(seed + t) | 1,
		};
		must(pthread_create(&w[t].thread, NULL, work, &w[t]) == 0, "pthread_create");
	}
	for (size_t t = 0; t < 8; t++)
		pthread_join(w[t].thread, NULL);
	region_check_all(&rest, "last look");
	return region_digest(&rest) + region_digest(&common);
}

struct adder {
	pthread_t thread;
	unsigned char *base;
	size_t pages, adds;
	uint64_t seed;
};

/* Every thread writes every page: a page copied out while somebody writes it would lose an addition. */
static void *add(void *arg)
{
	struct adder *a = arg;

	for (size_t k = 0; k < a->adds; k++) {
		unsigned char *page = a->base + below64(&a->seed, a->pages) * PAGE;
		_Atomic uint64_t *counter = (_Atomic uint64_t *)(page + 8 * below64(&a->seed, PAGE_WORDS));

		atomic_fetch_add(counter, 1);
		/* Some pages see a burst, so that a write falls into their eviction. */
		for (unsigned i = 0; k % 8 == 0 && i < 100; i++)
			atomic_fetch_add(counter, 1);
	}
	return NULL;
}

uint64_t mode_atomic(size_t n, uint64_t seed)
{
	struct adder a[4];
	unsigned char *base = map_anon(n);
	uint64_t sum = 0, expected = 0;

	for (size_t t = 0; t < 4; t++) {
		a[t] = (struct adder){ .base = base, .pages = n, .adds = 2 * n, .seed = mix64(seed + t) | 1 };
		expected += 2 * n + (2 * n + 7) / 8 * 100;
		must(pthread_create(&a[t].thread, NULL, add, &a[t]) == 0, "pthread_create");
	}
	for (size_t t = 0; t < 4; t++)
		pthread_join(a[t].thread, NULL);
	for (size_t i = 0; i < n * PAGE_WORDS; i++)
		sum += ((const uint64_t *)(const void *)base)[i];
	must(sum == expected, "%lu of %lu additions were lost", (unsigned long)(expected - sum), (unsigned long)expected);
	return sum;
}

static void *short_life(void *arg)
{
	unsigned char local[64 * 1024];
	const struct region *r = arg;
	uint64_t seed = mix64((uintptr_t)local) | 1;
	unsigned char byte = (unsigned char)seed;

	memset(local, byte, sizeof(local));
	region_sample(r, &seed, 200, "in a short-lived thread");
	for (size_t i = 0; i < sizeof(local); i++)
		must(local[i] == byte, "stack of a thread, byte %zu", i);
	return NULL;
}

/* Threads come and go: stacks are mapped, cached, given back by madvise, and unmapped. */
uint64_t mode_churn(size_t n, uint64_t seed)
{
	struct region r;

	region_make(&r, n);
	region_fill(&r, 0, n);
	for (unsigned round = 0; round < 60; round++) {
		pthread_t t[8];
		unsigned count = 1 + (unsigned)below64(&seed, 8);

		for (unsigned i = 0; i < count; i++)
			must(pthread_create(&t[i], NULL, short_life, &r) == 0, "pthread_create");
		region_sample(&r, &seed, 100, "beside short-lived threads");
		for (unsigned i = 0; i < count; i++)
			pthread_join(t[i], NULL);
	}
	region_check_all(&r, "last look");
	return region_digest(&r);
}

static struct {
	struct region ring;
	volatile size_t ticks;
} timer;

/* Runs on a stack that may be paged out, and rewrites a page that may be. */
static void on_tick(int sig)
{
	unsigned char local[2 * PAGE];
	size_t i = timer.ticks % timer.ring.pages;

	(void)sig;
	page_fill(local, (uintptr_t)local, timer.ticks);
	region_check(&timer.ring, i, "in the signal handler");
	region_write(&timer.ring, i);
	must(page_check(local, (uintptr_t)local, timer.ticks) < 0, "stack of the signal handler");
	timer.ticks++;
}

uint64_t mode_signals(size_t n, uint64_t seed)
{
	struct itimerval every = { { 0, 500 }, { 0, 500 } }, never = { { 0, 0 }, { 0, 0 } };
	struct sigaction sa = { .sa_handler = on_tick, .sa_flags = SA_ONSTACK | SA_RESTART };
	stack_t stack = { .ss_sp = map_anon(64), .ss_size = 64 * PAGE };
	struct region r;

	region_make(&timer.ring, n / 4);
	region_make(&r, n - n / 4);
	region_fill(&r, 0, r.pages);
	must(sigaltstack(&stack, NULL) == 0 && sigaction(SIGALRM, &sa, NULL) == 0, "sigaltstack");
	must(setitimer(ITIMER_REAL, &every, NULL) == 0, "setitimer");
	for (size_t k = 0; k < n; k++) {
		size_t i = below64(&seed, r.pages);

		region_check(&r, i, "interrupted");
		if (k % 2 == 0)
			region_write(&r, i);
	}
	while (timer.ticks < 100)
		region_sample(&r, &seed, 100, "interrupted");
	setitimer(ITIMER_REAL, &never, NULL);
	region_check_all(&r, "last look");
	region_check_all(&timer.ring, "last look at the ring");
	return region_digest(&r); /* the number of ticks is chance */
}
