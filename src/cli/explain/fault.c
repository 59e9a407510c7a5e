/*
 * steward explain fault: what happens when a program touches a page that is not there, or not for this.
 *
 *      read      a page never touched is read: the page of zeros
 *      write     a page never touched is written: a frame of its own
 *      cow       parent and child share a page after fork, and write to it
 *      swap      a page that has gone out is read again
 *      file      a page of a mapped file is read, then one that read-ahead has brought
 *      soft      a page that is resident but unmapped is touched; on machines without accessed bits
 *      invalid   nothing is mapped there, or the area does not allow it
 *
 * Each scene is played by the engine of steward sim on a machine of its own. What is told is what the memory manager
 * reports (mm/step.h) and what is different afterwards: the entry, the free blocks of the buddy system, counters, the
 * clock.
 */
#include <stdio.h>
#include <string.h>

#include "cli/explain/explain.h"
#include "cli/explain/picture.h"
#include "cli/explain/scene.h"
#include "cli/msg.h"

#define PARENT 1
#define CHILD 2
#define PROGRAM_FILE 1
#define DATA_FILE 2
#define HEAP_PAGES 1536 /* a 2 MiB page fits in, wherever it begins */
#define DATA_PAGES 256
#define TEXT_PAGES 64
#define SAMPLE_TRIES 16 /* steps of reclaim */

/* Where the parts are: as Linux places them without random offsets. */
struct place {
	vpn_t text, heap, page, data;
};

/* Steps of the same kind in a row are told as one. */
struct told {
	struct mm_step first;
	unsigned n;
};

#define TOLD_MAX 32

struct stage {
	struct sim *s;
	struct place at;
	struct told told[TOLD_MAX];
	unsigned nr_told;
};

struct look {
	pte_t entry;
	uint64_t counter[VM_COUNTER_NR];
	struct scene_blocks blocks;
	uint64_t invalid;
	double now;
};

static void watch(void *watcher, const struct mm_step *step)
{
	struct stage *g = watcher;
	struct told *last = g->nr_told > 0 ? &g->told[g->nr_told - 1] : NULL;

	if (last != NULL && last->first.kind == step->kind)
		last->n++;
	else if (g->nr_told < TOLD_MAX)
		g->told[g->nr_told++] = (struct told){ *step, 1 };
}

static void look(const struct stage *g, uint32_t task, vpn_t vpn, struct look *l)
{
	struct sim_task *t = sim_task(g->s, task);

	l->entry = pt_get(&t->mm.pt, vpn);
	memcpy(l->counter, g->s->counter, sizeof(l->counter));
	scene_look(g->s, &l->blocks);
	l->invalid = t->invalid;
	l->now = sim_cpu_of(g->s, t, 0)->now;
}

/*
 * What is told
 */

static void tell_place(const struct stage *g, const struct mm_step *p)
{
	printf("  frame     0x%x of zone %s; young end of: %s\n", p->pfn.n, scene_zone(g->s, p->pfn),
	       scene_list(g->s, p->list));
	if (p->arg > 1)
		printf("            a huge page: one entry and one block for %llu pages\n",
		       (unsigned long long)p->arg);
}

static void tell(const struct stage *g, const struct told *t)
{
	const struct mm_step *p = &t->first;
	unsigned long long arg = p->arg;

	switch (p->kind) {
	case STEP_FAULT:
		printf("  fault     no entry that allows it: the CPU calls the kernel\n");
		break;
	case STEP_ZERO:
		printf("  zeros     frame 0x%x, which all pages share that nobody has written to\n", p->pfn.n);
		break;
	case STEP_PLACE: tell_place(g, p); break;
	case STEP_COPY:
		printf("  copy      from frame 0x%llx into frame 0x%x\n", arg, p->pfn.n);
		break;
	case STEP_REUSE:
		printf("  reuse     nobody else has frame 0x%x any more: no copy is made\n",
		       p->pfn.n);
		break;
	case STEP_SOFT:
		printf("  soft      frame 0x%x was still there, and proved hot: %s\n", p->pfn.n,
		       scene_list(g->s, p->list));
		break;
	case STEP_SWAP_IN:
		printf("  read      slot %llu of swap into frame 0x%x", arg, p->pfn.n);
		printf(t->n > 1 ? ", and %u more beside it\n" : "\n", t->n - 1);
		break;
	case STEP_FILE_READ:
		printf("  read      %llu pages of the file into the page cache, read-ahead included\n", arg);
		break;
	case STEP_MAP_FILE:
		printf("  map       frame 0x%x of the page cache, %s", p->pfn.n, scene_list(g->s, p->list));
		printf(t->n > 1 ? ", and %u neighbours\n" : "\n", t->n - 1);
		break;
	default: break;
	}
}

