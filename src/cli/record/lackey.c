/*
 * Lackey's log. Lines that matter, and what becomes of them:
 *
 *     I  04001090,3                          an instruction was fetched       a touch, executed
 *      L 1ffeffe7e0,8   S …   M …            load, store, both                touches, read and written
 *     SYSCALL[7855,1](9) sys_mmap ( 0x0, … ) --> [pre-success] Success(0x4a2c000)
 *     SYSCALL[7855,1](0) sys_read ( 3, 0x1ff…, 100 ) --> [async] ...          begun;
 *     SYSCALL[7855,1](0) ... [async] --> Success(0x64)                        and done
 *     … sys_clone ( 1200011, … )   clone(fork): process 7855 created child 7858
 *     ==7858== Lackey, an example Valgrind tool                               a new image (exec)
 *     --7855--   SCHED[2]:  acquired lock (…)                                 thread 2 goes on
 *
 * Nothing in a line of an access says which process it is of, and the children of a fork go on in the same
 * log. So the log comes in pieces, each with the process that wrote it (exact.c), and every process has its own
 * unfinished line, thread and calls that wait for their result.
 *
 * Forks. The child may speak first, or the parent. Whichever it is, the parent stands inside of its call: what it
 * did before came before both, and what it does next comes after its own line. So the child is born at the
 * first sign of it. A pid that was never heard of is the child of the process whose last line is an unfinished fork;
 * of several such processes the one that the kernel calls its parent.
 *
 * A log is read as it is. A name of a file that contains a newline breaks its line in two; both are
 * then skipped, or taken for what they look like.
 */
#include "cli/record/lackey.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>

#include "cli/record/valgrind.h"

#define LINE_MAX_BYTES 8192 /* a path of 4096 and what stands around it */
#define THREADS 512         /* valgrind numbers them from 1 and has 500 */

struct call_begun {
	struct traced_call call;
	bool waits; /* for its result */
};

struct lackey_process {
	struct tracee t;
	uint64_t start;                /* as the kernel has it; 0: it was gone before it was looked at */
	bool ended;                    /* what it still says is valgrind's own */
	bool overlong;                 /* the rest of the line is skipped */
	unsigned thread;               /* that runs, as valgrind numbers it */
	uint16_t number[THREADS];      /* in the trace; 0: none yet */
	struct call_begun *begun[THREADS];
	char exec[LINE_MAX_BYTES];     /* what it was to become, when last heard */
	uint64_t gone_at;              /* bytes of log when it was first found gone; 0: it was there */
	size_t len;
	char line[LINE_MAX_BYTES];     /* the unfinished one */
};

static struct lackey_process *find(struct lackey *l, int32_t pid)
{
	for (size_t i = 0; i < l->nr; i++) {
		struct lackey_process *p = l->process[i];

		if (p->t.pid != pid)
			continue;
		/* To the front: the one that speaks goes on speaking. */
		l->process[i] = l->process[0];
		l->process[0] = p;
		return p;
	}
	return NULL;
}

static struct lackey_process *add(struct lackey *l, int32_t pid)
{
	struct lackey_process *p = calloc(1, sizeof(*p));
	struct procstat s;

	if (p != NULL && l->nr == l->room) {
		size_t room = MAX(16, 2 * l->room);
		struct lackey_process **more = realloc(l->process, room * sizeof(*more));

		if (more == NULL) {
			free(p);
			p = NULL;
		} else {
			l->process = more;
			l->room = room;
		}
	}
	if (p == NULL) {
		l->r->err = -ENOMEM;
		return NULL;
	}
	p->t.pid = pid;
	p->start = l->look(pid, &s) == 0 ? s.start : 0;
	p->thread = 1;
	l->process[l->nr++] = p;
	return p;
}

static void end(struct lackey *l, struct lackey_process *p)
{
	if (!p->ended) {
		valgrind_time(l->r, &p->t);
		tracee_exit(l->r, &p->t);
	}
	p->ended = true;
}

static void drop(struct lackey *l, struct lackey_process *p)
{
	size_t i = 0;

	end(l, p);
	while (l->process[i] != p)
		i++;
	l->process[i] = l->process[--l->nr];
	for (i = 0; i < THREADS; i++)
		free(p->begun[i]);
	free(p);
}

