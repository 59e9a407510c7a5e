/*
 * The whole engine, with bytes, against a flat model of what programs see: each page of each task is a word that its
 * content repeats, whose it is, and what may be done with it. Nothing else is in the model: no frame, no list, no slot.
 * Machines are so small that reclaim never rests.
 */
#include "machine.h"

#include <errno.h>

#include "base/rand.h"

enum { TASKS = 5, PAGES_MAX = 1280, FILES = 3, FILE_PAGES = 96, OBJECTS = 4096, RUN_MAX = 48 };

/* What a mapping shows: a file, or shared memory without a name. */
struct object {
	uint64_t size;
	uint64_t word[PAGES_MAX];
};

struct page {
	bool mapped, shared, own;      /* own: a private copy, or anonymous memory */
	uint8_t rights;
	struct object *object;         /* NULL: private anonymous memory */
	uint64_t pgoff, word;
};

struct task {
	bool alive;
	uint32_t number;
	struct page page[PAGES_MAX];
};

struct model {
	struct rand rand;
	const struct sim_config *config;
	struct sim *s;
	uint64_t last_vpn;             /* of the address space */
	unsigned pages, window;        /* of a task: two windows */
	struct task task[TASKS];
	struct object file[FILES];
	struct object *shm[OBJECTS];
	unsigned nr_shm;
	uint64_t words, killed, unborn, refused, made;
};

static uint64_t below(struct model *m, uint64_t n)
{
	return rand_below(&m->rand, n);
}

/* Two windows, one at the border of two leaf tables (or on a huge page), one at the end of the address space. */
static uint64_t vpn_at(const struct model *m, unsigned i)
{
	uint64_t first = m->config->thp ? 1024 : 512 * 3 - m->window / 2;

	return i < m->window ? first + i : m->last_vpn - m->window + 1 + (i - m->window);
}

/* Pages i … i + n - 1 of one window. */
static unsigned random_run(struct model *m, unsigned *n)
{
	unsigned i = (unsigned)below(m, m->pages), left = m->window - i % m->window;

	*n = 1 + (unsigned)below(m, MIN(left, RUN_MAX));
	return i;
}

static void fill(uint8_t *bytes, uint64_t word)
{
	uint64_t w[PAGE_SIZE / 8];

	for (unsigned i = 0; i < PAGE_SIZE / 8; i++)
		w[i] = word == 0 ? 0 : word + i;
	memcpy(bytes, w, PAGE_SIZE);
}

static bool is_filled(const uint8_t *bytes, uint64_t word)
{
	uint8_t want[PAGE_SIZE];

	fill(want, word);
	return memcmp(bytes, want, PAGE_SIZE) == 0;
}

static uint64_t word_of(const struct page *p)
{
	if (p->own || p->object == NULL)
		return p->word;
	return p->object->word[p->pgoff];
}

static bool may(const struct page *p, unsigned right)
{
	return p->mapped && (p->rights & right) && (p->object == NULL || p->pgoff < p->object->size);
}

/* Any page, but as a rule one that may be touched so. */
static unsigned random_page(struct model *m, const struct task *t, unsigned right)
{
	unsigned i = (unsigned)below(m, m->pages);

	for (unsigned tries = 0; tries < 8 && !may(&t->page[i], right); tries++)
		i = (unsigned)below(m, m->pages);
	return i;
}

/* Did the engine kill somebody for want of memory? */
static void follow_kills(struct model *m)
{
	for (unsigned i = 0; i < TASKS; i++) {
		struct task *t = &m->task[i];

		if (!t->alive || sim_task(m->s, t->number)->end == SIM_RUNS)
			continue;
		assert_int_equal(sim_task(m->s, t->number)->end, SIM_KILLED_OOM);
		t->alive = false;
		m->killed++;
	}
}

static struct task *random_task(struct model *m)
{
	struct task *t = &m->task[below(m, TASKS)];

	if (t->alive)
		return t;
	memset(t->page, 0, sizeof(t->page));
	t->alive = true;
	t->number = (uint32_t)(t - m->task) + TASKS * (uint32_t)m->made++ % 60000;
	task_begin(m->s, t->number);
	/* It says what it maps, so nothing else is there. */
	task_mmap(m->s, t->number, vpn_at(m, 0), 1, 0, 0, 0);
	event(m->s, (struct trace_event){ .op = TRACE_MUNMAP, .task = t->number, .vpn = vpn_at(m, 0), .n = 1 });
	return t;
}

