/*
 * Tables: one access a line. Two kinds, told apart by the first line that is
 * neither empty nor a comment (#).
 *
 * Named columns, with commas between them, in any order; columns of other names
 * are passed over:
 *
 *     task,rw,address             address or page   where: bytes or pages, decimal or 0x…
 *     1,R,0x7f0012345678          rw or op          R, W or X, read, load, store, fetch, … (R)
 *     2,W,140737488355328         size              bytes at the address (1)
 *                                 count             how often (1)
 *                                 task, thread      numbers, or (task) names (one task, one thread)
 *
 * Plain, as courses and simulators have them: a letter and a hexadecimal
 * address in either order, with blanks, commas or colons between; what follows is
 * passed over:
 *
 *     R 0x41f7a0      s 0x1fffff50 1      0041f7a0 W      0x7ffe0000: R 0x41f7a0
 */
#include "sim/import/reader.h"

#define COLUMNS_MAX 32

enum column { COL_OTHER, COL_ADDRESS, COL_PAGE, COL_KIND, COL_SIZE, COL_COUNT, COL_TASK, COL_THREAD, NR_COLUMNS };

struct table {
	enum column column[COLUMNS_MAX];
	unsigned nr;
};

struct row {
	uint64_t value[NR_COLUMNS];
	const char *task;      /* its text */
	size_t task_len;
	uint8_t kind;
};

/* A piece of a line, without blanks at its ends. */
struct field {
	const char *text;
	size_t len;
};

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '"';
}

/* The field at *p, which is put behind its comma. False: the line has ended before. */
static bool next_field(const char **p, const char *end, struct field *f)
{
	if (*p > end)
		return false;
	const char *comma = memchr(*p, ',', (size_t)(end - *p));
	const char *start = *p, *stop = comma != NULL ? comma : end;

	*p = stop + 1;
	while (start < stop && is_blank(*start))
		start++;
	while (stop > start && is_blank(stop[-1]))
		stop--;
	*f = (struct field){ start, (size_t)(stop - start) };
	return true;
}

static bool field_is(const struct field *f, const char *name)
{
	return f->len == strlen(name) && strncasecmp(f->text, name, f->len) == 0;
}

/* TRACE_R, _W or _X for a word or letter of any of the usual dialects; 0: none of them. */
static uint8_t kind_of(const char *text, size_t len)
{
	static const struct {
		const char *word;
		uint8_t kind;
	} words[] = {
		{ "r", TRACE_R }, { "read", TRACE_R }, { "l", TRACE_R }, { "load", TRACE_R }, { "0", TRACE_R },
		{ "w", TRACE_W }, { "write", TRACE_W }, { "s", TRACE_W }, { "store", TRACE_W }, { "1", TRACE_W },
		{ "m", TRACE_W }, { "modify", TRACE_W }, { "x", TRACE_X }, { "exec", TRACE_X }, { "execute", TRACE_X },
		{ "i", TRACE_X }, { "ifetch", TRACE_X }, { "fetch", TRACE_X }, { "instr", TRACE_X }, { "2", TRACE_X },
	};
	const struct field f = { text, len };

	for (unsigned i = 0; i < ARRAY_SIZE(words); i++) {
		if (field_is(&f, words[i].word))
			return words[i].kind;
	}
	return 0;
}

static enum column column_of(const struct field *f)
{
	static const struct {
		const char *name;
		enum column column;
	} names[] = {
		{ "address", COL_ADDRESS }, { "addr", COL_ADDRESS }, { "page", COL_PAGE }, { "vpn", COL_PAGE },
		{ "rw", COL_KIND }, { "op", COL_KIND }, { "kind", COL_KIND }, { "size", COL_SIZE },
		{ "count", COL_COUNT },
		{ "task", COL_TASK }, { "pid", COL_TASK }, { "thread", COL_THREAD }, { "tid", COL_THREAD },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(names); i++) {
		if (field_is(f, names[i].name))
			return names[i].column;
	}
	return COL_OTHER;
}

/* Is the line one of column names? Then they are in t. */
static bool read_head(struct table *t, const char *p, const char *end)
{
	struct field f;
	bool where = false;

	t->nr = 0;
	while (t->nr < COLUMNS_MAX && next_field(&p, end, &f)) {
		t->column[t->nr] = column_of(&f);
		where = where || t->column[t->nr] == COL_ADDRESS || t->column[t->nr] == COL_PAGE;
		t->nr++;
	}
	return where;
}

