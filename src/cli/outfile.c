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

/* What a signal has to remove, and whose it is, for a child has the handler too until it executes; NULL: nothing. */
static const char *volatile unfinished;
static volatile pid_t owner;

static void on_signal(int nr)
{
	if (unfinished != NULL && getpid() == owner)
		unlink(unfinished);
	/* SA_RESETHAND: this time it ends us. */
	raise(nr);
}

/* What was ignored stays ignored: nohup(1). */
static void guard(const char *path)
{
	struct sigaction act = { .sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND }, was;

	owner = getpid();
	unfinished = path;
	for (unsigned i = 0; i < ARRAY_SIZE(deadly); i++) {
		if (sigaction(deadly[i], NULL, &was) == 0 && was.sa_handler == SIG_DFL)
			sigaction(deadly[i], &act, NULL);
	}
}

/* The descriptor of standard output or error that is open on this file: what a shell has begun to fill is not to be replaced. -1: neither. */
static int standard_fd(const struct stat *st)
{
	struct stat fd_st;

	for (int fd = STDOUT_FILENO; fd <= STDERR_FILENO; fd++)
		if (fstat(fd, &fd_st) == 0 && fd_st.st_dev == st->st_dev && fd_st.st_ino == st->st_ino)
			return fd;
	return -1;
}

static void free_names(struct outfile *o)
{
	free(o->tmp);
	free(o->name);
	o->tmp = o->name = NULL;
}

/* Beside the file itself, also where the name is that of a link to it. */
static int open_tmp(struct outfile *o, const char *name, bool exists)
{
	o->name = exists ? realpath(name, NULL) : strdup(name);
	if (o->name == NULL)
		return -1;
	if (asprintf(&o->tmp, "%s.tmp", o->name) < 0) {
		o->tmp = NULL;
		errno = ENOMEM;
		return -1;
	}
	return open(o->tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
}

int outfile_open(struct outfile *o, const char *name)
{
	struct stat st;
	bool exists = strcmp(name, "-") != 0 && stat(name, &st) == 0;
	int standard = exists ? standard_fd(&st) : -1, err;

	*o = (struct outfile){ .fd = -1 };
	if (strcmp(name, "-") == 0)
		standard = STDOUT_FILENO;
	if (standard >= 0)
		o->fd = fcntl(standard, F_DUPFD_CLOEXEC, 0);
	else if (exists && !S_ISREG(st.st_mode))
		o->fd = open(name, O_WRONLY | O_CLOEXEC);
	else
		o->fd = open_tmp(o, name, exists);
	err = o->fd < 0 ? -errno : 0;
	if (err == 0 && o->tmp != NULL)
		guard(o->tmp);
	if (err != 0)
		free_names(o);
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
	free_names(o);
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
	free_names(o);
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
