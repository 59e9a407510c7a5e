/*
 * The time before the manager is engaged, as live/native.c has it: memory.native says how much programs may come to by
 * themselves. What may be touched counts, not what has been.
 *
 *	mapped ──► it fits ─────────────────────────► VMA_NATIVE: each page comes alone, nobody watches
 *	   └─────► it does not: a fence ──touch──► half of what is left becomes native behind the touch
 *	                                  └──► that would be less than WINDOW_MIN: engage
 *
 * What is untouched is not fenced again, as the live engine does for a program that has taken many times its budget.
 *
 * Pages that are there when the manager is engaged go on the lists in the order of their addresses, because that is how
 * the live engine finds them. For a program that has not touched them in that order, this decides who leaves first.
 */
#include "sim/engine.h"

#define WINDOW_MIN (UINT64_C(2) << 20 >> PAGE_SHIFT) /* live/native.c */

void sim_native_begin(struct sim *s)
{
	s->native = s->config.native_bytes >> PAGE_SHIFT;
	/* Faults are the host's, who watches no streams. */
	if (s->native != 0)
		s->m.streams = false;
}

/* Pages that programs can come to without a further look. */
static uint64_t potential(const struct sim *s)
{
	uint64_t n = 0;
	struct mm *mm;
	struct vma *v;

	TAILQ_FOREACH(mm, &s->m.mms, link)
		TAILQ_FOREACH(v, &mm->vmas.list, link)
			n += v->flags & VMA_NATIVE ? v->end.n - v->start.n : 0;
	return n;
}

static void list_by_address(struct machine *m, struct mm *mm)
{
	vpn_t at = { 0 }, end = { UINT64_C(1) << PT_VPN_BITS_MAX };
	pte_t pte;

	for (; pt_next(&mm->pt, at, end, &at, &pte); at.n++) {
		struct frame *f = pte_is_present(pte) ? pfn_frame(&m->phys, pte_pfn(pte)) : NULL;

		if (f == NULL || (f->flags & (FRAME_LRU | FRAME_FILE)) != FRAME_LRU)
			continue;
		lru_del(lruvec_of(m, f), f);
		m->policy->arrive(m, lruvec_of(m, f), f, ARRIVE_NEW);
	}
}

void sim_native_engage(struct sim *s)
{
	const vpn_t end = { UINT64_C(1) << PT_VPN_BITS_MAX };
	struct mm *mm;

	if (s->native == 0)
		return;
	s->native = 0;
	s->m.streams = true;
	TAILQ_FOREACH(mm, &s->m.mms, link) {
		list_by_address(&s->m, mm);
		/* It only merges: that takes no memory. */
		vma_change(&mm->vmas, (vpn_t){ 0 }, end, 0, VMA_NATIVE);
	}
}

void sim_native_mapped(struct sim *s, struct sim_task *t, vpn_t start, vpn_t end)
{
	if (s->native == 0 || potential(s) + (end.n - start.n) + WINDOW_MIN >= s->native)
		return;
	vma_change(&t->mm.vmas, start, end, VMA_NATIVE, 0);
}

void sim_native_touched(struct sim *s, struct sim_task *t, vpn_t vpn)
{
	struct vma *v = s->native != 0 ? vma_find(&t->mm.vmas, vpn) : NULL;

	if (v == NULL || v->file != NULL || (v->flags & VMA_NATIVE))
		return;
	uint64_t used = potential(s), room = (s->native - MIN(s->native, used)) / 2;
	vpn_t from = { MAX(v->start.n, ALIGN_DOWN(vpn.n, WINDOW_MIN)) };
	vpn_t to = { MIN(v->end.n, from.n + room) };

	if (room < WINDOW_MIN || vma_change(&t->mm.vmas, from, to, VMA_NATIVE, 0) != 0)
		sim_native_engage(s);
}
