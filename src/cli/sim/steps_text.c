/* The sentences of the step player: one for each event of a trace, one for each step of the memory manager. */
#include <stdio.h>
#include <string.h>

#include "cli/explain/scene.h"
#include "cli/sim/steps.h"

#define SAY(...) snprintf(buf, size, __VA_ARGS__)

static bool several_tasks(const struct steps *p)
{
	unsigned n = 0;

	for (uint32_t i = 0; i < p->s->nr_tasks; i++)
		n += p->s->task[i] != NULL;
	return n > 1;
}

const char *steps_page_text(const struct steps *p, uint64_t owner, char *buf, size_t size)
{
	unsigned long long page = owner & (((uint64_t)1 << 48) - 1);

	if (several_tasks(p))
		SAY("0x%llx of %llu", page, (unsigned long long)(owner >> 48) - 1);
	else
		SAY("0x%llx", page);
	return buf;
}

const char *steps_event_text(const struct trace_event *e, char *buf, size_t size)
{
	unsigned long long vpn = e->vpn, n = e->n, arg = e->arg;
	const char *how = e->flags & TRACE_W ? "writes to" : e->flags & TRACE_X ? "runs code in" : "reads";

	switch ((enum trace_op)e->op) {
	case TRACE_ACCESS:
		if (n > 1)
			SAY("Task %u %s page 0x%llx, %llu times in a row.", e->task, how, vpn, n);
		else
			SAY("Task %u %s page 0x%llx.", e->task, how, vpn);
		break;
	case TRACE_TASK: SAY("Task %u begins: %s.", e->task, e->text != NULL ? e->text : "a program"); break;
	case TRACE_FORK: SAY("Task %u forks: its child is task %llu.", e->task, arg); break;
	case TRACE_EXEC: SAY("Task %u becomes another program; its address space is empty.", e->task); break;
	case TRACE_EXIT: SAY("Task %u ends: all that it had is free.", e->task); break;
	case TRACE_MMAP: SAY("Task %u maps %llu pages from 0x%llx on. Nothing is there yet.", e->task, n, vpn); break;
	case TRACE_MUNMAP: SAY("Task %u unmaps %llu pages from 0x%llx on.", e->task, n, vpn); break;
	case TRACE_MPROTECT: SAY("Task %u changes the rights of %llu pages from 0x%llx on.", e->task, n, vpn); break;
	case TRACE_MREMAP: SAY("Task %u moves %llu pages from 0x%llx to 0x%llx.", e->task, n, vpn, arg); break;
	case TRACE_DROP: SAY("Task %u throws the contents of %llu pages from 0x%llx on away.", e->task, n, vpn); break;
	case TRACE_READ: SAY("Task %u reads %llu pages of file %u.", e->task, n, e->file); break;
	case TRACE_WRITE: SAY("Task %u writes %llu pages of file %u.", e->task, n, e->file); break;
	case TRACE_FSYNC: SAY("Task %u has the changes of file %u written.", e->task, e->file); break;
	default: SAY("%s", trace_op_name(e->op)); break;
	}
	return buf;
}

/* The page that a step is about, or the frame if it has none. */
static const char *page_of(const struct steps *p, const struct mm_step *step, char *buf, size_t size)
{
	const struct sim_task *t = (const struct sim_task *)step->mm;

	if (t != NULL)
		return steps_page_text(p, steps_owner(t->number, step->vpn), buf, size);
	if (p->owner[step->pfn.n] != 0)
		return steps_page_text(p, p->owner[step->pfn.n], buf, size);
	SAY("in frame 0x%x", step->pfn.n);
	return buf;
}

/* Reclaim. */
static void reclaim_text(const struct mm_step *step, const char *page, char *buf, size_t size)
{
	unsigned long long arg = step->arg;

	switch (step->kind) {
	case STEP_PASS: SAY("%s looks for pages that can go.", arg ? "Free memory is below low: kswapd" : "There is no frame: who needs it"); break;
	case STEP_KEEP: SAY("Page %s was used: it stays, at the young end of its list.", page); break;
	case STEP_ACTIVATE: SAY("Page %s was used again: to the active list.", page); break;
	case STEP_DEACTIVATE: SAY("Page %s has not been used for long: to the inactive list.", page); break;
	case STEP_SAMPLE: SAY("Page %s is unmapped and stays in memory: a touch would prove it hot.", page); break;
	case STEP_SWAP_OUT: SAY("Page %s goes out, to slot %llu of swap; frame 0x%x is free.", page, arg, step->pfn.n); break;
	case STEP_DROP: SAY("Page %llu of a file goes, for it is unchanged; frame 0x%x is free.", arg, step->pfn.n); break;
	case STEP_DIRTY: SAY("Page %llu of a file is changed and has to be written first.", arg); break;
	case STEP_PASS_END: SAY(arg == 1 ? "One page was freed." : "%llu pages were freed.", arg); break;
	default: SAY("Nothing can go any more: the OOM killer chooses a task."); break;
	}
}

const char *steps_step_text(const struct steps *p, const struct mm_step *step, char *buf, size_t size)
{
	const char *list = scene_list(p->s, step->list);
	unsigned long long arg = step->arg;
	char page[64];

	buf[0] = '\0';
	page_of(p, step, page, sizeof(page));
	switch (step->kind) {
	case STEP_FAULT: SAY("No entry allows it: a page fault."); break;
	case STEP_ZERO: SAY("The page of zeros is mapped, frame 0x%x: nothing was ever written here.", step->pfn.n); break;
	case STEP_PLACE: SAY("Page %s gets frame 0x%x, and a place at the young end of: %s.", page, step->pfn.n, list); break;
	case STEP_MAP_FILE: SAY("Frame 0x%x of the page cache is mapped.", step->pfn.n); break;
	case STEP_COPY: SAY("It is a copy of frame 0x%llx, which others share.", arg); break;
	case STEP_REUSE: SAY("Nobody else has frame 0x%x: it may be written, no copy is made.", step->pfn.n); break;
	case STEP_SOFT: SAY("Page %s was still in frame 0x%x: mapped again, and it proved hot.", page, step->pfn.n); break;
	case STEP_SWAP_IN: SAY("Page %s comes back from slot %llu of swap: a major fault, if it is the one that was wanted.", page, arg); break;
	case STEP_FILE_READ: SAY("%llu pages of the file are read from the disk.", arg); break;
	default: reclaim_text(step, page, buf, size); break;
	}
	return buf;
}
