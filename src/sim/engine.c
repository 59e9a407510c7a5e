/*
 * A machine for mm/ to run on: see engine.h.
 *
 * Memory is a reserved mapping of the host, as large as the machine; frame n's home is at n × 4096. Page tables, slabs
 * and slot tables live there, as in a kernel. Pages of programs have bytes only in content mode, so a machine of
 * 64 GiB costs the host its frame table and its tables, and those only as far as they are used.
 *
 * A frame is always at home: to map it is to write a page table entry. What remains of the engine's contract is to
 * forget translations and to keep time.
 */
#include "sim/engine.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/assert.h"

#define VM_BYTES (UINT64_C(8) << 30) /* address space for slot tables */

static struct sim *sim_of(struct machine *m)
{
	return m->engine;
}

static void nothing(struct machine *m)
{
	(void)m;
}

static int op_map(struct machine *m, struct mm *mm, vpn_t vpn, struct frame *const *frames, unsigned n, bool zero)
{
	(void)mm;
	(void)vpn;
	for (unsigned i = 0; zero && sim_of(m)->config.content && i < n; i++)
		memset(frame_home(&m->phys, frames[i]), 0, PAGE_SIZE);
	return (int)n;
}

static int op_unmap(struct machine *m, struct mm *mm, vpn_t vpn, struct frame *const *frames, unsigned n)
{
	struct sim_task *t = (struct sim_task *)mm;
	struct sim *s = sim_of(m);

	(void)frames;
	/* Linux flushes once for all pages that a step of reclaim has unmapped, and then everything (arch_tlbbatch_flush). */
	if (m->reclaiming && t->flushed != s->unmaps)
		sim_flush_tlb(s, t, (vpn_t){ 0 }, UINT64_C(1) << PT_VPN_BITS_MAX);
	else if (!m->reclaiming)
		sim_flush_tlb(s, t, vpn, n);
	t->flushed = s->unmaps;
	return (int)n;
}

void sim_flush_tlb(struct sim *s, struct sim_task *t, vpn_t vpn, uint64_t n)
{
	for (uint64_t left = t->cpus; left != 0; left &= left - 1) {
		struct sim_cpu *c = &s->cpu[__builtin_ctzll(left)];

		mmu_invalidate(c->mmu, t->asid, vpn, n);
		/* A CPU that runs another task will see to it when it comes back to this one: no interrupt. */
		if (c->current != t || &c->now == s->clock)
			continue;
		c->shootdowns++;
		*s->clock += (double)s->config.shootdown_ns;
	}
}

static bool op_accessed(struct machine *m, struct mm *mm, vpn_t vpn, pte_t *entry)
{
	if (!(entry->v & PTE_ACCESSED))
		return false;
	entry->v &= ~PTE_ACCESSED;
	/* On x86 no TLB is told: a translation that stays there sets no bit again until it is walked for anew. */
	if (sim_of(m)->config.flush_young)
		sim_flush_tlb(sim_of(m), (struct sim_task *)mm, vpn, 1);
	return true;
}

static void op_copy(struct machine *m, struct frame *to, const struct frame *from)
{
	if (!sim_of(m)->config.content)
		return;
	if (from != NULL)
		memcpy(frame_home(&m->phys, to), frame_home(&m->phys, from), PAGE_SIZE);
	else
		memset(frame_home(&m->phys, to), 0, PAGE_SIZE);
}

static void op_worked(struct machine *m, enum mm_work work, unsigned n)
{
	struct sim *s = sim_of(m);

	s->unmaps += work == MM_UNMAP;
	*s->clock += (double)n * (double)(work == MM_SCAN ? s->config.scan_ns : s->config.unmap_ns);
}

static uint64_t op_next_use(struct machine *m)
{
	const struct sim *s = sim_of(m);

	return s->access <= s->foresight.n && s->access > 0 ? s->foresight.next[s->access - 1] : UINT64_MAX;
}

static uint64_t op_now(struct machine *m)
{
	return (uint64_t)*sim_of(m)->clock;
}

static void op_wake(struct machine *m, struct mm *mm, vpn_t vpn)
{
	(void)m;
	(void)mm;
	(void)vpn;
}

static void op_wake_kswapd(struct machine *m, unsigned node)
{
	struct sim *s = sim_of(m);

	if (s->kswapd[node].awake)
		return;
	s->kswapd[node].awake = true;
	s->kswapd[node].now = *s->clock;
	COUNT(m, kswapd_wake);
}

static void op_file_read(struct machine *m, struct vm_file *file, uint64_t pgoff, unsigned n)
{
	struct sim *s = sim_of(m);

	(void)file;
	(void)pgoff;
	*s->clock = sim_device_request(&s->disk, *s->clock, false, (uint64_t)n << PAGE_SHIFT);
}

static void op_file_read_ahead(struct machine *m, struct vm_file *file, uint64_t pgoff, unsigned n)
{
	struct sim *s = sim_of(m);

	(void)file;
	(void)pgoff;
	sim_device_request(&s->disk, *s->clock, false, (uint64_t)n << PAGE_SHIFT);
}

