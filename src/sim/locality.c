/*
 * One pass over a trace that answers two questions for all sizes at once.
 *
 * The working set (Denning, The Working Set Model for Program Behavior, CACM 1968): how many different pages are
 * touched in a window of time. Time is cut into windows of 2^k ticks for every k at once. A touch at `now` of a page
 * last touched at `last` is the first one of its window of length 2^k iff last >> k differs from now >> k, and that
 * is so for all k up to the highest bit in which the two differ. So a touch costs one step for each length whose window
 * is new to the page, and a page that is in use costs none. Lengths with more than LOCALITY_WINDOWS windows are dropped
 * as the trace grows: its length need not be known.
 *
 * The miss curve (Mattson, Gecsei, Slutz, Traiger, Evaluation Techniques for Storage Hierarchies, IBM Systems
 * Journal 1970): LRU with C pages holds the C pages touched last, so a touch misses iff more than C - 1 others have
 * been touched since the last one of its page: iff its stack distance is above C. A histogram of distances has the
 * misses of every C.
 *
 *	stack:   front (FRONT pages, an array)            the rest, by the stamp of their last touch
 *	         most recent ─────────────────────► old   ──────────────────────────────────► oldest
 *
 * The front is searched one by one: most touches end there. The rest is a Fenwick tree with a 1 at each stamp that
 * is some page's last: the pages above one are a sum, in O(log) steps (Bennett and Kruskal 1975, as Olken 1981 improved
 * it). Stamps grow; when they reach the end of the tree, those in use are numbered anew.
 *
 * Laws:
 *   1. A page is in the front (its stamp is IN_FRONT), or the tree has a 1 at its stamp, or it is in neither
 *      (stamp 0): never touched, or unmapped since.
 *   2. The tree has as many ones as there are pages in it, and stamps in it are below `next`.
 *   3. Σ distances = events of touches, less those whose page was in neither.
 *
 * Memory: 16 bytes a page in chunks of 64, 8 for its distance, 8 to 16 for the tree; a chunk of one page takes 1 KiB.
 * Rejected: sampling pages by a hash (Waldspurger, SHARDS, FAST 2015), which needs far less memory; the simulations
 * that follow need more than this pass does, and exact figures can be tested. A list walked from its top (Mattson's
 * own) is quadratic for a program that loops.
 *
 * Pages are those of addresses: shared ones are counted in each task, files that are read(2) are not.
 */
#include "sim/locality.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

#define FRONT 16
#define IN_FRONT UINT32_MAX
#define CHUNK 64
#define CACHE 64
#define LEVELS 64
#define FIRST_TREE 4096u
#define FIRST_BUCKETS 1024u

struct page {
	uint64_t last;       /* clock of the last touch, plus 1; 0: never */
	uint32_t stamp;      /* law 1 */
};

struct chunk {
	uint32_t task;
	uint64_t number;     /* of its first page, by CHUNK */
	struct chunk *next;  /* in its bucket */
	struct chunk *next_of_task;
	struct page page[CHUNK];
};

struct locality {
	bool timed;
	uint64_t now, pages;
	/* Pages */
	struct chunk **bucket, **of_task;
	struct chunk *cache[CACHE];
	size_t buckets, chunks, tasks;
	/* Windows */
	unsigned shortest;   /* level */
	uint32_t window[LEVELS][LOCALITY_WINDOWS];
	/* The stack */
	struct page *front[FRONT]; /* most recent first */
	unsigned nr_front;
	uint32_t *tree;      /* 1 to size */
	uint32_t size, next, nr;
	uint64_t *distance;  /* [d]: touches at that distance, 1 up */
	size_t distances;
};

struct locality *locality_create(bool timed)
{
	struct locality *l = calloc(1, sizeof(*l));

	if (l == NULL)
		return NULL;
	l->timed = timed;
	l->next = 1;
	l->size = FIRST_TREE;
	l->buckets = FIRST_BUCKETS;
	l->tree = calloc(l->size + 1, sizeof(*l->tree));
	l->bucket = calloc(l->buckets, sizeof(struct chunk *));
	if (l->tree != NULL && l->bucket != NULL)
		return l;
	locality_destroy(l);
	return NULL;
}

void locality_destroy(struct locality *l)
{
	if (l == NULL)
		return;
	for (size_t i = 0; l->bucket != NULL && i < l->buckets; i++) {
		for (struct chunk *c = l->bucket[i], *next; c != NULL; c = next) {
			next = c->next;
			free(c);
		}
	}
	free(l->bucket);
	free(l->of_task);
	free(l->tree);
	free(l->distance);
	free(l);
}

