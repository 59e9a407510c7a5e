/* Sizes as people write them: 128M, 1.5G, 2GiB, 65536. */
#ifndef STW_BASE_SIZE_H
#define STW_BASE_SIZE_H

#include "base/fmt.h"

/*
 * Parses a size in bytes. Accepts a decimal number, an optional fraction, an
 * optional blank and a unit: none or B, K, M, G, T, P, each optionally
 * followed by B or iB (all are powers of 1024; case does not matter).
 * Returns 0, -EINVAL (not a size, or a fraction of a byte count without a
 * unit) or -ERANGE (does not fit in 64 bits).
 */
int size_parse(const char *text, uint64_t *bytes);

/* Appends a size with at most one decimal and a binary unit: 1.5 GiB, 128 MiB, 512 B. */
void fmt_size(struct fmt *f, uint64_t bytes);

#endif
