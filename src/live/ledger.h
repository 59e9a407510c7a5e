/*
 * The ledger: shared memory of one `steward run`. The supervisor makes it (a
 * sealed-size memfd); every process of the run maps it and owns one slot.
 *
 *   supervisor ──creates──► ledger ◄──maps── libsteward-preload.so in each process
 *
 * Law: free_pages + reserved_pages + left_pages + Σ slot.granted == ram_pages, at every
 * moment at which nobody is inside ledger_grant or ledger_return. Overdrawn,
 * free_pages is below zero, by no more than ledger_overdraft().
 *
 * No locks: a field has one writer, named in its comment, or is changed by
 * compare-and-swap. A process that is killed leaves its slot to the supervisor,
 * which returns the grant and adds the counters to `gone`.
 */
#ifndef STW_LIVE_LEDGER_H
#define STW_LIVE_LEDGER_H

#include <sched.h>
#include <stdatomic.h>

#include "base/heapcount.h"
#include "base/hist.h"
#include "base/types.h"
#include "live/ask.h"
#include "live/haltpoll.h"
#include "live/record.h"
#include "live/swapspec.h"
#include "mm/stat.h"
#include "store/kcompressd.h"
#include "store/remote.h"

#define LEDGER_MAGIC 0x5354574c44475231u /* STWLDGR1 */
#define LEDGER_NAME "steward-ledger"     /* of the memfd: how others find the run, cli/runs.c */
#define LEDGER_SLOTS 1024
#define LEDGER_KEEP (128 * KIB) /* bytes */
#define LEDGER_ENV "STEWARD_RUN" /* "SOCKET:LEDGERFD:INODE:UFFDFD", see cli/run/run.c */

enum ledger_state {
	LEDGER_FREE,     /* slot is nobody's */
	LEDGER_NATIVE,   /* the program fits; nothing is registered */
	LEDGER_ARMED,    /* untouched memory is fenced by userfaultfd */
	LEDGER_ENGAGED,  /* every frame is counted */
	LEDGER_FATAL,    /* stopped by Steward: see message */
};

/* What the last child of a process did before it needed memory of its own. */
enum ledger_fleeting {
	LEDGER_CHILD_LIVES, /* nothing: it has needed some, or there was none */
	LEDGER_CHILD_EXECS,
	LEDGER_CHILD_ENDS,
};

/* Between a process that is out of room and the supervisor, who may end another one. */
enum ledger_oom {
	LEDGER_OOM_NONE,    /* all is well, or it has not asked yet */
	LEDGER_OOM_ASKED,   /* process: somebody has to go */
	LEDGER_OOM_GO_ON,   /* supervisor: somebody is gone, try again */
	LEDGER_OOM_REFUSED, /* supervisor: nobody may be ended */
};

/* Sizes of one process, in pages. Writer: the process. */
struct ledger_usage {
	uint64_t managed;   /* resident pages that Steward manages */
	uint64_t pool;      /* frames of the compressed pool */
	uint64_t own;       /* Steward's other memory: tables, code, threads */
	uint64_t unmanaged; /* the rest of the program: code, stacks, file and shared mappings */
	uint64_t swapped;   /* pages whose only copy is in a store */
	uint64_t pooled;    /* of them in the compressed pool, same-filled ones included */
	uint64_t pool_bytes;/* compressed size of the pooled pages, bytes */
	uint64_t filed;     /* of them in files */
};

/* One swap area as a process sees it. Writer: the process. */
struct ledger_area {
	uint64_t used;   /* pages in it */
	uint64_t errors; /* reads and writes that failed */
	uint32_t state;  /* enum swap_state */
	uint32_t worst;  /* that it has been in */
};

/* The frames of an engaged process. In pages; writer: its pager. */
struct ledger_frames {
	uint64_t online;         /* 0: not engaged */
	uint64_t free;
	uint64_t min, low, high; /* watermarks: kswapd works from low to high, below min faults wait */
	uint64_t active;         /* on the policy's list of pages that proved hot (LRU_ACTIVE_ANON) */
	uint64_t inactive;       /* on its other lists */
	uint64_t sample;         /* resident but unmapped: the next to go */
};