static void fork_process(struct lackey *l, struct lackey_process *parent, int32_t pid)
{
	struct lackey_process *child = add(l, pid);

	if (child == NULL)
		return;
	child->thread = parent->thread;
	tracee_fork(l->r, &child->t, &parent->t);
	child->number[child->thread] = child->t.thread;
}

static uint16_t thread_number(struct lackey *l, struct lackey_process *p)
{
	uint16_t *number = &p->number[p->thread];

	if (*number == 0)
		*number = recording_thread(l->r);
	return *number;
}

/* Decimal, or hexadecimal with 0x in front or if hex says so. Returns what follows, or NULL. */
static const char *parse_number(const char *s, bool hex, uint64_t *value)
{
	const char *first;
	uint64_t v = 0;

	if (s[0] == '0' && s[1] == 'x') {
		hex = true;
		s += 2;
	}
	for (first = s;; s++) {
		unsigned digit = (unsigned)*s - '0';

		if (hex && digit > 9)
			digit = (unsigned)(*s | 0x20) - 'a' < 6 ? (unsigned)(*s | 0x20) - 'a' + 10 : 16;
		if (digit >= (hex ? 16 : 10))
			break;
		v = v * (hex ? 16 : 10) + digit;
	}
	*value = v;
	return s > first ? s : NULL;
}

/* "…,SIZE" after the letter: an access. */
static void follow_access(struct lackey *l, struct lackey_process *p, const char *line)
{
	char letter = line[0] == 'I' ? 'I' : line[1];
	uint16_t thread = thread_number(l, p);
	uint64_t addr, size;
	const char *s = parse_number(line + 3, true, &addr);

	if (s == NULL || *s != ',' || parse_number(s + 1, false, &size) == NULL || size > PAGE_SIZE)
		return;
	if (letter == 'I') {
		valgrind_touch(l->r, &p->t, thread, TRACE_X, addr, size);
		valgrind_instruction(l->r, &p->t);
	}
	if (letter == 'L' || letter == 'M')
		valgrind_touch(l->r, &p->t, thread, TRACE_R, addr, size);
	if (letter == 'S' || letter == 'M')
		valgrind_touch(l->r, &p->t, thread, TRACE_W, addr, size);
}

/*
 * The end of a text among arguments: it may contain anything, but what follows it are numbers, so it is the last "), "
 * before the arguments end. NULL: it has none.
 */
static char *text_end(char *s)
{
	char *end = NULL, *last = strstr(s, " )[");

	for (char *arrow = strstr(s, " ) -->"); arrow != NULL; arrow = strstr(arrow + 1, " ) -->"))
		last = arrow;
	for (char *at = strstr(s, "), "); at != NULL && (last == NULL || at < last); at = strstr(at + 1, "), "))
		end = at;
	return end;
}

/* "( 3, 0x10a01d(/etc/passwd), 524354 )…": numbers, some with a text after them. Returns what follows. */
static char *parse_arguments(char *s, struct traced_call *c)
{
	s = strchr(s, '(');
	while (s != NULL && c->nr_args < ARRAY_SIZE(c->arg)) {
		const char *after = parse_number(s + 1 + strspn(s + 1, " "), false, &c->arg[c->nr_args]);
		char *end;

		if (after == NULL)
			break;
		c->nr_args++;
		s = (char *)(uintptr_t)after;
		if (*s == '(') {
			end = text_end(s);
			if (end == NULL)
				break;
			*end = '\0';
			if (c->path == NULL)
				c->path = s + 1;
			s = end + 1;
		}
		if (*s != ',')
			break;
	}
	return s;
}

/* "Success(0x64)" in s. False: failed, or not known yet. */
static bool parse_result(const char *s, uint64_t *result)
{
	s = strstr(s, "Success(");
	return s != NULL && parse_number(s + strlen("Success("), false, result) != NULL;
}

/* The call waits for its result in a later line. Its path moves behind it. */
static void call_waits(struct lackey *l, struct lackey_process *p, const struct traced_call *c)
{
	size_t len = c->path != NULL ? strlen(c->path) + 1 : 0;
	struct call_begun *b = malloc(sizeof(*b) + len);

	free(p->begun[p->thread]);
	p->begun[p->thread] = b;
	if (b == NULL) {
		l->r->err = -ENOMEM;
		return;
	}
	b->call = *c;
	b->waits = true;
	if (len > 0)
		b->call.path = memcpy(b + 1, c->path, len);
}

