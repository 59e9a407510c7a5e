/* steward diff: the figures of two JSON files side by side. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/figures/figures.h"
#include "cli/msg.h"
#include "cli/see/show.h"
#include "cli/table.h"

static const struct option_row rows[] = {
	{ "all", 'a', NULL, "print figures that are equal, too" },
};

const struct option_set diff_options = {
	.command = "diff",
	.usage = "[OPTION…] A B",
	.summary = "Compares the figures of two files of steward run --stats or steward sim --json.",
	.rows = rows,
	.nr = ARRAY_SIZE(rows),
	.mixed = true,
	.set = options_set_flag,
};

static bool ends_in(const char *name, const char *end)
{
	size_t n = strlen(name), m = strlen(end);

	return n >= m && strcmp(name + n - m, end) == 0;
}

/* Sizes, times and counts as people read them, by what the name says they are. */
static void put_figure(struct fmt *f, const char *name, double value)
{
	if (isnan(value))
		fmt_char(f, '-');
	else if (ends_in(name, "_bytes"))
		put_bytes(f, "", (uint64_t)value, "");
	else if (ends_in(name, "_ns") || strncmp(name, "fault_ns.p", 10) == 0)
		put_time(f, "", (uint64_t)value, "");
	else if (value == floor(value))
		put_count(f, (uint64_t)value);
	else
		fmt_fixed(f, (uint64_t)(value * 100 + 0.5), 2);
}

static void put_change(char *text, size_t size, double a, double b)
{
	text[0] = '\0';
	if (!isnan(a) && !isnan(b) && a != b && a != 0)
		snprintf(text, size, "%+.1f %%", (b - a) / a * 100);
}

static void print_row(const char *name, double a, double b)
{
	char left[32], right[32], change[32];
	struct fmt f;

	fmt_init(&f, left, sizeof(left));
	put_figure(&f, name, a);
	fmt_init(&f, right, sizeof(right));
	put_figure(&f, name, b);
	put_change(change, sizeof(change), a, b);
	printf("%-32s %16s %16s", name, left, right);
	if (change[0] != '\0')
		printf(" %12s", change);
	printf("\n");
}

/* Texts and nulls are no figures to compare. A bucket that one has and the other has not says nothing by itself. */
static bool is_shown(const struct figure *f)
{
	return strstr(f->name, ".histogram.") == NULL;
}

/* By its whole name; NULL: it has none. */
static const struct figure *find(const struct figures *f, const char *name)
{
	bool several;
	const struct figure *found = figures_find(f, name, strlen(name), &several);

	return found != NULL && strcmp(found->name, name) == 0 ? found : NULL;
}

static bool differ(double a, double b)
{
	return isnan(a) != isnan(b) || (!isnan(a) && a != b);
}

static void print_all(const struct figures *a, const struct figures *b, bool equal_too)
{
	printf("%-32s %16s %16s %12s\n", "FIGURE", "A", "B", "B TO A");
	for (unsigned i = 0; i < a->nr; i++) {
		const struct figure *x = &a->figure[i], *other = find(b, x->name);
		double y = other != NULL ? other->value : NAN;

		if (is_shown(x) && (differ(x->value, y) || (equal_too && !isnan(x->value))))
			print_row(x->name, x->value, y);
	}
	for (unsigned i = 0; i < b->nr; i++) {
		const struct figure *y = &b->figure[i];

		if (is_shown(y) && find(a, y->name) == NULL && !isnan(y->value))
			print_row(y->name, NAN, y->value);
	}
}

int diff_main(int argc, char **argv)
{
	struct figures a, b;
	bool equal_too = false;
	int err, first;

	err = options_parse(&diff_options, argc, argv, &equal_too, &first);
	if (err != 0)
		return err;
	if (argc - first < 2)
		return msg_fail(EXIT_USAGE, "diff", "two files are compared; steward diff %s", diff_options.usage);
	if (argc - first > 2)
		return msg_fail(EXIT_USAGE, argv[first + 2], "two files are compared; leave it out");
	err = figures_read(&a, argv[first], false);
	if (err != 0)
		return err;
	err = figures_read(&b, argv[first + 1], false);
	if (err == 0) {
		print_all(&a, &b, equal_too);
		err = show_finish(NULL);
		figures_free(&b);
	}
	figures_free(&a);
	return err;
}
