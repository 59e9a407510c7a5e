/*
 * A naive model of sim/mmu.c: TLBs as lists in the order of use and trees of bits, page tables as flat maps, one touch
 * at a time. The rules are those at the top of mmu.c.
 */
#ifndef STW_TEST_MMUMODEL_H
#define STW_TEST_MMUMODEL_H

#include <string.h>

#include "base/rand.h"
#include "sim/mmu.h"

enum { LEVELS = 4, PAGES = 512, PART = 8, SPACES = 3, WAYS_MAX = 24, ENTRIES_MAX = 64 };

static const uint8_t geometry[PT_LEVELS_MAX] = { 3, 2, 2, 2 };
static const unsigned shifts[LEVELS] = { 0, 3, 5, 7 };
static const unsigned asids[SPACES] = { 7, 300, 65535 };

/* An address space as a flat map. */
struct space {
	uint64_t pte[PAGES];
	uint64_t huge[PAGES / PART];   /* 0: none */
	bool accessed[LEVELS][PAGES];  /* A of the entry of this level and number, where it points to a table */
};

struct line {
	bool valid, huge;
	unsigned asid;
	uint64_t number;
	uint8_t grants;
	uint32_t pfn;
};

struct cache {
	bool made;
	uint8_t replacement;
	unsigned sets, ways;
	struct line line[ENTRIES_MAX];
	unsigned order[ENTRIES_MAX];           /* of each set: ways, the one used last at the end */
	bool right[ENTRIES_MAX][64];  /* of each set: the tree, node i above 2i and 2i+1 */
	struct rand rand;
};

struct model {
	const struct sim_config *config;
	struct space space[SPACES];
	struct cache tlb[SIM_TLBS_MAX], pwc[SIM_PWCS_MAX];
	struct mmu_stat stat;
	unsigned current;
};

static inline void cache_make(struct cache *c, unsigned entries, unsigned ways, uint8_t replacement, uint64_t seed)
{
	memset(c, 0, sizeof(*c));
	c->made = true;
	c->ways = ways != 0 ? ways : entries;
	c->sets = entries / c->ways;
	c->replacement = replacement;
	for (unsigned i = 0; i < entries; i++)
		c->order[i] = i % c->ways;
	rand_seed(&c->rand, seed);
}

static inline void cache_use(struct cache *c, unsigned set, unsigned way)
{
	unsigned *order = &c->order[set * c->ways], i = 0, size = 1, at = 0;

	while (order[i] != way)
		i++;
	for (; i + 1 < c->ways; i++)
		order[i] = order[i + 1];
	order[c->ways - 1] = way;

	while (size < c->ways)
		size *= 2;
	for (unsigned node = 1; size > 1;) {
		size /= 2;
		c->right[set][node] = way < at + size;
		node = 2 * node + (way >= at + size);
		at += way >= at + size ? size : 0;
	}
}

static inline unsigned tree_victim(const struct cache *c, unsigned set)
{
	unsigned size = 1, at = 0;

	while (size < c->ways)
		size *= 2;
	for (unsigned node = 1; size > 1;) {
		size /= 2;
		bool right = at + size < c->ways && c->right[set][node];

		node = 2 * node + right;
		at += right ? size : 0;
	}
	return at;
}

static inline unsigned cache_victim(struct cache *c, unsigned set)
{
	for (unsigned way = 0; way < c->ways; way++)
		if (!c->line[set * c->ways + way].valid)
			return way;
	switch (c->replacement) {
	case SIM_PLRU: return tree_victim(c, set);
	case SIM_RANDOM: return (unsigned)rand_below(&c->rand, c->ways);
	default: return c->order[set * c->ways];
	}
}

static inline struct line *cache_find(struct cache *c, bool huge, uint64_t number, unsigned asid)
{
	for (unsigned i = 0; c->made && i < c->sets * c->ways; i++) {
		struct line *l = &c->line[i];

		if (l->valid && l->huge == huge && l->number == number && l->asid == asid)
			return l;
	}
	return NULL;
}

