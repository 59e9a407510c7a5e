#include "embed/memory.h"

#include <errno.h>

#include "base/sys.h"
#include "embed/error.h"

#define BUDGET_MIN (4 * MIB)
#define BYTES_MAX ((uint64_t)1 << 46)

static void memory_stats(struct stw_region *r, struct stw_stats *s)
{
	struct memory *mem = memory_of(r);
	const uint64_t *c = mem->counter;
	uint64_t signals;

	memory_enter(mem, &signals);
	*s = (struct stw_stats){
		.budget = mem->budget,
		.resident = mem->mm.rss << PAGE_SHIFT,
		.pool = mem->places.pool.store.stat.frames << PAGE_SHIFT,
		.out = mem->mm.swapents << PAGE_SHIFT,
		.pinned = mem->pinned << PAGE_SHIFT,
		.faults = c[VM_pgfault],
		.faults_zero = c[VM_pgminor],
		.faults_soft = c[VM_pgsoft],
		.faults_major = c[VM_pgmajfault],
		.pages_in = c[VM_pswpin],
		.pages_out = c[VM_pswpout],
		.wait_ns = c[VM_stall_ns],
		.errors = mem->errors,
	};
	for (unsigned i = 0; i < mem->m.swap.nr_areas; i++)
		s->errors += mem->m.swap.area[i].store->stat.errors;
	memory_leave(mem, &signals);
}

/* The addresses are gone, or were never known. */
static void memory_close(struct stw_region *r)
{
	struct memory *mem = memory_of(r);

	r->closing = true;
	if (mem->paging) {
		memory_pager_wake(mem);
		pthread_join(mem->pager, NULL);
	}
	server_stop(&r->server);
	region_memory_free((void *)(uintptr_t)r->start, r->mapped);
	places_close(&mem->places);
	memory_frames_free(mem);
	sys_munmap(mem, sizeof(*mem));
}

static const struct region_ops memory_ops = {
	.close = memory_close,
	.flush = memory_flush,
	.prefetch = memory_prefetch,
	.get = memory_get,
	.cold = memory_cold,
	.discard = memory_discard,
	.pin = memory_pin,
	.unpin = memory_unpin,
	.stats = memory_stats,
};

static int check(const struct stw_memory_config *c, const struct policy **policy)
{
	if (c->config_bytes != sizeof(*c))
		return error_set(-EINVAL, "config_bytes is %zu: start from STW_MEMORY_CONFIG", c->config_bytes);
	if (c->bytes == 0 || c->bytes > BYTES_MAX)
		return error_set(-EINVAL, "a region cannot have %zu bytes; 1 to %llu", c->bytes, (unsigned long long)BYTES_MAX);
	if (c->budget < BUDGET_MIN)
		return error_set(-EINVAL, "a budget of %zu bytes is too small; %llu at least", c->budget, (unsigned long long)BUDGET_MIN);
	*policy = c->policy == NULL ? &policy_second_chance : policy_find(c->policy);
	if (*policy == NULL || !(*policy)->sampled)
		return error_set(-EINVAL, "there is no policy \"%s\" for regions; see steward run --help", c->policy);
	return 0;
}

static int open_memory(struct memory *mem, const struct stw_memory_config *c, const struct policy *policy)
{
	int err = server_open(&mem->region.server);

	if (err == 0)
		err = region_map(&mem->region, c->bytes, PAGE_SIZE);
	if (err == 0)
		err = memory_frames(mem, policy);
	if (err == 0)
		err = places_open(&mem->places, &mem->m.swap, &mem->m.phys, c);
	if (err == 0)
		err = server_start(&mem->region.server, memory_fault, mem);
	if (err == 0)
		err = server_thread(&mem->pager, memory_pager, mem);
	mem->paging = err == 0;
	return err;
}

EXPORT struct stw_region *stw_memory_open(const struct stw_memory_config *config)
{
	const struct policy *policy = NULL;

	if (check(config, &policy) != 0)
		return NULL;
	struct memory *mem = (struct memory *)region_new(&memory_ops, sizeof(*mem));

	if (mem == NULL)
		return NULL;
	mem->homes.trash_fd = mem->homes.pagemap_fd = mem->places.file.fd = -1;
	mem->budget = config->budget;
	if (open_memory(mem, config, policy) == 0)
		return &mem->region;
	memory_close(&mem->region);
	return NULL;
}
