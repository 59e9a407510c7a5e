/* steward explain keys: what a machine file may say, from the table of keys itself; and the presets of CPUs. */
#include <stdio.h>
#include <string.h>

#include "cli/explain/explain.h"
#include "cli/explain/picture.h"

static void show_key(const struct sim_config_key *k)
{
	char line[256];

	printf("%s\n", k->path);
	picture_wrap(4, k->doc);
	if (k->def != NULL)
		snprintf(line, sizeof(line), "%s; default %s", k->value, k->def);
	else
		snprintf(line, sizeof(line), "%s; must be given", k->value);
	picture_wrap(4, line);
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
		picture_wrap(4, p.source);
	}
	return 0;
}

const struct explain_topic explain_keys = {
	.name = "keys",
	.usage = "",
	.summary = "what a machine file may say",
	.main = explain,
};
