/*
 * Machine files: YAML documents to struct sim_config. Back again: config_write.c.
 *
 *	text ──libyaml──► tree of nodes ──collect──► a node for each row of the table ──apply──► fields
 *	                                    │                                             │
 *	                                    unknown key, key twice, no section            wrong type, out of range
 *
 * Collecting walks the document and knows what does not belong there; applying walks the table (config_keys.c) and
 * knows what belongs there. Two passes, because a mapping of YAML has no order and the table has one.
 *
 * Laws. 1. What fails changes nothing: all work is on a copy. 2. Each complaint names the key with its section and
 * index, and the line. 3. What sim_config_write writes reads back to the same.
 *
 * Input is anybody's. A file is at most 256 KiB; libyaml bounds nesting; an alias is the node it stands for, so a
 * document may be a graph with cycles, but the walk goes no deeper than the table: section, list, entry, list.
 */
#include "sim/config_keys.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <yaml.h>

#include "base/assert.h"

#define FILE_MAX (256 * 1024)
#define PATH_TEXT 128
#define DEPTH_NUMBERS 2 /* a list, or the rows of a matrix */

/* A document, and where its complaints go. */
struct source {
	yaml_document_t doc;
	struct sim_config_error *error;
	const char *path; /* of a value from the command line; NULL: a file, whose lines count */
};

/* A table, the fields that it describes, and what leads to its keys: "memory.zones[1]." */
struct scope {
	const struct config_key *keys;
	unsigned nr;
	void *base;
	char prefix[PATH_TEXT];
	yaml_node_t *value[CONFIG_KEYS_MAX];
};

int config_error(struct sim_config_error *error, unsigned line, const char *path, const char *text, ...)
{
	va_list args;
	int len = snprintf(error->text, sizeof(error->text), "%s%s", path, path[0] != '\0' ? ": " : "");

	error->line = line;
	va_start(args, text);
	if (len >= 0 && len < (int)sizeof(error->text))
		vsnprintf(error->text + len, sizeof(error->text) - (size_t)len, text, args);
	va_end(args);
	return -EINVAL;
}

static unsigned line_of(const struct source *s, const yaml_node_t *node)
{
	return s->path == NULL ? (unsigned)node->start_mark.line + 1 : 0;
}

static int complain(const struct source *s, const yaml_node_t *node, const char *path, const char *text)
{
	return config_error(s->error, line_of(s, node), path, "%s", text);
}

static const char *document_path(const struct source *s)
{
	return s->path != NULL ? s->path : "";
}

/* The text of a scalar, NULL: not one, or with a NUL inside. */
static const char *scalar_text(const yaml_node_t *node)
{
	const char *text = (const char *)node->data.scalar.value;

	return node->type == YAML_SCALAR_NODE && strlen(text) == node->data.scalar.length ? text : NULL;
}

/*
 * Collecting
 */

/* Name of the first key of a section, NULL: there is no such section. */
static const char *first_of_section(const struct scope *at, const char *path)
{
	size_t len = strlen(path);

	for (unsigned i = 0; i < at->nr; i++) {
		if (strncmp(at->keys[i].path, path, len) == 0 && at->keys[i].path[len] == '.')
			return at->keys[i].path + len + 1;
	}
	return NULL;
}

static bool is_section(const struct scope *at, const char *path)
{
	return first_of_section(at, path) != NULL;
}

static int unknown_key(const struct source *s, const struct scope *at, const yaml_node_t *key, const char *path)
{
	const char *near = config_nearest(at->keys, at->nr, path);
	char shown[2 * PATH_TEXT];

	snprintf(shown, sizeof(shown), "%s%s", at->prefix, path);
	if (is_section(at, path))
		return config_error(s->error, line_of(s, key), shown, "a section; name one of its keys, as in %s.%s",
				    path, first_of_section(at, path));
	if (near == NULL)
		return config_error(s->error, line_of(s, key), shown, "unknown key; see docs/machine-files.md");
	return config_error(s->error, line_of(s, key), shown, "unknown key; did you mean %s%s?", at->prefix, near);
}

static bool given_before(struct source *s, const yaml_node_t *map, const yaml_node_pair_t *end, const char *name)
{
	for (const yaml_node_pair_t *p = map->data.mapping.pairs.start; p < end; p++) {
		const char *other = scalar_text(yaml_document_get_node(&s->doc, p->key));

		if (strcmp(other, name) == 0)
			return true;
	}
	return false;
}

