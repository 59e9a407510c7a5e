/*
 * The memory management unit of one CPU.
 *
 *      vpn, read/write/exec
 *         │
 *         ▼   same slot as last time?
 *      front ───────────────────────────────────────────► hit     mmu.h, inline
 *         │ no
 *         ▼
 *      level 1    DTLB 4K, DTLB 2M   or   ITLB            ► hit
 *         ▼
 *      level 2    unified                                 ► hit, fills level 1
 *         ▼
 *      walk       PWC of level 1? 2? 3? none: the root
 *                   └► entry of level k-1 … leaf          ► fills both levels, and the PWCs
 *                                                         ► page fault
 *
 * Rules, which are x86-64's (Intel SDM vol. 3, 4.8 and 4.10), made definite where the manual leaves a choice:
 *
 *   1. A level is searched for the 4 KiB page first, then for the huge one. If
 *      two TLBs of one level hold the same, the first in the machine file serves.
 *   2. A translation grants reading; writing if the walk found or made the
 *      entry writable and dirty; execution if no entry on the way was NX. One
 *      that does not grant an access is dropped when the access meets it, and
 *      the tables decide, so no fault is spurious. The first write to a page
 *      that was only read walks again, to set D.
 *   3. The walker sets A in every entry that it reads on the way, and in the
 *      last one, with D if the access writes, only if there is no page fault.
 *   4. What is not present is never cached, and a walk that ends in a fault
 *      fills nothing. The levels are neither inclusive nor exclusive: what
 *      leaves level 2 may stay in level 1.
 *   5. A PWC entry of level k says that the way to that level was walked, with
 *      A set. The lowest that hits decides where the walk begins; entries above
 *      are not read, and their A is not set. They are dropped with any
 *      invalidation of their address space.
 *   6. A huge page is cached by TLBs that hold such, and not in parts by others.
 *
 * Cost, in modelled ns: each level that is searched costs its hit_ns (the
 * slowest TLB of it on a miss), each entry read by a walk walk_step_ns.
 *
 * The front. Nearly all touches find the slot that the last touch of the same
 * page found. The front, a direct-mapped table beside the TLBs, remembers it
 * with the serial of its fill. As long as that fill is in the slot the search
 * would end there again: a level 1 is only filled after all that is searched
 * before was found empty (rule 1), and what could change the answer removes or
 * refills the slot (its serial changes), or changes the tag (a flush, another
 * address space). A hit through the front does to the TLB what a hit does: one
 * stamp. So results are those of the plain model, to the bit. Its price is two
 * nanoseconds a touch; a hit in level 2 is some forty, a walk a hundred and more.
 *
 * What the tables hold is the caller's: after an entry was changed such that
 * less is allowed, pages were merged or split, or marks were cleared,
 * mmu_invalidate must be called before anything relies on it, as in a kernel.
 */
#include "sim/mmu.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

#define FLUSH_CEILING 33
#define TAG_SHIFT 54 /* above 52 bits of vpn and 2 of access */
#define TAG_ONE ((uint64_t)1 << TAG_SHIFT)

/* What a walk, or a TLB, says of a page. */
struct translation {
	bool huge;
	uint8_t grants; /* 1 << enum mmu_access */
	pfn_t pfn;      /* of the first frame */
};

static unsigned kind_of(enum mmu_access how)
{
	return how == MMU_EXEC ? MMU_CODE : MMU_DATA;
}

static inline struct tlb_key page_key(const struct mmu *m, unsigned asid, vpn_t vpn, bool huge)
{
	return tlb_key(huge ? vpn.n >> m->shift[1] : vpn.n, huge, (uint16_t)asid);
}

/* Of the page that an entry of the cache's level stands for. */
static inline struct tlb_key table_key(const struct mmu *m, vpn_t vpn, const struct mmu_pwc *p)
{
	return tlb_key(vpn.n >> p->shift, false, (uint16_t)m->asid);
}

static pfn_t frame_of(const struct mmu *m, vpn_t vpn, bool huge, pfn_t first)
{
	return huge ? (pfn_t){ first.n + (uint32_t)(vpn.n & (((uint64_t)1 << m->shift[1]) - 1)) } : first;
}

/*
 * Making and ending
 */

static bool serves(const struct sim_tlb_config *t, unsigned kind, unsigned level, bool huge)
{
	unsigned holds = (huge ? SIM_TLB_2M : SIM_TLB_4K) | (kind == MMU_CODE ? SIM_TLB_CODE : SIM_TLB_DATA);

	return t->level == level + 1 && t->entries != 0 && (t->holds & holds) == holds;
}

