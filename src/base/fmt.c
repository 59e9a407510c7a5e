#include "base/fmt.h"

void fmt_init(struct fmt *f, char *buf, size_t size)
{
	f->buf = buf;
	f->size = size;
	f->len = 0;
	buf[0] = '\0';
}

void fmt_char(struct fmt *f, char c)
{
	if (f->len + 1 >= f->size)
		return;
	f->buf[f->len++] = c;
	f->buf[f->len] = '\0';
}

void fmt_str(struct fmt *f, const char *s)
{
	while (*s != '\0')
		fmt_char(f, *s++);
}

static void fmt_base(struct fmt *f, uint64_t v, unsigned base)
{
	char digits[20];
	unsigned n = 0;

	do {
		digits[n++] = "0123456789abcdef"[v % base];
		v /= base;
	} while (v != 0);
	while (n > 0)
		fmt_char(f, digits[--n]);
}

void fmt_u64(struct fmt *f, uint64_t v)
{
	fmt_base(f, v, 10);
}

void fmt_i64(struct fmt *f, int64_t v)
{
	if (v < 0) {
		fmt_char(f, '-');
		fmt_u64(f, 0 - (uint64_t)v);
	} else {
		fmt_u64(f, (uint64_t)v);
	}
}

void fmt_hex(struct fmt *f, uint64_t v)
{
	fmt_str(f, "0x");
	fmt_base(f, v, 16);
}

void fmt_fixed(struct fmt *f, uint64_t v, unsigned decimals)
{
	uint64_t scale = 1;

	for (unsigned i = 0; i < decimals; i++)
		scale *= 10;
	fmt_u64(f, v / scale);
	if (decimals == 0)
		return;
	fmt_char(f, '.');
	while (scale > 1) {
		scale /= 10;
		fmt_char(f, (char)('0' + v / scale % 10));
	}
}

void fmt_assertion(struct fmt *f, const char *file, int line, const char *what)
{
	fmt_str(f, "internal error: ");
	fmt_str(f, file);
	fmt_char(f, ':');
	fmt_u64(f, (uint64_t)line);
	fmt_str(f, ": ");
	fmt_str(f, what);
}
