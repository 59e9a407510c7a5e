/*
 * A JSON reader for what Steward writes, which must not fall over whatever else it is given: RFC 8259, to a bounded depth,
 * without a tree. What is kept are values that have a name.
 */
#include "cli/figures/figures.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/msg.h"

#define DEPTH_MAX 32
#define FILE_MAX_BYTES (64 * MIB)

struct reader {
	const char *text, *p, *end;
	struct figures *out;
	struct figures_error *error;
	char name[FIGURES_NAME_MAX]; /* of the value that is read now */
	size_t name_len;
	unsigned arrays;             /* open: nothing inside has a name */
	bool indexed;                /* elements of arrays have names */
	unsigned index;              /* of the element that is next, then */
	unsigned depth;
};

static int value(struct reader *r);

static int fail(struct reader *r, const char *what)
{
	*r->error = (struct figures_error){ .what = what, .at = (size_t)(r->p - r->text) };
	return -EINVAL;
}

static void blanks(struct reader *r)
{
	while (r->p < r->end && (*r->p == ' ' || *r->p == '\t' || *r->p == '\n' || *r->p == '\r'))
		r->p++;
}

static int keep(struct reader *r, double v)
{
	struct figures *f = r->out;

	if (r->arrays > 0 || r->name_len == 0)
		return 0;
	if ((f->nr & (f->nr - 1)) == 0) {
		struct figure *more = reallocarray(f->figure, f->nr > 0 ? 2 * (size_t)f->nr : 1, sizeof(*more));

		if (more == NULL)
			return -ENOMEM;
		f->figure = more;
	}
	struct figure *new = &f->figure[f->nr++];

	memcpy(new->name, r->name, r->name_len);
	new->name[r->name_len] = '\0';
	new->value = v;
	return 0;
}

/* At the opening quote; *start and *len are what is between the quotes, escapes as they are. */
static int string(struct reader *r, const char **start, size_t *len)
{
	*start = ++r->p;
	for (; r->p < r->end && *r->p != '"'; r->p++) {
		if ((unsigned char)*r->p < 0x20)
			return fail(r, "a control character in a string");
		if (*r->p == '\\' && ++r->p < r->end && strchr("\"\\/bfnrtu", *r->p) == NULL)
			return fail(r, "an unknown escape in a string");
	}
	if (r->p >= r->end)
		return fail(r, "a string without an end");
	*len = (size_t)(r->p++ - *start);
	return 0;
}

static size_t digits(const struct reader *r, const char *p)
{
	size_t n = 0;

	while (p + n < r->end && p[n] >= '0' && p[n] <= '9')
		n++;
	return n;
}

/* Its form is checked here, because strtod takes more. */
static int number(struct reader *r)
{
	const char *start = r->p, *p = r->p + (*r->p == '-');
	size_t n = digits(r, p);

	if (n == 0 || (n > 1 && *p == '0'))
		return fail(r, "not a number");
	p += n;
	if (p < r->end && *p == '.') {
		n = digits(r, ++p);
		if (n == 0)
			return fail(r, "not a number");
		p += n;
	}
	if (p < r->end && (*p == 'e' || *p == 'E')) {
		p++;
		p += p < r->end && (*p == '+' || *p == '-');
		n = digits(r, p);
		if (n == 0)
			return fail(r, "not a number");
		p += n;
	}
	r->p = p;
	return keep(r, strtod(start, NULL));
}

static int word(struct reader *r)
{
	static const struct { const char *text; size_t len; double value; } words[] = {
		{ "true", 4, 1 }, { "false", 5, 0 }, { "null", 4, NAN },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(words); i++) {
		if ((size_t)(r->end - r->p) >= words[i].len && memcmp(r->p, words[i].text, words[i].len) == 0) {
			r->p += words[i].len;
			return keep(r, words[i].value);
		}
	}
	return fail(r, "not a value");
}

/* Goes into the member of that key; false: its name would be too long, and it is passed over like an array. */
static bool enter(struct reader *r, const char *key, size_t len)
{
	size_t dot = r->name_len > 0;

	if (r->name_len + dot + len >= sizeof(r->name))
		return false;
	if (dot)
		r->name[r->name_len++] = '.';
	memcpy(r->name + r->name_len, key, len);
	r->name_len += len;
	return true;
}

static int member(struct reader *r)
{
	size_t before = r->name_len, len;
	const char *key;
	int err;

	blanks(r);
	if (r->p >= r->end || *r->p != '"')
		return fail(r, "a key is missing");
	err = string(r, &key, &len);
	if (err != 0)
		return err;
	blanks(r);
	if (r->p >= r->end || *r->p++ != ':')
		return fail(r, "a colon is missing");
	bool entered = enter(r, key, len);

	r->arrays += !entered;
	err = value(r);
	r->arrays -= !entered;
	r->name_len = before;
	return err;
}

/* Members or elements up to the closing bracket; the opening one has been read. */
static int list(struct reader *r, char close, int (*one)(struct reader *r))
{
	int err;

	blanks(r);
	if (r->p < r->end && *r->p == close) {
		r->p++;
		return 0;
	}
	for (;;) {
		err = one(r);
		if (err != 0)
			return err;
		blanks(r);
		if (r->p < r->end && *r->p == close) {
			r->p++;
			return 0;
		}
		if (r->p >= r->end || *r->p != ',')
			return fail(r, close == '}' ? "an object without an end" : "an array without an end");
		r->p++;
	}
}

