/*
 * The physical memory of a region, and what the manager asks of an engine (mm/machine.h). It differs from the live engine's
 * (live/arena.c) in what it need not care for: nobody but us changes the range, its pages are plain
 * read-write ones, and fork does not share them, so they can always be moved, unless the kernel has pinned them.
 */
#include <errno.h>
#include <sys/mman.h>

#include "base/sys.h"
#include "embed/error.h"
#include "embed/memory.h"
#include "live/host.h"
#include "live/proc.h"

#define UNMAP_RUN 32
#define OWN_PAGES 64 /* stacks, working memory of the pool, books of files as far as they are touched */

static struct memory *of(struct machine *m) { return m->engine; }

static int frames_map(struct machine *m, struct mm *mm, vpn_t vpn, struct frame *const *frames, unsigned n, bool zero)
{
	(void)mm;
	return homes_map(&of(m)->homes, vpn_address(vpn), frames, n, zero);
}

/* Pages moved home, or -errno of the first. */
static int take_home(const struct homes *h, uint64_t address, struct frame *const *frames, unsigned n)
{
	uint64_t home = homes_of(h, frames[0]), len = (uint64_t)n << PAGE_SHIFT;
	int64_t moved = homes_move(h, home, address, len, UFFDIO_MOVE_MODE_DONTWAKE);

	if (moved == -EEXIST) {
		/* The home of a frame that is away holds nothing of value; a page placed as zeros left it populated. */
		homes_drop(h, home, n);
		moved = homes_move(h, home, address, len, UFFDIO_MOVE_MODE_DONTWAKE);
	}
	return moved > 0 ? (int)(moved >> PAGE_SHIFT) : (int)moved;
}

static int frames_unmap(struct machine *m, struct mm *mm, vpn_t vpn, struct frame *const *frames, unsigned n)
{
	const struct homes *h = &of(m)->homes;
	unsigned done = 0;

	(void)mm;
	while (done < n) {
		uint64_t address = vpn_address((vpn_t){ vpn.n + done });
		unsigned len = homes_contiguous(frames + done, MIN(n - done, UNMAP_RUN));
		int got = take_home(h, address, frames + done, len);

		if (got < 0 && len > 1)
			got = take_home(h, address, frames + done, 1);
		if (got < 0)
			return done > 0 ? (int)done : got;
		done += (unsigned)got;
	}
	return (int)done;
}

static void frames_wake(struct machine *m, struct mm *mm, vpn_t vpn)
{
	(void)mm;
	host_wake(of(m)->homes.prog_fd, vpn_address(vpn), PAGE_SIZE);
}

static void frames_wake_kswapd(struct machine *m, unsigned node)
{
	(void)node;
	memory_pager_wake(of(m));
}

static void frames_lock(struct machine *m) { engine_lock_take(&of(m)->lock); }
static void frames_unlock(struct machine *m) { engine_lock_drop(&of(m)->lock); }
static void frames_relax(struct machine *m) { memory_relax(of(m)); }

static const struct machine_ops frames_ops = {
	.map = frames_map,
	.unmap = frames_unmap,
	.wake = frames_wake,
	.wake_kswapd = frames_wake_kswapd,
	.lock = frames_lock,
	.unlock = frames_unlock,
	.relax = frames_relax,
};

/* Pauses of 1, 4, 16, 64 and 256 ms. */
static void wait_for_store(unsigned try)
{
	const struct timespec pause = { .tv_nsec = 1000000l << 2 * (try - 1) };

	sys_nanosleep(&pause, NULL);
}

_Static_assert(SWAP_TRIES == 6, "the pauses are for five more tries");

static int reserve(struct memory *mem)
{
	/* Slot tables: 16 bytes a page that is out, of each place. */
	mem->vm_bytes = MAX(ALIGN_UP(mem->region.mapped >> 6, PAGE_SIZE), 64 * MIB);
	mem->arena = region_memory(mem->nr_frames << PAGE_SHIFT);
	mem->table = region_memory(mem->nr_frames * sizeof(struct frame));
	mem->vm = region_memory(mem->vm_bytes);
	mem->spare = region_memory((HOMES_ZERO_PAGES + HOMES_TRASH_PAGES) * PAGE_SIZE);
	if (mem->arena == NULL || mem->table == NULL || mem->vm == NULL || mem->spare == NULL)
		return error_set(-ENOMEM, "no address space for a budget of %zu bytes", mem->budget);
	return 0;
}

