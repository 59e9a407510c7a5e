/*
 * The writer. A block never goes over the end of the ring: what is left there is filled with zeros, because an older
 * block in it would be taken for a recent one, and the block goes to the beginning. One pwrite a block, no buffer: what
 * was written is the kernel's, and stays whatever happens to the process. It is not synced to the disk, so a machine that
 * loses its power loses what the kernel had not written by itself yet.
 */
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "cli/flight/flight.h"

uint32_t flight_sum(const void *head, size_t head_bytes, const void *payload, size_t bytes)
{
	static const uint8_t none[sizeof(uint32_t)];
	uLong sum = crc32(0, head, (uInt)(head_bytes - sizeof(none)));

	sum = crc32(sum, none, sizeof(none));
	return (uint32_t)crc32(sum, payload, (uInt)bytes);
}

static int write_at(int fd, const void *bytes, size_t len, uint64_t at)
{
	while (len > 0) {
		ssize_t n = pwrite(fd, bytes, len, (off_t)at);

		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0) {
			bytes = (const uint8_t *)bytes + n;
			len -= (size_t)n;
			at += (size_t)n;
		}
	}
	return 0;
}

static int write_header(struct flight_ring *r, const struct flight_run *run)
{
	struct { struct flight_file file; uint8_t payload[FLIGHT_HEADER - sizeof(struct flight_file)]; } h = { 0 };
	struct flight_bytes b = { 0 };
	int err = 0;

	flight_put_run(&b, run);
	if (b.failed)
		err = -ENOMEM;
	else if (b.len > sizeof(h.payload))
		err = -ENAMETOOLONG;
	if (err == 0) {
		h.file = (struct flight_file){ .magic = FLIGHT_MAGIC, .version = FLIGHT_VERSION, .bytes = (uint32_t)b.len,
					       .ring_bytes = r->ring_bytes };
		memcpy(h.payload, b.bytes, b.len);
		h.file.sum = flight_sum(&h.file, sizeof(h.file), b.bytes, b.len);
		err = write_at(r->fd, &h, sizeof(h), 0);
	}
	free(b.bytes);
	return err;
}

/* Nothing that is there is thrown away before it is known to be a plain file that no other run writes. */
static int open_file(const char *path)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
	struct stat st;
	int err = 0;

	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) != 0)
		err = -errno;
	else if (!S_ISREG(st.st_mode))
		err = -ESPIPE;
	else if (fcntl(fd, F_OFD_SETLK, &lock) != 0 && (errno == EAGAIN || errno == EACCES))
		err = -EAGAIN;
	else if (ftruncate(fd, 0) != 0)
		err = -errno;
	if (err != 0)
		close(fd);
	return err != 0 ? err : fd;
}

int flight_create(struct flight_ring *r, const char *path, uint64_t ring_bytes, const struct flight_run *run)
{
	int err;

	*r = (struct flight_ring){ .ring_bytes = ALIGN_DOWN(ring_bytes, FLIGHT_ALIGN) };
	r->fd = open_file(path);
	err = r->fd < 0 ? r->fd : write_header(r, run);
	if (err != 0)
		flight_close(r);
	return err;
}

struct flight_bytes *flight_begin(struct flight_ring *r)
{
	static const uint8_t head[sizeof(struct flight_block)];

	r->block.len = 0;
	r->block.failed = false;
	if (r->block.room == 0) {
		r->block.bytes = malloc(4096);
		r->block.room = r->block.bytes != NULL ? 4096 : 0;
		r->block.failed = r->block.bytes == NULL;
	}
	if (!r->block.failed) {
		memcpy(r->block.bytes, head, sizeof(head));
		r->block.len = sizeof(head);
	}
	return &r->block;
}

/* Zeros to the end of the ring, as far as the file goes. */
static int fill(const struct flight_ring *r)
{
	static const uint8_t zeros[4096];
	uint64_t at = r->at;
	struct stat st;
	int err = 0;

	if (fstat(r->fd, &st) != 0)
		return -errno;
	while (err == 0 && FLIGHT_HEADER + at < (uint64_t)st.st_size) {
		size_t n = MIN(sizeof(zeros), (uint64_t)st.st_size - FLIGHT_HEADER - at);

		err = write_at(r->fd, zeros, n, FLIGHT_HEADER + at);
		at += n;
	}
	return err;
}

int flight_write(struct flight_ring *r, enum flight_kind kind, uint64_t ns)
{
	struct flight_block head = { .magic = FLIGHT_BLOCK_MAGIC, .seq = r->seq, .ns = ns, .kind = kind };
	size_t payload = r->block.len - sizeof(head), len = ALIGN_UP(r->block.len, FLIGHT_ALIGN);
	int err = 0;

	if (r->block.failed)
		return -ENOMEM;
	if (payload > FLIGHT_PAYLOAD_MAX || len > r->ring_bytes)
		return -EFBIG;
	if (r->at + len > r->ring_bytes) {
		err = fill(r);
		r->at = 0;
	}
	head.bytes = (uint32_t)payload;
	head.sum = flight_sum(&head, sizeof(head), r->block.bytes + sizeof(head), payload);
	memcpy(r->block.bytes, &head, sizeof(head));
	if (err == 0)
		err = write_at(r->fd, r->block.bytes, r->block.len, FLIGHT_HEADER + r->at);
	r->at += len;
	r->seq++;
	return err;
}

void flight_close(struct flight_ring *r)
{
	if (r->fd >= 0)
		close(r->fd);
	free(r->block.bytes);
	*r = (struct flight_ring){ .fd = -1 };
}
