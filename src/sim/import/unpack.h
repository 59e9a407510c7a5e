/* Packed input: one row a format in unpack.c, chosen by the first bytes. */
#ifndef STW_SIM_IMPORT_UNPACK_H
#define STW_SIM_IMPORT_UNPACK_H

#include "sim/import/source.h"

/* What s->raw begins with is packed? Then *u is what unpacks it, else NULL. 0 or -ENOMEM. */
int unpack_open(struct unpack **u, const struct source *s);
/* Unpacks up to room bytes, at least one; how many, 0 at the end, or -errno after source_fail(). */
long unpack_some(struct unpack *u, struct source *s, uint8_t *dst, size_t room);
void unpack_close(struct unpack *u);

/*
 * zip: a local header at the start of s->raw is passed over. 1: raw deflate
 * data follows, or *stored bytes of plain data (UINT64_MAX: none); 0: no more
 * members; or -errno. behind: a member has just ended, whose lengths may follow
 * its data.
 */
int zip_member(struct source *s, bool behind, uint64_t *stored);

#endif
