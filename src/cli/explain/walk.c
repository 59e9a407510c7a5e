/*
 * steward explain walk: how the hardware finds the frame of an address, entry by entry.
 *
 *      address ──► index of each level ──► TLB? ──► page-walk cache? ──► entries from the root to the leaf
 *
 * The tables are real ones: the engine of steward sim maps an area around each address and fills it, or rebuilds the
 * address space of a process as /proc shows it. Then the accessed and dirty bits of the entries are cleared, as kswapd
 * and write-back do, the TLBs are emptied, and the MMU of the model (sim/mmu.c) makes the accesses: a read, a read
 * again and a write, or of code a fetch. Shown is what they left behind: which counters moved, and the entries before
 * and after.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/explain/explain.h"
#include "cli/explain/picture.h"
#include "cli/procmaps.h"
#include "cli/explain/scene.h"
#include "cli/msg.h"
#include "cli/table.h"

#define TASK 1
#define AREA_PAGES 512            /* mapped around each address, unless --pages says otherwise */
#define AREA_PAGES_MAX 65536
#define RESIDENT_MAX ((size_t)1 << 20) /* of a process: 4 GiB */

enum kind { USER, KERNEL, NOT_CANONICAL };

static unsigned address_bits(const struct sim_config *c)
{
	unsigned bits = PAGE_SHIFT;

	for (unsigned i = 0; i < c->levels; i++)
		bits += c->bits[i];
	return bits;
}

/* 64-bit machines copy the highest bit that they translate into all above it; where it is 1 the kernel lives. */
static enum kind kind_of(const struct sim_config *c, uint64_t address)
{
	unsigned bits = address_bits(c);
	uint64_t high;

	if (bits >= 64)
		return USER;
	if (bits <= 32)
		return address >> bits == 0 ? USER : NOT_CANONICAL;
	high = address >> (bits - 1);
	if (high == 0)
		return USER;
	return high == UINT64_MAX >> (bits - 1) ? KERNEL : NOT_CANONICAL;
}

/*
 * The address space
 */

/* Pages are filled while everything is allowed; the area gets its rights afterwards. */
static int fill(struct sim *s, const struct vma *vma, const uint64_t *vpns, size_t nr)
{
	int err = 0;

	for (size_t i = 0; i < nr && err == 0; i++) {
		if (vpns[i] >= vma->start.n && vpns[i] < vma->end.n)
			err = scene_touch(s, TASK, (vpn_t){ vpns[i] }, TRACE_W);
	}
	return err;
}

static int map_around(struct sim *s, uint64_t address, uint64_t pages)
{
	struct mm *mm = &sim_task(s, TASK)->mm;
	uint64_t start = address >> PAGE_SHIFT, room = (uint64_t)1 << (address_bits(&s->config) - PAGE_SHIFT), n = 1;
	int err;

	while (n < pages)
		n *= 2;
	start = ALIGN_DOWN(start, n);
	pages = MIN(pages, room - start);
	if (vma_overlap(&mm->vmas, (vpn_t){ start }, (vpn_t){ start + pages }) != NULL || pages == 0)
		return 0;
	err = scene_map(s, TASK, (vpn_t){ start }, pages, TRACE_R | TRACE_W);
	for (uint64_t i = 0; i < pages && err == 0; i++)
		err = scene_touch(s, TASK, (vpn_t){ start + i }, TRACE_W);
	return err;
}

static unsigned rights_of(const struct proc_area *a)
{
	return (a->rights[0] == 'r' ? TRACE_R : 0) | (a->rights[1] == 'w' ? TRACE_W : 0) |
	       (a->rights[2] == 'x' ? TRACE_X : 0);
}

static int copy_area(struct sim *s, const struct proc_area *a, const uint64_t *vpns, size_t nr)
{
	vpn_t start = vpn_of(a->start);
	struct trace_event protect = { .op = TRACE_MPROTECT, .task = TASK, .vpn = start.n,
				       .n = (a->end - a->start) >> PAGE_SHIFT, .flags = (uint8_t)rights_of(a) };
	int err = scene_map(s, TASK, start, protect.n, TRACE_R | TRACE_W | TRACE_X);

	if (err == 0)
		err = fill(s, vma_find(&sim_task(s, TASK)->mm.vmas, start), vpns, nr);
	return err == 0 ? scene_event(s, &protect) : err;
}

