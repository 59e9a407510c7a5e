/*
 * What will run, and can it be managed?
 *
 * The library gets in by LD_PRELOAD. The dynamic loader ignores that for
 * programs that gain rights (AT_SECURE), and programs without a loader never
 * look at it. Such a program would run outside of the budget without a word, so
 * it is refused before it starts. The rules for AT_SECURE are those of
 * security/commoncap.c: set-user-ID or set-group-ID to another real ID, or file
 * capabilities for anybody but root; none of it counts on a nosuid mount or
 * under no_new_privs.
 *
 * A file that can be executed and not read cannot be looked into; it is let through.
 */
#include "cli/program.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "cli/msg.h"

#define SCRIPT_DEPTH 5 /* as many "#!" as the kernel follows (fs/exec.c) */

/* 0 if path is a regular file that may be executed, else the errno that execve would give. */
static int executable(const char *path)
{
	struct stat st;

	if (stat(path, &st) != 0)
		return errno;
	if (!S_ISREG(st.st_mode))
		return EACCES;
	return access(path, X_OK) == 0 ? 0 : errno;
}

/* A hit that cannot be executed is remembered, the search goes on. */
int program_search(const char *name, struct program *p)
{
	const char *dirs = getenv("PATH");
	int err = ENOENT;

	if (dirs == NULL)
		dirs = "/bin:/usr/bin";
	for (;;) {
		int len = (int)strcspn(dirs, ":");
		int n = snprintf(p->path, sizeof(p->path), "%.*s%s%s", len, dirs, len > 0 ? "/" : "", name);

		if (n < (int)sizeof(p->path)) {
			int e = executable(p->path);

			if (e == 0)
				return 0;
			if (e == EACCES)
				err = EACCES;
		}
		if (dirs[len] == '\0')
			return err;
		dirs += len + 1;
	}
}

static bool gains_rights(int fd, const struct stat *st)
{
	struct statvfs fs;

	if (fstatvfs(fd, &fs) == 0 && (fs.f_flag & ST_NOSUID) != 0)
		return false;
	if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1)
		return false;
	if ((st->st_mode & S_ISUID) != 0 && st->st_uid != getuid())
		return true;
	if ((st->st_mode & S_ISGID) != 0 && (st->st_mode & S_IXGRP) != 0 && st->st_gid != getgid())
		return true;
	return getuid() != 0 && fgetxattr(fd, "security.capability", NULL, 0) > 0;
}

static int damaged(const char *path)
{
	return msg_fail(EXIT_NOT_EXEC, path, "it is a damaged ELF file; build or install it again");
}

/* What keeps Steward's library out of a program. */
struct obstacle {
	const char *why, *remedy;
};

static const struct obstacle no_obstacle,
	alien = { "it is not a 64-bit x86 program", "run an x86-64 build of it" },
	gains = { "it gains rights when it starts (set-user-ID, set-group-ID or file capabilities)",
		  "run it as the user whose rights it needs" },
	foreign = { "its loader is not glibc's", "run a build for glibc" },
	fixed = { "it is statically linked", "run a dynamically linked build of it" };

/* The loader, NUL-terminated, into interp; false: damaged. */
static bool read_loader(int fd, const Elf64_Phdr *ph, char *interp, size_t size)
{
	return ph->p_filesz >= 2 && ph->p_filesz <= size &&
	       pread(fd, interp, ph->p_filesz, (off_t)ph->p_offset) == (ssize_t)ph->p_filesz && interp[ph->p_filesz - 1] == '\0';
}

static bool is_glibc(const char *interp)
{
	const char *base = strrchr(interp, '/');

	return strncmp(base != NULL ? base + 1 : interp, "ld-linux", strlen("ld-linux")) == 0;
}

