/* The numbers of a JSON text by their names: {"peak": {"pool_bytes": 5}} has peak.pool_bytes. Of arrays on demand. */
#ifndef STW_CLI_FIGURES_H
#define STW_CLI_FIGURES_H

#include "base/types.h"

#define FIGURES_NAME_MAX 128

struct figure {
	char name[FIGURES_NAME_MAX];
	double value;    /* true is 1, false 0; a text or null is NaN, which nothing is equal to, less or more than */
};

struct figures {
	struct figure *figure; /* in the order of the text */
	unsigned nr;
};

struct figures_error {
	const char *what;
	size_t at;        /* offset in bytes */
};

/*
 * text[0..len] with a NUL at len. arrays: {"a": [{"b": 5}]} has a[0].b; else arrays are passed over. 0; -EINVAL: *error says what
 * is wrong with it; -ENOMEM. The caller frees f if it is 0.
 */
int figures_parse(struct figures *f, const char *text, size_t len, bool arrays, struct figures_error *error);
/* From a file. 0, or 1 after having said why. */
int figures_read(struct figures *f, const char *path, bool arrays);
/* From what write(ctx, fd) writes. 0 or -errno. */
int figures_of(struct figures *f, int (*write)(const void *ctx, int fd), const void *ctx);
void figures_free(struct figures *f);

/*
 * By its whole name, or by the last part of it if no other figure has that: pgmajfault. Also by a word that people use:
 * minor, soft, major. NULL: there is none, or (*several) more than one.
 */
const struct figure *figures_find(const struct figures *f, const char *name, size_t len, bool *several);

#endif
