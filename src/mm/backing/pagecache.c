/*
 * The page cache.
 *
 *     struct vm_file ──pages──► radix tree ──┬─► frame          FRAME_FILE: (file, pgoff)
 *            │                               ├─► frame, dirty   tag and FRAME_DIRTY
 *            │ rmap                          ├─► shadow         evicted at this age
 *            │                               ├─► slot           in swap: a file without a disk
 *            ▼                               └─► nothing
 *     areas that map it
 *
 * A page of a file has at most one frame, whoever reads or maps it. Its life:
 *
 *     add ─► clean ──set_dirty──► dirty ──start_writeback──► being written ──end──► clean
 *              │ ▲                                           │ set_dirty: both
 *              │ └────────── add: a refault ─────────┐
 *              ├─ evict ─► shadow ───────────────────┘
 *              └─ remove, truncate ─► nothing
 *
 * Entries. Frames are aligned, so an entry with bit 0 set can only be a shadow:
 * the age at which the page was evicted, 16 bits of it (Linux packs its
 * workingset shadows into the slot in the same way, as xarray values). A shadow
 * costs a slot, 8 bytes, and no node more than the page itself had; a node goes
 * with its last entry. Who keeps reading one huge file once would end up with
 * shadows only, so reclaim may have them forgotten (Linux: the shrinker of
 * shadow_nodes).
 *
 * Dirty pages are found by tag, not by list: write-back wants them in the order
 * of the disk, and a tag costs nothing to keep for pages that are written again
 * and again. Files with dirty pages are on a list, oldest first, for the flusher.
 *
 * Failure. Only a new page can need a node. Evicting replaces an entry and
 * removing takes one out, so neither can fail: reclaim depends on it.
 *
 * Follows mm/filemap.c (filemap_add_folio, filemap_remove_folio), mm/truncate.c,
 * mm/page-writeback.c.
 */
#include "mm/backing/pagecache.h"

#include <errno.h>

#include "base/assert.h"

/* In an entry: not a frame. */
#define SHADOW 1u
#define SLOT 2u

_Static_assert(_Alignof(struct frame) > (SHADOW | SLOT), "the lowest bits of a frame's address say that it is one");

static bool is_shadow(uint64_t entry) { return (entry & SHADOW) != 0; }
static bool is_slot(uint64_t entry) { return (entry & SLOT) != 0; }
static bool is_frame(uint64_t entry) { return entry != 0 && (entry & (SHADOW | SLOT)) == 0; }
static uint64_t slot_entry(swp_t slot) { return slot.v << 2 | SLOT; }
static swp_t entry_slot(uint64_t entry) { return (swp_t){ entry >> 2 }; }
static uint64_t shadow_entry(uint16_t age) { return (uint64_t)age << 2 | SHADOW; }
static uint16_t shadow_age(uint64_t entry) { return (uint16_t)(entry >> 2); }
static uint64_t frame_entry(const struct frame *frame) { return (uint64_t)(uintptr_t)frame; }
static struct frame *entry_frame(uint64_t entry) { return (struct frame *)(uintptr_t)entry; }

int pagecache_init(struct pagecache *pc, struct phys *p)
{
	*pc = (struct pagecache){ .nr_cached = 0 };
	TAILQ_INIT(&pc->files);
	TAILQ_INIT(&pc->dirty);
	return radix_cache_init(&pc->nodes, p);
}

void pagecache_destroy(struct pagecache *pc)
{
	ASSERT(TAILQ_EMPTY(&pc->files));
	kmem_cache_destroy(&pc->nodes);
}

void vm_file_init(struct vm_file *f, struct pagecache *pc, uint64_t size_pages)
{
	*f = (struct vm_file){ .cache = pc, .size_pages = size_pages };
	rmap_init(&f->rmap);
	radix_init(&f->pages, &pc->nodes);
	filera_init(&f->ra, FILERA_PAGES, 0);
	TAILQ_INSERT_TAIL(&pc->files, f, link);
}

void vm_file_destroy(struct vm_file *f)
{
	ASSERT(f->nr_cached == 0 && f->nr_swapped == 0 && f->rmap.nr == 0);
	pagecache_forget(f);
	radix_destroy(&f->pages);
	TAILQ_REMOVE(&f->cache->files, f, link);
}

/*
 * Sums of the file and of the machine
 */

static void cached_add(struct vm_file *f, int64_t n)
{
	f->nr_cached += (uint64_t)n;
	f->cache->nr_cached += (uint64_t)n;
}

static void shadows_add(struct vm_file *f, int64_t n)
{
	f->nr_shadows += (uint64_t)n;
	f->cache->nr_shadows += (uint64_t)n;
}

static void writeback_add(struct vm_file *f, int64_t n)
{
	f->nr_writeback += (uint64_t)n;
	f->cache->nr_writeback += (uint64_t)n;
}

