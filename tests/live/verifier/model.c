/*
 * Random operations on one address range against a model of it: the oracle is
 * a table with one entry per page (mapped or not, protection, generation), and
 * after every operation some pages of the range are compared with it.
 */
#include "verifier.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum state { HOLE, NONE, READ, WRITE };

struct model {
	struct region r;
	unsigned char *state; /* enum state of every page */
	uint64_t *tag;        /* what the page believes to be its address */
	uint64_t seed;
};

static const int state_prot[] = { [NONE] = PROT_NONE, [READ] = PROT_READ, [WRITE] = PROT_READ | PROT_WRITE };

static void check_page(const struct model *m, size_t i, const char *when)
{
	struct region one = { region_page(&m->r, i), m->tag[i], 1, m->r.gen + i };

	if (m->state[i] >= READ)
		region_check(&one, 0, when);
}

static void op_write(struct model *m, size_t from, size_t n)
{
	for (size_t i = from; i < from + n; i++) {
		if (m->state[i] != WRITE)
			continue;
		m->tag[i] = region_tag(&m->r, i);
		region_write(&m->r, i);
	}
}

static void op_check(struct model *m, size_t from, size_t n)
{
	for (size_t i = from; i < from + n; i++)
		check_page(m, i, "model: read");
}

static void forget(struct model *m, size_t from, size_t n, enum state s)
{
	memset(m->state + from, s, n);
	memset(m->r.gen + from, 0, n * sizeof(*m->r.gen));
}