static inline void cache_hit(struct cache *c, const struct line *l)
{
	unsigned i = (unsigned)(l - c->line);

	cache_use(c, i / c->ways, i % c->ways);
}

static inline void cache_fill(struct cache *c, struct line l)
{
	unsigned set = (unsigned)(l.number % c->sets), way = cache_victim(c, set);

	l.valid = true;
	c->line[set * c->ways + way] = l;
	cache_use(c, set, way);
}

/* asid UINT_MAX: all. */
static inline void cache_flush(struct cache *c, unsigned asid)
{
	for (unsigned i = 0; i < ENTRIES_MAX; i++)
		if (asid == UINT32_MAX || c->line[i].asid == asid)
			c->line[i].valid = false;
}

static inline void model_flush(struct model *o, unsigned asid)
{
	for (unsigned i = 0; i < SIM_TLBS_MAX; i++)
		cache_flush(&o->tlb[i], asid);
	for (unsigned i = 0; i < SIM_PWCS_MAX; i++)
		cache_flush(&o->pwc[i], asid);
	o->stat.flushes++;
}

/* Does the entry of this level and number point to a table? */
static inline bool is_table(const struct space *s, unsigned level, uint64_t number)
{
	uint64_t first = number << shifts[level], end = (number + 1) << shifts[level];

	for (uint64_t i = first; i < end; i++)
		if (s->pte[i] != 0 || (level > 1 && s->huge[i / PART] != 0))
			return true;
	return false;
}

/* The walk of one touch. What ends the way: the entry of a leaf or a huge page; NULL: an upper entry that is none. */
static inline uint64_t *model_walk(struct model *o, uint64_t vpn, double *ns, bool *huge, unsigned *start)
{
	struct space *s = &o->space[o->current];
	unsigned level = LEVELS - 1, loads = 0;
	uint64_t *e = &s->pte[vpn];

	*start = LEVELS - 1;
	*huge = s->huge[vpn / PART] != 0;
	for (unsigned l = LEVELS - 1; l >= 1; l--) {
		for (unsigned i = o->config->nr_pwcs; i-- > 0;)
			if (o->config->pwc[i].level == l && cache_find(&o->pwc[i], false, vpn >> shifts[l], asids[o->current]))
				*start = l - 1;
	}
	for (unsigned i = 0; *start + 1 < LEVELS && i < o->config->nr_pwcs; i++) {
		struct line *l = cache_find(&o->pwc[i], false, vpn >> shifts[*start + 1], asids[o->current]);

		if (o->config->pwc[i].level == *start + 1 && l != NULL) {
			cache_hit(&o->pwc[i], l);
			o->stat.pwc_hits[i]++;
		}
	}
	for (;; level--) {
		bool table = level > 0 && is_table(s, level, vpn >> shifts[level]);

		loads += level <= *start;
		if (table && level <= *start)
			s->accessed[level][vpn >> shifts[level]] = true;
		if (table)
			continue;
		if (level > 0)
			e = level == 1 && *huge ? &s->huge[vpn / PART] : NULL;
		break;
	}
	o->stat.walk_loads += MAX(loads, 1);
	*ns += MAX(loads, 1) * o->config->walk_step_ns;
	return e;
}

static inline void model_pwc_fill(struct model *o, uint64_t vpn, unsigned start, bool huge)
{
	for (unsigned level = start; level > (huge ? 1 : 0); level--) {
		for (unsigned i = 0; i < o->config->nr_pwcs; i++) {
			if (!o->pwc[i].made || o->config->pwc[i].level != level)
				continue;
			cache_fill(&o->pwc[i], (struct line){ .number = vpn >> shifts[level], .asid = asids[o->current] });
		}
	}
}

/* The TLB of a level that serves a size and kind; -1: none. */
static inline int model_route(const struct sim_config *c, unsigned level, bool huge, enum mmu_access how)
{
	unsigned holds = (huge ? SIM_TLB_2M : SIM_TLB_4K) | (how == MMU_EXEC ? SIM_TLB_CODE : SIM_TLB_DATA);

	for (unsigned i = 0; i < c->nr_tlbs; i++)
		if (c->tlb[i].level == level && (c->tlb[i].holds & holds) == holds)
			return (int)i;
	return -1;
}

