/*
 * Changes of the address space under pressure: mremap, madvise, mprotect,
 * munmap, the same by raw system calls, brk, bss, shared and file mappings,
 * mlock, MAP_POPULATE.
 */
#include "verifier.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef MADV_COLD
#define MADV_COLD 20
#define MADV_PAGEOUT 21
#endif

static void *remap(const struct region *r, size_t pages, int flags, void *to)
{
	void *p = mremap(r->base, r->pages * PAGE, pages * PAGE, flags, to);

	must(p != MAP_FAILED, "mremap from %zu to %zu pages, flags %d: %s", r->pages, pages, flags, strerror(errno));
	return p;
}

/* gen must already cover the larger size. */
static void resize(struct region *r, size_t pages, int flags, void *to)
{
	unsigned char *p = remap(r, pages, flags, to);

	for (size_t i = pages; i < r->pages; i++)
		r->gen[i] = 0;
	r->base = p;
	r->pages = pages;
}

uint64_t mode_mremap(size_t n, uint64_t seed)
{
	struct region r, all;
	uint64_t digest;

	region_make(&all, n);
	munmap(all.base, n * PAGE);
	r = all;
	r.pages = n / 2;
	r.base = map_anon(n / 2 + 1);
	r.tag_base = (uintptr_t)r.base;
	/* A neighbour of another kind above, so that growing must move. */
	must(mprotect(r.base + n / 2 * PAGE, PAGE, PROT_NONE) == 0, "mprotect");
	region_fill(&r, 0, r.pages);

	resize(&r, n, MREMAP_MAYMOVE, NULL);
	region_sample(&r, &seed, n / 4, "grown with MAYMOVE");
	region_fill(&r, n / 2, n);
	region_check_all(&r, "grown with MAYMOVE");

	resize(&r, n / 2 + n / 4, 0, NULL);
	region_check_all(&r, "shrunk");
	/* The tail is free again: grow in place, and the pages there are new. */
	unsigned char *at = r.base;
	if (mremap(r.base, r.pages * PAGE, n * PAGE, 0) != MAP_FAILED) {
		r.pages = n;
		must(r.base == at, "grown in place, and moved");
	} else {
		resize(&r, n, MREMAP_MAYMOVE, NULL);
	}
	region_check_all(&r, "grown in place");
	region_fill(&r, n / 2, n);

	/* Over another mapping that is full of pages of its own. */
	struct region other;
	region_make(&other, n);
	region_fill(&other, 0, n / 8);
	resize(&r, n, MREMAP_MAYMOVE | MREMAP_FIXED, other.base);
	must(r.base == other.base, "MREMAP_FIXED went elsewhere");
	region_check_all(&r, "moved over another mapping");
	region_fill(&r, 0, n / 4);

	/* Page by page, every second one, to the other half of a new place. */
	unsigned char *to = map_anon(n);
	for (size_t i = 0; i < n; i += 16)
		must(mremap(region_page(&r, i), PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, to + i * PAGE) == to + i * PAGE,
		     "mremap of page %zu: %s", i, strerror(errno));
	struct region moved = r;
	moved.base = to;
	for (size_t i = 0; i < n; i += 16)
		region_check(&moved, i, "moved alone");
	for (size_t i = 0; i < n; i++)
		if (i % 16 != 0)
			region_check(&r, i, "stayed behind");
	digest = region_digest(&r);
	munmap(to, n * PAGE);
	munmap(r.base, n * PAGE);
	return digest;
}

static int advise(const struct region *r, size_t from, size_t n, int advice)
{
	int err = madvise(region_page(r, from), n * PAGE, advice);

	must(err == 0 || advice == MADV_COLD || advice == MADV_PAGEOUT,
	     "madvise(%d) of %zu pages: %s", advice, n, strerror(errno));
	return err;
}

/*
 * After MADV_FREE a page is as it was, or zero, and until the next write it may
 * become zero at any moment; so write its last word first, then look.
 */
