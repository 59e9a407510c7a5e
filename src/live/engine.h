/*
 * The live engine: one per process, inside the process. How its parts fit:
 *
 *   program thread ──touch──► kernel ─userfaultfd─► inbox.c ─► handler.c ─► mm_fault
 *        │ mmap, fork …                                  ▲            │ map
 *        └──────────► bell.c (a request is a fault) ─────┘            ▼
 *                                                      arena.c, homes.c: UFFDIO_MOVE home ◄──► address
 *   pager.c: kswapd, balloon, figures ──► reclaim_batch ──► unmap ────┘
 *   share.c: gives budget to those who stall more, and takes what is free
 *   native.c: watches until memory gets short, fences, engages
 *   fork.c: freeze, and a new engine in the child; inherit.c: a child of a process that has none
 *   oom.c: out of room: asks the supervisor to end another process
 *
 * States (enum ledger_state): NATIVE, no thread, nothing registered → ARMED,
 * untouched memory beyond the headroom is fenced → ENGAGED, every frame is
 * counted. Only the handler changes areas and page tables; the pager only
 * evicts. Lock: engine.lock, taken around every call into mm/.
 */
#ifndef STW_LIVE_ENGINE_H
#define STW_LIVE_ENGINE_H

#include "base/uffd.h"
#include "live/homes.h"
#include "live/ledger.h"
#include "live/lock.h"
#include "live/task.h"
#include "mm/swapin.h"
#include "store/faulty.h"
#include "store/file.h"
#include "store/seal.h"
#include "store/zpool.h"

#define OWN_RANGES 48
#define DISCARD_MAP_BYTES ((uint64_t)1 << (47 - PAGE_SHIFT - 3)) /* one bit for each page of 47 bits */
#define FREEZE_LOG 1024

struct own_range {
	uint64_t start, end;
	uint64_t guard; /* bytes before and after it that were mapped with it */
};

struct engine {
	_Atomic uint32_t state; /* enum ledger_state */
	struct engine_lock lock;
	struct ledger *ledger;
	struct ledger_slot *slot;
	int pid;
	int device;      /* inherited descriptor of /dev/userfaultfd, or -1 */
	int (*ask_device)(void); /* another one from the launcher, or -1; by program threads */

	/* Descriptors in the tasks' own table. */
	struct homes homes;
	int mem_fd; /* /proc/self/mem */
	struct task handler, pager;
	int cpu;         /* that the handler is pinned to, -1: none */
	_Atomic uint32_t program_threads; /* as far as they were made by libc */

	struct machine m;
	struct mm mm;
	struct swapins swapins; /* the handler's */
	struct haltpoll_user haltpoll; /* so is this */
	struct zpool zpool;
	struct file_store file[SWAP_SPECS]; /* by number of the spec */
	struct remote_store remote[SWAP_SPECS];
	struct seal seal[SWAP_SPECS];       /* of those that are encrypted */
	uint8_t area_of[SWAP_SPECS];        /* 1 + its swap area; 0: none, it is not open */
	uint64_t arena_pages; /* homes */
	uint64_t vm_start, vm_end; /* vmalloc's addresses */
	uint64_t online_to;        /* frames [0, online_to) have been online once */
	struct frame_list balloon; /* of them, those given up */
	uint64_t nr_balloon;
	struct own_range own[OWN_RANGES];
	unsigned nr_own;
	uint64_t main_tcb;         /* thread pointer of the main thread */
	uint64_t *discard_map;     /* one bit a page of the address space; NULL: none */

	/* pager.c */
	_Atomic uint32_t pager_word; /* futex: 1 work to do, 0 asleep */
	_Atomic uint32_t pause;      /* the handler wants the pager to stand still */
	_Atomic uint32_t paused;     /* it does */
	_Atomic uint32_t hopeless;   /* rounds of kswapd in a row that found nothing to free, and … */
	_Atomic bool unsettled;      /* … nothing kept them from it: true: a page was not to be had because the address space was changing */
	_Atomic uint32_t frames_wanted; /* futex: the handler sleeps until so many frames are free; 0: it does not */
	struct engine_lock gate;     /* inbox.c; nothing else is taken or waited for inside */
	_Atomic uint32_t holds;      /* futex, enum change_hold: program threads wait with changes */
	_Atomic uint32_t changers;   /* program threads that change the address space: 0 or 1 */
	struct engine_lock change_lock; /* theirs */
	_Atomic uint64_t dropping;   /* start of what the pager itself drops and has not been heard of yet, 0: none */
	_Atomic uint64_t dropping_end;
	uint64_t unmanaged;          /* pages, last measured */
	uint64_t free_at_home;       /* pages at the homes of free frames, last measured */
	uint64_t promised;           /* pages of the grant that the run gets when they are offline */
	uint64_t promised_since;     /* ns */

