/*
 * A simulated host for the memory manager: user memory as an array of pages,
 * apart from the homes, and the engine's contract (machine.h) over it.
 *
 *   bytes[i]   what is at the address; valid while page[i].there
 *   home       in the direct map; poisoned as soon as the page has left it
 *   want[i]    the oracle: what the program must find
 *
 * The kernel's part is as in the live engine: it changes the address space
 * first, and the manager hears of it by events.
 */
#ifndef STW_TEST_SIM_H
#define STW_TEST_SIM_H

#include "../backing/fakestore.h"
#include "base/rand.h"
#include "mm/machine.h"
#include "mm/reclaim/reclaim.h"
#include "store/faulty.h"
#include "store/zpool.h"

#define SIM_PAGES 1536
#define SIM_BASE (1000 * 512 - 300) /* vpn of page 0: areas cross the borders of page table leaves */
#define SIM_FRAMES 800

struct sim_page {
	bool mapped;    /* the kernel has an area here */
	bool there;     /* a page is at the address */
	bool busy;      /* an event about it is on its way: the program keeps off, and nothing is promised */
	bool pinned;    /* cannot be taken away */
	bool dead;      /* freed by the heap */
	bool undefined; /* was dead: written before it is read */
	uint32_t home;  /* 1 + number of the frame whose home it left; 0: it came from elsewhere */
};

struct sim {
	struct machine m;
	struct mm mm;
	struct frame *frames;
	uint8_t *map, *vm, *work;
	uint64_t counter[VM_COUNTER_NR];
	struct zpool zpool;
	struct fake_store *disk;
	struct faulty_store faulty; /* around the disk, if it is to fail */
	struct rand rand;
	struct sim_page page[SIM_PAGES];
	uint8_t (*bytes)[PAGE_SIZE];
	uint8_t (*want)[PAGE_SIZE];
	bool locked;
	unsigned changing;       /* events of changes that nobody has read */
	uint32_t free_at_start;
	/* One call in so many is refused; 0: none. */
	unsigned map_again, map_nomem, map_short, unmap_busy, unmap_again;
	void (*unlocked)(void);  /* somebody else may run now; may be NULL */
	void (*woken)(unsigned page);
	unsigned woken_page, woken_times; /* sim_count_wake */
	bool kswapd_woken;
	uint64_t map_calls;
	uint64_t exchanged;      /* pages that came to another home than they had left */
	struct {
		unsigned fails;  /* one page in so many is left to others; 0: none */
		unsigned begun, ended; /* batches */
		uint64_t done;   /* pages */
		uint8_t packed[SWAP_AHEAD_BATCHES][SWAP_AHEAD][ZCODEC_MAX];
	} helper;
};

extern struct sim *sim;

/* frames online; pool: with a compressed pool; disk_cells: of a store below it, 0 for none. */
void sim_make(uint64_t seed, uint32_t frames, bool pool, unsigned disk_cells);
/* The same with a disk that fails for `rate` of a thousand pages; lasting: some of these faults are for good. */
void sim_make_faulty(uint64_t seed, uint32_t frames, bool pool, unsigned disk_cells, uint32_t rate, bool lasting);
/* For sim->woken: remembers the page, and how often. */
void sim_count_wake(unsigned page);
/* From now on the swap layer has a helper. There is a pool. */
void sim_add_helper(void);
/* Everything is given up; every frame and every slot must come back. The two steps of it: the manager ends, then the host. */
void sim_drop(void);
void sim_end(void);
void sim_free(void);

static inline uint64_t sim_below(uint64_t n) { return rand_below(&sim->rand, n); }
static inline bool sim_chance(unsigned one_in) { return one_in != 0 && sim_below(one_in) == 0; }
static inline vpn_t sim_vpn(unsigned page) { return (vpn_t){ SIM_BASE + page }; }
static inline unsigned sim_index(vpn_t vpn) { return (unsigned)(vpn.n - SIM_BASE); }
static inline pte_t sim_pte(unsigned page) { return pt_get(&sim->mm.pt, sim_vpn(page)); }

/* The program writes the page, which must be there: a repeated word, something that compresses, or noise. */
void sim_write(unsigned page);
/* The program reads the page, which must be there. */
void sim_read(unsigned page);
/* The kernel places a page that the manager does not know of, with the content that the program must find. */
void sim_place(unsigned page, const uint8_t *bytes);

/* The page is where the manager says, only there, and holds what it must. Lock held. frozen: copies may be at addresses. */
void sim_check_page(unsigned page, bool frozen);

#endif