/* The first obstacle, or no_obstacle; NULL: the file is damaged. The loader, if there is one, is in interp. */
static const struct obstacle *find_obstacle(int fd, char *interp, size_t size)
{
	Elf64_Ehdr eh;
	struct stat st;

	if (pread(fd, &eh, sizeof(eh), 0) != (ssize_t)sizeof(eh) || fstat(fd, &st) != 0)
		return NULL;
	if (eh.e_ident[EI_CLASS] != ELFCLASS64 || eh.e_machine != EM_X86_64)
		return &alien;
	if (gains_rights(fd, &st))
		return &gains;
	if (eh.e_phentsize != sizeof(Elf64_Phdr))
		return NULL;
	for (unsigned i = 0; i < eh.e_phnum; i++) {
		Elf64_Phdr ph;
		off_t at = (off_t)(eh.e_phoff + i * sizeof(ph));

		if (pread(fd, &ph, sizeof(ph), at) != (ssize_t)sizeof(ph))
			return NULL;
		if (ph.p_type != PT_INTERP)
			continue;
		if (!read_loader(fd, &ph, interp, size))
			return NULL;
		return is_glibc(interp) ? &no_obstacle : &foreign;
	}
	return &fixed;
}

static int check_elf(const char *path, int fd)
{
	char interp[256];
	const struct obstacle *o = find_obstacle(fd, interp, sizeof(interp));

	if (o == NULL)
		return damaged(path);
	if (o == &no_obstacle)
		return 0;
	if (o == &foreign)
		return msg_fail(EXIT_STEWARD, path, "its loader %s is not glibc's, so Steward cannot manage it; %s", interp, o->remedy);
	return msg_fail(EXIT_STEWARD, path, "%s, so Steward cannot manage it; %s", o->why, o->remedy);
}

const char *program_obstacle(const char *path)
{
	char interp[256];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	const struct obstacle *o = fd >= 0 ? find_obstacle(fd, interp, sizeof(interp)) : NULL;
	bool closed = fd < 0 && errno == EACCES;

	if (fd >= 0)
		close(fd);
	/* Of a process: only that of somebody else is closed to us. */
	return closed ? gains.why : o != NULL ? o->why : NULL;
}

/* Takes the interpreter out of "#! /bin/sh -e\n"; false if there is none. */
static bool script_interpreter(char *head, const char **interp)
{
	char *p = head + 2;

	head[strcspn(head, "\n")] = '\0';
	p += strspn(p, " \t");
	p[strcspn(p, " \t")] = '\0';
	*interp = p;
	return *p != '\0';
}

static int check_interpreter(const char *path, const char *interp)
{
	switch (executable(interp)) {
	case 0:
		return 0;
	case ENOENT:
		return msg_fail(EXIT_NOT_FOUND, path, "its interpreter %s does not exist; correct its first line", interp);
	default:
		return msg_fail(EXIT_NOT_EXEC, path, "its interpreter %s cannot be executed; correct its first line",
				interp);
	}
}

/* Follows path to the ELF file behind it. shell is set if the first file has no magic at all. */
static int check_image(const char *path, unsigned depth, bool *shell)
{
	char head[257];
	const char *interp;
	ssize_t n;
	int fd, err;

	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	n = read(fd, head, sizeof(head) - 1);
	if (n < 0)
		n = 0;
	head[n] = '\0';
	if (n >= SELFMAG && memcmp(head, ELFMAG, SELFMAG) == 0) {
		err = check_elf(path, fd);
		close(fd);
		return err;
	}
	close(fd);

	if (head[0] != '#' || head[1] != '!') {
		if (depth > 0 || memchr(head, '\0', (size_t)n) != NULL)
			return msg_fail(EXIT_NOT_EXEC, path, "it is neither a program nor a script; check the name");
		*shell = true;
		interp = "/bin/sh";
	} else if (!script_interpreter(head, &interp) || depth >= SCRIPT_DEPTH) {
		return msg_fail(EXIT_NOT_EXEC, path, "its \"#!\" line leads nowhere; correct its first line");
	}
	err = check_interpreter(path, interp);
	return err != 0 ? err : check_image(interp, depth + 1, shell);
}