	_Atomic uint32_t aging;      /* fileage.c: mapped files are being looked at */
	_Atomic uint32_t held;       /* calls of program threads that this must not happen beside */

	bool changing;               /* the handler is following an event */

	/* inherit.c */
	bool inheriting;             /* what is present in areas that are found is the parent's */
	uint64_t inherited;          /* pages of it, last measured */

	/* fork.c */
	uint64_t for_child;          /* pages of the grant that are kept for a child which is about to be */
	bool fleeting;               /* the child will call exec or end, if it is as the last one was; in the child: it has not lived long enough to be another */
	uint64_t born;               /* ns, of a child */
	bool frozen;                 /* faults are served without changing anything */
	int dumpable;                /* before it */
	unsigned nr_frozen;          /* pages in log; beyond FREEZE_LOG: look at all */
	uint64_t log[FREEZE_LOG];
};

extern struct engine engine;

/*
 * Attaches a fresh process image to the run: claims a slot and takes the
 * budget that it has used so far. Called once, before main. 0 or -errno.
 */
int engine_attach(struct ledger *ledger, int device);
/* The process is about to end: without an engine, it has nothing that its part of the budget must wait for. */
void engine_leave(void);
#define ENGINE_PAGES 512 /* that one takes to begin: stacks, tables, first frames */
/* Starts the threads: NATIVE → ARMED. Any thread; the second caller waits for the first. 0 or -errno. */
int engine_start(void);
/* Around fork: nobody starts the engine. */
void engine_hold_start(void);
void engine_release_start(void);
/* NATIVE and the allowance is used up: looks at the books, and starts the engine if the budget does not cover them. 0: covered. */
int engine_cover(void);
/* A program thread starts another process, and often waits for it then: what the books count too much can be had by others. */
void engine_settle(void);
/* In a child after fork: new descriptors; then, once everything is registered, new threads. 0 or -errno. */
int engine_reopen(void);
int engine_restart(void);
/* One line for the user, through the ledger; then SIGKILL. Any thread of ours, and program threads. */
void engine_fatal(const char *what) __attribute__((noreturn));
/* The range is ours: never to be managed. */
void engine_own(uint64_t start, uint64_t len);
bool engine_owns(uint64_t start, uint64_t end);
/* Fresh memory of the host, ours, between two guard pages; NULL: there is none. */
void *engine_own_memory(size_t bytes);
/* Unmaps all that is ours, with its guards, but for the range that begins at keep (NULL: nothing is kept). Nothing is ours after it. */
void engine_unmap_own(const void *keep);

static inline void engine_take(void) { engine_lock_take(&engine.lock); }
static inline bool engine_drop(void) { return engine_lock_drop(&engine.lock); }

/* arena.c */
extern const struct machine_ops live_ops;
/* Zone of as many frames as the budget may ever have, few of them online. 0 or -errno. */
int arena_init(void);
/* Registers the homes, where pages can be moved. 0 or -errno. */
int arena_register(void);
/* Brings n more frames online, as far as there are any. Lock held. Returns how many. */
uint64_t arena_online(uint64_t n);
/* Takes n free frames out and gives their memory back to the host. Lock held. Returns how many. */
uint64_t arena_offline(uint64_t n);
/* Gives the host n pages or more that free frames have at home, as far as there are any. Lock held, given up inside. Returns how many. */
uint64_t arena_give_back(uint64_t n);

/* handler.c */
void handler_run(void *arg);
/* Follows the changes of the address space that have been read. Handler, lock not held. */
void handler_follow(void);
/* Waits for all swap-ins that are on their way. Handler, lock not held. */
void handler_settle(void);

/* inbox.c: all for the handler, if nothing else is said. */
/* Sleeps until the kernel has a message, or a swap-in that is on its way gets on. */
void inbox_wait(void);
/* Takes the messages that wait, without sleeping; false: none. Any lock but the gate may be held. */
bool inbox_receive(void);
/* The oldest change that was read and is not followed yet, or NULL; and: it is followed now. */
const struct uffd_msg *inbox_change(void);
void inbox_change_done(void);
/* Takes the oldest fault; false: none. */
bool inbox_fault(struct uffd_msg *msg);
void inbox_forget_faults(void);
/* Pager with the gate held, or handler: a change within [start, end) was read and is not followed yet. */
bool inbox_changing(uint64_t start, uint64_t end);
/*
 * Program threads, around a system call that takes memory away from an address
 * or puts other memory there. Waits while the engine moves pages that others wait for (microseconds)
 * or a fork goes on. Signals are blocked in between; their mask is kept in *signals.
 */
