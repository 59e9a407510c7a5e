#include "cli/outfile.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/types.h"
#include "cli/json.h"
#include "cli/msg.h"

static const int deadly[] = { SIGHUP, SIGINT, SIGTERM, SIGPIPE, SIGXCPU, SIGXFSZ };

/* What a signal has to remove; NULL: nothing. */
static const char *volatile unfinished;

static void on_signal(int nr)
{
	if (unfinished != NULL)
		unlink(unfinished);
	/* SA_RESETHAND: this time it ends us. */
	raise(nr);
}

/* What was ignored stays ignored: nohup(1). */
static void guard(const char *path)
{
	struct sigaction act = { .sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND }, was;

	unfinished = path;
	for (unsigned i = 0; i < ARRAY_SIZE(deadly); i++) {
		if (sigaction(deadly[i], NULL, &was) == 0 && was.sa_handler == SIG_DFL)
			sigaction(deadly[i], &act, NULL);
	}
}

int outfile_open(struct outfile *o, const char *name)
{
	struct stat st;

	*o = (struct outfile){ .name = name, .fd = -1 };
	if (strcmp(name, "-") == 0) {
		o->fd = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 0);
	} else if (stat(name, &st) == 0 && !S_ISREG(st.st_mode)) {
		o->fd = open(name, O_WRONLY | O_CLOEXEC);
	} else if (asprintf(&o->tmp, "%s.tmp", name) < 0) {
		o->tmp = NULL;
		return -ENOMEM;
	} else {
		o->fd = open(o->tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	}
	int err = o->fd < 0 ? -errno : 0;

	if (err == 0 && o->tmp != NULL)
		guard(o->tmp);
	if (err != 0) {
		free(o->tmp);
		o->tmp = NULL;
	}
	return err;
}

int outfile_commit(struct outfile *o)
{
	int err = close(o->fd) != 0 ? -errno : 0;

	o->fd = -1;
	if (err == 0 && o->tmp != NULL && rename(o->tmp, o->name) != 0)
		err = -errno;
	if (err != 0) {
		outfile_drop(o);
		return err;
	}
	unfinished = NULL;
	free(o->tmp);
	o->tmp = NULL;
	return 0;
}

void outfile_drop(struct outfile *o)
{
	if (o->fd >= 0)
		close(o->fd);
	o->fd = -1;
	if (o->tmp != NULL)
		unlink(o->tmp);
	unfinished = NULL;
	free(o->tmp);
	o->tmp = NULL;
}

int outfile_json(const char *name, void (*put)(struct json *j, const void *what), const void *what)
{
	struct outfile out;
	struct json j;
	int err = outfile_open(&out, name);

	if (err == 0) {
		json_init(&j, out.fd);
		put(&j, what);
		err = json_finish(&j);
		if (err != 0)
			outfile_drop(&out);
		else
			err = outfile_commit(&out);
	}
	return err == 0 ? 0 : msg_fail(1, name, "%s; name a file that can be written", strerror(-err));
}