/*
 * Bytes
 */

static void check_page(struct model *m, struct task *t, unsigned i)
{
	uint8_t bytes[PAGE_SIZE];
	int err;

	if (!t->alive)
		return;
	err = sim_load(m->s, sim_task(m->s, t->number), (unsigned)below(m, 4), vpn_at(m, i) << PAGE_SHIFT, bytes, PAGE_SIZE);
	follow_kills(m);
	if (!t->alive)
		return;
	if (!may(&t->page[i], TRACE_R)) {
		m->refused++;
		assert_int_equal(err, -EFAULT);
		return;
	}
	assert_int_equal(err, 0);
	if (!is_filled(bytes, word_of(&t->page[i]))) {
		uint64_t got;

		memcpy(&got, bytes, 8);
		fail_msg("task %u page %u: %llx instead of %llx (object %td, pgoff %llu, own %d)", t->number, i,
			 (unsigned long long)got, (unsigned long long)word_of(&t->page[i]),
			 t->page[i].object == NULL ? -1 : t->page[i].object - m->file, (unsigned long long)t->page[i].pgoff, t->page[i].own);
	}
}

static void store(struct model *m, struct task *t, unsigned i)
{
	struct page *p = &t->page[i];
	uint64_t word = ++m->words << 20;
	uint8_t bytes[PAGE_SIZE];
	int err;

	fill(bytes, word);
	err = sim_store(m->s, sim_task(m->s, t->number), (unsigned)below(m, 4), vpn_at(m, i) << PAGE_SHIFT, bytes, PAGE_SIZE);
	follow_kills(m);
	if (!may(p, TRACE_W)) {
		m->refused++;
		assert_true(err == -EFAULT || !t->alive);
		return;
	}
	if (!t->alive)
		return;
	assert_int_equal(err, 0);
	if (p->shared) {
		p->object->word[p->pgoff] = word;
		return;
	}
	p->own = true;
	p->word = word;
}

static void run_code(struct model *m, struct task *t, unsigned i)
{
	struct sim_task *st = sim_task(m->s, t->number);
	uint64_t invalid = st->invalid;

	task_touch(m->s, t->number, vpn_at(m, i), TRACE_X);
	follow_kills(m);
	if (t->alive)
		assert_int_equal(st->invalid - invalid, !may(&t->page[i], TRACE_X));
}

/*
 * Address spaces
 */

static unsigned random_rights(struct model *m)
{
	static const uint8_t rights[] = { TRACE_R | TRACE_W, TRACE_R | TRACE_W, TRACE_R | TRACE_W, TRACE_R, TRACE_R | TRACE_X, 0 };

	return rights[below(m, ARRAY_SIZE(rights))];
}

static struct object *new_shm(struct model *m)
{
	if (m->nr_shm == OBJECTS)
		return NULL;
	m->shm[m->nr_shm] = calloc(1, sizeof(struct object));
	m->shm[m->nr_shm]->size = PAGES_MAX;
	return m->shm[m->nr_shm++];
}

static void map(struct model *m, struct task *t)
{
	unsigned n, i = random_run(m, &n), rights = random_rights(m), flags = rights;
	bool shared = below(m, 3) == 0;
	uint32_t file = below(m, 2) ? 0 : 1 + (uint32_t)below(m, FILES);
	uint64_t pgoff = file != 0 ? below(m, FILE_PAGES - RUN_MAX) : 0;
	struct object *object = file != 0 ? &m->file[file - 1] : shared ? new_shm(m) : NULL;

	shared &= object != NULL;
	if (m->config->thp && object == NULL && below(m, 4) > 0) {
		i -= i % m->window;
		n = m->window;
		flags = rights = TRACE_R | TRACE_W;
	}
	flags |= shared ? TRACE_MAP_SHARED : 0;
	flags |= below(m, 24) == 0 && n < 8 ? TRACE_MAP_LOCKED : 0;
	task_mmap(m->s, t->number, vpn_at(m, i), n, flags, file, pgoff);
	follow_kills(m);
	for (unsigned k = 0; k < n; k++)
		t->page[i + k] = (struct page){ .mapped = true, .shared = shared, .rights = (uint8_t)rights, .object = object,
						.pgoff = pgoff + k };
}