struct ledger_slot {
	_Atomic int32_t pid;         /* 0: free; claimed by compare-and-swap */
	_Atomic uint32_t state;      /* enum ledger_state; process */
	uint64_t start_time;         /* field 22 of /proc/PID/stat: tells a reused pid */
	uint32_t parent;             /* of a process that came by fork: 1 + the slot its parent had; 0: none; process */
	_Atomic uint64_t granted;    /* pages of the budget it holds; process, supervisor after its death */
	_Atomic uint32_t urgency;    /* how much it suffers for want of memory, in thousandths: share.c; process */
	_Atomic uint64_t spare;      /* pages of its grant that it could do without; process */
	_Atomic int64_t allowed;     /* bytes that the process may map before its next look, part of granted; process, and who squeezes it */
	_Atomic uint32_t stall;      /* of its time, how much it has waited for pages lately, in thousandths; supervisor */
	_Atomic uint64_t fault_since; /* monotonic ns since when the fault is being served that is now, 0: none; process */
	_Atomic uint32_t fleeting;   /* enum ledger_fleeting; its children, live/fork.c */
	_Atomic uint32_t oom;        /* enum ledger_oom; whoever the value names */
	char comm[16];
	_Atomic uint32_t asked;      /* ask_word: ask.h says who may change it */
	_Atomic uint32_t pinned;     /* 1: affinity is what the process had before we pinned it; process */
	cpu_set_t affinity;
	struct ledger_usage now;
	struct ledger_area area[SWAP_SPECS];
	struct ledger_frames frames;
	struct ledger_usage peak;    /* the sizes at the moment when managed + pool + own + unmanaged was largest */
	uint64_t need_peak;          /* pages: largest resident + swapped + unmanaged: what it would have needed */
	uint64_t counter[VM_COUNTER_NR]; /* enum vm_counter; process */
	struct hist fault_ns;        /* service time of one fault, from its delivery to the wake-up */
	struct heap_counts heap __attribute__((aligned(64))); /* all threads of the process, by atomic additions */
	char message[256];           /* LEDGER_FATAL: one line, without "steward: " and newline */
};

/* What ended processes leave behind. Writer: supervisor. */
struct ledger_gone {
	uint64_t processes;
	uint64_t need_peak;           /* largest of them */
	struct ledger_usage peak;     /* of the one with the largest sum */
	uint64_t counter[VM_COUNTER_NR];
	struct hist fault_ns;
};

struct ledger {
	uint64_t magic;
	uint32_t size;                 /* sizeof(struct ledger): both sides must agree */
	uint32_t policy;               /* number in the table of policies */
	uint32_t nr_swap;              /* in swap[] */
	uint64_t pid_ns;               /* inode of /proc/self/ns/pid of the supervisor: slots hold pids of this namespace */
	_Atomic uint64_t ram_pages;    /* the budget; supervisor */
	uint64_t reserved_pages;       /* supervisor's own */
	uint32_t debug_base_path;      /* 1: pretend that UFFDIO_MOVE does not exist */
	uint32_t debug_engage;         /* 1: engage at start, whatever the size */
	uint32_t debug_move_again;     /* 1: UFFDIO_MOVE reports as Linux 6.18 does when it had to try twice */
	uint32_t verbose;
	uint32_t debug_faults;         /* of a thousand pages to and from files, so many meet a fault */
	uint64_t debug_faults_seed;    /* odd: some faults are for good */
	struct swap_spec swap[SWAP_SPECS]; /* the swap areas, the first to be used first */
	uint64_t ram_max_pages;        /* to what it may be raised: processes reserve address space for so many frames */
	_Atomic uint64_t ram_asked;    /* pages that it is to have, 0: as it is; whoever asks, supervisor when it is done or given up */
	uint32_t eager;                /* 1: a process is engaged as soon as it maps memory, whether it is short or not */
	uint64_t oom_patience_ns;      /* how long a process waits for the supervisor when it is out of room; 0: it does not ask */
	uint64_t record_ns;            /* > 0: touched pages are recorded, at this interval */
	int32_t launcher;              /* pid of the supervisor, the name of the run */
	uint64_t launcher_start;       /* its start_time */
	char command[64];              /* what it was told to run, without directory; cut */
	_Atomic int64_t free_pages;    /* granted to nobody; below 0: overdrawn */
	_Atomic uint64_t debt_pages;   /* by how much the budget is still to be lowered; supervisor */
	uint64_t left_pages;           /* left to the page cache (cli/run/filecache.c) and to what nobody counts (cli/run/uncounted.c); supervisor */
	uint64_t uncounted_pages;      /* of them, the second; supervisor */
	_Atomic uint32_t files_missed; /* 1: lately files that the kernel had dropped were read back for a part of the time; supervisor */
	_Atomic uint64_t lent_pages;   /* that NATIVE processes could touch although they were taken from their grants: cli/run/lend.c; supervisor */
	_Atomic uint64_t peak_granted; /* largest ram_pages - free_pages seen */
	_Atomic uint32_t told_pid_ns;  /* the user has heard of processes outside of pid_ns; process, once */
	_Atomic uint32_t told_full;    /* the user has heard of processes for which there was no slot; process, once */
	_Atomic uint32_t over;         /* the launcher was killed; keeper, once */
	_Atomic uint32_t ended;        /* it has ended by itself; supervisor, once */
	_Atomic uint32_t slots_used;   /* slots from here on were never claimed: reading them would only allocate memory */
	struct ledger_gone gone;
	struct ledger_slot slot[LEDGER_SLOTS];
	struct ask ask[LEDGER_SLOTS];  /* one a slot, apart because they are seldom used */
	struct haltpoll haltpoll;
	struct kcompressd kcompressd;  /* its rings belong to the first slots */
	struct record_ring record[RECORD_RINGS]; /* so do these */
	struct remote remote;          /* and these */
};

