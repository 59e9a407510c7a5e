/* Intervals as people write them: 1, 0.5, 1s, 200ms. */
#ifndef STW_CLI_SEE_INTERVAL_H
#define STW_CLI_SEE_INTERVAL_H

#include "base/types.h"

/* Does it end in s or ms? Then it cannot be a pid. */
bool interval_has_unit(const char *text);
/* Seconds if no unit is given; 10ms to one day. 0, or EXIT_USAGE after having said why. */
int interval_parse(const char *text, uint64_t *ns);

#endif
