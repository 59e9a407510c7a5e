/*
 * The modelled machine: mm/ with CPUs, TLBs, devices and a clock, driven by events of a trace.
 *
 * engine.c      memory, CPUs and stores of the machine; what mm/ asks of an engine
 * task.c        processes: their address spaces follow the trace; the OOM killer's victims
 * access.c      one touch: MMU, fault, reclaim when there is no frame
 * file.c        files, their bytes on the disk, shared memory without a name
 * content.c     loads and stores of bytes
 * check.c       the laws of it all
 * background.c  what runs besides programs: kswapd, the flusher, the timeline
 * device.c      how long a request of a disk takes
 * replay.c      a trace from beginning to end
 * foresight.c   when each touch of a trace comes again, for the policy that may know
 *
 * Time. Each CPU has a clock. Whoever runs on it moves it on: the program by its own time, the MMU, faults, direct
 * reclaim and devices waited for. kswapd has a clock a node. Events come in the order of the trace; between them
 * whatever is due in the background runs first. Everything is deterministic.
 */
#ifndef STW_SIM_ENGINE_H
#define STW_SIM_ENGINE_H

#include "base/hist.h"
#include "base/rand.h"
#include "mm/filemap.h"
#include "mm/reclaim/oom.h"
#include "mm/reclaim/reclaim.h"
#include "sim/config.h"
#include "sim/device.h"
#include "sim/foresight.h"
#include "sim/mmu.h"
#include "sim/trace.h"
#include "store/model.h"

#define SIM_TASK_NAME 32
#define SIM_ASIDS 65535 /* address-space numbers of the MMU: tasks at one time */
#define SIM_SOURCES_MAX 16
#define SIM_TASKS_MAX (SIM_SOURCES_MAX * TRACE_TASKS_MAX)
#define SIM_TASKS_SAMPLED 32
#define SIM_SAMPLES 512     /* of the timeline: when it is full, every other one goes */

enum sim_fault { SIM_MINOR, SIM_SOFT, SIM_COW, SIM_MAJOR, SIM_NR_FAULTS };

/* SIM_UNBORN: its parent had been killed when the trace forked it. */
enum sim_end { SIM_RUNS, SIM_EXITED, SIM_KILLED_OOM, SIM_KILLED_LOST, SIM_UNBORN, SIM_NR_ENDS };

/* Of a task, at the same moment as sim.sample of that index. */
struct sim_task_sample {
	uint64_t rss;              /* pages */
	uint64_t major;            /* faults until then */
};

struct sim_task {
	struct mm mm;              /* first */
	uint32_t number;           /* in the trace */
	uint16_t asid;
	uint8_t end;               /* enum sim_end */
	bool on_demand;            /* the trace never maps anything: whatever it touches is there */
	int oom_score_adj;         /* -1000 … 1000 */
	uint64_t cpus;             /* bit for each CPU that it has run on */
	uint32_t flushed;          /* sim.unmaps, when its translations were last dropped for reclaim */
	uint64_t touches, faults[SIM_NR_FAULTS], invalid;
	uint64_t rss_max;          /* pages */
	double own_ns;             /* its own time */
	double stall_ns;           /* in faults */
	struct sim_task_sample *sample; /* SIM_SAMPLES of them, if it is in sim.sampled; 0 before it was large */
	char name[SIM_TASK_NAME];
};

struct sim_cpu {
	struct mmu *mmu;
	struct sim_task *current;
	double now;                /* ns */
	double own_ns;             /* of it, the programs' own time */
	uint64_t shootdowns;       /* interrupts that it got */
};

struct sim_file {
	struct vm_file vm;         /* first */
	uint32_t number;           /* in the trace */
	double dirty_since;        /* ns */
	uint8_t **disk;            /* content mode: its pages; NULL: zeros */
	uint64_t nr_disk;
	struct sim_file *next_shm; /* in sim.shm */
	bool held;                 /* by an mmap under way */
	char name[64];
};

/* One line of the timeline. */
struct sim_sample {
	double now_ns;
	uint64_t touches, faults[SIM_NR_FAULTS], tlb_misses, scanned, swapped_in, swapped_out;
	uint64_t free[PHYS_NODES_MAX], charged, lists[4], sample, cached, dirty, tables, swap_used;
};

/* Why the OOM killer chose as it did, and when. */
struct sim_oom {
	uint32_t task;
	double now_ns;
	char text[400];
};

