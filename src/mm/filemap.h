/*
 * Files: faults of mapped pages, read(2) and write(2) through the page cache, write-back, eviction (Linux mm/filemap.c,
 * mm/page-writeback.c). For engines whose files are theirs; the live engine leaves files to the host.
 */
#ifndef STW_MM_FILEMAP_H
#define STW_MM_FILEMAP_H

#include "mm/machine.h"

/*
 * One step of read(2) or write(2) of pages [pgoff, pgoff + n) of a file, n ≥ 1, below its size. FAULT_DONE: *done pages
 * are through, ≥ 1; FAULT_NOMEM: reclaim, and call again for the rest (*done says how many are through).
 */
enum fault_result file_access(struct machine *m, struct vm_file *file, uint64_t pgoff, uint64_t n, bool write,
			      uint64_t *done);
/* Writes up to n dirty pages, of `file`, or (NULL) of the files that have been dirty for longest. Returns how many. */
unsigned file_flush(struct machine *m, struct vm_file *file, unsigned n);
/* The file has so many pages from now on. Mappings beyond go. */
void file_resize(struct machine *m, struct vm_file *file, uint64_t pages);
/* Clean frames of files, taken off the lists, leave; the others arrive again. Returns how many went. */
unsigned file_evict(struct machine *m, struct frame **frames, unsigned n);

#endif
