#include "base/size.h"

#include <errno.h>

static int unit_shift(char c)
{
	switch (c | 0x20) {
	case 'k': return 10;
	case 'm': return 20;
	case 'g': return 30;
	case 't': return 40;
	case 'p': return 50;
	default: return -1;
	}
}

/* Skips an optional "B" or "iB"; the "i" needs a unit letter before it. */
static const char *skip_byte_suffix(const char *p, bool after_unit)
{
	if (after_unit && (p[0] | 0x20) == 'i' && (p[1] | 0x20) == 'b')
		return p + 2;
	if ((p[0] | 0x20) == 'b')
		return p + 1;
	return p;
}

int size_parse(const char *text, uint64_t *bytes)
{
	const char *p = text;
	uint64_t whole = 0, frac = 0, frac_scale = 1;
	int shift = 0;

	if (*p < '0' || *p > '9')
		return -EINVAL;
	for (; *p >= '0' && *p <= '9'; p++) {
		if (__builtin_mul_overflow(whole, 10, &whole) ||
		    __builtin_add_overflow(whole, (uint64_t)(*p - '0'), &whole))
			return -ERANGE;
	}
	if (*p == '.') {
		p++;
		if (*p < '0' || *p > '9')
			return -EINVAL;
		for (; *p >= '0' && *p <= '9'; p++) {
			/* Nine digits are finer than a byte of any unit that matters. */
			if (frac_scale >= 1000000000)
				continue;
			frac = frac * 10 + (uint64_t)(*p - '0');
			frac_scale *= 10;
		}
	}
	while (*p == ' ')
		p++;
	bool has_unit = unit_shift(*p) >= 0;
	if (has_unit)
		shift = unit_shift(*p++);
	else if (frac_scale > 1)
		return -EINVAL;
	p = skip_byte_suffix(p, has_unit);
	if (*p != '\0')
		return -EINVAL;

	if (whole > (UINT64_MAX >> shift))
		return -ERANGE;
	uint64_t value = whole << shift;
	uint64_t part = (uint64_t)(((unsigned __int128)frac << shift) / frac_scale);
	if (__builtin_add_overflow(value, part, &value))
		return -ERANGE;
	*bytes = value;
	return 0;
}

void fmt_size(struct fmt *f, uint64_t bytes)
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
	unsigned u = 0;

	while (u + 1 < ARRAY_SIZE(units) && (bytes >> (10 * (u + 1))) != 0)
		u++;
	uint64_t whole = bytes >> (10 * u);
	uint64_t rest = u == 0 ? 0 : bytes - (whole << (10 * u));
	uint64_t tenth = u == 0 ? 0 : (rest >> (10 * (u - 1))) * 10 / 1024;

	fmt_u64(f, whole);
	if (tenth != 0 && whole < 100) {
		fmt_char(f, '.');
		fmt_u64(f, tenth);
	}
	fmt_char(f, ' ');
	fmt_str(f, units[u]);
}
