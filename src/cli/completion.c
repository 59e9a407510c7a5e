/*
 * steward completion: scripts that make a shell complete commands, options and what they take, printed from the
 * same tables that parse them, so that they cannot fall behind.
 *
 * What an option takes is told by its row: of "SIZE|auto" the word auto, FILE is a file. What stands behind the options is
 * told by operands_of().
 */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/msg.h"
#include "cli/see/show.h"
#include "mm/reclaim/policy.h"

enum operand { OPERAND_NONE, OPERAND_FILE, OPERAND_COMMAND, OPERAND_RUN, OPERAND_PROCESS, OPERAND_SUBCOMMAND, OPERAND_WORDS };

struct operands {
	const char *command;
	enum operand what;
	const char *words; /* OPERAND_WORDS: separated by blanks */
};

static const struct operands operands[] = {
	{ "run", OPERAND_COMMAND, NULL },
	{ "top", OPERAND_RUN, NULL },
	{ "ps", OPERAND_RUN, NULL },
	{ "stat", OPERAND_RUN, NULL },
	{ "maps", OPERAND_PROCESS, NULL },
	{ "set", OPERAND_RUN, NULL },
	{ "diff", OPERAND_FILE, NULL },
	{ "record", OPERAND_COMMAND, NULL },
	{ "report", OPERAND_FILE, NULL },
	{ "sim", OPERAND_FILE, NULL },
	{ "plan", OPERAND_FILE, NULL },
	{ "validate", OPERAND_COMMAND, NULL },
	{ "import", OPERAND_FILE, NULL },
	{ "trace", OPERAND_FILE, NULL },
	{ "explain", OPERAND_WORDS, "alloc fault keys layout machine reclaim tables walk watermarks" },
	{ "completion", OPERAND_WORDS, "bash zsh fish" },
	{ "help", OPERAND_SUBCOMMAND, NULL },
};

/* Lines of steward ps: of runs, or of processes. */
#define LIST_RUNS "steward ps 2>/dev/null | awk '$2 == \"run\" { print $1 }'"
#define LIST_PROCESSES "steward ps 2>/dev/null | awk '$1 + 0 > 0 && $2 != \"run\" { print $1 }'"

static const struct operands *operands_of(const char *command)
{
	static const struct operands none;

	for (unsigned i = 0; i < ARRAY_SIZE(operands); i++)
		if (strcmp(operands[i].command, command) == 0)
			return &operands[i];
	return &none;
}

static int no_option(void *ctx, unsigned row, const char *value)
{
	(void)ctx;
	(void)row;
	(void)value;
	return EXIT_USAGE;
}

const struct option_set completion_options = {
	.command = "completion",
	.usage = "bash|zsh|fish",
	.summary = "Prints a script that makes the shell complete Steward's commands and options.",
	.set = no_option,
};

enum taken { TAKES_NOTHING, TAKES_FILE, TAKES_WORD, TAKES_OTHER };

/* Where the words stand that the value is one of: SIZE|auto; or, for a FORMAT, the help is nothing else. "": nowhere. */
static const char *words_of(const struct option_row *r)
{
	if (strchr(r->value, '|') != NULL)
		return r->value;
	return strchr(r->help, '|') != NULL && strchr(r->help, ' ') == NULL ? r->help : "";
}

static enum taken takes(const struct option_row *r)
{
	/* "=PCT" stands in the same word, or not at all. */
	if (r->value == NULL || r->value[0] == '=')
		return TAKES_NOTHING;
	if (strncmp(r->value, "FILE", 4) == 0)
		return TAKES_FILE;
	return strcmp(r->name, "policy") == 0 || words_of(r)[0] != '\0' ? TAKES_WORD : TAKES_OTHER;
}

static void put_policies(bool live)
{
	const struct policy *p;

	for (unsigned i = 0; (p = policy_nth(i)) != NULL; i++)
		if (p->sampled || !live)
			printf("%s ", p->name);
}

