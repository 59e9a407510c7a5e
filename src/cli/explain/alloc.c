/*
 * steward explain alloc: a request to malloc followed down to frames.
 *
 *      malloc(n) ─► chunk size ─► its small bin ─► unsorted ─► its large bin ─► binmap ─► top ─► brk or mmap
 *                                                                                                   │
 *                       frames ◄── buddy system ◄── minor faults ◄── the program writes ◄── pages ◄─┘
 *
 * Steward's own allocator (src/malloc) serves the requests, in this process, with pages of a modelled address space
 * (heap.h). It is not asked what it did: its bins are read before and after each call. Where the chunk was before says
 * which step served it; which free chunk the block is part of after free says what it was merged with.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/size.h"
#include "cli/explain/explain.h"
#include "cli/explain/front.h"
#include "cli/explain/heap.h"
#include "cli/explain/heapsteps.h"
#include "cli/explain/picture.h"
#include "cli/msg.h"
#include "cli/table.h"
#include "malloc/arena.h"
#include "malloc/pagemap.h"
#include "malloc/tcache.h"
#include "steward/malloc.h"

#define TASK 1
#define REQUESTS_MAX 64
#define REQUEST_BYTES_MAX GIB
#define FREE_MAX 1024

/* A free chunk, as a bin has it. */
struct spot {
	const struct chunk *chunk;
	size_t size;
	unsigned bin;
};

/* The free memory of the arena at one moment. */
struct census {
	struct spot spot[FREE_MAX];
	unsigned nr;
	const struct chunk *top, *last_remainder;
	size_t top_size;
};

struct block {
	void *mem;       /* NULL: freed */
	uint64_t asked;
};

struct story {
	struct sim *s;
	struct block block[REQUESTS_MAX];
	unsigned nr_blocks;
	struct census before, after;
	struct scene_blocks frames_before;
	bool front;      /* slabs and cache are in use */
	uint64_t pages;  /* that came by faults since the last look */
	pfn_t first, last;
	struct heapsteps steps; /* of the page, if one is wanted */
};

/*
 * Looking
 */

static void count_free(struct census *c)
{
	struct arena *a = &main_arena;

	*c = (struct census){ .top = a->top, .last_remainder = a->last_remainder,
			      .top_size = a->top != NULL ? chunk_size(a->top) : 0 };
	for (unsigned bin = BIN_UNSORTED; bin <= BIN_LAST && a->ready; bin++) {
		const struct chunk *head = bin_head(a, bin);

		/* From the end at which the allocator takes. */
		for (const struct chunk *p = a->bins[bin].bk; p != head && c->nr < FREE_MAX; p = p->bk)
			c->spot[c->nr++] = (struct spot){ p, chunk_size(p), bin };
	}
}

static const struct spot *spot_at(const struct census *c, const struct chunk *p)
{
	for (unsigned i = 0; i < c->nr; i++)
		if (c->spot[i].chunk == p)
			return &c->spot[i];
	return NULL;
}

static unsigned in_bin(const struct census *c, unsigned bin)
{
	unsigned n = 0;

	for (unsigned i = 0; i < c->nr; i++)
		n += c->spot[i].bin == bin;
	return n;
}

static void watch(void *watcher, const struct mm_step *p)
{
	struct story *t = watcher;

	if (p->kind != STEP_PLACE)
		return;
	if (t->pages == 0)
		t->first = p->pfn;
	t->last = p->pfn;
	t->pages += p->arg;
}

static void begin(struct story *t)
{
	count_free(&t->before);
	heap_forget();
	scene_look(t->s, &t->frames_before);
	t->pages = 0;
}

static unsigned long long address(const void *host)
{
	return heap_address(host);
}

/*
 * Telling
 */

static const char *bin_name(unsigned bin)
{
	static char texts[4][32];
	static unsigned next;
	char *buf = texts[next++ % ARRAY_SIZE(texts)];

	if (bin == BIN_UNSORTED)
		return "the unsorted bin";
	snprintf(buf, sizeof(texts[0]), "%s bin %u", bin < BIN_LARGE_FIRST ? "small" : "large", bin);
	return buf;
}

