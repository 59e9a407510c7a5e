/*
 * valgrind --tool=lackey --trace-mem=yes: every instruction and every load and
 * store of a program, as text, many gigabytes of it. It is read as it comes.
 *
 *     I  0401ab70,3       instruction at an address, bytes
 *      S 1fff000708,8     store
 *      L 1fff000708,8     load
 *      M 0421e4d8,4       modify: one instruction loads and stores; counts as one touch, which writes
 *     ==123== Command: ls what valgrind says itself; the command becomes the name of the task
 *
 * Threads are not told apart in it, nor are processes (--trace-children): it is one task.
 */
#include "sim/import/reader.h"

static bool is_of_valgrind(const char *p, size_t len)
{
	return len == 0 || (len >= 2 && p[0] == p[1] && (p[0] == '=' || p[0] == '-' || p[0] == '*'));
}

/* The task begins under the name of the command if that comes before the first access, as it does. */
static int begin(struct import *im, const char *line, size_t len)
{
	static const char label[] = "== Command: ";
	const char *at = line != NULL ? memmem(line, len, label, strlen(label)) : NULL;

	if (line == NULL)
		return import_task(im, 0, "lackey", strlen("lackey"));
	if (at == NULL)
		return 0;
	at += strlen(label);
	return import_task(im, 0, at, len - (size_t)(at - line));
}

/* TRACE_R, TRACE_W, TRACE_X, or 0: the line is no access. */
static uint8_t kind_of(const char *p)
{
	if (p[0] == 'I' && p[1] == ' ')
		return TRACE_X;
	if (p[0] != ' ')
		return 0;
	return p[1] == 'L' ? TRACE_R : p[1] == 'S' || p[1] == 'M' ? TRACE_W : 0;
}

int import_lackey(struct import *im)
{
	const char *line, *p;
	uint64_t address, bytes;
	size_t len;
	int err;

	while ((line = source_line(&im->source, &len, &err)) != NULL) {
		uint8_t kind = len >= 6 ? kind_of(line) : 0;

		if (kind == 0 && is_of_valgrind(line, len)) {
			err = begin(im, line, len);
			if (err != 0)
				return err;
			continue;
		}
		if (kind == 0 || line[2] != ' ')
			return import_fail(im, -EBADMSG, "it is not a line of lackey");
		p = parse_hex(line + 3, &address);
		p = p != NULL && *p == ',' ? parse_decimal(p + 1, &bytes) : NULL;
		if (p != line + len)
			return import_fail(im, -EBADMSG, "an access without address and size");
		if (unlikely(im->tasks.n == 0)) {
			err = begin(im, NULL, 0);
			if (err != 0)
				return err;
		}
		err = import_touch(im, address, bytes, 1, kind);
		if (err != 0)
			return err;
	}
	return import_end(im, err);
}
