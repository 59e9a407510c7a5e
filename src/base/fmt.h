/*
 * Formatting without stdio: usable inside a fault handler and before libc is
 * ready. A buffer that overflows is cut and stays NUL-terminated.
 */
#ifndef STW_BASE_FMT_H
#define STW_BASE_FMT_H

#include "base/types.h"

struct fmt {
	char *buf;   /* destination, always NUL-terminated */
	size_t size; /* bytes in buf, at least 1 */
	size_t len;  /* bytes written, NUL not counted; len < size */
};

/* Starts an empty text in buf[0..size); size ≥ 1. */
void fmt_init(struct fmt *f, char *buf, size_t size);
void fmt_char(struct fmt *f, char c);
void fmt_str(struct fmt *f, const char *s);
void fmt_u64(struct fmt *f, uint64_t v);
void fmt_i64(struct fmt *f, int64_t v);
/* Lower-case hexadecimal with a leading 0x. */
void fmt_hex(struct fmt *f, uint64_t v);
/* v / 10^decimals with exactly that many decimals: fmt_fixed(f, 1234, 2) is 12.34. */
void fmt_fixed(struct fmt *f, uint64_t v, unsigned decimals);
/* What failed, of the arguments of assert_fail_hook. */
void fmt_assertion(struct fmt *f, const char *file, int line, const char *what);

#endif