static void tell_events(void)
{
	static const struct {
		const char *what, *how, *then;
	} calls[] = {
		[HEAP_MAP] = { "mmap", "at", "" },
		[HEAP_UNMAP] = { "munmap", "at", ": frames are free again" },
		[HEAP_GROW] = { "brk", "more, from", "" },
		[HEAP_SHRINK] = { "brk", "less, down to", ": frames are free again" },
		[HEAP_DISCARD] = { "dead", "from", ": reclaim may drop these pages unwritten" },
		[HEAP_REVIVE] = { "revived", "from", "" },
		[HEAP_PURGE] = { "purged", "from", ": frames are free again" },
	};
	const struct heap_event *e;
	unsigned n = heap_events(&e);

	for (unsigned i = 0; i < n; i++)
		printf("  %-9s %s %s 0x%llx%s\n", calls[e[i].call].what, size_text(e[i].bytes), calls[e[i].call].how,
		       (unsigned long long)e[i].start, calls[e[i].call].then);
}

/* What the unsorted bin had, and where it went; the chunk that was taken is told elsewhere. */
static void tell_sorted(const struct story *t, const struct chunk *taken)
{
	unsigned n = in_bin(&t->before, BIN_UNSORTED);

	if (n == 0) {
		printf("  unsorted  empty\n");
		return;
	}
	for (unsigned i = 0; i < t->before.nr; i++) {
		const struct spot *was = &t->before.spot[i], *is = spot_at(&t->after, was->chunk);

		if (was->bin != BIN_UNSORTED || was->chunk == taken || is == NULL || is->bin == BIN_UNSORTED)
			continue;
		printf("  unsorted  0x%llx of %zu does not fit: sorted into %s\n", address(was->chunk),
		       was->size, bin_name(is->bin));
	}
}

static void tell_rest(const struct story *t, const struct chunk *c, size_t had, size_t want)
{
	size_t rest = had - chunk_size(c);
	const struct chunk *r = chunk_next(c);

	if (rest == 0 && had > want)
		printf("  whole     the other %zu bytes would be no chunk: they come along\n", had - want);
	if (rest == 0)
		return;
	printf("  split     %zu bytes, 0x%llx, to %s%s\n", rest, address(r), bin_name(BIN_UNSORTED),
	       r == main_arena.last_remainder && r != t->before.last_remainder ? ": the last remainder" : "");
}

/* The chunk was in a bin before. */
static void tell_from_bin(const struct story *t, const struct chunk *c, const struct spot *was, size_t want)
{
	unsigned own = bin_index(want);

	if (was->bin == own && own < BIN_LARGE_FIRST) {
		printf("  %-9s bin %u has a chunk of exactly this size: taken\n", "small", own);
		return;
	}
	if (own < BIN_LARGE_FIRST)
		printf("  small     bin %u, for exactly this size, is empty\n", own);
	if (was->bin == BIN_UNSORTED && (was->size == want || was->chunk == t->before.last_remainder)) {
		tell_sorted(t, c);
		printf("  unsorted  0x%llx of %zu%s: taken\n", address(c), was->size,
		       was->size == want ? " fits exactly" : " is the last remainder: cut again");
	} else {
		tell_sorted(t, c);
		if (was->bin == BIN_UNSORTED)
			printf("  unsorted  0x%llx of %zu is sorted into %s\n", address(c), was->size,
			       bin_name(bin_index(was->size)));
		printf("  %-9s the smallest that will do has %zu bytes, in %s: taken\n",
		       bin_index(was->size) == own ? "large" : "binmap", was->size, bin_name(bin_index(was->size)));
	}
	tell_rest(t, c, was->size, want);
}

static void tell_malloc(const struct story *t, const struct chunk *c, size_t want)
{
	const struct spot *was = spot_at(&t->before, c);
	unsigned own = bin_index(want);
	const struct heap_event *e;

	if (was != NULL) {
		tell_from_bin(t, c, was, want);
		return;
	}
	if (own < BIN_LARGE_FIRST)
		printf("  small     bin %u, for exactly this size, is empty\n", own);
	tell_sorted(t, c);
	printf("  %-9s no free chunk is large enough\n", own < BIN_LARGE_FIRST ? "binmap" : "large");
	if (chunk_head(c) & MMAPPED) {
		printf("  top       has %zu bytes: not enough\n", t->before.top_size);
		printf("  mmap      from %s on a block is a mapping of its own\n",
		       size_text(param_get(&params.mmap_threshold)));
		return;
	}
	if (t->before.top == NULL)
		printf("  top       there is no heap yet\n");
	else if (heap_events(&e) > 0 && e[0].call == HEAP_GROW)
		printf("  top       has %zu bytes: not enough\n", t->before.top_size);
	else
		printf("  top       cut from its low end; it had %zu bytes\n", t->before.top_size);
}