struct sim {
	struct sim_config config;
	struct machine m;
	uint64_t counter[VM_COUNTER_NR];
	/* Host memory behind it. */
	uint8_t *memory, *vm;
	struct frame *frames;
	uint32_t nr_frames;
	struct rand rand;
	uint64_t native;           /* pages that programs may come to before the manager is engaged; 0: it is */
	/* Who works now: a CPU's or kswapd's clock. */
	double *clock;
	uint64_t vpn_end;          /* pages that an address space may have */
	struct sim_cpu cpu[SIM_CPUS_MAX];
	struct {
		bool awake;
		double now;
	} kswapd[PHYS_NODES_MAX];
	double flusher_next;
	struct model_store store[SIM_SWAPS_MAX];
	struct sim_device swap_device[SIM_SWAPS_MAX], disk;
	/* By their numbers in the trace. */
	struct sim_task **task;
	uint32_t nr_tasks;
	struct sim_file **file;
	uint32_t nr_files;
	struct sim_file *shm;      /* shared anonymous memory: files without a number */
	uint16_t asids;            /* given out so far, some of them again: */
	uint16_t free_asid[SIM_ASIDS]; /* those of tasks that ended */
	uint32_t nr_free_asids;
	bool samples;              /* touches are samples: which of them write first is not known */
	bool own_time;             /* the trace whose turn it is says how long the program took by itself */
	struct hist fault_ns;      /* all faults */
	struct sim_oom *oom;
	uint32_t nr_oom;
	bool stopped;              /* nobody is left who could be killed, or late */
	double deadline;           /* the caller's, ns: nobody wants to know what comes after; 0: none */
	bool late;                 /* it was passed */
	uint64_t used_max;         /* frames of user pages, files and page tables, at the worst moment */
	struct sim_sample sample[SIM_SAMPLES];
	uint32_t nr_samples;
	double sample_every, sample_next;
	struct sim_task *sampled[SIM_TASKS_SAMPLED]; /* the largest that a sample ever met; NULL: none */
	uint64_t touches;
	uint64_t access;           /* events TRACE_ACCESS so far, counted while there is foresight */
	struct foresight foresight; /* policies that want it: the caller fills it before the replay */
	uint32_t unmaps;           /* steps of reclaim that have unmapped pages */
};

/* config has passed sim_config_check and is copied. NULL: *error says why (no memory, an unknown policy). */
struct sim *sim_create(const struct sim_config *config, struct sim_config_error *error);
void sim_destroy(struct sim *s);

/*
 * One event. 0, -ENOMEM (the host's), or -EINVAL: the event makes no sense here (a task that does not exist), *error
 * says what. Events of tasks that were killed are passed over.
 */
int sim_event(struct sim *s, const struct trace_event *e, const char **error);
/* The trace is over: what is due in the background still runs, the last sample is taken. */
void sim_finish(struct sim *s);

/*
 * n ≤ SIM_SOURCES_MAX whole traces, side by side: whichever has used less time goes on. 0 or -errno; *error says what
 * is wrong with trace *source, or made no sense.
 */
int sim_replay(struct sim *s, struct trace_reader *const *r, unsigned n, unsigned *source, struct trace_error *error);

/*
 * Content mode only: n bytes at an address of the task are read or written by its thread, page after page, with the touches
 * that this takes. 0; -EFAULT: the page that comes next may not be touched so; -ESRCH: the task has ended, perhaps
 * because memory was short; -ENOMEM, -EINVAL as sim_event.
 */
int sim_load(struct sim *s, struct sim_task *t, unsigned thread, uint64_t address, void *buf, size_t n);
int sim_store(struct sim *s, struct sim_task *t, unsigned thread, uint64_t address, const void *buf, size_t n);
/*
 * Content mode only: read(2) and write(2) of n whole pages. Returns how many there were (writes make the file longer), or
 * -ESRCH as above.
 */
long sim_pread(struct sim *s, struct sim_task *t, unsigned thread, struct sim_file *f, uint64_t pgoff, void *buf,
	       uint64_t n);
long sim_pwrite(struct sim *s, struct sim_task *t, unsigned thread, struct sim_file *f, uint64_t pgoff, const void *buf,
		uint64_t n);
/*
 * The bytes of a page on the disk, which may be changed while the page is not cached. NULL: beyond the end, no memory, or
 * not content mode.
 */
uint8_t *sim_file_disk(struct sim *s, struct sim_file *f, uint64_t pgoff);

/* Executes the laws of everything, those between structures as far as the host has memory for them. */
void sim_check(struct sim *s);

/* Elapsed time: the latest of the CPUs. */
double sim_now(const struct sim *s);

/* Between the files of this room. */

