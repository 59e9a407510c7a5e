/*
 * Blocks of no bytes. Each malloc(0) gets an address of its own, but nothing
 * behind it: the addresses lie 16 apart in pages without access. Whoever reads
 * or writes "the first byte" stops there and then.
 *
 *   region (out of line)                      256 KiB of address space, no memory
 *   ├ live[256]  1: the block is handed out ─► ├ 0 │ 1 │ 2 │ …  16384 blocks ┤
 *
 * The pagemap sends such an address to one slab that is nobody's, and from
 * there to here: the short ways of malloc and free pay nothing (slot_class(0)
 * names a stack that is always empty).
 *
 * A region is gone through in a ring, so an address comes back late. No locks:
 * a bit is set or cleared at once.
 */
#include "malloc/zero.h"

#include "malloc/meta.h"
#include "malloc/pagemap.h"

#define REGION_BYTES ((size_t)256 << 10)
#define REGION_WORDS (REGION_BYTES / CHUNK_ALIGN / 64)

struct region {
	uintptr_t base;
	struct region *next;          /* older ones; constant */
	_Atomic size_t at;            /* where to look next */
	_Atomic uint64_t live[REGION_WORDS];
};

struct slab zero_slab;

static _Atomic(struct region *) regions;

static struct region *add_region(void)
{
	const struct pagesrc *src = source();
	struct region *r = meta_alloc(sizeof(*r));
	uintptr_t base = r != NULL ? (uintptr_t)src->map(REGION_BYTES) : 0;

	if (base == 0)
		return NULL;
	if (!pagemap_reserve(base, REGION_BYTES / PAGE_SIZE)) {
		src->unmap((void *)base, REGION_BYTES);
		return NULL;
	}
	if (src->guard != NULL)
		src->guard((void *)base, REGION_BYTES);
	r->base = base;
	r->next = atomic_load(&regions);
	pagemap_set(base, REGION_BYTES / PAGE_SIZE, &zero_slab);
	while (!atomic_compare_exchange_weak(&regions, &r->next, r))
		;
	return r;
}

static void *take(struct region *r)
{
	size_t at = atomic_load_explicit(&r->at, memory_order_relaxed);

	for (size_t n = 0; n <= REGION_WORDS; n++) {
		size_t word = (at / 64 + n) % REGION_WORDS;
		uint64_t w = atomic_load_explicit(&r->live[word], memory_order_relaxed);
		uint64_t skip = n == 0 ? ((uint64_t)1 << at % 64) - 1 : 0;

		while (~(w | skip) != 0) {
			size_t i = (size_t)__builtin_ctzll(~(w | skip));

			if (!atomic_compare_exchange_weak(&r->live[word], &w, w | (uint64_t)1 << i))
				continue;
			atomic_store_explicit(&r->at, word * 64 + i + 1, memory_order_relaxed);
			return (void *)(r->base + (word * 64 + i) * CHUNK_ALIGN);
		}
	}
	return NULL;
}

void *zero_alloc(void)
{
	struct region *r = atomic_load(&regions);
	void *mem = NULL;

	for (; r != NULL && mem == NULL; r = r->next)
		mem = take(r);
	if (mem == NULL && (r = add_region()) != NULL)
		mem = take(r);
	return mem;
}

/* The word and the bit of a block; aborts if there is none at mem. */
static _Atomic uint64_t *find(const void *mem, const char *what, uint64_t *bit)
{
	struct region *r = atomic_load(&regions);
	size_t i;

	while ((uintptr_t)mem - r->base >= REGION_BYTES)
		r = r->next;
	i = ((uintptr_t)mem - r->base) / CHUNK_ALIGN;
	if (unlikely((uintptr_t)mem % CHUNK_ALIGN != 0))
		misuse(what, mem);
	*bit = (uint64_t)1 << i % 64;
	return &r->live[i / 64];
}

void zero_free(void *mem)
{
	uint64_t bit;
	_Atomic uint64_t *word = find(mem, "free of an invalid pointer", &bit);

	if (unlikely((atomic_fetch_and(word, ~bit) & bit) == 0))
		misuse("double free", mem);
}

void zero_check(void *mem, const char *what)
{
	uint64_t bit;

	if (unlikely((atomic_load(find(mem, what, &bit)) & bit) == 0))
		misuse("use of a freed block", mem);
}