/*
 * Takes up to want pages from the free budget for the slot, at least 0; gets
 * what is there. Returns the pages granted. Lock-free.
 */
uint64_t ledger_grant(struct ledger *l, struct ledger_slot *s, uint64_t want);
/*
 * For a process so small that an engine would take more than it could page out, or one that inherits much and begins with an engine: want
 * pages beyond what is free, as long as what is overdrawn and what is lent are not more than ledger_overdraft(); all or nothing. Processes
 * with an engine repay it (share.c).
 * Returns the pages granted. Lock-free.
 */
uint64_t ledger_overdraw(struct ledger *l, struct ledger_slot *s, uint64_t want);
/* By how many pages a run may be overdrawn. */
uint64_t ledger_overdraft(const struct ledger *l);
/* By how many pages it is overdrawn. */
uint64_t ledger_overdrawn(const struct ledger *l);
/* What is granted to nobody, 0 if it is overdrawn. Pages. */
uint64_t ledger_free(const struct ledger *l);
/* So many pages more (below 0: less) are left to what is in no process's books. Overdraws the run if they are not free. Supervisor only. */
void ledger_leave(struct ledger *l, int64_t more);
/* Little of the budget is free. */
bool ledger_is_short(const struct ledger *l);
/* The same as ledger_grant, and what is missing then is squeezed out of others. */
uint64_t ledger_demand(struct ledger *l, struct ledger_slot *s, uint64_t want);
/*
 * Takes up to want pages out of the run: from the free budget, then from what NATIVE processes are allowed and have not
 * used. Returns the pages; the caller lowers ram_pages by them. Supervisor only.
 */
uint64_t ledger_collect(struct ledger *l, uint64_t want);
/* What processes and supervisor cannot give back at the moment: no budget below that can be reached. Pages. */
uint64_t ledger_least(const struct ledger *l);
/* Gives n pages of the slot's grant back. */
void ledger_return(struct ledger *l, struct ledger_slot *s, uint64_t n);
/* Gives back what is beyond keep pages. Nothing may be allowed. */
void ledger_trim(struct ledger *l, struct ledger_slot *s, uint64_t keep);
/* Gives all of it back, and what was allowed. */
void ledger_return_all(struct ledger *l, struct ledger_slot *s);
/*
 * How a NATIVE process divides its grant, in pages. For what it has and may come to: ledger_native_limit, the rest is for Steward.
 * Of what it does not have yet, the room, ledger_allowed may be mapped without a further look; the rest is
 * kept back for what nobody announces: stacks, mappings of libraries.
 */
uint64_t ledger_native_limit(uint64_t granted);
/* The smallest grant whose limit is so many pages. */
uint64_t ledger_native_grant(uint64_t pages);
uint64_t ledger_allowed(uint64_t room);
/*
 * Takes up to want pages for the slot from what NATIVE processes are allowed and have not used, but LEDGER_KEEP each; with it
 * what they keep back and have for Steward on account of it. Returns the pages taken. Lock-free. A process that looks must set
 * allowed to 0 before it reads granted.
 */
uint64_t ledger_squeeze(struct ledger *l, struct ledger_slot *s, uint64_t want);

/*
 * Leaves a NATIVE process keep pages of its grant, and the run the rest; it has nothing that it may map without a look then. False: it is
 * looking at its books, or was not allowed anything. Supervisor only. Lock-free.
 */
bool ledger_take_unused(struct ledger *l, struct ledger_slot *s, uint64_t keep);

/*
 * Claims a free slot for the calling process (or finds the one that it already owns: exec). NULL: all taken.
 * Does not return if the run is over: the process is killed as all others were.
 */
struct ledger_slot *ledger_claim(struct ledger *l, int32_t pid, uint64_t start_time);
/* The slot of the process with that pid; NULL: it has none. */
const struct ledger_slot *ledger_slot_of(const struct ledger *l, int32_t pid);
/*
 * The process of the slot is gone: adds its counters to l->gone, returns its grant, frees the slot. Supervisor only; after its end, when nobody reads
 * l->gone any more, who claims a slot and finds none.
 */
void ledger_retire(struct ledger *l, struct ledger_slot *s);

static inline enum zpool_codec ledger_zpool_codec(const struct ledger *l)
{
	for (uint32_t i = 0; i < l->nr_swap; i++)
		if (l->swap[i].kind == SWAP_POOL && l->swap[i].codec == SWAP_ZSTD)
			return ZPOOL_ZSTD;
	return ZPOOL_LZ4;
}

static inline uint64_t ledger_usage_total(const struct ledger_usage *u)
{
	return u->managed + u->pool + u->own + u->unmanaged;
}

#endif