static void op_map(struct model *m, size_t from, size_t n)
{
	enum state s = below64(&m->seed, 8) == 0 ? NONE : WRITE;
	void *at = region_page(&m->r, from);

	must(mmap(at, n * PAGE, state_prot[s], MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == at,
	     "mmap: %s", strerror(errno));
	forget(m, from, n, s);
}

static void op_unmap(struct model *m, size_t from, size_t n)
{
	must(munmap(region_page(&m->r, from), n * PAGE) == 0, "munmap: %s", strerror(errno));
	forget(m, from, n, HOLE);
}

/* Holes end an mprotect, madvise or mremap early; keep to what is mapped. */
static size_t mapped_run(const struct model *m, size_t from, size_t n)
{
	size_t run = 0;

	while (run < n && m->state[from + run] != HOLE)
		run++;
	return run;
}

static void op_protect(struct model *m, size_t from, size_t n)
{
	enum state s = (enum state)(NONE + below64(&m->seed, 3));

	n = mapped_run(m, from, n);
	if (n == 0)
		return;
	must(mprotect(region_page(&m->r, from), n * PAGE, state_prot[s]) == 0, "mprotect: %s", strerror(errno));
	memset(m->state + from, s, n);
}

static void op_discard(struct model *m, size_t from, size_t n)
{
	n = mapped_run(m, from, n);
	if (n == 0)
		return;
	must(madvise(region_page(&m->r, from), n * PAGE, MADV_DONTNEED) == 0, "madvise: %s", strerror(errno));
	memset(m->r.gen + from, 0, n * sizeof(*m->r.gen));
}

/*
 * A run of equal protection may still be several mappings to the kernel, and
 * before Linux 6.17 one mremap moves one mapping: then the pages go one by one.
 */
static void move_pages(unsigned char *from, unsigned char *to, size_t n)
{
	unsigned char vec;

	for (size_t i = 0; i < n * PAGE; i += PAGE)
		if (mincore(from + i, PAGE, &vec) == 0)
			must(mremap(from + i, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, to + i) == to + i,
			     "mremap of one page: %s", strerror(errno));
}

/* A run of one protection moves over whatever is at the destination. */
static void op_move(struct model *m, size_t from, size_t n)
{
	size_t to = below64(&m->seed, m->r.pages - n);
	unsigned char *src = region_page(&m->r, from), *dst = region_page(&m->r, to);

	for (size_t i = 1; i < n; i++)
		if (m->state[from + i] != m->state[from])
			n = i;
	if (m->state[from] == HOLE || (to < from + n && from < to + n))
		return;
	void *p = mremap(src, n * PAGE, n * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, dst);
	if (p == MAP_FAILED && errno == EFAULT)
		move_pages(src, dst, n);
	else
		must(p == dst, "mremap: %s", strerror(errno));
	memcpy(m->state + to, m->state + from, n);
	memcpy(m->r.gen + to, m->r.gen + from, n * sizeof(*m->r.gen));
	memcpy(m->tag + to, m->tag + from, n * sizeof(*m->tag));
	forget(m, from, n, HOLE);
}

/* A child lives through the same checks, and writes, without the parent's noticing. */
static void op_fork(struct model *m, size_t from, size_t n)
{
	int pid = fork();

	if (pid == 0) {
		op_write(m, from, n);
		op_check(m, from, n);
		_exit(0);
	}
	op_check(m, from, n);
	child_must_succeed(pid, "model: fork");
}

static void make(struct model *m, size_t n, uint64_t seed)
{
	*m = (struct model){ .seed = seed };
	region_make(&m->r, n);
	m->state = map_anon((n + PAGE - 1) / PAGE);
	m->tag = (uint64_t *)map_anon((n * sizeof(*m->tag) + PAGE - 1) / PAGE);
	forget(m, 0, n, WRITE);
	op_write(m, 0, n);
}

static void step(struct model *m, unsigned k)
{
	size_t n = m->r.pages, len = 1 + below64(&m->seed, k % 16 == 0 ? n / 8 : 64), from = below64(&m->seed, n - len);
	uint64_t dice = below64(&m->seed, 100);

	if (dice < 45)
		op_write(m, from, len);
	else if (dice < 60)
		op_check(m, from, len);
	else if (dice < 70)
		op_map(m, from, len);
	else if (dice < 75)
		op_unmap(m, from, len);
	else if (dice < 85)
		op_protect(m, from, len);
	else if (dice < 92)
		op_discard(m, from, len);
	else if (dice < 99 || len > 64)
		op_move(m, from, len);
	else
		op_fork(m, from, len);
	for (unsigned i = 0; i < 16; i++)
		check_page(m, below64(&m->seed, n), "model: beside");
}

static uint64_t last_look(const struct model *m)
{
	uint64_t digest = 0;

	for (size_t i = 0; i < m->r.pages; i++) {
		check_page(m, i, "model: last look");
		digest = mix64(digest + m->state[i] * 0x10001u + m->r.gen[i]);
	}
	return digest;
}

uint64_t mode_model(size_t n, uint64_t seed)
{
	struct model m;

	make(&m, n, seed);
	for (unsigned k = 0; k < 3000; k++)
		step(&m, k);
	return last_look(&m);
}

#define HEIRS 2

/* Has memory of its own beside what it inherits, which it changes in every way. */
static void heir(struct model *m, size_t own_pages, unsigned number)
{
	struct region own;

	m->seed += number;
	for (size_t i = 0; i < m->r.pages; i++)
		check_page(m, i, "inherited");
	region_make(&own, own_pages);
	region_fill(&own, 0, own_pages);
	for (unsigned k = 0; k < 200; k++) {
		step(m, k);
		region_sample(&own, &m->seed, 64, "an heir's own");
		region_write(&own, below64(&m->seed, own_pages));
	}
	last_look(m);
	region_check_all(&own, "an heir's own");
}

/* A process that fits makes the model, and heirs who do not: they have twice as much of their own. Each says `y` when it is done. */
static void bequeath(struct model *m, size_t n, uint64_t seed, int done, int *pid)
{
	make(m, n / 3, seed);
	for (unsigned i = 0; i < HEIRS; i++) {
		pid[i] = fork();
		if (pid[i] != 0)
			continue;
		heir(m, n - n / 3, i);
		_exit(write(done, "y", 1) == 1 ? 0 : 1);
	}
}

uint64_t mode_fork_inherit(size_t n, uint64_t seed)
{
	struct model m;
	int done[2], pid[HEIRS];

	must(pipe(done) == 0, "pipe");
	bequeath(&m, n, seed, done[1], pid);
	for (unsigned i = 0; i < HEIRS; i++)
		child_must_succeed(pid[i], "fork-inherit");
	return last_look(&m);
}

/* The one that has counted what they share ends while they are at work. */
uint64_t mode_fork_heirs(size_t n, uint64_t seed)
{
	struct model m;
	int done[2], pid[HEIRS];
	char c;

	must(pipe(done) == 0, "pipe");
	int middle = fork();
	if (middle == 0) {
		bequeath(&m, n, seed, done[1], pid);
		usleep(100000);
		_exit(0);
	}
	close(done[1]);
	child_must_succeed(middle, "fork-heirs");
	for (unsigned i = 0; i < HEIRS; i++)
		must(read(done[0], &c, 1) == 1, "an heir has not finished");
	return n;
}
