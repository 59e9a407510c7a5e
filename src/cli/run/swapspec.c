#include "cli/run/swapspec.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/size.h"

#define PRIO_MAX 32767
#define CONNECTIONS 2
#define DEADLINE_S 30
#define DEADLINE_MAX_S 86400

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

static bool is_uri(const char *word)
{
	static const char *const schemes[] = { "nbd://", "nbds://", "nbd+unix://", "nbds+unix://" };

	for (unsigned i = 0; i < ARRAY_SIZE(schemes); i++)
		if (strncmp(word, schemes[i], strlen(schemes[i])) == 0)
			return true;
	return false;
}

static int set_path(struct swap_spec *spec, enum swap_kind kind, const char *path, struct swap_complaint *c)
{
	if (strlen(path) >= sizeof(spec->path))
		return complain(c, "the path is longer than %zu bytes; use a shorter one", sizeof(spec->path) - 1);
	spec->kind = kind;
	memcpy(spec->path, path, strlen(path) + 1);
	return 0;
}

/* "pool", "pool:zstd", "file:PATH", "nbd://HOST/EXPORT". */
static int set_kind(struct swap_spec *spec, char *word, struct swap_complaint *c)
{
	char *colon = strchr(word, ':');
	const char *rest = colon != NULL ? colon + 1 : NULL;
	size_t len = colon != NULL ? (size_t)(colon - word) : strlen(word);

	if (is_uri(word)) {
		spec->connections = CONNECTIONS;
		spec->deadline_s = DEADLINE_S;
		return set_path(spec, SWAP_NBD, word, c);
	}
	if (len == 4 && strncmp(word, "pool", 4) == 0) {
		spec->kind = SWAP_POOL;
		return rest != NULL ? set_codec(spec, rest, c) : 0;
	}
	if (len != 4 || strncmp(word, "file", 4) != 0)
		return complain(c, "\"%.100s\" is no place to swap to; use pool, file:PATH or nbd://HOST/EXPORT", word);
	if (rest == NULL || rest[0] == '\0')
		return complain(c, "file has no path; write file:PATH, a directory, a file or a block device");
	return set_path(spec, SWAP_NAMELESS, rest, c);
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

static int set_rate(struct swap_spec *spec, const char *value, struct swap_complaint *c)
{
	if (size_parse(value, &spec->rate) != 0 || spec->rate < PAGE_SIZE)
		return complain(c, "rate=%.100s is no rate; write bytes a second, as rate=100M", value);
	return 0;
}

static int set_mirror(struct swap_spec *spec, const char *value, struct swap_complaint *c)
{
	if (!is_uri(value))
		return complain(c, "mirror=%.100s is no export; write it as mirror=nbd://HOST/EXPORT", value);
	if (strlen(value) >= sizeof(spec->mirror))
		return complain(c, "the mirror's URI is longer than %zu bytes; use a shorter one", sizeof(spec->mirror) - 1);
	if (strcmp(value, spec->path) == 0)
		return complain(c, "the mirror is the same export; give another one");
	memcpy(spec->mirror, value, strlen(value) + 1);
	return 0;
}

/* A number from least to most. */
static int get_number(const char *key, const char *what, const char *value, long least, long most, long *number,
		      struct swap_complaint *c)
{
	char *end;

	*number = strtol(value, &end, 10);
	if (value[0] < '0' || value[0] > '9' || *end != '\0' || *number < least || *number > most)
		return complain(c, "%s=%.100s is no %s; give a number from %ld to %ld", key, value, what, least, most);
	return 0;
}

/* "key=value" that are not for all kinds. *known: there is such a key. */
static int set_special(struct swap_spec *spec, const char *key, const char *value, bool *known, struct swap_complaint *c)
{
	const char *const size_key = spec->kind == SWAP_POOL ? "max" : "size";
	bool nbd = spec->kind == SWAP_NBD;
	long n = 0;
	int err;

	*known = true;
	if (strcmp(key, size_key) == 0)
		return set_bytes(spec, size_key, value, c);
	if (nbd && strcmp(key, "rate") == 0)
		return set_rate(spec, value, c);
	if (nbd && strcmp(key, "mirror") == 0)
		return set_mirror(spec, value, c);
	if (nbd && strcmp(key, "connections") == 0) {
		err = get_number(key, "number of connections", value, 1, SWAP_CONNECTIONS_MAX, &n, c);
		spec->connections = (uint8_t)n;
		return err;
	}
	if (nbd && strcmp(key, "deadline") == 0) {
		err = get_number(key, "number of seconds", value, 1, DEADLINE_MAX_S, &n, c);
		spec->deadline_s = (uint32_t)n;
		return err;
	}
	*known = false;
	return 0;
}

/* "key=value", or a word, behind the first comma. */
static int set_option(struct swap_spec *spec, char *word, struct swap_complaint *c)
{
	static const struct {
		const char *name, *options;
	} kinds[] = {
		[SWAP_POOL] = { "pool", "max=SIZE or prio=N" },
		[SWAP_NAMELESS] = { "file", "size=SIZE, direct, encrypt or prio=N" },
		[SWAP_NBD] = { "nbd", "size=SIZE, encrypt, mirror=URI, connections=N, deadline=SECONDS, rate=SIZE or prio=N" },
	};
	char *equals = strchr(word, '=');
	bool known = false;
	long prio = 0;
	int err = 0;

	if (spec->kind == SWAP_NAMELESS && strcmp(word, "direct") == 0) {
		spec->direct = true;
		return 0;
	}
	if (spec->kind != SWAP_POOL && strcmp(word, "encrypt") == 0) {
		spec->encrypt = true;
		return 0;
	}
	if (equals != NULL) {
		*equals = '\0';
		err = set_special(spec, word, equals + 1, &known, c);
	}
	if (known)
		return err;
	if (equals != NULL && strcmp(word, "prio") == 0) {
		err = get_number(word, "priority", equals + 1, 0, PRIO_MAX, &prio, c);
		spec->prio = (int32_t)prio;
		spec->has_prio = true;
		return err;
	}
	return complain(c, "\"%.100s\" is no option of %s; use %s", word, kinds[spec->kind].name, kinds[spec->kind].options);
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
