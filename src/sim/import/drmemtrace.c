/*
 * drmemtrace of DynamoRIO, offline and post-processed (drmemtrace.*.trace.gz or
 * .zip), one file a thread: entries of 12 bytes, packed, little-endian (its
 * common/trace_entry.h),
 *
 *     0 u16 type    2 u16 size    4 u64 address, or what the type says
 *
 * Reads, writes and instructions are touches; a bundle is instructions that
 * follow each other, its address field has their lengths. Entries of a thread
 * and of a process say whose the following ones are. Prefetches, flushes,
 * encodings and markers are passed over: they touch nothing, or not surely.
 */
#include <stdlib.h>

#include "sim/import/reader.h"

#define ENTRY_BYTES 12u
#define BUNDLE_MAX 8u /* lengths that fit in an address field */

enum entry_type {
	ENTRY_READ = 0,
	ENTRY_WRITE = 1,
	ENTRY_INSTR = 10, /* to 16: branches of all kinds */
	ENTRY_INSTR_RETURN = 16,
	ENTRY_BUNDLE = 17,
	ENTRY_THREAD = 22,
	ENTRY_PID = 24,
	ENTRY_HEADER = 25,
	ENTRY_INSTR_SYSENTER = 31,
	ENTRY_INSTR_TAKEN_JUMP = 48,
	ENTRY_INSTR_UNTAKEN_JUMP = 49,
	ENTRY_TYPES = 64, /* more than there are: something else is read */
};

static bool is_instruction(unsigned type)
{
	return (type >= ENTRY_INSTR && type <= ENTRY_INSTR_RETURN) || type == ENTRY_INSTR_SYSENTER ||
	       type == ENTRY_INSTR_TAKEN_JUMP || type == ENTRY_INSTR_UNTAKEN_JUMP;
}

/* What a trace of threads has to know beyond the import. */
struct state {
	uint64_t next_ip;  /* behind the last instruction */
	uint32_t task_of[UINT16_MAX + 1]; /* of a thread, plus 1; 0: not named yet */
};

/* Accesses before any process was named: the trace is of one that is not. */
static int need_task(struct import *im)
{
	return im->tasks.n > 0 ? 0 : import_task(im, 0, "drmemtrace", strlen("drmemtrace"));
}

static int touch(struct import *im, uint64_t address, uint64_t size, uint8_t flag)
{
	int err = need_task(im);

	return err != 0 ? err : import_touch(im, address, size, 1, flag);
}

static int touch_bundle(struct import *im, struct state *s, unsigned n, const uint8_t *length)
{
	int err = 0;

	if (n > BUNDLE_MAX)
		return import_fail(im, -EBADMSG, "a bundle of more instructions than can be");
	for (unsigned i = 0; i < n && err == 0; i++) {
		err = touch(im, s->next_ip, length[i], TRACE_X);
		s->next_ip += length[i];
	}
	return err;
}

/* A thread that was there before is still in its process. */
static int switch_thread(struct import *im, struct state *s, uint64_t tid)
{
	int err = import_thread(im, tid);

	if (err == 0 && s->task_of[im->thread] != 0)
		im->task = s->task_of[im->thread] - 1;
	return err;
}

static int switch_task(struct import *im, struct state *s, uint64_t pid)
{
	int err = import_task(im, pid, "drmemtrace", strlen("drmemtrace"));

	if (err == 0)
		s->task_of[im->thread] = im->task + 1;
	return err;
}

static int take(struct import *im, struct state *s, const uint8_t *entry)
{
	uint16_t type, size;
	uint64_t address;

	memcpy(&type, entry, sizeof(type));
	memcpy(&size, entry + 2, sizeof(size));
	memcpy(&address, entry + 4, sizeof(address));
	if (type == ENTRY_READ || type == ENTRY_WRITE)
		return touch(im, address, size, type == ENTRY_READ ? TRACE_R : TRACE_W);
	if (is_instruction(type)) {
		s->next_ip = address + size;
		/* Of size 0: says only where the following access comes from. */
		return size > 0 ? touch(im, address, size, TRACE_X) : 0;
	}
	switch (type) {
	case ENTRY_BUNDLE:
		return touch_bundle(im, s, size, entry + 4);
	case ENTRY_THREAD:
		return switch_thread(im, s, address);
	case ENTRY_PID:
		return switch_task(im, s, address);
	default:
		return type < ENTRY_TYPES ? 0 : import_fail(im, -EBADMSG, "an entry of an unknown type");
	}
}

int import_drmemtrace(struct import *im)
{
	struct state *s = calloc(1, sizeof(*s));
	const uint8_t *entry;
	bool first = true;
	int err, stop = 0;

	if (s == NULL)
		return import_fail(im, -ENOMEM, "there is no memory for the import");
	while (stop == 0 && (entry = source_record(&im->source, ENTRY_BYTES, &err)) != NULL) {
		if (first && (entry[0] != ENTRY_HEADER || entry[1] != 0))
			stop = import_fail(im, -EBADMSG, "it does not begin with the header of a drmemtrace");
		else
			stop = take(im, s, entry);
		first = false;
	}
	free(s);
	return stop != 0 ? stop : import_end(im, err);
}
