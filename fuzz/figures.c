/*
 * Fuzz target: a condition as --fail-if has it, a newline, and the JSON that it is about. Whatever they are, they are
 * refused with a reason that points into them, or understood; and what a figure is found by leads to it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli/figures/condition.h"
#include "target.h"

static void require(bool holds)
{
	if (!holds)
		abort();
}

static const char *last_part(const char *name)
{
	const char *dot = strrchr(name, '.');

	return dot != NULL ? dot + 1 : "";
}

/* A last part leads to the only figure that has it. */
static void look_up_part(const struct figures *f, const char *part)
{
	const struct figure *found;
	unsigned have = 0;
	bool several;

	for (unsigned i = 0; i < f->nr; i++) {
		if (strcmp(f->figure[i].name, part) == 0)
			return;
		have += strcmp(last_part(f->figure[i].name), part) == 0;
	}
	if (strcmp(part, "minor") == 0 || strcmp(part, "soft") == 0 || strcmp(part, "major") == 0)
		return;
	found = figures_find(f, part, strlen(part), &several);
	require((found != NULL) == (have == 1) && several == (have > 1));
	require(found == NULL || strcmp(last_part(found->name), part) == 0);
}

static void look_up(const struct figures *f)
{
	bool several;

	for (unsigned i = 0; i < f->nr; i++) {
		const struct figure *found = figures_find(f, f->figure[i].name, strlen(f->figure[i].name), &several);

		/* The first, if a key stands there twice. */
		require(found != NULL && found <= &f->figure[i] && strcmp(found->name, f->figure[i].name) == 0);
		if (*last_part(f->figure[i].name) != '\0')
			look_up_part(f, last_part(f->figure[i].name));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *newline = size > 0 ? memchr(data, '\n', size) : NULL;
	size_t first = newline != NULL ? (size_t)(newline - data) : size;
	char *text = strndup((const char *)data, first), *json;
	struct figures_error error = { 0 };
	struct figures f;
	struct condition c;

	size -= MIN(size, first + 1);
	json = malloc(size + 1);
	require(text != NULL && json != NULL);
	memcpy(json, data + first + (size > 0), size);
	json[size] = '\0';
	int with_arrays = figures_parse(&f, json, size, true, &error);
	unsigned all = f.nr;

	figures_free(&f);
	int err = figures_parse(&f, json, size, false, &error);

	require(err == 0 || (err == -EINVAL && error.what != NULL && error.at <= size + 1 && f.figure == NULL && f.nr == 0));
	require(with_arrays == err && all >= f.nr);
	look_up(&f);
	err = condition_eval(&c, text, &f);
	require((err == 0) == (c.what == NULL) && c.nr_used <= CONDITION_NAMES);
	if (err != 0)
		require(c.at >= text && c.at + c.at_len <= text + strlen(text));
	figures_free(&f);
	free(json);
	free(text);
	return 0;
}
