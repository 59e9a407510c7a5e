/*
 * A store that only costs: for modelled machines. It keeps no bytes unless it is given room for them, tells how much was
 * read and written, and takes frames as a compressed pool of a given ratio would.
 */
#ifndef STW_STORE_MODEL_H
#define STW_STORE_MODEL_H

#include "mm/backing/store.h"
#include "mm/phys/phys.h"

struct model_store {
	struct store store;   /* first */
	struct phys *phys;
	uint32_t packed_bytes; /* of a page in frames of the machine; 0: it takes none */
	uint64_t capacity;     /* pages; 0: no limit but memory */
	uint8_t *content;      /* room for pages by slot number, 1 to `capacity`; NULL: bytes are not kept */
	struct frame_list frames; /* taken for packed pages */
	/* n pages go in or come out in one request. May be NULL. */
	void (*moves)(void *ctx, struct model_store *s, bool write, unsigned n);
	void *ctx;
};

/*
 * memory: reads are as from memory, one page a fault and no cluster beside it (zram's SWP_SYNCHRONOUS_IO). content:
 * see above; capacity must not be 0 then. packed_bytes ≤ 4096. No limit on frames is set.
 */
void model_store_init(struct model_store *s, struct phys *p, bool memory, uint32_t packed_bytes, uint64_t capacity,
		      uint8_t *content);

#endif
