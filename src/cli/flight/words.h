/* What payloads of recordings are made of: see words.c. */
#ifndef STW_CLI_FLIGHT_WORDS_H
#define STW_CLI_FLIGHT_WORDS_H

#include "base/types.h"

/* Grows; failed once, it stays so. */
struct flight_bytes {
	uint8_t *bytes;
	size_t len, room;
	bool failed;
};

void pack_number(struct flight_bytes *b, uint64_t v);
void pack_bytes(struct flight_bytes *b, const void *bytes, size_t len);
void pack_text(struct flight_bytes *b, const char *text);
void pack_group(struct flight_bytes *b, const uint64_t *numbers, size_t n);

/* What is read; bad once, it stays so, and all that is read from it then is 0. */
struct source {
	const uint8_t *at, *end;
	bool bad;
};

uint64_t unpack_number(struct source *s);
const char *unpack_bytes(struct source *s, size_t *len);
/* Cut if it is longer. */
void unpack_text(struct source *s, char *text, size_t size);
void unpack_group(struct source *s, uint64_t *numbers, size_t n);

/* The same for a structure of nothing but uint64_t, in the order of its fields. */
#define pack_words(b, s) pack_group(b, (const uint64_t *)(s), sizeof(*(s)) / sizeof(uint64_t))
#define unpack_words(s, to) unpack_group(s, (uint64_t *)(to), sizeof(*(to)) / sizeof(uint64_t))

/* Numbers that may be below 0: 0, -1, 1, -2, … as 0, 1, 2, 3, … */
static inline uint64_t zigzag(int64_t v)
{
	return (uint64_t)v << 1 ^ (uint64_t)(v >> 63);
}

static inline int64_t unzigzag(uint64_t v)
{
	return (int64_t)(v >> 1 ^ -(v & 1));
}

#endif
