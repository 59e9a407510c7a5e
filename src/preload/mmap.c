/*
 * The calls that give a program more memory, watched. Everything else about the
 * address space (munmap, mremap, madvise) the kernel reports by itself.
 */
/* With 64-bit offsets asked for, the headers would rename mmap to mmap64; here both are defined. */
#undef _FILE_OFFSET_BITS

#include <dlfcn.h>
#include <errno.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/sys.h"
#include "live/engine.h"
#include "preload/preload.h"

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102 /* Linux 6.13 */
#endif

#define LOCK_STEP MIB /* locked at a time: so much may be resident twice */

static long fail(long err)
{
	errno = (int)-err;
	return -1;
}

static void ring_range(enum bell_op op, void *addr, size_t len, uint64_t flags)
{
	uint64_t start = ALIGN_DOWN((uint64_t)(uintptr_t)addr, PAGE_SIZE);
	uint64_t end = ALIGN_UP((uint64_t)(uintptr_t)addr + len, PAGE_SIZE);

	bell_ring(op, start, end - start, flags);
}

static void ring_mapped(void *addr, size_t len, bool writable)
{
	ring_range(BELL_MAPPED, addr, len, writable ? BELL_WRITABLE : 0);
}

static uint32_t engine_state(void)
{
	return atomic_load(&engine.state);
}

void preload_mapped(void *addr, size_t len, bool writable)
{
	if (!preload_attached)
		return;
	if (engine_state() != LEDGER_ENGAGED && (!writable || native_account(len))) {
		/* It may have engaged meanwhile, and then it must hear of the range. */
		if (engine_state() == LEDGER_ENGAGED)
			ring_mapped(addr, len, writable);
		return;
	}
	int saved_errno = errno;

	/* NATIVE: the exact look, and only if the budget does not cover it, the engine. */
	if (engine_state() == LEDGER_NATIVE && engine_cover() == 0) {
		errno = saved_errno;
		return;
	}
	ring_mapped(addr, len, writable);
	errno = saved_errno;
}

void preload_unmanage(const void *addr, size_t len)
{
	uint64_t start = ALIGN_DOWN((uint64_t)(uintptr_t)addr, PAGE_SIZE);

	if (preload_attached && engine_state() != LEDGER_NATIVE)
		bell_ring(BELL_UNMANAGE, start, ALIGN_UP((uint64_t)(uintptr_t)addr + len, PAGE_SIZE), 0);
}

/* Around calls that take memory away, or put other memory where pages are managed (live/inbox.c). */
struct change {
	bool announced;
	uint64_t signals;
};

static struct change change_begins(bool matters)
{
	struct change c = { .announced = matters && preload_attached && engine_state() == LEDGER_ENGAGED };

	if (c.announced)
		change_announce(&c.signals);
	return c;
}

static void change_ends(const struct change *c)
{
	if (c->announced)
		change_over(&c->signals);
}

static long kernel_lock(uint64_t at, uint64_t len, unsigned flags)
{
	return flags == 0 ? sys_call3(SYS_mlock, (long)at, (long)len, 0) : sys_call3(SYS_mlock2, (long)at, (long)len, flags);
}

/*
 * Locked memory is the host's: it must be present, and MOVE would be refused. With an engine it is locked step by step, each after
 * the engine has made room for it.
 */
static long lock_range(void *addr, size_t len, unsigned flags)
{
	uint64_t start = ALIGN_DOWN((uint64_t)(uintptr_t)addr, PAGE_SIZE);
	uint64_t end = ALIGN_UP((uint64_t)(uintptr_t)addr + len, PAGE_SIZE);
	long err = 0;

	if (!preload_attached || engine_state() == LEDGER_NATIVE || end <= start)
		return kernel_lock((uint64_t)(uintptr_t)addr, len, flags);
	for (uint64_t at = start, step; at < end; at += step) {
		step = MIN(LOCK_STEP, end - at);
		err = (long)bell_ring(BELL_LOCK, at, at + step, end);
		if (err == 0)
			err = kernel_lock(at, step, flags);
		if (err != 0) {
			sys_call3(SYS_munlock, (long)start, (long)(at - start), 0);
			break;
		}
	}
	return err;
}

