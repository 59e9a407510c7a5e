/* The façade: machines and address spaces are made and ended here, and pages that exist already are counted in. */
#include <errno.h>
#include <string.h>

#include "base/assert.h"
#include "mm/user_page.h"

static void phys_low(void *ctx, unsigned node)
{
	struct machine *m = ctx;

	m->ops->wake_kswapd(m, node);
}

int machine_init(struct machine *m, const struct machine_ops *ops, void *engine, uint64_t *counters,
		 uint64_t vmalloc_start, uint64_t vmalloc_end)
{
	m->ops = ops;
	m->engine = engine;
	m->counter = counters;
	m->refused = 0;
	m->reclaiming = false;
	m->leaving.first = m->leaving.nr = 0;
	TAILQ_INIT(&m->mms);
	m->hand.mm = NULL;
	m->watch = NULL;
	m->mlocked = m->thp = m->flush_wanted = m->gather = false;
	m->streams = true;
	m->zero = NULL;
	m->pt_levels = 4;
	memset(m->pt_bits, 0, sizeof(m->pt_bits));
	m->local_node = 0;
	m->limit = UINT64_MAX;
	m->vm = (struct vm_tunables){ .swappiness = 60, .reclaim_batch = SWAP_CLUSTER_MAX, .limit_tables = true };
	m->seed = 0;
	m->next_use = NULL;
	m->swapins = NULL;
	m->charged = 0;
	m->blocks_wanted = 0;
	m->gather_hand = 0;
	m->cluster = (struct cluster){ 0 };
	m->phys.wake_kswapd = phys_low;
	m->phys.ctx = m;
	m->policy = &policy_second_chance;
	poolshare_init(m);
	for (unsigned i = 0; i < PHYS_NODES_MAX; i++)
		lru_init(&m->lruvec[i]);
	int err = kmalloc_init(&m->kmalloc, &m->phys, 1);
	if (err == 0)
		err = kmem_cache_init(&m->vma_cache, &m->phys, "vma", sizeof(struct vma), 0, 1);
	if (err == 0)
		err = kmem_cache_init(&m->rmap_cache, &m->phys, "rmap", sizeof(struct rmap), 0, 1);
	if (err == 0)
		err = pagecache_init(&m->pagecache, &m->phys);
	if (err == 0)
		err = vmalloc_init(&m->vmalloc, &m->phys, &m->kmalloc, vmalloc_start, vmalloc_end);
	swap_init(&m->swap, &m->vmalloc);
	if (err != 0)
		return err;
	/* Before memory is short: demotion is needed when there is none left. */
	m->bounce = vmalloc(&m->vmalloc, DEMOTE_BATCH * PAGE_SIZE);
	if (m->bounce == 0)
		return -ENOMEM;
	/* Areas and slot tables are needed to serve faults and to reclaim: they may dig into the reserve. */
	m->vma_cache.depth = ALLOC_RESERVE;
	m->vmalloc.depth = m->vmalloc.areas.depth = ALLOC_RESERVE;
	for (unsigned i = 0; i < KMALLOC_CLASSES; i++)
		m->kmalloc.cache[i].depth = ALLOC_RESERVE;
	return 0;
}

void machine_destroy(struct machine *m)
{
	ASSERT(TAILQ_EMPTY(&m->mms));
	policy_destroy(m);
	vfree(&m->vmalloc, m->bounce);
	swap_destroy(&m->swap);
	pagecache_destroy(&m->pagecache);
	kmem_cache_destroy(&m->rmap_cache);
	kmem_cache_destroy(&m->vma_cache);
	vmalloc_destroy(&m->vmalloc);
	kmalloc_destroy(&m->kmalloc);
}

int mm_init(struct mm *mm, struct machine *m)
{
	mm->machine = m;
	mm->rss = mm->swapents = 0;
	mm->rss_file = 0;
	mm->no_zero = false;
	vma_set_init(&mm->vmas, mm, &m->vma_cache);
	int err = pt_init(&mm->pt, &m->phys, m->pt_levels, m->pt_bits[0] != 0 ? m->pt_bits : NULL);

	if (err == 0)
		TAILQ_INSERT_TAIL(&m->mms, mm, link);
	return err;
}

