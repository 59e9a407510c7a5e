#include "malloc/pagesrc.h"

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

static void *plain_map(size_t bytes)
{
	int saved_errno = errno;
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	errno = saved_errno;
	return p != MAP_FAILED ? p : NULL;
}

static void plain_unmap(void *addr, size_t bytes)
{
	int saved_errno = errno;

	munmap(addr, bytes);
	errno = saved_errno;
}

static void *plain_remap(void *addr, size_t old_bytes, size_t new_bytes)
{
	int saved_errno = errno;
	void *p = mremap(addr, old_bytes, new_bytes, MREMAP_MAYMOVE);

	errno = saved_errno;
	return p != MAP_FAILED ? p : NULL;
}

static void *plain_extend(intptr_t delta)
{
	int saved_errno = errno;
	void *p = sbrk(delta);

	errno = saved_errno;
	return p;
}

static void plain_ignore(void *addr, size_t bytes)
{
	(void)addr;
	(void)bytes;
}

static void plain_guard(void *addr, size_t bytes)
{
	int saved_errno = errno;

	mprotect(addr, bytes, PROT_NONE);
	errno = saved_errno;
}

static bool plain_purge(void *addr, size_t bytes)
{
	int saved_errno = errno;
	bool done = madvise(addr, bytes, MADV_DONTNEED) == 0;

	errno = saved_errno;
	return done;
}

const struct pagesrc pagesrc_plain = {
	.map = plain_map,
	.unmap = plain_unmap,
	.remap = plain_remap,
	.extend = plain_extend,
	.discard = plain_ignore,
	.revive = plain_ignore,
	.guard = plain_guard,
	.purge = plain_purge,
};