static void unmap(struct model *m, struct task *t)
{
	unsigned n, i = random_run(m, &n);

	event(m->s, (struct trace_event){ .op = TRACE_MUNMAP, .task = t->number, .vpn = vpn_at(m, i), .n = n });
	follow_kills(m);
	memset(&t->page[i], 0, n * sizeof(t->page[i]));
}

static void protect(struct model *m, struct task *t)
{
	unsigned n, i = random_run(m, &n), rights = random_rights(m);

	event(m->s, (struct trace_event){ .op = TRACE_MPROTECT, .task = t->number, .vpn = vpn_at(m, i), .n = n,
					  .flags = (uint8_t)rights });
	follow_kills(m);
	for (unsigned k = 0; k < n; k++)
		t->page[i + k].rights = (uint8_t)rights;
}

static void drop(struct model *m, struct task *t)
{
	unsigned n, i = random_run(m, &n);

	event(m->s, (struct trace_event){ .op = TRACE_DROP, .task = t->number, .vpn = vpn_at(m, i), .n = n });
	for (unsigned k = 0; k < n; k++) {
		t->page[i + k].own = false;
		t->page[i + k].word = 0;
	}
}

static void move(struct model *m, struct task *t)
{
	unsigned n, i = random_run(m, &n), to = (unsigned)below(m, m->pages);

	n = MIN(n, m->window - to % m->window);
	if (to < i + n && i < to + n)
		return;
	event(m->s, (struct trace_event){ .op = TRACE_MREMAP, .task = t->number, .vpn = vpn_at(m, i), .n = n,
					  .arg = vpn_at(m, to) });
	follow_kills(m);
	for (unsigned k = 0; k < n; k++) {
		t->page[to + k] = t->page[i + k];
		memset(&t->page[i + k], 0, sizeof(t->page[i + k]));
	}
}

static void fork_task(struct model *m, struct task *t)
{
	struct task *child = &m->task[below(m, TASKS)];

	if (child == t || below(m, 3) == 0)
		return;
	/* Another makes room for it. */
	if (child->alive)
		event(m->s, (struct trace_event){ .op = TRACE_EXIT, .task = child->number });
	*child = *t;
	child->number = (uint32_t)(child - m->task) + TASKS * (uint32_t)m->made++ % 60000;
	event(m->s, (struct trace_event){ .op = TRACE_FORK, .task = t->number, .arg = child->number });
	/* Killed for the room that the copy needed: then there is no copy. */
	if (sim_task(m->s, t->number)->end != SIM_RUNS && sim_task(m->s, child->number)->end == SIM_UNBORN) {
		child->alive = false;
		m->unborn++;
	}
	follow_kills(m);
}

static void end_or_exec(struct model *m, struct task *t)
{
	bool exec = below(m, 3) == 0;

	/* Programs live for long. */
	if (below(m, 4) > 0)
		return;
	event(m->s, (struct trace_event){ .op = exec ? TRACE_EXEC : TRACE_EXIT, .task = t->number, .text = "u" });
	memset(t->page, 0, sizeof(t->page));
	t->alive = exec;
	follow_kills(m);
	/* Until it maps something, whatever it touches is there: so it does. */
	if (t->alive)
		map(m, t);
}

/*
 * Files
 */

static void read_file(struct model *m, struct task *t)
{
	uint32_t file = 1 + (uint32_t)below(m, FILES);
	struct object *o = &m->file[file - 1];
	uint64_t at = below(m, FILE_PAGES), n = 1 + below(m, 20);
	uint8_t *bytes = malloc(n << PAGE_SHIFT);
	long got = sim_pread(m->s, sim_task(m->s, t->number), 0, sim_file(m->s, file), at, bytes, n);

	follow_kills(m);
	if (t->alive) {
		assert_int_equal(got, at >= o->size ? 0 : MIN(n, o->size - at));
		for (long i = 0; i < got; i++)
			assert_true(is_filled(bytes + i * PAGE_SIZE, o->word[at + (uint64_t)i]));
	}
	free(bytes);
}