/* --- pages --- */

static uint64_t hash(uint32_t task, uint64_t number)
{
	return (((uint64_t)task << 44) ^ number) * 0x9e3779b97f4a7c15u;
}

static size_t bucket_of(const struct locality *l, uint32_t task, uint64_t number)
{
	return (size_t)(hash(task, number) >> 16) & (l->buckets - 1);
}

static int more_buckets(struct locality *l)
{
	size_t was = l->buckets;
	struct chunk **old = l->bucket, **new = calloc(was * 2, sizeof(struct chunk *));

	if (new == NULL)
		return -ENOMEM;
	l->bucket = new;
	l->buckets = was * 2;
	for (size_t i = 0; i < was; i++) {
		for (struct chunk *c = old[i], *next; c != NULL; c = next) {
			size_t b = bucket_of(l, c->task, c->number);

			next = c->next;
			c->next = new[b];
			new[b] = c;
		}
	}
	free(old);
	return 0;
}

static int room_for_task(struct locality *l, uint32_t task)
{
	size_t want = MAX(l->tasks, (size_t)64);

	while (want <= task)
		want *= 2;
	if (want == l->tasks)
		return 0;
	struct chunk **more = realloc(l->of_task, want * sizeof(struct chunk *));

	if (more == NULL)
		return -ENOMEM;
	memset(more + l->tasks, 0, (want - l->tasks) * sizeof(struct chunk *));
	l->of_task = more;
	l->tasks = want;
	return 0;
}

static struct chunk *find(const struct locality *l, uint32_t task, uint64_t number)
{
	struct chunk *c = l->bucket[bucket_of(l, task, number)];

	while (c != NULL && (c->number != number || c->task != task))
		c = c->next;
	return c;
}

static struct chunk *new_chunk(struct locality *l, uint32_t task, uint64_t number)
{
	struct chunk *c;
	size_t b;

	if ((l->chunks >= l->buckets && more_buckets(l) != 0) || room_for_task(l, task) != 0)
		return NULL;
	c = calloc(1, sizeof(*c));
	if (c == NULL)
		return NULL;
	c->task = task;
	c->number = number;
	b = bucket_of(l, task, number);
	c->next = l->bucket[b];
	l->bucket[b] = c;
	c->next_of_task = l->of_task[task];
	l->of_task[task] = c;
	l->chunks++;
	return c;
}

static struct page *page_of(struct locality *l, uint32_t task, uint64_t vpn)
{
	uint64_t number = vpn / CHUNK;
	struct chunk **cached = &l->cache[hash(task, number) >> 32 & (CACHE - 1)], *c = *cached;

	if (c == NULL || c->number != number || c->task != task) {
		c = find(l, task, number);
		if (c == NULL)
			c = new_chunk(l, task, number);
		if (c == NULL)
			return NULL;
		*cached = c;
	}
	return &c->page[vpn % CHUNK];
}

/* --- the tree --- */

static void tree_add(struct locality *l, uint32_t at, uint32_t n)
{
	for (; at <= l->size; at += at & -at)
		l->tree[at] += n;
}

/* Ones at 1 to at. */
static uint32_t tree_sum(const struct locality *l, uint32_t at)
{
	uint32_t n = 0;

	for (; at > 0; at -= at & -at)
		n += l->tree[at];
	return n;
}

/* Stamps in use become 1 to nr, in the same order, in a tree that is half empty at least. */
static int number_anew(struct locality *l)
{
	uint32_t size = l->size;
	uint32_t *tree;

	while (l->nr > size / 2)
		size *= 2;
	tree = calloc((size_t)size + 1, sizeof(*tree));
	if (tree == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < l->buckets; i++)
		for (struct chunk *c = l->bucket[i]; c != NULL; c = c->next)
			for (unsigned k = 0; k < CHUNK; k++)
				if (c->page[k].stamp != 0 && c->page[k].stamp != IN_FRONT)
					c->page[k].stamp = tree_sum(l, c->page[k].stamp);
	free(l->tree);
	l->tree = tree;
	l->size = size;
	for (uint32_t i = 1; i <= l->nr; i++)
		tree_add(l, i, 1);
	l->next = l->nr + 1;
	return 0;
}

/* --- the stack --- */

