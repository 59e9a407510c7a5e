#include "cli/table.h"

#include <string.h>

#include "base/size.h"

const char *size_text(uint64_t bytes)
{
	static char texts[8][32];
	static unsigned next;
	char *buf = texts[next++ % ARRAY_SIZE(texts)];
	struct fmt f;

	fmt_init(&f, buf, sizeof(texts[0]));
	fmt_size(&f, bytes);
	return buf;
}

void table_init(struct table *t)
{
	fmt_init(&t->f, t->text, sizeof(t->text));
}

void table_row(struct table *t, const char *label)
{
	if (t->f.len > 0)
		fmt_char(&t->f, '\n');
	fmt_str(&t->f, "  ");
	fmt_str(&t->f, label);
	for (size_t n = strlen(label); n < 18; n++)
		fmt_char(&t->f, ' ');
}

void put_count(struct fmt *f, uint64_t v)
{
	uint64_t scale = 1;

	while (v / scale >= 1000)
		scale *= 1000;
	fmt_u64(f, v / scale);
	while (scale > 1) {
		scale /= 1000;
		fmt_char(f, ' ');
		for (uint64_t part = v / scale % 1000, digit = 100; digit > 0; digit /= 10)
			fmt_u64(f, part / digit % 10);
	}
}

void put_some(struct fmt *f, const char *before, uint64_t v, const char *after)
{
	fmt_str(f, before);
	put_count(f, v);
	fmt_str(f, after);
}

void put_bytes(struct fmt *f, const char *before, uint64_t v, const char *after)
{
	fmt_str(f, before);
	fmt_size(f, v);
	fmt_str(f, after);
}

void put_time(struct fmt *f, const char *before, uint64_t ns, const char *after)
{
	fmt_str(f, before);
	if (ns < 1000000) {
		fmt_fixed(f, ns / 100, 1);
		fmt_str(f, " us");
	} else if (ns < 1000000000) {
		fmt_fixed(f, ns / 100000, 1);
		fmt_str(f, " ms");
	} else {
		fmt_fixed(f, ns / 10000000, 2);
		fmt_str(f, " s");
	}
	fmt_str(f, after);
}

void put_percent(struct fmt *f, const char *before, uint64_t a, uint64_t b, const char *after)
{
	fmt_str(f, before);
	if (b == 0)
		fmt_char(f, '-');
	else
		fmt_fixed(f, (uint64_t)(((unsigned __int128)a * 1000 + b / 2) / b), 1);
	fmt_str(f, after);
}