/* Notes which node belongs to which row. section: NULL, or the name of the one that map is. */
static int collect(struct source *s, struct scope *at, const yaml_node_t *map, const char *section)
{
	for (const yaml_node_pair_t *p = map->data.mapping.pairs.start; p < map->data.mapping.pairs.top; p++) {
		yaml_node_t *key = yaml_document_get_node(&s->doc, p->key);
		yaml_node_t *value = yaml_document_get_node(&s->doc, p->value);
		const char *name = scalar_text(key);
		const struct config_key *row;
		char path[PATH_TEXT], full[2 * PATH_TEXT];
		int err = 0;

		if (name == NULL)
			return complain(s, key, section != NULL ? section : "",
					"a key that is not a name; write NAME: VALUE");
		snprintf(path, sizeof(path), "%s%s%s", section != NULL ? section : "", section != NULL ? "." : "",
			 name);
		snprintf(full, sizeof(full), "%s%s", at->prefix, path);
		row = config_find(at->keys, at->nr, path, strlen(path));
		if (row == NULL && (section != NULL || !is_section(at, path)))
			return unknown_key(s, at, key, path);
		/* Keys before this one are known, so there are not more of them than rows. */
		if (given_before(s, map, p, name))
			return complain(s, key, full, "given twice; leave one out");
		if (row != NULL)
			at->value[row - at->keys] = value;
		else if (value->type != YAML_MAPPING_NODE)
			err = complain(s, value, full, "a section; write its keys below it, indented");
		else
			err = collect(s, at, value, path);
		if (err != 0)
			return err;
	}
	return 0;
}

/*
 * Applying
 */

static int apply_scalar(struct source *s, const struct config_key *k, void *base, const yaml_node_t *node,
			const char *path)
{
	const char *text = scalar_text(node);
	char why_text[200];
	struct fmt why;

	if (text == NULL)
		return complain(s, node, path, node->type == YAML_SCALAR_NODE ? "holds a NUL; leave it out" :
						"a single value belongs here, not a list or section");
	if (text[0] == '\0' && node->data.scalar.style == YAML_PLAIN_SCALAR_STYLE)
		return complain(s, node, path, "no value; give one or leave the key out");
	fmt_init(&why, why_text, sizeof(why_text));
	return config_value_parse(k, base, text, &why) != 0 ? complain(s, node, path, why_text) : 0;
}

/* Entries of a list, which may be rows of a matrix. *n: how many there are so far. */
static int apply_numbers(struct source *s, const struct config_key *k, uint8_t *numbers, uint32_t *n,
			 const yaml_node_t *list, const char *path, unsigned depth)
{
	for (yaml_node_item_t *i = list->data.sequence.items.start; i < list->data.sequence.items.top; i++) {
		const yaml_node_t *node = yaml_document_get_node(&s->doc, *i);
		const char *text = scalar_text(node);
		char why_text[200];
		struct fmt why;
		int err;

		if (node->type == YAML_SEQUENCE_NODE && depth < DEPTH_NUMBERS) {
			err = apply_numbers(s, k, numbers, n, node, path, depth + 1);
			if (err != 0)
				return err;
			continue;
		}
		if (*n == k->list->max)
			return config_error(s->error, line_of(s, node), path, "more than %u numbers; leave some out",
					    *n);
		fmt_init(&why, why_text, sizeof(why_text));
		if (text == NULL)
			return complain(s, node, path, "a number belongs here");
		if (config_number_parse(k, text, &numbers[*n], &why) != 0)
			return complain(s, node, path, why_text);
		++*n;
	}
	return 0;
}

static int apply_number_list(struct source *s, const struct config_key *k, void *base, const yaml_node_t *node,
			     const char *path)
{
	uint8_t numbers[256] = { 0 };
	uint32_t n = 0;
	int err = apply_numbers(s, k, numbers, &n, node, path, 1);

	if (err != 0)
		return err;
	if (k->list->padded && n > config_count(k->list, base))
		return config_error(s->error, line_of(s, node), path, "%u numbers for %u; leave some out", n,
				    config_count(k->list, base));
	memcpy((char *)base + k->offset, numbers, k->list->max);
	if (!k->list->padded)
		config_set_count(k->list, base, n);
	return 0;
}

static int apply_flags(struct source *s, const struct config_key *k, void *base, const yaml_node_t *list,
		       const char *path)
{
	uint8_t flags = 0;

	for (yaml_node_item_t *i = list->data.sequence.items.start; i < list->data.sequence.items.top; i++) {
		const yaml_node_t *node = yaml_document_get_node(&s->doc, *i);
		const char *text = scalar_text(node);
		char why_text[200];
		struct fmt why;

		fmt_init(&why, why_text, sizeof(why_text));
		if (text == NULL)
			return complain(s, node, path, "a name belongs here");
		if (config_flag_parse(k, text, &flags, &why) != 0)
			return complain(s, node, path, why_text);
	}
	*((uint8_t *)base + k->offset) = flags;
	return 0;
}

