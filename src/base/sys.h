/*
 * The one door to the kernel for code that runs inside somebody else's
 * process: raw x86-64 system calls.
 *
 * A thread of ours in a managed program may have no usable libc state: no
 * errno, no TLS, no cancellation points, no interposed wrapper of the program
 * or of a sanitizer. Every function here is one `syscall` instruction and
 * returns what the kernel returned: ≥ 0, or -errno. Nothing retries: EINTR and
 * short counts are the caller's. Arguments are as in section 2 of the manual
 * unless a comment says otherwise; where the kernel's call differs from libc's
 * (ppoll changes its timeout, pwritev takes the offset in one word), the
 * kernel's holds.
 */
#ifndef STW_BASE_SYS_H
#define STW_BASE_SYS_H

#ifndef __x86_64__
#error "Steward's system call layer is written for x86-64"
#endif

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>

#include "base/types.h"

static inline long sys_call6(long nr, long a, long b, long c, long d, long e, long f)
{
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = f;
	long ret;

	__asm__ volatile("syscall"
			 : "=a"(ret)
			 : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return ret;
}

/* For calls of three arguments or fewer: keeps r8, r9 and r10 free. */
static inline long sys_call3(long nr, long a, long b, long c)
{
	long ret;

	__asm__ volatile("syscall" : "=a"(ret) : "a"(nr), "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
	return ret;
}

/* The return value is an error: the kernel uses the last page of the address space for them. */
static inline bool sys_is_err(long ret)
{
	return (unsigned long)ret >= (unsigned long)-4095;
}

/* Files. */

static inline int sys_openat(int dirfd, const char *path, int flags, mode_t mode)
{
	return (int)sys_call6(SYS_openat, dirfd, (long)path, flags, mode, 0, 0);
}

static inline int sys_open(const char *path, int flags, mode_t mode)
{
	return sys_openat(AT_FDCWD, path, flags, mode);
}

static inline int sys_close(int fd)
{
	return (int)sys_call3(SYS_close, fd, 0, 0);
}

/* flags: CLOSE_RANGE_CLOEXEC, CLOSE_RANGE_UNSHARE. */
static inline int sys_close_range(unsigned first, unsigned last, unsigned flags)
{
	return (int)sys_call3(SYS_close_range, first, last, flags);
}

static inline int sys_unlinkat(int dirfd, const char *path, int flags)
{
	return (int)sys_call3(SYS_unlinkat, dirfd, (long)path, flags);
}

static inline int sys_unlink(const char *path)
{
	return sys_unlinkat(AT_FDCWD, path, 0);
}

static inline ssize_t sys_read(int fd, void *buf, size_t n)
{
	return sys_call3(SYS_read, fd, (long)buf, (long)n);
}

static inline ssize_t sys_write(int fd, const void *buf, size_t n)
{
	return sys_call3(SYS_write, fd, (long)buf, (long)n);
}

static inline ssize_t sys_pread(int fd, void *buf, size_t n, uint64_t offset)
{
	return sys_call6(SYS_pread64, fd, (long)buf, (long)n, (long)offset, 0, 0);
}

static inline ssize_t sys_pwrite(int fd, const void *buf, size_t n, uint64_t offset)
{
	return sys_call6(SYS_pwrite64, fd, (long)buf, (long)n, (long)offset, 0, 0);
}

/* The high half of the offset is ignored by a 64-bit kernel. */
static inline ssize_t sys_preadv(int fd, const struct iovec *iov, int n, uint64_t offset)
{
	return sys_call6(SYS_preadv, fd, (long)iov, n, (long)offset, 0, 0);
}

static inline ssize_t sys_pwritev(int fd, const struct iovec *iov, int n, uint64_t offset)
{
	return sys_call6(SYS_pwritev, fd, (long)iov, n, (long)offset, 0, 0);
}

static inline int sys_ftruncate(int fd, uint64_t size)
{
	return (int)sys_call3(SYS_ftruncate, fd, (long)size, 0);
}

static inline int sys_fallocate(int fd, int mode, uint64_t offset, uint64_t len)
{
	return (int)sys_call6(SYS_fallocate, fd, mode, (long)offset, (long)len, 0, 0);
}

static inline int sys_fadvise(int fd, uint64_t offset, uint64_t len, int advice)
{
	return (int)sys_call6(SYS_fadvise64, fd, (long)offset, (long)len, advice, 0, 0);
}

/* flags: SYNC_FILE_RANGE_*. */
static inline int sys_sync_file_range(int fd, uint64_t offset, uint64_t len, unsigned flags)
{
	return (int)sys_call6(SYS_sync_file_range, fd, (long)offset, (long)len, flags, 0, 0);
}

static inline int sys_fstat(int fd, struct stat *st)
{
	return (int)sys_call3(SYS_fstat, fd, (long)st, 0);
}

static inline long sys_fcntl(int fd, int cmd, long arg)
{
	return sys_call3(SYS_fcntl, fd, cmd, arg);
}

static inline long sys_ioctl(int fd, unsigned long request, void *arg)
{
	return sys_call3(SYS_ioctl, fd, (long)request, (long)arg);
}

/* timeout NULL: for ever. The kernel writes the time left into *timeout. */
static inline int sys_ppoll(struct pollfd *fds, unsigned n, struct timespec *timeout)
{
	return (int)sys_call6(SYS_ppoll, (long)fds, n, (long)timeout, 0, 0, 0);
}

static inline int sys_poll(struct pollfd *fds, unsigned n, int timeout_ms)
{
	return (int)sys_call3(SYS_poll, (long)fds, n, timeout_ms);
}

/* Memory. The result of mmap and mremap: test it with sys_is_err((long)p). */

static inline void *sys_mmap(void *addr, size_t len, int prot, int flags, int fd, uint64_t offset)
{
	return (void *)sys_call6(SYS_mmap, (long)addr, (long)len, prot, flags, fd, (long)offset);
}

static inline void *sys_mremap(void *old, size_t old_len, size_t new_len, int flags, void *to)
{
	return (void *)sys_call6(SYS_mremap, (long)old, (long)old_len, (long)new_len, flags, (long)to, 0);
}

static inline int sys_munmap(void *addr, size_t len)
{
	return (int)sys_call3(SYS_munmap, (long)addr, (long)len, 0);
}

static inline int sys_mprotect(void *addr, size_t len, int prot)
{
	return (int)sys_call3(SYS_mprotect, (long)addr, (long)len, prot);
}

static inline int sys_madvise(void *addr, size_t len, int advice)
{
	return (int)sys_call3(SYS_madvise, (long)addr, (long)len, advice);
}

/* Time, threads, processes. */

static inline int sys_clock_gettime(clockid_t clock, struct timespec *ts)
{
	return (int)sys_call3(SYS_clock_gettime, clock, (long)ts, 0);
}

/* left may be NULL. */
static inline int sys_nanosleep(const struct timespec *ts, struct timespec *left)
{
	return (int)sys_call3(SYS_nanosleep, (long)ts, (long)left, 0);
}

/* op: FUTEX_*; timeout and uaddr2 as the op takes them, else NULL. */
static inline long sys_futex(uint32_t *uaddr, int op, uint32_t val, const struct timespec *timeout,
			     uint32_t *uaddr2, uint32_t val3)
{
	return sys_call6(SYS_futex, (long)uaddr, op, val, (long)timeout, (long)uaddr2, val3);
}

static inline pid_t sys_getpid(void)
{
	return (pid_t)sys_call3(SYS_getpid, 0, 0, 0);
}

static inline pid_t sys_getppid(void)
{
	return (pid_t)sys_call3(SYS_getppid, 0, 0, 0);
}

static inline pid_t sys_gettid(void)
{
	return (pid_t)sys_call3(SYS_gettid, 0, 0, 0);
}

static inline int sys_kill(pid_t pid, int sig)
{
	return (int)sys_call3(SYS_kill, pid, sig, 0);
}

static inline int sys_tgkill(pid_t tgid, pid_t tid, int sig)
{
	return (int)sys_call3(SYS_tgkill, tgid, tid, sig);
}

/* From the memory of another process; bytes read, which may be fewer, or -errno. */
static inline ssize_t sys_process_vm_readv(pid_t pid, const struct iovec *to, unsigned nr_to, const struct iovec *from,
					   unsigned nr_from)
{
	return sys_call6(SYS_process_vm_readv, pid, (long)to, nr_to, (long)from, nr_from, 0);
}

/* len bytes of mask; tid 0 is the calling thread. */
/* Bytes written, or -errno. */
static inline int sys_sched_getaffinity(pid_t tid, size_t len, void *mask)
{
	return (int)sys_call3(SYS_sched_getaffinity, tid, (long)len, (long)mask);
}

static inline int sys_sched_setaffinity(pid_t tid, size_t len, const void *mask)
{
	return (int)sys_call3(SYS_sched_setaffinity, tid, (long)len, (long)mask);
}

static inline int sys_sched_yield(void)
{
	return (int)sys_call3(SYS_sched_yield, 0, 0, 0);
}

/* Ends the calling thread, without libc's exit work. */
static inline __attribute__((noreturn)) void sys_exit(int status)
{
	for (;;)
		sys_call3(SYS_exit, status, 0, 0);
}

static inline __attribute__((noreturn)) void sys_exit_group(int status)
{
	for (;;)
		sys_call3(SYS_exit_group, status, 0, 0);
}

#endif
