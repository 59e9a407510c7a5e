#include "store/extents.h"

#include <errno.h>

#include "base/assert.h"
#include "base/sys.h"

#define EXTENT_BYTES (EXTENT_SLOTS * PAGE_SIZE)

static bool is_mine(const struct extents *e, uint32_t extent)
{
	return e->mine[extent / 64] >> extent % 64 & 1;
}

/* type: F_RDLCK, F_WRLCK. 0, -EAGAIN: another process has it. */
static int lock_extent(const struct extents *e, uint32_t extent, short type)
{
	struct flock lock = {
		.l_type = type,
		.l_whence = SEEK_SET,
		.l_start = (off_t)(e->first + extent * EXTENT_BYTES),
		.l_len = (off_t)EXTENT_BYTES,
	};
	long err = sys_fcntl(e->fd, F_OFD_SETLK, (long)&lock);

	return err == -EACCES ? -EAGAIN : (int)err;
}

size_t extents_bytes(uint32_t total)
{
	return DIV_ROUND_UP(total, 64) * sizeof(uint64_t) + total * sizeof(uint32_t);
}

void extents_init(struct extents *e, int fd, uint64_t first, uint32_t total, void *memory)
{
	*e = (struct extents){ .fd = fd, .first = first, .total = total, .mine = memory };
	e->at = (uint32_t *)(e->mine + DIV_ROUND_UP(total, 64));
}

int extents_claim(struct extents *e)
{
	for (uint32_t i = 0; i < e->total; i++) {
		uint32_t extent = (e->hint + i) % e->total;
		int err = is_mine(e, extent) ? -EAGAIN : lock_extent(e, extent, F_WRLCK);

		if (err == -EAGAIN)
			continue;
		if (err != 0)
			return err;
		e->mine[extent / 64] |= (uint64_t)1 << extent % 64;
		e->at[e->nr++] = extent;
		e->hint = extent + 1;
		return 0;
	}
	return -ENOSPC;
}

int extents_share(struct extents *e)
{
	int err = 0;

	for (uint32_t i = e->inherited; i < e->nr && err == 0; i++)
		err = lock_extent(e, e->at[i], F_RDLCK);
	return err;
}

int extents_inherit(struct extents *e, int fd)
{
	int err = 0;

	e->fd = fd;
	e->inherited = e->nr;
	for (uint32_t i = 0; i < e->nr && err == 0; i++)
		err = lock_extent(e, e->at[i], F_RDLCK);
	return err;
}

bool extents_unshare(struct extents *e)
{
	for (uint32_t i = e->inherited; i < e->nr; i++)
		if (lock_extent(e, e->at[i], F_WRLCK) != 0)
			return false;
	return true;
}

void extents_check(const struct extents *e)
{
	uint32_t mine = 0;

	ASSERT(e->inherited <= e->nr && e->nr <= e->total);
	for (uint32_t i = 0; i < DIV_ROUND_UP(e->total, 64); i++)
		mine += (uint32_t)__builtin_popcountll(e->mine[i]);
	ASSERT(mine == e->nr);
	for (uint32_t i = 0; i < e->nr; i++)
		ASSERT(e->at[i] < e->total && is_mine(e, e->at[i]));
}