static int count_distance(struct locality *l, size_t d)
{
	if (d >= l->distances) {
		size_t want = MAX(l->distances * 2, MAX(d + 1, (size_t)4096));
		uint64_t *more = realloc(l->distance, want * sizeof(*more));

		if (more == NULL)
			return -ENOMEM;
		memset(more + l->distances, 0, (want - l->distances) * sizeof(*more));
		l->distance = more;
		l->distances = want;
	}
	l->distance[d]++;
	return 0;
}

static void leave_tree(struct locality *l, struct page *p)
{
	tree_add(l, p->stamp, UINT32_MAX);
	l->nr--;
}

static void leave_front(struct locality *l, unsigned at)
{
	memmove(&l->front[at], &l->front[at + 1], (l->nr_front - at - 1) * sizeof(l->front[0]));
	l->nr_front--;
}

static unsigned place_in_front(const struct locality *l, const struct page *p)
{
	unsigned at = 0;

	while (l->front[at] != p)
		at++;
	return at;
}

/* The oldest of the front goes to the tree. */
static int make_room_in_front(struct locality *l)
{
	struct page *p = l->front[FRONT - 1];
	int err = l->next > l->size ? number_anew(l) : 0;

	if (err != 0)
		return err;
	p->stamp = l->next++;
	tree_add(l, p->stamp, 1);
	l->nr++;
	l->nr_front--;
	return 0;
}

/* The page is on top from now on; where it was is counted. */
static int to_top(struct locality *l, struct page *p)
{
	unsigned at = l->nr_front;
	int err = 0;

	if (p->stamp == IN_FRONT) {
		at = place_in_front(l, p);
		err = count_distance(l, at + 1);
		leave_front(l, at);
	} else if (p->stamp != 0) {
		err = count_distance(l, (size_t)l->nr_front + l->nr - tree_sum(l, p->stamp - 1));
		leave_tree(l, p);
	}
	p->stamp = 0;
	if (err == 0 && l->nr_front == FRONT)
		err = make_room_in_front(l);
	if (err != 0)
		return err;
	memmove(&l->front[1], &l->front[0], l->nr_front * sizeof(l->front[0]));
	l->front[0] = p;
	l->nr_front++;
	p->stamp = IN_FRONT;
	return 0;
}

static void forget(struct locality *l, struct page *p)
{
	if (p->stamp == IN_FRONT)
		leave_front(l, place_in_front(l, p));
	else if (p->stamp != 0)
		leave_tree(l, p);
	p->stamp = 0;
}

static void forget_chunk(struct locality *l, struct chunk *c, uint64_t start, uint64_t end)
{
	for (unsigned k = 0; k < CHUNK; k++)
		if (c->number * CHUNK + k >= start && c->number * CHUNK + k < end)
			forget(l, &c->page[k]);
}

/* What is at [start, end) now is not what was there. */
static void forget_range(struct locality *l, uint32_t task, uint64_t start, uint64_t end)
{
	uint64_t first = start / CHUNK, last = (end - 1) / CHUNK;
	struct chunk *c;

	if (task >= l->tasks)
		return;
	if (last - first > l->chunks) {
		for (c = l->of_task[task]; c != NULL; c = c->next_of_task)
			forget_chunk(l, c, start, end);
		return;
	}
	for (uint64_t number = first; number <= last; number++) {
		c = find(l, task, number);
		if (c != NULL)
			forget_chunk(l, c, start, end);
	}
}

static void forget_task(struct locality *l, uint32_t task)
{
	struct chunk *c, **link;

	while (task < l->tasks && (c = l->of_task[task]) != NULL) {
		forget_chunk(l, c, 0, TRACE_PAGES_MAX);
		l->of_task[task] = c->next_of_task;
		for (link = &l->bucket[bucket_of(l, task, c->number)]; *link != c; link = &(*link)->next)
			;
		*link = c->next;
		free(c);
		l->chunks--;
	}
	memset(l->cache, 0, sizeof(l->cache));
}

/* What lies where the range goes to was forgotten, or has been moved there just now. */
static int move_page(struct locality *l, const struct trace_event *e, uint64_t vpn, struct page *from)
{
	struct page *to;

	if (from->stamp == 0 || vpn - e->vpn >= e->n || vpn - e->arg < e->n)
		return 0;
	to = page_of(l, e->task, e->arg + (vpn - e->vpn));
	if (to == NULL)
		return -ENOMEM;
	if (from->stamp == IN_FRONT)
		l->front[place_in_front(l, from)] = to;
	*to = *from;
	*from = (struct page){ 0 };
	return 0;
}