static void call_done(struct lackey *l, struct lackey_process *p, const char *rest)
{
	struct call_begun *b = p->begun[p->thread];

	if (b == NULL || !b->waits)
		return;
	b->waits = false;
	if (parse_result(rest, &b->call.result))
		valgrind_call(l->r, &p->t, &b->call);
}

/* "… created child 7858" in the line of a fork. */
static void follow_fork(struct lackey *l, struct lackey_process *p, const char *rest)
{
	static const char created[] = " created child ";
	const char *s = strstr(rest, created);
	struct lackey_process *old;
	uint64_t pid;

	if (s == NULL || parse_number(s + strlen(created), false, &pid) == NULL || pid > INT32_MAX)
		return;
	old = find(l, (int32_t)pid);
	if (old != NULL && !old->ended)
		return;
	if (old != NULL)
		drop(l, old);
	fork_process(l, p, (int32_t)pid);
}

static void follow_call(struct lackey *l, struct lackey_process *p, char *line)
{
	struct traced_call c = { 0 };
	uint64_t thread, nr;
	char *rest = strchr(line, ',');
	const char *s;

	s = rest != NULL ? parse_number(rest + 1, false, &thread) : NULL;
	if (s == NULL || strncmp(s, "](", 2) != 0 || thread >= THREADS)
		return;
	s = parse_number(s + 2, false, &nr);
	if (s == NULL || *s != ')')
		return;
	p->thread = (unsigned)thread;
	rest = (char *)(uintptr_t)(s + 1);
	if (strncmp(rest, " ... [async]", 12) == 0) {
		call_done(l, p, rest);
		return;
	}
	if (nr == SYS_exit_group) {
		end(l, p);
		return;
	}
	if (nr == SYS_fork || nr == SYS_vfork || nr == SYS_clone || nr == SYS_clone3)
		follow_fork(l, p, rest);
	c.nr = (long)nr;
	c.thread = thread_number(l, p);
	rest = parse_arguments(rest, &c);
	if (nr == SYS_execve && c.path != NULL)
		snprintf(p->exec, sizeof(p->exec), "%s", c.path);
	if (rest != NULL && parse_result(rest, &c.result))
		valgrind_call(l->r, &p->t, &c);
	else if (rest != NULL && strstr(rest, "[async]") != NULL)
		call_waits(l, p, &c);
}

static void follow_image(struct lackey *l, struct lackey_process *p)
{
	for (unsigned i = 0; i < THREADS; i++) {
		free(p->begun[i]);
		p->begun[i] = NULL;
	}
	memset(p->number, 0, sizeof(p->number));
	p->thread = 1;
	p->number[p->thread] = p->t.thread;
	tracee_exec(l->r, &p->t, p->exec[0] != '\0' ? p->exec : l->name);
	valgrind_image(l->r, &p->t);
}

/* "--7855--   SCHED[2]:  acquired lock" */
static void follow_schedule(struct lackey_process *p, const char *line)
{
	const char *s = strstr(line, "SCHED[");
	uint64_t thread;

	if (s != NULL && strstr(s, " acquired lock") != NULL && parse_number(s + 6, false, &thread) != NULL &&
	    thread < THREADS)
		p->thread = (unsigned)thread;
}

/* A line without its newline; it may be changed. */
static void follow_line(struct lackey *l, struct lackey_process *p, char *line)
{
	if (line[0] == 'I' || line[0] == ' ') {
		if (line[0] == 'I' ? line[1] == ' ' && line[2] == ' ' : line[1] != '\0' && line[2] == ' ')
			follow_access(l, p, line);
		return;
	}
	if (line[0] == 'S') {
		char *banner = strstr(line, "== Lackey, an example Valgrind tool");

		if (strncmp(line, "SYSCALL[", 8) != 0)
			return;
		if (banner == NULL) {
			follow_call(l, p, line);
			return;
		}
		/* The call that made this image has no newline after it. */
		while (banner > line && *banner != ')')
			banner--;
		banner[*banner == ')'] = '\0';
		follow_call(l, p, line);
		follow_image(l, p);
	} else if (line[0] == '-') {
		follow_schedule(p, line);
	} else if (strstr(line, "== Lackey, an example Valgrind tool") != NULL) {
		follow_image(l, p);
	} else if (strstr(line, "== Process terminating with default action of signal ") != NULL) {
		end(l, p);
	}
}

