/* steward explain keys: what a machine file may say, from the table of keys itself; and the presets of CPUs. */
#include <stdio.h>
#include <string.h>

#include "cli/explain.h"

#define LINE_COLUMNS 78

/* Columns of the word that text begins with; each character of UTF-8 takes one. *bytes: how long it is. */
static int word_columns(const char *text, int *bytes)
{
	int columns = 0;

	for (*bytes = 0; text[*bytes] != '\0' && text[*bytes] != ' '; ++*bytes)
		columns += ((unsigned char)text[*bytes] & 0xc0) != 0x80;
	return columns;
}

/* Words in as many lines as they need. */
static void wrap(int indent, const char *text)
{
	int at = 0;

	while (*text != '\0') {
		int bytes, columns = word_columns(text, &bytes);

		if (at == 0 || at + 1 + columns > LINE_COLUMNS) {
			printf("%s%*s", at == 0 ? "" : "\n", indent, "");
			at = indent;
		} else {
			putchar(' ');
			at++;
		}
		printf("%.*s", bytes, text);
		at += columns;
		text += bytes + (text[bytes] == ' ');
	}
	putchar('\n');
}

static void show_key(const struct sim_config_key *k)
{
	char line[256];

	printf("%s\n", k->path);
	wrap(4, k->doc);
	if (k->def != NULL)
		snprintf(line, sizeof(line), "%s; default %s", k->value, k->def);
	else
		snprintf(line, sizeof(line), "%s; must be given", k->value);
	wrap(4, line);
}

static int explain(const struct explain_args *a)
{
	struct sim_cpu_preset p;
	struct sim_config_key k;
	const char *list = NULL;

	(void)a;
	for (unsigned i = 0; sim_config_key(i, &k); i++) {
		if (k.list != NULL && (list == NULL || strcmp(list, k.list) != 0))
			printf("\nEntries of %s:\n\n", k.list);
		list = k.list;
		show_key(&k);
	}
	printf("\nPresets of CPUs, and where their figures are from:\n\n");
	for (unsigned i = 0; sim_cpu_preset(i, &p); i++) {
		printf("%s: %s\n", p.name, p.cpu);
		wrap(4, p.source);
	}
	return 0;
}

const struct explain_topic explain_keys = {
	.name = "keys",
	.usage = "",
	.summary = "what a machine file may say",
	.main = explain,
};