static int move_chunk(struct locality *l, const struct trace_event *e, struct chunk *c)
{
	int err = 0;

	for (unsigned k = 0; k < CHUNK && err == 0; k++)
		err = move_page(l, e, c->number * CHUNK + k, &c->page[k]);
	return err;
}

/* mremap: the pages keep their places in the stack. Chunks that come while all of the task are walked come before the first. */
static int move_range(struct locality *l, const struct trace_event *e)
{
	uint64_t first = e->vpn / CHUNK, last = (e->vpn + e->n - 1) / CHUNK;
	struct chunk *c;
	int err = 0;

	forget_range(l, e->task, e->arg, e->arg + e->n);
	if (last - first > l->chunks) {
		for (c = e->task < l->tasks ? l->of_task[e->task] : NULL; c != NULL && err == 0; c = c->next_of_task)
			err = move_chunk(l, e, c);
		return err;
	}
	for (uint64_t number = first; number <= last && err == 0; number++) {
		c = find(l, e->task, number);
		if (c != NULL)
			err = move_chunk(l, e, c);
	}
	return err;
}

/* --- windows --- */

/* The page is touched now: it is one more in each window that it had not been touched in. */
static void count_windows(struct locality *l, struct page *p)
{
	uint64_t differs = p->last == 0 ? UINT64_MAX : (p->last - 1) ^ l->now;

	l->pages += p->last == 0;
	p->last = l->now + 1;
	for (unsigned k = l->shortest; k < LEVELS && differs >> k != 0; k++)
		l->window[k][l->now >> k]++;
}

static void pass_time(struct locality *l, uint64_t ticks)
{
	l->now += ticks;
	while (l->now >> l->shortest >= LOCALITY_WINDOWS)
		l->shortest++;
}

static int touch(struct locality *l, const struct trace_event *e)
{
	struct page *p = page_of(l, e->task, e->vpn);

	if (p == NULL)
		return -ENOMEM;
	count_windows(l, p);
	if (!l->timed)
		pass_time(l, e->n);
	return l->nr_front > 0 && l->front[0] == p ? count_distance(l, 1) : to_top(l, p);
}

int locality_event(struct locality *l, const struct trace_event *e)
{
	switch (e->op) {
	case TRACE_ACCESS:
		return touch(l, e);
	case TRACE_TIME:
		if (l->timed)
			pass_time(l, e->arg);
		return 0;
	case TRACE_MMAP:
	case TRACE_MUNMAP:
	case TRACE_DROP:
		forget_range(l, e->task, e->vpn, e->vpn + e->n);
		return 0;
	case TRACE_MREMAP:
		return move_range(l, e);
	case TRACE_EXEC:
	case TRACE_EXIT:
		forget_task(l, e->task);
		return 0;
	default:
		return 0;
	}
}

/* --- answers --- */

uint64_t locality_now(const struct locality *l)
{
	return l->now;
}

uint64_t locality_pages(const struct locality *l)
{
	return l->pages;
}

unsigned locality_windows(const struct locality *l, unsigned scale, uint64_t *length, uint32_t *pages)
{
	unsigned level = MIN(l->shortest + scale, LEVELS - 1);
	unsigned n = (unsigned)(l->now >> level) + 1;

	*length = UINT64_C(1) << level;
	memcpy(pages, l->window[level], n * sizeof(*pages));
	return n;
}

uint64_t locality_misses(const struct locality *l, uint64_t pages)
{
	uint64_t n = 0;

	for (size_t d = l->distances; d-- > 0 && d > pages;)
		n += l->distance[d];
	return n;
}

void locality_check(const struct locality *l)
{
	uint32_t in_tree = 0, in_front = 0;

	for (size_t i = 0; i < l->buckets; i++) {
		for (struct chunk *c = l->bucket[i]; c != NULL; c = c->next) {
			for (unsigned k = 0; k < CHUNK; k++) {
				uint32_t stamp = c->page[k].stamp;

				in_front += stamp == IN_FRONT;
				if (stamp == 0 || stamp == IN_FRONT)
					continue;
				ASSERT(stamp < l->next && tree_sum(l, stamp) == tree_sum(l, stamp - 1) + 1);
				in_tree++;
			}
		}
	}
	ASSERT(in_tree == l->nr && tree_sum(l, l->size) == l->nr && in_front == l->nr_front);
	for (unsigned i = 0; i < l->nr_front; i++)
		ASSERT(l->front[i]->stamp == IN_FRONT);
}