static void settle_freed(struct region *r, size_t from, size_t n)
{
	uint64_t old[PAGE_WORDS] = { 0 };

	for (size_t i = from; i < from + n; i++) {
		volatile uint64_t *w = (volatile uint64_t *)region_page(r, i);

		w[PAGE_WORDS - 1] = 0;
		if (r->gen[i] != 0)
			page_fill(old, region_tag(r, i), r->gen[i]);
		old[PAGE_WORDS - 1] = 0;
		must(page_check_zero((const void *)w) < 0 || (r->gen[i] != 0 && memcmp((const void *)w, old, PAGE) == 0),
		     "page %zu after MADV_FREE is neither old nor zero", i);
		region_write(r, i);
	}
}

uint64_t mode_madvise(size_t n, uint64_t seed)
{
	static const int advices[] = { MADV_DONTNEED, MADV_FREE, MADV_WILLNEED, MADV_COLD, MADV_PAGEOUT };
	struct region r;
	uint64_t digest = 0;

	region_make(&r, n);
	region_fill(&r, 0, n);
	for (unsigned k = 0; k < 400; k++) {
		size_t len = 1 + below64(&seed, k % 8 == 0 ? n / 8 : 64), from = below64(&seed, n - len);
		int advice = advices[below64(&seed, 5)];

		advise(&r, from, len, advice);
		if (advice == MADV_DONTNEED)
			memset(r.gen + from, 0, len * sizeof(*r.gen));
		if (advice == MADV_FREE)
			settle_freed(&r, from, len);
		for (unsigned i = 0; i < 16; i++)
			region_check(&r, from + below64(&seed, len), "after madvise");
		for (unsigned i = 0; i < 32; i++)
			region_write(&r, below64(&seed, n));
		region_sample(&r, &seed, 32, "beside madvise");
	}
	region_check_all(&r, "last look");
	digest = region_digest(&r);
	advise(&r, 0, n, MADV_DONTNEED);
	memset(r.gen, 0, n * sizeof(*r.gen));
	region_check_all(&r, "all given back");
	return digest;
}

static struct {
	volatile uintptr_t expected;
	volatile unsigned hits, wrong;
} trap;

static void on_write_to_readonly(int sig, siginfo_t *info, void *context)
{
	uintptr_t page = (uintptr_t)info->si_addr & ~(uintptr_t)(PAGE - 1);

	(void)sig;
	(void)context;
	trap.hits++;
	if ((uintptr_t)info->si_addr != trap.expected || info->si_code != SEGV_ACCERR)
		trap.wrong++;
	if (page != (trap.expected & ~(uintptr_t)(PAGE - 1)) || mprotect((void *)page, PAGE, PROT_READ | PROT_WRITE) != 0)
		_exit(4);
}

static void protect(const struct region *r, size_t from, size_t n, int prot)
{
	must(mprotect(region_page(r, from), n * PAGE, prot) == 0, "mprotect of %zu pages: %s", n, strerror(errno));
}

