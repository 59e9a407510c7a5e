/*
 * Fuzz target: arguments of --swap, one a line. What is refused has a complaint of two halves and changes nothing; what
 * is accepted is in order of priority once it is settled, and can be described.
 */
#include <stdlib.h>
#include <string.h>

#include "cli/run/swapspec.h"
#include "target.h"

static void require(bool holds)
{
	if (!holds)
		abort();
}

static void add(struct swap_specs *s, const char *text)
{
	struct swap_specs before = *s;
	struct swap_complaint complaint = { .text = "" };

	if (swap_specs_add(s, text, &complaint) == 0) {
		require(s->nr == before.nr + 1 && complaint.text[0] == '\0');
		return;
	}
	require(memcmp(s, &before, sizeof(before)) == 0);
	require(strstr(complaint.text, "; ") != NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct swap_specs s = { .nr = 0 };
	char *text = malloc(size + 1), *save = NULL;

	require(text != NULL);
	memcpy(text, data, size);
	text[size] = '\0';
	for (char *line = strtok_r(text, "\n", &save); line != NULL; line = strtok_r(NULL, "\n", &save))
		add(&s, line);
	free(text);
	swap_specs_settle(&s);
	for (unsigned i = 0; i < s.nr; i++) {
		char described[2 * SWAP_PATH_MAX + 128];
		struct fmt f;

		fmt_init(&f, described, sizeof(described));
		swap_spec_describe(&f, &s.spec[i]);
		require(f.len + 1 < f.size && s.spec[i].codec != SWAP_AUTO);
		require(i == 0 || s.spec[i - 1].prio >= s.spec[i].prio);
		require(memchr(s.spec[i].path, '\0', sizeof(s.spec[i].path)) != NULL);
	}
	return 0;
}
