/* Huge pages of anonymous memory: see huge.c. Internal to mm/. Nothing happens where m->thp is false. */
#ifndef STW_MM_HUGE_H
#define STW_MM_HUGE_H

#include "mm/machine.h"

/* The first touch of vpn, with nothing there: maps a huge page around it. False: it cannot be; a small one will do. */
bool fault_huge(struct mm *mm, struct vma *vma, vpn_t vpn, enum fault_access access);
/* The huge page of this head becomes small ones, on the same list, the oldest there; of an unlisted head all but itself. 0 or -ENOMEM (nothing changed). */
int huge_split(struct machine *m, struct frame *f);
/* No huge page has a part in [start, end) afterwards. -ENOMEM: some have. */
int huge_split_range(struct mm *mm, vpn_t start, vpn_t end);
/* No huge page lies across start or end. -ENOMEM: one does. */
int huge_split_borders(struct mm *mm, vpn_t start, vpn_t end);
/* Huge pages of [start, end), none of which lies across a border, are gone. */
void huge_drop_range(struct mm *mm, vpn_t start, vpn_t end);

#endif