static void dirty_add(struct vm_file *f, int64_t n)
{
	if (f->nr_dirty == 0) {
		TAILQ_INSERT_TAIL(&f->cache->dirty, f, dirty_link);
		if (f->cache->dirtied != NULL)
			f->cache->dirtied(f);
	}
	f->nr_dirty += (uint64_t)n;
	f->cache->nr_dirty += (uint64_t)n;
	if (f->nr_dirty == 0)
		TAILQ_REMOVE(&f->cache->dirty, f, dirty_link);
}

/*
 * Lookup
 */

struct frame *pagecache_get(const struct vm_file *f, uint64_t pgoff)
{
	uint64_t entry = radix_get(&f->pages, pgoff);

	return is_frame(entry) ? entry_frame(entry) : NULL;
}

struct frame *pagecache_next(const struct vm_file *f, uint64_t from, uint64_t last)
{
	uint64_t at, entry;

	while (radix_next(&f->pages, from, last, RADIX_ANY, &at, &entry)) {
		if (is_frame(entry))
			return entry_frame(entry);
		if (at == last)
			break;
		from = at + 1;
	}
	return NULL;
}

struct frame *pagecache_next_tagged(const struct vm_file *f, uint64_t from, uint64_t last, enum pagecache_tag tag)
{
	uint64_t at, entry;

	/* Shadows have no tags. */
	return radix_next(&f->pages, from, last, tag, &at, &entry) ? entry_frame(entry) : NULL;
}

/*
 * Coming and going
 */

int pagecache_add(struct vm_file *f, uint64_t pgoff, struct frame *frame, int32_t *shadow)
{
	uint64_t old = radix_get(&f->pages, pgoff);

	ASSERT(pgoff < f->size_pages);
	ASSERT((frame->flags & (FRAME_FILE | FRAME_DIRTY | FRAME_WRITEBACK)) == 0);
	if (is_frame(old))
		return -EEXIST;
	if (radix_set(&f->pages, pgoff, frame_entry(frame)) != 0)
		return -ENOMEM;
	if (is_shadow(old))
		shadows_add(f, -1);
	f->nr_swapped -= is_slot(old);
	if (shadow != NULL)
		*shadow = is_shadow(old) ? shadow_age(old) : -1;
	frame->flags |= FRAME_FILE;
	frame->cache.file = f;
	frame->cache.pgoff = pgoff;
	cached_add(f, 1);
	return 0;
}

/* The frame's entry becomes this one: 0, or a shadow. */
static void replace(struct frame *frame, uint64_t entry)
{
	struct vm_file *f = frame->cache.file;
	uint64_t pgoff = frame->cache.pgoff;

	ASSERT((frame->flags & FRAME_FILE) && !(frame->flags & FRAME_WRITEBACK));
	ASSERT(radix_get(&f->pages, pgoff) == frame_entry(frame));
	pagecache_clear_dirty(frame);
	radix_set(&f->pages, pgoff, entry);
	frame->flags &= (uint16_t)~(FRAME_FILE | FRAME_READAHEAD | FRAME_SWAPBACKED);
	cached_add(f, -1);
	if (is_shadow(entry))
		shadows_add(f, 1);
	f->nr_swapped += is_slot(entry);
}

void pagecache_remove(struct frame *frame)
{
	replace(frame, 0);
}

void pagecache_evict(struct frame *frame, uint16_t shadow)
{
	/* Cut off by a truncation while somebody worked on it, it will not be wanted again. */
	bool beyond = frame->cache.pgoff >= frame->cache.file->size_pages;

	replace(frame, beyond ? 0 : shadow_entry(shadow));
}

void pagecache_swap_out(struct frame *frame, swp_t entry)
{
	ASSERT(frame->cache.file->swap_backed && frame->cache.pgoff < frame->cache.file->size_pages);
	replace(frame, slot_entry(entry));
}

swp_t pagecache_swapped(const struct vm_file *f, uint64_t pgoff)
{
	uint64_t entry = f->nr_swapped > 0 ? radix_get(&f->pages, pgoff) : 0;

	return is_slot(entry) ? entry_slot(entry) : (swp_t){ 0 };
}

void pagecache_drop_swapped(struct vm_file *f, void (*put)(void *ctx, swp_t entry), void *ctx)
{
	uint64_t at = 0, entry;

	for (; f->nr_swapped > 0 && radix_next(&f->pages, at, UINT64_MAX, RADIX_ANY, &at, &entry); at++) {
		if (!is_slot(entry))
			continue;
		radix_set(&f->pages, at, 0);
		f->nr_swapped--;
		put(ctx, entry_slot(entry));
	}
}

/*
 * Dirty pages
 */

bool pagecache_set_dirty(struct frame *frame)
{
	struct vm_file *f = frame->cache.file;

	ASSERT(frame->flags & FRAME_FILE);
	if ((frame->flags & FRAME_DIRTY) || f->swap_backed)
		return false;
	frame->flags |= FRAME_DIRTY;
	radix_tag(&f->pages, frame->cache.pgoff, PAGECACHE_DIRTY);
	dirty_add(f, 1);
	return true;
}

