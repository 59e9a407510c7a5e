/* fork under pressure: both sides must keep seeing their own pages, and only those. */
#include "verifier.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/wait.h>
#include <unistd.h>

/* The child verifies what was there at the fork while the parent rewrites it. */
uint64_t mode_fork_read(size_t n, uint64_t seed)
{
	struct region r;

	region_make(&r, n);
	region_fill(&r, 0, n);
	for (unsigned round = 0; round < 2; round++) {
		int pid = fork();
		if (pid == 0) {
			region_check_all(&r, "child after fork");
			region_sample(&r, &seed, n / 4, "child again");
			_exit(0);
		}
		for (size_t k = 0; k < n; k++)
			region_write(&r, (k * 7919 + round) % n);
		region_check_all(&r, "parent after its writes");
		child_must_succeed(pid, "fork-read");
	}
	return region_digest(&r);
}

/* The child rewrites, the parent verifies that it sees none of it. */
uint64_t mode_fork_write(size_t n, uint64_t seed)
{
	struct region r;

	region_make(&r, n);
	region_fill(&r, 0, n - n / 8); /* the last eighth stays zero */
	int pid = fork();
	if (pid == 0) {
		for (size_t k = 0; k < n; k++)
			region_write(&r, below64(&seed, n));
		region_check_all(&r, "child after its writes");
		_exit(0);
	}
	region_check_all(&r, "parent while the child writes");
	region_sample(&r, &seed, n / 4, "parent again");
	child_must_succeed(pid, "fork-write");
	region_check_all(&r, "parent after the child's end");
	region_fill(&r, 0, n);
	region_check_all(&r, "parent after its own writes");
	return region_digest(&r);
}

static void nest(struct region *r, unsigned depth)
{
	size_t from = r->pages / 4 * depth, to = from + r->pages / 4;

	region_fill(r, from, to);
	if (depth == 3) {
		region_check_all(r, "the innermost child");
		return;
	}
	int pid = fork();
	if (pid == 0) {
		nest(r, depth + 1);
		_exit(0);
	}
	region_fill(r, from, to);
	region_check_all(r, "a parent of the nest");
	child_must_succeed(pid, "fork-nested");
}

uint64_t mode_fork_nested(size_t n, uint64_t seed)
{
	struct region r;

	(void)seed;
	n -= n % 4;
	region_make(&r, n);
	region_fill(&r, 0, n);
	nest(&r, 0);
	region_check_all(&r, "the outermost parent");
	return region_digest(&r);
}

struct churner {
	pthread_t thread;
	struct region part; /* a quarter of the busy region; only this thread touches it */
	const atomic_bool *stop;
};

static void *churn_part(void *arg)
{
	struct churner *c = arg;
	uint64_t seed = mix64((uintptr_t)c) | 1;

	while (!atomic_load(c->stop)) {
		size_t i = below64(&seed, c->part.pages);
		region_check(&c->part, i, "thread beside fork");
		region_write(&c->part, i);
	}
	return NULL;
}

/* Forks while four other threads fault and write; the child verifies what stands still, and writes into it. */
uint64_t mode_fork_threads(size_t n, uint64_t seed)
{
	struct region still, busy;
	struct churner c[4];
	atomic_bool stop = false;

	region_make(&still, n / 4 * 3);
	region_make(&busy, n / 4);
	region_fill(&still, 0, still.pages);
	region_fill(&busy, 0, busy.pages);
	for (size_t t = 0; t < 4; t++) {
		size_t from = busy.pages / 4 * t;

		c[t].part = (struct region){ region_page(&busy, from), region_tag(&busy, from), busy.pages / 4, busy.gen + from };
		c[t].stop = &stop;
		must(pthread_create(&c[t].thread, NULL, churn_part, &c[t]) == 0, "pthread_create");
	}
	for (unsigned round = 0; round < 3; round++) {
		int pid = fork();
		if (pid == 0) {
			region_sample(&still, &seed, still.pages / 4, "child beside threads");
			region_fill(&still, 0, still.pages / 8);
			region_check_all(&still, "child beside threads");
			_exit(0);
		}
		region_sample(&still, &seed, still.pages / 4, "parent beside threads");
		child_must_succeed(pid, "fork-threads");
	}
	atomic_store(&stop, true);
	for (size_t t = 0; t < 4; t++)
		pthread_join(c[t].thread, NULL);
	region_check_all(&still, "last look");
	region_check_all(&busy, "last look");
	return region_digest(&still); /* how far the threads came is chance */
}

/* The middle process ends first; its child, adopted by init, still needs every page. */
uint64_t mode_fork_orphan(size_t n, uint64_t seed)
{
	struct region r;
	int done[2];
	char verdict = 0;

	region_make(&r, n);
	region_fill(&r, 0, n);
	must(pipe(done) == 0, "pipe");
	int pid = fork();
	if (pid == 0) {
		region_fill(&r, 0, n / 2);
		int middle = getpid();
		if (fork() == 0) {
			while (getppid() == middle)
				usleep(100);
			region_sample(&r, &seed, n / 2, "orphan");
			region_check_all(&r, "orphan");
			region_fill(&r, n / 2, n);
			region_check_all(&r, "orphan after its writes");
			_exit(write(done[1], "y", 1) == 1 ? 0 : 1);
		}
		_exit(0);
	}
	close(done[1]);
	child_must_succeed(pid, "fork-orphan");
	region_fill(&r, n / 2, n);
	region_check_all(&r, "grandparent");
	must(read(done[0], &verdict, 1) == 1 && verdict == 'y', "the orphan did not finish");
	return region_digest(&r);
}
