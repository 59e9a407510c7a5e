#include "sim.h"

#include <sys/mman.h>

#include "base/hash.h"

#define VM_BYTES (4 * MIB)
#define POISON 0xa7

struct sim *sim;

/* Content. */

static bool is_zero(const uint8_t *page)
{
	static const uint8_t zeros[PAGE_SIZE];

	return memcmp(page, zeros, PAGE_SIZE) == 0;
}

static bool promised(const struct sim_page *p)
{
	return !p->undefined && !p->busy;
}

void sim_write(unsigned page)
{
	uint64_t *words = (uint64_t *)sim->bytes[page], word = rand_u64(&sim->rand);
	unsigned random, kind = (unsigned)sim_below(8);

	ASSERT(sim->page[page].there);
	switch (kind) {
	case 0: word = 0; random = 0; break;
	case 1: random = 0; break;
	case 2: random = PAGE_SIZE / 8; break;
	default: random = (unsigned)sim_below(150);
	}
	for (unsigned i = 0; i < PAGE_SIZE / 8; i++)
		words[i] = word;
	for (unsigned i = 0; i < random; i++)
		words[i] = rand_u64(&sim->rand);
	memcpy(sim->want[page], words, PAGE_SIZE);
	sim->page[page].undefined = false;
}

void sim_read(unsigned page)
{
	ASSERT(sim->page[page].there && promised(&sim->page[page]));
	ASSERT(memcmp(sim->bytes[page], sim->want[page], PAGE_SIZE) == 0);
}

void sim_place(unsigned page, const uint8_t *bytes)
{
	ASSERT(!sim->page[page].there && sim->page[page].mapped);
	sim->page[page].there = true;
	sim->page[page].home = 0;
	memcpy(sim->bytes[page], bytes, PAGE_SIZE);
	ASSERT(!promised(&sim->page[page]) || memcmp(bytes, sim->want[page], PAGE_SIZE) == 0);
}

/* The contract. */

/* Why page i of a run cannot be placed, or 0. */
static int refusal(unsigned page)
{
	if (page >= SIM_PAGES || !sim->page[page].mapped)
		return -ENOENT;
	if (sim->page[page].there)
		return -EEXIST;
	/* The engine refuses what was read and is not followed; the kernel what is not read. */
	if (sim->page[page].busy || sim->changing > 0 || sim_chance(sim->map_again))
		return -EAGAIN;
	return sim_chance(sim->map_nomem) ? -ENOMEM : 0;
}

static int sim_map(struct machine *m, struct mm *mm, vpn_t vpn, struct frame *const *frames, unsigned n, bool zero)
{
	ASSERT(m == &sim->m && mm == &sim->mm && sim->locked && n >= 1);
	sim->map_calls++;
	for (unsigned i = 0; i < n; i++) {
		unsigned page = sim_index(vpn) + i;
		int err = refusal(page);

		if (err != 0 || (i > 0 && sim_chance(sim->map_short)))
			return i > 0 ? (int)i : err;
		ASSERT(!(frames[i]->flags & (FRAME_LOCKED | FRAME_BUDDY)) && frames[i]->refs == 1);

		uint8_t *home = frame_home(&m->phys, frames[i]);

		if (zero)
			memset(home, 0, PAGE_SIZE);
		ASSERT(!promised(&sim->page[page]) || memcmp(home, sim->want[page], PAGE_SIZE) == 0);
		memcpy(sim->bytes[page], home, PAGE_SIZE);
		memset(home, POISON, PAGE_SIZE);
		sim->page[page].home = frame_pfn(&m->phys, frames[i]).n + 1;
		sim->page[page].there = true;
		sim->woken(page);
	}
	return (int)n;
}

static int sim_unmap(struct machine *m, struct mm *mm, vpn_t vpn, struct frame *const *frames, unsigned n)
{
	ASSERT(m == &sim->m && mm == &sim->mm && !sim->locked && n >= 1);
	for (unsigned i = 0; i < n; i++) {
		unsigned page = sim_index(vpn) + i;
		struct sim_page *p = &sim->page[page];
		int err = 0;

		/* The program runs meanwhile, up to the moment at which the page goes. */
		if (sim->unlocked != NULL && sim_below(8) == 0)
			sim->unlocked();
		ASSERT((frames[i]->flags & FRAME_LOCKED) && (frames[i]->flags & FRAME_AWAY) &&
		       !(frames[i]->flags & FRAME_LRU));
		if (!p->there)
			err = -ENOENT;
		else if (p->pinned || sim_chance(sim->unmap_busy))
			err = -EBUSY;
		else if (sim_chance(sim->unmap_again))
			err = -EAGAIN;
		if (err != 0)
			return i > 0 ? (int)i : err;
		ASSERT(!promised(p) || memcmp(sim->bytes[page], sim->want[page], PAGE_SIZE) == 0);
		memcpy(frame_home(&m->phys, frames[i]), sim->bytes[page], PAGE_SIZE);
		sim->exchanged += p->home != 0 && p->home != frame_pfn(&m->phys, frames[i]).n + 1;
		memset(sim->bytes[page], POISON, PAGE_SIZE);
		p->there = false;
	}
	return (int)n;
}

