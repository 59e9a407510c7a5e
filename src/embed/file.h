/*
 * A region of a file: an array that lies on disk, in blocks of the program's choice, of which some are in RAM.
 *
 *   program thread ──touch──► kernel ─userfaultfd─► server thread ─► file_fault: up to BATCH faults that wait at once
 *        │                                                  ├─ several threads: each has its read in flight (flight.c)
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
 *   F3 Nobody else changes a block: lock is held for all of this, I/O included, but for reads of absent blocks that are
 *      ahead or in flight.
 *
 * Not the page cache: O_DIRECT, where the file system takes it, so that nothing is in RAM twice and the budget is all there
 * is; else its pages are dropped after each transfer.
 *
 * The end. Direct I/O takes whole pages. Of a region that ends within one, that page is read whole and its part of it is
 * written through the page cache: what lies behind is another region's, perhaps, or not there.
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
#define FLIGHTS 16

/* Blocks that are being read before anybody asks for them. */
struct ahead_slot {
	struct aio_op op;
	uint32_t first, n;   /* n 0: free */
};

/* A block that a fault waits for. */
struct flight {
	struct aio_op op;
	uint32_t block;
	bool busy, write;
	uint64_t since;      /* ns */
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
	uint64_t offset;          /* of the file, where the region begins */
	size_t budget, page;
	unsigned page_shift;
	uint32_t batch;           /* blocks that fit into the buffer, BATCH at most */
	uint32_t window_max;      /* blocks */
	uint32_t spare;           /* blocks of room that are made before they are needed */
	struct blocks blocks;
	struct aio aio, ahead_aio, flight_aio;
	uint8_t *buffer;          /* buffer_bytes for reads, and slot_bytes for each slot */
	size_t buffer_bytes, slot_bytes, table_bytes;
	struct ahead_slot ahead[AHEAD_SLOTS];
	unsigned ahead_turn;      /* the slot to be taken from another stream next */
	struct flight flight[FLIGHTS]; /* their data is at the end of buffer */
	uint32_t nr_flights, flying;
	int thread;               /* that faulted last */
	uint64_t mixed;           /* faults when another one did than before; 0: never */
	struct stream stream[STREAMS];
	uint32_t write_next, write_window; /* where the next first write should fall, and how many blocks the last one opened */
	int updates;              /* 0 to UPDATES_SURE: how sure it is that a block that is brought will be written */
	unsigned trial;           /* counts blocks that were brought dirty for that reason */
	uint64_t faults, majors, written_faults, bytes_in, bytes_out, wait_ns, errors;
	bool poisoned;            /* some block raises SIGBUS */
	int write_error;          /* of the last write that failed since one succeeded, or 0 */
	int sync_error;           /* of the first time that the disk did not take what had been written, or 0; for ever */
};

static inline struct file_region *file_of(struct stw_region *r) { return (struct file_region *)r; }
static inline uint64_t block_address(const struct file_region *f, uint32_t block)
{
	return f->region.start + ((uint64_t)block << f->page_shift);
}
static inline uint32_t block_of(const struct file_region *f, uint64_t address)
{
	return (uint32_t)((address - f->region.start) >> f->page_shift);
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
/* Puts n absent blocks in a row to their addresses; room has been made. What lies behind the end of the region is cleared. */
void file_place(struct file_region *f, uint32_t first, uint32_t n, uint8_t *data, const bool *write);
/* Starts to read n absent blocks in a row. */
void file_read_start(struct file_region *f, struct aio *aio, struct aio_op *op, uint32_t first, uint32_t n, uint8_t *data);
/* It is done. 0, or -errno and the message. */
int file_read_end(struct file_region *f, struct aio_op *op);
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

/* flight.c */
/* The flight of a block, or NULL. */
struct flight *flight_of(struct file_region *f, uint32_t block);
/* For a fault on a block that is absent, and not on its way: false: there is no flight free. */
bool flight_start(struct file_region *f, uint32_t block, bool write);
/* Puts what has landed to its place. */
void flight_land(struct file_region *f);
/* If the block is in flight, waits for it. True: it is present. */
bool flight_take(struct file_region *f, uint32_t block);
/* Nothing of [first, stop) is in flight any more; who waits for it faults again. */
void flight_forget(struct file_region *f, uint32_t first, uint32_t stop);

/* fileserve.c */
server_serve file_fault;
/* The block cannot be had: whoever touches it gets SIGBUS. */
void file_poison(struct file_region *f, uint32_t block);

#endif
