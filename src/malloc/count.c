#include "malloc/count.h"

#include "malloc/control.h"

/* Where nobody looks, and what a child starts with. */
static struct heap_counts here;

struct heap_counts *counts = &here;

void malloc_count_in(struct heap_counts *where)
{
	*where = *counts;
	counts = where;
}

void count_fork_prepare(void)
{
	if (counts != &here)
		here = *counts;
}

void count_fork_child(void)
{
	counts = &here;
}
