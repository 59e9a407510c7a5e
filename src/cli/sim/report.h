/* What a simulation has to say: for people and for programs. */
#ifndef STW_CLI_SIM_REPORT_H
#define STW_CLI_SIM_REPORT_H

#include "sim/engine.h"

/* To stdout. 0, or the exit status after having said why. */
int simreport_print(const struct sim *s, bool timeline);
/* The JSON, to fd; the same before anything was replayed, with zeros. 0 or -errno. */
int simreport_write(const struct sim *s, int fd);
/* To the file, or (name "-") stdout; the schema is in docs/sim-schema.md. 0, or the exit status after having said why. */
int simreport_json(const struct sim *s, const char *path);

#endif