/* What a key of the table, or of an entry, has when the file says nothing. Lists: see fill_lists. */
static void fill_defaults(const struct config_key *keys, unsigned nr, void *base)
{
	char why_text[200];
	struct fmt why;

	for (unsigned i = 0; i < nr; i++) {
		int err = 0;

		fmt_init(&why, why_text, sizeof(why_text));
		if (keys[i].def != NULL && keys[i].type < KEY_FLAGS && !keys[i].computed)
			err = config_value_parse(&keys[i], base, keys[i].def, &why);
		ASSERT(err == 0);
	}
}

static void *entry_at(const struct config_key *k, void *base, unsigned index)
{
	return (char *)base + k->offset + (size_t)index * k->list->stride;
}

/* An entry before its keys are read. */
static void make_entry(const struct config_key *k, void *base, unsigned index)
{
	void *entry = entry_at(k, base, index);

	memset(entry, 0, k->list->stride);
	fill_defaults(k->list->keys, k->list->nr_keys, entry);
	if (k->offset == offsetof(struct sim_config, tlb)) {
		struct sim_tlb_config *t = entry;

		t->holds = SIM_TLB_4K | SIM_TLB_DATA | SIM_TLB_CODE;
	} else if (k->offset == offsetof(struct sim_config, zone) && index > 0) {
		struct sim_zone_config *z = entry;

		z->start_bytes = z[-1].start_bytes + z[-1].size_bytes;
	}
}

static int apply(struct source *s, struct scope *at, const struct config_key *k, const yaml_node_t *node,
		 const char *path);

static int apply_scope(struct source *s, struct scope *at, const yaml_node_t *map)
{
	int err = collect(s, at, map, NULL);

	for (unsigned i = 0; i < at->nr && err == 0; i++) {
		char path[2 * PATH_TEXT];

		snprintf(path, sizeof(path), "%s%s", at->prefix, at->keys[i].path);
		if (at->value[i] != NULL)
			err = apply(s, at, &at->keys[i], at->value[i], path);
		else if (at->keys[i].def == NULL)
			err = complain(s, map, path, "missing; add it");
	}
	return err;
}

static int apply_entry(struct source *s, const struct config_key *k, void *base, unsigned index,
		       const yaml_node_t *node, const char *path)
{
	struct scope in = { .keys = k->list->keys, .nr = k->list->nr_keys, .base = entry_at(k, base, index) };

	snprintf(in.prefix, sizeof(in.prefix), "%.96s[%u].", path, index);
	make_entry(k, base, index);
	if (node->type != YAML_MAPPING_NODE)
		return config_error(s->error, line_of(s, node), "",
				    "%.96s[%u]: keys belong here; write {NAME: VALUE, …}", path, index);
	return apply_scope(s, &in, node);
}

static int apply_entries(struct source *s, const struct config_key *k, void *base, const yaml_node_t *list,
			 const char *path)
{
	uint32_t n = 0;

	memset((char *)base + k->offset, 0, (size_t)k->list->max * k->list->stride);
	config_set_count(k->list, base, 0);
	for (yaml_node_item_t *i = list->data.sequence.items.start; i < list->data.sequence.items.top; i++, n++) {
		const yaml_node_t *node = yaml_document_get_node(&s->doc, *i);
		int err;

		if (n == k->list->max)
			return config_error(s->error, line_of(s, node), path, "more than %u entries; leave some out",
					    n);
		err = apply_entry(s, k, base, n, node, path);
		if (err != 0)
			return err;
	}
	config_set_count(k->list, base, n);
	return 0;
}

static int apply(struct source *s, struct scope *at, const struct config_key *k, const yaml_node_t *node,
		 const char *path)
{
	if (k->type < KEY_FLAGS)
		return apply_scalar(s, k, at->base, node, path);
	if (node->type != YAML_SEQUENCE_NODE)
		return complain(s, node, path, "a list belongs here; write it as [A, B]");
	if (k->type == KEY_FLAGS)
		return apply_flags(s, k, at->base, node, path);
	if (k->type == KEY_NUMBERS)
		return apply_number_list(s, k, at->base, node, path);
	return apply_entries(s, k, at->base, node, path);
}

