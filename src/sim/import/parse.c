#include "sim/import/reader.h"

/* Value of a hexadecimal digit, or above 15. */
static unsigned digit_of(char c)
{
	static const uint8_t value[256] = {
		['0'] = 16, ['1'] = 17, ['2'] = 18, ['3'] = 19, ['4'] = 20, ['5'] = 21, ['6'] = 22, ['7'] = 23,
		['8'] = 24, ['9'] = 25, ['a'] = 26, ['b'] = 27, ['c'] = 28, ['d'] = 29, ['e'] = 30, ['f'] = 31,
		['A'] = 26, ['B'] = 27, ['C'] = 28, ['D'] = 29, ['E'] = 30, ['F'] = 31,
	};

	return value[(uint8_t)c] ^ 16u;
}

const char *parse_hex(const char *p, uint64_t *v)
{
	const char *start = p;
	uint64_t n = 0;
	unsigned digit;

	for (; (digit = digit_of(*p)) < 16; p++) {
		if (unlikely(n >> 60 != 0))
			return NULL;
		n = n << 4 | digit;
	}
	*v = n;
	return p > start ? p : NULL;
}

const char *parse_decimal(const char *p, uint64_t *v)
{
	const char *start = p;
	uint64_t n = 0;

	for (; *p >= '0' && *p <= '9'; p++) {
		if (unlikely(__builtin_mul_overflow(n, 10, &n) || __builtin_add_overflow(n, (uint64_t)(*p - '0'), &n)))
			return NULL;
	}
	*v = n;
	return p > start ? p : NULL;
}

const char *parse_number(const char *p, uint64_t *v)
{
	if (p[0] == '0' && (p[1] == 'x' || p[1] == 'X'))
		return parse_hex(p + 2, v);
	return parse_decimal(p, v);
}