static void sim_wake(struct machine *m, struct mm *mm, vpn_t vpn)
{
	ASSERT(m == &sim->m && mm == &sim->mm && sim->locked);
	sim->woken(sim_index(vpn));
}

static bool sim_discardable(struct machine *m, struct mm *mm, vpn_t vpn)
{
	ASSERT(m == &sim->m && mm == &sim->mm && sim->locked);
	return sim->page[sim_index(vpn)].dead;
}

static void sim_wake_kswapd(struct machine *m, unsigned node)
{
	ASSERT(m == &sim->m && node == 0);
	sim->kswapd_woken = true;
}

static void sim_lock(struct machine *m)
{
	ASSERT(m == &sim->m && !sim->locked);
	sim->locked = true;
}

static void sim_unlock(struct machine *m)
{
	ASSERT(m == &sim->m && sim->locked);
	sim->locked = false;
	if (sim->unlocked != NULL)
		sim->unlocked();
}

static void sim_relax(struct machine *m)
{
	sim_unlock(m);
	sim_lock(m);
}

static const struct machine_ops sim_ops = {
	.map = sim_map,
	.unmap = sim_unmap,
	.wake = sim_wake,
	.discardable = sim_discardable,
	.wake_kswapd = sim_wake_kswapd,
	.lock = sim_lock,
	.unlock = sim_unlock,
	.relax = sim_relax,
};

/* The helper: what the real one does elsewhere is done as soon as it begins. */

static void helper_begin(void *ctx, struct swap_io *io, unsigned n)
{
	ASSERT(ctx == sim && !sim->locked && n >= 1 && n <= SWAP_AHEAD);
	ASSERT(sim->helper.begun - sim->helper.ended < SWAP_AHEAD_BATCHES);
	unsigned batch = sim->helper.begun++ % SWAP_AHEAD_BATCHES;

	/* What was here has been used by now. */
	memset(sim->helper.packed[batch], POISON, sizeof(sim->helper.packed[0]));
	for (unsigned i = 0; i < n; i++) {
		uint8_t *packed = sim->helper.packed[batch][i];

		ASSERT((io[i].frame->flags & FRAME_LOCKED) && !(io[i].frame->flags & (FRAME_AWAY | FRAME_LRU)) && !io[i].looked);
		io[i].ticket = (uint8_t)(batch * SWAP_AHEAD + i);
		io[i].same = page_same(io[i].page, &io[i].word);
		io[i].hash = hash_page(io[i].page);
		io[i].packed_bytes = zcodec_compress(&sim->zpool.codec, packed, io[i].page);
		io[i].packed = io[i].same ? NULL : packed;
	}
}

static void helper_end(void *ctx, struct swap_io *io, unsigned n)
{
	ASSERT(ctx == sim && !sim->locked && sim->helper.ended < sim->helper.begun);
	unsigned batch = sim->helper.ended++ % SWAP_AHEAD_BATCHES;

	for (unsigned i = 0; i < n; i++) {
		/* In order, and unchanged since. */
		ASSERT(io[i].ticket == batch * SWAP_AHEAD + i && io[i].hash == hash_page(io[i].page));
		ASSERT(io[i].frame->flags & FRAME_LOCKED);
		io[i].looked = !sim_chance(sim->helper.fails);
		sim->helper.done += io[i].looked;
		if (!io[i].looked)
			io[i].hash = io[i].word = rand_u64(&sim->rand);
	}
}

void sim_add_helper(void)
{
	static struct swap_ahead ahead = { .begin = helper_begin, .end = helper_end };

	ahead.ctx = sim;
	sim->m.swap.ahead = &ahead;
}

void sim_count_wake(unsigned page)
{
	sim->woken_page = page;
	sim->woken_times++;
}

static void nobody_waits(unsigned page)
{
	(void)page;
}

/* Beginning and end. */

/* Most of it is never touched, so it comes from the host as it is needed. */
static void *zeroed(size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	ASSERT(p != MAP_FAILED);
	return p;
}

void sim_make(uint64_t seed, uint32_t frames, bool pool, unsigned disk_cells)
{
	sim_make_faulty(seed, frames, pool, disk_cells, 0, false);
}