void change_announce(uint64_t *signals);
void change_over(const uint64_t *signals);
/* Who holds changes off. */
enum change_hold { HOLD_PAGER = 1, HOLD_HANDLER = 2, HOLD_DROP = 4 /* pager */, HOLD_ROOM = 8, HOLD_FORK = 16 /* handler */ };
/* Announced changes wait from now on, but for the one that may be under way. Handler, pager. */
void changes_hold(enum change_hold who);
void changes_let_go(enum change_hold who);
/* While they are held off: none is under way. */
bool changes_rest(void);
/*
 * try on [start, end), which the kernel has refused with -EAGAIN because of a change that is not read, is called until it is not refused
 * any more, while others are held off. -EAGAIN: so it was for a millisecond, or (handler) what was read concerns the range. Any lock
 * but the gate may be held by the handler, none by the pager.
 */
int64_t changes_await(uint64_t start, uint64_t end, int64_t (*try)(const void *ctx), const void *ctx);
/* host_protect among changes, as above. */
int changes_protect(uint64_t start, uint64_t len, bool on);
/* Handler, pager standing: announced changes wait from now on (HOLD_FORK), and those before are followed. */
void changes_settle(void);

/* filepart.c */
/* Of shared pages (statm), those that are ours to count, because others map them, too. Any one thread at a time. */
uint64_t file_part(uint64_t shared);

/* fileage.c */
/*
 * Pager: takes pages of files out of the page tables, once a second, to see which are used. mapped: how many are there now (statm).
 * Returns how many count: those that were used in the last second, or have been since. Pages.
 */
uint64_t fileage_look(uint64_t mapped, uint64_t now);
/* Around a call that unmaps files by itself: nothing is taken out meanwhile. Any thread. */
void fileage_hold(void);
void fileage_release(void);

/* native.c */
/* A program thread is about to have bytes more of writable memory. False: beyond what was allowed, look again. Any thread. */
bool native_account(uint64_t bytes);
/* NATIVE: the exact look at the kernel's books; false: the budget does not cover it. One thread at a time. */
bool native_look(void);
/*
 * Has the program come to clearly more writable memory since the last look than it has counted? Asks the kernel at most every 10 ms, and
 * says so more and more seldom. Any thread.
 */
bool native_grew_unseen(void);
/* ARMED: fences what was not touched of large areas, if it is not covered. ENGAGED: as native_scan. Lock held. */
void native_find_unseen(void);
/* NATIVE: the books may count what is gone again, or the run is short. Any thread. */
bool native_is_loose(void);
/* NATIVE: an exact look; if the run is short, what the process neither has nor may come to soon goes back. One thread at a time. */
void native_settle(void);
/* ENGAGED: manages every area that the kernel shows and the manager lacks. Lock held. */
void native_scan(void);
/* A fenced page was touched (ARMED): opens a window, or engages. Lock held. */
void native_trip(vpn_t vpn);
/* ARMED → ENGAGED. Lock held. */
void native_engage(void);
/* A new range of the program: fence it, leave it native, or manage it. Lock held. */
int native_mapped(uint64_t start, uint64_t len, bool writable);
/* [start, end) became usable (mprotect, mremap in place): the parts that are not known are treated as new. Lock held. */
int native_grown(uint64_t start, uint64_t end);
/* [start, end) is to be one area of the kernel's: what is native in it, a window or too small to matter, is fenced or managed. Lock held. */
void native_join(uint64_t start, uint64_t end);
/* Counts what is present in [start, end) and not counted yet. fresh: the frames have not been used before. Lock held. 0 or -errno. */
int native_adopt(vpn_t start, vpn_t end, bool fresh);
/* Gives [start, end) back to the host, with everything in it present. Lock held, given up inside. 0 or -ENOMEM. */
int native_release(uint64_t start, uint64_t end);
/*
 * The same for memory that the host will make present at once, and makes room for it. whole_end: up to there it will be asked for
 * in steps. Lock held, given up inside. 0, or -ENOMEM: the process has not so much of the budget.
 */