uint64_t mode_mprotect(size_t n, uint64_t seed)
{
	struct sigaction sa = { .sa_sigaction = on_write_to_readonly, .sa_flags = SA_SIGINFO };
	struct region r;

	region_make(&r, n);
	region_fill(&r, 0, n);
	protect(&r, 0, n, PROT_READ);
	region_sample(&r, &seed, n / 2, "read-only");
	protect(&r, 0, n, PROT_READ | PROT_WRITE);
	region_fill(&r, 0, n / 2);
	protect(&r, 0, n / 4, PROT_NONE);
	region_sample(&(struct region){ region_page(&r, n / 4), region_tag(&r, n / 4), n - n / 4, r.gen + n / 4 },
		      &seed, n / 2, "beside PROT_NONE");
	protect(&r, 0, n / 4, PROT_READ);
	for (size_t i = 0; i < n / 4; i++)
		region_check(&r, i, "after PROT_NONE");
	protect(&r, 0, n, PROT_READ);

	/* A write barrier as garbage collectors use it. */
	must(sigaction(SIGSEGV, &sa, NULL) == 0, "sigaction");
	for (unsigned k = 0; k < 500; k++) {
		size_t i = below64(&seed, n), offset = below64(&seed, PAGE_WORDS) * 8;
		volatile uint64_t *w = (volatile uint64_t *)(region_page(&r, i) + offset);

		trap.expected = (uintptr_t)w;
		unsigned before = trap.hits;
		*w = 42;
		must(trap.hits == before + 1, "write to read-only page %zu raised %u signals", i, trap.hits - before);
		must(trap.wrong == 0, "wrong si_addr or si_code for page %zu", i);
		region_write(&r, i);
		protect(&r, i, 1, PROT_READ);
		region_sample(&r, &seed, 32, "beside the barrier");
	}
	signal(SIGSEGV, SIG_DFL);
	region_check_all(&r, "last look");
	return region_digest(&r);
}

static int is_mapped(const void *page)
{
	unsigned char vec;

	return mincore((void *)(uintptr_t)page, PAGE, &vec) == 0;
}

typedef void *map_fn(void *at, size_t bytes);
typedef int unmap_fn(void *at, size_t bytes);
typedef int advise_fn(void *at, size_t bytes, int advice);

static void *libc_map(void *at, size_t bytes)
{
	return mmap(at, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | (at != NULL ? MAP_FIXED : 0), -1, 0);
}

static void *raw_map(void *at, size_t bytes)
{
	return (void *)syscall(SYS_mmap, at, bytes, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS | (at != NULL ? MAP_FIXED : 0), -1, 0L);
}

static int raw_unmap(void *at, size_t bytes)
{
	return (int)syscall(SYS_munmap, at, bytes);
}

static int raw_advise(void *at, size_t bytes, int advice)
{
	return (int)syscall(SYS_madvise, at, bytes, advice);
}

/* Holes, then new mappings over holes and over live pages alike: those must be zero. */
static uint64_t punch_and_patch(size_t n, uint64_t seed, map_fn *map, unmap_fn *unmap, advise_fn *give_back)
{
	struct region r;

	region_make(&r, n);
	munmap(r.base, n * PAGE);
	r.base = map(NULL, n * PAGE);
	must(r.base != MAP_FAILED, "mmap: %s", strerror(errno));
	r.tag_base = (uintptr_t)r.base;
	region_fill(&r, 0, n);
	for (unsigned k = 0; k < 300; k++) {
		size_t len = 1 + below64(&seed, k % 8 == 0 ? n / 8 : 48), from = below64(&seed, n - len);
		unsigned char *at = region_page(&r, from);

		if (k % 3 == 0) {
			must(unmap(at, len * PAGE) == 0, "munmap of %zu pages: %s", len, strerror(errno));
			must(!is_mapped(at) && !is_mapped(at + (len - 1) * PAGE), "munmap left pages at %p", (void *)at);
		}
		if (k % 3 == 2)
			must(give_back(at, len * PAGE, MADV_DONTNEED) == 0, "madvise: %s", strerror(errno));
		else
			must(map(at, len * PAGE) == at, "mmap over %zu pages: %s", len, strerror(errno));
		memset(r.gen + from, 0, len * sizeof(*r.gen));
		for (size_t i = from; i < from + len; i += 1 + len / 8)
			region_check(&r, i, "new mapping");
		for (unsigned i = 0; i < 64; i++)
			region_write(&r, below64(&seed, n));
		region_sample(&r, &seed, 64, "beside munmap");
	}
	region_check_all(&r, "last look");
	return region_digest(&r);
}

uint64_t mode_munmap(size_t n, uint64_t seed)
{
	return punch_and_patch(n, seed, libc_map, munmap, madvise);
}

