/* The subcommands, one file each. */
#ifndef STW_CLI_COMMANDS_H
#define STW_CLI_COMMANDS_H

#include "cli/options.h"

/* argv[0] is the name of the subcommand. Each returns the exit status of steward. */
int run_main(int argc, char **argv);
int record_main(int argc, char **argv);
int doctor_main(int argc, char **argv);
int import_main(int argc, char **argv);
int trace_main(int argc, char **argv);

extern const struct option_set run_options, record_options, doctor_options, import_options,
	trace_options;

#endif
