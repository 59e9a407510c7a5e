#include "malloc/pagemap.h"

#include "malloc/meta.h"

_Atomic(pagemap_entry *) pagemap_root[PAGEMAP_ROOT];

static bool reserve_leaf(size_t index)
{
	pagemap_entry *none = NULL, *leaf;

	if (atomic_load_explicit(&pagemap_root[index], memory_order_acquire) != NULL)
		return true;
	leaf = meta_alloc(PAGEMAP_LEAF_PAGES * sizeof(*leaf));
	if (leaf == NULL)
		return false;
	/* Another thread was first: ours stays unused, untouched and unnoticed. */
	atomic_compare_exchange_strong(&pagemap_root[index], &none, leaf);
	return true;
}

bool pagemap_reserve(uintptr_t addr, size_t pages)
{
	uintptr_t last = addr + pages * PAGE_SIZE - 1;

	if (last >> PAGEMAP_ADDRESS_BITS != 0)
		return false;
	for (size_t i = addr >> PAGEMAP_LEAF_SHIFT; i <= last >> PAGEMAP_LEAF_SHIFT; i++)
		if (!reserve_leaf(i))
			return false;
	return true;
}

void pagemap_set(uintptr_t addr, size_t pages, struct slab *s)
{
	for (uintptr_t a = addr; a < addr + pages * PAGE_SIZE; a += PAGE_SIZE)
		atomic_store_explicit(&pagemap_root[a >> PAGEMAP_LEAF_SHIFT][a >> PAGE_SHIFT & (PAGEMAP_LEAF_PAGES - 1)], s,
				      memory_order_release);
}
