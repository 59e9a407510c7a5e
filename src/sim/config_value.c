/*
 * One value of a machine file: text to field and back, by the type that its row of the table gives.
 *
 * Everything with a fraction (durations, ratios) is read as a whole number of thousandths, so that what is written
 * reads back to the same bits, whatever the locale and the rounding of printf.
 */
#include "sim/config_keys.h"

#include <errno.h>
#include <string.h>

#include "base/assert.h"
#include "base/size.h"

static void *field(const struct config_key *k, const void *base)
{
	return (char *)base + k->offset;
}

static int wrong(struct fmt *why, const char *text)
{
	fmt_str(why, text);
	return -EINVAL;
}

/* "out of range; write PROPER" */
static int out_of_range(const struct config_key *k, struct fmt *why)
{
	fmt_str(why, "out of range; write ");
	config_describe(why, k);
	return -EINVAL;
}

static bool in_range(const struct config_key *k, uint64_t v)
{
	if (v == 0 && k->or_zero)
		return true;
	return v <= k->max && (k->min <= 0 || v >= (uint64_t)k->min);
}

/* Digits from *p on; false: none, or too many for 64 bits. */
static bool parse_digits(const char **p, uint64_t *v)
{
	const char *start = *p;

	*v = 0;
	for (; **p >= '0' && **p <= '9'; (*p)++) {
		if (__builtin_mul_overflow(*v, 10, v) || __builtin_add_overflow(*v, (uint64_t)(**p - '0'), v))
			return false;
	}
	return *p != start;
}

/* A decimal number times scale, which is a power of ten; false: not one, too large, or finer than 1 / scale. */
static bool parse_decimal(const char **p, uint64_t scale, uint64_t *v)
{
	if (!parse_digits(p, v) || __builtin_mul_overflow(*v, scale, v))
		return false;
	if (**p != '.')
		return true;
	(*p)++;
	if (**p < '0' || **p > '9')
		return false;
	for (; **p >= '0' && **p <= '9'; (*p)++) {
		uint64_t digit = (uint64_t)(**p - '0');

		scale /= 10;
		if ((scale == 0 && digit != 0) || __builtin_add_overflow(*v, digit * scale, v))
			return false;
	}
	return true;
}

static const struct {
	const char *name;
	uint64_t ps;
} time_units[] = {
	{ "ns", 1000 }, { "us", 1000000 }, { "µs", 1000000 }, { "ms", 1000000000 }, { "s", 1000000000000 },
};

/* Picoseconds. */
static bool parse_duration(const char *text, uint64_t *ps)
{
	for (size_t i = 0; i < ARRAY_SIZE(time_units); i++) {
		const char *p = text;

		if (!parse_decimal(&p, time_units[i].ps, ps))
			continue;
		while (*p == ' ')
			p++;
		if (strcmp(p, time_units[i].name) == 0 || (*p == '\0' && *ps == 0))
			return true;
	}
	return false;
}

static int take_duration(const struct config_key *k, void *to, const char *text, struct fmt *why)
{
	uint64_t ps;

	if (!parse_duration(text, &ps))
		return wrong(why, "not a duration; write it as 80ns, 2us, 10ms or 2s");
	if (!in_range(k, ps / 1000 + (ps % 1000 != 0)))
		return out_of_range(k, why);
	if (k->type == KEY_DURATION_PS) {
		*(double *)to = (double)ps / 1000;
		return 0;
	}
	if (ps % 1000 != 0)
		return wrong(why, "finer than a nanosecond; round it");
	*(uint64_t *)to = ps / 1000;
	return 0;
}

static int take_ratio(const struct config_key *k, double *to, const char *text, struct fmt *why)
{
	const char *p = text;
	uint64_t thousandths;

	if (!parse_decimal(&p, 1000, &thousandths) || *p != '\0')
		return wrong(why, "not a number with at most three decimals; write it as 2.75");
	if (!in_range(k, thousandths / 1000) || (thousandths > 0 && thousandths < 1000 && k->min > 0))
		return out_of_range(k, why);
	*to = (double)thousandths / 1000;
	return 0;
}

