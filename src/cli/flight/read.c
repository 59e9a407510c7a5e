/*
 * The reader looks for blocks wherever one can begin, so that damage costs the blocks that it is in, and tells where the
 * first is: behind the last block in front of a gap in the numbers; at the beginning of the ring if no block is there; behind
 * the newest block if the ring has not come round yet (the file was cut, or its writer killed in the middle of a block). In
 * a ring that has come round, what is behind the newest block is the half of the oldest one that is left, as it should be.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/flight/flight.h"
#include "cli/msg.h"

struct scan {
	const uint8_t *bytes;
	size_t size;
	size_t room;              /* for records */
};

/* The size of the whole block at `at`, 0: there is none. */
static size_t block_at(const struct scan *s, size_t at, struct flight_record *r)
{
	struct flight_block b;

	if (s->size - at < sizeof(b))
		return 0;
	memcpy(&b, s->bytes + at, sizeof(b));
	if (b.magic != FLIGHT_BLOCK_MAGIC || b.bytes > s->size - at - sizeof(b) || b.bytes > FLIGHT_PAYLOAD_MAX)
		return 0;
	if (flight_sum(&b, sizeof(b), s->bytes + at + sizeof(b), b.bytes) != b.sum)
		return 0;
	*r = (struct flight_record){ .kind = (enum flight_kind)b.kind, .seq = b.seq, .ns = b.ns,
				     .payload = s->bytes + at + sizeof(b), .bytes = b.bytes };
	return sizeof(b) + b.bytes;
}

static bool add(struct flight *f, struct scan *s, const struct flight_record *r)
{
	if (f->nr == s->room) {
		size_t room = s->room != 0 ? 2 * s->room : 256;
		struct flight_record *more = reallocarray(f->record, room, sizeof(*more));

		if (more == NULL)
			return false;
		f->record = more;
		s->room = room;
	}
	f->record[f->nr++] = *r;
	return true;
}

static int by_seq(const void *a, const void *b)
{
	uint64_t x = ((const struct flight_record *)a)->seq, y = ((const struct flight_record *)b)->seq;

	return (x > y) - (x < y);
}

/* A block that was copied, by whoever damaged the file, counts once. */
static void sort(struct flight *f)
{
	size_t kept = 0;

	if (f->nr > 1)
		qsort(f->record, f->nr, sizeof(*f->record), by_seq);
	for (size_t i = 0; i < f->nr; i++)
		if (kept == 0 || f->record[i].seq != f->record[kept - 1].seq)
			f->record[kept++] = f->record[i];
	f->nr = kept;
}

static bool is_zero(const uint8_t *bytes, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (bytes[i] != 0)
			return false;
	return true;
}

static int scan_blocks(struct flight *f, struct scan *s)
{
	struct flight_record r;

	for (size_t at = FLIGHT_HEADER; at < s->size;) {
		size_t bytes = block_at(s, at, &r);

		if (bytes != 0 && !add(f, s, &r))
			return -ENOMEM;
		at += bytes != 0 ? ALIGN_UP(bytes, FLIGHT_ALIGN) : FLIGHT_ALIGN;
	}
	return 0;
}

static size_t begin_of(const struct scan *s, const struct flight_record *r)
{
	return (size_t)(r->payload - s->bytes) - sizeof(struct flight_block);
}

static size_t end_of(const struct scan *s, const struct flight_record *r)
{
	return ALIGN_UP((size_t)(r->payload - s->bytes) + r->bytes, FLIGHT_ALIGN);
}

static uint64_t find_damage(const struct flight *f, const struct scan *s)
{
	const struct flight_record *newest = f->nr > 0 ? &f->record[f->nr - 1] : NULL;
	bool begins = false;

	for (size_t i = 0; i < f->nr; i++) {
		begins |= begin_of(s, &f->record[i]) == FLIGHT_HEADER;
		if (i + 1 < f->nr && f->record[i + 1].seq != f->record[i].seq + 1)
			return end_of(s, &f->record[i]);
	}
	if (!begins && s->size > FLIGHT_HEADER)
		return FLIGHT_HEADER;
	if (newest != NULL && f->record[0].seq == 0 && end_of(s, newest) < s->size &&
	    !is_zero(s->bytes + end_of(s, newest), s->size - end_of(s, newest)))
		return end_of(s, newest);
	return 0;
}

static int parse_header(struct flight *f, const uint8_t *bytes, size_t size, uint64_t *at, const char **what)
{
	struct flight_file h;

	*at = 0;
	*what = "no recording of steward run --record";
	if (size < sizeof(h))
		return -EINVAL;
	memcpy(&h, bytes, sizeof(h));
	if (h.magic != FLIGHT_MAGIC)
		return -EINVAL;
	*at = offsetof(struct flight_file, version);
	*what = "of another version of Steward";
	if (h.version != FLIGHT_VERSION)
		return -EINVAL;
	*at = size < FLIGHT_HEADER ? size : sizeof(h);
	*what = size < FLIGHT_HEADER ? "cut in its header" : "its header is damaged";
	if (size < FLIGHT_HEADER || h.bytes > FLIGHT_HEADER - sizeof(h) ||
	    flight_sum(&h, sizeof(h), bytes + sizeof(h), h.bytes) != h.sum || !flight_get_run(bytes + sizeof(h), h.bytes, &f->run))
		return -EINVAL;
	f->ring_bytes = h.ring_bytes;
	return 0;
}

int flight_parse(struct flight *f, const uint8_t *bytes, size_t size, uint64_t *at, const char **what)
{
	struct scan s = { .bytes = bytes, .size = size };
	int err;

	*f = (struct flight){ 0 };
	err = parse_header(f, bytes, size, at, what);
	if (err == 0)
		err = scan_blocks(f, &s);
	if (err != 0) {
		flight_free(f);
		return err;
	}
	sort(f);
	f->damage_at = find_damage(f, &s);
	return 0;
}

static int map_file(const char *path, void **map, size_t *size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), err = 0;
	struct stat st;

	*map = NULL;
	*size = 0;
	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) != 0)
		err = -errno;
	else if (!S_ISREG(st.st_mode))
		err = -ESPIPE;
	if (err == 0 && st.st_size > 0) {
		*map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
		*size = (size_t)st.st_size;
		if (*map == MAP_FAILED) {
			err = -errno;
			*map = NULL;
		}
	}
	close(fd);
	return err;
}

int flight_open(struct flight *f, const char *path)
{
	const char *what;
	uint64_t at;
	size_t size;
	void *map;
	int err = map_file(path, &map, &size);

	if (err == -ESPIPE)
		return msg_fail(EXIT_USAGE, path, "not a file; save the recording as one");
	if (err != 0)
		return msg_fail(EXIT_USAGE, path, "it cannot be opened (%s); check the name", strerror(-err));
	err = flight_parse(f, map, size, &at, &what);
	if (err != 0 && map != NULL)
		munmap(map, size);
	if (err == -EINVAL)
		return msg_fail(EXIT_USAGE, path, "byte %llu: %s; get or make it again", (unsigned long long)at, what);
	if (err != 0)
		return msg_fail(1, path, "%s; try again with more memory", strerror(-err));
	f->map = map;
	f->size = size;
	return 0;
}

void flight_free(struct flight *f)
{
	if (f->map != NULL)
		munmap(f->map, f->size);
	free(f->record);
	*f = (struct flight){ 0 };
}