int native_lock(uint64_t start, uint64_t end, uint64_t whole_end);

/* pager.c */
void pager_run(void *arg);
void pager_wake(void);
/* Stops the pager between batches; returns when it stands. Handler only. */
void pager_pause(void);
void pager_resume(void);
/* Pager, between two batches, lock not held: it may be the program's turn. */
void pager_give_way(void);
/* Writes the sizes to the ledger. Lock held. */
void pager_publish(void);
/* Whoever still waits for a fault tries again. Lock held. */
void pager_wake_waiting(void);
/* Lock held, pages: what the process has of the budget in use; and what it has online beyond what the budget allows. */
uint64_t pager_used(void);
uint64_t pager_excess(void);

/* share.c: pager, lock not held. */
#define SHARE_URGENT 1000 /* thousandths: the urgency of who has less than he needs */
/* What we do with our grant. */
struct share_use {
	uint64_t needed; /* pages that we cannot do without */
	uint64_t idle;   /* frames that nobody has touched, beyond those that are kept free for the next faults */
	bool asleep;     /* there was no fault for a while */
};
/* Gives and takes by how the others fare. Five times a second. */
void share_look(struct share_use use);
/* A process of a tree that has so many pages has most of a run that gets short. Any thread. */
bool share_is_hoard(uint64_t pages);
/* An even part of the budget, pages. Any thread. */
uint64_t share_even(void);
/*
 * want pages for a process that is about to have an engine. If they are not free the run is overdrawn for them, as far as it may be, and those
 * who have something to spare are waited for, a quarter of a second at most. Any thread.
 */
void share_begin(uint64_t want);
/* Up to want pages of what is free, but not of what is left for processes that start, unless we are one. Any thread. */
void share_take(uint64_t want);
/* Somebody has less than he needs, perhaps ourselves: there is no time to lose. */
bool share_is_urgent(void);
/* Much has come free, and we have use for it. */
bool share_has_come_free(void);
/* What the process has come to need since it promised, `needed` pages with all, comes first: the promise is cut down to what is beyond. Lock held. */
void share_break_promise(uint64_t needed);
/* What has been promised is given, if the online frames are down to the target, or have had long enough. */
void share_keep_promise(uint64_t online, uint64_t target);

/* oom.c: handler, when it has no frame and reclaim finds none. */
/* True: try again; the supervisor may end another process meanwhile. False: nobody helps, the program is out of room. */
bool oom_wait(void);
/* Frames have come, from wherever: nobody needs to be ended for us. */
void oom_relieved(void);

/* bell.c */
enum bell_op {
	BELL_MAPPED,   /* a: address, b: bytes, c: enum bell_mapped */
	BELL_ROOM,     /* for what a child will have */
	BELL_FREEZE,
	BELL_THAW,
	BELL_UNMANAGE, /* a: start, b: end */
	BELL_JOIN,     /* a: address, b: bytes */
	BELL_LOCK,     /* a: start, b: end, c: end of the whole */
	BELL_UNSEEN,   /* for what was mapped and not counted */
};
enum bell_mapped { BELL_WRITABLE = 1, BELL_GROWN = 2 /* parts of it may be known */ };
int bell_init(void);
int bell_register(void);
/* A request of a program thread to the handler; returns its result. The engine must be ARMED or ENGAGED. */
int64_t bell_ring(enum bell_op op, uint64_t a, uint64_t b, uint64_t c);
bool bell_contains(uint64_t address);
/* Handler: the bell at address was rung. Lock not held. */
void bell_serve(uint64_t address);
/* Makes bells that have been rung ready again. Any task. */
void bell_rearm(void);
/* Before a fork: its end can be rung. */
void bell_arm_thaw(void);
/* Requests that came during a fork come again. */
void bell_wake(void);