bool pagecache_clear_dirty(struct frame *frame)
{
	struct vm_file *f = frame->cache.file;

	ASSERT(frame->flags & FRAME_FILE);
	if (!(frame->flags & FRAME_DIRTY))
		return false;
	frame->flags &= (uint16_t)~FRAME_DIRTY;
	radix_untag(&f->pages, frame->cache.pgoff, PAGECACHE_DIRTY);
	dirty_add(f, -1);
	return true;
}

void pagecache_start_writeback(struct frame *frame)
{
	struct vm_file *f = frame->cache.file;

	ASSERT((frame->flags & FRAME_DIRTY) && !(frame->flags & FRAME_WRITEBACK));
	pagecache_clear_dirty(frame);
	frame->flags |= FRAME_WRITEBACK;
	radix_tag(&f->pages, frame->cache.pgoff, PAGECACHE_WRITEBACK);
	writeback_add(f, 1);
}

void pagecache_end_writeback(struct frame *frame)
{
	struct vm_file *f = frame->cache.file;

	ASSERT(frame->flags & FRAME_WRITEBACK);
	frame->flags &= (uint16_t)~FRAME_WRITEBACK;
	radix_untag(&f->pages, frame->cache.pgoff, PAGECACHE_WRITEBACK);
	writeback_add(f, -1);
}

/*
 * Many pages
 */

uint64_t pagecache_truncate(struct vm_file *f, uint64_t size_pages, void (*drop)(void *ctx, struct frame *frame),
			    void *ctx)
{
	uint64_t at = size_pages, entry, left = 0;

	f->size_pages = size_pages;
	for (; radix_next(&f->pages, at, UINT64_MAX, RADIX_ANY, &at, &entry); at++) {
		struct frame *frame = entry_frame(entry);

		ASSERT(!is_slot(entry));
		if (is_shadow(entry)) {
			radix_set(&f->pages, at, 0);
			shadows_add(f, -1);
		} else if (frame->flags & (FRAME_LOCKED | FRAME_WRITEBACK)) {
			left++;
		} else {
			pagecache_remove(frame);
			drop(ctx, frame);
		}
	}
	return left;
}

uint32_t pagecache_forget(struct vm_file *f)
{
	uint32_t before = f->pages.nr_nodes;
	uint64_t at = 0, entry;

	for (; f->nr_shadows > 0 && radix_next(&f->pages, at, UINT64_MAX, RADIX_ANY, &at, &entry); at++) {
		if (is_shadow(entry)) {
			radix_set(&f->pages, at, 0);
			shadows_add(f, -1);
		}
	}
	return before - f->pages.nr_nodes;
}

/*
 * The law
 */

void vm_file_check(const struct vm_file *f)
{
	uint64_t cached = 0, dirty = 0, writeback = 0, shadows = 0, swapped = 0, at = 0, entry;

	radix_check(&f->pages);
	for (; radix_next(&f->pages, at, UINT64_MAX, RADIX_ANY, &at, &entry); at++) {
		const struct frame *frame = entry_frame(entry);
		bool is_dirty = radix_tagged(&f->pages, at, PAGECACHE_DIRTY);
		bool is_written = radix_tagged(&f->pages, at, PAGECACHE_WRITEBACK);

		if (is_shadow(entry)) {
			ASSERT(!is_dirty && !is_written && at < f->size_pages);
			shadows++;
			continue;
		}
		if (is_slot(entry)) {
			ASSERT(!is_dirty && !is_written && at < f->size_pages && f->swap_backed);
			swapped++;
			continue;
		}
		ASSERT((frame->flags & FRAME_FILE) && frame->cache.file == f && frame->cache.pgoff == at);
		ASSERT(is_dirty == !!(frame->flags & FRAME_DIRTY));
		ASSERT(is_written == !!(frame->flags & FRAME_WRITEBACK));
		cached++;
		dirty += is_dirty;
		writeback += is_written;
	}
	ASSERT(cached == f->nr_cached && dirty == f->nr_dirty);
	ASSERT(writeback == f->nr_writeback && shadows == f->nr_shadows && swapped == f->nr_swapped);
	ASSERT(!f->swap_backed || dirty + writeback == 0);
	filera_check(&f->ra);
}

void pagecache_check(const struct pagecache *pc)
{
	uint64_t cached = 0, dirty = 0, writeback = 0, shadows = 0, listed = 0, with_dirty = 0;
	const struct vm_file *f;

	TAILQ_FOREACH(f, &pc->files, link) {
		vm_file_check(f);
		ASSERT(f->cache == pc);
		cached += f->nr_cached;
		dirty += f->nr_dirty;
		writeback += f->nr_writeback;
		shadows += f->nr_shadows;
		with_dirty += f->nr_dirty > 0;
	}
	TAILQ_FOREACH(f, &pc->dirty, dirty_link) {
		ASSERT(f->nr_dirty > 0);
		listed++;
	}
	ASSERT(listed == with_dirty);
	ASSERT(cached == pc->nr_cached && dirty == pc->nr_dirty);
	ASSERT(writeback == pc->nr_writeback && shadows == pc->nr_shadows);
}
