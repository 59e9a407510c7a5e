/*
 * What glibc tells about the heap: mallinfo2, malloc_stats, malloc_info. And
 * the walks over all discarded pages.
 */
#include "steward/malloc.h"

#include <errno.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fmt.h"
#include "malloc/arena.h"
#include "malloc/control.h"
#include "malloc/heapstat.h"

#define API __attribute__((visibility("protected")))

API struct stw_mallinfo2 stw_mallinfo2(void)
{
	struct stw_mallinfo2 m = { .hblks = mapped_stat.count, .hblkhd = mapped_stat.bytes };
	struct tcache_count cached;
	struct arena_stat s;

	for (unsigned i = 0; i < ARENAS_MAX; i++) {
		struct arena *a = arena_nth(i);

		if (a == NULL || !arena_stat(a, &s))
			continue;
		m.arena += s.bytes;
		m.ordblks += s.free_chunks;
		m.fordblks += s.free_bytes;
		if (a == &main_arena)
			m.keepcost = s.top;
	}
	tcache_count(&cached);
	m.smblks = cached.blocks;
	m.fsmblks = cached.bytes;
	m.fordblks += cached.bytes;
	m.uordblks = m.arena - m.fordblks;
	return m;
}

static void line(struct fmt *f, const char *what, size_t value)
{
	fmt_str(f, what);
	fmt_str(f, " = ");
	for (size_t v = value / 10, width = 9; width > 0; width--, v /= 10)
		if (v == 0)
			fmt_char(f, ' ');
	fmt_u64(f, value);
	fmt_char(f, '\n');
}

static void print(const struct fmt *f)
{
	syscall(SYS_write, STDERR_FILENO, f->buf, f->len);
}

API void stw_malloc_stats(void)
{
	size_t bytes = mapped_stat.bytes, used = bytes;
	struct arena_stat s;
	char buf[512];
	struct fmt f;

	for (unsigned i = 0; i < ARENAS_MAX; i++) {
		struct arena *a = arena_nth(i);

		if (a == NULL || !arena_stat(a, &s))
			continue;
		fmt_init(&f, buf, sizeof(buf));
		fmt_str(&f, "Arena ");
		fmt_u64(&f, i);
		fmt_str(&f, ":\n");
		line(&f, "system bytes    ", s.bytes);
		line(&f, "in use bytes    ", s.bytes - s.free_bytes);
		print(&f);
		bytes += s.bytes;
		used += s.bytes - s.free_bytes;
	}
	fmt_init(&f, buf, sizeof(buf));
	fmt_str(&f, "Total (incl. mmap):\n");
	line(&f, "system bytes    ", bytes);
	line(&f, "in use bytes    ", used);
	line(&f, "max mmap regions", mapped_stat.count_max);
	line(&f, "max mmap bytes  ", mapped_stat.bytes_max);
	print(&f);
}

static void tag(struct fmt *f, const char *name, const char *type, size_t count, size_t size)
{
	fmt_char(f, '<');
	fmt_str(f, name);
	fmt_str(f, " type=\"");
	fmt_str(f, type);
	if (count != SIZE_MAX) {
		fmt_str(f, "\" count=\"");
		fmt_u64(f, count);
	}
	fmt_str(f, "\" size=\"");
	fmt_u64(f, size);
	fmt_str(f, "\"/>\n");
}

static void totals(struct fmt *f, const struct arena_stat *s)
{
	tag(f, "total", "fast", 0, 0);
	tag(f, "total", "rest", s->free_chunks, s->free_bytes);
}

/* The free slots of the slabs, by size; glibc has its fast chunks here. */
static void sizes(struct fmt *f, const struct arena_stat *s)
{
	fmt_str(f, "<sizes>\n");
	for (unsigned class = 0; class < NR_CLASSES; class++) {
		size_t bytes = class_bytes(class), n = s->classes[class].free;

		if (n == 0)
			continue;
		fmt_str(f, "<size from=\"");
		fmt_u64(f, class == 0 ? 1 : class_bytes(class - 1) + 1);
		fmt_str(f, "\" to=\"");
		fmt_u64(f, bytes);
		fmt_str(f, "\" total=\"");
		fmt_u64(f, n * bytes);
		fmt_str(f, "\" count=\"");
		fmt_u64(f, n);
		fmt_str(f, "\"/>\n");
	}
	fmt_str(f, "</sizes>\n");
}

