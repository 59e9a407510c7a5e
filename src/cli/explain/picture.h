/*
 * Pictures of address spaces, from high addresses down:
 *
 *	  7ffffffff000 ┬──────────────────────────┐ note at the edge
 *	               │ text                     │ note beside it
 *	  7ffffffde000 ┴──────────────────────────┘
 *
 * Notes have 36 columns on a line of 80, texts 24.
 */
#ifndef STW_CLI_EXPLAIN_PICTURE_H
#define STW_CLI_EXPLAIN_PICTURE_H

#include "base/types.h"

enum picture_edge { PICTURE_TOP, PICTURE_MIDDLE, PICTURE_BOTTOM };

/* A border at an address. note may be NULL. */
void picture_edge(enum picture_edge where, uint64_t address, const char *note);

/* Lines between borders: bytes of them give its height (1 to 4 lines, by the logarithm); text and note on the first. */
void picture_box(uint64_t bytes, const char *text, const char *note);
/* One line for what is not drawn to scale and not mapped. */
void picture_gap(const char *text, const char *note);

/* Words in as many lines as they need, each after so many blanks. */
void picture_wrap(int indent, const char *text);

#endif
