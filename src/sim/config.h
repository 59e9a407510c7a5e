/*
 * What a modelled machine is made of. Machine files (YAML) fill it in: docs/machine-files.md has the keys, their units
 * and defaults; config.c the one table of them.
 */
#ifndef STW_SIM_CONFIG_H
#define STW_SIM_CONFIG_H

#include "base/types.h"
#include "mm/phys/phys.h"
#include "mm/space/pagetable.h"

#define SIM_CPUS_MAX 64
#define SIM_TLBS_MAX 8  /* of one CPU */
#define SIM_PWCS_MAX 4
#define SIM_SWAPS_MAX 8
#define SIM_NAME_MAX 64

enum sim_replacement { SIM_LRU, SIM_PLRU, SIM_RANDOM, SIM_NR_REPLACEMENT };

/* What a TLB holds: bits. */
enum sim_tlb_holds {
	SIM_TLB_4K = 1 << 0,
	SIM_TLB_2M = 1 << 1,
	SIM_TLB_DATA = 1 << 2,
	SIM_TLB_CODE = 1 << 3,
};

struct sim_tlb_config {
	char name[SIM_NAME_MAX];
	uint8_t level;            /* 1 or 2 */
	uint8_t holds;            /* enum sim_tlb_holds */
	uint8_t replacement;
	uint32_t entries;         /* power of two times ways */
	uint32_t ways;            /* 0 or entries: fully associative */
	double hit_ns;            /* of a hit here, on top of the level before */
};

struct sim_pwc_config {
	uint8_t level;            /* 1: entries that point to a leaf table (PDE cache), 2: PDPTE, 3: PML4E, 4: PML5E */
	uint32_t entries, ways;
};

/* Where kswapd runs. */
enum sim_kswapd {
	SIM_KSWAPD_OWN,   /* beside the programs, on a CPU of its own */
	SIM_KSWAPD_FIRST, /* on the CPU of the program that wakes it, which goes on when it is done */
	SIM_KSWAPD_LAST,  /* there, too, but only while a fault waits for it */
	SIM_NR_KSWAPD,
};

enum sim_swap_kind { SIM_SWAP_COMPRESSED, SIM_SWAP_DISK, SIM_SWAP_REMOTE, SIM_NR_SWAP_KINDS };

struct sim_swap_config {
	uint8_t kind;
	uint64_t size_bytes;      /* capacity; 0: as much as fits (compressed) */
	int prio;
	double ratio;             /* compressed: 4096 / mean packed size; 0: none */
	bool in_memory;           /* compressed: packed pages take frames, and count in a limit; false: as zram in a cgroup */
	uint64_t read_ns, write_ns;   /* latency of one request, or compression and decompression of one page */
	uint64_t bandwidth_bytes;     /* per second; 0: unlimited */
	uint32_t queue_depth;         /* requests that the device serves at once */
};

struct sim_zone_config {
	char name[SIM_NAME_MAX];
	uint8_t node;
	uint64_t start_bytes, size_bytes;
	uint16_t reserve_ratio;
};