/* Those words, separated by blanks; in capitals is what stands for others. */
static void put_words(const struct command *c, const struct option_row *r)
{
	if (strcmp(r->name, "policy") == 0) {
		put_policies(strcmp(c->name, "run") == 0);
		return;
	}
	for (const char *p = words_of(r); *p != '\0';) {
		size_t len = strcspn(p, "|");

		if (islower((unsigned char)*p))
			printf("%.*s ", (int)len, p);
		p += len + (p[len] != '\0');
	}
}

/* In a text between single quotes. set: characters that get a backslash. */
static void put_quoted(const char *text, const char *set)
{
	for (; *text != '\0'; text++) {
		if (strchr(set, *text) != NULL)
			putchar('\\');
		if (*text == '\'')
			fputs("'\\''", stdout);
		else
			putchar(*text);
	}
}

static void put_commands(void)
{
	const struct command *c;

	for (unsigned i = 0; (c = command_nth(i)) != NULL; i++)
		printf("%s ", c->name);
}

static unsigned rows_of(const struct command *c)
{
	return c->options != NULL ? c->options->nr : 0;
}

/* --- bash --- */

/* "run --ram"|"sim -m": as a pattern of case. */
static void bash_pattern(const struct command *c, const struct option_row *r, bool first)
{
	printf("%s\"%s --%s\"", first ? "" : "|", c->name, r->name);
	if (r->letter != '\0')
		printf("|\"%s -%c\"", c->name, r->letter);
}

/* All options that take a value of that kind, as one pattern. of: only commands with such operands. */
static void bash_patterns(enum taken kind, enum operand of)
{
	const struct command *c;
	bool first = true;

	for (unsigned i = 0; (c = command_nth(i)) != NULL; i++) {
		for (unsigned k = 0; k < rows_of(c); k++) {
			enum taken what = takes(&c->options->rows[k]);
			bool fits = of != OPERAND_NONE ? operands_of(c->name)->what == of && what != TAKES_NOTHING : what == kind;

			if (!fits)
				continue;
			bash_pattern(c, &c->options->rows[k], first);
			first = false;
		}
	}
}

static void bash_values(void)
{
	const struct command *c;

	printf("\tcase \"$command $prev\" in\n\t");
	bash_patterns(TAKES_FILE, OPERAND_NONE);
	printf(")\n\t\tCOMPREPLY=($(compgen -f -- \"$cur\")); compopt -o filenames 2>/dev/null; return ;;\n\t");
	bash_patterns(TAKES_OTHER, OPERAND_NONE);
	printf(")\n\t\treturn ;;\n");
	for (unsigned i = 0; (c = command_nth(i)) != NULL; i++) {
		for (unsigned k = 0; k < rows_of(c); k++) {
			if (takes(&c->options->rows[k]) != TAKES_WORD)
				continue;
			printf("\t");
			bash_pattern(c, &c->options->rows[k], true);
			printf(")\n\t\tCOMPREPLY=($(compgen -W \"");
			put_words(c, &c->options->rows[k]);
			printf("\" -- \"$cur\")); return ;;\n");
		}
	}
	printf("\tesac\n");
}

static void bash_operand(const struct operands *o)
{
	switch (o->what) {
	case OPERAND_NONE:
		break;
	case OPERAND_FILE:
		printf("COMPREPLY=($(compgen -f -- \"$cur\")); compopt -o filenames 2>/dev/null");
		break;
	case OPERAND_COMMAND:
		printf("COMPREPLY=($(compgen -c -- \"$cur\"))");
		break;
	case OPERAND_RUN:
		printf("COMPREPLY=($(compgen -W \"$(" LIST_RUNS ")\" -- \"$cur\"))");
		break;
	case OPERAND_PROCESS:
		printf("COMPREPLY=($(compgen -W \"$(" LIST_PROCESSES ")\" -- \"$cur\"))");
		break;
	case OPERAND_SUBCOMMAND:
		printf("COMPREPLY=($(compgen -W \"");
		put_commands();
		printf("\" -- \"$cur\"))");
		break;
	case OPERAND_WORDS:
		printf("COMPREPLY=($(compgen -W \"%s\" -- \"$cur\"))", o->words);
		break;
	}
}

