/* Stacks: deep recursion in a thread and on the main stack, and coroutines on heap stacks. */
#include "verifier.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <ucontext.h>
#include <unistd.h>

/* One page of locals a level, filled on the way down and checked on the way up. */
static uint64_t descend(size_t depth, uint64_t gen)
{
	unsigned char page[PAGE] __attribute__((aligned(8)));

	page_fill(page, (uintptr_t)page, gen);
	uint64_t below = depth == 0 ? 0 : descend(depth - 1, gen);
	must(page_check(page, (uintptr_t)page, gen) < 0, "stack frame at depth %zu", depth);
	return mix64(below + depth + gen);
}

struct dive {
	size_t depth;
	uint64_t digest;
};

static void *dive(void *arg)
{
	struct dive *d = arg;

	for (uint64_t gen = 1; gen <= 3; gen++)
		d->digest += descend(d->depth, gen);
	return NULL;
}

/*
 * A recursion that goes deep beside a region that is under pressure. Not deeper than the budget: stacks are counted and
 * never moved, and a run whose stacks alone are more ends (docs/limits.md).
 */
uint64_t mode_recursion(size_t n, uint64_t seed)
{
	struct dive d = { .depth = n / 4 };
	struct region r;
	pthread_attr_t attr;
	pthread_t thread;

	(void)seed;
	region_make(&r, n - n / 4);
	region_fill(&r, 0, n - n / 4);
	pthread_attr_init(&attr);
	must(pthread_attr_setstacksize(&attr, (n / 4 + n / 8) * PAGE) == 0, "pthread_attr_setstacksize");
	must(pthread_create(&thread, &attr, dive, &d) == 0, "pthread_create");
	pthread_join(thread, NULL);
	region_check_all(&r, "beside the recursion");
	return d.digest + region_digest(&r);
}

/* The main stack grows by faults below it; a region beside it keeps the pressure up. */
uint64_t mode_main_stack(size_t n, uint64_t seed)
{
	struct region r;
	struct rlimit limit;
	uint64_t digest = 0;

	must(getrlimit(RLIMIT_STACK, &limit) == 0, "getrlimit");
	size_t depth = (limit.rlim_cur < (8u << 20) ? (size_t)limit.rlim_cur : 8u << 20) / PAGE * 3 / 4;
	region_make(&r, n);
	region_fill(&r, 0, n);
	for (uint64_t gen = 1; gen <= 6; gen++) {
		digest += descend(depth / (1 + gen % 3), gen);
		region_sample(&r, &seed, n / 4, "beside the stack");
	}
	region_check_all(&r, "last look");
	return digest + region_digest(&r);
}

enum { COROUTINE_PAGES = 16 };

struct coroutine {
	ucontext_t context;
	unsigned char *stack;
	unsigned rounds;
};

static ucontext_t scheduler;
static struct coroutine *running;

static void coroutine_main(void)
{
	struct coroutine *self = running;
	unsigned char local[(COROUTINE_PAGES - 4) * PAGE] __attribute__((aligned(8)));

	for (unsigned gen = 1;; gen++) {
		for (size_t i = 0; i < COROUTINE_PAGES - 4; i++)
			page_fill(local + i * PAGE, (uintptr_t)self + i, gen);
		swapcontext(&self->context, &scheduler);
		for (size_t i = 0; i < COROUTINE_PAGES - 4; i++)
			must(page_check(local + i * PAGE, (uintptr_t)self + i, gen) < 0, "coroutine's page %zu, generation %u", i, gen);
		self->rounds++;
	}
}

static void coroutine_make(struct coroutine *c)
{
	c->stack = malloc(COROUTINE_PAGES * PAGE);
	must(c->stack != NULL && getcontext(&c->context) == 0, "malloc or getcontext");
	c->context.uc_stack.ss_sp = c->stack;
	c->context.uc_stack.ss_size = COROUTINE_PAGES * PAGE;
	makecontext(&c->context, coroutine_main, 0);
}

uint64_t mode_coroutines(size_t n, uint64_t seed)
{
	size_t count = n / COROUTINE_PAGES;
	struct coroutine *c = calloc(count, sizeof(*c));
	uint64_t digest = 0;

	must(c != NULL, "calloc");
	for (size_t i = 0; i < count; i++)
		coroutine_make(&c[i]);
	for (size_t k = 0; k < 4 * count; k++) {
		running = &c[k < count ? k : below64(&seed, count)];
		swapcontext(&scheduler, &running->context);
	}
	for (size_t i = 0; i < count; i++) {
		digest = mix64(digest + c[i].rounds);
		free(c[i].stack);
	}
	free(c);
	return digest;
}
