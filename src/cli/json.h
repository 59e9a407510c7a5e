/* Writes JSON to a descriptor: a small buffer, no tree, errors kept until the end. */
#ifndef STW_CLI_JSON_H
#define STW_CLI_JSON_H

#include "base/hist.h"

struct json {
	int fd;
	int err;        /* first error of a write; 0 or -errno */
	unsigned depth;
	bool first;     /* nothing written yet at this depth */
	unsigned in_line; /* arrays that are open: no line breaks in them */
	size_t len;
	char buf[4096];
};

void json_init(struct json *j, int fd);
/* All of it in one line. */
void json_init_line(struct json *j, int fd);
/* Ends the text with a newline and writes what is left. 0 or the first error. */
int json_finish(struct json *j);

/* key is NULL inside an array. Text that is not UTF-8 comes out with U+FFFD. */
void json_object(struct json *j, const char *key);
void json_object_end(struct json *j);
void json_array(struct json *j, const char *key);
void json_array_end(struct json *j);
void json_u64(struct json *j, const char *key, uint64_t value);
void json_i64(struct json *j, const char *key, int64_t value);
void json_fixed(struct json *j, const char *key, uint64_t value, unsigned decimals);
void json_bool(struct json *j, const char *key, bool value);
void json_null(struct json *j, const char *key);
void json_string(struct json *j, const char *key, const char *value);
/* An object: count, sum, quantiles, and the buckets that are not empty, by their floors. */
void json_hist(struct json *j, const char *key, const struct hist *h);

#endif
