#include "cli/explain/heap.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "cli/msg.h"
#include "malloc/control.h"

#define BRK_BYTES (2 * GIB)
#define MAP_BYTES (8 * GIB)

/* A source has no context: there is one allocator in a process. */
static struct {
	struct sim *s;
	uint32_t task;
	uint8_t *brk_base, *map_base; /* of this process; mappings go down from map_base + MAP_BYTES */
	uint64_t start_brk, mmap_base;
	uint64_t brk, mapped;         /* bytes in use; mapped: down to there */
	struct heap_event event[HEAP_EVENTS_MAX];
	unsigned nr_events;
} heap;

uint64_t heap_address(const void *host)
{
	const uint8_t *p = host;

	if (p >= heap.brk_base && p <= heap.brk_base + BRK_BYTES)
		return heap.start_brk + (uint64_t)(p - heap.brk_base);
	return heap.mmap_base - MAP_BYTES + (uint64_t)(p - heap.map_base);
}

static void note(enum heap_call call, const void *host, uint64_t bytes)
{
	if (heap.nr_events < HEAP_EVENTS_MAX)
		heap.event[heap.nr_events++] = (struct heap_event){ call, heap_address(host), bytes };
}

/* The model follows; it has refused nothing that the source allows. */
static void tell(unsigned op, const void *host, uint64_t bytes, unsigned flags)
{
	scene_event(heap.s, &(struct trace_event){ .op = (uint8_t)op,
						   .task = heap.task,
						   .vpn = heap_address(host) >> PAGE_SHIFT,
						   .n = bytes >> PAGE_SHIFT,
						   .flags = (uint8_t)flags });
}

static void *src_map(size_t bytes)
{
	uint8_t *p;

	if (bytes > MAP_BYTES - heap.mapped)
		return NULL;
	heap.mapped += bytes;
	p = heap.map_base + (MAP_BYTES - heap.mapped);
	note(HEAP_MAP, p, bytes);
	tell(TRACE_MMAP, p, bytes, TRACE_R | TRACE_W);
	return p;
}

static void src_unmap(void *addr, size_t bytes)
{
	note(HEAP_UNMAP, addr, bytes);
	tell(TRACE_MUNMAP, addr, bytes, 0);
	madvise(addr, bytes, MADV_DONTNEED);
}

static void *src_extend(intptr_t delta)
{
	uint8_t *old = heap.brk_base + heap.brk;

	if (delta > 0) {
		if ((uint64_t)delta > BRK_BYTES - heap.brk)
			return (void *)-1;
		note(HEAP_GROW, old, (uint64_t)delta);
		tell(TRACE_MMAP, old, (uint64_t)delta, TRACE_R | TRACE_W | TRACE_MAP_HEAP);
	} else if (delta < 0) {
		note(HEAP_SHRINK, old + delta, (uint64_t)-delta);
		tell(TRACE_MUNMAP, old + delta, (uint64_t)-delta, 0);
		madvise(old + delta, (size_t)-delta, MADV_DONTNEED);
	}
	heap.brk += (uint64_t)delta;
	return old;
}

static void src_discard(void *addr, size_t bytes)
{
	note(HEAP_DISCARD, addr, bytes);
}

static void src_revive(void *addr, size_t bytes)
{
	note(HEAP_REVIVE, addr, bytes);
}

static bool src_purge(void *addr, size_t bytes)
{
	note(HEAP_PURGE, addr, bytes);
	tell(TRACE_DROP, addr, bytes, 0);
	return madvise(addr, bytes, MADV_DONTNEED) == 0;
}

static const struct pagesrc modelled = {
	.map = src_map,
	.unmap = src_unmap,
	.extend = src_extend,
	.discard = src_discard,
	.revive = src_revive,
	.purge = src_purge,
};

static void *reserve(uint64_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

int heap_use(struct sim *s, uint32_t task, uint64_t start_brk, uint64_t mmap_base)
{
	heap.s = s;
	heap.task = task;
	heap.start_brk = start_brk;
	heap.mmap_base = mmap_base;
	heap.brk_base = reserve(BRK_BYTES);
	heap.map_base = reserve(MAP_BYTES);
	if (heap.brk_base == NULL || heap.map_base == NULL)
		return msg_fail(1, "heap", "no address space for it (%s); raise ulimit -v", strerror(errno));
	malloc_set_source(&modelled);
	return 0;
}

unsigned heap_events(const struct heap_event **events)
{
	*events = heap.event;
	return heap.nr_events;
}

void heap_forget(void)
{
	heap.nr_events = 0;
}

int heap_write(const void *host, uint64_t bytes)
{
	uint64_t first = heap_address(host) >> PAGE_SHIFT,
		 last = (heap_address(host) + MAX(bytes, 1) - 1) >> PAGE_SHIFT;
	int err = 0;

	for (uint64_t vpn = first; vpn <= last && err == 0; vpn++)
		err = scene_touch(heap.s, heap.task, (vpn_t){ vpn }, TRACE_W);
	return err;
}
