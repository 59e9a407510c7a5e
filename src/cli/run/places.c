/*
 * A directory is asked whether a file can be made in it. A file or a block device is overwritten but for its first page,
 * so it must say that it is meant for this: by the signature of mkswap(8), or by holding nothing (zeros). And nobody else
 * may use it: a device is opened exclusively, which mount(8) and swapon(8) respect; a file is locked, and may not be one
 * of the system's swap files.
 */
#include "cli/run/places.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "cli/msg.h"
#include "cli/run/budget.h"
#include "cli/run/nbd.h"
#include "cli/table.h"

#define REMOTE_BYTES_MAX ((REMOTE_EXTENTS * (uint64_t)EXTENT_SLOTS + 1) * PAGE_SIZE)
#define SIGNATURE_AT (PAGE_SIZE - 10)

/* A lock on the first byte, until fd is closed. 0; -EAGAIN: another run has it; or why there are no locks (store/extents.h needs them). */
static int take_lock(int fd)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 1 };

	if (fcntl(fd, F_OFD_SETLK, &lock) == 0)
		return 0;
	return errno == EACCES || errno == EAGAIN ? -EAGAIN : -ENOLCK;
}

/* Can a file without a name be made there? 0 or -errno. */
static int try_directory(const char *path, bool direct)
{
	int fd = open(path, O_TMPFILE | O_RDWR | O_CLOEXEC | (direct ? O_DIRECT : 0), 0600);

	int err = fd >= 0 ? take_lock(fd) : 0;

	if (fd >= 0)
		close(fd);
	else if (errno != EOPNOTSUPP || direct || access(path, W_OK | X_OK) != 0)
		err = -errno;
	return err;
}

static uint64_t free_bytes(const struct statfs *fs)
{
	return (uint64_t)fs->f_bavail * (uint64_t)fs->f_bsize;
}

void places_default(struct swap_specs *s)
{
	struct swap_dir dir;

	*s = (struct swap_specs){ .nr = 1, .spec = { { .kind = SWAP_POOL, .codec = SWAP_LZ4 } } };
	swap_dir_find(&dir);
	if (dir.path[0] == '\0' || try_directory(dir.path, false) != 0)
		return;
	s->spec[1] = (struct swap_spec){ .kind = SWAP_NAMELESS };
	memcpy(s->spec[1].path, dir.path, sizeof(dir.path));
	s->nr = 2;
}

static int refuse(const struct swap_spec *spec, const char *why, const char *what_to_do)
{
	char what[SWAP_PATH_MAX + 16];
	struct fmt f;

	fmt_init(&f, what, sizeof(what));
	fmt_str(&f, "--swap ");
	swap_spec_name(&f, spec);
	return msg_fail(EXIT_STEWARD, what, "%s; %s", why, what_to_do);
}

static int refuse_errno(const struct swap_spec *spec, int err)
{
	switch (err) {
	case -ENOENT:
		return refuse(spec, "there is nothing of that name",
			      "name a directory, or make a file: fallocate -l 4G FILE && mkswap FILE");
	case -EACCES:
	case -EPERM:
	case -EROFS:
		return refuse(spec, "this user may not write there", "change its rights, or name another place");
	case -EINVAL:
	case -EOPNOTSUPP:
		return refuse(spec, "its file system has no direct I/O", "leave direct out");
	case -ENOLCK:
		return refuse(spec, "its file system has no locks", "name another place");
	case -EAGAIN:
		return refuse(spec, "another steward run uses it", "give each run its own, or name a directory");
	case -EBUSY:
		return refuse(spec, "it is in use, mounted or swap of the system", "name another one, or free it: umount, swapoff");
	default:
		return refuse(spec, strerror(-err), "name another place");
	}
}

static int claim_directory(struct swap_spec *spec)
{
	struct statfs fs;
	int err = try_directory(spec->path, spec->direct);

	if (err == 0 && statfs(spec->path, &fs) != 0)
		err = -errno;
	if (err != 0)
		return refuse_errno(spec, err);
	if (!spec->has_bytes)
		spec->bytes = ALIGN_DOWN(free_bytes(&fs) / 2, (uint64_t)PAGE_SIZE);
	else if (spec->bytes > free_bytes(&fs))
		return msg_fail(EXIT_STEWARD, "--swap", "size=%s is more than the %s that %s has free; give a smaller size",
				size_text(spec->bytes), size_text(free_bytes(&fs)), spec->path);
	if (spec->bytes < PAGE_SIZE)
		return refuse(spec, "its disk is full", "make room, or name another place");
	return 0;
}

/* Is it one of the swap files in /proc/swaps? */
static bool is_system_swap(const struct stat *st)
{
	char line[PATH_MAX + 128], path[PATH_MAX];
	FILE *f = fopen("/proc/swaps", "re");
	bool found = false;

	while (f != NULL && !found && fgets(line, sizeof(line), f) != NULL) {
		struct stat other;

		found = sscanf(line, "%4095s", path) == 1 && stat(path, &other) == 0 && other.st_dev == st->st_dev &&
			other.st_ino == st->st_ino;
	}
	if (f != NULL)
		fclose(f);
	return found;
}