static void count_nodes(struct sim_config *c)
{
	c->nr_nodes = 0;
	for (unsigned i = 0; i < c->nr_zones; i++)
		c->nr_nodes = MAX(c->nr_nodes, c->zone[i].node + 1u);
}

void sim_config_default(struct sim_config *c)
{
	static const struct sim_zone_config zones[] = {
		{ "DMA32", 0, 0, 3 * GIB, 256 },
		{ "Normal", 0, 4 * GIB, 5 * GIB, 32 },
	};

	memset(c, 0, sizeof(*c));
	fill_defaults(config_keys, config_nr_keys, c);
	c->levels = 4;
	memset(c->bits, 9, c->levels);
	c->nr_zones = ARRAY_SIZE(zones);
	memcpy(c->zone, zones, sizeof(zones));
	c->nr_swaps = 1;
	c->swap[0] = (struct sim_swap_config){ .kind = SIM_SWAP_COMPRESSED, .size_bytes = 8 * GIB, .prio = 100,
		.ratio = 2.63, .in_memory = true, .read_ns = 1000, .write_ns = 3000, .queue_depth = 1 };
	count_nodes(c);
}

/*
 * Reading
 */

/* Where libyaml stopped: its scanner knows a line, its reader an offset. */
static int yaml_failed(const struct source *s, const yaml_parser_t *p, const char *text, size_t len)
{
	unsigned line = (unsigned)p->problem_mark.line + 1;

	/* Where it has no memory, libyaml does not always say so. */
	if (p->error == YAML_MEMORY_ERROR || p->error == YAML_NO_ERROR)
		return -ENOMEM;
	if (p->error == YAML_READER_ERROR) {
		line = 1;
		for (size_t i = 0; i < len && i < p->problem_offset; i++)
			line += text[i] == '\n';
	}
	config_error(s->error, s->path == NULL ? line : 0, document_path(s), "not YAML: %s; correct it",
		     p->problem != NULL ? p->problem : "it cannot be read");
	return -EINVAL;
}