static void bash_command(const struct command *c)
{
	printf("\t%s)\n\t\tif [[ $cur == -* ]]; then\n\t\t\tCOMPREPLY=($(compgen -W \"", c->name);
	for (unsigned k = 0; k < rows_of(c); k++)
		printf("--%s ", c->options->rows[k].name);
	printf("--help\" -- \"$cur\"))\n\t\telse\n\t\t\t");
	bash_operand(operands_of(c->name));
	printf("\n\t\t\t:\n\t\tfi ;;\n");
}

/* Behind the command that is run its own completion goes on, if bash-completion is there. */
static void print_bash(void)
{
	const struct command *c;

	printf("# bash completion for steward, made by: steward completion bash\n"
	       "_steward()\n{\n"
	       "\tlocal cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} command=${COMP_WORDS[1]} i\n"
	       "\tCOMPREPLY=()\n"
	       "\tif ((COMP_CWORD == 1)); then\n\t\tCOMPREPLY=($(compgen -W \"");
	put_commands();
	printf("--help --version\" -- \"$cur\"))\n\t\treturn\n\tfi\n");
	printf("\tcase $command in\n\trun|record|validate)\n"
	       "\t\tfor ((i = 2; i < COMP_CWORD; i++)); do\n"
	       "\t\t\tcase \"$command ${COMP_WORDS[i]}\" in\n"
	       "\t\t\t*\" --\") i=$((i + 1)); break ;;\n\t\t\t");
	bash_patterns(TAKES_NOTHING, OPERAND_COMMAND);
	printf(") i=$((i + 1)) ;;\n\t\t\t*\" -\"*) ;;\n\t\t\t*) break ;;\n\t\t\tesac\n\t\tdone\n"
	       "\t\tif ((i < COMP_CWORD)); then\n"
	       "\t\t\tif declare -F _command_offset >/dev/null; then _command_offset $i; else "
	       "COMPREPLY=($(compgen -f -- \"$cur\")); fi\n"
	       "\t\t\treturn\n\t\tfi ;;\n\tesac\n");
	bash_values();
	printf("\tcase $command in\n");
	for (unsigned i = 0; (c = command_nth(i)) != NULL; i++)
		bash_command(c);
	printf("\tesac\n}\ncomplete -F _steward steward\n");
}

/* --- zsh --- */

static void zsh_option(const struct command *c, const struct option_row *r)
{
	printf(" \\\n\t\t\t");
	if (r->letter != '\0')
		printf("'(-%c --%s)'{-%c,--%s}'[", r->letter, r->name, r->letter, r->name);
	else
		printf("'*--%s[", r->name);
	put_quoted(r->help, "[]\\");
	printf("]");
	if (takes(r) != TAKES_NOTHING) {
		printf(":");
		put_quoted(r->value, ":[]\\");
		printf(":");
		if (takes(r) == TAKES_FILE) {
			printf("_files");
		} else if (takes(r) == TAKES_WORD) {
			printf("(");
			put_words(c, r);
			printf(")");
		}
	}
	printf("'");
}

static void zsh_operand(const struct operands *o)
{
	switch (o->what) {
	case OPERAND_NONE:
		break;
	case OPERAND_FILE:
		printf(" \\\n\t\t\t'*:file:_files'");
		break;
	case OPERAND_COMMAND:
		printf(" \\\n\t\t\t'*::command:_normal'");
		break;
	case OPERAND_RUN:
		printf(" \\\n\t\t\t\"1:run:($(");
		fputs(LIST_RUNS, stdout);
		printf("))\"");
		break;
	case OPERAND_PROCESS:
		printf(" \\\n\t\t\t\"1:process:($(");
		fputs(LIST_PROCESSES, stdout);
		printf("))\"");
		break;
	case OPERAND_SUBCOMMAND:
		printf(" \\\n\t\t\t'1:command:(");
		put_commands();
		printf(")'");
		break;
	case OPERAND_WORDS:
		printf(" \\\n\t\t\t'1:word:(%s)'", o->words);
		break;
	}
}

