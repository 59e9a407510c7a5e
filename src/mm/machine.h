/*
 * The machine: physical memory, the stores behind it, and the contract that an
 * engine implements (struct machine_ops). The same objects run on the live
 * engine and on a modelled machine.
 *
 * Locking. One lock per machine, owned by the engine. Every function of mm/ is
 * called with it held, unless its comment says otherwise. Calls marked
 * [unlocked] below are made without it, on frames that are FRAME_LOCKED: while
 * a frame is locked nobody else changes it or its page table entry.
 *
 * Functions that give the lock up inside may run in two threads at once: in one
 * that serves faults and changes address spaces (a page that is being read back
 * is not locked, so there cannot be two), and in one that reclaims.
 *
 * A page is in exactly one place (law L1):
 *
 *   present   FRAME_AWAY      content at the user's address, the home is empty
 *   soft      home            content at home, no user access reaches it
 *   swap      no frame        content in a store (or one repeated word)
 *   none      nowhere         reads as zeros
 */
#ifndef STW_MM_MACHINE_H
#define STW_MM_MACHINE_H

#include "mm/backing/cluster.h"
#include "mm/backing/pagecache.h"
#include "mm/backing/swap.h"
#include "mm/phys/vmalloc.h"
#include "mm/reclaim/policy.h"
#include "mm/reclaim/poolshare.h"
#include "mm/space/pagetable.h"
#include "mm/space/vma.h"
#include "mm/stat.h"
#include "mm/step.h"

struct machine;

/* One address space. */
struct mm {
	struct machine *machine;
	struct pagetable pt;
	struct vma_set vmas;
	TAILQ_ENTRY(mm) link; /* in machine.mms */
	uint64_t rss;      /* anonymous pages present or soft */
	uint64_t rss_file; /* pages of files that are mapped */
	bool no_zero;      /* a first read gets a frame of its own: the engine does not hear of every write */
	uint64_t swapents; /* pages in a store */
};

/* What the manager reports as done, by the page. */
enum mm_work {
	MM_SCAN,  /* looked at by reclaim */
	MM_UNMAP, /* taken from its address spaces */
	MM_COPY,  /* copied on write */
};

/* Names as in /proc/sys/vm where there is one. */
struct vm_tunables {
	uint32_t swappiness;     /* 0 to 200; Linux: 60 */
	uint32_t page_cluster;   /* swap read-ahead of 2^n pages */
	uint64_t stats_flush_ns; /* lists as reclaim believes them to be are so old at most; 0: exact */
	uint32_t reclaim_batch;  /* pages that reclaim takes at once, and the target of direct reclaim, 1 to SWAP_CLUSTER_MAX */
	bool limit_tables;       /* page tables count in the limit */
};

struct kswapd {
	uint8_t priority; /* of the round that runs; 0: none */
	uint8_t failures; /* rounds in a row that freed nothing */
	uint32_t reclaimed;
};

