#include "cli/see/top.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/size.h"
#include "cli/see/show.h"
#include "cli/see/terminal.h"
#include "cli/set.h"

void top_scroll(struct top *t, int64_t by)
{
	int64_t last = (int64_t)t->rows.nr - (int64_t)t->fit;

	t->first = (unsigned)MAX(MIN((int64_t)t->first + by, last), 0);
}

/* A key of a line that is being written. */
static void edit(char *text, size_t size, int key)
{
	size_t len = strlen(text);

	if (key == TERMINAL_BACKSPACE && len > 0)
		text[len - 1] = '\0';
	if (key >= ' ' && key <= '~' && len + 1 < size) {
		text[len] = (char)key;
		text[len + 1] = '\0';
	}
}

static void prompt_filter(struct top *t)
{
	t->mode = TOP_FILTER;
	snprintf(t->prompt, sizeof(t->prompt), "/%s_", t->how.filter);
}

static void key_of_filter(struct top *t, int key)
{
	edit(t->how.filter, sizeof(t->how.filter), key);
	prompt_filter(t);
	if (key == TERMINAL_ESCAPE)
		t->how.filter[0] = '\0';
	if (key == TERMINAL_ESCAPE || key == TERMINAL_ENTER)
		t->mode = TOP_TABLE;
}

/* --- another budget --- */

static void prompt_budget(struct top *t)
{
	t->mode = TOP_BUDGET;
	snprintf(t->prompt, sizeof(t->prompt), "budget of run %d, now %s: %s_", t->now.launcher, show_pages(t->now.ram), t->answer);
}

static void understand_budget(struct top *t)
{
	struct set_refusal refusal;
	uint64_t bytes;

	t->mode = TOP_SAID;
	if (size_parse(t->answer, &bytes) != 0) {
		snprintf(t->prompt, sizeof(t->prompt), "\"%s\" is not a size; write it as 128M or 1.5G", t->answer);
		return;
	}
	t->asked_pages = bytes >> PAGE_SHIFT;
	set_check(t->ledger, t->asked_pages, &refusal);
	if (refusal.what != NULL) {
		snprintf(t->prompt, sizeof(t->prompt), "%s", refusal.why);
		return;
	}
	t->mode = TOP_CONFIRM;
	snprintf(t->prompt, sizeof(t->prompt), "change the budget of run %d from %s to %s? y/n", t->now.launcher, show_pages(t->now.ram),
		 show_pages(t->asked_pages));
}

static void key_of_budget(struct top *t, int key)
{
	edit(t->answer, sizeof(t->answer), key);
	prompt_budget(t);
	if (key == TERMINAL_ESCAPE)
		t->mode = TOP_TABLE;
	if (key == TERMINAL_ENTER)
		understand_budget(t);
}

/* The launcher does it; how it went is told by an event. */
static void key_of_confirm(struct top *t, int key)
{
	t->mode = TOP_TABLE;
	if (key == 'y')
		atomic_store(&t->ledger->ram_asked, t->asked_pages);
}

/* --- the heap of a process --- */

void top_look_at_heap(struct top *t)
{
	const struct sample_process *p = NULL;

	for (unsigned i = 0; i < t->now.nr; i++)
		if (t->now.process[i].pid == t->heap.of.pid && t->now.process[i].start == t->heap.of.start)
			p = &t->now.process[i];
	t->err = heapview_look(&t->heap, t->ledger, p);
}

/* That of row i, or of the last one. */
static void show_heap(struct top *t, unsigned i)
{
	if (t->rows.nr == 0)
		return;
	t->mode = TOP_HEAP;
	t->err = heapview_look(&t->heap, t->ledger, t->rows.row[MIN(i, t->rows.nr - 1)].p);
}

/* Wherever figures are shown. False: it is none of these keys. */
static bool key_of_figures(struct top *t, int key)
{
	if (key == 'q')
		t->quit = true;
	else if (key == ' ')
		t->paused = !t->paused;
	else
		return false;
	return true;
}

/* The row of the process that is shown, or the first one. */
static unsigned row_of_heap(const struct top *t)
{
	for (unsigned i = 0; i < t->rows.nr; i++)
		if (t->rows.row[i].p->pid == t->heap.of.pid)
			return i;
	return 0;
}

static void key_of_heap(struct top *t, int key)
{
	unsigned row = row_of_heap(t);

	switch (key) {
	case TERMINAL_UP:
		show_heap(t, row > 0 ? row - 1 : 0);
		break;
	case TERMINAL_DOWN:
		show_heap(t, row + 1);
		break;
	default:
		heapview_free(&t->heap);
		t->mode = TOP_TABLE;
	}
}

/* --- the table --- */

static void change_interval(struct top *t, bool longer)
{
	t->interval_ns = longer ? MIN(t->interval_ns * 2, TOP_INTERVAL_MOST) : MAX(t->interval_ns / 2, TOP_INTERVAL_LEAST);
}

static void key_that_scrolls(struct top *t, int key)
{
	switch (key) {
	case TERMINAL_UP:
	case TERMINAL_DOWN:
		top_scroll(t, key == TERMINAL_UP ? -1 : 1);
		break;
	case TERMINAL_PAGE_UP:
	case TERMINAL_PAGE_DOWN:
		top_scroll(t, key == TERMINAL_PAGE_UP ? -(int64_t)t->fit : (int64_t)t->fit);
		break;
	case TERMINAL_HOME:
	case TERMINAL_END:
		top_scroll(t, key == TERMINAL_HOME ? INT32_MIN : INT32_MAX);
		break;
	default:
		break;
	}
}

static void key_of_table(struct top *t, int key)
{
	switch (key) {
	case '+':
	case '-':
		change_interval(t, key == '+');
		break;
	case 's':
		t->how.sort = (t->how.sort + 1) % NR_SORTS;
		break;
	case 'r':
		t->how.reverse = !t->how.reverse;
		break;
	case 't':
		t->how.tree = !t->how.tree;
		break;
	case '/':
		prompt_filter(t);
		break;
	case 'm':
		show_heap(t, t->first);
		break;
	case 'b':
		t->answer[0] = '\0';
		prompt_budget(t);
		break;
	case 'h':
	case '?':
		t->mode = TOP_HELP;
		break;
	default:
		key_that_scrolls(t, key);
	}
}

void top_press(struct top *t, int key)
{
	switch (t->mode) {
	case TOP_TABLE:
		if (!key_of_figures(t, key))
			key_of_table(t, key);
		break;
	case TOP_FILTER:
		key_of_filter(t, key);
		break;
	case TOP_BUDGET:
		key_of_budget(t, key);
		break;
	case TOP_CONFIRM:
		key_of_confirm(t, key);
		break;
	case TOP_HEAP:
		if (!key_of_figures(t, key))
			key_of_heap(t, key);
		break;
	case TOP_HELP:
	case TOP_SAID:
		t->mode = TOP_TABLE;
		break;
	}
}
