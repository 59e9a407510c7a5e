#include "cli/figures/condition.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define DEPTH_MAX 32 /* of brackets and signs */

struct parser {
	const char *p;
	const struct figures *figures;
	struct condition *out;
	unsigned depth;
};

static double condition(struct parser *s);

/* The first complaint stays; what is computed after it is of no use. */
static double complain(struct parser *s, const char *what, const char *at, size_t len)
{
	if (s->out->what == NULL) {
		s->out->what = what;
		s->out->at = at;
		s->out->at_len = (int)len;
	}
	return NAN;
}

static void blanks(struct parser *s)
{
	while (*s->p == ' ' || *s->p == '\t')
		s->p++;
}

static bool is_of_name(char c)
{
	return isalnum((unsigned char)c) || c == '_' || c == '.';
}

/* Takes the sign or keyword if it is next. */
static bool take(struct parser *s, const char *token)
{
	size_t len = strlen(token);

	blanks(s);
	if (strncmp(s->p, token, len) != 0 || (isalpha((unsigned char)token[0]) && is_of_name(s->p[len])))
		return false;
	s->p += len;
	return true;
}

/* What a number counts: "" is 1. NaN: no such unit. */
static double unit_of(const char *text, size_t len)
{
	static const struct { const char *name; double value; } units[] = {
		{ "", 1 }, { "%", 0.01 }, { "ns", 1 }, { "us", 1e3 }, { "ms", 1e6 }, { "s", 1e9 },
		{ "K", 0x1p10 }, { "M", 0x1p20 }, { "G", 0x1p30 }, { "T", 0x1p40 }, { "P", 0x1p50 },
	};

	if (len == 3 && memcmp(text + 1, "iB", 2) == 0)
		len = 1;
	if (len == 2 && text[1] == 'B')
		len = 1;
	for (unsigned i = 0; i < ARRAY_SIZE(units); i++)
		if (strlen(units[i].name) == len && memcmp(units[i].name, text, len) == 0)
			return units[i].value;
	return NAN;
}

/* Digits and a point: no exponent, or the E of a unit would be one. */
static double number(struct parser *s)
{
	const char *start = s->p;
	size_t len = strspn(start, "0123456789."), unit_len;
	char text[32], *end;
	double value, unit;

	if (len >= sizeof(text))
		return complain(s, "a number with too many digits", start, len);
	memcpy(text, start, len);
	text[len] = '\0';
	value = strtod(text, &end);
	if (*end != '\0' || end == text)
		return complain(s, "not a number", start, len);
	s->p += len;
	for (unit_len = 0; isalpha((unsigned char)s->p[unit_len]) || s->p[unit_len] == '%';)
		unit_len++;
	unit = unit_of(s->p, unit_len);
	if (isnan(unit))
		return complain(s, "not a unit", s->p, unit_len);
	s->p += unit_len;
	return value * unit;
}

static void note_used(struct condition *c, const struct figure *f)
{
	for (unsigned i = 0; i < c->nr_used; i++)
		if (c->used[i] == f)
			return;
	if (c->nr_used < CONDITION_NAMES)
		c->used[c->nr_used++] = f;
}

static double name(struct parser *s)
{
	const char *start = s->p;
	const struct figure *f;
	bool several;

	while (is_of_name(*s->p))
		s->p++;
	f = figures_find(s->figures, start, (size_t)(s->p - start), &several);
	if (f == NULL)
		return complain(s, several ? "a name that several figures have" : "no figure of that name", start,
				(size_t)(s->p - start));
	note_used(s->out, f);
	return f->value;
}

static double factor(struct parser *s)
{
	double v;

	if (s->depth == DEPTH_MAX)
		return complain(s, "too many brackets", s->p, strlen(s->p));
	s->depth++;
	if (take(s, "-")) {
		v = -factor(s);
	} else if (take(s, "(")) {
		v = condition(s);
		if (!take(s, ")"))
			complain(s, "a bracket without an end", s->p, strlen(s->p));
	} else if (isdigit((unsigned char)*s->p) || *s->p == '.') {
		v = number(s);
	} else if (isalpha((unsigned char)*s->p) || *s->p == '_') {
		v = name(s);
	} else {
		v = complain(s, *s->p == '\0' ? "something is missing at its end" : "not a name or number", s->p, strlen(s->p));
	}
	s->depth--;
	return v;
}

static double product(struct parser *s)
{
	double v = factor(s);

	for (;;) {
		if (take(s, "*"))
			v *= factor(s);
		else if (take(s, "/"))
			v /= factor(s);
		else
			return v;
	}
}

static double sum(struct parser *s)
{
	double v = product(s);

	for (;;) {
		if (take(s, "+"))
			v += product(s);
		else if (take(s, "-"))
			v -= product(s);
		else
			return v;
	}
}

static double test(struct parser *s)
{
	double v = sum(s);

	if (take(s, "<="))
		return v <= sum(s);
	if (take(s, ">="))
		return v >= sum(s);
	if (take(s, "!="))
		return v != sum(s);
	if (take(s, "==") || take(s, "="))
		return v == sum(s);
	if (take(s, "<"))
		return v < sum(s);
	if (take(s, ">"))
		return v > sum(s);
	return v;
}

/* A value that is no number is not true. */
static bool is_true(double v)
{
	return !isnan(v) && v != 0;
}

static double all(struct parser *s)
{
	double v = test(s);

	while (take(s, "and") || take(s, "&&")) {
		double next = test(s);

		v = is_true(v) && is_true(next);
	}
	return v;
}

static double condition(struct parser *s)
{
	double v = all(s);

	while (take(s, "or") || take(s, "||")) {
		double next = all(s);

		v = is_true(v) || is_true(next);
	}
	return v;
}

int condition_eval(struct condition *c, const char *text, const struct figures *f)
{
	struct parser s = { .p = text, .figures = f, .out = c };

	*c = (struct condition){ 0 };
	c->holds = is_true(condition(&s));
	blanks(&s);
	if (*s.p != '\0')
		complain(&s, "more than a condition", s.p, strlen(s.p));
	return c->what == NULL ? 0 : -EINVAL;
}