/* fork.c */
/* Program thread, before anything of a fork is locked: waits until there is room for what the child has from the beginning. */
void fork_make_room(void);
/* Handler: how many pages are still to be evicted for it, 0: none, or no more can be. begin: of another fork. */
int64_t fork_room(bool begin);
/* Pager: what the process needs comes first, `needed` pages with all. Lock held. */
void fork_room_break(uint64_t needed);
/* Pages still to be evicted for the room that is being made, which ends at 0: there are none, or no more can be. Lock held. */
uint64_t fork_room_left(void);
/* Handler: true: the fault is to be left alone, its access is woken when the room is made. Lock held. */
bool fork_postpones(uint64_t now);
/* uid, gid: the effective ones of the thread that forks. */
int64_t fork_freeze(uint32_t uid, uint32_t gid);
int64_t fork_thaw(void);
/* Frozen: serves a fault without changing the manager. Lock held. */
void fork_serve(vpn_t vpn);
/* In the child, before anything of the program runs. */
void fork_child(void);
/* After it, in a child whose parent had no engine: its part of the budget. */
void fork_take_part(void);
/* In a child: the slot of its parent; NULL: that has gone. */
struct ledger_slot *fork_parent(void);
/* The process maps memory, or faults: if it is a child, it is none that soon calls exec or ends. */
void fork_lives(void);
/* A new image, before anything in the slot is changed. */
void fork_execed(void);
/* The process is about to end. */
void fork_ends(void);
/* Pager: the process is a child that will soon call exec or end, as far as one can know: it is to do no work for its memory. */
bool fork_is_fleeting(uint64_t now);

/* inherit.c */
/* In a child without an engine, before anything of the program runs: its part of the budget, or an engine. */
void inherit_part(const struct ledger_slot *parent);
/* Instead of counting what is present in [start, end): protects it. 0 or -errno. */
int inherit_area(vpn_t start, vpn_t end);
/* Handler, a write to a protected page: takes some inherited pages over. False: it is to be served as any fault. Lock held. */
bool inherit_window(vpn_t vpn);
/* In a child after fork, everything registered: what its parent has inherited it has, too. */
void inherit_again(void);
/* Pager, lock not held: if the parent does not count what it has any more, we do, as far as there are frames. */
void inherit_tick(void);
/* Pager, lock not held: how many pages the process has that it does not count. */
uint64_t inherit_look(void);

/* stores.c: lock held, if nothing else is said. */
/* A new image, whether it will start the engine or not: what the old one had on servers is free for others. */
void stores_execed(void);
/* At start. 0 or -errno; a file that cannot be opened is no error. */
int stores_open(void);
/* Appends the descriptors that the tasks are to keep, SWAP_SPECS at most. Returns how many. */
unsigned stores_descriptors(int *fds);
/* What is to be polled while swap-ins are on their way, SWAP_SPECS at most, and for how long (monotonic ns, lowered). Returns how many. Handler, no lock. */
unsigned stores_poll(struct pollfd *fds, uint64_t *until);
/* Pages of memory that the books of the stores take outside of the arena. */
uint64_t stores_own_pages(void);
/* So many frames may be the pool's, or fewer if the user says so. */
void stores_limit_pool(uint64_t frames);
/* What is in them, to the ledger. */
void stores_publish(void);
/* A page cannot be read back: says so and ends the program. */
void stores_lost(vpn_t vpn, unsigned area, uint64_t slot, int err) __attribute__((noreturn));
/* That nothing more fits into any of them. */
void stores_tell(struct fmt *f);
/* fork, before the copy; and in the child, with the parent's handler alive. */
void stores_share(void);
/* Who is no longer the same user opens the files without a name through /proc. */
void stores_open_to_all(void);
int stores_inherit(int parent_pid, int parent_handler);
/* When all are full: how long to wait for one to get room, ns. */
uint64_t stores_patience_ns(void);
/* Pager, every now and then. */
void stores_tick(uint64_t now);

/* ahead.c: pages are compressed by the launcher, on another CPU, if it is ready to. */
void ahead_init(void);

/* cpu.c */
/* Handler: thread tid has faulted at now (ns, monotonic); moves itself and others to where they serve it best. */
void cpu_follow(int tid, uint64_t now);
/* Pager, every now and then: lets the program go that does not fault any more. */
void cpu_tick(uint64_t now);
/*
 * Program thread, around calls that make a thread or a process, or ask for an affinity: its own is what it was,
 * and stays so until cpu_released.
 */
void cpu_release(void);
void cpu_released(void);
/* True: thread tid is pinned, and set is what it had before. */
bool cpu_affinity(int tid, cpu_set_t *set);
/* A program thread's TCB lies in [start, end). */
bool cpu_tcb_within(uint64_t start, uint64_t end);
/* A new image: what its predecessor in this process had before it was pinned. */
void cpu_attach(struct ledger_slot *slot);
/* A child after fork: the same. */
void cpu_child(const struct ledger_slot *parent);
/* Says where the kernel keeps the CPU number of a thread (rseq); NULL when the thread ends. */
void cpu_thread(int tid, const volatile uint32_t *cpu_id);
void cpu_init(void);

#endif
