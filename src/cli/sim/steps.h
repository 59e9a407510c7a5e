/*
 * steward sim --steps: the first events of a trace one by one, each with what the machine did for it (mm/step.h) and how
 * it left TLB, page tables, lists and free blocks, for the page of --report to be played forward and back.
 */
#ifndef STW_CLI_SIM_STEPS_H
#define STW_CLI_SIM_STEPS_H

#include "cli/draw/html.h"
#include "cli/json.h"
#include "sim/engine.h"

#define STEPS_DEFAULT 200
#define STEPS_MAX 2000

struct steps {
	unsigned max;         /* events to be told; 0: none */
	struct sim *s;
	struct json json;     /* into a file without a name */
	uint64_t *owner;      /* of each frame: the page in it, by task and page number; 0: not known */
	/* The event that is told. */
	uint64_t shown;       /* steps of it */
	bool walked;          /* it has been said that the page tables are walked */
	uint64_t hits[SIM_TLBS_MAX], walks;
};

/* Of --steps: NULL or a number. 0, or EXIT_USAGE after having said why. */
int steps_set(struct steps *p, const char *value);
/* Plays them. 0 or -errno with *error filled, as of sim_replay, which goes on after it. */
int steps_play(struct steps *p, struct sim *s, struct trace_reader *r, struct trace_error *error);
/* Adds them to the page. 0 or -errno. */
int steps_put(struct steps *p, struct html *h);
void steps_free(struct steps *p);

/* steps_text.c: sentences; they return buf. */
const char *steps_event_text(const struct trace_event *e, char *buf, size_t size);
const char *steps_step_text(const struct steps *p, const struct mm_step *step, char *buf, size_t size);
/* "0x10003", with several tasks "0x10003 of 2". owner: of a frame, see above. */
const char *steps_page_text(const struct steps *p, uint64_t owner, char *buf, size_t size);

static inline uint64_t steps_owner(uint32_t task, vpn_t vpn)
{
	return (uint64_t)(task + 1) << 48 | (vpn.n & (((uint64_t)1 << 48) - 1));
}

#endif
