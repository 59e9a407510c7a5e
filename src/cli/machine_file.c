#include "cli/machine_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/msg.h"

static int read_file(struct sim_config *c, const char *file)
{
	struct sim_config_error error;
	char where[512];
	int fd = open(file, O_RDONLY | O_CLOEXEC), err;

	if (fd < 0)
		return msg_fail(EXIT_USAGE, file, "it cannot be read (%s); check the name", strerror(errno));
	err = sim_config_read(c, fd, &error);
	close(fd);
	if (err == 0)
		return 0;
	snprintf(where, sizeof(where), "%.480s:%u", file, error.line);
	return msg_fail(EXIT_USAGE, error.line != 0 ? where : file, "%s", error.text);
}

int machine_load(struct sim_config *c, const char *file, const char *const *sets, unsigned nr_sets)
{
	struct sim_config_error error;
	int err = 0;

	sim_config_default(c);
	if (file != NULL)
		err = read_file(c, file);
	for (unsigned i = 0; i < nr_sets && err == 0; i++) {
		if (sim_config_set(c, sets[i], &error) != 0)
			err = msg_fail(EXIT_USAGE, "--set", "%s", error.text);
	}
	if (err == 0 && sim_config_check(c, &error) != 0)
		err = msg_fail(EXIT_USAGE, "--set", "%s", error.text);
	return err;
}
