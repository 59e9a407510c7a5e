/* The figures of a run as Prometheus' text format, version 0.0.4. docs/metrics.md lists them. */
#ifndef STW_CLI_RUN_METRICS_TEXT_H
#define STW_CLI_RUN_METRICS_TEXT_H

#include "base/fmt.h"
#include "cli/see/sample.h"

/* What a buffer needs for it. */
#define METRICS_TEXT_MAX 24576

void metrics_text(struct fmt *f, const struct sample *s);

#endif
