/*
 * Fuzz target: a machine file, or, behind a "=", an assignment as --set has it. What is refused has a complaint and
 * changes nothing; what is accepted is a machine, and comes back from its own text as the same.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "sim/config.h"
#include "target.h"

static void require(bool holds)
{
	if (!holds)
		abort();
}

/* An open file of that content. */
static int file_of(const void *data, size_t size)
{
	static int fd = -1;

	if (fd < 0)
		fd = memfd_create("machine", MFD_CLOEXEC);
	require(fd >= 0 && ftruncate(fd, 0) == 0 && pwrite(fd, data, size, 0) == (ssize_t)size &&
		lseek(fd, 0, SEEK_SET) == 0);
	return fd;
}

static void comes_back(const struct sim_config *c)
{
	struct sim_config back;
	struct sim_config_error error;
	int fd = file_of("", 0);

	require(sim_config_write(c, fd) == 0 && lseek(fd, 0, SEEK_SET) == 0);
	sim_config_default(&back);
	require(sim_config_read(&back, fd, &error) == 0);
	require(memcmp(&back, c, sizeof(back)) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct sim_config c, before;
	struct sim_config_error error;
	int err;

	sim_config_default(&c);
	before = c;
	if (size > 0 && data[0] == '=') {
		char *text = strndup((const char *)data + 1, size - 1);

		require(text != NULL);
		err = sim_config_set(&c, text, &error);
		free(text);
		if (err == 0)
			err = sim_config_check(&c, &error) != 0 ? 1 : 0;
	} else {
		err = sim_config_read(&c, file_of(data, size), &error);
	}
	if (err < 0)
		require(error.text[0] != '\0' && memcmp(&c, &before, sizeof(c)) == 0);
	else if (err == 0)
		comes_back(&c);
	return 0;
}
