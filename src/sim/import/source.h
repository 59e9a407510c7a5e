/*
 * Where an importer reads from: a descriptor, unpacked on the way if its first
 * bytes say gzip, xz, zstd or zip. A window of bytes in constant memory, with
 * lines or records of a fixed size taken out of it.
 */
#ifndef STW_SIM_IMPORT_SOURCE_H
#define STW_SIM_IMPORT_SOURCE_H

#include <errno.h>
#include <string.h>

#include "base/types.h"

#define SOURCE_RAW ((size_t)64 << 10)     /* bytes that are read at once */
#define SOURCE_WINDOW ((size_t)256 << 10) /* a line cannot be longer */

struct unpack;

struct source {
	int fd;
	/* Bytes as they are in the file, [raw_at, raw_end). */
	uint8_t raw[SOURCE_RAW];
	size_t raw_at, raw_end;
	bool raw_eof;
	uint64_t raw_offset;        /* in the file, of raw_end */
	struct unpack *unpack;      /* NULL: they are taken as they are */
	/* Bytes unpacked, [at, end); window[end] is a line feed, so that who parses a line stops there. */
	uint8_t window[SOURCE_WINDOW + 1];
	size_t at, end;
	bool eof;
	uint64_t offset;            /* unpacked, of window[at] */
	uint64_t line;              /* number of the line that was taken last, 1 up */
	/* The first failure; err is 0: none. */
	int err;                    /* -EBADMSG, -ENODATA: of the packed bytes at packed_at; else of read(2) */
	uint64_t packed_at;
	const char *what;
};

/* fd stays the caller's. 0 or -errno; the source is to be closed in any case. */
int source_open(struct source *s, int fd);
void source_close(struct source *s);

/* Reads on: 1 if the window has more bytes now, 0 at the end or if it is full, or -errno. */
int source_more(struct source *s);

/* For unpack.c: raw bytes come in; 1, 0 at the end of the file, or -errno. */
int source_raw(struct source *s);
int source_fail(struct source *s, int err, const char *what);

/*
 * The next line, without its end (LF or CRLF), which is at line[*len]. NULL: see
 * *err, which means nothing otherwise: 0 at the end, -EMSGSIZE if a line is
 * longer than the window.
 */
static inline const char *source_line(struct source *s, size_t *len, int *err)
{
	for (;;) {
		uint8_t *line = s->window + s->at;
		uint8_t *lf = memchr(line, '\n', s->end - s->at + 1);
		size_t n = (size_t)(lf - line);

		if (likely(s->at + n < s->end) || (s->eof && n > 0)) {
			s->at = MIN(s->at + n + 1, s->end);
			s->offset += n + 1;
			s->line++;
			*len = n > 0 && line[n - 1] == '\r' ? n - 1 : n;
			return (const char *)line;
		}
		*err = source_more(s);
		if (*err > 0 || (*err == 0 && s->eof && s->at < s->end))
			continue;
		if (*err == 0 && !s->eof)
			*err = -EMSGSIZE;
		return NULL;
	}
}

/* The next size bytes. NULL: see *err, 0 at the end, -ENODATA if there are fewer left. */
static inline const uint8_t *source_record(struct source *s, size_t size, int *err)
{
	while (unlikely(s->end - s->at < size)) {
		*err = source_more(s);
		if (*err > 0)
			continue;
		if (*err == 0 && s->at < s->end)
			*err = -ENODATA;
		return NULL;
	}
	const uint8_t *record = s->window + s->at;

	s->at += size;
	s->offset += size;
	return record;
}

#endif