/* The first TLB of a level that serves such pages; -1: none. */
static int serving(const struct sim_config *c, unsigned kind, unsigned level, bool huge)
{
	for (unsigned i = 0; i < c->nr_tlbs; i++)
		if (serves(&c->tlb[i], kind, level, huge))
			return (int)i;
	return -1;
}

static void make_places(struct mmu *m, unsigned kind)
{
	const struct sim_config *c = m->config;
	struct mmu_place *small = m->place[0][kind], *all = m->place[1][kind];

	for (unsigned level = 0; level < 2; level++) {
		double slowest = 0;

		for (unsigned huge = 0; huge < 2; huge++) {
			int i = serving(c, kind, level, huge);

			if (i < 0)
				continue;
			*all++ = (struct mmu_place){ &m->tlb[i], (uint8_t)i, (uint8_t)level, huge };
			if (!huge)
				*small++ = all[-1];
			m->hit_ns[kind][i] = m->miss_ns[kind] + c->tlb[i].hit_ns;
			slowest = MAX(slowest, c->tlb[i].hit_ns);
		}
		m->miss_ns[kind] += slowest;
	}
	small->level = all->level = 2;
	m->places[0][kind] = (uint8_t)(small - m->place[0][kind]);
	m->places[1][kind] = (uint8_t)(all - m->place[1][kind]);
}

/* The first page-walk cache of a level; -1: none. */
static int walk_cache_of(const struct sim_config *c, unsigned level)
{
	for (unsigned i = 0; i < c->nr_pwcs; i++)
		if (c->pwc[i].level == level && c->pwc[i].entries != 0)
			return (int)i;
	return -1;
}

static int make_caches(struct mmu *m, unsigned cpu)
{
	const struct sim_config *c = m->config;
	int err = 0;

	for (unsigned i = 0; i < c->nr_tlbs && err == 0; i++)
		if (c->tlb[i].entries != 0)
			err = tlb_init(&m->tlb[i], c->tlb[i].entries, c->tlb[i].ways, c->tlb[i].replacement,
				c->seed + (uint64_t)cpu * SIM_TLBS_MAX + i);
	for (unsigned level = 1, n = 0; level < c->levels && err == 0; level++) {
		int i = walk_cache_of(c, level);

		if (i < 0)
			continue;
		m->walk_cache[n++] = (struct mmu_pwc){ &m->pwc[i], (uint8_t)i, (uint8_t)level, (uint8_t)m->shift[level] };
		err = tlb_init(&m->pwc[i], c->pwc[i].entries, c->pwc[i].ways, SIM_LRU, 0);
	}
	return err;
}

struct mmu *mmu_create(const struct sim_config *config, unsigned cpu)
{
	struct mmu *m = calloc(1, sizeof(*m));

	if (m == NULL)
		return NULL;
	m->config = config;
	m->root = (uint8_t)(config->levels - 1);
	m->tag = TAG_ONE;
	for (unsigned level = 1; level < config->levels; level++)
		m->shift[level] = m->shift[level - 1] + config->bits[level - 1];
	for (unsigned kind = 0; kind < MMU_KINDS; kind++)
		make_places(m, kind);
	if (make_caches(m, cpu) != 0) {
		mmu_destroy(m);
		return NULL;
	}
	return m;
}

void mmu_destroy(struct mmu *m)
{
	if (m == NULL)
		return;
	for (unsigned i = 0; i < SIM_TLBS_MAX; i++)
		tlb_destroy(&m->tlb[i]);
	for (unsigned i = 0; i < SIM_PWCS_MAX; i++)
		tlb_destroy(&m->pwc[i]);
	free(m);
}

/*
 * Forgetting
 */

/* Nothing in the front is good any more. */
static void front_forget(struct mmu *m)
{
	m->tag += TAG_ONE;
	if (m->tag == 0) {
		memset(m->front, 0, sizeof(m->front));
		m->tag = TAG_ONE;
	}
}

static bool is_made(const struct tlb *t)
{
	return t->slots != NULL;
}

static void flush_all(struct tlb *caches, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		tlb_flush(&caches[i]);
}

/* Without entries of other address spaces that is all, which is faster than to look for them. */
static void flush_asid(const struct mmu *m, struct tlb *caches, unsigned n, unsigned asid)
{
	if (!m->mixed && asid == m->asid) {
		flush_all(caches, n);
		return;
	}
	for (unsigned i = 0; i < n; i++)
		tlb_flush_asid(&caches[i], asid);
}

