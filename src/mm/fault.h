/* What the fault handlers of fault.c, filemap.c and fork.c share. Internal to mm/. */
#ifndef STW_MM_FAULT_H
#define STW_MM_FAULT_H

#include "mm/backing/readahead.h"
#include "mm/filemap.h"
#include "mm/huge.h"
#include "mm/user_page.h"

/* A frame for the page that is touched; NULL: reclaim first (a limit is reached, or memory is short). */
struct frame *fault_frame(struct machine *m);

/* Up to n frames for a run, at least 1 or none at all. */
unsigned fault_frames(struct machine *m, unsigned n, struct frame **frames);

/* The same for what nobody waits for: n that are to spare, or false. */
bool fault_frames_spare(struct machine *m, unsigned n, struct frame **frames);

/* What to bring along with the page. An engine to which a fault is cheap watches no streams. */
void fault_plan(struct vma *vma, vpn_t vpn, unsigned max, struct ra_plan *plan);

/* What a map error of the page touched means for its access. */
enum fault_result fault_map_failed(int err);

/* fork.c: a write to a page that is present and may not be written, in an area that allows it. */
enum fault_result fault_protected(struct mm *mm, struct vma *vma, vpn_t vpn, pte_t pte);

/*
 * fork.c: vpn gets a frame of its own with the content of f instead of what it has, which may be f.
 */
enum fault_result fault_copy(struct mm *mm, const struct vma *vma, vpn_t vpn, struct frame *f);

/* filemap.c: a touch of a page of a file that is not mapped. */
enum fault_result fault_file(struct mm *mm, struct vma *vma, vpn_t vpn, enum fault_access access,
			     struct fault_report *report);

#endif
