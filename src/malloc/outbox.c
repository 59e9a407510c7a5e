#include "malloc/outbox.h"

#include "malloc/tcache.h"

static void set_word(struct outbox *o, size_t i, uint64_t w)
{
	__atomic_store_n(&o->bits[i], w, __ATOMIC_RELAXED);
}

static void send(struct outbox *o)
{
	slab_free_remote(o->slab, o->bits);
	o->slab = NULL;
	for (size_t i = 0; i < SLAB_WORDS; i++)
		set_word(o, i, 0);
}

static void put(struct outbox *o, size_t i, uintptr_t *mem, uintptr_t secret)
{
	uintptr_t mark = free_mark(secret, mem);

	if (unlikely(*mem == mark))
		misuse("double free", mem);
	*mem = mark;
	set_word(o, i / 64, o->bits[i / 64] | (uint64_t)1 << i % 64);
}

/* The first of its slab, or one that does not wait. Out of line: most frees have no need of it. */
__attribute__((noinline)) static void put_first(struct slab *s, size_t i, void *mem)
{
	struct outbox once = { .slab = s }, *o = &once;
	struct tcache *t = tcache_get_to_free();
	bool waits = t != NULL && s->class < NR_OUTBOX_CLASSES;

	/* The cache that we got just now may be the very one that the slab belongs to: its thread has ended. */
	if (unlikely(t != NULL && tcache_owns(t, s))) {
		tcache_push(t, s, mem);
		return;
	}
	if (waits) {
		o = &t->outbox[s->class];
		if (o->slab != NULL)
			send(o);
		o->slab = s;
	}
	put(o, i, mem, process_secret());
	if (!waits)
		send(o);
}

void outbox_put(struct slab *s, size_t i, void *mem)
{
	struct tcache *t = tcache_own;

	if (likely(t != NULL && s->class < NR_OUTBOX_CLASSES && t->outbox[s->class].slab == s))
		put(&t->outbox[s->class], i, mem, t->secret);
	else
		put_first(s, i, mem);
}

void outbox_flush(struct tcache *t)
{
	for (unsigned class = 0; class < NR_OUTBOX_CLASSES; class++)
		if (t->outbox[class].slab != NULL)
			send(&t->outbox[class]);
}

size_t outbox_slots(const struct tcache *t, unsigned class)
{
	size_t n = 0;

	if (class < NR_OUTBOX_CLASSES)
		for (size_t i = 0; i < SLAB_WORDS; i++)
			n += (size_t)__builtin_popcountll(__atomic_load_n(&t->outbox[class].bits[i], __ATOMIC_RELAXED));
	return n;
}

void outbox_check(const struct tcache *t)
{
	for (unsigned class = 0; class < NR_OUTBOX_CLASSES; class++) {
		const struct outbox *o = &t->outbox[class];

		ASSERT((o->slab != NULL) == (outbox_slots(t, class) != 0));
		if (o->slab == NULL)
			continue;
		ASSERT(o->slab->class == class && atomic_load(&o->slab->owner) != t);
		for (size_t i = 0; i < SLAB_WORDS; i++)
			ASSERT((o->bits[i] & (slab_word(o->slab, i) | atomic_load(&o->slab->remote[i]))) == 0);
	}
}