static void tell_frames(struct story *t)
{
	if (t->pages == 0)
		printf("  written   no page that was not there already\n");
	else
		printf("  written   %llu page%s by minor fault, frames 0x%x to 0x%x\n", (unsigned long long)t->pages,
		       t->pages == 1 ? "" : "s", t->first.n, t->last.n);
	scene_tell(t->s, &t->frames_before);
}

static int do_malloc(struct story *t, uint64_t bytes)
{
	unsigned number = ++t->nr_blocks;

	begin(t);
	front_before_malloc(bytes);
	printf("\n%u. malloc(%llu)\n", number, (unsigned long long)bytes);
	void *mem = stw_malloc(bytes);

	count_free(&t->after);
	t->block[number - 1] = (struct block){ mem, bytes };
	if (mem == NULL) {
		printf("  NULL      no memory\n");
		return 0;
	}
	size_t usable = stw_malloc_usable_size(mem);
	int err;

	if (t->front && front_tell_malloc(mem, bytes)) {
		tell_events();
		printf("  block     0x%llx, usable: %zu bytes\n", address(mem), usable);
		err = heap_write(mem, usable);
	} else {
		const struct chunk *c = mem_chunk(mem);

		printf("  chunk     %zu bytes: %zu more, rounded up to %zus, at least %zu\n", chunk_request(bytes),
		       CHUNK_OVERHEAD, CHUNK_ALIGN, CHUNK_MIN);
		tell_malloc(t, c, chunk_request(bytes));
		tell_events();
		printf("  block     0x%llx, usable: %zu bytes\n", address(mem), usable);
		err = heap_write(c, CHUNK_HEADER + usable);
	}
	/* Behind it stands the head of the top, which the allocator has written. */
	if (err == 0 && main_arena.top != NULL)
		err = heap_write(main_arena.top, CHUNK_HEADER);
	tell_frames(t);
	if (err == 0 && sim_task(t->s, TASK)->end != SIM_RUNS)
		return msg_fail(1, t->s->config.name, "out of memory: the program was killed; give the machine more");
	return err;
}

static void tell_merge(const struct story *t, const struct chunk *c, size_t size)
{
	bool alone = true;

	for (unsigned i = 0; i < t->before.nr; i++) {
		const struct spot *p = &t->before.spot[i];
		bool below = chunk_at(p->chunk, p->size) == c, above = chunk_at(c, size) == p->chunk;

		if (!below && !above)
			continue;
		printf("  merge     with the one %s, 0x%llx of %zu, from %s\n", below ? "below" : "above",
		       address(p->chunk), p->size, bin_name(p->bin));
		alone = false;
	}
	if (chunk_at(c, size) == t->before.top) {
		printf("  merge     with the top above it\n");
		alone = false;
	}
	if (alone)
		printf("  merge     neither neighbour is free\n");
}

static void tell_where(const struct story *t, const struct chunk *c)
{
	for (unsigned i = 0; i < t->after.nr; i++) {
		const struct spot *p = &t->after.spot[i];

		if (p->chunk <= c && c < chunk_at(p->chunk, p->size))
			printf("  free      0x%llx of %zu, in %s\n", address(p->chunk), p->size, bin_name(p->bin));
	}
	if (t->after.top != NULL && t->after.top <= c && (uintptr_t)c < main_arena.top_end)
		printf("  free      the top begins at 0x%llx, and has %zu bytes\n", address(t->after.top),
		       t->after.top_size);
}

