/*
 * Fuzz target: input of the importers. Byte 0 chooses the format, the rest is
 * the input, packed or not. What is imported is a trace that can be read to its
 * end; what is not has a reason, and a place if it is about the input.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "sim/import/import.h"
#include "target.h"

#define OUT_MAX ((uint64_t)64 << 20) /* what 8 KiB of input, packed a thousand times, become */

static void check_trace(int fd)
{
	static struct trace_event e[256];
	struct trace_error error;
	struct trace_totals t;
	uint64_t events = 0;
	long n;

	lseek(fd, 0, SEEK_SET);
	struct trace_reader *r = trace_reader_open(fd, &error);

	if (r == NULL || !trace_reader_totals(r, &t) || t.touches == 0 || t.bytes > OUT_MAX)
		abort();
	while ((n = trace_read(r, e, 256, &error)) > 0)
		events += (uint64_t)n;
	if (n != 0 || events != t.events)
		abort();
	trace_reader_close(r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct import_error error;

	if (size < 1)
		return 0;
	int in = memfd_create("in", MFD_CLOEXEC), out = memfd_create("out", MFD_CLOEXEC);

	if (in < 0 || out < 0 || write(in, data + 1, size - 1) != (ssize_t)size - 1)
		abort();
	lseek(in, 0, SEEK_SET);
	int err = import_run(&importers[data[0] % nr_importers], in, out, &error);

	if (err == 0)
		check_trace(out);
	else if (error.err != err || error.what == NULL || (err != -EBADMSG && err != -ENODATA && err != -ENOMEM))
		abort();
	close(in);
	close(out);
	return 0;
}
