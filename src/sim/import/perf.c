/*
 * perf script -F comm,pid,tid,time,event,addr,ip,sym of what perf record -e
 * page-faults -c 1 -d recorded: the first touch of each page, and those after
 * it went out; a few lines for what lackey tells in millions.
 *
 *                 bash 10297/10297   694.800228: page-faults:     7f0b4020cb70 _start     7f0b4020cb70 _start
 *     command name     pid   tid     seconds     event            address      its symbol instruction  its symbol
 *
 * Names of commands and symbols may have blanks in them, so what is looked for
 * is a "pid/tid" that has a time behind it. A fault does not say whether it was a
 * read: the page of the instruction itself was executed, others count as written.
 * Its time is that of the wall: from one fault of a thread to its next, waiting
 * included.
 */
#include <stdlib.h>

#include "sim/import/reader.h"

struct fault {
	const char *name;
	size_t name_len;
	uint64_t pid, tid, time_ns, address;
	bool code;
};

static const char *skip_blanks(const char *p)
{
	while (*p == ' ' || *p == '\t')
		p++;
	return p;
}

/* "pid/tid" at p; behind it, or NULL. */
static const char *parse_ids(const char *p, struct fault *f)
{
	p = parse_decimal(p, &f->pid);
	if (p == NULL || *p != '/')
		return NULL;
	p = parse_decimal(p + 1, &f->tid);
	return p != NULL && *p == ' ' ? skip_blanks(p) : NULL;
}

/* "seconds.fraction:", behind an optional "[cpu]". */
static const char *parse_time(const char *p, struct fault *f)
{
	uint64_t seconds, fraction;
	const char *dot;

	if (*p == '[') {
		p = parse_decimal(p + 1, &fraction);
		if (p == NULL || *p != ']')
			return NULL;
		p = skip_blanks(p + 1);
	}
	p = parse_decimal(p, &seconds);
	if (p == NULL || *p != '.' || seconds > UINT64_MAX / 2000000000)
		return NULL;
	dot = p;
	p = parse_decimal(dot + 1, &fraction);
	if (p == NULL || *p != ':' || p - dot > 10)
		return NULL;
	for (long digits = p - dot - 1; digits < 9; digits++)
		fraction *= 10;
	f->time_ns = seconds * 1000000000 + fraction;
	return skip_blanks(p + 1);
}

/* Is the page of the address among the numbers that follow, one of which is the instruction's? */
static bool executes(const char *p, const char *end, uint64_t address)
{
	while (p < end) {
		uint64_t v;
		const char *behind = parse_hex(p, &v);

		if (behind != NULL && (behind == end || *behind == ' ') && (v ^ address) >> TRACE_PAGE_SHIFT == 0)
			return true;
		while (p < end && *p != ' ')
			p++;
		p = skip_blanks(p);
	}
	return false;
}

/* What is behind the time: "event: address …". */
static bool parse_event(const char *p, const char *end, struct fault *f)
{
	const char *event = p;

	while (p < end && *p != ' ')
		p++;
	/* "page-faults:", "page-faults:u:", "minor-faults:", "major-faults:". */
	if (memmem(event, (size_t)(p - event), "faults:", strlen("faults:")) == NULL)
		return false;
	p = parse_hex(skip_blanks(p), &f->address);
	if (p == NULL || p > end)
		return false;
	f->code = executes(skip_blanks(p), end, f->address);
	return true;
}

/* 1: a fault; 0: not; -1: begins like one and goes on otherwise. */
static int parse_line(const char *line, size_t len, struct fault *f)
{
	const char *end = line + len, *start = skip_blanks(line);

	for (const char *p = start; p < end; p = skip_blanks(p)) {
		const char *behind = parse_ids(p, f);

		if (behind != NULL)
			behind = parse_time(behind, f);
		if (behind != NULL && behind < end) {
			f->name = start;
			f->name_len = (size_t)(p - start);
			while (f->name_len > 0 && start[f->name_len - 1] == ' ')
				f->name_len--;
			return parse_event(behind, end, f) ? 1 : -1;
		}
		while (p < end && *p != ' ' && *p != '\t')
			p++;
	}
	return 0;
}

/* The time that passed for the thread since its last fault. *last is by thread number. */
static int add_time(struct import *im, uint64_t **last, size_t *room, uint64_t time_ns)
{
	struct trace_event e = { .op = TRACE_TIME, .task = im->task, .thread = im->thread };

	if (im->thread >= *room) {
		size_t more = (size_t)im->thread * 2 + 64;
		uint64_t *times = realloc(*last, more * sizeof(**last));

		if (times == NULL)
			return import_fail(im, -ENOMEM, "there is no memory for more threads");
		memset(times + *room, 0, (more - *room) * sizeof(**last));
		*last = times;
		*room = more;
	}
	uint64_t was = (*last)[im->thread];

	(*last)[im->thread] = time_ns;
	if (was == 0 || time_ns <= was)
		return 0;
	e.arg = time_ns - was;
	return import_event(im, &e);
}

static int add_fault(struct import *im, const struct fault *f, uint64_t **last, size_t *room)
{
	int err = import_thread(im, f->tid);

	if (err == 0)
		err = import_task(im, f->pid, f->name, f->name_len);
	if (err == 0)
		err = add_time(im, last, room, f->time_ns);
	return err != 0 ? err : import_touch(im, f->address, 1, 1, f->code ? TRACE_X : TRACE_W);
}

int import_perf(struct import *im)
{
	uint64_t *last = NULL;
	size_t room = 0, len;
	const char *line;
	int err = 0, stop = 0;

	while (stop == 0 && (line = source_line(&im->source, &len, &err)) != NULL) {
		struct fault f;
		/* Comments, and lines of call chains, which begin with a tab. */
		int kind = len == 0 || line[0] == '#' || line[0] == '\t' ? 0 : parse_line(line, len, &f);

		if (kind == 1)
			stop = add_fault(im, &f, &last, &room);
		else if (kind < 0)
			stop = import_fail(im, -EBADMSG, "it is not a page fault with its address");
		else if (len > 0 && line[0] != '#' && line[0] != '\t')
			stop = import_fail(im, -EBADMSG, "it is not a line of perf script");
	}
	free(last);
	return stop != 0 ? stop : import_end(im, err);
}
