/*
 * Fuzz target: a trace. Byte 0 chooses: an even one takes the rest as a file; an
 * odd one as the streams of a block, whose lengths of control and low bytes are
 * bytes 1 and 2, and makes a file of them that has its checksums in order, since
 * no damage at random would. What is read has the law: a writer takes it, and it
 * comes back from there.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <zstd.h>

#include "sim/trace_format.h"
#include "target.h"

#define EVENTS_MAX 10000

static void put(int fd, const void *bytes, size_t n)
{
	if (write(fd, bytes, n) != (ssize_t)n)
		abort();
}

static void put_header(int fd)
{
	struct trace_header h = { .magic = TRACE_MAGIC, .version = TRACE_VERSION, .page_shift = TRACE_PAGE_SHIFT };

	h.sum = trace_sum(&h, offsetof(struct trace_header, sum));
	put(fd, &h, sizeof(h));
}

static void put_block(int fd, const uint8_t *data, size_t size)
{
	struct trace_block b = { .magic = TRACE_BLOCK_MAGIC, .control = data[0], .low = data[1] };
	static uint8_t packed[1 << 16];

	if (size - 2 < b.control + b.low)
		return;
	b.high = (uint32_t)(size - 2) - b.control - b.low;
	size_t n = ZSTD_compress(packed, sizeof(packed), data + 2, size - 2, 1);

	if (ZSTD_isError(n))
		abort();
	b.packed = (uint32_t)n;
	b.packed_sum = trace_sum(packed, n);
	b.sum = trace_sum(&b, offsetof(struct trace_block, sum));
	put(fd, &b, sizeof(b));
	put(fd, packed, n);
}

static int memory_file(void)
{
	int fd = memfd_create("trace", MFD_CLOEXEC);

	if (fd < 0)
		abort();
	return fd;
}

/* Events of fd, one at a time; each must be one that the writer takes, if there is one. How many. */
static size_t read_all(int fd, struct trace_writer *w, uint64_t *touches)
{
	struct trace_error error = { 0 };
	struct trace_event e;
	size_t n = 0;

	lseek(fd, 0, SEEK_SET);
	struct trace_reader *r = trace_reader_open(fd, &error);

	*touches = 0;
	if (r == NULL && error.what == NULL)
		abort();
	while (r != NULL && n < EVENTS_MAX && trace_read(r, &e, 1, &error) == 1) {
		if (w != NULL && trace_write(w, &e) != 0)
			abort();
		if (e.text != NULL && strlen(e.text) != e.text_len)
			abort();
		*touches += e.op == TRACE_ACCESS ? e.n : 0;
		n++;
	}
	trace_reader_close(r);
	return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint64_t touches, again;
	struct trace_writer *w;

	if (size < 1)
		return 0;
	int fd = memory_file(), back = memory_file();

	if (data[0] % 2 == 0) {
		put(fd, data + 1, size - 1);
	} else if (size >= 3) {
		put_header(fd);
		put_block(fd, data + 1, size - 1);
	}
	if (trace_writer_open(&w, back, false) != 0)
		abort();
	size_t n = read_all(fd, w, &touches);

	if (trace_writer_close(w) != 0 || read_all(back, NULL, &again) > n || again != touches)
		abort();
	close(fd);
	close(back);
	return 0;
}
