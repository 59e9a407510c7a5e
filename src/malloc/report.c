/* What the heap looks like, for people and for programs: the summary at exit, and JSON. Schema: docs/malloc.md. */
#include "steward/malloc.h"

#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/size.h"
#include "malloc/control.h"
#include "malloc/heapstat.h"

#define API __attribute__((visibility("protected")))
#define JSON_SCHEMA 1

static size_t peak_rss_bytes(void)
{
	struct rusage usage;

	return getrusage(RUSAGE_SELF, &usage) == 0 ? (size_t)usage.ru_maxrss * KIB : 0;
}

static void label(struct fmt *f, const char *text)
{
	size_t end = f->len + 14;

	fmt_str(f, "  ");
	fmt_str(f, text);
	while (f->len < end)
		fmt_char(f, ' ');
}

/* "3 blocks" */
static void put_count(struct fmt *f, size_t n, const char *what)
{
	fmt_u64(f, n);
	fmt_char(f, ' ');
	fmt_str(f, what);
	if (n != 1)
		fmt_char(f, 's');
}

static void put_size(struct fmt *f, const char *before, size_t bytes, const char *after)
{
	fmt_str(f, before);
	fmt_size(f, bytes);
	fmt_str(f, after);
}

static void totals(struct fmt *f, const struct heap_stat *s)
{
	label(f, "held");
	put_size(f, "", s->held_bytes, "\n");
	label(f, "in use");
	put_size(f, "", s->used_bytes, " in blocks: ");
	fmt_fixed(f, s->used_bytes != 0 ? s->held_bytes * 100 / s->used_bytes : 0, 2);
	fmt_str(f, " bytes held for each\n");
	label(f, "peak RSS");
	put_size(f, "", peak_rss_bytes(), " of the whole process\n");
	label(f, "arenas");
	fmt_u64(f, s->arenas);
	put_size(f, ": ", s->sum.bytes, ", ");
	put_size(f, "", s->sum.free_bytes, " of it free; ");
	put_count(f, s->sum.free_chunks, "free chunk");
	put_size(f, ", ", s->sum.top, " at the top\n");
	label(f, "mapped");
	put_count(f, s->mapped, "block");
	put_size(f, " of ", s->mapped_bytes, "; at most ");
	fmt_u64(f, s->mapped_max);
	put_size(f, ", and ", s->mapped_bytes_max, "\n");
	label(f, "caches");
	put_count(f, s->caches.blocks, "free block");
	put_size(f, " of ", s->caches.bytes, " at hand for ");
	put_count(f, s->caches.threads, "thread");
	fmt_char(f, '\n');
	label(f, "tables");
	put_size(f, "", s->meta_bytes, "\n");
}

static void column(struct fmt *f, size_t value)
{
	unsigned digits = 1;

	for (size_t v = value; v >= 10; v /= 10)
		digits++;
	for (; digits < 11; digits++)
		fmt_char(f, ' ');
	fmt_u64(f, value);
}

static void classes(struct fmt *f, const struct heap_stat *s)
{
	fmt_str(f, "  slot size      slabs     in use     cached       free\n");
	for (unsigned class = 0; class < NR_CLASSES; class++) {
		const struct class_stat *c = &s->sum.classes[class];

		if (c->slabs == 0)
			continue;
		column(f, class_bytes(class));
		column(f, c->slabs);
		column(f, heap_slots_used(s, class));
		column(f, s->caches.slots[class]);
		column(f, c->free);
		fmt_char(f, '\n');
	}
}

void malloc_report(int fd)
{
	char buf[8192];
	struct heap_stat s;
	struct fmt f;

	heap_stat(&s);
	fmt_init(&f, buf, sizeof(buf));
	fmt_str(&f, "steward: malloc: process ");
	fmt_u64(&f, (uint64_t)getpid());
	fmt_str(&f, " at its end\n");
	totals(&f, &s);
	classes(&f, &s);
	syscall(SYS_write, fd, buf, f.len);
}

/* {"name":value or ,"name":value */
static void field(struct fmt *f, const char *name, size_t value)
{
	if (f->len != 0 && f->buf[f->len - 1] != '{')
		fmt_char(f, ',');
	fmt_char(f, '"');
	fmt_str(f, name);
	fmt_str(f, "\":");
	fmt_u64(f, value);
}

static void object(struct fmt *f, const char *name)
{
	fmt_str(f, ",\"");
	fmt_str(f, name);
	fmt_str(f, "\":{");
}

static void json_class(struct fmt *f, const struct heap_stat *s, unsigned class)
{
	const struct class_stat *c = &s->sum.classes[class];

	if (f->buf[f->len - 1] != '[')
		fmt_char(f, ',');
	fmt_char(f, '{');
	field(f, "slot_bytes", class_bytes(class));
	field(f, "slabs", c->slabs);
	field(f, "slots", c->slots);
	field(f, "used", heap_slots_used(s, class));
	field(f, "cached", s->caches.slots[class]);
	field(f, "free", c->free);
	fmt_char(f, '}');
}

static void json(struct fmt *f, const struct heap_stat *s)
{
	fmt_char(f, '{');
	field(f, "schema", JSON_SCHEMA);
	field(f, "held_bytes", s->held_bytes);
	field(f, "used_bytes", s->used_bytes);
	field(f, "peak_rss_bytes", peak_rss_bytes());
	object(f, "arenas");
	field(f, "count", s->arenas);
	field(f, "bytes", s->sum.bytes);
	field(f, "free_bytes", s->sum.free_bytes);
	field(f, "free_chunks", s->sum.free_chunks);
	field(f, "top_bytes", s->sum.top);
	fmt_char(f, '}');
	object(f, "mapped");
	field(f, "blocks", s->mapped);
	field(f, "bytes", s->mapped_bytes);
	field(f, "peak_blocks", s->mapped_max);
	field(f, "peak_bytes", s->mapped_bytes_max);
	fmt_char(f, '}');
	object(f, "caches");
	field(f, "threads", s->caches.threads);
	field(f, "blocks", s->caches.blocks);
	field(f, "bytes", s->caches.bytes);
	fmt_char(f, '}');
	object(f, "tables");
	field(f, "bytes", s->meta_bytes);
	field(f, "mapped_bytes", s->meta_mapped);
	fmt_str(f, "},\"classes\":[");
	for (unsigned class = 0; class < NR_CLASSES; class++)
		if (s->sum.classes[class].slabs != 0)
			json_class(f, s, class);
	fmt_str(f, "]}");
}

API size_t stw_malloc_stats_json(char *buf, size_t size)
{
	struct heap_stat s;
	struct fmt f;

	if (size == 0)
		return 0;
	heap_stat(&s);
	fmt_init(&f, buf, size);
	json(&f, &s);
	/* A text that fills the buffer may have been cut. */
	return f.len + 1 < size ? f.len : 0;
}
