/*
 * A region of a file: an array that lies on disk, in blocks of the program's choice, of which some are in RAM.
 *
 *   program thread ──touch──► kernel ─userfaultfd─► server thread ─► file_serve: up to BATCH faults that wait at once
 *        └── stw_get, stw_prefetch … ─────────────────────────► file_bring
 *                                                                  │ make room: blocks_victim; dirty runs are written
 *                                                                  ▼
 *                              reads in flight (aio.c) ──► buffer ──UFFDIO_COPY──► address
 *
 * The memory manager of the other kind of region (mm/) is not used. A clean block has its home in the file, so it needs
 * no frame, slot, checksum or store, and leaves by being dropped; a block has the size that suits the program, not that of a
 * page; and what is known of its use is when it comes back (blocks.h).
 *
 * Dirty. A block that was read is write-protected. The first write to it is a fault, which makes it dirty and takes the
 * protection away; before it is written to the file it is protected again, so a write meanwhile is a fault that comes
 * after. A block that is brought because of a write is dirty at once.
 *
 * A program that updates at random takes two faults for each block: to have it, and to write to it. Where nearly all
 * blocks are written that were brought protected, the others are brought dirty: one that is not written after all is
 * written to the file for nothing. One in TRIAL is still protected, to see whether this goes on.
 *
 * Laws.
 *   F1 Memory of a block is dropped only when the file has its content.
 *   F2 A write to the file that fails leaves the block as it was: present, dirty, writable.
 *   F3 Nobody else changes a block: lock is held for all of this, I/O included. Faults that wait are served together, so
 *      many threads wait for one another's reads, but not in a row.
 *
 * Not the page cache: O_DIRECT, where the file system takes it, so that nothing is in RAM twice and the budget is all there
 * is; else its pages are dropped after each transfer.
 */
#ifndef STW_EMBED_FILE_H
#define STW_EMBED_FILE_H

#include "embed/aio.h"
#include "embed/blocks.h"
#include "embed/region.h"
#include "live/lock.h"

#define BATCH 32         /* blocks that are brought, and runs that are written, at once */
#define AHEAD_SLOTS 4    /* while one is placed, the disk has others to go on with */
#define TRIAL 8
#define STREAMS 8

/* Blocks that are being read before anybody asks for them. */
struct ahead_slot {
	struct aio_op op;
	uint32_t first, n;   /* n 0: free */
};

/* Faults that follow one another. */
struct stream {
	uint32_t next;       /* where the next fault should fall */
	uint32_t window;     /* blocks that the last one brought */
	uint64_t used;       /* stamp of the last fault */
};

struct file_region {
	struct stw_region region; /* first */
	struct engine_lock lock;
	int fd;
	bool writable, direct;
	uint64_t offset, file_bytes; /* where the region begins, and where the file ends */
	size_t budget, page;
	unsigned page_shift;
	uint32_t batch;           /* blocks that fit into the buffer, BATCH at most */
	uint32_t window_max;      /* blocks */
	uint32_t spare;           /* blocks of room that are made before they are needed */
	struct blocks blocks;
	struct aio aio, ahead_aio;
	uint8_t *buffer;          /* buffer_bytes for reads, and slot_bytes for each slot */
	size_t buffer_bytes, slot_bytes, table_bytes;
	struct ahead_slot ahead[AHEAD_SLOTS];
	unsigned ahead_turn;      /* the slot to be taken from another stream next */
	struct stream stream[STREAMS];
	uint32_t write_next, write_window; /* where the next first write should fall, and how many blocks the last one opened */
	int updates;              /* 0 to UPDATES_SURE: how sure it is that a block that is brought will be written */
	unsigned trial;           /* counts blocks that were brought dirty for that reason */
	uint64_t faults, majors, written_faults, bytes_in, bytes_out, wait_ns, errors;
	bool poisoned;            /* some block raises SIGBUS */
	int write_error;          /* of the last write that failed since one succeeded, or 0 */
};

static inline struct file_region *file_of(struct stw_region *r) { return (struct file_region *)r; }
static inline uint64_t block_address(const struct file_region *f, uint32_t block)
{
	return f->region.start + ((uint64_t)block << f->page_shift);
}
static inline uint64_t block_offset(const struct file_region *f, uint32_t block)
{
	return f->offset + ((uint64_t)block << f->page_shift);
}

/* Lock held, if nothing else is said. */

/* fileio.c */
/*
 * Brings n ≤ batch blocks, ascending and no two the same, which are absent and are not being read ahead; write[i]: it is about to be written to. err[i]: 0 or
 * -errno. write and err may be NULL. 0, or the first error and the message.
 */
int file_bring(struct file_region *f, const uint32_t *block, const bool *write, int *err, unsigned n);
/* Puts n absent blocks in a row to their addresses; room has been made. The end of data that was not read is cleared. */
void file_place(struct file_region *f, uint32_t first, uint32_t n, uint8_t *data, const bool *write);
/* Starts to read n blocks ahead of their use. */
void file_read_start(struct file_region *f, struct aio_op *op, uint32_t first, uint32_t n, uint8_t *data);
/* Makes room for n more blocks. 0, or -errno and the message. */
int file_make_room(struct file_region *f, uint32_t n);
/* Writes what is dirty of [first, end). 0, or -errno and the message: at least one block still is. */
int file_write_back(struct file_region *f, uint32_t first, uint32_t end);
/* n present blocks may be written to from now on. */
void file_make_dirty(struct file_region *f, uint32_t first, uint32_t n);
/* Blocks that are brought for an access that is no write: will they be written? Counts as one of them. */
bool file_expects_write(struct file_region *f);
/* Memory of the block is given up, whatever is in it. */
void file_drop(struct file_region *f, uint32_t block);

/* ahead.c */
/* A fault on an absent block: says how many blocks are to be brought, ≥ 1; known: because it goes on where others have ended. */
uint32_t ahead_window(struct file_region *f, uint32_t block, bool *known);
/* Blocks up to `end` have been brought for a stream: reads on, without waiting. */
void ahead_read_on(struct file_region *f, uint32_t end, uint32_t window);
/* The block is being read ahead: waits for it, and places what came with it; go_on: and reads on. True: it is present. */
bool ahead_take(struct file_region *f, uint32_t block, bool go_on);
/* Nothing of [first, end) is being read ahead any more. */
void ahead_forget(struct file_region *f, uint32_t first, uint32_t end);

/* fileserve.c */
server_serve file_fault;

#endif