static const char *read_value(struct row *row, enum column column, const struct field *f)
{
	const char *end;

	switch (column) {
	case COL_OTHER:
		return NULL;
	case COL_KIND:
		row->kind = kind_of(f->text, f->len);
		return row->kind != 0 ? NULL : "rw is none of R, W and X";
	case COL_TASK:
		row->task = f->text;
		row->task_len = f->len;
		return NULL;
	default:
		end = parse_number(f->text, &row->value[column]);
		return end == f->text + f->len ? NULL : "a number is none";
	}
}

/* A task is known by its text: two that hash alike in 64 bits are not to be expected. */
static uint64_t task_id(const struct row *row)
{
	uint64_t h = 0xcbf29ce484222325u;

	/* FNV-1a. */
	for (size_t i = 0; i < row->task_len; i++)
		h = (h ^ (uint8_t)row->task[i]) * 0x100000001b3u;
	return h;
}

static int add_row(struct import *im, const struct row *row, bool page)
{
	bool named = row->task_len > 0;
	int err = import_thread(im, row->value[COL_THREAD]);

	if (err == 0)
		err = import_task(im, task_id(row), named ? row->task : "csv", named ? row->task_len : strlen("csv"));
	if (err != 0)
		return err;
	if (page)
		return import_page(im, row->value[COL_PAGE], row->value[COL_COUNT], row->kind);
	return import_touch(im, row->value[COL_ADDRESS], row->value[COL_SIZE], row->value[COL_COUNT], row->kind);
}

static int take_row(struct import *im, const struct table *t, const char *p, const char *end)
{
	struct row row = { .kind = TRACE_R };
	bool page = false, where = false;
	struct field f;

	row.value[COL_COUNT] = 1;
	for (unsigned i = 0; i < t->nr && next_field(&p, end, &f); i++) {
		const char *why = read_value(&row, t->column[i], &f);

		if (why != NULL)
			return import_fail(im, -EBADMSG, why);
		page = page || t->column[i] == COL_PAGE;
		where = where || page || t->column[i] == COL_ADDRESS;
	}
	if (!where)
		return import_fail(im, -EBADMSG, "a line without an address or page");
	return add_row(im, &row, page);
}

/* Words of plain lines; a colon ends one, too. */
static const char *next_word(const char *p, const char *end, size_t *len)
{
	static const char between[] = " \t,:;";

	while (p < end && strchr(between, *p) != NULL)
		p++;
	const char *word = p;

	while (p < end && strchr(between, *p) == NULL)
		p++;
	*len = (size_t)(p - word);
	return word;
}

static bool is_address(const char *word, size_t len, uint64_t *v)
{
	const char *digits = len > 2 && word[0] == '0' && (word[1] == 'x' || word[1] == 'X') ? word + 2 : word;

	return parse_hex(digits, v) == word + len;
}

/* "R address", "address R", or "instruction: R address". */
static int take_plain(struct import *im, const char *p, const char *end)
{
	size_t len, next_len;
	const char *word = next_word(p, end, &len), *next = next_word(word + len, end, &next_len);
	uint8_t kind = kind_of(word, len);
	uint64_t address;
	bool ok;

	if (kind != 0) {
		ok = is_address(next, next_len, &address);
	} else {
		kind = kind_of(next, next_len);
		ok = kind != 0 && is_address(word, len, &address);
		if (word + len < end && word[len] == ':') {
			next = next_word(next + next_len, end, &next_len);
			ok = ok && is_address(next, next_len, &address);
		}
	}
	if (!ok)
		return import_fail(im, -EBADMSG, "it is not a letter (R, W, X, l, s, i) and an address");
	return import_touch(im, address, 1, 1, kind);
}

int import_csv(struct import *im)
{
	struct table table = { .nr = 0 };
	bool first = true;
	const char *line;
	size_t len;
	int err;

	while ((line = source_line(&im->source, &len, &err)) != NULL) {
		const char *end = line + len;

		if (len == 0 || line[0] == '#')
			continue;
		if (first && !read_head(&table, line, end)) {
			table.nr = 0;
			err = import_task(im, 0, "csv", strlen("csv"));
		} else if (first) {
			err = 0;
		} else {
			err = table.nr > 0 ? take_row(im, &table, line, end) : 0;
		}
		if (err == 0 && table.nr == 0)
			err = take_plain(im, line, end);
		first = false;
		if (err != 0)
			return err;
	}
	return import_end(im, err);
}
