#include "malloc/addrtable.h"

#include "malloc/meta.h"

#define FIRST_SHIFT 8
#define PLACES 8
#define FREE ((uintptr_t)0)
#define CLAIMED ((uintptr_t)1)

typedef _Atomic uintptr_t word;

/* The i-th place for an address in table n. */
static word *place(const struct addr_table *t, void *table, unsigned n, uintptr_t addr, size_t i)
{
	uint64_t hash = (uint64_t)addr * 0x9e3779b97f4a7c15u >> 32;

	return (word *)table + ((hash + i) & (((size_t)1 << (FIRST_SHIFT + n)) - 1)) * t->words;
}

/* Table n, made if need be; NULL: no memory. */
static void *table_get(struct addr_table *t, unsigned n)
{
	void *table = atomic_load_explicit(&t->tables[n], memory_order_acquire), *none = NULL;

	if (table != NULL)
		return table;
	table = meta_alloc(t->words * sizeof(word) << (FIRST_SHIFT + n));
	/* Another thread was first: ours stays unused and untouched. */
	if (table != NULL && !atomic_compare_exchange_strong(&t->tables[n], &none, table))
		table = none;
	return table;
}

/* A free place becomes CLAIMED; NULL: no memory. */
static word *claim(struct addr_table *t, uintptr_t addr)
{
	for (unsigned n = 0; n < ADDR_TABLES_MAX; n++) {
		void *table = table_get(t, n);

		if (table == NULL)
			return NULL;
		for (size_t i = 0; i < PLACES; i++) {
			word *e = place(t, table, n, addr, i);
			uintptr_t empty = FREE;

			if (atomic_load_explicit(e, memory_order_relaxed) == FREE &&
			    atomic_compare_exchange_strong(e, &empty, CLAIMED))
				return e;
		}
	}
	return NULL;
}

bool addr_insert(struct addr_table *t, const uintptr_t *entry)
{
	word *e = claim(t, entry[0]);

	if (e == NULL)
		return false;
	for (size_t i = 1; i < t->words; i++)
		atomic_store_explicit(&e[i], entry[i], memory_order_relaxed);
	atomic_store_explicit(&e[0], entry[0], memory_order_release);
	return true;
}

/* False: the entry has changed hands meanwhile. */
static bool copy_out(const struct addr_table *t, word *e, uintptr_t addr, uintptr_t *out)
{
	out[0] = addr;
	for (size_t i = 1; i < t->words; i++)
		out[i] = atomic_load_explicit(&e[i], memory_order_relaxed);
	atomic_thread_fence(memory_order_acquire);
	return atomic_load_explicit(&e[0], memory_order_relaxed) == addr;
}

bool addr_remove(struct addr_table *t, uintptr_t addr, uintptr_t *out)
{
	for (unsigned n = 0; n < ADDR_TABLES_MAX; n++) {
		void *table = atomic_load_explicit(&t->tables[n], memory_order_acquire);

		if (table == NULL)
			return false;
		for (size_t i = 0; i < PLACES; i++) {
			word *e = place(t, table, n, addr, i);

			if (atomic_load_explicit(e, memory_order_acquire) != addr)
				continue;
			if (out != NULL)
				copy_out(t, e, addr, out);
			atomic_store_explicit(e, FREE, memory_order_release);
			return true;
		}
	}
	return false;
}

void addr_each(struct addr_table *t, uintptr_t *room, void (*fn)(void *ctx, const uintptr_t *entry), void *ctx)
{
	for (unsigned n = 0; n < ADDR_TABLES_MAX; n++) {
		word *table = atomic_load_explicit(&t->tables[n], memory_order_acquire);

		for (size_t i = 0; table != NULL && i < (size_t)1 << (FIRST_SHIFT + n); i++) {
			word *e = table + i * t->words;
			uintptr_t addr = atomic_load_explicit(e, memory_order_acquire);

			if (addr > CLAIMED && copy_out(t, e, addr, room))
				fn(ctx, room);
		}
	}
}
