/*
 * Unpackers: one row a format. Each calls a library that takes bytes from
 * source.raw and gives bytes to the caller, as many as there is room for.
 *
 * Files of several members (gzip and zstd that were joined, xz, zip) are one
 * stream. A file that ends within a member is damaged; so is one with something
 * behind its last member that is none.
 */
#include "sim/import/unpack.h"

#include <lzma.h>
#include <stdlib.h>
#include <zlib.h>
#include <zstd.h>

#define XZ_MEMORY ((uint64_t)1 << 30) /* a file may ask for that much: xz -9 needs 65 MiB */

struct unpacker {
	const char *magic;
	unsigned magic_len;
	int (*open)(struct unpack *u);
	long (*some)(struct unpack *u, struct source *s, uint8_t *dst, size_t room);
	void (*close)(struct unpack *u);
};

struct unpack {
	const struct unpacker *kind;
	bool inside;          /* a member has begun and not ended */
	bool behind;          /* zip: a packed member has ended */
	bool ended;           /* xz: all of it */
	uint64_t stored;      /* zip: bytes left of a member that is not packed; UINT64_MAX: it is packed */
	z_stream z;
	lzma_stream lzma;
	ZSTD_DStream *zstd;
};

static long cut(struct source *s)
{
	return source_fail(s, -ENODATA, "the packed data ends before its end");
}

/* inflate() of what is there; *done is true when the member has ended. Bytes, 0 if it wants more input, or -errno. */
static long inflate_some(struct unpack *u, struct source *s, uint8_t *dst, size_t room, bool *done)
{
	u->z.next_in = s->raw + s->raw_at;
	u->z.avail_in = (uInt)(s->raw_end - s->raw_at);
	u->z.next_out = dst;
	u->z.avail_out = (uInt)room;
	int ret = inflate(&u->z, Z_NO_FLUSH);

	s->raw_at = s->raw_end - u->z.avail_in;
	*done = ret == Z_STREAM_END;
	if (ret == Z_MEM_ERROR)
		return source_fail(s, -ENOMEM, "there is no memory to unpack it");
	if (ret != Z_OK && ret != Z_STREAM_END && ret != Z_BUF_ERROR)
		return source_fail(s, -EBADMSG, "the packed data is damaged");
	return (long)(room - u->z.avail_out);
}

static int gzip_open(struct unpack *u)
{
	return inflateInit2(&u->z, 15 + 16) == Z_OK ? 0 : -ENOMEM;
}

static int zip_open(struct unpack *u)
{
	return inflateInit2(&u->z, -15) == Z_OK ? 0 : -ENOMEM;
}

static void z_close(struct unpack *u)
{
	inflateEnd(&u->z);
}

/* Raw bytes are there; 1, 0 at the end of the file, or -errno. */
static int need_raw(struct source *s)
{
	return s->raw_at < s->raw_end ? 1 : source_raw(s);
}

static long gzip_some(struct unpack *u, struct source *s, uint8_t *dst, size_t room)
{
	long n = 0;

	while (n == 0) {
		bool done;
		int more = need_raw(s);

		if (more <= 0)
			return more == 0 && u->inside ? cut(s) : more;
		u->inside = true;
		n = inflate_some(u, s, dst, room, &done);
		if (n >= 0 && done) {
			u->inside = false;
			inflateReset(&u->z);
		}
	}
	return n;
}

static long zip_stored(struct unpack *u, struct source *s, uint8_t *dst, size_t room)
{
	size_t n = MIN(MIN(room, s->raw_end - s->raw_at), u->stored);

	memcpy(dst, s->raw + s->raw_at, n);
	s->raw_at += n;
	u->stored -= n;
	return (long)n;
}

static long zip_some(struct unpack *u, struct source *s, uint8_t *dst, size_t room)
{
	long n = 0;

	while (n == 0) {
		bool done = false;

		if (!u->inside) {
			int member = zip_member(s, u->behind, &u->stored);

			if (member <= 0)
				return member;
			u->inside = true;
			inflateReset(&u->z);
		}
		int more = u->stored == 0 ? 1 : need_raw(s);

		if (more <= 0)
			return more < 0 ? more : cut(s);
		if (u->stored == UINT64_MAX)
			n = inflate_some(u, s, dst, room, &done);
		else
			n = zip_stored(u, s, dst, room);
		if (done || u->stored == 0) {
			u->inside = false;
			u->behind = done;
		}
	}
	return n;
}