/* The first page says that it is swap, or nothing at all. */
static bool may_be_overwritten(const uint8_t *page)
{
	static const uint8_t zeros[PAGE_SIZE];

	return memcmp(page + SIGNATURE_AT, "SWAPSPACE2", 10) == 0 || memcmp(page, zeros, PAGE_SIZE) == 0;
}

static int refuse_data(const struct swap_spec *spec)
{
	return refuse(spec, "it holds data", "if it is not needed make it a swap area: mkswap");
}

/* A place of so many bytes is used behind its first page, as far as the user says. */
static int set_size(struct swap_spec *spec, uint64_t bytes)
{
	if (bytes < 2 * PAGE_SIZE)
		return refuse(spec, "it is too small to hold a page", "make it larger");
	bytes = ALIGN_DOWN(bytes - PAGE_SIZE, (uint64_t)PAGE_SIZE);
	if (spec->has_bytes && spec->bytes > bytes)
		return msg_fail(EXIT_STEWARD, "--swap", "size=%s is more than the %s of %s; leave it out, or make it larger",
				size_text(spec->bytes), size_text(bytes), spec->path);
	if (!spec->has_bytes)
		spec->bytes = bytes;
	return 0;
}

static int size_of(int fd, const struct stat *st, uint64_t *bytes)
{
	*bytes = (uint64_t)st->st_size;
	return S_ISBLK(st->st_mode) && ioctl(fd, BLKGETSIZE64, bytes) != 0 ? -errno : 0;
}

/* fd stays open, so that it stays ours. */
static int claim_opened(struct swap_spec *spec, int fd, const struct stat *st)
{
	uint8_t page[PAGE_SIZE] __attribute__((aligned(PAGE_SIZE))) = { 0 };
	uint64_t bytes = 0;
	int err = size_of(fd, st, &bytes);

	if (err == 0 && pread(fd, page, sizeof(page), 0) < 0)
		err = -errno;
	if (err != 0)
		return refuse_errno(spec, err);
	if (!may_be_overwritten(page))
		return refuse_data(spec);
	if (is_system_swap(st))
		return refuse_errno(spec, -EBUSY);
	err = take_lock(fd);
	return err != 0 ? refuse_errno(spec, err) : set_size(spec, bytes);
}

/* One export. *bytes becomes its size if that is less. */
static int claim_export(struct swap_spec *spec, const char *uri, uint64_t *bytes)
{
	uint8_t page[PAGE_SIZE] = { 0 };
	struct nbd_refusal refusal;
	uint64_t size = 0;

	if (nbd_try(uri, &size, page, &refusal) != 0)
		return refuse(spec, refusal.why, refusal.what_to_do);
	*bytes = MIN(*bytes, size);
	return may_be_overwritten(page) ? 0 : refuse_data(spec);
}

static int claim_nbd(struct swap_spec *spec)
{
	/* What one process can address. */
	uint64_t bytes = REMOTE_BYTES_MAX;
	int err = claim_export(spec, spec->path, &bytes);

	if (err == 0 && spec->mirror[0] != '\0')
		err = claim_export(spec, spec->mirror, &bytes);
	return err != 0 ? err : set_size(spec, bytes);
}

static int claim_named(struct swap_spec *spec, const struct stat *st)
{
	bool device = S_ISBLK(st->st_mode);

	if (!device && !S_ISREG(st->st_mode))
		return refuse(spec, "it is no directory, file or block device", "name one");
	spec->kind = SWAP_NAMED;
	int fd = open(spec->path, O_RDWR | O_CLOEXEC | (device ? O_EXCL : 0) | (spec->direct ? O_DIRECT : 0));

	return fd < 0 ? refuse_errno(spec, -errno) : claim_opened(spec, fd, st);
}

/* Processes of the run may be in other directories. */
static int make_absolute(struct swap_spec *spec)
{
	char *path = realpath(spec->path, NULL);

	if (path == NULL)
		return refuse_errno(spec, -errno);
	size_t len = strlen(path);

	if (len < sizeof(spec->path))
		memcpy(spec->path, path, len + 1);
	free(path);
	return len < sizeof(spec->path) ? 0 : refuse_errno(spec, -ENAMETOOLONG);
}

static int claim(struct swap_spec *spec)
{
	struct stat st;
	int err = make_absolute(spec);

	if (err != 0)
		return err;
	if (stat(spec->path, &st) != 0)
		return refuse_errno(spec, -errno);
	return S_ISDIR(st.st_mode) ? claim_directory(spec) : claim_named(spec, &st);
}

int places_claim(struct swap_specs *s)
{
	int err = 0;

	for (unsigned i = 0; i < s->nr && err == 0; i++) {
		if (s->spec[i].kind == SWAP_NBD)
			err = claim_nbd(&s->spec[i]);
		else if (s->spec[i].kind != SWAP_POOL)
			err = claim(&s->spec[i]);
	}
	return err;
}
