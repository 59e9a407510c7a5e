/*
 * The page cache: frames that hold pages of files, by (file, page offset), with
 * the marks of write-back, and the shadows of those that were evicted. The
 * caller holds the machine's lock.
 */
#ifndef STW_MM_BACKING_PAGECACHE_H
#define STW_MM_BACKING_PAGECACHE_H

#include "mm/backing/filera.h"
#include "mm/backing/radix.h"
#include "mm/space/rmap.h"

/*
 * All files of one machine. Law: the sums are those of the files; a file is on
 * the list dirty exactly if nr_dirty > 0.
 */
struct pagecache {
	struct kmem_cache nodes;
	uint64_t nr_cached, nr_dirty, nr_writeback, nr_shadows;
	TAILQ_HEAD(vm_file_list, vm_file) files, dirty; /* dirty: in the order in which they became so */
	void (*dirtied)(struct vm_file *f); /* the engine's, may be NULL: a file that was clean has a dirty page now */
};

/*
 * One file. Law: `pages` has an entry for each cached page (the frame, which is
 * FRAME_FILE and names this file and its pgoff), for each shadow, and for each page in swap, no others;
 * tags PAGECACHE_DIRTY and PAGECACHE_WRITEBACK stand where the frame has
 * FRAME_DIRTY and FRAME_WRITEBACK; the counts are right. Entries lie below
 * size_pages, but for pages that pagecache_truncate had to leave.
 */
struct vm_file {
	struct rmap rmap;       /* areas that map it; first: space/vma.h knows a file only by it */
	struct pagecache *cache;
	uint64_t size_pages;    /* the last one may be partly beyond the end */
	uint64_t pages_elsewhere; /* the first of them: cached, and charged, by somebody else; they stay, and cost nothing here */
	struct radix pages;
	uint64_t nr_cached, nr_dirty, nr_writeback, nr_shadows;
	uint64_t nr_swapped;    /* pages in swap: of a file that is swap_backed */
	bool swap_backed;       /* no disk behind it: its pages are never dirty, and leave to swap (shmem.c) */
	struct file_ra ra;      /* of mappings; a descriptor may have one of its own */
	bool executable;        /* somebody has mapped it as code, once */
	uint32_t id;            /* the engine's, like the next two */
	const char *name;
	void *engine;
	TAILQ_ENTRY(vm_file) link, dirty_link;
};

_Static_assert(offsetof(struct vm_file, rmap) == 0, "vma_file_rmap() takes a file for its rmap");

enum pagecache_tag { PAGECACHE_DIRTY, PAGECACHE_WRITEBACK };

/* 0 or -EINVAL. */
int pagecache_init(struct pagecache *pc, struct phys *p);
/* There must be no files. */
void pagecache_destroy(struct pagecache *pc);

/* An empty file of so many pages, with Linux's default read-ahead. id, name and engine are 0, the caller's to set. */
void vm_file_init(struct vm_file *f, struct pagecache *pc, uint64_t size_pages);
/* No page may be cached (pagecache_truncate to 0) and no area map it. Shadows go. */
void vm_file_destroy(struct vm_file *f);

static inline bool pagecache_elsewhere(const struct vm_file *f, uint64_t pgoff) { return pgoff < f->pages_elsewhere; }

/* The frame of a page, or NULL. */
struct frame *pagecache_get(const struct vm_file *f, uint64_t pgoff);
/* The first cached page of [from, last], or NULL; its frame says which. */
struct frame *pagecache_next(const struct vm_file *f, uint64_t from, uint64_t last);
/* The same of those that are dirty, or being written. */
struct frame *pagecache_next_tagged(const struct vm_file *f, uint64_t from, uint64_t last, enum pagecache_tag tag);

/*
 * The frame, allocated by the caller and of no other use, becomes page pgoff (below size_pages), clean. *shadow, if
 * not NULL, gets the age that pagecache_evict left there, or -1. 0, -EEXIST or -ENOMEM (nothing changed).
 */
int pagecache_add(struct vm_file *f, uint64_t pgoff, struct frame *frame, int32_t *shadow);
/*
 * The frame, not under write-back, leaves the cache and is the caller's to free; dirty or not. evict: it may be
 * wanted again, so `shadow` (workingset.c's) stays in its place. Cannot fail.
 */
void pagecache_remove(struct frame *frame);
void pagecache_evict(struct frame *frame, uint16_t shadow);

/*
 * Of a file that is swap_backed: the frame leaves as by pagecache_evict, and the slot that has its content is named in
 * its place. Cannot fail. pagecache_add puts a frame there again, and the slot is its caller's.
 */
void pagecache_swap_out(struct frame *frame, swp_t entry);
/* The slot of a page that is in swap, or none. */
swp_t pagecache_swapped(const struct vm_file *f, uint64_t pgoff);
/* Forgets all slots; each is given to put(ctx, entry), whose it is. */
void pagecache_drop_swapped(struct vm_file *f, void (*put)(void *ctx, swp_t entry), void *ctx);

/* The frame is newer than the disk now. False: it was dirty already, or there is no disk. */
bool pagecache_set_dirty(struct frame *frame);
/* It is not any more (it was written by somebody else, or nobody wants it). False: it was clean. */
bool pagecache_clear_dirty(struct frame *frame);
/* A dirty frame is on its way to the disk: clean from now on, unless somebody writes to it meanwhile. */
void pagecache_start_writeback(struct frame *frame);
void pagecache_end_writeback(struct frame *frame);

/*
 * The file ends before page size_pages now (or later than it did). Each page beyond leaves the cache and is given to
 * drop(ctx, frame), whose it is; it must not be mapped any more (rmap_first_in). Shadows beyond go too. Returns how
 * many pages had to stay because they are FRAME_LOCKED or under write-back: wait for these and call again.
 */
uint64_t pagecache_truncate(struct vm_file *f, uint64_t size_pages, void (*drop)(void *ctx, struct frame *frame),
			    void *ctx);
/* Forgets all shadows of the file: nodes of the tree that hold nothing else go back. Returns how many nodes. */
uint32_t pagecache_forget(struct vm_file *f);

void vm_file_check(const struct vm_file *f);
/* And of all files. */
void pagecache_check(const struct pagecache *pc);

#endif
