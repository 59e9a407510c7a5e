/* A file that appears under its name only when it is complete. */
#ifndef STW_CLI_OUTFILE_H
#define STW_CLI_OUTFILE_H

struct json;

struct outfile {
	char *name;
	char *tmp;    /* both NULL: written directly, because it is no regular file, or standard output or error */
	int fd;       /* -1: not open */
};

/*
 * Opens name for writing: a file NAME.tmp beside it, or what is there if that is
 * no regular file. "-", and what standard output or error goes to already, is that. One at a time: signals that end the
 * program remove the .tmp first. 0 or -errno.
 */
int outfile_open(struct outfile *o, const char *name);
/* Closes it and gives it its name. 0 or -errno, and then there is nothing left of it. */
int outfile_commit(struct outfile *o);
/* Closes and removes it. */
void outfile_drop(struct outfile *o);

/* All of it: the JSON that put writes. 0, or 1 after having said why there is no such file. */
int outfile_json(const char *name, void (*put)(struct json *j, const void *what), const void *what);

#endif
