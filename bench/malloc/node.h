/*
 * Blocks in a list through themselves, for programs whose tables would weigh as much as their blocks.
 */
#ifndef STW_BENCH_MALLOC_NODE_H
#define STW_BENCH_MALLOC_NODE_H

#include "bench.h"

struct node {
	struct node *next;
	size_t size; /* all of it */
	unsigned char rest[];
};

enum { NODE_SIZE_MIN = sizeof(struct node) + 8 };

static inline struct node *node_new(size_t size, struct node *next)
{
	struct node *n = (struct node *)malloc(size);

	if (n == NULL)
		bench_out_of_memory(size);
	n->next = next;
	n->size = size;
	bench_fill(n->rest, size - sizeof(*n), (uintptr_t)n);
	return n;
}

static inline void node_free(struct node *n)
{
	bench_check(n->rest, n->size - sizeof(*n), (uintptr_t)n);
	bench_spoil(n->rest);
	free(n);
}

#endif
