/* Shared anonymous memory: a file without a disk, with swap behind it instead (Linux mm/shmem.c). */
#ifndef STW_MM_SHMEM_H
#define STW_MM_SHMEM_H

#include "mm/machine.h"

/*
 * Page pgoff of a file that is swap_backed, which is not cached, is read back from swap, or made of zeros.
 * FAULT_DONE, with *out the frame; FAULT_NOMEM; FAULT_LOST. report may be NULL.
 */
enum fault_result shmem_page(struct machine *m, struct vm_file *file, uint64_t pgoff, struct frame **out,
			     struct fault_report *report);
/* All that a file has, cached or in swap, goes; no area maps it any more. */
void shmem_truncate(struct machine *m, struct vm_file *file);

#endif