static const char *area_name(const struct vma *vma)
{
	if (vma->file != NULL)
		return vma->file->name;
	return vma->flags & VMA_HEAP ? "heap" : "anonymous";
}

static void tell_area(struct mm *mm, vpn_t vpn)
{
	const struct vma *vma = vma_find(&mm->vmas, vpn);

	if (vma == NULL) {
		printf("  area      none holds it\n");
		return;
	}
	printf("  area      %s, %#llx to %#llx, %s%s%s%s\n", area_name(vma),
	       (unsigned long long)vpn_address(vma->start), (unsigned long long)vpn_address(vma->end),
	       vma->flags & VMA_READ ? "r" : "-", vma->flags & VMA_WRITE ? "w" : "-", vma->flags & VMA_EXEC ? "x" : "-",
	       vma->flags & VMA_SHARED ? ", shared" : ", private");
}

static void tell_counters(const struct look *before, const struct look *after)
{
	size_t column = 0;

	for (unsigned i = 0; i < VM_COUNTER_NR; i++) {
		char text[48];

		if (before->counter[i] == after->counter[i])
			continue;
		snprintf(text, sizeof(text), "%s +%llu", scene_counter(i),
			 (unsigned long long)(after->counter[i] - before->counter[i]));
		if (column > 0 && column + strlen(text) > 64) {
			printf("\n            ");
			column = 0;
		}
		printf("%s%s", column > 0 ? "  " : "", text);
		column += strlen(text) + 2;
	}
	putchar('\n');
}

/* One touch, and everything that came of it. */
static int act(struct stage *g, uint32_t task, vpn_t vpn, unsigned how, const char *who)
{
	struct sim_task *t = sim_task(g->s, task);
	struct look before, after;
	int err;

	printf("\n%s %s 0x%llx\n", who, how == TRACE_W ? "writes to" : "reads", (unsigned long long)vpn_address(vpn));
	tell_area(&t->mm, vpn);
	look(g, task, vpn, &before);
	printf("  entry     %s\n", scene_entry(before.entry, before.entry, 1));
	g->nr_told = 0;
	g->s->m.watcher = g;
	g->s->m.watch = watch;
	err = scene_touch(g->s, task, vpn, how);
	g->s->m.watch = NULL;
	look(g, task, vpn, &after);
	for (unsigned i = 0; i < g->nr_told; i++)
		tell(g, &g->told[i]);
	scene_tell(g->s, &before.blocks);
	if (after.invalid != before.invalid)
		printf("  signal    SIGSEGV: the touch is not made\n");
	else
		printf("  entry     %s\n", scene_entry(after.entry, after.entry, 1));
	printf("  counters  ");
	tell_counters(&before, &after);
	printf("  time      %.3f us, the touch itself included\n", (after.now - before.now) / 1000);
	return err;
}

/*
 * Scenes
 */

static int play_read(struct stage *g)
{
	return act(g, PARENT, g->at.page, TRACE_R, "The program");
}

static int play_write(struct stage *g)
{
	return act(g, PARENT, g->at.page, TRACE_W, "The program");
}

static int play_cow(struct stage *g)
{
	struct trace_event fork = { .op = TRACE_FORK, .task = PARENT, .arg = CHILD };
	int err = scene_touch(g->s, PARENT, g->at.page, TRACE_W);

	if (err == 0)
		err = scene_event(g->s, &fork);
	if (err == 0)
		err = act(g, CHILD, g->at.page, TRACE_W, "The child");
	if (err == 0)
		err = act(g, PARENT, g->at.page, TRACE_W, "The parent");
	return err;
}

/*
 * Pages are put on the lists in batches, and sampled and evicted in batches, the lowest first: others are written before
 * the one that the scene is about.
 */
static int write_many(struct stage *g)
{
	int err = 0;

	for (unsigned i = 0; i < 32 && err == 0; i++)
		err = scene_touch(g->s, PARENT, (vpn_t){ g->at.page.n + i - 31 }, TRACE_W);
	return err;
}

static int play_swap(struct stage *g)
{
	int err = write_many(g);

	if (err != 0)
		return err;
	if (!scene_evict(g->s, PARENT, g->at.page)) {
		printf("\nThis machine has no room in swap: pages of programs stay.\n");
		return 0;
	}
	return act(g, PARENT, g->at.page, TRACE_R, "The program");
}

static int play_file(struct stage *g)
{
	int err = act(g, PARENT, g->at.data, TRACE_R, "The program");

	if (err == 0)
		err = act(g, PARENT, (vpn_t){ g->at.data.n + 16 }, TRACE_R, "The program");
	return err;
}