struct sim_config {
	char name[SIM_NAME_MAX];
	/* CPUs */
	uint32_t cpus;
	uint8_t cpu_node[SIM_CPUS_MAX];
	double access_ns;         /* the program's own time of one touch, in traces without TRACE_TIME */
	uint8_t kswapd;           /* enum sim_kswapd */
	bool asid;                /* TLB entries carry an address-space number; false: flushed on a switch of tasks */
	uint32_t nr_tlbs, nr_pwcs;
	struct sim_tlb_config tlb[SIM_TLBS_MAX];
	struct sim_pwc_config pwc[SIM_PWCS_MAX];
	double walk_step_ns;      /* one load of the hardware walker */
	/* Paging */
	uint8_t levels;           /* 1 to 5 */
	uint8_t bits[PT_LEVELS_MAX]; /* leaf first */
	bool thp;                 /* anonymous memory in 2 MiB pages where aligned ranges allow */
	/* Memory */
	uint32_t nr_nodes, nr_zones; /* nr_nodes follows from the zones */
	struct sim_zone_config zone[PHYS_ZONES_MAX]; /* addresses ascending */
	uint32_t nr_distances;    /* nr_nodes²; 0: none given, 10 to oneself and 20 to others */
	uint8_t distance[PHYS_NODES_MAX * PHYS_NODES_MAX]; /* [from * nr_nodes + to] */
	uint64_t native_bytes;    /* programs may come to so much before the manager is engaged; 0: it is from the start */
	uint64_t limit_bytes;     /* of a cgroup that all tasks are in; 0: none */
	bool limit_tables;        /* page tables count in it, as with Linux's cgroups */
	uint64_t limit_flush_ns;  /* statistics of the cgroup are so old at most; 0: exact (Linux: 2 s) */
	bool limit_files;         /* pages of files count in it; false: but for those that files have at first, which others had read before */
	/* Swap */
	uint32_t nr_swaps;
	struct sim_swap_config swap[SIM_SWAPS_MAX];
	/* Files: the one disk that they are on */
	uint64_t disk_read_ns, disk_write_ns, disk_bandwidth_bytes;
	uint32_t disk_queue_depth;
	/* vm: names as in /proc/sys/vm */
	char policy[SIM_NAME_MAX];
	bool accessed_bits;       /* false: reclaim samples by unmapping, as the live engine must */
	bool fault_young;         /* the access that faults counts as a use */
	bool flush_young;         /* clearing an accessed bit drops the translation from TLBs */
	uint32_t reclaim_batch;   /* pages that reclaim takes at once, and the target of direct reclaim */
	uint32_t swappiness;      /* 0 to 200 */
	uint32_t min_free_kbytes; /* 0: as Linux computes it */
	uint32_t watermark_scale_factor;
	uint32_t page_cluster;    /* swap read-ahead of 2^n pages */
	uint32_t readahead_kb;    /* of files */
	uint32_t dirty_background_ratio; /* per cent */
	uint64_t dirty_expire_ns, dirty_writeback_ns;
	/* Costs of the kernel's work, ns */
	uint64_t minor_ns, major_ns, soft_ns, cow_ns; /* a fault, less devices */
	uint64_t scan_ns, unmap_ns;                   /* reclaim: a page looked at, a page unmapped */
	uint64_t shootdown_ns;                        /* one interrupt of another CPU */
	/* Other */
	uint64_t seed;
	bool content;             /* frames carry bytes: for tests */
};

/* An 8 GiB laptop: every key's default. */
void sim_config_default(struct sim_config *c);

struct sim_config_error {
	unsigned line;            /* 1 up; 0: not of a line */
	char text[240];           /* "memory.zones[1].size: not a size; write it as 512M or 1.5G" */
};

/*
 * Reads a machine file to its end (at most 256 KiB). What it does not say stays as it is in *c; a list that it gives
 * takes the place of the whole list. 0, -EINVAL (what was written), -ENOMEM or -errno of reading; *error is filled
 * then, and *c is what it was. Includes sim_config_check.
 */
int sim_config_read(struct sim_config *c, int fd, struct sim_config_error *error);
/*
 * One "key=value", keys joined by dots as in "vm.swappiness=10", "swap[0].size=2G", "paging.bits=[10, 10]"; the value
 * is YAML. An index one past the end makes a new entry. 0, -EINVAL or -ENOMEM; *c is what it was if it fails.
 * Several may belong together, so the caller calls sim_config_check when all are set.
 */
int sim_config_set(struct sim_config *c, const char *assignment, struct sim_config_error *error);
/* Rules between keys (zones that overlap, no memory, ways that do not divide entries). 0 or -EINVAL. */
int sim_config_check(const struct sim_config *c, struct sim_config_error *error);
/* Writes all keys as a machine file that reads back to the same. 0 or -errno. */
int sim_config_write(const struct sim_config *c, int fd);

/* Bytes of all zones. */
uint64_t sim_config_memory(const struct sim_config *c);
/*
 * The same machine with so much memory, whole pages of it: less ends earlier, more goes to the highest zone of each node.
 * 0, or -EINVAL with *error filled and *c as it was: a node would have nothing, or it ends above 16 TiB.
 */
int sim_config_resize(struct sim_config *c, uint64_t bytes, struct sim_config_error *error);

/* A row of the table of keys, for help and documents. Static texts but for value. */
struct sim_config_key {
	const char *list;         /* of whose entries it is a key: "memory.zones"; NULL: of none */
	const char *path;         /* "vm.swappiness", "size" */
	char value[96];           /* what may stand there: "0 to 200" */
	const char *def;          /* default as it is written; NULL: must be given */
	const char *doc;
};

/* The n-th row, from 0; false: there are no more. */
bool sim_config_key(unsigned n, struct sim_config_key *key);

/* Preset n of a CPU (key cpu.preset), from 0; false: there are no more. */
struct sim_cpu_preset {
	const char *name;
	const char *cpu;          /* what it is of */
	const char *source;       /* where its figures are from, and when they were read */
};

bool sim_cpu_preset(unsigned n, struct sim_cpu_preset *preset);

#endif