static void free_chunk(struct story *t, void *mem, unsigned number)
{
	const struct chunk *c = mem_chunk(mem);
	bool mapped = chunk_head(c) & MMAPPED;
	size_t size = mapped ? mapped_extent(c) : chunk_size(c);

	printf("\nfree of block %u, 0x%llx, a chunk of %zu bytes\n", number, address(mem), size);
	stw_free(mem);
	if (t->front && !mapped && front_tell_free(mem))
		return;
	count_free(&t->after);
	if (!mapped) {
		tell_merge(t, c, size);
		tell_where(t, c);
	}
	tell_events();
	if (mapped)
		printf("  threshold from now on only blocks from %s are mappings of their own\n",
		       size_text(param_get(&params.mmap_threshold)));
}

static int do_free(struct story *t, unsigned number, const char *text)
{
	struct block *b = &t->block[number - 1];

	if (number == 0 || number > t->nr_blocks || b->mem == NULL)
		return msg_fail(EXIT_USAGE, text, "there is no such block then; number the requests from 1");
	const void *mem = b->mem;
	size_t slot, slot_bytes;
	const void *slab;

	begin(t);
	front_before_free(mem);
	if (t->front && front_slot(mem, &slot, &slot_bytes, &slab)) {
		printf("\nfree of block %u, 0x%llx, slot %zu of the slab at 0x%llx\n", number, address(mem), slot, address(slab));
		stw_free(b->mem);
		front_tell_free(mem);
		tell_events();
	} else {
		free_chunk(t, b->mem, number);
	}
	b->mem = NULL;
	scene_tell(t->s, &t->frames_before);
	return 0;
}

/* The blocks in a slab, if the chunk is one. */
static void tell_slots(const struct story *t, const struct chunk *c)
{
	size_t slot, slot_bytes;
	const void *slab;

	for (unsigned i = 0; i < t->nr_blocks; i++)
		if (t->block[i].mem != NULL && front_slot(t->block[i].mem, &slot, &slot_bytes, &slab) && slab == chunk_mem(c))
			printf("    slot %-16zu %6zu  block %u, %llu asked for\n", slot, slot_bytes, i + 1,
			       (unsigned long long)t->block[i].asked);
}

/* Whose the chunk is. */
static void tell_chunk(const struct story *t, const struct chunk *c)
{
	const struct spot *p = spot_at(&t->after, c);

	printf("  0x%012llx %10zu  ", address(c), chunk_size(c));
	if (t->front && front_tell_chunk(chunk_mem(c))) {
		tell_slots(t, c);
		return;
	}
	for (unsigned i = 0; i < t->nr_blocks; i++) {
		if (t->block[i].mem != NULL && mem_chunk(t->block[i].mem) == c)
			printf("block %u, %llu asked for\n", i + 1, (unsigned long long)t->block[i].asked);
	}
	if (p != NULL)
		printf("free, in %s\n", bin_name(p->bin));
}

static void tell_heap(struct story *t)
{
	count_free(&t->after);
	if (main_arena.current == NULL)
		return;
	printf("\nThe heap, chunk by chunk\n  begins at           bytes\n");
	for (const struct chunk *c = main_arena.current->first; c < main_arena.top; c = chunk_next(c))
		tell_chunk(t, c);
	printf("  0x%012llx %10zu  top\n", address(main_arena.top), t->after.top_size);
	for (unsigned i = 0; i < t->nr_blocks; i++) {
		const struct chunk *c = t->block[i].mem != NULL ? mem_chunk(t->block[i].mem) : NULL;
		size_t slot, slot_bytes;
		const void *slab;

		if (c != NULL && !front_slot(chunk_mem(c), &slot, &slot_bytes, &slab) && (chunk_head(c) & MMAPPED))
			printf("  0x%012llx %10zu  block %u, a mapping of its own\n", address(c), mapped_extent(c), i + 1);
	}
}

/*
 * Requests
 */

#define FREE_WORD "free:"

static int parse_free(const char *text, unsigned *number)
{
	char *end;
	unsigned long n;

	errno = 0;
	n = strtoul(text + strlen(FREE_WORD), &end, 10);
	if (text[strlen(FREE_WORD)] < '0' || text[strlen(FREE_WORD)] > '9' || *end != '\0' || errno != 0 ||
	    n > REQUESTS_MAX)
		return msg_fail(EXIT_USAGE, text, "which block? number the requests from 1: free:1");
	*number = (unsigned)n;
	return 0;
}