/* Areas and pages are both ascending. */
static int copy_areas(struct sim *s, const struct proc_map *m, const uint64_t *vpns, size_t nr)
{
	size_t at = 0;
	int err = 0;

	for (unsigned i = 0; i < m->nr && err == 0; i++) {
		size_t first = at;

		while (at < nr && vpns[at] < m->areas[i].end >> PAGE_SHIFT)
			at++;
		if (kind_of(&s->config, m->areas[i].end - 1) != USER)
			return msg_fail(EXIT_USAGE, m->command,
					"it has addresses beyond this machine's; take one of more bits");
		err = copy_area(s, &m->areas[i], vpns + first, at - first);
	}
	return err;
}

static int copy_process(struct sim *s, const char *pid)
{
	struct proc_map m;
	uint64_t *vpns, frames = 0;
	size_t nr;
	int err = proc_map_read(&m, pid);

	if (err != 0)
		return err;
	err = proc_map_pages(&m, &vpns, &nr);
	for (unsigned node = 0; node < s->m.phys.nr_nodes; node++)
		frames += phys_managed_frames(&s->m.phys, node);
	if (err == 0 && (nr > RESIDENT_MAX || nr > frames / 2))
		err = msg_fail(1, m.command, "%s of it are resident, too much to rebuild; take a smaller one",
			       size_text(nr * PAGE_SIZE));
	else if (err == 0)
		err = copy_areas(s, &m, vpns, nr);
	if (err == 0) {
		printf("%s (process %u), rebuilt on %s: %zu pages in %u areas.\n", m.command, m.pid, s->config.name, nr,
		       m.nr);
		free(vpns);
	}
	proc_map_free(&m);
	return err;
}

/*
 * One address
 */

/* The entries on the way, as they are now. */
struct way {
	unsigned n;
	pte_t entry[PT_LEVELS_MAX];
	uint64_t at[PT_LEVELS_MAX]; /* physical addresses of them */
};

static void look(struct sim *s, vpn_t vpn, struct way *w)
{
	pte_t *steps[PT_LEVELS_MAX];

	w->n = pt_walk(&sim_task(s, TASK)->mm.pt, vpn, steps);
	for (unsigned i = 0; i < w->n; i++) {
		w->entry[i] = *steps[i];
		w->at[i] = (uint64_t)((const uint8_t *)steps[i] - s->m.phys.direct_map);
	}
}

/* As kswapd does on its way, and write-back for D. */
static void clear_bits(struct sim *s, vpn_t vpn)
{
	pte_t *steps[PT_LEVELS_MAX];
	unsigned n = pt_walk(&sim_task(s, TASK)->mm.pt, vpn, steps);

	for (unsigned i = 0; i < n; i++)
		if (pte_is_present(*steps[i]))
			steps[i]->v &= ~(PTE_ACCESSED | PTE_DIRTY);
}

static void show_indexes(const struct sim_config *c, uint64_t address)
{
	unsigned top = address_bits(c);

	printf("\n%#" PRIx64 "\n  level ", address);
	for (unsigned level = c->levels; level >= 1; level--)
		printf(" %8u", level);
	printf("   offset\n  bits  ");
	for (unsigned level = c->levels; level >= 1; level--) {
		char range[16];

		snprintf(range, sizeof(range), "%u-%u", top - 1, top - c->bits[level - 1]);
		printf(" %8s", range);
		top -= c->bits[level - 1];
	}
	printf("     11-0\n  index ");
	top = address_bits(c);
	for (unsigned level = c->levels; level >= 1; level--) {
		top -= c->bits[level - 1];
		printf(" %8" PRIu64, address >> top & (((uint64_t)1 << c->bits[level - 1]) - 1));
	}
	printf(" %8" PRIu64 "\n\n", address & (PAGE_SIZE - 1));
}

static void show_entries(const struct sim_config *c, const struct way *before, const struct way *after, unsigned loads)
{
	unsigned first = after->n - MIN(loads, after->n);

	if (after->n > 0)
		printf("     level           at             value\n");
	for (unsigned i = first; i < after->n; i++) {
		unsigned level = c->levels - i;

		printf("     %5u  %#11" PRIx64 "  %016" PRIx64 "  %s\n", level, after->at[i], after->entry[i].v,
		       scene_entry(after->entry[i], before->entry[i], level));
	}
}

/* What the MMU counted between two looks. */
static int moved(const uint64_t *before, const uint64_t *after, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		if (before[i] != after[i])
			return (int)i;
	return -1;
}

