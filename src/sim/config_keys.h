/*
 * The table of keys behind machine files; private to config*.c.
 *
 * config_keys.c    the table: one row a key
 * config_value.c   one value: text to field and back
 * config_preset.c  what CPUs have
 * config_check.c   rules between keys
 * config_write.c   documents out
 * config.c         documents in: defaults, reading, setting
 */
#ifndef STW_SIM_CONFIG_KEYS_H
#define STW_SIM_CONFIG_KEYS_H

#include "base/fmt.h"
#include "sim/config.h"

enum key_type {
	KEY_TEXT,        /* char[SIM_NAME_MAX]: printable ASCII without " and \ */
	KEY_BOOL,        /* bool: yes, no */
	KEY_INT,         /* int */
	KEY_UINT,        /* unsigned of .width bytes */
	KEY_SIZE,        /* uint64_t: bytes, written 1.5G */
	KEY_DURATION,    /* uint64_t: ns, written 80ns, 2us, 10ms, 2s */
	KEY_DURATION_PS, /* double: ns, in steps of a thousandth */
	KEY_RATIO,       /* double, in steps of a thousandth */
	KEY_ENUM,        /* uint8_t: index into names */
	KEY_PRESET,      /* no field: writes those of a CPU */
	/* What follows is lists. */
	KEY_FLAGS,       /* uint8_t: a bit for each of names */
	KEY_NUMBERS,     /* uint8_t[] */
	KEY_ITEMS,       /* structs with keys of their own */
};

#define CONFIG_KEYS_MAX 64 /* rows of one table */

struct config_key;

/* How a list lies in struct sim_config. */
struct config_list {
	uint32_t count;                /* offset of the number of entries, a uint8_t if narrow, else a uint32_t */
	bool narrow;
	bool padded;                   /* KEY_NUMBERS: the count is another key's; what is not given is 0 */
	uint16_t max;                  /* entries */
	/* KEY_ITEMS only. */
	uint16_t stride;
	uint16_t nr_keys;
	const struct config_key *keys;
};

struct config_key {
	const char *path;              /* joined by dots; sections are not deeper than one */
	const char *def;               /* as it is written; NULL: must be given */
	const char *doc;
	const char *const *names;      /* KEY_ENUM, KEY_FLAGS: up to NULL */
	const struct config_list *list;
	int64_t min;                   /* of the field, or of each number */
	uint64_t max;
	uint32_t offset;               /* of the field, in sim_config or in the entry of a list */
	uint8_t type;                  /* enum key_type */
	uint8_t width;                 /* KEY_UINT */
	bool computed;                 /* def is told to people: the field's is computed (make_entry) */
	bool or_zero;                  /* 0 is allowed although it is below min */
};

extern const struct config_key config_keys[];
extern const unsigned config_nr_keys;

/* The row of that path, NULL: none. */
const struct config_key *config_find(const struct config_key *keys, unsigned nr, const char *path, size_t len);
/* The name most like one that is not in the table, with what leads to it; NULL: none is near. */
const char *config_nearest(const struct config_key *keys, unsigned nr, const char *path);
/* What may stand as its value: "0 to 200". */
void config_describe(struct fmt *f, const struct config_key *k);

uint32_t config_count(const struct config_list *l, const void *base);
void config_set_count(const struct config_list *l, void *base, uint32_t n);

/*
 * Reads text (not a list) into the field of base, which stays as it was if that fails: -EINVAL, and *why has what is
 * wrong with the text and what to write.
 */
int config_value_parse(const struct config_key *k, void *base, const char *text, struct fmt *why);
/* One number of a KEY_NUMBERS, one name of a KEY_FLAGS. */
int config_number_parse(const struct config_key *k, const char *text, uint8_t *number, struct fmt *why);
int config_flag_parse(const struct config_key *k, const char *text, uint8_t *flags, struct fmt *why);
/* Appends the value as config_value_parse, or for lists YAML, reads it. Not for KEY_ITEMS and KEY_PRESET. */
void config_value_format(const struct config_key *k, const void *base, struct fmt *f);

/* Fills TLBs, page-walk caches and what belongs to them; false: no such preset. */
bool config_preset(struct sim_config *c, const char *name);

/* "PATH: …" into *error; returns -EINVAL. */
int config_error(struct sim_config_error *error, unsigned line, const char *path, const char *text, ...)
	__attribute__((format(printf, 4, 5)));

#endif