/* One word: a size, or free:N. Nothing is done unless t is given. */
static int request(struct story *t, const char *text)
{
	uint64_t bytes;
	unsigned number = 0;
	int err = 0;

	if (strncmp(text, FREE_WORD, strlen(FREE_WORD)) == 0) {
		err = parse_free(text, &number);
		return err != 0 || t == NULL ? err : do_free(t, number, text);
	}
	if (size_parse(text, &bytes) != 0)
		return msg_fail(EXIT_USAGE, text, "not a size; write it as 100 or 64K, or free:1 for the first block");
	if (bytes > REQUEST_BYTES_MAX)
		return msg_fail(EXIT_USAGE, text, "too large to be shown; the most is %s",
				size_text(REQUEST_BYTES_MAX));
	return t == NULL ? 0 : do_malloc(t, bytes);
}

static int set(struct story *t)
{
	struct layout_params p = { .kind = explain_layout_kind(&t->s->config), .random = LAYOUT_FIXED, .pie = true,
				   .stack_limit = 8 * MIB, .text_bytes = MIB };
	struct layout l;
	int err = scene_task(t->s, TASK, "program");

	if (err == 0 && (p.kind != LAYOUT_X86_64 || layout_make(&l, &p) != 0))
		err = msg_fail(EXIT_USAGE, t->s->config.name,
			       "the allocator is a 64-bit one; take a machine of at least 47 bits");
	if (err == 0)
		err = heap_use(t->s, TASK, l.start_brk, l.mmap_base);
	t->s->m.watcher = t;
	t->s->m.watch = watch;
	return err;
}

/* Whose a chunk in use is, for the page. */
static void name_chunk(const void *story, const struct chunk *c, char *buf, size_t size)
{
	const struct story *t = story;

	snprintf(buf, size, "%s", pagemap_slab(chunk_mem(c)) != NULL ? "slab" : "cache");
	for (unsigned i = 0; i < t->nr_blocks; i++)
		if (t->block[i].mem != NULL && mem_chunk(t->block[i].mem) == c && pagemap_slab(chunk_mem(c)) == NULL)
			snprintf(buf, size, "block %u", i + 1);
}

static int play(struct story *t, const struct explain_args *a)
{
	struct heapsteps *p = &t->steps;
	int err;

	p->s = t->s;
	p->name = name_chunk;
	p->ctx = t;
	err = heapsteps_begin(p);
	for (unsigned i = 0; a->operands[i] != NULL && err == 0; i++) {
		err = heapsteps_listen(p);
		if (err != 0)
			break;
		int failed = request(t, a->operands[i]);

		err = heapsteps_end(p);
		err = failed != 0 ? failed : err;
	}
	if (err == 0)
		err = heapsteps_write(p, a->report);
	heapsteps_free(p);
	return err;
}

static int explain(const struct explain_args *a)
{
	static struct story t;
	int err = 0;

	if (a->operands[0] == NULL)
		return msg_fail(EXIT_USAGE, "alloc", "no size given; write some: steward explain alloc 100 64K free:1");
	for (unsigned i = 0; a->operands[i] != NULL && err == 0; i++)
		err = request(NULL, a->operands[i]);
	if (err != 0)
		return err;
	t.s = scene_create(&a->machine);
	if (t.s == NULL)
		return 1;
	/* The steps are the arena's; with a cache in front few requests would come to it. */
	t.front = a->slabs;
	tcache_enable(t.front);
	err = set(&t);
	if (err == 0)
		printf("Steward's allocator on %s. %s\n", a->machine.name,
		       t.front ? "With its slabs and caches." : "No cache of the thread, no fast bins.");
	if (err == 0 && a->report != NULL)
		err = play(&t, a);
	for (unsigned i = 0; a->report == NULL && a->operands[i] != NULL && err == 0; i++)
		err = request(&t, a->operands[i]);
	if (err == 0)
		tell_heap(&t);
	sim_destroy(t.s);
	return err;
}

const struct explain_topic explain_alloc = {
	.name = "alloc",
	.usage = "SIZE|free:N…",
	.summary = "requests to malloc, down to frames",
	.takes = 1 << EXPLAIN_MACHINE | 1 << EXPLAIN_SET | 1 << EXPLAIN_SLABS | 1 << EXPLAIN_REPORT,
	.operands = REQUESTS_MAX,
	.main = explain,
};
