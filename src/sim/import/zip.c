/*
 * The headers of a zip file, read from front to back (APPNOTE 6.3, 4.3): a pipe
 * has no directory at its end to begin with. Members come one after the other,
 * whatever their names; the first header of the directory ends them.
 *
 *     local header · data · [descriptor] · local header · data · … · directory
 *
 * A descriptor repeats checksum and lengths behind the data of a member whose
 * writer did not know them before. It may lack its signature and may have
 * lengths of 4 or 8 bytes; what follows it tells which.
 */
#include "sim/import/unpack.h"

#define LOCAL 0x04034b50u      /* "PK\3\4" */
#define DIRECTORY 0x02014b50u  /* "PK\1\2" */
#define DESCRIPTOR 0x08074b50u /* "PK\7\8" */

#define LOCAL_BYTES 30u
#define HAS_DESCRIPTOR 8u
#define STORED 0u
#define DEFLATED 8u

static uint32_t u32_at(const struct source *s, size_t at)
{
	uint32_t v;

	memcpy(&v, s->raw + s->raw_at + at, sizeof(v));
	return v;
}

static uint16_t u16_at(const struct source *s, size_t at)
{
	uint16_t v;

	memcpy(&v, s->raw + s->raw_at + at, sizeof(v));
	return v;
}

/* n raw bytes are there: 1, 0 if the file ends before, or -errno. */
static int have(struct source *s, size_t n)
{
	int more = 1;

	while (s->raw_end - s->raw_at < n && more > 0)
		more = source_raw(s);
	return more < 0 ? more : s->raw_end - s->raw_at >= n;
}

static bool header_at(const struct source *s, size_t at)
{
	uint32_t magic = u32_at(s, at);

	return magic == LOCAL || magic == DIRECTORY;
}

static int damaged(struct source *s)
{
	return source_fail(s, -EBADMSG, "the zip file is damaged");
}

/* Passes over a descriptor, if there is one. 0 or -errno. */
static int skip_descriptor(struct source *s)
{
	int got = have(s, 28);

	if (got <= 0)
		return got < 0 ? got : damaged(s);
	if (header_at(s, 0))
		return 0;
	size_t signature = u32_at(s, 0) == DESCRIPTOR ? 4 : 0;

	for (size_t len = 12; len <= 20; len += 8) {
		if (header_at(s, signature + len)) {
			s->raw_at += signature + len;
			return 0;
		}
	}
	return damaged(s);
}

int zip_member(struct source *s, bool behind, uint64_t *stored)
{
	int got = behind ? skip_descriptor(s) : 0;

	if (got < 0)
		return got;
	got = have(s, LOCAL_BYTES);
	if (got <= 0)
		return got < 0 ? got : damaged(s);
	if (u32_at(s, 0) == DIRECTORY)
		return 0;
	uint16_t flags = u16_at(s, 6), method = u16_at(s, 8);
	size_t len = LOCAL_BYTES + u16_at(s, 26) + u16_at(s, 28);

	if (u32_at(s, 0) != LOCAL)
		return damaged(s);
	if ((method != STORED && method != DEFLATED) || (method == STORED && (flags & HAS_DESCRIPTOR)) || (flags & 1))
		return source_fail(s, -EBADMSG, "a member of the zip file is packed in a way that is not known");
	*stored = method == STORED ? u32_at(s, 18) : UINT64_MAX;
	if (*stored == UINT32_MAX)
		return source_fail(s, -EBADMSG, "a member of the zip file is packed in a way that is not known");
	/* Names and extra fields may be longer than what is read at once. */
	while (len > 0) {
		got = have(s, 1);
		if (got <= 0)
			return got < 0 ? got : damaged(s);
		size_t n = MIN(len, s->raw_end - s->raw_at);

		s->raw_at += n;
		len -= n;
	}
	return 1;
}