void mm_destroy(struct mm *mm)
{
	struct machine *m = mm->machine;

	TAILQ_REMOVE(&m->mms, mm, link);
	if (m->hand.mm == mm)
		m->hand.mm = NULL;
	user_page_drop_range(mm, (vpn_t){ 0 }, (vpn_t){ (uint64_t)1 << PT_VPN_BITS_MAX });
	vma_set_destroy(&mm->vmas);
	pt_destroy(&mm->pt);
}

int mm_adopt(struct mm *mm, vpn_t vpn)
{
	struct machine *m = mm->machine;

	ASSERT(pte_is_none(pt_get(&mm->pt, vpn)));
	struct frame *f = frame_alloc(&m->phys, 0, 0, MIGRATE_MOVABLE, ALLOC_RESERVE);
	if (f == NULL)
		return -ENOMEM;
	int err = user_page_add(mm, vpn, f, user_prot(NULL, FAULT_ANY), ARRIVE_NEW);
	if (err != 0)
		frame_free(&m->phys, f, 0);
	return err;
}

int mm_readopt(struct mm *mm, vpn_t vpn)
{
	pte_t pte = pt_get(&mm->pt, vpn);

	if (pte_is_present(pte))
		return 0;
	user_page_drop_range(mm, vpn, (vpn_t){ vpn.n + 1 });
	return mm_adopt(mm, vpn);
}

/* Does an area of the family show the page there? */
static bool family_shows(struct rmap *family, const struct mm *mm, vpn_t vpn, uint64_t pgoff)
{
	struct vma *vma = rmap_first(family, pgoff);

	while (vma != NULL && (vma->mm != mm || vma_vpn(vma, pgoff).n != vpn.n))
		vma = rmap_next(family, vma, pgoff);
	return vma != NULL;
}

void mm_check(struct mm *mm)
{
	struct machine *m = mm->machine;
	uint64_t rss = 0, rss_file = 0, swapents = 0;
	vpn_t at = { 0 }, end = { (uint64_t)1 << PT_VPN_BITS_MAX };
	pte_t pte;

	vma_check(&mm->vmas);
	pt_check(&mm->pt);
	for (unsigned i = 0; i < m->phys.nr_nodes; i++)
		lru_check(&m->lruvec[i], &m->phys);
	swap_check(&m->swap);
	for (; pt_next(&mm->pt, at, end, &at, &pte); at.n++) {
		ASSERT(vma_find(&mm->vmas, at) != NULL);
		if (pte_is_swap(pte)) {
			ASSERT(swap_slot_of(&m->swap, pte_swp(pte))->uses > 0);
			swapents++;
			continue;
		}
		struct frame *f = pfn_frame(&m->phys, pte_pfn(pte));
		if (f == m->zero)
			continue;
		if (pte.v & PTE_HUGE) {
			const struct frame *head = f - (at.n & (pt_huge_pages(&mm->pt) - 1));

			ASSERT((head->flags & FRAME_HUGE) && head->user.mm == mm && head->refs == 1);
			ASSERT(f == head || f->flags == 0);
			rss++;
			continue;
		}
		ASSERT(!!(f->flags & FRAME_LRU) != !!(f->flags & FRAME_LOCKED));
		if (f->flags & FRAME_FILE) {
			ASSERT(pte_is_present(pte) && f->refs > 1);
			rss_file++;
			continue;
		}
		if (f->flags & FRAME_SHARED)
			ASSERT(family_shows(f->shared.family, mm, at, f->shared.pgoff));
		else
			ASSERT(f->user.mm == mm && f->user.vpn.n == at.n && f->refs == 1);
		/* Of those who share one, some may have it mapped; and it may be these who are gone. */
		ASSERT(!!(f->flags & FRAME_AWAY) == pte_is_present(pte) || (f->flags & FRAME_SHARED));
		rss++;
	}
	ASSERT(rss == mm->rss && rss_file == mm->rss_file && swapents == mm->swapents);
}
