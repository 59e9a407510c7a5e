/*
 * struct sim_config to a machine file: every key of the table in its order, so that a file read back is the same
 * machine whatever the defaults will be then. Presets are not written; what they stand for is.
 */
#include "sim/config_keys.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"

#define TEXT_MAX 32768 /* all lists full, each value at its longest, and half as much again */

static void write_entries(struct fmt *f, const struct config_key *k, const struct sim_config *c, const char *indent)
{
	for (uint32_t i = 0; i < config_count(k->list, c); i++) {
		const char *entry = (const char *)c + k->offset + (size_t)i * k->list->stride;

		fmt_str(f, "\n");
		fmt_str(f, indent);
		fmt_str(f, "  - {");
		for (unsigned j = 0; j < k->list->nr_keys; j++) {
			fmt_str(f, j > 0 ? ", " : "");
			fmt_str(f, k->list->keys[j].path);
			fmt_str(f, ": ");
			config_value_format(&k->list->keys[j], entry, f);
		}
		fmt_char(f, '}');
	}
}

/* Begins a section when a key is in another one than the key before; returns the name without it. */
static const char *write_section(struct fmt *f, const char *path, const char *before)
{
	const char *dot = strchr(path, '.');

	if (dot == NULL)
		return path;
	if (before == NULL || strncmp(path, before, (size_t)(dot + 1 - path)) != 0) {
		for (const char *p = path; p < dot; p++)
			fmt_char(f, *p);
		fmt_str(f, ":\n");
	}
	fmt_str(f, "  ");
	return dot + 1;
}

static void write_keys(struct fmt *f, const struct sim_config *c)
{
	const char *before = NULL;

	for (unsigned i = 0; i < config_nr_keys; i++) {
		const struct config_key *k = &config_keys[i];
		const char *name;

		if (k->type == KEY_PRESET)
			continue;
		name = write_section(f, k->path, before);
		before = k->path;
		fmt_str(f, name);
		fmt_char(f, ':');
		if (k->type != KEY_ITEMS || config_count(k->list, c) == 0)
			fmt_char(f, ' ');
		if (k->type != KEY_ITEMS)
			config_value_format(k, c, f);
		else if (config_count(k->list, c) == 0)
			fmt_str(f, "[]");
		else
			write_entries(f, k, c, name != k->path ? "  " : "");
		fmt_char(f, '\n');
	}
}

int sim_config_write(const struct sim_config *c, int fd)
{
	char text[TEXT_MAX];
	struct fmt f;

	fmt_init(&f, text, sizeof(text));
	write_keys(&f, c);
	ASSERT(f.len < sizeof(text) - 1);
	for (size_t done = 0; done < f.len;) {
		ssize_t n = write(fd, text + done, f.len - done);

		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0)
			done += (size_t)n;
	}
	return 0;
}
