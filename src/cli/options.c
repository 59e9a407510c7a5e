#include "cli/options.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/size.h"
#include "cli/msg.h"
#include "cli/run/budget.h"
#include "cli/table.h"

/* The value may be left out. */
static bool is_optional(const struct option_row *r)
{
	return r->value != NULL && r->value[0] == '=';
}

int options_set_flag(void *ctx, unsigned row, const char *value)
{
	(void)row;
	(void)value;
	*(bool *)ctx = true;
	return 0;
}

void options_help(const struct option_set *o)
{
	printf("Usage: steward %s %s\n%s\n\n", o->command, o->usage, o->summary);
	for (unsigned i = 0; i < o->nr; i++) {
		const struct option_row *r = &o->rows[i];
		char left[64];

		snprintf(left, sizeof(left), "%c%c%s --%s%s%s%s", r->letter != '\0' ? '-' : ' ',
			 r->letter != '\0' ? r->letter : ' ', r->letter != '\0' ? "," : " ", r->name,
			 is_optional(r) ? "[" : r->value != NULL ? " " : "", r->value != NULL ? r->value : "",
			 is_optional(r) ? "]" : "");
		printf("  %-28s %s\n", left, r->help);
	}
	printf("  %-28s %s\n", "-h, --help", "print this and exit");
	if (o->more != NULL)
		o->more();
}

static int unknown(const struct option_set *o, const char *arg)
{
	return msg_fail(EXIT_USAGE, arg, "unknown option; see steward %s --help", o->command);
}

/* The row that arg ("--name", "--name=value", "-x") means, or NULL. *inline_value: behind the "=". */
static const struct option_row *find(const struct option_set *o, const char *arg, const char **inline_value)
{
	bool is_long = arg[1] == '-';
	size_t len = is_long ? strcspn(arg + 2, "=") : 1;

	*inline_value = is_long && arg[2 + len] == '=' ? arg + 2 + len + 1 : NULL;
	for (unsigned i = 0; i < o->nr; i++) {
		const struct option_row *r = &o->rows[i];

		if (is_long ? strlen(r->name) == len && strncmp(r->name, arg + 2, len) == 0 :
			      r->letter == arg[1] && arg[2] == '\0')
			return r;
	}
	return NULL;
}

static bool is_option(const char *arg)
{
	return arg[0] == '-' && arg[1] != '\0';
}

/* What stands at i moves to the end. */
static void operand_last(int argc, char **argv, int i)
{
	char *operand = argv[i];

	memmove(&argv[i], &argv[i + 1], (size_t)(argc - 1 - i) * sizeof(*argv));
	argv[argc - 1] = operand;
}

int options_parse(const struct option_set *o, int argc, char **argv, void *ctx, int *rest)
{
	int i, err, operands = 0;

	for (i = 1; i < argc - operands && (o->mixed || is_option(argv[i])); i++) {
		const struct option_row *r;
		const char *value;

		if (!is_option(argv[i])) {
			operand_last(argc, argv, i--);
			operands++;
			continue;
		}
		if (strcmp(argv[i], "--") == 0) {
			i++;
			/* Those that came before it come before what is behind it. */
			for (int n = argc - operands - i; n > 0 && operands > 0; n--)
				operand_last(argc, argv, i);
			break;
		}
		if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
			options_help(o);
			return OPTIONS_HELP;
		}
		r = find(o, argv[i], &value);
		if (r == NULL)
			return unknown(o, argv[i]);
		if (r->value == NULL && value != NULL)
			return msg_fail(EXIT_USAGE, argv[i], "--%s takes no value; leave it out", r->name);
		if (r->value != NULL && value == NULL && !is_optional(r)) {
			if (i + 1 >= argc - operands)
				return msg_fail(EXIT_USAGE, argv[i], "its value is missing; write --%s %s", r->name, r->value);
			value = argv[++i];
		}
		err = o->set(ctx, (unsigned)(r - o->rows), value);
		if (err != 0)
			return err;
	}
	*rest = i;
	return 0;
}

int options_parse_all(const struct option_set *o, int argc, char **argv, void *ctx, int *nr)
{
	bool only_operands = false;
	int at = 0;

	*nr = 0;
	/* What options_parse() stops at is an operand, and stands where the name of the command would for the rest. */
	while (at < argc - 1) {
		int next = 1;

		if (!only_operands) {
			int err = options_parse(o, argc - at, argv + at, ctx, &next);

			if (err != 0)
				return err;
			only_operands = next > 1 && strcmp(argv[at + next - 1], "--") == 0;
		}
		at += next;
		if (at < argc)
			argv[1 + (*nr)++] = argv[at];
	}
	return 0;
}

int options_ram(const char *text, const char *or_else, uint64_t *bytes)
{
	switch (size_parse(text, bytes)) {
	case 0:
		break;
	case -ERANGE:
		return msg_fail(EXIT_USAGE, "--ram", "\"%s\" is too large; give less", text);
	default:
		return msg_fail(EXIT_USAGE, "--ram", "\"%s\" is not a size; write it as %s", text, or_else);
	}
	if (*bytes < BUDGET_FLOOR)
		return msg_fail(EXIT_USAGE, "--ram", "%s is too small; the smallest that works is %s", text, size_text(BUDGET_FLOOR));
	return 0;
}