static int make_homes(struct memory *mem)
{
	struct homes *h = &mem->homes;

	*h = (struct homes){
		.prog_fd = mem->region.server.uffd,
		.trash_fd = host_uffd_new(-1),
		.pagemap_fd = proc_open("/proc/self/pagemap"),
		.can_move = true,
		.start = (uint64_t)(uintptr_t)mem->arena,
		.frames = mem->table,
		.zeros = mem->spare,
		.trash = (uint64_t)(uintptr_t)mem->spare + HOMES_ZERO_PAGES * PAGE_SIZE,
		.counter = &mem->m.counter,
	};
	int err = MIN(h->trash_fd, 0);

	if (err == 0)
		err = MIN(h->pagemap_fd, 0);
	if (err == 0)
		err = host_uffd_api(h->trash_fd, UFFD_FEATURE_MOVE);
	if (err == 0)
		err = homes_register(h, mem->nr_frames);
	return err == 0 ? 0 : error_set(err, "cannot set up the frames of a region: %s", error_words(err));
}

static int make_machine(struct memory *mem, const struct policy *policy)
{
	struct machine *m = &mem->m;
	struct phys_zone_config zone = { .name = "Normal", .spanned = (uint32_t)mem->nr_frames };
	uint64_t vm = (uint64_t)(uintptr_t)mem->vm;
	int err = phys_init(&m->phys, mem->arena, mem->table, (uint32_t)mem->nr_frames, &zone, 1, NULL);

	if (err != 0)
		return err;
	/* As live/arena.c has it. */
	m->phys.watermark_scale_factor = 50;
	phys_online(&m->phys, (pfn_t){ 0 }, (uint32_t)mem->nr_frames);
	err = machine_init(m, &frames_ops, mem, mem->counter, vm, vm + mem->vm_bytes);
	if (err != 0)
		return err;
	m->vmalloc.vmap = homes_vmap;
	m->vmalloc.vunmap = homes_vunmap;
	m->vmalloc.ctx = &mem->homes;
	m->swap.wait = wait_for_store;
	m->gather = true;
	m->policy = policy;
	err = policy_init(m);
	if (err == 0)
		err = mm_init(&mem->mm, m);
	vpn_t start = vpn_of(mem->region.start);

	if (err == 0)
		err = mm_map(&mem->mm, start, (vpn_t){ start.n + (mem->region.mapped >> PAGE_SHIFT) }, VMA_READ | VMA_WRITE, NULL, 0);
	return err;
}

int memory_frames(struct memory *mem, const struct policy *policy)
{
	uint64_t pages = mem->budget >> PAGE_SHIFT;

	mem->homes.trash_fd = mem->homes.pagemap_fd = -1;
	if (pages > UINT32_MAX)
		return error_set(-ERANGE, "a budget of %zu bytes is more than a region can have", mem->budget);
	mem->nr_frames = pages - OWN_PAGES - DIV_ROUND_UP(pages * sizeof(struct frame), PAGE_SIZE);
	int err = reserve(mem);

	if (err == 0)
		err = make_homes(mem);
	if (err != 0)
		return err;
	err = make_machine(mem, policy);
	return err == 0 ? 0 : error_set(err, "a budget of %zu bytes is too small for the tables of the region", mem->budget);
}

void memory_frames_free(struct memory *mem)
{
	int const fds[] = { mem->homes.trash_fd, mem->homes.pagemap_fd };

	for (unsigned i = 0; i < ARRAY_SIZE(fds); i++)
		if (fds[i] >= 0)
			sys_close(fds[i]);
	region_memory_free(mem->arena, mem->nr_frames << PAGE_SHIFT);
	region_memory_free(mem->table, mem->nr_frames * sizeof(struct frame));
	region_memory_free(mem->vm, mem->vm_bytes);
	region_memory_free(mem->spare, (HOMES_ZERO_PAGES + HOMES_TRASH_PAGES) * PAGE_SIZE);
}
