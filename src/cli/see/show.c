#include "cli/see/show.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/fmt.h"
#include "cli/msg.h"
#include "malloc/slab.h"

/* Room for a text that the caller prints soon. */
static void next_text(struct fmt *f)
{
	static char texts[16][24];
	static unsigned next;

	fmt_init(f, texts[next++ % ARRAY_SIZE(texts)], sizeof(texts[0]));
}

const char *show_pages(uint64_t pages)
{
	static const char units[] = "KMGTP";
	uint64_t kib = pages << (PAGE_SHIFT - 10), tenths = kib * 10;
	unsigned unit = 0;
	struct fmt f;

	next_text(&f);
	for (; tenths >= 10240 && unit < sizeof(units) - 2; unit++)
		tenths /= 1024;
	if (unit > 0 && tenths < 100)
		fmt_fixed(&f, tenths, 1);
	else
		fmt_u64(&f, tenths / 10);
	if (pages > 0)
		fmt_char(&f, units[unit]);
	return f.buf;
}

const char *show_bytes(uint64_t bytes)
{
	return show_pages(DIV_ROUND_UP(bytes, PAGE_SIZE));
}

const char *show_count(uint64_t n)
{
	struct fmt f;

	next_text(&f);
	fmt_u64(&f, n < 100000 ? n : n < 100000000 ? n / 1000 : n / 1000000);
	fmt_str(&f, n < 100000 ? "" : n < 100000000 ? "k" : "M");
	return f.buf;
}

const char *show_tenths(uint64_t tenths)
{
	struct fmt f;

	next_text(&f);
	fmt_fixed(&f, tenths, 1);
	return f.buf;
}

const char *show_time(uint64_t ns)
{
	struct fmt f;

	next_text(&f);
	fmt_fixed(&f, ns / (ns < 1000000 ? 100 : ns < 1000000000 ? 100000 : 100000000), 1);
	fmt_str(&f, ns < 1000000 ? "us" : ns < 1000000000 ? "ms" : "s");
	return f.buf;
}

const char *show_share(uint64_t part, uint64_t whole)
{
	return show_tenths(whole > 0 ? (uint64_t)(((unsigned __int128)part * 1000 + whole / 2) / whole) : 0);
}

static void json_pages(struct json *j, const char *key, uint64_t pages)
{
	json_u64(j, key, pages << PAGE_SHIFT);
}

static void json_usage(struct json *j, const struct ledger_usage *u)
{
	json_pages(j, "managed_bytes", u->managed);
	json_pages(j, "unmanaged_bytes", u->unmanaged);
	json_pages(j, "pool_bytes", u->pool);
	json_pages(j, "own_bytes", u->own);
	json_pages(j, "swapped_bytes", u->swapped);
	json_pages(j, "pool_stored_bytes", u->pooled);
	json_u64(j, "pool_compressed_bytes", u->pool_bytes);
	json_pages(j, "swap_file_bytes", u->filed);
}

static void json_frames(struct json *j, const struct ledger_frames *f)
{
	json_object(j, "frames");
	json_pages(j, "online_bytes", f->online);
	json_pages(j, "free_bytes", f->free);
	json_pages(j, "min_bytes", f->min);
	json_pages(j, "low_bytes", f->low);
	json_pages(j, "high_bytes", f->high);
	json_pages(j, "active_bytes", f->active);
	json_pages(j, "inactive_bytes", f->inactive);
	json_pages(j, "sample_bytes", f->sample);
	json_object_end(j);
}

/* Sizes of which there are slots. */
static void json_classes(struct json *j, const struct heap_class *class)
{
	json_array(j, "sizes");
	for (unsigned i = 0; i < HEAP_CLASSES; i++) {
		if (class[i].slots == 0)
			continue;
		json_object(j, NULL);
		json_u64(j, "slot_bytes", class_bytes(i));
		json_u64(j, "slots", class[i].slots);
		json_u64(j, "used_slots", heap_used_slots(&class[i]));
		json_object_end(j);
	}
	json_array_end(j);
}

void show_json_heap(struct json *j, const struct heap_sum *h, const struct heap_class *class)
{
	json_object(j, "heap");
	json_u64(j, "held_bytes", h->held);
	json_u64(j, "live_bytes", h->live);
	json_u64(j, "mapped_bytes", h->mapped);
	json_u64(j, "slots_bytes", h->slots);
	json_u64(j, "free_slots_bytes", h->free_slots);
	json_u64(j, "cached_bytes", h->cached);
	json_u64(j, "free_chunks_bytes", h->free_chunks);
	json_u64(j, "meta_bytes", h->meta);
	if (class != NULL)
		json_classes(j, class);
	json_object_end(j);
}

void show_json_rises(struct json *j, const char *key, const uint64_t *before, const uint64_t *now)
{
	json_object(j, key);
#define COUNTER_JSON(name, text) json_u64(j, #name, sample_rise(before, now, VM_##name));
	VM_COUNTERS(COUNTER_JSON)
#undef COUNTER_JSON
	json_object_end(j);
}

static void json_counters(struct json *j, const uint64_t *counter)
{
	static const uint64_t none[VM_COUNTER_NR];

	show_json_rises(j, "counters", none, counter);
}

static void json_areas(struct json *j, const struct sample *s)
{
	json_array(j, "areas");
	for (unsigned i = 0; i < s->nr_areas; i++) {
		json_object(j, NULL);
		json_string(j, "name", s->area[i].name);
		json_pages(j, "used_bytes", s->area[i].used);
		json_u64(j, "errors", s->area[i].errors);
		json_string(j, "state", swap_state_name(s->area[i].state));
		json_object_end(j);
	}
	json_array_end(j);
}

void show_json_run(struct json *j, const struct sample *s)
{
	json_u64(j, "pid", (uint64_t)s->launcher);
	json_string(j, "command", s->command);
	json_bool(j, "watched", s->watched);
	json_u64(j, "age_ns", s->age_ns);
	json_pages(j, "ram_bytes", s->ram);
	json_pages(j, "launcher_bytes", s->reserved);
	json_pages(j, "page_cache_bytes", s->left);
	json_pages(j, "uncounted_bytes", s->uncounted);
	json_pages(j, "free_bytes", s->free);
	json_usage(j, &s->use);
	json_frames(j, &s->frames);
	show_json_heap(j, &s->heap, NULL);
	json_areas(j, s);
	json_counters(j, s->counter);
}

void show_json_process(struct json *j, const struct sample_process *p)
{
	json_u64(j, "pid", (uint64_t)p->pid);
	json_u64(j, "parent", (uint64_t)p->parent);
	json_string(j, "command", p->comm);
	json_string(j, "state", sample_state(p->state));
	json_u64(j, "age_ns", p->age_ns);
	json_pages(j, "granted_bytes", p->granted);
	json_usage(j, &p->use);
	json_frames(j, &p->frames);
	show_json_heap(j, &p->heap, NULL);
	json_counters(j, p->counter);
}

int show_finish(struct json *j)
{
	int err = j != NULL ? json_finish(j) : 0;

	if (fflush(stdout) != 0 || ferror(stdout))
		err = -errno;
	return err == 0 ? 0 : msg_fail(1, "standard output", "%s; send it somewhere else", strerror(-err));
}