/* The same, by system calls that no interposed symbol can see. */
uint64_t mode_raw(size_t n, uint64_t seed)
{
	return punch_and_patch(n, seed, raw_map, raw_unmap, raw_advise);
}

/*
 * The break grows and shrinks in steps. stdio and malloc stay out of it: they
 * may use the break too, and only what sbrk itself returned is ours.
 */
uint64_t mode_brk(size_t n, uint64_t seed)
{
	struct region all, r;
	uintptr_t here = (uintptr_t)sbrk(0);

	region_make(&all, n);
	munmap(all.base, n * PAGE);
	must(sbrk((intptr_t)(-here & (PAGE - 1))) != (void *)-1, "sbrk");
	r = all;
	r.pages = 0;
	r.base = sbrk(0);
	r.tag_base = (uintptr_t)r.base;
	for (unsigned k = 0; k < 24; k++) {
		size_t to = k == 23 ? n : n / 24 * (k + 1);

		must(sbrk((intptr_t)((to - r.pages) * PAGE)) == region_page(&r, r.pages), "sbrk grew elsewhere");
		size_t from = r.pages;
		r.pages = to;
		region_check(&r, from, "fresh break");
		region_fill(&r, from, to);
		region_sample(&r, &seed, n / 48, "growing break");
		if (k % 4 == 3) {
			size_t less = to / 5;

			must(sbrk(-(intptr_t)(less * PAGE)) != (void *)-1, "sbrk down");
			must(sbrk((intptr_t)(less * PAGE)) != (void *)-1, "sbrk up again");
			memset(r.gen + to - less, 0, less * sizeof(*r.gen));
			region_check(&r, to - less, "break after shrinking");
			region_check(&r, to - 1, "break after shrinking");
			region_fill(&r, to - less, to - less / 2);
		}
	}
	region_check_all(&r, "last look");
	uint64_t digest = region_digest(&r);
	must(sbrk(-(intptr_t)(r.pages * PAGE)) != (void *)-1, "sbrk back");
	return digest;
}

static unsigned char big_bss[256u << 20] __attribute__((aligned(4096)));

uint64_t mode_bss(size_t n, uint64_t seed)
{
	struct region r;

	n = n < sizeof(big_bss) / PAGE ? n : sizeof(big_bss) / PAGE;
	region_make(&r, n);
	munmap(r.base, n * PAGE);
	r.base = big_bss;
	r.tag_base = (uintptr_t)r.base;
	region_sample(&r, &seed, n / 8, "bss before any write");
	for (size_t i = 0; i < n; i++)
		if (i % 8 != 5)
			region_write(&r, i);
	region_sample(&r, &seed, n / 2, "bss");
	for (size_t k = 0; k < n / 2; k++)
		region_write(&r, below64(&seed, n));
	region_check_all(&r, "bss, last look");
	return region_digest(&r);
}