static void write_file(struct model *m, struct task *t)
{
	uint32_t file = 1 + (uint32_t)below(m, FILES);
	struct object *o = &m->file[file - 1];
	uint64_t at = below(m, FILE_PAGES), n = MIN(1 + below(m, 12), FILE_PAGES - at);
	uint8_t *bytes = malloc(n << PAGE_SHIFT);
	uint64_t first = m->words + 1;
	long got;

	for (uint64_t i = 0; i < n; i++)
		fill(bytes + i * PAGE_SIZE, ++m->words << 20);
	got = sim_pwrite(m->s, sim_task(m->s, t->number), 0, sim_file(m->s, file), at, bytes, n);
	follow_kills(m);
	/* A writer that was killed has written some of it: what, the file must say. */
	for (uint64_t i = 0; i < n && t->alive; i++)
		o->word[at + i] = (first + i) << 20;
	o->size = sim_file(m->s, file)->vm.size_pages;
	if (t->alive)
		assert_int_equal(got, n);
	for (uint64_t i = 0; i < n && !t->alive; i++) {
		struct frame *f = pagecache_get(&sim_file(m->s, file)->vm, at + i);
		const uint8_t *page = f != NULL ? frame_home(&m->s->m.phys, f) : sim_file_disk(m->s, sim_file(m->s, file), at + i);

		if (is_filled(page, (first + i) << 20))
			o->word[at + i] = (first + i) << 20;
	}
	free(bytes);
}

static void sync_file(struct model *m, struct task *t)
{
	uint32_t file = 1 + (uint32_t)below(m, FILES);
	struct object *o = &m->file[file - 1];

	event(m->s, (struct trace_event){ .op = TRACE_FSYNC, .task = t->number, .file = file });
	for (uint64_t i = 0; i < o->size; i++)
		assert_true(is_filled(sim_file_disk(m->s, sim_file(m->s, file), i), o->word[i]));
}

static void resize_file(struct model *m)
{
	uint32_t file = 1 + (uint32_t)below(m, FILES);
	struct object *o = &m->file[file - 1];
	uint64_t size = below(m, 4) ? o->size : FILE_PAGES / 2 + below(m, FILE_PAGES / 2);

	event(m->s, (struct trace_event){ .op = TRACE_FILE, .file = file, .n = size });
	for (uint64_t i = size; i < FILE_PAGES; i++)
		o->word[i] = 0;
	o->size = size;
	/* Copies of what was cut off are gone, too (unmap_mapping_range, even_cows). */
	for (unsigned i = 0; i < TASKS; i++) {
		for (unsigned k = 0; k < m->pages && m->task[i].alive; k++)
			if (m->task[i].page[k].object == o && m->task[i].page[k].pgoff >= size)
				m->task[i].page[k].own = false;
	}
}

static void step(struct model *m)
{
	struct task *t = random_task(m);
	unsigned what = (unsigned)below(m, 100);

	if (what < 45)
		store(m, t, random_page(m, t, TRACE_W));
	else if (what < 70)
		check_page(m, t, random_page(m, t, TRACE_R));
	else if (what < 72)
		run_code(m, t, (unsigned)below(m, m->pages));
	else if (what < 80)
		map(m, t);
	else if (what < 82)
		unmap(m, t);
	else if (what < 85)
		protect(m, t);
	else if (what < 87)
		drop(m, t);
	else if (what < 89)
		move(m, t);
	else if (what < 91)
		fork_task(m, t);
	else if (what < 92)
		end_or_exec(m, t);
	else if (what < 95)
		read_file(m, t);
	else if (what < 97)
		write_file(m, t);
	else if (what < 98)
		sync_file(m, t);
	else if (what < 99)
		resize_file(m);
	else
		event(m->s, (struct trace_event){ .op = TRACE_TIME, .task = t->number, .arg = below(m, 10000000) });
	follow_kills(m);
}

/* All of it has come back. */
static void end(struct model *m)
{
	for (unsigned i = 0; i < TASKS; i++)
		if (m->task[i].alive)
			event(m->s, (struct trace_event){ .op = TRACE_EXIT, .task = m->task[i].number });
	for (uint32_t f = 1; f <= FILES; f++)
		event(m->s, (struct trace_event){ .op = TRACE_FILE, .file = f, .n = 0 });
	sim_check(m->s);
	assert_null(m->s->shm);
	assert_int_equal(m->s->m.charged, 0);
	assert_int_equal(swap_used(&m->s->m.swap), 0);
	assert_int_equal(m->s->m.phys.nr_tables, 0);
	assert_int_equal(m->s->m.vma_cache.nr_inuse, 0);
	assert_int_equal(m->s->m.rmap_cache.nr_inuse, 0);
	assert_int_equal(m->s->m.pagecache.nodes.nr_inuse, 0);
	sim_destroy(m->s);
	for (unsigned i = 0; i < m->nr_shm; i++)
		free(m->shm[i]);
}

