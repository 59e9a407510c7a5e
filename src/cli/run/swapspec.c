#include "cli/run/swapspec.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/size.h"

#define PRIO_MAX 32767

static int complain(struct swap_complaint *c, const char *why, ...) __attribute__((format(printf, 2, 3)));

static int complain(struct swap_complaint *c, const char *why, ...)
{
	va_list args;

	va_start(args, why);
	vsnprintf(c->text, sizeof(c->text), why, args);
	va_end(args);
	return -EINVAL;
}

/*
 * Takes the word up to the next comma off *text into word, which has room for size bytes; two commas are one of the word.
 * False: it is longer. *text is NULL after the last one.
 */
static bool next_word(const char **text, char *word, size_t size)
{
	const char *p = *text;
	size_t len = 0;

	for (; *p != '\0'; p++) {
		if (*p == ',' && p[1] != ',')
			break;
		p += *p == ',';
		if (len + 1 == size)
			return false;
		word[len++] = *p;
	}
	word[len] = '\0';
	*text = *p == ',' ? p + 1 : NULL;
	return true;
}

static int set_codec(struct swap_spec *spec, const char *name, struct swap_complaint *c)
{
	static const char *const names[] = { [SWAP_LZ4] = "lz4", [SWAP_ZSTD] = "zstd", [SWAP_AUTO] = "auto" };

	for (unsigned i = 0; i < ARRAY_SIZE(names); i++)
		if (strcmp(name, names[i]) == 0) {
			spec->codec = (uint8_t)i;
			return 0;
		}
	return complain(c, "\"%.100s\" is no way to compress; use lz4, zstd or auto", name);
}

/* "pool", "pool:zstd", "file:PATH". */
static int set_kind(struct swap_spec *spec, char *word, struct swap_complaint *c)
{
	char *colon = strchr(word, ':');
	const char *rest = colon != NULL ? colon + 1 : NULL;
	size_t len = colon != NULL ? (size_t)(colon - word) : strlen(word);

	if (len == 4 && strncmp(word, "pool", 4) == 0) {
		spec->kind = SWAP_POOL;
		return rest != NULL ? set_codec(spec, rest, c) : 0;
	}
	if (len != 4 || strncmp(word, "file", 4) != 0)
		return complain(c, "\"%.100s\" is no place to swap to; use pool or file:PATH", word);
	if (rest == NULL || rest[0] == '\0')
		return complain(c, "file has no path; write file:PATH, a directory, a file or a block device");
	if (strlen(rest) >= sizeof(spec->path))
		return complain(c, "the path is longer than %zu bytes; use a shorter one", sizeof(spec->path) - 1);
	spec->kind = SWAP_NAMELESS;
	memcpy(spec->path, rest, strlen(rest) + 1);
	return 0;
}

static int set_bytes(struct swap_spec *spec, const char *key, const char *value, struct swap_complaint *c)
{
	if (size_parse(value, &spec->bytes) != 0)
		return complain(c, "%s=%.100s is not a size; write it as %s=4G", key, value, key);
	if (spec->bytes < PAGE_SIZE)
		return complain(c, "%s=%.100s holds no page; give more, or leave the area out", key, value);
	spec->has_bytes = true;
	return 0;
}

static int set_prio(struct swap_spec *spec, const char *value, struct swap_complaint *c)
{
	char *end;
	long prio = strtol(value, &end, 10);

	if (value[0] < '0' || value[0] > '9' || *end != '\0' || prio > PRIO_MAX)
		return complain(c, "prio=%.100s is no priority; give a number from 0 to %d", value, PRIO_MAX);
	spec->prio = (int32_t)prio;
	spec->has_prio = true;
	return 0;
}

/* "key=value" behind the first comma. */
static int set_option(struct swap_spec *spec, char *word, struct swap_complaint *c)
{
	const char *const size_key = spec->kind == SWAP_POOL ? "max" : "size";
	char *equals = strchr(word, '=');

	if (equals == NULL && spec->kind != SWAP_POOL && strcmp(word, "direct") == 0) {
		spec->direct = true;
		return 0;
	}
	if (equals != NULL) {
		*equals = '\0';
		if (strcmp(word, size_key) == 0)
			return set_bytes(spec, size_key, equals + 1, c);
		if (strcmp(word, "prio") == 0)
			return set_prio(spec, equals + 1, c);
	}
	return complain(c, "\"%.100s\" is no option of %s; use %s=SIZE%s or prio=N", word,
			spec->kind == SWAP_POOL ? "pool" : "file", size_key, spec->kind == SWAP_POOL ? "" : ", direct");
}

static int parse(const char *text, struct swap_spec *spec, struct swap_complaint *c)
{
	char word[512];
	bool first = true;

	*spec = (struct swap_spec){ .codec = SWAP_LZ4 };
	while (text != NULL) {
		if (!next_word(&text, word, sizeof(word)))
			return complain(c, "it is too long; use a shorter path");
		int err = first ? set_kind(spec, word, c) : set_option(spec, word, c);

		if (err != 0)
			return err;
		first = false;
	}
	return 0;
}

int swap_specs_add(struct swap_specs *s, const char *text, struct swap_complaint *complaint)
{
	struct swap_spec spec;
	int err = parse(text, &spec, complaint);

	if (err != 0)
		return err;
	for (unsigned i = 0; i < s->nr; i++) {
		if (spec.kind == SWAP_POOL && s->spec[i].kind == SWAP_POOL)
			return complain(complaint, "there is a pool already; give one");
		if (spec.kind != SWAP_POOL && s->spec[i].kind != SWAP_POOL && strcmp(spec.path, s->spec[i].path) == 0)
			return complain(complaint, "%.200s is given twice; give it once", spec.path);
	}
	if (s->nr == SWAP_SPECS)
		return complain(complaint, "there are more than %d; leave some out", SWAP_SPECS);
	s->spec[s->nr++] = spec;
	return 0;
}

void swap_specs_settle(struct swap_specs *s)
{
	for (unsigned i = 0; i < s->nr; i++) {
		struct swap_spec *spec = &s->spec[i];

		if (!spec->has_prio)
			spec->prio = -1 - (int32_t)i;
		if (spec->codec == SWAP_AUTO)
			spec->codec = s->nr == 1 ? SWAP_ZSTD : SWAP_LZ4;
	}
	/* Insertion sort: those of the same priority stay in their order. */
	for (unsigned i = 1; i < s->nr; i++) {
		struct swap_spec spec = s->spec[i];
		unsigned k = i;

		for (; k > 0 && s->spec[k - 1].prio < spec.prio; k--)
			s->spec[k] = s->spec[k - 1];
		s->spec[k] = spec;
	}
}