void mmu_flush(struct mmu *m)
{
	flush_all(m->tlb, SIM_TLBS_MAX);
	flush_all(m->pwc, SIM_PWCS_MAX);
	front_forget(m);
	m->mixed = false;
	m->stat.flushes++;
}

void mmu_switch(struct mmu *m, struct pagetable *pt, unsigned asid)
{
	if (pt == m->pt && asid == m->asid)
		return;
	ASSERT(asid <= UINT16_MAX);
	ASSERT(pt == NULL || (pt->levels == m->config->levels && pt->bits[0] == m->config->bits[0]));
	if (!m->config->asid && m->pt != NULL)
		mmu_flush(m);
	else
		front_forget(m);
	m->mixed |= m->config->asid && asid != m->asid && m->stat.touches != 0;
	m->pt = pt;
	m->asid = asid;
	m->near = pt != NULL ? pt->level_of[1] : 0;
}

static void invalidate_page(struct mmu *m, unsigned asid, vpn_t vpn)
{
	for (unsigned i = 0; i < SIM_TLBS_MAX; i++) {
		for (unsigned huge = 0; huge < 1u + m->tlb[i].huge && is_made(&m->tlb[i]); huge++) {
			struct tlb_slot *s = tlb_find(&m->tlb[i], page_key(m, asid, vpn, huge));

			if (s != NULL)
				tlb_remove(&m->tlb[i], s);
		}
	}
}

void mmu_invalidate(struct mmu *m, unsigned asid, vpn_t vpn, uint64_t n)
{
	if (n == 0 || (!m->config->asid && asid != m->asid))
		return;
	flush_asid(m, m->pwc, SIM_PWCS_MAX, asid);
	if (n > FLUSH_CEILING) {
		flush_asid(m, m->tlb, SIM_TLBS_MAX, asid);
		front_forget(m);
		m->stat.flushes++;
		return;
	}
	for (uint64_t i = 0; i < n; i++)
		invalidate_page(m, asid, (vpn_t){ vpn.n + i });
	m->stat.invalidations += n;
}

/*
 * The walker
 */

/* The level whose entry a walk reads first: what is below that of the lowest PWC which has the way to it. */
static inline unsigned walk_start(struct mmu *m, vpn_t vpn)
{
	for (const struct mmu_pwc *p = m->walk_cache; p->tlb != NULL; p++) {
		struct tlb_slot *s = tlb_find(p->tlb, table_key(m, vpn, p));

		if (s == NULL)
			continue;
		s->stamp = m->stat.walks;
		m->stat.pwc_hits[p->index]++;
		return p->level - 1u;
	}
	return m->root;
}

/* The entries of levels start down to 1 that a walk read and that point to tables. */
static inline void pwc_fill(struct mmu *m, vpn_t vpn, unsigned start, unsigned last)
{
	for (const struct mmu_pwc *p = m->walk_cache; p->tlb != NULL && p->level <= start; p++)
		if (p->level > last)
			tlb_insert(p->tlb, table_key(m, vpn, p), 1 << MMU_READ, (pfn_t){ 0 }, m->stat.walks);
}

static void mark(pte_t *e, uint64_t bits)
{
	if ((e->v & bits) != bits)
		e->v |= bits;
}

/* Rights are the leaf's: entries that name tables give all (pagetable.c). */
static uint8_t grants_of(pte_t e)
{
	if (!(e.v & PTE_USER))
		return 0;
	return (uint8_t)(1 << MMU_READ | ((e.v & PTE_WRITE) != 0) << MMU_WRITE | ((e.v & PTE_NX) == 0) << MMU_EXEC);
}

/* As descend, where the walk does not get to a leaf, or begins above the entry that names it. */
static __attribute__((noinline)) pte_t *descend_far(struct mmu *m, vpn_t vpn, unsigned start, unsigned *last, unsigned *loads)
{
	unsigned levels = m->config->levels, first = levels - 1 - start;
	pte_t *steps[PT_LEVELS_MAX];
	unsigned n = pt_walk(m->pt, vpn, steps);

	/* Even where there is no root, or where tables went that a PWC knew, one entry is read. */
	*loads = n > first ? n - first : 1;
	for (unsigned i = first; i + 1 < n; i++)
		mark(steps[i], PTE_ACCESSED);
	*last = levels - n;
	return n > 0 ? steps[n - 1] : NULL;
}