/* Parses text, which is one document; then the caller deletes s->doc. *root: its value. */
static int load(struct source *s, const char *text, size_t len, yaml_node_t **root)
{
	yaml_document_t more;
	yaml_parser_t p;
	int err = 0;

	if (!yaml_parser_initialize(&p))
		return -ENOMEM;
	yaml_parser_set_encoding(&p, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(&p, (const unsigned char *)text, len);
	if (!yaml_parser_load(&p, &s->doc)) {
		err = yaml_failed(s, &p, text, len);
		goto out;
	}
	*root = yaml_document_get_root_node(&s->doc);
	if (*root == NULL) {
		err = config_error(s->error, 0, document_path(s), "empty; %s",
				   s->path != NULL ? "give a value"
						   : "give the keys that are to differ, see docs/machine-files.md");
	} else if (!yaml_parser_load(&p, &more)) {
		err = yaml_failed(s, &p, text, len);
	} else {
		yaml_node_t *second = yaml_document_get_root_node(&more);

		if (second != NULL)
			err = complain(s, second, document_path(s), "a second document begins; leave it out");
		yaml_document_delete(&more);
	}
	if (err != 0)
		yaml_document_delete(&s->doc);
out:
	yaml_parser_delete(&p);
	return err;
}

/* A rule between keys was broken: gives the complaint, "memory.zones[1]: …", the line of that entry or key. */
static void locate(struct source *s, const struct scope *at)
{
	size_t len = strcspn(s->error->text, "[:");
	const struct config_key *k = config_find(at->keys, at->nr, s->error->text, len);
	const yaml_node_t *node = k != NULL ? at->value[k - at->keys] : NULL;

	if (node == NULL)
		return;
	if (s->error->text[len] == '[') {
		long index = strtol(s->error->text + len + 1, NULL, 10);

		if (index < node->data.sequence.items.top - node->data.sequence.items.start)
			node = yaml_document_get_node(&s->doc, node->data.sequence.items.start[index]);
	}
	s->error->line = line_of(s, node);
}

static int read_document(struct sim_config *c, const char *text, size_t len, struct sim_config_error *error)
{
	struct source s = { .error = error };
	struct sim_config copy = *c;
	struct scope top = { .keys = config_keys, .nr = config_nr_keys, .base = &copy };
	yaml_node_t *root;
	int err = load(&s, text, len, &root);

	if (err != 0)
		return err;
	if (root->type != YAML_MAPPING_NODE)
		err = complain(&s, root, "", "not a machine file; write NAME: VALUE on each line");
	else
		err = apply_scope(&s, &top, root);
	if (err == 0) {
		count_nodes(&copy);
		err = sim_config_check(&copy, error);
		if (err != 0)
			locate(&s, &top);
	}
	yaml_document_delete(&s.doc);
	if (err == 0)
		*c = copy;
	return err;
}

/* Up to size bytes; how many, or -errno. */
static long read_all(int fd, char *buf, size_t size)
{
	size_t len = 0;

	while (len < size) {
		ssize_t n = read(fd, buf + len, size - len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		len += (size_t)n;
	}
	return (long)len;
}

int sim_config_read(struct sim_config *c, int fd, struct sim_config_error *error)
{
	char *text = malloc(FILE_MAX + 1);
	long len;
	int err;

	*error = (struct sim_config_error){ 0 };
	len = text != NULL ? read_all(fd, text, FILE_MAX + 1) : -ENOMEM;
	if (len > FILE_MAX)
		err = config_error(error, 0, "", "longer than 256 KiB; this is not a machine file");
	else
		err = len < 0 ? (int)len : read_document(c, text, (size_t)len, error);
	if (err != -EINVAL && err != 0)
		config_error(error, 0, "", "it cannot be read (%s); check the name", strerror(-err));
	free(text);
	return err;
}

/*
 * Setting
 */

/* The row that "swap[0].size" or "vm.swappiness" means, and in *at the table that it is of. NULL: *error says why. */
static const struct config_key *resolve(struct sim_config *c, const char *path, struct scope *at,
					struct sim_config_error *error)
{
	size_t len = strcspn(path, "[");
	const struct config_key *k = config_find(config_keys, config_nr_keys, path, len);
	unsigned long index;
	char *end;

	*at = (struct scope){ .keys = config_keys, .nr = config_nr_keys, .base = c };
	if (path[len] == '\0' && k != NULL)
		return k;
	if (k == NULL || k->type != KEY_ITEMS || path[len + 1] < '0' || path[len + 1] > '9')
		goto unknown;
	index = strtoul(path + len + 1, &end, 10);
	if (strcmp(end, "]") == 0) {
		config_error(error, 0, path, "a whole entry; name one of its keys, as in %s.%s", path,
			     k->list->keys[0].path);
		return NULL;
	}
	if (end[0] != ']' || end[1] != '.')
		goto unknown;
	if (index > config_count(k->list, c) || index >= k->list->max) {
		config_error(error, 0, path, "there are %u of them, and at most %u; give a lower index",
			     config_count(k->list, c), k->list->max);
		return NULL;
	}
	if (index == config_count(k->list, c)) {
		make_entry(k, c, (unsigned)index);
		config_set_count(k->list, c, (uint32_t)index + 1);
	}
	*at = (struct scope){ .keys = k->list->keys, .nr = k->list->nr_keys, .base = entry_at(k, c, (unsigned)index) };
	snprintf(at->prefix, sizeof(at->prefix), "%.*s", (int)(end + 2 - path), path);
	path = end + 2;
	k = config_find(at->keys, at->nr, path, strlen(path));
	if (k != NULL)
		return k;
unknown:
	unknown_key(&(struct source){ .error = error, .path = path }, at, &(yaml_node_t){ .type = YAML_SCALAR_NODE },
		    path);
	return NULL;
}

int sim_config_set(struct sim_config *c, const char *assignment, struct sim_config_error *error)
{
	const char *equals = strchr(assignment, '=');
	struct sim_config copy = *c;
	const struct config_key *k;
	char path[PATH_TEXT];
	struct source s = { .error = error, .path = path };
	struct scope at;
	yaml_node_t *root;
	int err;

	*error = (struct sim_config_error){ 0 };
	if (equals == NULL || equals == assignment || equals - assignment >= PATH_TEXT)
		return config_error(error, 0, "", "\"%.64s\" is not an assignment; write it as vm.swappiness=10",
				    assignment);
	snprintf(path, sizeof(path), "%.*s", (int)(equals - assignment), assignment);
	k = resolve(&copy, path, &at, error);
	if (k == NULL)
		return -EINVAL;
	if (equals[1] == '\0')
		return config_error(error, 0, path, "no value; give one");
	err = load(&s, equals + 1, strlen(equals + 1), &root);
	if (err != 0) {
		if (err == -ENOMEM)
			config_error(error, 0, path, "no memory; try again");
		return err;
	}
	err = apply(&s, &at, k, root, path);
	yaml_document_delete(&s.doc);
	if (err != 0)
		return err;
	count_nodes(&copy);
	*c = copy;
	return 0;
}
