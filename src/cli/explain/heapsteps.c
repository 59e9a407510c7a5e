/*
 * A step is what was printed of a request: the first line is its sentence, lines of the form "  what      text" are what else
 * there is to say. Tables of frames are left out, because the picture has them.
 */
#include "cli/explain/heapsteps.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cli/draw/html.h"
#include "cli/explain/heap.h"
#include "cli/explain/scene.h"
#include "cli/msg.h"
#include "cli/table.h"
#include "malloc/pagemap.h"
#include "malloc/tcache.h"

#define TEXT_COL 12      /* where the text of a line begins; what is indented as far is a table */
#define BIN_SHOWN 40     /* chunks of one */
#define CHUNKS_SHOWN 200

static int no_memory(void)
{
	return msg_fail(1, "alloc", "no memory for the page; free some");
}

int heapsteps_begin(struct heapsteps *p)
{
	int fd = memfd_create("steward-steps", MFD_CLOEXEC);

	if (fd < 0)
		return no_memory();
	json_init_line(&p->json, fd);
	json_object(&p->json, NULL);
	scene_json_zones(p->s, &p->json);
	json_array(&p->json, "steps");
	return 0;
}

/* --- what was told --- */

int heapsteps_listen(struct heapsteps *p)
{
	FILE *f = open_memstream(&p->told, &p->len);

	if (f == NULL)
		return no_memory();
	p->terminal = stdout;
	stdout = f;
	return 0;
}

static void put_line(struct heapsteps *p, char *line)
{
	static const char frames[] = "buddy";
	char text[256], *what = line + strspn(line, " ");

	if (what == line || what - line >= TEXT_COL || *what == '\0' || strncmp(what, frames, strlen(frames)) == 0)
		return;
	char *end = what + strcspn(what, " "), *rest = end + strspn(end, " ");

	*end = '\0';
	snprintf(text, sizeof(text), "%s: %s", what, rest);
	json_string(&p->json, NULL, text);
}

static void put_told(struct heapsteps *p)
{
	char *save, *line = strtok_r(p->told, "\n", &save);

	json_string(&p->json, "text", line != NULL ? line : "");
	json_array(&p->json, "also");
	while (line != NULL && (line = strtok_r(NULL, "\n", &save)) != NULL)
		put_line(p, line);
	json_array_end(&p->json);
}

/* --- the heap --- */

static void put_chunk(struct heapsteps *p, const struct chunk *c, const char *whose)
{
	char text[128];

	snprintf(text, sizeof(text), "0x%llx: %zu%s%s", (unsigned long long)heap_address(c), chunk_size(c), whose[0] != '\0' ? " " : "", whose);
	json_string(&p->json, NULL, text);
}

static void put_chunks(struct heapsteps *p)
{
	const struct arena *a = &main_arena;
	unsigned n = 0;

	json_array(&p->json, "chunks");
	for (const struct chunk *c = a->current != NULL ? a->current->first : NULL; c != NULL && c < a->top && n < CHUNKS_SHOWN;
	     c = chunk_next(c), n++) {
		char whose[96] = "free";

		if (chunk_inuse(c))
			p->name(p->ctx, c, whose, sizeof(whose));
		put_chunk(p, c, whose);
	}
	if (a->top != NULL)
		put_chunk(p, a->top, "top");
	json_array_end(&p->json);
}

static void bin_name(unsigned bin, char *buf, size_t size)
{
	if (bin == BIN_UNSORTED)
		snprintf(buf, size, "unsorted");
	else
		snprintf(buf, size, "%s %u", bin < BIN_LARGE_FIRST ? "small" : "large", bin);
}

/* Those that have something, each from the end at which the allocator takes. */
static void put_bins(struct heapsteps *p)
{
	struct arena *a = &main_arena;
	char name[32];

	json_array(&p->json, "bins");
	for (unsigned bin = BIN_UNSORTED; bin <= BIN_LAST && a->ready; bin++) {
		const struct chunk *head = bin_head(a, bin);
		unsigned n = 0;

		if (head->bk == head)
			continue;
		json_object(&p->json, NULL);
		bin_name(bin, name, sizeof(name));
		json_string(&p->json, "name", name);
		json_array(&p->json, "chunks");
		for (const struct chunk *c = head->bk; c != head && n < BIN_SHOWN; c = c->bk, n++)
			put_chunk(p, c, "");
		json_array_end(&p->json);
		json_object_end(&p->json);
	}
	json_array_end(&p->json);
	json_array(&p->json, "binmap");
	for (unsigned bin = 0; bin < NR_BINS; bin++)
		if ((a->binmap[bin / 64] >> bin % 64 & 1) != 0)
			json_u64(&p->json, NULL, bin);
	json_array_end(&p->json);
}

/* Slots and chunks that the next requests get without the arena. */
static void put_cache(struct heapsteps *p)
{
	const struct tcache *t = tcache_own;
	char text[64];

	json_array(&p->json, "cache");
	for (unsigned class = 0; t != NULL && class < NR_CLASSES; class++) {
		uint32_t n = tcache_held(t, class);

		if (n == 0)
			continue;
		snprintf(text, sizeof(text), "%zu bytes: %u slot%s", class_bytes(class), n, n == 1 ? "" : "s");
		json_string(&p->json, NULL, text);
	}
	for (unsigned i = 0; t != NULL && i < NR_CHUNK_STACKS; i++)
		for (unsigned k = 0; k < t->stacks[i].n; k++)
			put_chunk(p, t->stacks[i].chunks[k].chunk, "");
	json_array_end(&p->json);
}

int heapsteps_end(struct heapsteps *p)
{
	struct arena *a = &main_arena;

	fclose(stdout);
	stdout = p->terminal;
	if (p->told == NULL)
		return no_memory();
	fputs(p->told, stdout);
	json_object(&p->json, NULL);
	put_told(p);
	json_object(&p->json, "heap");
	put_chunks(p);
	put_bins(p);
	if (a->last_remainder != NULL) {
		json_array(&p->json, "remainder");
		put_chunk(p, a->last_remainder, "");
		json_array_end(&p->json);
	}
	put_cache(p);
	json_object_end(&p->json);
	scene_json_frames(p->s, &p->json);
	json_object_end(&p->json);
	free(p->told);
	p->told = NULL;
	return 0;
}

/* --- the page --- */

static const char *headline(char *buf, size_t size)
{
	const struct arena *a = &main_arena;

	snprintf(buf, size, "At the end the heap has %s in %zu free chunk%s, and %s at its top.", size_text(a->free_bytes), a->free_chunks,
		 a->free_chunks == 1 ? "" : "s", size_text(a->top_end - (uintptr_t)a->top));
	return buf;
}

int heapsteps_write(struct heapsteps *p, const char *path)
{
	char text[128];
	struct html h;

	json_array_end(&p->json);
	json_object_end(&p->json);
	if (json_finish(&p->json) != 0 || html_begin(&h, "steward explain alloc") != 0)
		return no_memory();
	html_input(&h, "steward explain alloc", headline(text, sizeof(text)));
	html_section(&h, "Step by step");
	h.failed |= html_json(&h, "steps", p->json.fd) != 0;
	return html_finish(&h, path);
}

void heapsteps_free(struct heapsteps *p)
{
	if (p->json.fd > 0)
		close(p->json.fd);
	free(p->told);
}
