/* A simulation as a page. */
#ifndef STW_CLI_SIM_HTML_H
#define STW_CLI_SIM_HTML_H

#include "cli/sim/steps.h"

/* To the file ("-": stdout). 0, or the exit status after having said why. */
int simhtml_write(const struct sim *s, struct steps *steps, const char *path);

#endif