static inline void model_fill(struct model *o, unsigned below, enum mmu_access how, struct line l)
{
	for (unsigned level = 1; level < below; level++) {
		int i = model_route(o->config, level, l.huge, how);

		if (i >= 0)
			cache_fill(&o->tlb[i], l);
	}
}

static inline bool model_lookup(struct model *o, uint64_t vpn, enum mmu_access how, struct line *found, double *ns)
{
	for (unsigned level = 1; level <= 2; level++) {
		double slowest = 0;

		for (unsigned huge = 0; huge < 2; huge++) {
			int i = model_route(o->config, level, huge, how);

			if (i < 0)
				continue;
			struct line *l = cache_find(&o->tlb[i], huge, huge ? vpn / PART : vpn, asids[o->current]);

			slowest = MAX(slowest, o->config->tlb[i].hit_ns);
			if (l != NULL && (l->grants >> how & 1) != 0) {
				*ns += o->config->tlb[i].hit_ns;
				o->stat.hits[i]++;
				cache_hit(&o->tlb[i], l);
				*found = *l;
				model_fill(o, level, how, *l);
				return true;
			}
			if (l != NULL)
				l->valid = false;
		}
		*ns += slowest;
	}
	return false;
}

static inline enum mmu_result model_touch(struct model *o, uint64_t vpn, enum mmu_access how, uint32_t *pfn, double *ns)
{
	struct line l;
	uint64_t *e;
	unsigned start;

	if (model_lookup(o, vpn, how, &l, ns)) {
		o->stat.touches++;
		*pfn = l.pfn + (l.huge ? vpn % PART : 0);
		return MMU_HIT;
	}
	o->stat.walks++;
	l = (struct line){ .asid = asids[o->current] };
	e = model_walk(o, vpn, ns, &l.huge, &start);
	o->stat.faults++;
	if (e == NULL || (*e & PTE_PRESENT) == 0)
		return MMU_NOT_PRESENT;
	if ((*e & PTE_USER) == 0 || (how == MMU_WRITE && (*e & PTE_WRITE) == 0) || (how == MMU_EXEC && (*e & PTE_NX) != 0))
		return MMU_PROTECTED;
	o->stat.faults--;
	o->stat.touches++;
	*e |= how == MMU_WRITE ? PTE_ACCESSED | PTE_DIRTY : PTE_ACCESSED;
	l.number = l.huge ? vpn / PART : vpn;
	l.pfn = pte_pfn((pte_t){ *e }).n;
	l.grants = 1 << MMU_READ;
	if ((*e & PTE_WRITE) != 0 && (*e & PTE_DIRTY) != 0)
		l.grants |= 1 << MMU_WRITE;
	if ((*e & PTE_NX) == 0)
		l.grants |= 1 << MMU_EXEC;
	model_pwc_fill(o, vpn, start, l.huge);
	model_fill(o, 3, how, l);
	*pfn = l.pfn + (l.huge ? vpn % PART : 0);
	return MMU_WALKED;
}

static inline void model_invalidate(struct model *o, unsigned space, uint64_t vpn, uint64_t n)
{
	if (n == 0 || (!o->config->asid && space != o->current))
		return;
	if (n > 33) {
		model_flush(o, asids[space]);
		return;
	}
	for (unsigned i = 0; i < SIM_PWCS_MAX; i++)
		cache_flush(&o->pwc[i], asids[space]);
	for (uint64_t v = vpn; v < vpn + n; v++) {
		for (unsigned i = 0; i < 2 * SIM_TLBS_MAX; i++) {
			struct line *l = cache_find(&o->tlb[i / 2], i % 2, i % 2 ? v / PART : v, asids[space]);

			if (l != NULL)
				l->valid = false;
		}
	}
	o->stat.invalidations += n;
}

#endif
