#include "cli/run/malloc_only.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/msg.h"
#include "cli/program.h"
#include "live/ledger.h"

int malloc_only(char **argv, const char *of_budget)
{
	char library[PATH_MAX];
	struct program program;
	int err;

	if (of_budget != NULL)
		return msg_fail(EXIT_USAGE, "--malloc-only", "there is no budget then; leave --%s out", of_budget);
	if (getenv(LEDGER_ENV) != NULL)
		return msg_fail(EXIT_STEWARD, "run", "this is already inside a steward run, which has the same malloc; "
						     "leave the inner one out");
	err = program_find(argv[0], &program);
	if (err == 0)
		err = program_malloc(library, sizeof(library));
	if (err == 0)
		err = program_preload_first(library);
	if (err != 0)
		return err;
	/* It reads a text without "#!" as program_find said. */
	execvp(argv[0], argv);
	return msg_fail(EXIT_NOT_EXEC, argv[0], "it cannot be executed (%s); check the file", strerror(errno));
}
