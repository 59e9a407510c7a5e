/*
 * Each event is one state of the page: the sentence of the event, the sentences of the steps that it took, and a
 * picture of the machine afterwards. Pictures are whole, not differences, so that the player can go anywhere; they show what
 * a person can look at: the youngest 40 pages of a list, 48 translations of a TLB.
 *
 * What runs beside programs has its turn after each event. Without --steps it is after many, because that is faster and
 * figures of long traces do not depend on it.
 */
#include "cli/sim/steps.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/queue.h>
#include <unistd.h>

#include "cli/explain/scene.h"
#include "cli/msg.h"

#define LIST_SHOWN 40
#define TLB_SHOWN 48
#define STEPS_SHOWN 24 /* sentences of one event */

int steps_set(struct steps *p, const char *value)
{
	char *end;
	unsigned long n;

	p->max = STEPS_DEFAULT;
	if (value == NULL)
		return 0;
	n = strtoul(value, &end, 10);
	if (value[0] < '0' || value[0] > '9' || *end != '\0' || n == 0 || n > STEPS_MAX)
		return msg_fail(EXIT_USAGE, "--steps", "\"%s\" is not a number from 1 to %d; give one", value, STEPS_MAX);
	p->max = (unsigned)n;
	return 0;
}

/* --- what is watched --- */

/* Who is in a frame is known from the steps that put it there. */
static void note_owner(struct steps *p, const struct mm_step *step)
{
	const struct sim_task *t = (const struct sim_task *)step->mm;

	if (step->kind == STEP_PLACE || step->kind == STEP_SWAP_IN)
		p->owner[step->pfn.n] = t != NULL ? steps_owner(t->number, step->vpn) : 0;
	if (step->kind == STEP_FILE_READ || step->kind == STEP_DROP)
		p->owner[step->pfn.n] = 0;
}

static void tell_walk(struct steps *p)
{
	if (!p->walked)
		json_string(&p->json, NULL, "No TLB has it: the page tables are walked.");
	p->walked = true;
}

static void watch(void *watcher, const struct mm_step *step)
{
	struct steps *p = watcher;
	char text[192];

	note_owner(p, step);
	if (step->kind == STEP_FAULT)
		tell_walk(p);
	if (p->shown++ < STEPS_SHOWN && steps_step_text(p, step, text, sizeof(text))[0] != '\0')
		json_string(&p->json, NULL, text);
}

/* --- pictures --- */

static int by_age(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x < y) - (x > y);
}

/* Its translations, the one used last first. */
static void picture_tlb(struct steps *p, const struct tlb *tlb)
{
	uint32_t entries = tlb->sets * tlb->ways, n = 0;
	uint64_t (*row)[2] = calloc(entries, sizeof(*row));
	char text[64];

	for (uint32_t i = 0; row != NULL && i < entries; i++) {
		const struct tlb_slot *slot = &tlb->slots[i];

		if (slot->serial == 0 || slot->serial <= tlb->floor || slot->page == TLB_NO_PAGE)
			continue;
		row[n][0] = slot->stamp;
		row[n++][1] = slot->page >> 1;
	}
	if (n > 1)
		qsort(row, n, sizeof(*row), by_age);
	json_array(&p->json, NULL);
	for (uint32_t i = 0; i < MIN(n, TLB_SHOWN); i++) {
		snprintf(text, sizeof(text), "0x%llx", (unsigned long long)row[i][1]);
		json_string(&p->json, NULL, text);
	}
	json_array_end(&p->json);
	free(row);
}

static void picture_list(struct steps *p, const struct lruvec *v, unsigned list)
{
	const struct frame *f;
	unsigned n = 0;
	char text[64];

	json_object(&p->json, NULL);
	json_u64(&p->json, "pages", v->nr[list]);
	json_array(&p->json, "youngest");
	TAILQ_FOREACH(f, &v->list[list], link) {
		if (n++ == LIST_SHOWN)
			break;
		pfn_t pfn = frame_pfn(&p->s->m.phys, f);

		if (p->owner[pfn.n] != 0)
			steps_page_text(p, p->owner[pfn.n], text, sizeof(text));
		else
			snprintf(text, sizeof(text), "frame 0x%x", pfn.n);
		json_string(&p->json, NULL, text);
	}
	json_array_end(&p->json);
	json_object_end(&p->json);
}

/* Entry by entry from the root. */
static void picture_walk(struct steps *p, struct sim_task *t, vpn_t vpn)
{
	const struct sim_config *c = &p->s->config;
	pte_t *entry[PT_LEVELS_MAX];
	unsigned n = pt_walk(&t->mm.pt, vpn, entry), shift = 0;
	uint64_t index[PT_LEVELS_MAX];

	for (unsigned level = 0; level < c->levels; level++) {
		index[level] = vpn.n >> shift & (((uint64_t)1 << c->bits[level]) - 1);
		shift += c->bits[level];
	}
	for (unsigned i = 0; i < n; i++) {
		unsigned level = c->levels - 1 - i;

		json_object(&p->json, NULL);
		json_u64(&p->json, "level", level + 1);
		json_u64(&p->json, "index", index[level]);
		json_string(&p->json, "entry", scene_entry(*entry[i], *entry[i], level + 1));
		json_object_end(&p->json);
	}
}