static void show_physical(uint64_t address, pfn_t pfn, double ns)
{
	uint64_t physical = (uint64_t)pfn.n << PAGE_SHIFT | (address & (PAGE_SIZE - 1));

	printf("     physical address %#" PRIx64 ", after %g ns\n", physical, ns);
}

/* The tables had it, or did not: what was read. */
static void show_walk(struct sim *s, vpn_t vpn, const struct way *before, const struct mmu_stat *was,
		      const struct mmu_stat *is, bool held)
{
	unsigned loads = (unsigned)(is->walk_loads - was->walk_loads);
	int pwc = moved(was->pwc_hits, is->pwc_hits, s->config.nr_pwcs);
	struct way after;

	look(s, vpn, &after);
	printf(held ? "a TLB has it, but not for this" : "no TLB has it");
	printf(": a walk of %u load%s\n", loads, loads == 1 ? "" : "s");
	if (pwc >= 0)
		printf("     a page-walk cache saves the %u above level %u\n",
		       s->config.levels - s->config.pwc[pwc].level, s->config.pwc[pwc].level);
	show_entries(&s->config, before, &after, loads);
	if (after.n == 0)
		printf("     there are no tables: the root is empty\n");
}

static void show_fault(const struct sim_task *t, const uint64_t *faults, uint64_t invalid)
{
	static const char *const names[SIM_NR_FAULTS] = { "minor", "soft", "copy on write", "major" };
	int kind = moved(faults, t->faults, SIM_NR_FAULTS);

	if (t->invalid != invalid)
		printf("     page fault: the program has nothing there, or not for this: SIGSEGV\n");
	else
		printf("     page fault: %s; served, and the access comes again\n",
		       kind >= 0 ? names[kind] : "the access comes again");
}

/* False: it did not succeed. */
static int access_once(struct sim *s, unsigned number, uint64_t address, enum mmu_access how, bool *done)
{
	static const char *const names[MMU_NR_ACCESSES] = { "read", "write", "fetch" };
	struct sim_task *t = sim_task(s, TASK);
	struct mmu *mmu = sim_cpu_of(s, t, 0)->mmu;
	const struct mmu_stat was = *mmu_stat(mmu);
	uint64_t faults[SIM_NR_FAULTS], invalid = t->invalid;
	vpn_t vpn = vpn_of(address);
	bool held = mmu_holds(mmu, t->asid, vpn, NULL);
	struct way before;
	double ns = 0;
	pfn_t pfn;

	memcpy(faults, t->faults, sizeof(faults));
	look(s, vpn, &before);
	printf("  %u. %s: ", number, names[how]);
	enum mmu_result r = mmu_touch(mmu, vpn, how, 1, &pfn, &ns);

	*done = r <= MMU_WALKED;
	if (r == MMU_HIT) {
		printf("%s has it\n", s->config.tlb[moved(was.hits, mmu_stat(mmu)->hits, s->config.nr_tlbs)].name);
	} else {
		show_walk(s, vpn, &before, &was, mmu_stat(mmu), held);
	}
	if (*done) {
		show_physical(address, pfn, ns);
		return 0;
	}
	static const uint8_t flags[MMU_NR_ACCESSES] = { TRACE_R, TRACE_W, TRACE_X };
	int err = scene_touch(s, TASK, vpn, flags[how]);

	if (err == 0)
		show_fault(t, faults, invalid);
	*done = t->invalid == invalid;
	return err;
}

static int walk(struct sim *s, uint64_t address)
{
	const struct vma *vma = vma_find(&sim_task(s, TASK)->mm.vmas, vpn_of(address));
	bool code = vma != NULL && (vma->flags & (VMA_WRITE | VMA_EXEC)) == VMA_EXEC, done = true;
	const enum mmu_access accesses[] = { MMU_READ, MMU_READ, code ? MMU_EXEC : MMU_WRITE };
	int err = 0;

	show_indexes(&s->config, address);
	if (kind_of(&s->config, address) == NOT_CANONICAL) {
		if (address_bits(&s->config) <= 32)
			printf("  This machine's addresses have %u bits: there is no such one.\n",
			       address_bits(&s->config));
		else
			printf("  Not canonical: bits 63 to %u are not all the same. No table is looked at:\n"
			       "  a general protection fault, and SIGSEGV for the program.\n",
			       address_bits(&s->config) - 1);
		return 0;
	}
	if (kind_of(&s->config, address) == KERNEL) {
		printf("  The kernel's half: its entries lack the user bit. A program that goes there\n"
		       "  gets a page fault, and SIGSEGV.\n");
		return 0;
	}
	clear_bits(s, vpn_of(address));
	for (unsigned i = 0; i < ARRAY_SIZE(accesses) && done && err == 0; i++)
		err = access_once(s, i + 1, address, accesses[i], &done);
	return err;
}

