/* The tables that commands print for people: a label, figures, units. */
#ifndef STW_CLI_TABLE_H
#define STW_CLI_TABLE_H

#include "base/fmt.h"

struct table {
	struct fmt f;
	char text[4096];
};

/* "1.5 GiB"; eight of them may be alive at once. */
const char *size_text(uint64_t bytes);

void table_init(struct table *t);
/* A new line that begins with the label. */
void table_row(struct table *t, const char *label);

/* 1234567 as 1 234 567: long counts are read by their groups. */
void put_count(struct fmt *f, uint64_t v);
/* The same between two texts. */
void put_some(struct fmt *f, const char *before, uint64_t v, const char *after);
void put_bytes(struct fmt *f, const char *before, uint64_t v, const char *after);
/* Three digits are enough for a time: 7.5 us, 12 ms, 1.25 s. */
void put_time(struct fmt *f, const char *before, uint64_t ns, const char *after);
/* a of b in per cent, one decimal; "-" if there is no b. */
void put_percent(struct fmt *f, const char *before, uint64_t a, uint64_t b, const char *after);

#endif
