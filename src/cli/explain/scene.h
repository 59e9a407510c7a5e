/*
 * A modelled machine on which something is shown: the engine of steward sim, driven by single events instead of a
 * trace, and watched (mm/step.h). Nothing of what is shown is computed here.
 */
#ifndef STW_CLI_EXPLAIN_SCENE_H
#define STW_CLI_EXPLAIN_SCENE_H

#include "cli/json.h"
#include "sim/engine.h"

/* NULL after having said why; the caller calls sim_destroy. */
struct sim *scene_create(const struct sim_config *config);

/* One event; 0, or the exit status after having said why. */
int scene_event(struct sim *s, const struct trace_event *e);
/* The commonest ones. rights: TRACE_R, …, and TRACE_MAP_*; how: one of TRACE_R, TRACE_W, TRACE_X. */
int scene_task(struct sim *s, uint32_t task, const char *name);
int scene_map(struct sim *s, uint32_t task, vpn_t start, uint64_t n, unsigned rights);
int scene_touch(struct sim *s, uint32_t task, vpn_t vpn, unsigned how);

/*
 * Reclaims until the page of the task is in no frame, as happens when nobody touches it while memory is short.
 * False: it stays, for example because there is no swap.
 */
bool scene_evict(struct sim *s, uint32_t task, vpn_t vpn);

/* The free blocks of the buddy system, and the frames that page tables have, at one moment. */
struct scene_blocks {
	uint64_t free[PHYS_ZONES_MAX][NR_ORDERS];
	uint32_t tables;
};

void scene_look(const struct sim *s, struct scene_blocks *b);
/* Prints what is different since, with a margin of 12 columns; nothing if nothing is. */
void scene_tell(const struct sim *s, const struct scene_blocks *before);

/* For pages that play steps, into an object that is open: "zones", their names; "free" blocks by zone and order, frames "charged", "tables", "ns". */
void scene_json_zones(const struct sim *s, struct json *j);
void scene_json_frames(const struct sim *s, struct json *j);

/* "inactive anonymous", for a number of enum lru_list of this machine's policy. */
const char *scene_list(const struct sim *s, unsigned list);
/* "Normal": the zone of a frame. */
const char *scene_zone(const struct sim *s, pfn_t pfn);
/* The name of a counter of mm/stat.h, as /proc/vmstat has it. */
const char *scene_counter(unsigned counter);

/*
 * "frame 0x100 user write nx +A D", "swap area 0 slot 1", "none": of an entry of a level, 1 the leaves; + before flags
 * that it did not have when it was `was`. A few may be alive at once.
 */
const char *scene_entry(pte_t entry, pte_t was, unsigned level);

#endif
