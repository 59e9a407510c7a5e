/* The subcommands, one file each. */
#ifndef STW_CLI_COMMANDS_H
#define STW_CLI_COMMANDS_H

#include "cli/options.h"

struct command {
	const char *name;
	int (*main)(int argc, char **argv);
	const char *summary;
	const struct option_set *options; /* NULL: takes none */
};

/* The nth of all; NULL behind the last. */
const struct command *command_nth(unsigned n);

/* argv[0] is the name of the subcommand. Each returns the exit status of steward. */
int bench_main(int argc, char **argv);
int completion_main(int argc, char **argv);
int diff_main(int argc, char **argv);
int doctor_main(int argc, char **argv);
int explain_main(int argc, char **argv);
int import_main(int argc, char **argv);
int maps_main(int argc, char **argv);
int plan_main(int argc, char **argv);
int ps_main(int argc, char **argv);
int record_main(int argc, char **argv);
int report_main(int argc, char **argv);
int run_main(int argc, char **argv);
int set_main(int argc, char **argv);
int sim_main(int argc, char **argv);
int stat_main(int argc, char **argv);
int top_main(int argc, char **argv);
int trace_main(int argc, char **argv);
int validate_main(int argc, char **argv);

extern const struct option_set bench_options;
extern const struct option_set completion_options;
extern const struct option_set diff_options;
extern const struct option_set doctor_options;
extern const struct option_set explain_options;
extern const struct option_set import_options;
extern const struct option_set maps_options;
extern const struct option_set plan_options;
extern const struct option_set ps_options;
extern const struct option_set record_options;
extern const struct option_set report_options;
extern const struct option_set run_options;
extern const struct option_set set_options;
extern const struct option_set sim_options;
extern const struct option_set stat_options;
extern const struct option_set top_options;
extern const struct option_set trace_options;
extern const struct option_set validate_options;

#endif