static int take_size(const struct config_key *k, uint64_t *to, const char *text, struct fmt *why)
{
	uint64_t bytes;
	int err = size_parse(text, &bytes);

	if (err == -EINVAL)
		return wrong(why, "not a size; write it as 512M or 1.5G");
	if (err != 0 || !in_range(k, bytes))
		return out_of_range(k, why);
	*to = bytes;
	return 0;
}

static bool parse_uint(const char *text, uint64_t *v)
{
	return parse_digits(&text, v) && *text == '\0';
}

static int take_uint(const struct config_key *k, void *to, const char *text, struct fmt *why)
{
	uint64_t v;

	if (!parse_uint(text, &v))
		return wrong(why, "not a whole number; write digits only");
	if (!in_range(k, v))
		return out_of_range(k, why);
	/* The table's maximum fits in the width: tests/unit/sim/config.c holds it. */
	switch (k->width) {
	case 1: *(uint8_t *)to = (uint8_t)v; break;
	case 2: *(uint16_t *)to = (uint16_t)v; break;
	case 4: *(uint32_t *)to = (uint32_t)v; break;
	default: *(uint64_t *)to = v; break;
	}
	return 0;
}

static int take_int(const struct config_key *k, int *to, const char *text, struct fmt *why)
{
	bool negative = *text == '-';
	uint64_t v;

	if (!parse_uint(text + negative, &v))
		return wrong(why, "not a whole number; write digits, with - in front if it is negative");
	if (v > (negative ? (uint64_t)-k->min : k->max))
		return out_of_range(k, why);
	*to = negative ? -(int)v : (int)v;
	return 0;
}

static int take_bool(bool *to, const char *text, struct fmt *why)
{
	static const char *const words[2][3] = { { "no", "false", "off" }, { "yes", "true", "on" } };

	for (unsigned value = 0; value < 2; value++) {
		for (unsigned i = 0; i < 3; i++) {
			if (strcmp(text, words[value][i]) == 0) {
				*to = value != 0;
				return 0;
			}
		}
	}
	return wrong(why, "neither yes nor no; write one of them");
}

/* What is written in double quotes without a thought about escapes. */
static int take_text(char *to, const char *text, struct fmt *why)
{
	size_t len = strlen(text);

	if (len == 0 || len >= SIM_NAME_MAX)
		return wrong(why, len == 0 ? "empty; give a name" : "longer than 63 characters; give a shorter name");
	for (size_t i = 0; i < len; i++) {
		if (text[i] < ' ' || text[i] > '~' || text[i] == '"' || text[i] == '\\')
			return wrong(why, "holds a character that a name cannot have; use letters, digits, blanks and "
					  "punctuation without \" and \\");
	}
	memset(to, 0, SIM_NAME_MAX);
	memcpy(to, text, len);
	return 0;
}

static int name_index(const struct config_key *k, const char *text, struct fmt *why)
{
	for (int i = 0; k->names[i] != NULL; i++) {
		if (strcmp(text, k->names[i]) == 0)
			return i;
	}
	fmt_str(why, "unknown; write one of ");
	for (int i = 0; k->names[i] != NULL; i++) {
		fmt_str(why, i > 0 ? ", " : "");
		fmt_str(why, k->names[i]);
	}
	return -EINVAL;
}

int config_value_parse(const struct config_key *k, void *base, const char *text, struct fmt *why)
{
	void *to = field(k, base);
	int index;

	switch ((enum key_type)k->type) {
	case KEY_TEXT: return take_text(to, text, why);
	case KEY_BOOL: return take_bool(to, text, why);
	case KEY_INT: return take_int(k, to, text, why);
	case KEY_UINT: return take_uint(k, to, text, why);
	case KEY_SIZE: return take_size(k, to, text, why);
	case KEY_DURATION:
	case KEY_DURATION_PS: return take_duration(k, to, text, why);
	case KEY_RATIO: return take_ratio(k, to, text, why);
	case KEY_ENUM:
		index = name_index(k, text, why);
		if (index < 0)
			return index;
		*(uint8_t *)to = (uint8_t)index;
		return 0;
	case KEY_PRESET:
		if (config_preset(base, text))
			return 0;
		fmt_str(why, "unknown preset; write ");
		config_describe(why, k);
		return -EINVAL;
	case KEY_FLAGS:
	case KEY_NUMBERS:
	case KEY_ITEMS: break;
	}
	return wrong(why, "a list belongs here; write it as [A, B]");
}