struct machine_ops {
	/*
	 * Afterwards a user access at vpn+i reaches frames[i], whose content is at
	 * home (zero: whose content shall be zeros, wherever that is cheapest).
	 * Returns how many pages of the prefix were mapped, ≥ 1, or for the first:
	 *   -EEXIST  a page is there already: the entry was out of date
	 *   -EAGAIN  the address space is changing: let the access be retried
	 *   -ENOENT  the area is gone: let the access be retried
	 *   -ENOMEM  the host has no memory
	 * Accesses that waited for the mapped pages go on.
	 */
	int (*map)(struct machine *m, struct mm *mm, vpn_t vpn, struct frame *const *frames, unsigned n, bool zero);
	/*
	 * [unlocked] Afterwards no user access reaches vpn+i, and the content is at
	 * the home of frames[i], stable. Returns how many pages of the prefix are
	 * done, ≥ 1, or for the first:
	 *   -EBUSY   cannot be taken away now (pinned)
	 *   -EAGAIN  the address space is changing
	 *   -ENOENT  nothing is there (dropped; word of it is on its way)
	 */
	int (*unmap)(struct machine *m, struct mm *mm, vpn_t vpn, struct frame *const *frames, unsigned n);
	/*
	 * Has the page been used since this was asked last? entry: its present entry in mm->pt, with PTE_ACCESSED, or that of the
	 * huge page that it is in. NULL: this engine cannot know.
	 */
	bool (*test_and_clear_accessed)(struct machine *m, struct mm *mm, vpn_t vpn, pte_t *entry);
	/* The manager has done so much; an engine with a clock of its own moves it on. May be NULL. */
	void (*worked)(struct machine *m, enum mm_work work, unsigned n);
	/* Monotonic. May be NULL where nothing needs it (vm_tunables). */
	uint64_t (*now_ns)(struct machine *m);
	/* An access waits for a store outside of memory: from now on; for so many ns it did. Both may be NULL. */
	void (*wait_begins)(struct machine *m, uint64_t now);
	void (*wait_ended)(struct machine *m, uint64_t ns);
	/* to, just allocated, gets the content of from (NULL: zeros). NULL where pages are never shared. */
	void (*copy)(struct machine *m, struct frame *to, const struct frame *from);
	/*
	 * The disk that files are on: n pages of the file are read for somebody who waits, or ahead, or written, which the
	 * engine finds in the page cache. NULL where there are no files.
	 */
	void (*file_read)(struct machine *m, struct vm_file *file, uint64_t pgoff, unsigned n);
	void (*file_read_ahead)(struct machine *m, struct vm_file *file, uint64_t pgoff, unsigned n);
	void (*file_write)(struct machine *m, struct vm_file *file, uint64_t pgoff, unsigned n);
	/* f, of a file with a disk, has just entered the page cache: if frames carry bytes, it gets those of the disk. */
	void (*file_fill)(struct machine *m, struct frame *f);
	/* Accesses that wait for vpn are tried again. */
	void (*wake)(struct machine *m, struct mm *mm, vpn_t vpn);
	/* True: the content of this page is dead (the heap freed it). Asked again after unmap. May be NULL. */
	bool (*discardable)(struct machine *m, struct mm *mm, vpn_t vpn);
	/* Free frames of the node fell to LOW. */
	void (*wake_kswapd)(struct machine *m, unsigned node);
	void (*lock)(struct machine *m);
	void (*unlock)(struct machine *m);
	/* Gives the lock up for a moment, so that whoever holds a locked frame can finish. */
	void (*relax)(struct machine *m);
};