static void run(const struct sim_config *c, uint64_t seed, unsigned steps)
{
	struct model *m = calloc(1, sizeof(*m));
	unsigned bits = 0;

	for (unsigned i = 0; i < c->levels; i++)
		bits += c->bits[i];
	m->config = c;
	/* A huge page fits into a window. */
	m->pages = c->thp ? PAGES_MAX : 192;
	m->window = m->pages / 2;
	m->s = machine_make(c);
	m->last_vpn = (UINT64_C(1) << bits) - 1;
	rand_seed(&m->rand, seed);
	for (uint32_t f = 0; f < FILES; f++) {
		m->file[f].size = FILE_PAGES - 8 * f;
		event(m->s, (struct trace_event){ .op = TRACE_FILE, .file = f + 1, .n = m->file[f].size, .text = "file" });
		for (uint64_t i = 0; i < m->file[f].size; i++) {
			m->file[f].word[i] = ++m->words << 20;
			fill(sim_file_disk(m->s, sim_file(m->s, f + 1), i), m->file[f].word[i]);
		}
	}
	for (unsigned i = 0; i < steps; i++) {
		struct task *t = &m->task[below(m, TASKS)];

		step(m);
		check_page(m, t, random_page(m, t, TRACE_R));
		if (i % 32 == 0)
			sim_check(m->s);
		for (unsigned k = 0; i % 1024 == 1023 && k < TASKS * m->pages; k++)
			check_page(m, &m->task[k / m->pages], k % m->pages);
		assert_false(m->s->stopped);
	}
	print_message("# %s: %llu major, %llu soft, %llu cow faults, %llu huge, %llu refused, %llu pages out, %llu in, %llu killed, %llu not forked\n", c->name,
		      (unsigned long long)m->s->counter[VM_pgmajfault], (unsigned long long)m->s->counter[VM_pgsoft],
		      (unsigned long long)m->s->counter[VM_pgcow], (unsigned long long)m->s->counter[VM_thp_fault_alloc],
		      (unsigned long long)m->refused,
		      (unsigned long long)m->s->counter[VM_pswpout], (unsigned long long)m->s->counter[VM_pswpin],
		      (unsigned long long)m->killed, (unsigned long long)m->unborn);
	end(m);
	free(m);
}

/*
 * Shapes
 */

static unsigned steps_of_a_run(void)
{
	const char *text = getenv("MODEL_STEPS");

	return text != NULL ? (unsigned)atoi(text) : 3000;
}

static void shape(const char *name, void (*change)(struct sim_config *c))
{
	const char *seeds = getenv("MODEL_SEEDS");
	unsigned n = seeds != NULL ? (unsigned)atoi(seeds) : 1;
	struct sim_config c;

	for (unsigned seed = 1; seed <= n; seed++) {
		machine_config(&c, 260);
		change(&c);
		snprintf(c.name, sizeof(c.name), "%s, seed %u", name, seed);
		run(&c, seed, steps_of_a_run());
	}
}

static void four_levels(struct sim_config *c)
{
	machine_swap(c, SIM_SWAP_DISK, 4000, 1);
}

static void sampled(struct sim_config *c)
{
	c->accessed_bits = false;
	snprintf(c->policy, sizeof(c->policy), "second-chance");
	machine_swap(c, SIM_SWAP_COMPRESSED, 4000, 1);
}

static void sampled_native_first(struct sim_config *c)
{
	sampled(c);
	c->kswapd = SIM_KSWAPD_FIRST;
	/* More than there is: it ends when memory is short. */
	c->native_bytes = UINT64_C(8000) << PAGE_SHIFT;
}

static void sampled_last(struct sim_config *c)
{
	sampled(c);
	c->kswapd = SIM_KSWAPD_LAST;
}

static void sampled_disk(struct sim_config *c)
{
	c->accessed_bits = false;
	snprintf(c->policy, sizeof(c->policy), "second-chance");
	machine_swap(c, SIM_SWAP_DISK, 4000, 1);
}

