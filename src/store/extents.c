#include "store/extents.h"

#include <errno.h>

#include "base/assert.h"

static bool is_mine(const struct extents *e, uint32_t extent)
{
	return e->mine[extent / 64] >> extent % 64 & 1;
}

size_t extents_bytes(uint32_t total)
{
	return DIV_ROUND_UP(total, 64) * sizeof(uint64_t) + total * sizeof(uint32_t);
}

void extents_init(struct extents *e, uint32_t total, void *memory)
{
	*e = (struct extents){ .total = total, .mine = memory };
	e->at = (uint32_t *)(e->mine + DIV_ROUND_UP(total, 64));
}

int extents_claim(struct extents *e)
{
	for (uint32_t i = 0; i < e->total; i++) {
		uint32_t extent = (e->hint + i) % e->total;
		int err = is_mine(e, extent) ? -EAGAIN : e->lock(e->ctx, extent, true);

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
		err = e->lock(e->ctx, e->at[i], false);
	return err;
}

int extents_inherit(struct extents *e)
{
	int err = 0;

	e->inherited = e->nr;
	for (uint32_t i = 0; i < e->nr && err == 0; i++)
		err = e->lock(e->ctx, e->at[i], false);
	return err;
}

bool extents_unshare(struct extents *e)
{
	for (uint32_t i = e->inherited; i < e->nr; i++)
		if (e->lock(e->ctx, e->at[i], true) != 0)
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
