/*
 * kcompressd: pages are compressed on another CPU, ahead of the store that
 * wants them (the idea is that of the kernel patches of the same name, "mm:
 * introduce kcompressd", linux-mm 2025).
 *
 * A thread of another process does it. In the own process it would cost more
 * than it saves: while one of its threads runs on a second CPU, each page that
 * is moved has to be flushed from two TLBs (docs/performance.md).
 *
 *     program's process                              launcher
 *     begin: address ──────► QUEUED
 *                              │ ◄──── takes up to GRAB, BUSY; process_vm_readv
 *                              │       hash, compress ──► DONE
 *     end:  takes what is DONE, does what is still QUEUED itself, from the other end
 *
 * Nothing rests on the helper: whatever it has not done in time is done by
 * whoever asked, and what it makes is verified when it is read (law L5).
 */
#ifndef STW_STORE_KCOMPRESSD_H
#define STW_STORE_KCOMPRESSD_H

#include <stdatomic.h>

#include "base/types.h"
#include "store/zcodec.h"

#define KCOMPRESSD_RINGS 64   /* one a process; a bit each in `pending` */
#define KCOMPRESSD_BATCH 8    /* pages of one begin */
#define KCOMPRESSD_BATCHES 3
#define KCOMPRESSD_ENTRIES (KCOMPRESSD_BATCHES * KCOMPRESSD_BATCH)

enum kcompressd_state { KCOMPRESSD_IDLE, KCOMPRESSD_QUEUED, KCOMPRESSD_BUSY, KCOMPRESSD_DONE };

/* Whoever moves it to BUSY, or takes it back to IDLE, owns it. */
struct kcompressd_entry {
	_Atomic uint32_t state;
	int32_t bytes;    /* packed, or -E2BIG; of no use if same */
	uint64_t address; /* of the page, in its process */
	uint64_t hash;
	uint64_t word;
	bool same;
	uint8_t packed[ZCODEC_MAX];
} __attribute__((aligned(64)));

struct kcompressd_ring {
	_Atomic int32_t refused;  /* process that the helper may not read; 0: none */
	uint32_t hand;            /* the helper's: where it looks next */
	struct kcompressd_entry entry[KCOMPRESSD_ENTRIES];
} __attribute__((aligned(4096)));

/* Shared by all processes of a run; all zero is its first state. */
struct kcompressd {
	_Atomic uint32_t running; /* 1: there is a helper */
	_Atomic uint32_t awake;   /* futex: 1 it looks by itself, 0 it sleeps */
	_Atomic uint32_t stop;
	_Atomic uint64_t pending; /* rings that may have something QUEUED */
	struct kcompressd_ring ring[KCOMPRESSD_RINGS];
};

/* The side of one process. */
struct kcompressd_user {
	struct kcompressd *shared;
	unsigned ring;
	int pid;
	unsigned next;           /* batch of the ring */
	struct zcodec *codec;
};

/*
 * Process pid begins with a ring that another one, or its last image, may have used. codec: for what the helper has not
 * done; the writer's.
 */
void kcompressd_attach(struct kcompressd_user *u, struct kcompressd *k, unsigned ring, int pid, struct zcodec *codec);
/* Up to KCOMPRESSD_BATCH pages; ticket[i] names page i. What cannot be queued gets KCOMPRESSD_NONE. */
#define KCOMPRESSD_NONE UINT8_MAX
void kcompressd_begin(struct kcompressd_user *u, void *const *page, uint8_t *ticket, unsigned n);
/* The results, valid until KCOMPRESSD_BATCHES more have begun; NULL: it has to be done without. */
void kcompressd_end(struct kcompressd_user *u, const uint8_t *ticket, const struct kcompressd_entry **result, unsigned n);

/* The helper: works until kcompressd_stop. pid(ctx, ring) is the process whose ring it is; work is memory for zcodec_init. */
void kcompressd_run(struct kcompressd *k, enum zpool_codec codec, void *work, size_t work_bytes,
		    int (*pid)(void *ctx, unsigned ring), void *ctx);
void kcompressd_stop(struct kcompressd *k);
/* The ring's process is gone: its memory goes back to the host, or stays for the next one if the helper is at a page of it. */
void kcompressd_forget(struct kcompressd *k, unsigned ring);

#endif
