#include "cli/trace/tracefile.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "cli/msg.h"

int tracefile_fail(const struct tracefile *t, const struct trace_error *e)
{
	unsigned long long at = e->offset;

	if (e->err == -EBADMSG && at == 0)
		return msg_fail(EXIT_USAGE, t->name, "%s; steward import makes one", e->what);
	if (e->err == -EBADMSG)
		return msg_fail(EXIT_USAGE, t->name, "damaged at byte %llu (%s); get or make it again", at, e->what);
	if (e->err == -ENODATA)
		return msg_fail(EXIT_USAGE, t->name, "cut at byte %llu (%s); get or make it again", at, e->what);
	if (e->err == -EINVAL)
		return msg_fail(EXIT_USAGE, t->name, "event %llu does not fit this machine: %s; steward trace dump --from %llu shows it",
				at, e->what, at);
	return msg_fail(1, t->name, "%s (%s); check the file", e->what, strerror(-e->err));
}

int tracefile_open(struct tracefile *t, const char *name)
{
	struct trace_error error;

	*t = (struct tracefile){ .name = strcmp(name, "-") == 0 ? "standard input" : name, .fd = STDIN_FILENO };
	if (strcmp(name, "-") != 0)
		t->fd = open(name, O_RDONLY | O_CLOEXEC);
	if (t->fd < 0)
		return msg_fail(EXIT_USAGE, name, "it cannot be opened (%s); check the name", strerror(errno));
	t->reader = trace_reader_open(t->fd, &error);
	if (t->reader != NULL)
		return 0;
	int status = tracefile_fail(t, &error);

	tracefile_close(t);
	return status;
}

void tracefile_close(struct tracefile *t)
{
	trace_reader_close(t->reader);
	t->reader = NULL;
	if (t->fd > STDIN_FILENO)
		close(t->fd);
	t->fd = -1;
}