static void op_file_fill(struct machine *m, struct frame *f)
{
	if (sim_of(m)->config.content)
		sim_file_fill(sim_of(m), f);
}

static void op_file_write(struct machine *m, struct vm_file *file, uint64_t pgoff, unsigned n)
{
	struct sim *s = sim_of(m);

	if (s->config.content)
		sim_file_write_back(s, (struct sim_file *)file, pgoff, n);
	sim_device_request(&s->disk, *s->clock, true, (uint64_t)n << PAGE_SHIFT);
}

#define OPS(accessed) \
	{ \
		.map = op_map, .unmap = op_unmap, .test_and_clear_accessed = accessed, .worked = op_worked, .now_ns = op_now, \
		.copy = op_copy, .file_read = op_file_read, .file_read_ahead = op_file_read_ahead, \
		.file_fill = op_file_fill, .file_write = op_file_write, .wake = op_wake, .wake_kswapd = op_wake_kswapd, .lock = nothing, \
		.unlock = nothing, .relax = nothing, \
	}

static const struct machine_ops ops_accessed = OPS(op_accessed);
static const struct machine_ops ops_sampled = OPS(NULL);

/* Pages go to a store or come from it. Whoever reads waits; writes to a device do not make anybody wait. */
static void store_moves(void *ctx, struct model_store *store, bool write, unsigned n)
{
	struct sim *s = ctx;
	size_t i = (size_t)(store - s->store);
	const struct sim_swap_config *c = &s->config.swap[i];

	if (c->kind == SIM_SWAP_COMPRESSED) {
		*s->clock += (double)n * (double)(write ? c->write_ns : c->read_ns);
		return;
	}
	double done = sim_device_request(&s->swap_device[i], *s->clock, write, (uint64_t)n << PAGE_SHIFT);

	if (!write)
		*s->clock = done;
}