/* The only user of stdio here: the caller hands in the FILE. No lock is held while it writes, for it may allocate. */
API int stw_malloc_info(int options, FILE *fp)
{
	struct arena_stat s, sum = { .bytes = 0 };
	char buf[8192];
	struct fmt f;

	if (options != 0)
		return EINVAL;
	fputs("<malloc version=\"1\">\n", fp);
	for (unsigned i = 0; i < ARENAS_MAX; i++) {
		struct arena *a = arena_nth(i);

		if (a == NULL || !arena_stat(a, &s))
			continue;
		fmt_init(&f, buf, sizeof(buf));
		fmt_str(&f, "<heap nr=\"");
		fmt_u64(&f, i);
		fmt_str(&f, "\">\n");
		sizes(&f, &s);
		totals(&f, &s);
		tag(&f, "system", "current", SIZE_MAX, s.bytes);
		tag(&f, "system", "max", SIZE_MAX, s.bytes_max);
		tag(&f, "aspace", "total", SIZE_MAX, s.bytes);
		tag(&f, "aspace", "mprotect", SIZE_MAX, s.bytes);
		fmt_str(&f, "</heap>\n");
		fputs(buf, fp);
		sum.free_chunks += s.free_chunks;
		sum.free_bytes += s.free_bytes;
		sum.bytes += s.bytes;
		sum.bytes_max += s.bytes_max;
	}
	fmt_init(&f, buf, sizeof(buf));
	totals(&f, &sum);
	tag(&f, "total", "mmap", mapped_stat.count, mapped_stat.bytes);
	tag(&f, "system", "current", SIZE_MAX, sum.bytes);
	tag(&f, "system", "max", SIZE_MAX, sum.bytes_max);
	tag(&f, "aspace", "total", SIZE_MAX, sum.bytes);
	tag(&f, "aspace", "mprotect", SIZE_MAX, sum.bytes);
	fmt_str(&f, "</malloc>\n");
	fputs(buf, fp);
	return 0;
}

/* Every discarded run of a locked arena: law 6. */
static void each_discarded(struct arena *a, void (*fn)(void *ctx, void *addr, size_t bytes), void *ctx)
{
	for (unsigned i = BIN_UNSORTED; i <= BIN_LAST && a->ready; i++) {
		struct chunk *bin = bin_head(a, i);

		if (i != BIN_UNSORTED && i < BIN_LARGE_FIRST)
			continue;
		for (struct chunk *c = bin->fd; c != bin; c = c->fd) {
			struct range r = chunk_inner(c, chunk_size(c));

			if (r.hi != 0)
				fn(ctx, (void *)r.lo, r.hi - r.lo);
		}
	}
	if (a->top_dead < a->top_fresh)
		fn(ctx, (void *)a->top_dead, a->top_fresh - a->top_dead);
}

void malloc_each_discarded(void (*fn)(void *ctx, void *addr, size_t bytes), void *ctx)
{
	for (unsigned i = 0; i < ARENAS_MAX; i++) {
		struct arena *a = arena_nth(i);

		if (a == NULL || !arena_lock(a))
			continue;
		each_discarded(a, fn, ctx);
		arena_unlock(a);
	}
}

static void announce(void *ctx, void *addr, size_t bytes)
{
	(void)ctx;
	source()->discard(addr, bytes);
}

static void recall(void *ctx, void *addr, size_t bytes)
{
	(void)ctx;
	source()->revive(addr, bytes);
}

void malloc_set_source(const struct pagesrc *src)
{
	bool locked[ARENAS_MAX] = { false };

	/* All at once: between the switch and the announcements no page may be revived. */
	for (unsigned i = 0; i < ARENAS_MAX; i++) {
		struct arena *a = arena_nth(i);

		locked[i] = a != NULL && arena_lock(a);
	}
	for (unsigned i = 0; i < ARENAS_MAX; i++)
		if (locked[i])
			each_discarded(arena_nth(i), recall, NULL);
	source_set(src);
	for (unsigned i = 0; i < ARENAS_MAX; i++)
		if (locked[i])
			each_discarded(arena_nth(i), announce, NULL);
	for (unsigned i = ARENAS_MAX; i-- > 0;)
		if (locked[i])
			arena_unlock(arena_nth(i));
}