static void print_zsh(void)
{
	const struct command *c;

	printf("#compdef steward\n# zsh completion for steward, made by: steward completion zsh\n"
	       "_steward()\n{\n\tlocal -a commands\n\tcommands=(\n");
	for (unsigned i = 0; (c = command_nth(i)) != NULL; i++) {
		printf("\t\t'%s:", c->name);
		put_quoted(c->summary, ":\\");
		printf("'\n");
	}
	printf("\t)\n\tif ((CURRENT == 2)); then\n\t\t_describe command commands\n\t\treturn\n\tfi\n"
	       "\tshift words\n\t((CURRENT--))\n\tcase $words[1] in\n");
	for (unsigned i = 0; (c = command_nth(i)) != NULL; i++) {
		printf("\t%s)\n\t\t_arguments -S", c->name);
		for (unsigned k = 0; k < rows_of(c); k++)
			zsh_option(c, &c->options->rows[k]);
		printf(" \\\n\t\t\t'(-h --help)'{-h,--help}'[print the usage]'");
		zsh_operand(operands_of(c->name));
		printf(" ;;\n");
	}
	printf("\tesac\n}\n_steward \"$@\"\n");
}

/* --- fish --- */

static void fish_option(const struct command *c, const struct option_row *r)
{
	printf("complete -c steward -n '__fish_seen_subcommand_from %s' -l %s", c->name, r->name);
	if (r->letter != '\0')
		printf(" -s %c", r->letter);
	if (takes(r) == TAKES_FILE)
		printf(" -rF");
	else if (takes(r) != TAKES_NOTHING)
		printf(" -x");
	if (takes(r) == TAKES_WORD) {
		printf(" -a '");
		put_words(c, r);
		printf("'");
	}
	printf(" -d '");
	put_quoted(r->help, "\\");
	printf("'\n");
}

static void fish_operand(const struct operands *o, const char *command)
{
	static const char *const what[] = {
		[OPERAND_FILE] = "-F", [OPERAND_COMMAND] = "-xa '(__fish_complete_subcommand --fcs-skip=2)'",
	};

	if (o->what == OPERAND_NONE)
		return;
	printf("complete -c steward -n '__fish_seen_subcommand_from %s' ", command);
	switch (o->what) {
	case OPERAND_RUN:
		printf("-xa '(");
		put_quoted(LIST_RUNS, "");
		printf(")'");
		break;
	case OPERAND_PROCESS:
		printf("-xa '(");
		put_quoted(LIST_PROCESSES, "");
		printf(")'");
		break;
	case OPERAND_SUBCOMMAND:
		printf("-xa '");
		put_commands();
		printf("'");
		break;
	case OPERAND_WORDS:
		printf("-xa '%s'", o->words);
		break;
	default:
		printf("%s", what[o->what]);
	}
	printf("\n");
}

static void print_fish(void)
{
	const struct command *c;

	printf("# fish completion for steward, made by: steward completion fish\ncomplete -c steward -f\n");
	for (unsigned i = 0; (c = command_nth(i)) != NULL; i++) {
		printf("complete -c steward -n __fish_use_subcommand -a %s -d '", c->name);
		put_quoted(c->summary, "\\");
		printf("'\n");
		for (unsigned k = 0; k < rows_of(c); k++)
			fish_option(c, &c->options->rows[k]);
		fish_operand(operands_of(c->name), c->name);
	}
	printf("complete -c steward -l help -s h -d 'print the usage'\n");
}

int completion_main(int argc, char **argv)
{
	static const struct { const char *name; void (*print)(void); } shells[] = {
		{ "bash", print_bash }, { "zsh", print_zsh }, { "fish", print_fish },
	};
	int err, first;

	err = options_parse(&completion_options, argc, argv, NULL, &first);
	if (err != 0)
		return err;
	if (argc - first != 1)
		return msg_fail(EXIT_USAGE, "completion", "name one shell; steward completion %s", completion_options.usage);
	for (unsigned i = 0; i < ARRAY_SIZE(shells); i++) {
		if (strcmp(shells[i].name, argv[first]) == 0) {
			shells[i].print();
			return show_finish(NULL);
		}
	}
	return msg_fail(EXIT_USAGE, argv[first], "no script for this shell; there are bash, zsh and fish");
}