/* In calls that change the address space: a program that maps by its own instructions makes some of them all the same. */
static void look_for_unseen(void)
{
	if (!preload_attached || engine_state() == LEDGER_ENGAGED || likely(!native_grew_unseen()))
		return;
	int saved_errno = errno;

	if (engine_state() != LEDGER_NATIVE || engine_cover() != 0)
		bell_ring(BELL_UNSEEN, 0, 0, 0);
	errno = saved_errno;
}

static bool is_managed_kind(int flags)
{
	return (flags & (MAP_ANONYMOUS | MAP_TYPE)) == (MAP_ANONYMOUS | MAP_PRIVATE) &&
	       !(flags & (MAP_HUGETLB | MAP_GROWSDOWN));
}

/*
 * What MAP_POPULATE asks for, as far as the budget has it: the kernel would do it within mmap, before anyone could fence the
 * range. Without an engine the range is covered by the allowance. Where it is not, pages come with their first touch, which
 * the kernel does not promise to spare anyone either; so too before Linux 5.14.
 */
static void populate(void *addr, size_t len, int prot)
{
	if (engine_state() == LEDGER_NATIVE)
		(void)sys_madvise(addr, len, prot & PROT_WRITE ? MADV_POPULATE_WRITE : MADV_POPULATE_READ);
}

EXPORT void *mmap(void *addr, size_t len, int prot, int flags, int fd, off_t offset)
{
	struct change change = change_begins(flags & MAP_FIXED);
	bool managed = is_managed_kind(flags);
	int later = managed && preload_attached ? flags & (MAP_POPULATE | MAP_LOCKED) : 0;
	void *p = sys_mmap(addr, len, prot, flags & ~later, fd, (uint64_t)offset);

	change_ends(&change);
	if (sys_is_err((long)p))
		return (void *)fail((long)p);
	if (managed)
		preload_mapped(p, len, prot & PROT_WRITE);
	if ((later & MAP_LOCKED) && lock_range(p, len, 0) != 0) {
		munmap(p, len);
		return (void *)fail(-EAGAIN);
	}
	if (later & MAP_POPULATE)
		populate(p, len, prot);
	return p;
}

EXPORT void *mmap64(void *addr, size_t len, int prot, int flags, int fd, off_t offset)
	__attribute__((alias("mmap")));

/*
 * Memory that was only reserved becomes usable, or an area has grown: it counts
 * against the allowance. Once engaged, both are registered or found by their faults.
 */
static void grown(void *addr, size_t len)
{
	if (!preload_attached || engine_state() == LEDGER_ENGAGED || native_account(len))
		return;
	int saved_errno = errno;

	if (engine_state() != LEDGER_NATIVE || engine_cover() != 0)
		ring_range(BELL_MAPPED, addr, len, BELL_WRITABLE | BELL_GROWN);
	errno = saved_errno;
}

static void *remap(void *old, size_t old_len, size_t new_len, int flags, void *to)
{
	struct change change = change_begins(true);
	void *p = sys_mremap(old, old_len, new_len, flags, to);

	change_ends(&change);
	return p;
}

/*
 * What is registered and what is native beside it (windows in a fence, parts too small to be managed: live/native.c) are areas of
 * their own to the kernel, which moves one at a time: they are joined then. Other threads may open a window again meanwhile.
 */
#define JOIN_TRIES 8

EXPORT void *mremap(void *old, size_t old_len, size_t new_len, int flags, ...)
{
	void *to = NULL;

	if (flags & MREMAP_FIXED) {
		va_list ap;

		va_start(ap, flags);
		to = va_arg(ap, void *);
		va_end(ap);
	}
	/*
	 * From Linux 6.17 on several are moved to a fixed address, but none that is registered behind others: those would have gone when it
	 * says so.
	 */
	if ((flags & MREMAP_FIXED) && old_len > PAGE_SIZE && preload_attached && engine_state() != LEDGER_NATIVE)
		ring_range(BELL_JOIN, old, old_len, 0);
	void *p = remap(old, old_len, new_len, flags, to);

	for (unsigned i = 0; i < JOIN_TRIES && (long)p == -EFAULT && preload_attached && engine_state() != LEDGER_NATIVE; i++) {
		ring_range(BELL_JOIN, old, old_len, 0);
		p = remap(old, old_len, new_len, flags, to);
	}
	if (sys_is_err((long)p))
		return (void *)fail((long)p);
	if (new_len > old_len)
		grown((char *)p + old_len, new_len - old_len);
	return p;
}