int config_number_parse(const struct config_key *k, const char *text, uint8_t *number, struct fmt *why)
{
	uint64_t v;

	if (!parse_uint(text, &v))
		return wrong(why, "not a whole number; write digits only");
	if (!in_range(k, v))
		return out_of_range(k, why);
	*number = (uint8_t)v;
	return 0;
}

int config_flag_parse(const struct config_key *k, const char *text, uint8_t *flags, struct fmt *why)
{
	int index = name_index(k, text, why);

	if (index < 0)
		return index;
	*flags |= (uint8_t)(1u << index);
	return 0;
}

/* With the largest unit that leaves no fraction. */
static void format_ps(struct fmt *f, uint64_t ps)
{
	static const char *const names[] = { "ns", "us", "ms", "s" };
	unsigned unit = 0;
	uint64_t scale = 1000;

	while (unit + 1 < ARRAY_SIZE(names) && ps != 0 && ps % (scale * 1000) == 0) {
		scale *= 1000;
		unit++;
	}
	if (ps % scale == 0)
		fmt_u64(f, ps / scale);
	else
		fmt_fixed(f, ps, 3);
	fmt_str(f, names[unit]);
}

static void format_size(struct fmt *f, uint64_t bytes)
{
	static const char units[] = "\0KMGTP";
	unsigned unit = 0;

	while (unit + 2 < sizeof(units) && bytes != 0 && bytes % 1024 == 0) {
		bytes /= 1024;
		unit++;
	}
	fmt_u64(f, bytes);
	if (unit > 0)
		fmt_char(f, units[unit]);
}

static uint64_t read_uint(const void *from, unsigned width)
{
	switch (width) {
	case 1: return *(const uint8_t *)from;
	case 2: return *(const uint16_t *)from;
	case 4: return *(const uint32_t *)from;
	default: return *(const uint64_t *)from;
	}
}

static void format_flags(const struct config_key *k, uint8_t flags, struct fmt *f)
{
	bool first = true;

	fmt_char(f, '[');
	for (unsigned i = 0; k->names[i] != NULL; i++) {
		if (!(flags & 1u << i))
			continue;
		fmt_str(f, first ? "" : ", ");
		fmt_str(f, k->names[i]);
		first = false;
	}
	fmt_char(f, ']');
}

static void format_numbers(const struct config_key *k, const void *base, struct fmt *f)
{
	const uint8_t *number = field(k, base);
	uint32_t n = config_count(k->list, base);

	fmt_char(f, '[');
	for (uint32_t i = 0; i < n; i++) {
		fmt_str(f, i > 0 ? ", " : "");
		fmt_u64(f, number[i]);
	}
	fmt_char(f, ']');
}

/* A fraction was read as a whole number of thousandths: half of one makes up for what the division rounded off. */
static uint64_t thousandths(double v)
{
	return (uint64_t)(v * 1000 + 0.5);
}

void config_value_format(const struct config_key *k, const void *base, struct fmt *f)
{
	const void *from = field(k, base);

	switch ((enum key_type)k->type) {
	case KEY_TEXT:
		fmt_char(f, '"');
		fmt_str(f, from);
		fmt_char(f, '"');
		break;
	case KEY_BOOL: fmt_str(f, *(const bool *)from ? "yes" : "no"); break;
	case KEY_INT: fmt_i64(f, *(const int *)from); break;
	case KEY_UINT: fmt_u64(f, read_uint(from, k->width)); break;
	case KEY_SIZE: format_size(f, *(const uint64_t *)from); break;
	case KEY_DURATION: format_ps(f, *(const uint64_t *)from * 1000); break;
	case KEY_DURATION_PS: format_ps(f, thousandths(*(const double *)from)); break;
	case KEY_RATIO: fmt_fixed(f, thousandths(*(const double *)from), 3); break;
	case KEY_ENUM: fmt_str(f, k->names[*(const uint8_t *)from]); break;
	case KEY_FLAGS: format_flags(k, *(const uint8_t *)from, f); break;
	case KEY_NUMBERS: format_numbers(k, base, f); break;
	case KEY_PRESET:
	case KEY_ITEMS: ASSERT(!"a value of its own"); break;
	}
}
