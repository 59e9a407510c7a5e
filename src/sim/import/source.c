#include "sim/import/source.h"

#include <unistd.h>

#include "sim/import/unpack.h"

int source_fail(struct source *s, int err, const char *what)
{
	if (s->err == 0) {
		s->err = err;
		s->packed_at = s->raw_offset - (s->raw_end - s->raw_at);
		s->what = what;
	}
	return s->err;
}

static long read_some(struct source *s, uint8_t *dst, size_t room)
{
	ssize_t n;

	do {
		n = read(s->fd, dst, room);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return source_fail(s, -errno, "it cannot be read");
	s->raw_offset += (size_t)n;
	return n;
}

int source_raw(struct source *s)
{
	if (s->raw_at > 0) {
		memmove(s->raw, s->raw + s->raw_at, s->raw_end - s->raw_at);
		s->raw_end -= s->raw_at;
		s->raw_at = 0;
	}
	if (s->raw_eof || s->raw_end == SOURCE_RAW)
		return 0;
	long n = read_some(s, s->raw + s->raw_end, SOURCE_RAW - s->raw_end);

	if (n < 0)
		return (int)n;
	s->raw_eof = n == 0;
	s->raw_end += (size_t)n;
	return n > 0;
}

int source_open(struct source *s, int fd)
{
	int more;

	memset(s, 0, sizeof(*s));
	s->fd = fd;
	s->window[0] = '\n';
	/* The longest magic has six bytes; a pipe may bring them one at a time. */
	do {
		more = source_raw(s);
	} while (more > 0 && s->raw_end < 6);
	return more < 0 ? more : unpack_open(&s->unpack, s);
}

void source_close(struct source *s)
{
	unpack_close(s->unpack);
	s->unpack = NULL;
}

/* Plain bytes: those that were looked at for a magic first, then straight from the file. */
static long take_plain(struct source *s, uint8_t *dst, size_t room)
{
	size_t n = MIN(room, s->raw_end - s->raw_at);

	if (n == 0)
		return s->raw_eof ? 0 : read_some(s, dst, room);
	memcpy(dst, s->raw + s->raw_at, n);
	s->raw_at += n;
	return (long)n;
}

int source_more(struct source *s)
{
	memmove(s->window, s->window + s->at, s->end - s->at);
	s->end -= s->at;
	s->at = 0;
	size_t room = SOURCE_WINDOW - s->end;
	long n = 0;

	if (s->err != 0)
		return s->err;
	if (room > 0 && !s->eof) {
		n = s->unpack != NULL ? unpack_some(s->unpack, s, s->window + s->end, room) :
					take_plain(s, s->window + s->end, room);
		s->eof = n == 0;
	}
	if (n > 0)
		s->end += (size_t)n;
	s->window[s->end] = '\n';
	return n < 0 ? (int)n : n > 0;
}
