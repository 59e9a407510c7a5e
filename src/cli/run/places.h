/* Where a run may swap to: looked at before the command starts, so that what cannot be used is said at once. */
#ifndef STW_CLI_RUN_PLACES_H
#define STW_CLI_RUN_PLACES_H

#include "cli/run/swapspec.h"

/*
 * What a run has when nobody says: a pool, and a file in the first of $TMPDIR, /tmp and /var/tmp that can be written to
 * and is not itself memory (tmpfs, ramfs); none if there is no such directory.
 */
void places_default(struct swap_specs *s);

/*
 * Tries each place: paths become absolute, sizes that were not given are set (half of what is free, or all of a file or
 * device). Files and devices that are used as they are stay claimed until this process ends. 0, or EXIT_STEWARD after
 * having said why.
 */
int places_claim(struct swap_specs *s);

#endif