static int parse_address(const char *text, uint64_t *address)
{
	char *end;

	errno = 0;
	*address = strtoull(text, &end, 16);
	if (strncmp(text, "0x", 2) != 0 || end == text + 2 || *end != '\0' || errno != 0)
		return msg_fail(EXIT_USAGE, text, "not an address; write it as 0x7f1234567000");
	return 0;
}

static int build(struct sim *s, const char *pid, const char *const *addresses, uint64_t pages)
{
	int err = scene_task(s, TASK, "shown");

	if (err != 0)
		return err;
	sim_task(s, TASK)->on_demand = false;
	if (pid != NULL)
		return copy_process(s, pid);
	for (unsigned i = 0; addresses[i] != NULL && err == 0; i++) {
		uint64_t address;

		err = parse_address(addresses[i], &address);
		if (err == 0 && pages > 0 && kind_of(&s->config, address) == USER)
			err = map_around(s, address, pages);
	}
	return err;
}

static void introduce(const struct sim *s)
{
	const struct sim_config *c = &s->config;

	printf("%s: %u-bit addresses, page tables of %u level%s, every TLB is empty.\n", c->name, address_bits(c),
	       c->levels, c->levels == 1 ? "" : "s");
	for (unsigned i = 0; i < c->nr_tlbs; i++)
		printf("  %-14s %5u entries%s\n", c->tlb[i].name, c->tlb[i].entries,
		       c->tlb[i].holds & SIM_TLB_2M
			       ? c->tlb[i].holds & SIM_TLB_4K ? " of either size" : " of huge pages"
			       : "");
}

static int walk_all(struct sim *s, const char *const *addresses)
{
	struct sim_task *t = sim_task(s, TASK);
	struct sim_cpu *c = sim_cpu_of(s, t, 0);
	int err = 0;

	/* Nobody else has run; where nothing could be filled, neither has the task. */
	mmu_switch(c->mmu, &t->mm.pt, t->asid);
	c->current = t;
	mmu_flush(c->mmu);
	introduce(s);
	for (unsigned i = 0; addresses[i] != NULL && err == 0; i++) {
		uint64_t address;

		err = parse_address(addresses[i], &address);
		if (err == 0)
			err = walk(s, address);
	}
	return err;
}

static int explain(const struct explain_args *a)
{
	const char *pid = a->operands[0] != NULL && strncmp(a->operands[0], "0x", 2) != 0 ? a->operands[0] : NULL;
	const char *const *addresses = a->operands + (pid != NULL);
	uint64_t pages = a->has_pages ? a->pages : AREA_PAGES, address;
	int err = 0;

	if (addresses[0] == NULL)
		return msg_fail(EXIT_USAGE, "walk", "no address given; write one as 0x7f1234567000");
	for (unsigned i = 0; addresses[i] != NULL && err == 0; i++)
		err = parse_address(addresses[i], &address);
	if (err == 0 && pid != NULL && a->has_pages)
		err = msg_fail(EXIT_USAGE, "--pages", "a process has its own pages; leave it out");
	if (err == 0 && pages > AREA_PAGES_MAX)
		err = msg_fail(EXIT_USAGE, "--pages", "%llu is too large; the most is %u", (unsigned long long)pages,
			       AREA_PAGES_MAX);
	if (err != 0)
		return err;
	struct sim *s = scene_create(&a->machine);

	if (s == NULL)
		return 1;
	err = build(s, pid, addresses, pages);
	if (err == 0)
		err = walk_all(s, addresses);
	sim_destroy(s);
	return err;
}

const struct explain_topic explain_walk = {
	.name = "walk",
	.usage = "[PID] 0xADDRESS…",
	.summary = "from an address to its frame, entry by entry",
	.takes = 1 << EXPLAIN_MACHINE | 1 << EXPLAIN_SET | 1 << EXPLAIN_PAGES,
	.operands = 16,
	.main = explain,
};
