/* What a recorded process has mapped, as far as its trace says: ranges of pages, ordered, without overlaps. */
#ifndef STW_CLI_RECORD_AREAS_H
#define STW_CLI_RECORD_AREAS_H

#include "base/types.h"

struct area {
	uint64_t start, end; /* pages, start < end */
	uint64_t pgoff;      /* page of the file at start; 0 for anonymous memory */
	uint32_t file;       /* number in the trace; 0: anonymous */
	uint8_t flags;       /* enum trace_flag */
	bool hidden;         /* the recorder's own, not in the trace */
};

/* Law: area[i].start < area[i].end ≤ area[i + 1].start, and two that touch could not be one. */
struct areas {
	struct area *area;
	size_t nr, room;
};

/* An empty set is all zeros. Each of these: 0, or -ENOMEM with the set as it was. */
int areas_map(struct areas *s, const struct area *a);      /* in place of whatever was there */
int areas_unmap(struct areas *s, uint64_t start, uint64_t end);
int areas_protect(struct areas *s, uint64_t start, uint64_t end, uint8_t rights);
int areas_copy(struct areas *to, const struct areas *from); /* to: empty */
void areas_free(struct areas *s);                           /* it is empty then */

/* Index of the first area that ends above vpn; s->nr: none does. */
size_t areas_from(const struct areas *s, uint64_t vpn);
/* The area that contains page vpn, or NULL; valid until the set changes. */
const struct area *areas_find(const struct areas *s, uint64_t vpn);
void areas_check(const struct areas *s);

#endif