/*
 * The entry that the walk of vpn ends at, from the level `start` on; NULL: there is no root. *last is its level. Counts what is
 * read, and marks the entries on the way.
 */
static inline pte_t *descend(struct mmu *m, vpn_t vpn, unsigned start, unsigned *last, double *ns)
{
	pte_t *above = start <= m->near ? pt_above(m->pt, vpn) : NULL, *e;
	unsigned loads = start + 1;

	if (likely(above != NULL && pt_names_table(*above))) {
		*last = 0;
		if (start > 0)
			mark(above, PTE_ACCESSED);
		e = pt_below(m->pt, *above, vpn);
	} else {
		e = descend_far(m, vpn, start, last, &loads);
	}
	m->stat.walk_loads += loads;
	*ns += loads * m->config->walk_step_ns;
	return e;
}

static inline __attribute__((always_inline)) enum mmu_result walk(struct mmu *m, vpn_t vpn, enum mmu_access how,
								    struct translation *t, double *ns)
{
	unsigned start, last;

	ASSERT(m->pt != NULL);
	m->stat.walks++;
	start = walk_start(m, vpn);
	pte_t *e = descend(m, vpn, start, &last, ns);

	if (e == NULL || !pte_is_present(*e))
		return MMU_NOT_PRESENT;
	t->grants = grants_of(*e);
	if ((t->grants >> how & 1) == 0)
		return MMU_PROTECTED;
	mark(e, how == MMU_WRITE ? PTE_ACCESSED | PTE_DIRTY : PTE_ACCESSED);
	if ((e->v & PTE_DIRTY) == 0)
		t->grants &= (uint8_t)~(1 << MMU_WRITE);
	t->huge = last > 0;
	t->pfn = pte_pfn(*e);
	pwc_fill(m, vpn, start, last);
	return MMU_WALKED;
}

/*
 * The TLBs
 */

/* Level by level for a translation that grants the access; the slot, and where it is. Those that do not grant it go. */
static inline struct tlb_slot *lookup(struct mmu *m, vpn_t vpn, enum mmu_access how, const struct mmu_place **where)
{
	const struct tlb_key small = page_key(m, m->asid, vpn, false);
	const struct mmu_place *p = m->place[m->huge][kind_of(how)];
	struct tlb_slot *s = NULL;

	for (; p->tlb != NULL; p++) {
		s = tlb_find(p->tlb, unlikely(p->huge) ? page_key(m, m->asid, vpn, true) : small);
		if (s == NULL)
			continue;
		if (likely(s->grants >> how & 1))
			break;
		tlb_remove(p->tlb, s);
		s = NULL;
	}
	*where = p;
	return s;
}

/* What the next touch of this kind will find. */
static inline void front_fill(struct mmu *m, vpn_t vpn, enum mmu_access how, struct tlb_slot *s, unsigned tlb, pfn_t pfn)
{
	*mmu_front(m, vpn, how) = (struct mmu_front){
		.key = mmu_front_key(m, vpn, how), .serial = s->serial, .slot = s, .pfn = pfn, .tlb = tlb,
	};
}

/*
 * Puts a translation into the TLBs of the levels below the one where it was, at place p, in slot s; NULL: nowhere, p is the end.
 * The slot that the next touch finds, in the lowest, is noted in the front.
 */
static inline void fill(struct mmu *m, vpn_t vpn, enum mmu_access how, const struct translation *t,
			const struct mmu_place *p, struct tlb_slot *s)
{
	const struct mmu_place *first = m->place[m->huge][kind_of(how)];
	const struct tlb_key key = page_key(m, m->asid, vpn, t->huge);
	unsigned tlb = p->index, level = p->level;

	while (p-- != first) {
		if (p->huge != t->huge || p->level == level)
			continue;
		tlb = p->index;
		s = tlb_insert(p->tlb, key, t->grants, t->pfn, m->stat.touches);
	}
	if (likely(s != NULL))
		front_fill(m, vpn, how, s, tlb, frame_of(m, vpn, t->huge, t->pfn));
}

/* A touch that no TLB has. */
static inline __attribute__((always_inline)) enum mmu_result touch_walk(struct mmu *m, vpn_t vpn, enum mmu_access how,
									  pfn_t *pfn, double *ns)
{
	struct translation t;

	*ns += m->miss_ns[kind_of(how)];
	enum mmu_result result = walk(m, vpn, how, &t, ns);

	if (result != MMU_WALKED) {
		m->stat.faults++;
		return result;
	}
	m->stat.touches++;
	if (unlikely(t.huge))
		m->huge = true;
	*pfn = frame_of(m, vpn, t.huge, t.pfn);
	fill(m, vpn, how, &t, m->place[m->huge][kind_of(how)] + m->places[m->huge][kind_of(how)], NULL);
	return result;
}

