/* steward explain machine: all keys of a machine, those that its file leaves out too, as a machine file. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "cli/explain/explain.h"
#include "cli/msg.h"

static int explain(const struct explain_args *a)
{
	int err = sim_config_write(&a->machine, STDOUT_FILENO);

	return err == 0 ? 0 : msg_fail(1, "standard output", "%s; send it somewhere else", strerror(-err));
}

const struct explain_topic explain_machine = {
	.name = "machine",
	.usage = "",
	.summary = "all keys of a machine, as a file",
	.takes = 1 << EXPLAIN_MACHINE | 1 << EXPLAIN_SET,
	.main = explain,
};
