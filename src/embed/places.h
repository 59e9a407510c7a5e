/*
 * Where pages of a region go: the compressed pool first, then a file without a name, then the program's own store.
 * What the areas are is swap.h's.
 */
#ifndef STW_EMBED_PLACES_H
#define STW_EMBED_PLACES_H

#include "mm/backing/swap.h"
#include "steward/steward.h"
#include "store/file.h"
#include "store/zpool.h"

struct own_store {
	struct slots slots;    /* first */
	struct stw_store user;
};

struct places {
	struct zpool pool;
	struct file_store file; /* fd -1: none */
	struct own_store own;
	void *work, *file_books, *own_books;
	size_t work_bytes, file_bytes, own_bytes;
};

/* 0, or -errno and the message; what was opened until then is given back by places_close. */
int places_open(struct places *p, struct swap *swap, struct phys *phys, const struct stw_memory_config *config);
void places_close(struct places *p);
/* The name of an area for messages. */
const char *places_name(const struct places *p, const struct store *store);

#endif
