/*
 * Payloads: numbers in LEB128 (seven bits a byte, the lowest first, the top bit: more follow), texts as their length and
 * bytes, groups as a count and so many numbers. A reader takes of a group what it knows: numbers that it lacks are 0, those
 * beyond are passed over, so that groups can grow without a new version.
 */
#include <stdlib.h>
#include <string.h>

#include "cli/flight/words.h"

#define NUMBER_MAX 10 /* bytes */

static bool make_room(struct flight_bytes *b, size_t more)
{
	size_t room = b->room != 0 ? b->room : 4096;
	uint8_t *bytes;

	if (b->failed || b->room - b->len >= more)
		return !b->failed;
	while (room - b->len < more)
		room *= 2;
	bytes = realloc(b->bytes, room);
	b->failed = bytes == NULL;
	if (b->failed)
		return false;
	b->bytes = bytes;
	b->room = room;
	return true;
}

void pack_number(struct flight_bytes *b, uint64_t v)
{
	if (!make_room(b, NUMBER_MAX))
		return;
	for (; v >= 0x80; v >>= 7)
		b->bytes[b->len++] = (uint8_t)v | 0x80;
	b->bytes[b->len++] = (uint8_t)v;
}

void pack_bytes(struct flight_bytes *b, const void *bytes, size_t len)
{
	pack_number(b, len);
	if (!make_room(b, len))
		return;
	memcpy(b->bytes + b->len, bytes, len);
	b->len += len;
}

void pack_text(struct flight_bytes *b, const char *text)
{
	pack_bytes(b, text, strlen(text));
}

void pack_group(struct flight_bytes *b, const uint64_t *numbers, size_t n)
{
	pack_number(b, n);
	for (size_t i = 0; i < n; i++)
		pack_number(b, numbers[i]);
}

uint64_t unpack_number(struct source *s)
{
	uint64_t v = 0;

	for (unsigned shift = 0; s->at < s->end && shift < 64; shift += 7) {
		uint8_t byte = *s->at++;

		v |= (uint64_t)(byte & 0x7f) << shift;
		if (byte < 0x80)
			return v;
	}
	s->bad = true;
	return 0;
}

const char *unpack_bytes(struct source *s, size_t *len)
{
	uint64_t n = unpack_number(s);
	const uint8_t *bytes = s->at;

	if (n > (uint64_t)(s->end - s->at)) {
		s->bad = true;
		n = 0;
	}
	s->at += n;
	*len = n;
	return (const char *)bytes;
}

void unpack_text(struct source *s, char *text, size_t size)
{
	size_t len;
	const char *bytes = unpack_bytes(s, &len);

	len = MIN(len, size - 1);
	memcpy(text, bytes, len);
	text[len] = '\0';
}

void unpack_group(struct source *s, uint64_t *numbers, size_t n)
{
	uint64_t there = unpack_number(s);

	memset(numbers, 0, n * sizeof(*numbers));
	for (uint64_t i = 0; i < there && !s->bad; i++) {
		uint64_t v = unpack_number(s);

		if (i < n)
			numbers[i] = v;
	}
}
