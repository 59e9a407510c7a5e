/*
 * Recording: what a process tells the launcher of the pages it touches, while `steward record` runs it.
 *
 * One ring a process, in the ledger: the process puts entries in, the launcher takes them out (cli/record/sampled.c).
 * An entry is complete once tail is beyond it. The ring outlives the process, and so do its last entries.
 */
#ifndef STW_LIVE_RECORD_H
#define STW_LIVE_RECORD_H

#include <stdatomic.h>

#include "base/types.h"

#define RECORD_RINGS 64 /* for the first slots of the ledger; processes beyond are not recorded */
#define RECORD_ENTRIES 16384

enum record_op {
	RECORD_NAME,   /* vpn and n are 16 bytes of text: what the process is called that the next RECORD_BEGIN is of */
	RECORD_BEGIN,  /* a process attaches: vpn is its pid, n the pid of its parent; write: a child, copied by fork */
	RECORD_OWN,    /* [vpn, vpn + n) is Steward's own */
	RECORD_MAP,    /* [vpn, vpn + n) is managed from now on: anonymous memory of the program */
	RECORD_TOUCH,  /* each of [vpn, vpn + n) was touched */
	RECORD_UNMAP,  /* [vpn, vpn + n) is unmapped */
	RECORD_MOVE,   /* [vpn, vpn + n) moves to … */
	RECORD_MOVED,  /* … vpn; the entry after a RECORD_MOVE */
	RECORD_DROP,   /* [vpn, vpn + n) reads as zeros */
	RECORD_TICK,   /* an interval ends; n: CPU time of the program's threads since the last one, ns */
};

struct record_entry {
	uint64_t ns;   /* CLOCK_MONOTONIC; never less than that of the entry before */
	uint64_t vpn;
	uint64_t n;
	uint32_t tid;  /* RECORD_TOUCH: the thread, if known, else 0 */
	uint8_t op;    /* enum record_op */
	uint8_t write; /* RECORD_TOUCH: by a write */
};

struct record_ring {
	_Atomic uint64_t head; /* entries taken so far; launcher */
	_Atomic uint64_t tail; /* entries made so far; process */
	_Atomic uint64_t lost; /* that found no room for a second; process */
	struct record_entry entry[RECORD_ENTRIES];
} __attribute__((aligned(4096)));

/*
 * Frames that are online beyond those in use while a process is recorded, at least: it may have all memory of the machine,
 * whose frame table would take a 64th of that if it were made at once, and a program that lives for a moment would wait for it.
 * A 16th of those in use is more than the high mark, so that nothing is ever reclaimed.
 */
#define RECORD_FRAMES_AHEAD 2048

static inline uint64_t record_frames(uint64_t used)
{
	return used + MAX(RECORD_FRAMES_AHEAD, used / 16);
}

/* The calls below do nothing in a process that is not recorded. */
struct frame;

/* The process has a slot with its name in it: it is recorded if the run records. child: it was copied by fork. */
void record_attach(bool child);
void record_own(uint64_t start, uint64_t len);
/* An area is managed from now on; bytes. Lock held. */
void record_mapped(uint64_t start, uint64_t end);
/* Handler: what is placed from now on is for a fault of this kind. */
void record_fault(bool write, uint32_t tid);
/*
 * Handler, lock held: the frames are about to be placed at vpn and after it. Before and not after, because the
 * thread that waits for them may be the last one, and end the process.
 */
void record_placing(uint64_t vpn, struct frame *const *frames, unsigned n);
/* A page was there when its area came to be managed. Lock held. */
void record_adopted(uint64_t vpn);
/* The handler follows a change; bytes. */
void record_unmapped(uint64_t start, uint64_t end);
void record_moved(uint64_t from, uint64_t to, uint64_t len);
void record_dropped(uint64_t start, uint64_t end);
/* Pager, lock not held: samples every resident page if an interval is over. */
void record_tick(uint64_t now);
/* ns between two calls of it that are soon enough. */
uint64_t record_patience(void);

#endif