/* Is a fork that has begun the last thing that it said? */
static bool is_forking(const struct lackey_process *p)
{
	static const char *const names[] = { " sys_clone (", " sys_fork (", " sys_vfork (", " sys_clone3 (" };

	for (unsigned i = 0; i < ARRAY_SIZE(names); i++) {
		if (p->len > 8 && memmem(p->line, p->len, names[i], strlen(names[i])) != NULL)
			return true;
	}
	return false;
}

static bool any_forking(const struct lackey *l)
{
	for (size_t i = 0; i < l->nr; i++) {
		if (is_forking(l->process[i]))
			return true;
	}
	return false;
}

/* Whose child the newcomer is; NULL: nobody's here. */
static struct lackey_process *parent_of(const struct lackey *l, int32_t pid)
{
	struct lackey_process *found = NULL;
	struct procstat s;
	int32_t parent = l->look(pid, &s) == 0 ? s.parent : 0;

	for (size_t i = 0; i < l->nr; i++) {
		struct lackey_process *p = l->process[i];

		/* Any of them if it has lost its own since. */
		if (is_forking(p) && (found == NULL || p->t.pid == parent))
			found = p;
	}
	return found;
}

/* Somebody new: a child, or a program that nobody here started. */
static struct lackey_process *meet(struct lackey *l, int32_t pid)
{
	struct lackey_process *p = find(l, pid), *parent;

	if (p != NULL)
		drop(l, p);
	parent = parent_of(l, pid);
	if (parent != NULL) {
		fork_process(l, parent, pid);
		return find(l, pid);
	}
	p = add(l, pid);
	if (p != NULL) {
		tracee_start(l->r, &p->t, l->name);
		p->number[p->thread] = p->t.thread;
		valgrind_start(l->r, &p->t);
	}
	return p;
}

/* The process has ended: is what comes from its pid another's? */
static bool is_given_away(const struct lackey *l, const struct lackey_process *p)
{
	struct procstat s;

	return any_forking(l) && l->look(p->t.pid, &s) == 0 && s.start != p->start;
}

/* Puts bytes behind the unfinished line, without the newline that ended them. */
static void append(struct lackey_process *p, const char *bytes, size_t len)
{
	if (p->len + len >= sizeof(p->line))
		p->overlong = true;
	if (p->overlong)
		return;
	memcpy(p->line + p->len, bytes, len);
	p->len += len;
}

void lackey_input(struct lackey *l, int32_t pid, const char *bytes, size_t len)
{
	struct lackey_process *p = find(l, pid);

	l->bytes += len;
	if (p == NULL || (p->ended && is_given_away(l, p)))
		p = meet(l, pid);
	while (len > 0 && p != NULL && !p->ended && l->r->err == 0) {
		const char *newline = memchr(bytes, '\n', len);
		size_t n = newline != NULL ? (size_t)(newline - bytes) : len;

		append(p, bytes, n);
		if (newline == NULL)
			return;
		p->line[p->len] = '\0';
		if (!p->overlong)
			follow_line(l, p, p->line);
		p->len = 0;
		p->overlong = false;
		bytes += n + 1;
		len -= n + 1;
	}
}

void lackey_sweep(struct lackey *l, bool (*gone)(int32_t pid))
{
	for (size_t i = l->nr; i > 0; i--) {
		struct lackey_process *p = l->process[i - 1];

		if (!gone(p->t.pid))
			p->gone_at = 0;
		else if (p->gone_at == 0)
			p->gone_at = l->bytes + 1;
		else if (l->drained || l->bytes > p->gone_at + MIB)
			drop(l, p);
	}
	l->drained = false;
}

void lackey_end(struct lackey *l)
{
	/* The youngest first, so that the same log makes the same trace. */
	while (l->nr > 0) {
		struct lackey_process *last = l->process[0];

		for (size_t i = 1; i < l->nr; i++) {
			if (l->process[i]->t.task > last->t.task)
				last = l->process[i];
		}
		drop(l, last);
	}
	free(l->process);
	l->process = NULL;
	l->room = 0;
}