/* Shared and file mappings keep their meaning while private memory is under pressure. */
uint64_t mode_shared(size_t n, uint64_t seed)
{
	struct region priv, shared;
	size_t files = 256, shm = 512;
	unsigned char page[PAGE];
	int fd = temp_file(files);

	region_make(&priv, n);
	region_make(&shared, shm);
	munmap(shared.base, shm * PAGE);
	shared.base = mmap(NULL, shm * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	shared.tag_base = (uintptr_t)shared.base;
	unsigned char *written = mmap(NULL, files * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	unsigned char *copied = mmap(NULL, files * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	must(shared.base != MAP_FAILED && written != MAP_FAILED && copied != MAP_FAILED, "mmap: %s", strerror(errno));

	region_fill(&priv, 0, n / 2);
	int pid = fork();
	if (pid == 0) {
		for (size_t i = 0; i < shm; i++)
			page_fill(region_page(&shared, i), region_tag(&shared, i), 1);
		for (size_t i = 0; i < files; i++)
			page_fill(written + i * PAGE, i, 7);
		_exit(0);
	}
	region_fill(&priv, n / 2, n);
	child_must_succeed(pid, "shared");
	for (size_t i = 0; i < shm; i++)
		shared.gen[i] = 1;
	region_check_all(&shared, "shared with a child");
	for (size_t i = 0; i < files; i++) {
		must(pread(fd, page, PAGE, (off_t)(i * PAGE)) == PAGE && page_check(page, i, 7) < 0, "file page %zu", i);
		must(page_check(copied + i * PAGE, i, 7) < 0, "private view of file page %zu", i);
		page_fill(copied + i * PAGE, i, 8);
	}
	region_sample(&priv, &seed, n / 2, "private beside shared");
	for (size_t i = 0; i < files; i++) {
		must(page_check(copied + i * PAGE, i, 8) < 0, "copied file page %zu", i);
		must(page_check(written + i * PAGE, i, 7) < 0, "a private write reached the file, page %zu", i);
	}
	region_check_all(&priv, "last look");
	close(fd);
	return region_digest(&priv) + region_digest(&shared);
}

/* A limit on locked memory is no fault of ours, a wrong byte is. */
static bool lock(const struct region *r, size_t from, size_t len)
{
	bool locked = mlock(region_page(r, from), len * PAGE) == 0;

	must(locked || errno == ENOMEM || errno == EPERM || errno == EAGAIN, "mlock: %s", strerror(errno));
	return locked;
}

uint64_t mode_mlock(size_t n, uint64_t seed)
{
	struct region r, fresh;

	region_make(&r, n);
	region_make(&fresh, n / 8);
	region_fill(&r, 0, n);
	bool locked = lock(&r, n / 2, n / 8);
	int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;
	void *p = mmap(fresh.base, n / 8 * PAGE, PROT_READ | PROT_WRITE, flags | MAP_LOCKED, -1, 0);
	must(p != MAP_FAILED || errno == EAGAIN || errno == EPERM, "mmap of locked memory: %s", strerror(errno));
	must(p != MAP_FAILED || mmap(fresh.base, n / 8 * PAGE, PROT_READ | PROT_WRITE, flags, -1, 0) == fresh.base, "mmap: %s", strerror(errno));
	region_sample(&r, &seed, n, "beside locked pages");
	region_fill(&fresh, 0, n / 8);
	for (size_t i = n / 2; i < n / 2 + n / 8; i++)
		region_write(&r, i);
	must(!locked || munlock(region_page(&r, n / 2), n / 8 * PAGE) == 0, "munlock: %s", strerror(errno));
	for (size_t k = 0; k < n / 2; k++)
		region_write(&r, below64(&seed, n));
	/* More than the budget has is refused. */
	if (lock(&r, 0, n))
		munlock(r.base, n * PAGE);
	region_check_all(&r, "last look");
	region_check_all(&fresh, "last look");
	return region_digest(&r) + region_digest(&fresh);
}

/* More than the budget is asked for at once, while there is no engine and when there is one. */
uint64_t mode_populate(size_t n, uint64_t seed)
{
	struct region r;

	region_make(&r, n);
	for (unsigned round = 0; round < 2; round++) {
		unsigned char *p = mmap(r.base, n * PAGE, PROT_READ | PROT_WRITE,
					MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_POPULATE, -1, 0);

		must(p == r.base, "mmap: %s", strerror(errno));
		for (size_t k = 0; k < 64; k++) {
			size_t i = below64(&seed, n);

			for (size_t b = 0; b < PAGE; b++)
				must(region_page(&r, i)[b] == 0, "byte %zu of new page %zu", b, i);
		}
		region_fill(&r, 0, n);
		region_sample(&r, &seed, n / 2, "after the fill");
	}
	region_check_all(&r, "last look");
	return region_digest(&r);
}
