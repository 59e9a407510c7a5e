/*
 * Traces that no importer makes, to standard output: "empty", a task that touches nothing; "family", a parent and its
 * child; "heirs", a parent whose child, and whose child's child, begin when it has touched all that it ever does.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "sim/trace.h"

#define PAGES 200
#define HEAP 0x5000

static struct trace_writer *w;

static void put(struct trace_event e)
{
	trace_write(w, &e);
}

static void text(enum trace_op op, uint32_t task, const char *name)
{
	put((struct trace_event){ .op = (uint8_t)op, .task = task, .text = name, .text_len = (uint32_t)strlen(name) });
}

/* Touches all pages, and says that it took a millisecond. */
static void round_of(uint32_t task, uint64_t start, uint64_t n)
{
	for (uint64_t i = 0; i < n; i++)
		put((struct trace_event){ .op = TRACE_ACCESS, .flags = TRACE_W, .task = task, .vpn = start + i, .n = 1 });
	put((struct trace_event){ .op = TRACE_TIME, .task = task, .arg = 1000000 });
}

/* The parent has its memory, the child a copy of it and more; the parent gives half of its own back. */
static void family(void)
{
	text(TRACE_TASK, 1, "parent");
	put((struct trace_event){ .op = TRACE_MMAP, .flags = TRACE_R | TRACE_W, .task = 1, .vpn = HEAP, .n = 2 * PAGES });
	round_of(1, HEAP, PAGES);
	put((struct trace_event){ .op = TRACE_FORK, .task = 1, .arg = 2 });
	text(TRACE_EXEC, 2, "child <&>");
	put((struct trace_event){ .op = TRACE_MMAP, .flags = TRACE_R | TRACE_W, .task = 2, .vpn = HEAP, .n = 2 * PAGES });
	for (unsigned i = 0; i < 20; i++) {
		round_of(1, HEAP, PAGES);
		round_of(2, HEAP, 2 * PAGES);
	}
	put((struct trace_event){ .op = TRACE_MUNMAP, .task = 1, .vpn = HEAP, .n = PAGES / 2 });
	round_of(1, HEAP + PAGES / 2, PAGES / 2);
	put((struct trace_event){ .op = TRACE_EXIT, .task = 2 });
	put((struct trace_event){ .op = TRACE_EXIT, .task = 1 });
}

static void heirs(void)
{
	text(TRACE_TASK, 1, "parent");
	put((struct trace_event){ .op = TRACE_MMAP, .flags = TRACE_R | TRACE_W, .task = 1, .vpn = HEAP, .n = PAGES });
	round_of(1, HEAP, PAGES);
	for (uint32_t child = 2; child <= 3; child++) {
		put((struct trace_event){ .op = TRACE_FORK, .task = child - 1, .arg = child });
		round_of(child, HEAP, 1);
	}
	for (uint32_t task = 1; task <= 3; task++)
		put((struct trace_event){ .op = TRACE_EXIT, .task = task });
}

int main(int argc, char **argv)
{
	if (argc != 2 || trace_writer_open(&w, STDOUT_FILENO, false) != 0)
		return 2;
	if (strcmp(argv[1], "family") == 0)
		family();
	else if (strcmp(argv[1], "heirs") == 0)
		heirs();
	else
		text(TRACE_TASK, 1, "idle");
	return trace_writer_close(w) != 0;
}
