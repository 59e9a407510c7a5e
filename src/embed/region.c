#include "embed/region.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/assert.h"
#include "base/fmt.h"
#include "base/sys.h"
#include "embed/error.h"
#include "live/host.h"

static void assertion_failed(const char *file, int line, const char *what)
{
	char text[200];
	struct fmt f;

	fmt_init(&f, text, sizeof(text));
	fmt_assertion(&f, file, line, what);
	fmt_str(&f, "; please report this");
	error_say(text);
	abort();
}

void *region_memory(size_t bytes)
{
	void *p = sys_mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (sys_is_err((long)p))
		return NULL;
	/* What is touched here and there must not become 2 MiB. */
	sys_madvise(p, bytes, MADV_NOHUGEPAGE);
	sys_madvise(p, bytes, MADV_DONTFORK);
	return p;
}

void region_memory_free(void *p, size_t bytes)
{
	if (p != NULL)
		sys_munmap(p, bytes);
}

int region_map(struct stw_region *r, size_t bytes, size_t page)
{
	size_t len = ALIGN_UP(bytes, page);
	/* More than a page is aligned by hand, out of a range that is longer. */
	size_t slack = page - PAGE_SIZE;
	uint8_t *p = region_memory(len + slack);

	if (p == NULL)
		return error_set(-ENOMEM, "no address space for a region of %zu bytes", bytes);
	uint8_t *start = (uint8_t *)ALIGN_UP((uintptr_t)p, page);

	if (start > p)
		sys_munmap(p, (size_t)(start - p));
	if (start < p + slack)
		sys_munmap(start + len, (size_t)(p + slack - start));
	r->start = (uint64_t)(uintptr_t)start;
	r->bytes = bytes;
	r->mapped = len;
	int err = host_register(r->server.uffd, r->start, len, true);

	return err == 0 ? 0 : error_set(err, "cannot register the region with userfaultfd: %s", error_words(err));
}

struct stw_region *region_new(const struct region_ops *ops, size_t bytes)
{
	/* Fresh memory is zeros. It is the one part that a child sees. */
	struct stw_region *r = sys_mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (sys_is_err((long)r)) {
		error_set(-ENOMEM, "no memory for a region");
		return NULL;
	}
	assert_fail_hook = assertion_failed;
	r->ops = ops;
	r->pid = sys_getpid();
	r->server.uffd = r->server.stop_fd = r->server.landed_fd = r->server.stat_fd = r->server.cpu = -1;
	return r;
}

void region_unmap(struct stw_region *r)
{
	void *p = (void *)(uintptr_t)r->start;

	if (r->start == 0)
		return;
	/*
	 * At once, so that nothing else can come to the addresses before those who wait have found them gone: the server wakes
	 * all of them before it ends, because it reads what there is first.
	 */
	sys_mmap(p, r->mapped, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
}

static int ours(const struct stw_region *r)
{
	return r->pid == sys_getpid() ? 0 : error_set(-ECHILD, "the region is that of process %d, which forked", r->pid);
}

EXPORT void *stw_address(const struct stw_region *region)
{
	return (void *)(uintptr_t)region->start;
}

EXPORT size_t stw_bytes(const struct stw_region *region)
{
	return region->bytes;
}

static int end(struct stw_region *r)
{
	r->closing = true;
	region_unmap(r);
	r->ops->close(r);
	return 0;
}

EXPORT int stw_close(struct stw_region *region)
{
	int err = ours(region);

	if (err == 0)
		err = region->ops->flush(region, region->start, region->start + region->mapped);
	return err != 0 ? err : end(region);
}

EXPORT int stw_abandon(struct stw_region *region)
{
	int err = ours(region);

	return err != 0 ? err : end(region);
}

int region_range(const struct stw_region *r, size_t offset, size_t bytes, bool whole, uint64_t *start, uint64_t *end)
{
	if (offset > r->bytes || bytes > r->bytes - offset)
		return error_set(-EINVAL, "%zu bytes from %zu on are not within the region, which has %zu", bytes, offset, r->bytes);
	uint64_t from = r->start + offset, to = from + bytes;
	/* What lies behind the last byte asked for is nobody's. */
	bool up = !whole || offset + bytes == r->bytes;

	*start = whole ? ALIGN_UP(from, PAGE_SIZE) : ALIGN_DOWN(from, PAGE_SIZE);
	*end = up ? ALIGN_UP(to, PAGE_SIZE) : ALIGN_DOWN(to, PAGE_SIZE);
	return 0;
}

typedef int range_op(struct stw_region *r, uint64_t start, uint64_t end);

static int on_range(struct stw_region *r, size_t offset, size_t bytes, bool whole, range_op *op)
{
	uint64_t start = 0, end = 0;
	int err = ours(r);

	if (err == 0)
		err = region_range(r, offset, bytes, whole, &start, &end);
	return err != 0 || bytes == 0 || start >= end ? err : op(r, start, end);
}

EXPORT int stw_flush(struct stw_region *region, size_t offset, size_t bytes)
{
	return on_range(region, offset, bytes, false, region->ops->flush);
}

EXPORT int stw_get(struct stw_region *region, const struct stw_range *ranges, size_t n)
{
	uint64_t start = 0, end = 0;
	int err = ours(region);

	for (size_t i = 0; i < n && err == 0; i++)
		err = region_range(region, ranges[i].offset, ranges[i].bytes, false, &start, &end);
	return err != 0 || n == 0 ? err : region->ops->get(region, ranges, n);
}

EXPORT int stw_prefetch(struct stw_region *region, size_t offset, size_t bytes)
{
	return on_range(region, offset, bytes, false, region->ops->prefetch);
}

EXPORT int stw_cold(struct stw_region *region, size_t offset, size_t bytes)
{
	return on_range(region, offset, bytes, false, region->ops->cold);
}

EXPORT int stw_discard(struct stw_region *region, size_t offset, size_t bytes)
{
	return on_range(region, offset, bytes, true, region->ops->discard);
}

EXPORT int stw_pin(struct stw_region *region, size_t offset, size_t bytes)
{
	return on_range(region, offset, bytes, false, region->ops->pin);
}

EXPORT int stw_unpin(struct stw_region *region, size_t offset, size_t bytes)
{
	return on_range(region, offset, bytes, false, region->ops->unpin);
}

EXPORT int stw_stats(struct stw_region *region, struct stw_stats *stats, size_t stats_bytes)
{
	struct stw_stats s = { 0 };
	int err = ours(region);

	if (err != 0)
		return err;
	region->ops->stats(region, &s);
	memset(stats, 0, stats_bytes);
	memcpy(stats, &s, MIN(stats_bytes, sizeof(s)));
	return 0;
}