void sim_make_faulty(uint64_t seed, uint32_t frames, bool pool, unsigned disk_cells, uint32_t rate, bool lasting)
{
	static const struct phys_zone_config zone = { .name = "Normal", .spanned = SIM_FRAMES };
	size_t work = zpool_work_bytes(ZPOOL_LZ4);

	sim = zeroed(sizeof(*sim));
	rand_seed(&sim->rand, seed);
	sim->frames = calloc(SIM_FRAMES, sizeof(struct frame));
	sim->map = aligned_alloc(PAGE_SIZE, SIM_FRAMES * PAGE_SIZE);
	sim->vm = zeroed(VM_BYTES);
	sim->work = aligned_alloc(64, ALIGN_UP(work, 64));
	sim->bytes = zeroed(SIM_PAGES * PAGE_SIZE);
	sim->want = zeroed(SIM_PAGES * PAGE_SIZE);
	sim->woken = nobody_waits;
	sim->locked = true;
	memset(sim->map, POISON, frames * PAGE_SIZE);

	uint64_t vm = (uint64_t)(uintptr_t)sim->vm;
	int err = phys_init(&sim->m.phys, sim->map, sim->frames, SIM_FRAMES, &zone, 1, NULL);

	sim->m.phys.min_free_kbytes = 256;
	phys_online(&sim->m.phys, (pfn_t){ 0 }, frames);
	sim->free_at_start = phys_free_frames(&sim->m.phys, 0);
	ASSERT(err == 0);
	err = machine_init(&sim->m, &sim_ops, sim, sim->counter, vm, vm + VM_BYTES);
	ASSERT(err == 0);
	if (pool) {
		err = zpool_init(&sim->zpool, &sim->m.phys, ZPOOL_LZ4, sim->work, work);
		ASSERT(err == 0);
		swap_add_area(&sim->m.swap, &sim->zpool.store, 100, 0, false);
	}
	if (disk_cells > 0) {
		sim->disk = fake_make(&sim->locked, disk_cells, false, seed);
		faulty_init(&sim->faulty, &sim->disk->store, seed, rate, lasting);
		swap_add_area(&sim->m.swap, rate > 0 ? &sim->faulty.store : &sim->disk->store, 50, 0, true);
	}
	err = mm_init(&sim->mm, &sim->m);
	ASSERT(err == 0);
}

void sim_end(void)
{
	mm_check(&sim->mm);
	mm_destroy(&sim->mm);
	ASSERT(sim->mm.rss == 0 && sim->mm.swapents == 0);
	for (unsigned i = 0; i < NR_LRU; i++)
		ASSERT(sim->m.lruvec[0].nr[i] == 0);
	bool pool = sim->m.swap.nr_areas > 0 && sim->m.swap.area[0].store == &sim->zpool.store;

	machine_destroy(&sim->m);
	if (pool)
		sim->zpool.store.ops->destroy(&sim->zpool.store);
}

void sim_free(void)
{
	free(sim->disk);
	munmap(sim->want, SIM_PAGES * PAGE_SIZE);
	munmap(sim->bytes, SIM_PAGES * PAGE_SIZE);
	munmap(sim->vm, VM_BYTES);
	free(sim->work);
	free(sim->map);
	free(sim->frames);
	munmap(sim, sizeof(*sim));
	sim = NULL;
}

void sim_drop(void)
{
	sim_end();
	phys_check(&sim->m.phys);
	ASSERT(phys_free_frames(&sim->m.phys, 0) == sim->free_at_start);
	sim_free();
}

/* The laws. */

void sim_check_page(unsigned page, bool frozen)
{
	struct sim_page *p = &sim->page[page];
	static uint8_t bytes[PAGE_SIZE] __attribute__((aligned(4096)));
	pte_t pte = sim_pte(page);

	if (p->busy)
		return;
	if (!p->mapped) {
		ASSERT(pte_is_none(pte) && vma_find(&sim->mm.vmas, sim_vpn(page)) == NULL);
		return;
	}
	ASSERT(vma_find(&sim->mm.vmas, sim_vpn(page)) != NULL);
	if (!pte_is_none(pte) && !pte_is_swap(pte) &&
	    (pfn_frame(&sim->m.phys, pte_pfn(pte))->flags & FRAME_LOCKED))
		return;
	if (p->there) {
		/* Not counted yet, or present; in one place only. */
		ASSERT(frozen || pte_is_none(pte) || pte_is_present(pte));
		ASSERT(p->undefined || memcmp(sim->bytes[page], sim->want[page], PAGE_SIZE) == 0);
		return;
	}
	if (p->undefined)
		return;
	/* On its way: nobody else reads it. */
	if (pte_is_swap(pte) && (swap_slot_of(&sim->m.swap, pte_swp(pte))->flags & SLOT_READING))
		return;
	int got = mm_peek(&sim->mm, sim_vpn(page), bytes);

	if (got == 1)
		ASSERT(memcmp(bytes, sim->want[page], PAGE_SIZE) == 0);
	else
		/* -EEXIST: the entry says present, but the page was dropped by the kernel, and reads as zeros next time. */
		ASSERT((got == 0 || got == -EEXIST) && is_zero(sim->want[page]));
}