static void *host_memory(uint64_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

static int make_memory(struct sim *s)
{
	const struct sim_config *c = &s->config;
	struct phys_zone_config zone[PHYS_ZONES_MAX];
	uint64_t end = 0;

	for (unsigned i = 0; i < c->nr_zones; i++) {
		const struct sim_zone_config *z = &c->zone[i];

		zone[i] = (struct phys_zone_config){
			.name = z->name,
			.node = z->node,
			.start = { (uint32_t)(z->start_bytes >> PAGE_SHIFT) },
			.spanned = (uint32_t)(z->size_bytes >> PAGE_SHIFT),
			.reserve_ratio = z->reserve_ratio,
		};
		end = MAX(end, z->start_bytes + z->size_bytes);
	}
	s->nr_frames = (uint32_t)(end >> PAGE_SHIFT);
	s->memory = host_memory(end);
	s->frames = host_memory((uint64_t)s->nr_frames * sizeof(struct frame));
	s->vm = host_memory(VM_BYTES);
	if (s->memory == NULL || s->frames == NULL || s->vm == NULL)
		return -ENOMEM;
	int err = phys_init(&s->m.phys, s->memory, s->frames, s->nr_frames, zone, c->nr_zones,
			    c->nr_distances != 0 ? c->distance : NULL);

	if (err != 0)
		return err;
	s->m.phys.min_free_kbytes = c->min_free_kbytes;
	s->m.phys.watermark_scale_factor = c->watermark_scale_factor;
	for (unsigned i = 0; i < c->nr_zones; i++)
		phys_online(&s->m.phys, zone[i].start, zone[i].spanned);
	return 0;
}

static int make_swap(struct sim *s)
{
	for (unsigned i = 0; i < s->config.nr_swaps; i++) {
		const struct sim_swap_config *c = &s->config.swap[i];
		bool compressed = c->kind == SIM_SWAP_COMPRESSED;
		uint64_t pages = c->size_bytes >> PAGE_SHIFT;
		uint32_t packed = compressed && c->in_memory ? (uint32_t)(PAGE_SIZE / (c->ratio > 1 ? c->ratio : 1)) : 0;
		uint8_t *content = NULL;

		if (s->config.content) {
			pages = pages == 0 ? s->nr_frames * UINT64_C(4) : pages;
			content = host_memory((pages + 1 + SLOTS_PER_CHUNK) << PAGE_SHIFT);
			if (content == NULL)
				return -ENOMEM;
		}
		model_store_init(&s->store[i], &s->m.phys, compressed, packed, pages, content);
		s->store[i].moves = store_moves;
		s->store[i].ctx = s;
		sim_device_init(&s->swap_device[i], c->read_ns, c->write_ns, c->bandwidth_bytes, c->queue_depth);
		if (swap_add_area(&s->m.swap, &s->store[i].store, c->prio, pages, !compressed) < 0)
			return -ENOSPC;
	}
	return 0;
}

static int make_machine(struct sim *s)
{
	const struct sim_config *c = &s->config;
	uint64_t vm = (uint64_t)(uintptr_t)s->vm;
	struct machine *m = &s->m;
	int err = machine_init(m, c->accessed_bits ? &ops_accessed : &ops_sampled, s, s->counter, vm, vm + VM_BYTES);

	if (err != 0)
		return err;
	m->policy = policy_find(c->policy);
	m->pt_levels = c->levels;
	memcpy(m->pt_bits, c->bits, sizeof(m->pt_bits));
	m->vm.swappiness = c->swappiness;
	m->vm.reclaim_batch = c->reclaim_batch;
	m->vm.limit_tables = c->limit_tables;
	m->seed = c->seed;
	m->next_use = op_next_use;
	m->vm.page_cluster = c->page_cluster;
	m->vm.stats_flush_ns = c->limit_bytes != 0 ? c->limit_flush_ns : 0;
	if (c->limit_bytes != 0)
		m->limit = c->limit_bytes >> PAGE_SHIFT;
	m->swap.unchecked = true;
	m->pagecache.dirtied = sim_file_dirtied;
	m->streams = !c->accessed_bits;
	sim_native_begin(s);
	m->thp = c->thp && c->accessed_bits;
	if (c->accessed_bits) {
		m->zero = frame_alloc(&m->phys, 0, 0, MIGRATE_UNMOVABLE, ALLOC_RESERVE);
		if (m->zero == NULL)
			return -ENOMEM;
		if (c->content)
			memset(frame_home(&m->phys, m->zero), 0, PAGE_SIZE);
	}
	return policy_init(m);
}

static int make_cpus(struct sim *s)
{
	for (unsigned i = 0; i < s->config.cpus; i++) {
		s->cpu[i].mmu = mmu_create(&s->config, i);
		if (s->cpu[i].mmu == NULL)
			return -ENOMEM;
	}
	return 0;
}

struct sim *sim_create(const struct sim_config *config, struct sim_config_error *error)
{
	struct sim *s = calloc(1, sizeof(*s));
	int err = s == NULL ? -ENOMEM : 0;
	unsigned bits = 0;

	error->line = 0;
	if (policy_find(config->policy) == NULL) {
		snprintf(error->text, sizeof(error->text), "vm.policy: there is no policy %s", config->policy);
		free(s);
		return NULL;
	}
	if (!config->accessed_bits && !policy_find(config->policy)->sampled) {
		snprintf(error->text, sizeof(error->text), "vm.policy: %s needs accessed bits", config->policy);
		free(s);
		return NULL;
	}
	if (err == 0) {
		s->config = *config;
		/* From the beginning: a machine that is hardly large enough wakes kswapd while it is being made. */
		s->clock = &s->cpu[0].now;
		rand_seed(&s->rand, config->seed);
		sim_device_init(&s->disk, config->disk_read_ns, config->disk_write_ns, config->disk_bandwidth_bytes,
				config->disk_queue_depth);
		s->sample_every = s->sample_next = 1e6;
		s->flusher_next = (double)config->dirty_writeback_ns;
		for (unsigned i = 0; i < config->levels; i++)
			bits += config->bits[i];
		s->vpn_end = UINT64_C(1) << bits;
		err = make_memory(s);
	}
	if (err == 0)
		err = make_machine(s);
	if (err == 0)
		err = make_swap(s);
	if (err == 0)
		err = make_cpus(s);
	if (err == 0)
		return s;
	snprintf(error->text, sizeof(error->text), "%s", err == -ENOMEM ? "no memory for a machine of this size" : strerror(-err));
	sim_destroy(s);
	return NULL;
}

static void give_back(void *p, uint64_t bytes)
{
	if (p != NULL)
		munmap(p, bytes);
}

void sim_destroy(struct sim *s)
{
	if (s == NULL)
		return;
	sim_task_free_all(s);
	sim_file_free_all(s);
	for (unsigned i = 0; i < s->config.cpus; i++)
		mmu_destroy(s->cpu[i].mmu);
	for (unsigned i = 0; i < s->config.nr_swaps; i++)
		if (s->store[i].content != NULL)
			munmap(s->store[i].content, (s->store[i].capacity + 1 + SLOTS_PER_CHUNK) << PAGE_SHIFT);
	give_back(s->memory, (uint64_t)s->nr_frames << PAGE_SHIFT);
	give_back(s->frames, (uint64_t)s->nr_frames * sizeof(struct frame));
	give_back(s->vm, VM_BYTES);
	foresight_drop(&s->foresight);
	free(s->oom);
	free(s);
}

struct sim_cpu *sim_cpu_of(struct sim *s, const struct sim_task *t, unsigned thread)
{
	return &s->cpu[(t->number + thread) % s->config.cpus];
}

void sim_on_cpu(struct sim *s, struct sim_cpu *c)
{
	s->clock = &c->now;
	s->m.local_node = s->config.cpu_node[c - s->cpu];
}

double sim_now(const struct sim *s)
{
	double now = 0;

	for (unsigned i = 0; i < s->config.cpus; i++)
		now = MAX(now, s->cpu[i].now);
	return now;
}
