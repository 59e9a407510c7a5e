/* Sums over a simulation that its reports share. */
#ifndef STW_CLI_SIMFIGURES_H
#define STW_CLI_SIMFIGURES_H

#include "sim/engine.h"

extern const char *const figures_fault_name[SIM_NR_FAULTS]; /* by enum sim_fault */
extern const char *const figures_end_name[SIM_NR_ENDS];     /* by enum sim_end */

/* Of all tasks. */
uint64_t figures_faults(const struct sim *s, enum sim_fault kind);
uint64_t figures_all_faults(const struct sim *s);
/* ns that it would have taken with memory without end: the CPU with the most. */
double figures_own_time(const struct sim *s);
/* Of all CPUs. */
uint64_t figures_tlb_hits(const struct sim *s);
uint64_t figures_walks(const struct sim *s);
uint64_t figures_shootdowns(const struct sim *s);

#endif