static void picture(struct steps *p, const struct trace_event *e)
{
	struct sim_task *t = e->op == TRACE_ACCESS ? sim_task(p->s, e->task) : NULL;
	struct sim *s = p->s;

	json_array(&p->json, "walk");
	if (t != NULL && t->end == SIM_RUNS)
		picture_walk(p, t, (vpn_t){ e->vpn });
	json_array_end(&p->json);
	json_array(&p->json, "tlb");
	for (unsigned i = 0; i < s->config.nr_tlbs; i++)
		picture_tlb(p, &s->cpu[0].mmu->tlb[i]);
	json_array_end(&p->json);
	json_array(&p->json, "lists");
	for (unsigned i = 0; i < NR_LRU; i++)
		picture_list(p, &s->m.lruvec[0], i);
	json_array_end(&p->json);
	scene_json_frames(s, &p->json);
}

/* --- events --- */

/* Where the translation came from. */
static void tell_translation(struct steps *p)
{
	const struct mmu_stat *now = mmu_stat(p->s->cpu[0].mmu);
	char text[96] = "";

	for (unsigned i = 0; i < p->s->config.nr_tlbs; i++)
		if (now->hits[i] != p->hits[i])
			snprintf(text, sizeof(text), "%s has the translation.", p->s->config.tlb[i].name);
	if (text[0] != '\0')
		json_string(&p->json, NULL, text);
	else if (now->walks != p->walks)
		tell_walk(p);
	memcpy(p->hits, now->hits, sizeof(p->hits));
	p->walks = now->walks;
}

static int play_one(struct steps *p, const struct trace_event *e, const char **error)
{
	char text[192];
	int err;

	p->shown = 0;
	p->walked = false;
	json_object(&p->json, NULL);
	json_string(&p->json, "text", steps_event_text(e, text, sizeof(text)));
	json_array(&p->json, "also");
	p->s->m.watcher = p;
	p->s->m.watch = watch;
	err = sim_event(p->s, e, error);
	tell_translation(p);
	sim_background(p->s, *p->s->clock);
	p->s->m.watch = NULL;
	if (p->shown > STEPS_SHOWN) {
		snprintf(text, sizeof(text), "… and %llu more steps of this kind.", (unsigned long long)(p->shown - STEPS_SHOWN));
		json_string(&p->json, NULL, text);
	}
	json_array_end(&p->json);
	picture(p, e);
	json_object_end(&p->json);
	return err;
}

static void begin(struct steps *p)
{
	struct json *j = &p->json;

	json_object(j, NULL);
	json_array(j, "tlbs");
	for (unsigned i = 0; i < p->s->config.nr_tlbs; i++)
		json_string(j, NULL, p->s->config.tlb[i].name);
	json_array_end(j);
	json_array(j, "lists");
	for (unsigned i = 0; i < NR_LRU; i++)
		json_string(j, NULL, scene_list(p->s, i));
	json_array_end(j);
	scene_json_zones(p->s, j);
	json_array(j, "steps");
}

static int refuse(struct trace_error *error, int err, uint64_t at, const char *what)
{
	error->err = err;
	error->offset = at;
	error->what = what;
	return err;
}

int steps_play(struct steps *p, struct sim *s, struct trace_reader *r, struct trace_error *error)
{
	int fd = memfd_create("steward-steps", MFD_CLOEXEC);
	const char *what = "no memory";
	struct trace_event e;
	unsigned told = 0;
	int err = 0;

	p->s = s;
	p->owner = calloc(s->nr_frames, sizeof(*p->owner));
	if (fd < 0 || p->owner == NULL)
		return refuse(error, fd < 0 ? -errno : -ENOMEM, 0, what);
	json_init_line(&p->json, fd);
	begin(p);
	s->samples |= trace_reader_sampled(r);
	for (uint64_t at = 0; told < p->max && err == 0 && !s->stopped; at++) {
		long n = trace_read(r, &e, 1, error);

		if (n <= 0) {
			err = (int)n;
			break;
		}
		/* Nothing is seen of these; the others are told. */
		if (e.op == TRACE_NOTE || e.op == TRACE_TIME || e.op == TRACE_FILE) {
			err = sim_event(s, &e, &what);
		} else {
			err = play_one(p, &e, &what);
			told++;
		}
		if (err != 0)
			refuse(error, err, at, what);
	}
	json_array_end(&p->json);
	json_object_end(&p->json);
	if (err == 0 && json_finish(&p->json) != 0)
		err = refuse(error, p->json.err, 0, "the steps cannot be kept");
	return err;
}

int steps_put(struct steps *p, struct html *h)
{
	html_section(h, "Step by step");
	return html_json(h, "steps", p->json.fd);
}

void steps_free(struct steps *p)
{
	if (p->s != NULL && p->json.fd > 0)
		close(p->json.fd);
	free(p->owner);
	p->owner = NULL;
}