EXPORT int munmap(void *addr, size_t len)
{
	struct change change = change_begins(true);
	int err = sys_munmap(addr, len);

	change_ends(&change);
	look_for_unseen();
	return err < 0 ? (int)fail(err) : 0;
}

/*
 * The kernel tells us of pages that MADV_FREE may take, and not that it has left them; of guards it tells nothing, and what was out
 * would come back when they are removed. So all of it is dropped as well.
 */
EXPORT int madvise(void *addr, size_t len, int advice)
{
	bool drops = advice == MADV_DONTNEED || advice == MADV_FREE || advice == MADV_REMOVE || advice == MADV_GUARD_INSTALL;
	struct change change = change_begins(drops);
	int err = sys_madvise(addr, len, advice);

	if (err == 0 && (advice == MADV_FREE || advice == MADV_GUARD_INSTALL) && preload_attached && engine_state() != LEDGER_NATIVE)
		sys_madvise(addr, len, MADV_DONTNEED);

	change_ends(&change);
	look_for_unseen();
	return err < 0 ? (int)fail(err) : 0;
}

EXPORT int mprotect(void *addr, size_t len, int prot)
{
	/* Code that is about to be changed must not be dropped meanwhile (live/fileage.c). */
	struct change change = change_begins(prot & PROT_WRITE);
	int err = sys_mprotect(addr, len, prot);

	change_ends(&change);
	if (err < 0)
		return (int)fail(err);
	if (prot & PROT_WRITE)
		grown(addr, len);
	look_for_unseen();
	return 0;
}

/* The loader unmaps the library by system calls of its own. */
EXPORT int dlclose(void *handle)
{
	static int (*real)(void *);

	if (real == NULL)
		real = (__typeof__(real))dlsym(RTLD_NEXT, "dlclose");
	fileage_hold();
	int err = real(handle);

	fileage_release();
	return err;
}

/* The kernel's brk returns the break, changed or not. */
static uintptr_t kernel_brk(uintptr_t to)
{
	return (uintptr_t)sys_call3(SYS_brk, (long)to, 0, 0);
}

static int move_break(uintptr_t from, uintptr_t to)
{
	struct change change = change_begins(to < from);
	bool moved = kernel_brk(to) == to;

	change_ends(&change);
	if (!moved)
		return (int)fail(-ENOMEM);
	uintptr_t start = ALIGN_UP(from, PAGE_SIZE), end = ALIGN_UP(to, PAGE_SIZE);

	if (end > start)
		preload_mapped((void *)start, end - start, true);
	return 0;
}

EXPORT int brk(void *to)
{
	return move_break(kernel_brk(0), (uintptr_t)to);
}

EXPORT void *sbrk(intptr_t delta)
{
	uintptr_t from = kernel_brk(0), to = from + (uintptr_t)delta;

	if (delta == 0)
		return (void *)from;
	if ((delta > 0 && to < from) || (delta < 0 && to > from))
		return (void *)fail(-ENOMEM);
	return move_break(from, to) == 0 ? (void *)from : (void *)-1;
}

EXPORT int mlock2(const void *addr, size_t len, unsigned flags)
{
	long err = lock_range((void *)(uintptr_t)addr, len, flags);

	return err < 0 ? (int)fail(err) : 0;
}

EXPORT int mlock(const void *addr, size_t len)
{
	return mlock2(addr, len, 0);
}

/* It would make all present that we and the allocator have reserved. So it is more than may be locked. */
EXPORT int mlockall(int flags)
{
	long err = preload_attached ? -ENOMEM : sys_call3(SYS_mlockall, flags, 0, 0);

	return err < 0 ? (int)fail(err) : 0;
}

/*
 * The pipe would keep a reference to the page itself, and the page's frame is
 * used for other data once it is evicted: a copy goes into the pipe instead.
 */
EXPORT ssize_t vmsplice(int fd, const struct iovec *iov, size_t n, unsigned flags)
{
	bool copy = preload_attached && engine_state() == LEDGER_ENGAGED;
	long done = copy ? sys_call3(SYS_writev, fd, (long)iov, (long)n)
			 : sys_call6(SYS_vmsplice, fd, (long)iov, (long)n, flags, 0, 0);

	/* The other end of the pipe: from it into memory. */
	if (copy && done == -EBADF)
		done = sys_call3(SYS_readv, fd, (long)iov, (long)n);
	return done < 0 ? fail(done) : done;
}
