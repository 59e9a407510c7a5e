/*
 * What may stand in a trace: one table of ops, one function that follows a
 * stream of events. Writer and reader call it with the same events in the same
 * order, so what one lets through the other takes.
 *
 * Accesses are most of a trace and do not come here from the reader, which
 * checks many of them at once (trace_read.c).
 */
#include "sim/trace_format.h"

#define XXH_INLINE_ALL
#define XXH_NO_STREAM
#include <xxhash.h>

#define RIGHTS (TRACE_R | TRACE_W | TRACE_X)
#define MAP_FLAGS (RIGHTS | TRACE_MAP_SHARED | TRACE_MAP_HEAP | TRACE_MAP_STACK | TRACE_MAP_LOCKED)
#define RANGE (TRACE_HAS_VPN | TRACE_HAS_N)
#define IO (TRACE_HAS_N | TRACE_HAS_ARG | TRACE_HAS_FILE)

const struct trace_shape trace_shapes[TRACE_OPS] = {
	[TRACE_ACCESS] = { "access", TRACE_HAS_TASK | TRACE_HAS_FLAGS | RANGE, RIGHTS },
	[TRACE_TASK] = { "task", TRACE_HAS_TASK | TRACE_HAS_TEXT, 0 },
	[TRACE_FORK] = { "fork", TRACE_HAS_TASK | TRACE_HAS_ARG, 0 },
	[TRACE_EXEC] = { "exec", TRACE_HAS_TASK | TRACE_HAS_TEXT, 0 },
	[TRACE_EXIT] = { "exit", TRACE_HAS_TASK, 0 },
	[TRACE_MMAP] = { "mmap", TRACE_HAS_TASK | TRACE_HAS_FLAGS | RANGE | IO, MAP_FLAGS },
	[TRACE_MUNMAP] = { "munmap", TRACE_HAS_TASK | RANGE, 0 },
	[TRACE_MPROTECT] = { "mprotect", TRACE_HAS_TASK | TRACE_HAS_FLAGS | RANGE, RIGHTS },
	[TRACE_MREMAP] = { "mremap", TRACE_HAS_TASK | RANGE | TRACE_HAS_ARG, 0 },
	[TRACE_DROP] = { "drop", TRACE_HAS_TASK | RANGE, 0 },
	[TRACE_FILE] = { "file", TRACE_HAS_N | TRACE_HAS_FILE | TRACE_HAS_TEXT, 0 },
	[TRACE_READ] = { "read", TRACE_HAS_TASK | IO, 0 },
	[TRACE_WRITE] = { "write", TRACE_HAS_TASK | IO, 0 },
	[TRACE_FSYNC] = { "fsync", TRACE_HAS_TASK | TRACE_HAS_FILE, 0 },
	[TRACE_TIME] = { "time", TRACE_HAS_TASK | TRACE_HAS_ARG, 0 },
	[TRACE_NOTE] = { "note", TRACE_HAS_TEXT, 0 },
};

const char *trace_op_name(unsigned op)
{
	return trace_shapes[op].name;
}

static bool bit_test(const uint64_t *bits, uint64_t n)
{
	return bits[n / 64] >> n % 64 & 1;
}

static void bit_set(uint64_t *bits, uint64_t n)
{
	bits[n / 64] |= (uint64_t)1 << n % 64;
}

static void bit_clear(uint64_t *bits, uint64_t n)
{
	bits[n / 64] &= ~((uint64_t)1 << n % 64);
}

bool trace_law_alive(const struct trace_law *law, uint32_t task)
{
	return task < TRACE_TASKS_MAX && bit_test(law->tasks, task);
}

/* Law 2: [start, start + n) is not empty and ends at 2^52 pages at most. */
static bool is_range(uint64_t start, uint64_t n)
{
	return n > 0 && n < TRACE_PAGES_MAX && start <= TRACE_PAGES_MAX - n;
}

static const char *check_numbers(const struct trace_event *e)
{
	switch (e->op) {
	case TRACE_ACCESS:
		if (__builtin_popcount(e->flags) != 1)
			return "an access that is not one of read, write and execute";
		return e->vpn < TRACE_PAGES_MAX && e->n > 0 && e->n < TRACE_PAGES_MAX ? NULL : "an access out of range";
	case TRACE_MREMAP:
		if (!is_range(e->arg, e->n))
			return "a range that is empty or too far up";
		/* fallthrough */
	case TRACE_MMAP:
	case TRACE_MUNMAP:
	case TRACE_MPROTECT:
	case TRACE_DROP:
		if (!is_range(e->vpn, e->n))
			return "a range that is empty or too far up";
		return e->op != TRACE_MMAP || is_range(e->pgoff, e->n) ? NULL : "a part of a file that is too far up";
	case TRACE_READ:
	case TRACE_WRITE:
		return is_range(e->pgoff, e->n) ? NULL : "a part of a file that is empty or too far up";
	case TRACE_FILE:
		return e->n < TRACE_PAGES_MAX ? NULL : "a file that is too large";
	default:
		return NULL;
	}
}

/* Laws 3 and 4. */
static const char *check_names(const struct trace_law *law, const struct trace_event *e, unsigned fields)
{
	if (e->op == TRACE_TASK) {
		if (e->task >= TRACE_TASKS_MAX)
			return "a task whose number is too large";
		return bit_test(law->tasks, e->task) ? "a task begins that is there already" : NULL;
	}
	if ((fields & TRACE_HAS_TASK) && !trace_law_alive(law, e->task))
		return "an event of a task that is not there";
	if (e->op == TRACE_FORK && (e->arg >= TRACE_TASKS_MAX || bit_test(law->tasks, e->arg)))
		return "a child whose number is too large or taken";
	if (e->op == TRACE_FILE)
		return e->file > 0 && e->file < TRACE_FILES_MAX ? NULL : "a file whose number is 0 or too large";
	if (!(fields & TRACE_HAS_FILE) || (e->op == TRACE_MMAP && e->file == 0))
		return NULL;
	return e->file < TRACE_FILES_MAX && bit_test(law->files, e->file) ? NULL : "a file that was not announced";
}

static bool is_text(const struct trace_event *e)
{
	if (e->text == NULL)
		return e->text_len == 0;
	return e->text_len <= TRACE_TEXT_MAX && memchr(e->text, '\0', e->text_len) == NULL;
}

const char *trace_law_step(struct trace_law *law, const struct trace_event *e)
{
	const char *why;

	if (e->op >= TRACE_OPS)
		return "an event of an unknown kind";
	unsigned fields = trace_shapes[e->op].fields;

	if ((fields & TRACE_HAS_FLAGS) && (e->flags & ~trace_shapes[e->op].flags))
		return "flags that the event cannot have";
	if ((fields & TRACE_HAS_TEXT) && !is_text(e))
		return "a text that is too long, or has a NUL in it";
	why = check_numbers(e);
	if (why == NULL)
		why = check_names(law, e, fields);
	if (why != NULL)
		return why;

	if (e->op == TRACE_TASK)
		bit_set(law->tasks, e->task);
	else if (e->op == TRACE_FORK)
		bit_set(law->tasks, e->arg);
	else if (e->op == TRACE_EXIT)
		bit_clear(law->tasks, e->task);
	else if (e->op == TRACE_FILE)
		bit_set(law->files, e->file);
	return NULL;
}

uint64_t trace_sum(const void *bytes, size_t len)
{
	return XXH3_64bits(bytes, len);
}