static int play_soft(struct stage *g)
{
	bool progress = false;
	int err;

	if (machine_has_accessed(&g->s->m)) {
		printf("\nThis machine has accessed bits, and needs no such faults; see --set vm.accessed_bits=no.\n");
		return 0;
	}
	err = write_many(g);
	for (unsigned i = 0; i < SAMPLE_TRIES && pte_is_present(pt_get(&sim_task(g->s, PARENT)->mm.pt, g->at.page)); i++)
		reclaim_batch(&g->s->m, true, &progress);
	return err == 0 ? act(g, PARENT, g->at.page, TRACE_R, "The program") : err;
}

static int play_invalid(struct stage *g)
{
	int err = act(g, PARENT, g->at.text, TRACE_W, "The program");

	if (err == 0)
		err = act(g, PARENT, (vpn_t){ 0 }, TRACE_R, "The program");
	return err;
}

static const struct scene {
	const char *name, *title;
	int (*play)(struct stage *g);
} scenes[] = {
	{ "read", "read: minor fault. A page of the heap that nobody has touched is read.", play_read },
	{ "write", "write: minor fault. A page of the heap that nobody has touched is written.", play_write },
	{ "cow", "cow: copy on write. A page is written by both after a fork.", play_cow },
	{ "swap", "swap: major fault. A page that reclaim has written to swap is wanted again.", play_swap },
	{ "file", "file: major fault. A page of a mapped file, then one that came along.", play_file },
	{ "soft", "soft: minor fault. A page that reclaim has unmapped as a sample, but kept.", play_soft },
	{ "invalid", "invalid: no fault to be served. Code is written, then the null pointer followed.", play_invalid },
};

static int map_file(struct sim *s, uint32_t file, const char *name, vpn_t at, uint64_t pages, unsigned rights)
{
	struct trace_event e = { .op = TRACE_FILE, .file = file, .n = pages, .text = name };
	int err = scene_event(s, &e);

	e = (struct trace_event){
		.op = TRACE_MMAP, .task = PARENT, .vpn = at.n, .n = pages, .file = file, .flags = (uint8_t)rights
	};
	return err == 0 ? scene_event(s, &e) : err;
}

static int set(struct stage *g)
{
	struct layout_params p = { .kind = explain_layout_kind(&g->s->config), .random = LAYOUT_FIXED, .pie = true,
				   .stack_limit = 8 * MIB, .text_bytes = TEXT_PAGES * PAGE_SIZE };
	struct layout l;
	int err;

	if (layout_make(&l, &p) != 0)
		return msg_fail(1, "layout", "the program does not fit; take a machine with longer addresses");
	g->at = (struct place){ .text = vpn_of(l.text.start), .heap = vpn_of(l.start_brk),
				.data = { (l.mmap_base >> PAGE_SHIFT) - DATA_PAGES } };
	g->at.page.n = ALIGN_UP(g->at.heap.n, 512);
	err = scene_task(g->s, PARENT, "program");
	if (err == 0)
		err = map_file(g->s, PROGRAM_FILE, "program", g->at.text, TEXT_PAGES, TRACE_R | TRACE_X);
	if (err == 0)
		err = map_file(g->s, DATA_FILE, "data", g->at.data, DATA_PAGES, TRACE_R);
	return err == 0 ? scene_map(g->s, PARENT, g->at.heap, HEAP_PAGES, TRACE_R | TRACE_W | TRACE_MAP_HEAP) : err;
}

static int play(const struct scene *scene, const struct sim_config *config)
{
	struct stage g = { .s = scene_create(config) };
	int err;

	if (g.s == NULL)
		return 1;
	err = set(&g);
	if (err == 0) {
		printf("%s\n", scene->title);
		err = scene->play(&g);
	}
	sim_destroy(g.s);
	return err;
}

static int explain(const struct explain_args *a)
{
	const char *name = a->operands[0];
	bool found = false;
	int err = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(scenes) && err == 0; i++) {
		if (name != NULL ? strcmp(name, scenes[i].name) != 0
				 : scenes[i].play == play_soft && a->machine.accessed_bits)
			continue;
		if (found)
			printf("\n\n");
		found = true;
		err = play(&scenes[i], &a->machine);
	}
	if (found || err != 0)
		return err;
	return msg_fail(EXIT_USAGE, name, "no such fault; use read, write, cow, swap, file, soft or invalid");
}

const struct explain_topic explain_fault = {
	.name = "fault",
	.usage = "[read|write|cow|swap|file|soft|invalid]",
	.summary = "what a touch of a page that is not there does",
	.takes = 1 << EXPLAIN_MACHINE | 1 << EXPLAIN_SET,
	.operands = 1,
	.main = explain,
};
