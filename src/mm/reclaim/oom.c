/*
 * The OOM killer.
 *
 *     points = rss + swapents + page tables + oom_score_adj × (totalpages / 1000)
 *              └──────── footprint ───────┘   └── integer division first ──┘
 *
 * Whoever frees most by dying has most points; no age, no run time, no root
 * bonus (Linux gave those up in 2.6.36). oom_score_adj moves a task by so many
 * thousandths of all memory; -1000 takes it out. The division comes first, so
 * on a machine of fewer than 1000 pages the adjustment is nothing.
 *
 * The scan goes over the tasks in the order in which they were made and keeps
 * who has at least as many points as the best so far: of equals the youngest
 * dies. Whoever was killed before and still has memory ends the scan, because a
 * second victim would die for what the first is about to give back; if the
 * first turned out to have nothing more (OOM_SKIP), it is passed over.
 *
 * Beside the choice the scan notes who comes second, and who is largest by
 * footprint alone: a report can then say why this one, and whether somebody
 * larger was spared by oom_score_adj, which is what people ask of a kernel log.
 *
 * That is Linux's policy, and the modelled machine's. The supervisor of a run may be told to compare by something else;
 * then only the points are others, and the scan is the same.
 *
 * Facts: mm/oom_kill.c (oom_badness, oom_evaluate_task, select_bad_process) and
 * fs/proc/base.c (proc_oom_score) of Linux 6.12.
 */
#include "mm/reclaim/oom.h"

#include "base/assert.h"

#define OOM_NOT_CONSIDERED (OOM_UNKILLABLE | OOM_NO_MM | OOM_SKIP)

uint64_t oom_footprint(const struct oom_task *t)
{
	return t->rss_anon + t->rss_file + t->rss_shmem + t->swapents + t->pgtables_bytes / PAGE_SIZE;
}

int64_t oom_badness(const struct oom_task *t, uint64_t totalpages)
{
	DEBUG_ASSERT(t->oom_score_adj >= OOM_ADJ_MIN && t->oom_score_adj <= OOM_ADJ_MAX);
	if ((t->flags & OOM_NOT_CONSIDERED) || t->oom_score_adj == OOM_ADJ_MIN)
		return OOM_NEVER;
	return (int64_t)oom_footprint(t) + t->oom_score_adj * (int64_t)(totalpages / 1000);
}

uint32_t oom_score(const struct oom_task *t, uint64_t totalpages)
{
	int64_t points = oom_badness(t, totalpages);

	ASSERT(totalpages > 0);
	if (points == OOM_NEVER)
		return 0;
	return (uint32_t)((1000 + points * 1000 / (int64_t)totalpages) * 2 / 3);
}

void oom_scan_init(struct oom_scan *s, uint64_t totalpages)
{
	*s = (struct oom_scan){
		.totalpages = totalpages,
		.points = OOM_NEVER,
		.second_points = OOM_NEVER,
	};
}

/* Of those that only oom_score_adj can have spared. */
static void note_size(struct oom_scan *s, const struct oom_task *t)
{
	if (s->nr_sized++ == 0 || oom_footprint(t) >= oom_footprint(&s->largest))
		s->largest = *t;
}

static void note_points(struct oom_scan *s, const struct oom_task *t, int64_t points)
{
	if (points >= s->points) {
		s->second = s->victim;
		s->second_points = s->points;
		s->victim = *t;
		s->points = points;
		s->outcome = OOM_KILL;
	} else if (points >= s->second_points) {
		s->second = *t;
		s->second_points = points;
	}
}

int64_t oom_points(const struct oom_scan *s, const struct oom_task *t)
{
	int64_t badness = oom_badness(t, s->totalpages);

	if (t->flags & OOM_ORIGIN)
		return OOM_ALWAYS;
	if (badness == OOM_NEVER)
		return OOM_NEVER;
	switch (s->policy) {
	case OOM_LARGEST:
		return (int64_t)oom_footprint(t);
	case OOM_YOUNGEST:
		return (int64_t)t->started;
	case OOM_GROWING:
		return (int64_t)t->growth;
	default:
		return badness;
	}
}

bool oom_scan_task(struct oom_scan *s, const struct oom_task *t)
{
	int64_t points;

	ASSERT(s->outcome != OOM_WAIT);
	s->nr_scanned++;
	if (t->flags & (OOM_UNKILLABLE | OOM_ELSEWHERE))
		return true;
	if (t->flags & OOM_VICTIM) {
		if (t->flags & OOM_SKIP)
			return true;
		s->outcome = OOM_WAIT;
		s->victim = *t;
		s->points = s->second_points = OOM_NEVER;
		return false;
	}
	if (!(t->flags & OOM_NOT_CONSIDERED))
		note_size(s, t);
	points = oom_points(s, t);
	if (points != OOM_NEVER) {
		s->nr_killable++;
		note_points(s, t, points);
	}
	return true;
}

enum oom_reason oom_scan_reason(const struct oom_scan *s)
{
	ASSERT(s->outcome == OOM_KILL);
	if (s->points == OOM_ALWAYS)
		return OOM_BY_ORIGIN;
	if (s->points == s->second_points)
		return OOM_BY_TIE;
	if (s->nr_killable == 1)
		return OOM_ALONE;
	if (s->policy == OOM_YOUNGEST)
		return OOM_BY_AGE;
	if (s->policy == OOM_GROWING)
		return OOM_BY_GROWTH;
	return oom_footprint(&s->largest) > oom_footprint(&s->victim) ? OOM_BY_ADJ : OOM_BY_SIZE;
}

const char *oom_reason_text(enum oom_reason reason)
{
	static const char *const text[] = {
		[OOM_BY_ORIGIN] = "asked to be killed first",
		[OOM_BY_TIE] = "has as many points as another one and is younger",
		[OOM_ALONE] = "is the only one that may be killed",
		[OOM_BY_AGE] = "was started last",
		[OOM_BY_GROWTH] = "has grown the most lately",
		[OOM_BY_ADJ] = "has the most points; somebody larger is spared by oom_score_adj",
		[OOM_BY_SIZE] = "has the most memory",
	};

	return text[reason];
}