int program_locate(const char *name, struct program *p)
{
	int err;

	p->shell = false;
	if (strchr(name, '/') != NULL) {
		if (snprintf(p->path, sizeof(p->path), "%s", name) >= (int)sizeof(p->path))
			err = ENAMETOOLONG;
		else
			err = executable(p->path);
	} else {
		err = name[0] != '\0' ? program_search(name, p) : ENOENT;
	}
	if (err == ENOENT || err == ENOTDIR || err == ENAMETOOLONG)
		return msg_fail(EXIT_NOT_FOUND, name, "command not found; check the name%s",
				strchr(name, '/') != NULL ? "" : " and PATH");
	if (err != 0)
		return msg_fail(EXIT_NOT_EXEC, name, "it cannot be executed (%s); check that it is a program and its mode",
				strerror(err));
	return 0;
}

int program_find(const char *name, struct program *p)
{
	int err = program_locate(name, p);

	return err != 0 ? err : check_image(p->path, 0, &p->shell);
}

/* LD_PRELOAD separates its entries by blanks and colons and knows no quoting. */
static int usable_preload(const char *path)
{
	if (strpbrk(path, " :") != NULL)
		return msg_fail(EXIT_STEWARD, path, "a path with a blank or colon cannot be preloaded; install Steward elsewhere");
	return 0;
}

/* hint: what can be done if it is not there. */
static int find_library(const char *name, const char *hint, char *path, size_t size)
{
	static const char *const places[] = {
		"/../preload/", "/../" STW_LIBDIR "/", "/../" STW_LIBDIR "/steward/", "/../lib/steward/",
		"/../lib/x86_64-linux-gnu/steward/",
	};
	char exe[PATH_MAX], real[PATH_MAX], candidate[PATH_MAX + 128];
	ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);

	if (n < 0)
		return msg_fail(EXIT_STEWARD, "/proc/self/exe", "%s; mount /proc", strerror(errno));
	exe[n] = '\0';
	*strrchr(exe, '/') = '\0';
	for (unsigned i = 0; i < ARRAY_SIZE(places); i++) {
		snprintf(candidate, sizeof(candidate), "%s%s%s", exe, places[i], name);
		if (realpath(candidate, real) == NULL || access(real, R_OK) != 0)
			continue;
		snprintf(path, size, "%s", real);
		return usable_preload(path);
	}
	return msg_fail(EXIT_STEWARD, name, "it is not where %s expects it; install Steward again%s", exe, hint);
}

int program_preload(char *path, size_t size)
{
	const char *forced = getenv("STEWARD_PRELOAD");
	char real[PATH_MAX];

	if (forced == NULL || forced[0] == '\0')
		return find_library("libsteward-preload.so", " or set STEWARD_PRELOAD", path, size);
	if (realpath(forced, real) == NULL || access(real, R_OK) != 0)
		return msg_fail(EXIT_STEWARD, "STEWARD_PRELOAD", "%s: %s; unset it or correct it", forced, strerror(errno));
	snprintf(path, size, "%s", real);
	return usable_preload(path);
}

int program_malloc(char *path, size_t size)
{
	return find_library("libsteward-malloc.so.0", "", path, size);
}

int program_preload_first(const char *library)
{
	const char *others = getenv("LD_PRELOAD");
	char *value = NULL;
	int err;

	if (others == NULL || others[0] == '\0')
		err = setenv("LD_PRELOAD", library, 1);
	else if (asprintf(&value, "%s:%s", library, others) < 0)
		err = -1;
	else
		err = setenv("LD_PRELOAD", value, 1);
	free(value);
	if (err != 0)
		return msg_fail(EXIT_STEWARD, "environment", "%s; try again with more memory", strerror(errno));
	return 0;
}
