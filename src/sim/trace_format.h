/*
 * The bytes of a trace file, as docs/trace-format.md describes them: for the
 * writer and the reader. All numbers are little-endian, like the machine.
 */
#ifndef STW_SIM_TRACE_FORMAT_H
#define STW_SIM_TRACE_FORMAT_H

#include <string.h>

#include "sim/trace.h"

#define TRACE_MAGIC 0x4543415254575453u /* "STWTRACE" */
#define TRACE_VERSION 1
#define TRACE_HEADER_SAMPLED 1

#define TRACE_BLOCK_MAGIC 0x4b4c4253u /* "SBLK" */
#define TRACE_END_MAGIC 0x444e4553u   /* "SEND" */

#define TRACE_CONTROL_MAX ((uint32_t)128 << 10) /* control bytes of a block */
#define TRACE_LOW_MAX (2 * TRACE_CONTROL_MAX)
#define TRACE_HIGH_MAX ((uint32_t)1 << 20)
#define TRACE_RAW_MAX (TRACE_CONTROL_MAX + TRACE_LOW_MAX + TRACE_HIGH_MAX)
/* No event takes more high bytes: six numbers of up to ten bytes and a text with its NUL. */
#define TRACE_EVENT_HIGH_MAX (TRACE_TEXT_MAX + 1 + 64)
#define TRACE_ACCESS_HIGH_MAX 12u /* the upper five bytes of a distance, and a count of seven */

struct trace_header {
	uint64_t magic;
	uint16_t version;
	uint8_t page_shift;
	uint8_t flags;
	uint32_t zero;
	uint64_t sum;     /* of the bytes before */
};

struct trace_block {
	uint32_t magic;
	uint32_t packed;  /* bytes of the zstd frame that follows */
	uint32_t control; /* raw bytes: this many of control, */
	uint32_t low;     /* then this many of low, */
	uint32_t high;    /* then this many of high */
	uint32_t events;
	uint64_t touches;
	uint64_t packed_sum;
	uint64_t sum;     /* of the bytes before */
};

struct trace_end {
	uint32_t magic;
	uint32_t zero;
	uint64_t events;
	uint64_t touches;
	uint64_t bytes;   /* of the file, this included */
	uint64_t sum;     /* of the bytes before */
};

/* Control bytes: kind in bits 0 and 1, then for accesses the lengths of two numbers, else what it is. */
#define TRACE_KIND_OTHER 3u
#define TRACE_OTHER_SWITCH 0u /* no event: another task and thread. Otherwise an op; TRACE_ACCESS is none of them */

/* Which numbers an op has, in the order in which they stand in the high bytes. */
enum trace_field {
	TRACE_HAS_TASK = 1 << 0,  /* is of a task and thread: those that the last switch named */
	TRACE_HAS_FLAGS = 1 << 1,
	TRACE_HAS_VPN = 1 << 2,
	TRACE_HAS_N = 1 << 3,
	TRACE_HAS_ARG = 1 << 4,
	TRACE_HAS_FILE = 1 << 5,
	TRACE_HAS_TEXT = 1 << 6,
};

struct trace_shape {
	const char *name;
	uint8_t fields;
	uint8_t flags;            /* those that it can have */
};

extern const struct trace_shape trace_shapes[TRACE_OPS];

/*
 * Where the next access probably is: 64 pairs of pages, one for data, one for
 * code; a thread uses the pair that its numbers choose. All 0 at the start of a block.
 */
#define TRACE_GUESSES 64

static inline unsigned trace_guess_of(uint32_t task, uint16_t thread)
{
	return (task * 31 + thread) % TRACE_GUESSES;
}

/* What has been said so far: which tasks are alive, which files known. Bit n: number n. */
struct trace_law {
	uint64_t tasks[TRACE_TASKS_MAX / 64];
	uint64_t files[TRACE_FILES_MAX / 64];
};

bool trace_law_alive(const struct trace_law *law, uint32_t task);
/* Static text that says what of the law e breaks, or NULL, and then it has happened. */
const char *trace_law_step(struct trace_law *law, const struct trace_event *e);

/* XXH3, 64 bits. */
uint64_t trace_sum(const void *bytes, size_t len);

/* How many bytes of a distance of len bytes are low ones. */
static inline unsigned trace_low_bytes(unsigned len)
{
	return MIN(len, 2);
}

static inline uint16_t trace_load16(const uint8_t *p)
{
	uint16_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

static inline uint64_t trace_load64(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

static inline void trace_store64(uint8_t *p, uint64_t v)
{
	memcpy(p, &v, sizeof(v));
}

#endif
