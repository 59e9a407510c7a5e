#include "cli/explain/scene.h"

#include <stdio.h>
#include <string.h>

#include "cli/msg.h"

#define EVICT_TRIES 64

struct sim *scene_create(const struct sim_config *config)
{
	struct sim_config_error error;
	struct sim *s = sim_create(config, &error);

	if (s == NULL)
		msg_fail(1, "machine", "%s; take another one", error.text);
	return s;
}

int scene_event(struct sim *s, const struct trace_event *e)
{
	const char *why = "no memory for the model";
	int err = sim_event(s, e, &why);

	return err == 0 ? 0 : msg_fail(1, "machine", "%s; take a smaller one", why);
}

int scene_task(struct sim *s, uint32_t task, const char *name)
{
	return scene_event(s, &(struct trace_event){ .op = TRACE_TASK, .task = task, .text = name });
}

int scene_map(struct sim *s, uint32_t task, vpn_t start, uint64_t n, unsigned rights)
{
	return scene_event(s, &(struct trace_event){ .op = TRACE_MMAP, .task = task, .vpn = start.n, .n = n,
						     .flags = (uint8_t)rights });
}

int scene_touch(struct sim *s, uint32_t task, vpn_t vpn, unsigned how)
{
	return scene_event(s, &(struct trace_event){ .op = TRACE_ACCESS, .task = task, .vpn = vpn.n, .n = 1,
						     .flags = (uint8_t)how });
}

bool scene_evict(struct sim *s, uint32_t task, vpn_t vpn)
{
	struct pagetable *pt = &sim_task(s, task)->mm.pt;
	struct machine *m = &s->m;

	for (unsigned i = 0; i < EVICT_TRIES; i++) {
		pte_t pte = pt_get(pt, vpn);
		bool progress;

		if (!pte_is_present(pte) && !pte_is_soft(pte))
			return true;
		if (machine_has_accessed(m))
			reclaim_direct(m, SWAP_CLUSTER_MAX, true);
		else
			reclaim_batch(m, false, &progress);
	}
	return false;
}

void scene_look(const struct sim *s, struct scene_blocks *b)
{
	for (unsigned i = 0; i < s->m.phys.nr_zones; i++)
		for (unsigned order = 0; order < NR_ORDERS; order++)
			b->free[i][order] = s->m.phys.zones[i].area[order].nr_free;
	b->tables = s->m.phys.nr_tables;
}

static void tell_free(const char *when, const uint64_t *free)
{
	printf("            %s", when);
	for (unsigned order = 0; order < NR_ORDERS; order++)
		printf(order == MAX_PAGE_ORDER ? "%6llu\n" : "%5llu", (unsigned long long)free[order]);
}

void scene_tell(const struct sim *s, const struct scene_blocks *before)
{
	uint64_t orders[NR_ORDERS];
	struct scene_blocks now;

	scene_look(s, &now);
	for (unsigned order = 0; order < NR_ORDERS; order++)
		orders[order] = order;
	for (unsigned i = 0; i < s->m.phys.nr_zones; i++) {
		if (memcmp(before->free[i], now.free[i], sizeof(now.free[i])) == 0)
			continue;
		printf("  buddy     free blocks of %s\n", s->m.phys.zones[i].name);
		tell_free("order ", orders);
		tell_free("before", before->free[i]);
		tell_free("after ", now.free[i]);
	}
	if (now.tables > before->tables)
		printf("            %u of the frames are new page tables\n", now.tables - before->tables);
}

void scene_json_zones(const struct sim *s, struct json *j)
{
	json_array(j, "zones");
	for (unsigned z = 0; z < s->m.phys.nr_zones; z++)
		json_string(j, NULL, s->m.phys.zones[z].name);
	json_array_end(j);
}

void scene_json_frames(const struct sim *s, struct json *j)
{
	const struct phys *phys = &s->m.phys;

	json_array(j, "free");
	for (unsigned z = 0; z < phys->nr_zones; z++) {
		json_array(j, NULL);
		for (unsigned o = 0; o < NR_ORDERS; o++)
			json_u64(j, NULL, phys->zones[z].area[o].nr_free);
		json_array_end(j);
	}
	json_array_end(j);
	json_u64(j, "charged", s->m.charged);
	json_u64(j, "tables", phys->nr_tables);
	json_u64(j, "ns", (uint64_t)sim_now(s));
}

const char *scene_list(const struct sim *s, unsigned list)
{
	static const char *const classical[] = { "inactive anonymous", "active anonymous", "inactive file",
						 "active file" };
	static const char *const numbered[] = { "list 0", "list 1", "list 2", "list 3",
						"list 4", "list 5", "list 6", "list 7" };

	if (list == LRU_SAMPLE)
		return "sample";
	if (list == LRU_UNEVICTABLE)
		return "unevictable";
	if (list == LRU_REFUSED)
		return "refused";
	return s->m.policy == &policy_two_list && list < ARRAY_SIZE(classical) ? classical[list] : numbered[list % 8];
}

const char *scene_zone(const struct sim *s, pfn_t pfn)
{
	for (unsigned i = 0; i < s->m.phys.nr_zones; i++) {
		const struct zone *z = &s->m.phys.zones[i];

		if (pfn.n - z->start.n < z->spanned)
			return z->name;
	}
	return "no zone";
}

const char *scene_counter(unsigned counter)
{
#define NAME(name, text) #name,
	static const char *const names[] = { VM_COUNTERS(NAME) };
#undef NAME

	return names[counter];
}

static void put_flags(char *buf, size_t size, pte_t e, pte_t was)
{
	static const struct {
		uint64_t bit;
		const char *name;
	} flags[] = {
		{ PTE_USER, "user" }, { PTE_WRITE, "write" }, { PTE_NX, "nx" }, { PTE_ACCESSED, "A" }, { PTE_DIRTY, "D" },
	};
	size_t len = 0;

	buf[0] = '\0';
	for (unsigned i = 0; i < ARRAY_SIZE(flags); i++) {
		if (e.v & flags[i].bit)
			len += (size_t)snprintf(buf + len, size - len, " %s%s", was.v & flags[i].bit ? "" : "+", flags[i].name);
	}
}

const char *scene_entry(pte_t e, pte_t was, unsigned level)
{
	static char texts[8][96];
	static unsigned next;
	const char *what = e.v & PTE_HUGE ? "huge" : level > 1 ? "table" : "frame";
	char *buf = texts[next++ % ARRAY_SIZE(texts)], flags[64];

	put_flags(flags, sizeof(flags), e, was);
	if (pte_is_none(e))
		snprintf(buf, sizeof(texts[0]), "none");
	else if (pte_is_swap(e))
		snprintf(buf, sizeof(texts[0]), "swap area %u slot %llu", swp_area(pte_swp(e)),
			 (unsigned long long)swp_slot(pte_swp(e)));
	else if (pte_is_soft(e))
		snprintf(buf, sizeof(texts[0]), "frame 0x%x, not mapped", pte_pfn(e).n);
	else
		snprintf(buf, sizeof(texts[0]), "%s 0x%x%s", what, pte_pfn(e).n, flags);
	return buf;
}