static void second_chance(struct sim_config *c)
{
	snprintf(c->policy, sizeof(c->policy), "second-chance");
	machine_swap(c, SIM_SWAP_DISK, 4000, 1);
}

static void two_nodes(struct sim_config *c)
{
	c->nr_zones = c->nr_nodes = 2;
	c->zone[0].size_bytes = c->zone[1].size_bytes = c->zone[1].start_bytes = UINT64_C(140) << PAGE_SHIFT;
	c->zone[1].node = 1;
	snprintf(c->zone[1].name, sizeof(c->zone[1].name), "Normal");
	c->cpus = 4;
	c->cpu_node[2] = c->cpu_node[3] = 1;
	machine_swap(c, SIM_SWAP_DISK, 4000, 1);
}

static void limit(struct sim_config *c)
{
	c->limit_bytes = UINT64_C(160) << PAGE_SHIFT;
	c->cpus = 2;
	machine_swap(c, SIM_SWAP_COMPRESSED, 4000, 1);
}

static void two_levels(struct sim_config *c)
{
	c->levels = 2;
	c->bits[0] = c->bits[1] = 10;
	c->asid = false;
	c->cpus = 3;
	machine_swap(c, SIM_SWAP_DISK, 4000, 1);
}

static void one_level(struct sim_config *c)
{
	c->levels = 1;
	c->bits[0] = 20;
	c->zone[0].size_bytes = UINT64_C(16384) << PAGE_SHIFT;
	/* Five tables of 8 MiB, and then as little as the others have. */
	c->limit_bytes = (UINT64_C(2048) * TASKS + 300) << PAGE_SHIFT;
	machine_swap(c, SIM_SWAP_DISK, 4000, 1);
}

static void five_levels(struct sim_config *c)
{
	c->levels = 5;
	c->bits[4] = 9;
	machine_swap(c, SIM_SWAP_REMOTE, 4000, 1);
}

static void huge_pages(struct sim_config *c)
{
	c->thp = true;
	c->zone[0].size_bytes = UINT64_C(4096) << PAGE_SHIFT;
	c->limit_bytes = UINT64_C(900) << PAGE_SHIFT;
	machine_swap(c, SIM_SWAP_DISK, 16000, 1);
}

static void sampled_two_areas(struct sim_config *c)
{
	sampled(c);
	c->swap[0].size_bytes = UINT64_C(150) << PAGE_SHIFT;
	machine_swap(c, SIM_SWAP_DISK, 4000, 0);
}

static void two_areas(struct sim_config *c)
{
	machine_swap(c, SIM_SWAP_COMPRESSED, 150, 10);
	machine_swap(c, SIM_SWAP_DISK, 4000, 1);
}

static void no_swap(struct sim_config *c)
{
	c->zone[0].size_bytes = UINT64_C(520) << PAGE_SHIFT;
}

#define SHAPE(name) static void contents_##name(void **state) { (void)state; shape(#name, name); }

SHAPE(four_levels)
SHAPE(sampled)
SHAPE(sampled_native_first)
SHAPE(sampled_last)
SHAPE(sampled_disk)
SHAPE(second_chance)
SHAPE(two_nodes)
SHAPE(limit)
SHAPE(two_levels)
SHAPE(one_level)
SHAPE(five_levels)
SHAPE(two_areas)
SHAPE(sampled_two_areas)
SHAPE(huge_pages)
SHAPE(no_swap)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(contents_four_levels),
		cmocka_unit_test(contents_sampled),
		cmocka_unit_test(contents_sampled_native_first),
		cmocka_unit_test(contents_sampled_last),
		cmocka_unit_test(contents_sampled_disk),
		cmocka_unit_test(contents_second_chance),
		cmocka_unit_test(contents_two_nodes),
		cmocka_unit_test(contents_limit),
		cmocka_unit_test(contents_two_levels),
		cmocka_unit_test(contents_one_level),
		cmocka_unit_test(contents_five_levels),
		cmocka_unit_test(contents_two_areas),
		cmocka_unit_test(contents_sampled_two_areas),
		cmocka_unit_test(contents_huge_pages),
		cmocka_unit_test(contents_no_swap),
	};

	assert_fail_hook = law_broken;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