struct machine {
	const struct machine_ops *ops;
	void *engine;
	void (*watch)(void *watcher, const struct mm_step *step); /* step.h; NULL: nobody watches */
	void *watcher;
	struct phys phys;
	struct kmalloc kmalloc;
	struct kmem_cache vma_cache, rmap_cache;
	struct pagecache pagecache;
	uint8_t pt_levels, pt_bits[PT_LEVELS_MAX]; /* of address spaces made from now on; bits 0: 9 each */
	struct vmalloc vmalloc;
	const struct policy *policy;
	struct lruvec lruvec[PHYS_NODES_MAX];
	struct kswapd kswapd[PHYS_NODES_MAX]; /* shrink.c */
	struct vm_tunables vm;
	struct swap swap;
	struct poolshare poolshare;
	uint64_t *counter; /* VM_COUNTER_NR words, the engine's */
	uint64_t refused;  /* pages that no area gained anything by, since a frame came free */
	bool reclaiming;   /* somebody is inside reclaim_batch or demote_batch: stores take one batch at a time */
	struct {
		struct swap_io io[SWAP_AHEAD_BATCHES][SWAP_AHEAD];
		unsigned n[SWAP_AHEAD_BATCHES];
		unsigned first, nr; /* batches */
	} leaving;         /* reclaim.c: locked pages that the helper of swap has */
	TAILQ_HEAD(mm_list, mm) mms;
	struct {
		struct mm *mm;
		vpn_t vpn;
	} hand;            /* demote.c: where it stands */
	struct frame *zero; /* all reads of untouched anonymous memory share it; NULL: each gets a frame of its own */
	uint64_t seed;      /* the engine's: of what policies draw by chance */
	/* The engine's: when the page touched now is touched next, in touches of the trace; UINT64_MAX: never. NULL: it cannot know. */
	uint64_t (*next_use)(struct machine *m);
	uint8_t local_node; /* the engine's: where the CPU is that faults */
	uint64_t limit;     /* frames that a cgroup's limit allows; UINT64_MAX: none */
	uint64_t charged;   /* frames of user pages */
	bool mlocked;       /* some area has been VMA_LOCKED */
	bool thp;           /* anonymous memory in huge pages where it can be */
	bool flush_wanted;  /* reclaim met dirty pages of files: file_flush */
	bool streams;      /* the engine's: one fault may bring many pages, because delivering it is dear */
	bool gather;       /* the engine's: contiguous homes move in one call, so that gather.c is worth its work */
	bool precise;      /* the engine's: a minor fault fills the page touched and no others */
	uint8_t blocks_wanted; /* that read-ahead windows did not find, lately */
	uint32_t gather_hand; /* gather.c: frame number where its search goes on */
	struct cluster cluster;
	uint64_t bounce;   /* demote.c: address of DEMOTE_BATCH pages */
	struct swapins *swapins; /* the engine's: room for swap-ins on their way (swapin.h); NULL: faults wait for their stores */
};

#define DEMOTE_BATCH 16 /* pages passed on from one area to the next in one step */

/* The lists of the frame's node. */
static inline struct lruvec *lruvec_of(struct machine *m, const struct frame *f)
{
	return &m->lruvec[m->phys.zones[f->zone].node];
}

/* The lock as functions of a pointer, for swap.c, which knows no machine. */
static inline void machine_lock(void *m) { ((struct machine *)m)->ops->lock((struct machine *)m); }
static inline void machine_unlock(void *m) { ((struct machine *)m)->ops->unlock((struct machine *)m); }

static inline void machine_worked(struct machine *m, enum mm_work work, unsigned n)
{
	if (m->ops->worked != NULL && n > 0)
		m->ops->worked(m, work, n);
}

/* Can the engine tell which pages are used? Without, reclaim samples by unmapping. */
static inline bool machine_has_accessed(const struct machine *m) { return m->ops->test_and_clear_accessed != NULL; }

/* Frames that the limit is about. */
static inline uint64_t machine_charged(const struct machine *m)
{
	return m->charged + (m->vm.limit_tables ? m->phys.nr_tables : 0);
}

#define COUNT(m, name) ((m)->counter[VM_##name]++)
#define COUNT_N(m, name, n) ((m)->counter[VM_##name] += (n))

/*
 * Prepares a machine whose physical memory is already described and online
 * (phys_init, phys_online). vmalloc_start/end: address range for vmalloc.
 * 0 or -ENOMEM.
 */
int machine_init(struct machine *m, const struct machine_ops *ops, void *engine, uint64_t *counters,
		 uint64_t vmalloc_start, uint64_t vmalloc_end);

/* The end of a machine without address spaces: what it took of its memory goes back. Stores are the caller's to destroy. */
void machine_destroy(struct machine *m);

/* An empty address space; of 48 bits (4 levels) unless m->pt_levels says otherwise. 0 or -ENOMEM. */
int mm_init(struct mm *mm, struct machine *m);
/* Forgets everything: frames and slots are freed. Nothing is unmapped: the engine's address space is gone already. */
void mm_destroy(struct mm *mm);

/* mmap.c: changes of the address space, after the fact. */