static int xz_open(struct unpack *u)
{
	return lzma_stream_decoder(&u->lzma, XZ_MEMORY, LZMA_CONCATENATED) == LZMA_OK ? 0 : -ENOMEM;
}

static void xz_close(struct unpack *u)
{
	lzma_end(&u->lzma);
}

static long xz_some(struct unpack *u, struct source *s, uint8_t *dst, size_t room)
{
	u->lzma.next_out = dst;
	u->lzma.avail_out = room;
	while (u->lzma.avail_out == room && !u->ended) {
		int more = need_raw(s);

		if (more < 0)
			return more;
		u->lzma.next_in = s->raw + s->raw_at;
		u->lzma.avail_in = s->raw_end - s->raw_at;
		lzma_ret ret = lzma_code(&u->lzma, more == 0 ? LZMA_FINISH : LZMA_RUN);

		s->raw_at = s->raw_end - u->lzma.avail_in;
		u->ended = ret == LZMA_STREAM_END;
		if (ret == LZMA_BUF_ERROR)
			return cut(s);
		if (ret == LZMA_MEM_ERROR || ret == LZMA_MEMLIMIT_ERROR)
			return source_fail(s, -ENOMEM, "there is no memory to unpack it");
		if (ret != LZMA_OK && !u->ended)
			return source_fail(s, -EBADMSG, "the packed data is damaged");
	}
	return (long)(room - u->lzma.avail_out);
}

static int zstd_open(struct unpack *u)
{
	u->zstd = ZSTD_createDStream();
	return u->zstd != NULL ? 0 : -ENOMEM;
}

static void zstd_close(struct unpack *u)
{
	ZSTD_freeDStream(u->zstd);
}

static long zstd_some(struct unpack *u, struct source *s, uint8_t *dst, size_t room)
{
	ZSTD_outBuffer out = { dst, room, 0 };

	while (out.pos == 0) {
		int more = need_raw(s);

		/* Without input it may still have bytes to give. */
		if (more < 0 || (more == 0 && !u->inside))
			return more;
		ZSTD_inBuffer in = { s->raw, s->raw_end, s->raw_at };
		size_t ret = ZSTD_decompressStream(u->zstd, &out, &in);

		s->raw_at = in.pos;
		if (ZSTD_isError(ret))
			return source_fail(s, -EBADMSG, "the packed data is damaged");
		u->inside = ret != 0;
		if (more == 0 && out.pos == 0)
			return u->inside ? cut(s) : 0;
	}
	return (long)out.pos;
}

static const struct unpacker unpackers[] = {
	{ "\x1f\x8b", 2, gzip_open, gzip_some, z_close },
	{ "\xfd" "7zXZ\0", 6, xz_open, xz_some, xz_close },
	{ "\x28\xb5\x2f\xfd", 4, zstd_open, zstd_some, zstd_close },
	{ "PK\3\4", 4, zip_open, zip_some, z_close },
};

int unpack_open(struct unpack **out, const struct source *s)
{
	const struct unpacker *kind = NULL;

	*out = NULL;
	for (unsigned i = 0; i < ARRAY_SIZE(unpackers) && kind == NULL; i++) {
		if (s->raw_end >= unpackers[i].magic_len &&
		    memcmp(s->raw, unpackers[i].magic, unpackers[i].magic_len) == 0)
			kind = &unpackers[i];
	}
	if (kind == NULL)
		return 0;
	struct unpack *u = calloc(1, sizeof(*u));

	if (u == NULL)
		return -ENOMEM;
	u->kind = kind;
	if (kind->open(u) != 0) {
		free(u);
		return -ENOMEM;
	}
	*out = u;
	return 0;
}

long unpack_some(struct unpack *u, struct source *s, uint8_t *dst, size_t room)
{
	return u->kind->some(u, s, dst, room);
}

void unpack_close(struct unpack *u)
{
	if (u == NULL)
		return;
	u->kind->close(u);
	free(u);
}