/* One touch by the plain model. */
static inline enum mmu_result touch(struct mmu *m, vpn_t vpn, enum mmu_access how, pfn_t *pfn, double *ns)
{
	const struct mmu_place *p;
	struct tlb_slot *s = lookup(m, vpn, how, &p);

	if (s == NULL)
		return touch_walk(m, vpn, how, pfn, ns);
	struct translation t = { p->huge, s->grants, s->pfn };

	m->stat.hits[p->index]++;
	s->stamp = ++m->stat.touches;
	*ns += m->hit_ns[kind_of(how)][p->index];
	*pfn = frame_of(m, vpn, t.huge, t.pfn);
	fill(m, vpn, how, &t, p, s);
	return MMU_HIT;
}

/* n more of a touch that succeeded: all hit what the first one filled; where no TLB holds such pages, they all walk. */
static __attribute__((noinline)) void touch_more(struct mmu *m, vpn_t vpn, enum mmu_access how, uint64_t n, pfn_t *pfn,
						 double *ns)
{
	while (n > 0 && !mmu_hit(m, vpn, how, n, pfn, ns)) {
		mmu_touch_slow(m, vpn, how, 1, pfn, ns);
		n--;
	}
}

enum mmu_result mmu_touch_slow(struct mmu *m, vpn_t vpn, enum mmu_access how, uint64_t n, pfn_t *pfn, double *ns)
{
	enum mmu_result result = touch(m, vpn, how, pfn, ns);

	if (n > 1 && result <= MMU_WALKED)
		touch_more(m, vpn, how, n - 1, pfn, ns);
	return result;
}

enum mmu_result mmu_touch_again(struct mmu *m, vpn_t vpn, enum mmu_access how, uint64_t n, pfn_t *pfn, double *ns)
{
	enum mmu_result result = touch_walk(m, vpn, how, pfn, ns);

	if (n > 1 && result <= MMU_WALKED)
		touch_more(m, vpn, how, n - 1, pfn, ns);
	return result;
}

/*
 * Looking
 */

bool mmu_holds(const struct mmu *m, unsigned asid, vpn_t vpn, unsigned *tlb)
{
	for (unsigned i = 0; i < SIM_TLBS_MAX; i++) {
		if (!is_made(&m->tlb[i]) || (tlb_find(&m->tlb[i], page_key(m, asid, vpn, false)) == NULL &&
					     tlb_find(&m->tlb[i], page_key(m, asid, vpn, true)) == NULL))
			continue;
		if (tlb != NULL)
			*tlb = i;
		return true;
	}
	return false;
}

const struct mmu_stat *mmu_stat(const struct mmu *m)
{
	return &m->stat;
}

static void check_front(const struct mmu *m, const struct mmu_front *f)
{
	enum mmu_access how = f->key & 3;
	vpn_t vpn = { (f->key & (TAG_ONE - 1)) >> 2 };
	unsigned kind = kind_of(how);

	if ((f->key & ~(TAG_ONE - 1)) != m->tag || f->serial != f->slot->serial)
		return;
	for (const struct mmu_place *p = m->place[true][kind]; p->tlb != NULL; p++) {
		const struct tlb_slot *slot = tlb_find(p->tlb, page_key(m, m->asid, vpn, p->huge));

		if (slot == NULL)
			continue;
		ASSERT(slot == f->slot && p->index == f->tlb && (slot->grants >> how & 1) != 0);
		ASSERT(f->pfn.n == frame_of(m, vpn, p->huge, slot->pfn).n);
		return;
	}
	ASSERT(!"a front entry without a slot");
}

void mmu_check(struct mmu *m)
{
	uint64_t done = m->stat.walks - m->stat.faults;

	for (unsigned i = 0; i < SIM_TLBS_MAX; i++) {
		done += m->stat.hits[i];
		if (is_made(&m->tlb[i]))
			tlb_check(&m->tlb[i]);
	}
	for (unsigned i = 0; i < SIM_PWCS_MAX; i++)
		if (is_made(&m->pwc[i]))
			tlb_check(&m->pwc[i]);
	for (unsigned i = 0; i < MMU_FRONT; i++)
		check_front(m, &m->front[i]);
	ASSERT(done == m->stat.touches);
}
