#include "cli/record/fdtable.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void put(struct fd *fd)
{
	if (fd->of != NULL && --fd->of->refs == 0)
		free(fd->of);
	fd->of = NULL;
}

static int reserve(struct fdtable *t, int64_t fd)
{
	struct fd *more;
	int nr;

	if (fd < t->nr)
		return 0;
	nr = MAX((int)fd + 1, MIN(2 * t->nr, FDS_MAX));
	more = realloc(t->fd, (size_t)nr * sizeof(*more));
	if (more == NULL)
		return -ENOMEM;
	memset(more + t->nr, 0, (size_t)(nr - t->nr) * sizeof(*more));
	t->fd = more;
	t->nr = nr;
	return 0;
}

struct open_file *fdtable_get(const struct fdtable *t, int64_t fd)
{
	return fd >= 0 && fd < t->nr ? t->fd[fd].of : NULL;
}

/* Takes over a reference to of. */
static int set(struct fdtable *t, int64_t fd, struct open_file *of, bool cloexec)
{
	struct fd new = { of, cloexec };
	int err = fd < 0 || fd >= FDS_MAX ? 0 : reserve(t, fd);

	if (fd < 0 || fd >= FDS_MAX || err != 0) {
		put(&new);
		return err;
	}
	put(&t->fd[fd]);
	t->fd[fd] = new;
	return 0;
}

int fdtable_open(struct fdtable *t, int64_t fd, const struct open_file *of, bool cloexec)
{
	struct open_file *copy = malloc(sizeof(*copy));

	fdtable_close(t, fd, fd);
	if (copy == NULL)
		return -ENOMEM;
	*copy = *of;
	copy->refs = 1;
	return set(t, fd, copy, cloexec);
}

int fdtable_dup(struct fdtable *t, int64_t from, int64_t fd, bool cloexec)
{
	struct open_file *of = fdtable_get(t, from);

	if (fd == from)
		return 0;
	fdtable_close(t, fd, fd);
	if (of == NULL)
		return 0;
	of->refs++;
	return set(t, fd, of, cloexec);
}

void fdtable_close(struct fdtable *t, int64_t first, int64_t last)
{
	for (int64_t fd = MAX(first, 0); fd <= last && fd < t->nr; fd++)
		put(&t->fd[fd]);
}

void fdtable_exec(struct fdtable *t)
{
	for (int fd = 0; fd < t->nr; fd++) {
		if (t->fd[fd].cloexec)
			put(&t->fd[fd]);
	}
}

int fdtable_fork(struct fdtable *child, const struct fdtable *parent)
{
	if (parent->nr == 0)
		return 0;
	child->fd = malloc((size_t)parent->nr * sizeof(*child->fd));
	if (child->fd == NULL)
		return -ENOMEM;
	child->nr = parent->nr;
	memcpy(child->fd, parent->fd, (size_t)parent->nr * sizeof(*child->fd));
	for (int fd = 0; fd < child->nr; fd++) {
		if (child->fd[fd].of != NULL)
			child->fd[fd].of->refs++;
	}
	return 0;
}

void fdtable_free(struct fdtable *t)
{
	fdtable_close(t, 0, t->nr);
	free(t->fd);
	*t = (struct fdtable){ 0 };
}
