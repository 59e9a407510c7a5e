/* kswapd of one region: keeps free frames above LOW, so that a fault finds one. */
#include "embed/memory.h"
#include "live/clock.h"
#include "mm/reclaim/reclaim.h"

#define TICK_NS 100000000 /* 0.1 s: longest sleep; wake-ups come from frame_alloc, this is for what they missed */
#define TRY_AGAIN_TICKS 100 /* after writes have failed */

void memory_pager_wake(struct memory *mem)
{
	if (atomic_exchange(&mem->pager_word, 1) == 0)
		futex_wake(&mem->pager_word);
}

void memory_relax(struct memory *mem)
{
	uint32_t frames = atomic_load(&mem->frames_wanted);

	if (frames != 0 && phys_free_frames(&mem->m.phys, 0) >= frames) {
		atomic_store(&mem->frames_wanted, 0);
		futex_wake(&mem->frames_wanted);
	}
	engine_lock_drop(&mem->lock);
	sys_sched_yield();
	engine_lock_take(&mem->lock);
}

static bool closing(void *ctx)
{
	return ((struct memory *)ctx)->region.closing;
}

static void balance(struct memory *mem)
{
	engine_lock_take(&mem->lock);
	COUNT(&mem->m, kswapd_wake);
	uint64_t start = now_ns();
	int err = kswapd_balance(&mem->m, 0, closing, mem);

	atomic_store(&mem->hopeless, err != 0 ? atomic_load(&mem->hopeless) + 1 : 0);
	mem->counter[VM_kswapd_ns] += now_ns() - start;
	engine_lock_drop(&mem->lock);
	/* More will not come: who waits for frames need not wait any longer. */
	if (atomic_exchange(&mem->frames_wanted, 0) != 0)
		futex_wake(&mem->frames_wanted);
}

void *memory_pager(void *arg)
{
	struct memory *mem = arg;
	const struct timespec tick = { .tv_nsec = TICK_NS };

	for (unsigned round = 1; !mem->region.closing; round++) {
		if (atomic_load(&mem->pager_word) == 0)
			futex_wait(&mem->pager_word, 0, &tick);
		atomic_store(&mem->pager_word, 0);
		if (round % TRY_AGAIN_TICKS == 0) {
			engine_lock_take(&mem->lock);
			swap_try_again(&mem->m.swap);
			engine_lock_drop(&mem->lock);
		}
		balance(mem);
	}
	return NULL;
}