struct sim_task *sim_task(struct sim *s, uint32_t number);
struct sim_file *sim_file(struct sim *s, uint32_t number);
/* task.c: an event that changes an address space. */
int sim_task_event(struct sim *s, const struct trace_event *e, const char **error);
/* The machine is out of memory: somebody is killed. False: nobody can be. */
bool sim_oom(struct sim *s, bool global);
/* What the OOM killer knows of a task. */
void sim_oom_row(struct sim_task *t, struct oom_task *row);
/* RAM and swap, pages, that a shortage is about: the machine's; or a limit, and the swap that what is in it may fill. */
uint64_t sim_oom_total(const struct sim *s, bool global);
void sim_task_free_all(struct sim *s);
/* Room for entry `number` in an array of pointers. 0 or -ENOMEM. */
int sim_grow(void ***array, uint32_t *nr, uint32_t number);
/* file.c: TRACE_FILE; TRACE_READ, TRACE_WRITE, TRACE_FSYNC. */
int sim_file_event(struct sim *s, const struct trace_event *e);
int sim_file_io_event(struct sim *s, struct sim_task *t, const struct trace_event *e, const char **error);
/* Shared anonymous memory, held until it is mapped. NULL: the host has no memory. */
struct sim_file *sim_shm_make(struct sim *s, uint64_t pages);
/* What nobody maps any more, nor holds, is freed. */
void sim_shm_sweep(struct sim *s);
void sim_file_free_all(struct sim *s);
/* The page cache says so, whoever did it: write(2), or a store to a mapping. */
void sim_file_dirtied(struct vm_file *vm);
/* The bytes of a page that has just come into the cache, and of n cached pages that go to the disk. Content mode only. */
void sim_file_fill(struct sim *s, struct frame *frame);
void sim_file_write_back(struct sim *s, struct sim_file *f, uint64_t pgoff, unsigned n);
/* access.c */
/*
 * n touches of a page through the MMU: *pfn is the frame. 0; -EFAULT: it is left out; -ESRCH: the task was killed for
 * memory; -ENOMEM; -EINVAL: it faults for ever.
 */
int sim_touch(struct sim *s, struct sim_task *t, struct sim_cpu *c, vpn_t vpn, enum mmu_access how, uint64_t n,
	      pfn_t *pfn);
int sim_access(struct sim *s, struct sim_task *t, const struct trace_event *e, const char **error);
/*
 * The first of n ≥ 1 events, as far as they are touches by one thread: what sim_event does with them, faster. Returns how many;
 * 0: sim_event must do the first. *err is that of the last. What the first events from here on, fetched of them, will need
 * of the host's memory is asked for ahead.
 */
long sim_access_row(struct sim *s, const struct trace_event *e, long n, long fetched, const char **error, int *err);
/* Runs what is waiting for memory (a function that returns FAULT_NOMEM) until it gets it or the task is killed. False: killed. */
bool sim_make_room(struct sim *s, const struct sim_task *t, unsigned *tries);
/* Memory may never have been as full as now. */
static inline void sim_note_use(struct sim *s)
{
	s->used_max = MAX(s->used_max, s->m.charged + s->m.phys.nr_tables);
}
/* native.c: everything of it does nothing on machines that have no such time (memory.native), and afterwards. */
void sim_native_begin(struct sim *s);
/* Anonymous memory of the task's own is mapped. */
void sim_native_mapped(struct sim *s, struct sim_task *t, vpn_t start, vpn_t end);
/* A page of it that was not there is touched. */
void sim_native_touched(struct sim *s, struct sim_task *t, vpn_t vpn);
/* It is over: memory is short. */
void sim_native_engage(struct sim *s);
/* background.c: everything that is due until now. */
void sim_background(struct sim *s, double now);
/* The program stands still until kswapd has brought free frames of the node to so many, or sleeps. */
void sim_wait_for_kswapd(struct sim *s, unsigned node, uint32_t frames);
/* engine.c: no CPU has a translation of these pages any more. */
void sim_flush_tlb(struct sim *s, struct sim_task *t, vpn_t vpn, uint64_t n);
/* Whatever follows happens on this CPU: its clock, and memory near it. */
void sim_on_cpu(struct sim *s, struct sim_cpu *c);
struct sim_cpu *sim_cpu_of(struct sim *s, const struct sim_task *t, unsigned thread);
/* The task runs there for so long, and nothing hinders it. */
static inline void sim_pass_own_time(struct sim_task *t, struct sim_cpu *c, double ns)
{
	c->now += ns;
	c->own_ns += ns;
	t->own_ns += ns;
}

#endif