/* "[5]" behind the name of its array. */
static int element(struct reader *r)
{
	size_t before = r->name_len;
	unsigned index = r->index + 1;
	int n = snprintf(r->name + before, sizeof(r->name) - before, "[%u]", r->index);
	bool entered = before + (size_t)n < sizeof(r->name);

	r->name_len += entered ? (size_t)n : 0;
	r->arrays += !entered;
	int err = value(r);

	r->arrays -= !entered;
	r->name_len = before;
	r->index = index;
	return err;
}

static int array(struct reader *r)
{
	unsigned index = r->index;

	r->index = 0;
	r->arrays += !r->indexed;
	int err = list(r, ']', r->indexed ? element : value);

	r->arrays -= !r->indexed;
	r->index = index;
	return err;
}

static int value(struct reader *r)
{
	const char *start;
	size_t len;
	int err;

	blanks(r);
	if (r->p >= r->end)
		return fail(r, "it ends where a value should be");
	if (*r->p == '"') {
		err = string(r, &start, &len);
		return err == 0 ? keep(r, NAN) : err;
	}
	if (*r->p == '-' || (*r->p >= '0' && *r->p <= '9'))
		return number(r);
	if (*r->p != '{' && *r->p != '[')
		return word(r);
	if (r->depth == DEPTH_MAX)
		return fail(r, "it is nested too deep");
	r->depth++;
	err = *r->p++ == '{' ? list(r, '}', member) : array(r);
	r->depth--;
	return err;
}

int figures_parse(struct figures *f, const char *text, size_t len, bool arrays, struct figures_error *error)
{
	struct reader r = { .text = text, .p = text, .end = text + len, .out = f, .error = error, .indexed = arrays };
	int err;

	*f = (struct figures){ 0 };
	err = value(&r);
	blanks(&r);
	if (err == 0 && r.p != r.end)
		err = fail(&r, "something stands behind its end");
	if (err != 0)
		figures_free(f);
	return err;
}

void figures_free(struct figures *f)
{
	free(f->figure);
	*f = (struct figures){ 0 };
}

/* All of a file, NUL behind it. 0 or -errno. */
static int read_all(int fd, char **text, size_t *len)
{
	size_t room = 0;
	ssize_t n = 1;

	*text = NULL;
	for (*len = 0; n > 0; *len += (size_t)MAX(n, 0)) {
		if (room - *len < 2) {
			char *more = realloc(*text, room = MAX(2 * room, 16384u));

			if (more == NULL || room > FILE_MAX_BYTES) {
				free(more != NULL ? more : *text);
				return more == NULL ? -ENOMEM : -EFBIG;
			}
			*text = more;
		}
		n = read(fd, *text + *len, room - *len - 1);
	}
	if (n < 0) {
		int err = -errno;

		free(*text);
		return err;
	}
	(*text)[*len] = '\0';
	return 0;
}

int figures_read(struct figures *f, const char *path, bool arrays)
{
	struct figures_error error;
	int err, fd = open(path, O_RDONLY | O_CLOEXEC);
	char *text;
	size_t len;

	err = fd >= 0 ? read_all(fd, &text, &len) : -errno;
	if (fd >= 0)
		close(fd);
	if (err != 0)
		return msg_fail(1, path, "cannot be read (%s); check the name", strerror(-err));
	err = figures_parse(f, text, len, arrays, &error);
	free(text);
	if (err == -EINVAL)
		return msg_fail(1, path, "not JSON at byte %zu: %s; name a file of --stats or --json", error.at, error.what);
	return err == 0 ? 0 : msg_fail(1, path, "%s; try again with more memory", strerror(-err));
}

int figures_of(struct figures *f, int (*write)(const void *ctx, int fd), const void *ctx)
{
	int err, fd = memfd_create("steward-figures", MFD_CLOEXEC);
	struct figures_error error;
	char *text;
	size_t len;

	if (fd < 0)
		return -errno;
	err = write(ctx, fd);
	if (err == 0 && lseek(fd, 0, SEEK_SET) != 0)
		err = -errno;
	if (err == 0)
		err = read_all(fd, &text, &len);
	close(fd);
	if (err != 0)
		return err;
	err = figures_parse(f, text, len, false, &error);
	free(text);
	return err;
}

static bool is(const char *name, const char *text, size_t len)
{
	return strlen(name) == len && memcmp(name, text, len) == 0;
}

static const struct figure *by_name(const struct figures *f, const char *name, size_t len)
{
	for (unsigned i = 0; i < f->nr; i++)
		if (is(f->figure[i].name, name, len))
			return &f->figure[i];
	return NULL;
}

const struct figure *figures_find(const struct figures *f, const char *name, size_t len, bool *several)
{
	static const struct { const char *word, *name; } words[] = {
		{ "minor", "counters.pgminor" }, { "soft", "counters.pgsoft" }, { "major", "counters.pgmajfault" },
	};
	const struct figure *found = by_name(f, name, len);
	unsigned nr = 0;

	*several = false;
	for (unsigned i = 0; i < ARRAY_SIZE(words) && found == NULL; i++)
		if (is(words[i].word, name, len))
			found = by_name(f, words[i].name, strlen(words[i].name));
	if (found != NULL)
		return found;
	for (unsigned i = 0; i < f->nr; i++) {
		const char *dot = strrchr(f->figure[i].name, '.');

		if (dot != NULL && is(dot + 1, name, len)) {
			found = &f->figure[i];
			nr++;
		}
	}
	*several = nr > 1;
	return nr == 1 ? found : NULL;
}