/* [start, end) exists now, with nothing in it. Overlapping areas must be gone. file NULL: anonymous memory. 0 or -ENOMEM. */
int mm_map(struct mm *mm, vpn_t start, vpn_t end, uint32_t vma_flags, struct vm_file *file, uint64_t pgoff);
/* The rights of [start, end) are now these (VMA_READ, VMA_WRITE, VMA_EXEC). The engine flushes its TLBs. 0 or -ENOMEM: nothing changed. */
int mm_protect(struct mm *mm, vpn_t start, vpn_t end, uint32_t rights);
/* The range is gone (munmap). 0 or -ENOMEM: nothing changed. */
int mm_unmap(struct mm *mm, vpn_t start, vpn_t end);
/* The range reads as zeros from now on (MADV_DONTNEED, MADV_FREE). -ENOMEM only where there are huge pages: nothing changed. */
int mm_drop(struct mm *mm, vpn_t start, vpn_t end);
/* The pages of [from, from+n) are at [to, to+n) now (mremap). 0 or -ENOMEM: nothing changed. */
int mm_move(struct mm *mm, vpn_t from, vpn_t to, uint64_t n);
/* A page is present at vpn that the manager did not place: count it. 0 or -ENOMEM. */
int mm_adopt(struct mm *mm, vpn_t vpn);
/*
 * A page is present at vpn although the entry says soft or swap (fork.c's
 * frozen service put it there): the old copy is forgotten. 0 or -ENOMEM.
 */
int mm_readopt(struct mm *mm, vpn_t vpn);
void mm_check(struct mm *mm);

/* fork.c */

/*
 * child, empty and just initialised, becomes a copy of parent: private pages are shared until somebody writes to them.
 * What the parent had mapped writable is not any more: the engine flushes its TLBs. -ENOMEM: the child has a part; destroy it.
 */
int mm_fork(struct mm *parent, struct mm *child);

/* fault.c */
enum fault_result {
	FAULT_DONE,     /* the access can go on */
	FAULT_RETRY,    /* drop it and let the access be retried: -EAGAIN or -ENOENT of the engine */
	FAULT_WAIT,     /* somebody works on the page and wakes the access when done */
	FAULT_NOMEM,    /* no frame to be had: reclaim, then call again */
	FAULT_INVALID,  /* no area there, or one that does not allow it */
	FAULT_LOST,     /* the page cannot be read back: the program must stop */
};

struct fault_report {
	uint64_t since; /* in: the engine's own, which mm_swapin_done gives back */
	bool major;
	bool later;     /* FAULT_WAIT: it was the page of this fault that a swap-in has been begun for */
	int err;       /* FAULT_LOST: -EIO (store), -EKEYREJECTED (seal) or -EBADMSG (checksum) */
	unsigned area; /* FAULT_LOST: where it was */
	uint64_t slot;
};

/* What the access wanted. ANY: the engine cannot tell, or does not care; nothing is refused, and what is mapped may be written. */
enum fault_access { FAULT_ANY, FAULT_READ, FAULT_WRITE, FAULT_EXEC };

/* Serves a touch of vpn that found nothing mapped, or not for this. report may be NULL. */
enum fault_result mm_fault(struct mm *mm, vpn_t vpn, enum fault_access access, struct fault_report *report);

/* A swap-in that was on its way. */
struct swapin_done {
	struct mm *mm;
	vpn_t vpn;                  /* the page touched */
	enum fault_result result;   /* but WAIT and INVALID; NOMEM: let the access be retried */
	struct fault_report report;
	uint64_t since;
};

/*
 * Ends one whose pages have been read (swap_read_poll). False: there is none. All must have ended before areas or
 * entries are changed but by faults and reclaim, and no fault may come while SWAPINS are on their way.
 */
bool mm_swapin_done(struct machine *m, struct swapin_done *done);

/*
 * Reads the content that vpn has, without changing anything (frozen service
 * during fork): 1 and the bytes in page, 0 if it reads as zeros, -EEXIST if it
 * is present, -EFAULT, -EIO or -EBADMSG.
 */
int mm_peek(struct mm *mm, vpn_t vpn, void *page);

#endif
