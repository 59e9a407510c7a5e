/*
 * The search for the smallest budget that does: lower it slowly while the program does not mind, back off when it does
 * (as Facebook's senpai does with the limits of control groups).
 *
 * What it minds is stall (stall.c): a program that waits for pages a share s of its time needs 1 / (1 − s) of the time that it
 * would need without waiting. So PCT per cent slower is a share of PCT / (100 + PCT); that of the process that waits most counts.
 *
 * A budget is tried for some looks of a second each. The first is not counted, because what has just been taken away may be missed for
 * a moment. It is good if the mean of the others is within the limit; too small if it is not, or one is far beyond it.
 *
 *     good, none was too small    a sixth less, or at once what all processes have if that is less still
 *     good                        halfway to the largest that was too small, until that is near; then it is watched
 *     too small                   back to the best, or a quarter more
 *
 * One that was good and is too small later, because the program has grown, is forgotten: what is found is good
 * for all that the program did while it was watched. Processes are engaged from their start, because whoever has no engine cannot
 * give anything back.
 */
#include "cli/run/squeeze.h"

#include <stdlib.h>

#include "cli/msg.h"
#include "cli/table.h"

#define DEFAULT_PERCENT 10
#define LOOK_NS 1000000000
#define TRIAL 4         /* looks */
#define FAR 3           /* times the limit: no need to look on */
#define NEAR 16         /* one part in so many of the budget is near enough */
#define ROOM_PAGES 1024 /* beyond what the processes have: watermarks, tables that grow */

int squeeze_set(struct squeeze *s, const char *percent)
{
	char *end = NULL;
	unsigned long n = percent != NULL ? strtoul(percent, &end, 10) : DEFAULT_PERCENT;

	if (percent != NULL && (percent[0] < '0' || percent[0] > '9' || *end != '\0' || n < 1 || n > 1000))
		return msg_fail(EXIT_USAGE, "--squeeze", "\"%s\" is not a number of per cent from 1 to 1000; write it as --squeeze=10",
				percent);
	s->percent = (unsigned)n;
	return 0;
}

void squeeze_init(struct squeeze *s, struct ledger *l)
{
	s->ledger = l;
	s->start_pages = s->asked_pages = atomic_load(&l->ram_pages);
	l->eager = s->percent != 0;
}

/* The largest share of its time that a process has waited since the last look, in thousandths. */
static uint64_t look(struct squeeze *s, uint64_t now)
{
	uint64_t most = 0, dt = now - s->looked_ns;

	for (uint32_t i = 0, used = atomic_load(&s->ledger->slots_used); i < used; i++) {
		uint64_t stalled = s->ledger->slot[i].counter[VM_stall_ns];

		/* Less than before: the slot is somebody else's. */
		most = MAX(most, stalled - (stalled >= s->stalled_ns[i] ? s->stalled_ns[i] : 0));
		s->stalled_ns[i] = stalled;
	}
	s->looked_ns = now;
	return MIN(most * 1000 / dt, 1000);
}

/* Pages that all processes have resident or compressed, or cannot give back. */
static uint64_t have(const struct ledger *l)
{
	uint64_t sum = l->reserved_pages + ROOM_PAGES;

	for (uint32_t i = 0, used = atomic_load(&l->slots_used); i < used; i++) {
		const struct ledger_slot *s = &l->slot[i];
		uint64_t granted = atomic_load(&s->granted), spare = atomic_load(&s->spare);

		sum += atomic_load(&s->state) == LEDGER_ENGAGED ? s->now.managed + s->now.pool + granted - MIN(granted, spare) : granted;
	}
	return sum;
}

static uint64_t smaller(const struct squeeze *s, uint64_t ram)
{
	if (s->small_pages == 0)
		return MIN(ram - ram / 6, have(s->ledger));
	return ram - s->small_pages > ram / NEAR ? ram - (ram - s->small_pages) / 2 : ram;
}

/* The trial of ram is over. Returns the next budget. */
static uint64_t judge(struct squeeze *s, uint64_t ram, bool good)
{
	if (good) {
		s->best_pages = ram;
		return smaller(s, ram);
	}
	/* More than it was given there is not, and filling its memory takes a program time in any budget. */
	if (ram == s->start_pages)
		return ram;
	s->small_pages = MAX(s->small_pages, ram);
	if (s->best_pages <= ram)
		s->best_pages = 0;
	return s->best_pages != 0 ? s->best_pages : MIN(ram + ram / 4, s->start_pages);
}

void squeeze_tick(struct squeeze *s, uint64_t now)
{
	struct ledger *l = s->ledger;

	if (s->percent == 0 || now < s->next_ns)
		return;
	s->next_ns = now + LOOK_NS;
	uint64_t limit = 1000 * s->percent / (100 + s->percent), ram = atomic_load(&l->ram_pages);
	uint64_t share = look(s, now);
	bool moving = atomic_load(&l->ram_asked) != 0;
	bool far = share > FAR * limit && (moving || s->looks > 0);

	/* Until the last step is done, nothing good can be said of it. */
	s->looks = moving ? 0 : s->looks + 1;
	s->sum = s->looks > 1 ? s->sum + share : 0;
	if (!far && s->looks < TRIAL)
		return;
	/* It could not be had. */
	if (ram > s->asked_pages)
		s->small_pages = MAX(s->small_pages, s->asked_pages);
	s->asked_pages = judge(s, ram, !far && s->sum <= limit * (TRIAL - 1));
	s->looks = 0;
	if (s->asked_pages != ram)
		atomic_store(&l->ram_asked, s->asked_pages);
}

void squeeze_say(const struct squeeze *s)
{
	if (s->percent == 0)
		return;
	if (s->best_pages == 0)
		msg_note("squeeze: no budget below %s was seen to keep it within %u %%; run it longer, or with more to begin with",
			 size_text(s->start_pages << PAGE_SHIFT), s->percent);
	else
		msg_note("squeeze: --ram %llu""M keeps it within %u %%, as far as it was seen",
			 (unsigned long long)DIV_ROUND_UP(s->best_pages << PAGE_SHIFT, MIB), s->percent);
}

void squeeze_write(const struct squeeze *s, struct json *j)
{
	if (s->percent == 0) {
		json_null(j, "squeeze");
		return;
	}
	json_object(j, "squeeze");
	json_u64(j, "percent", s->percent);
	if (s->best_pages != 0)
		json_u64(j, "ram_bytes", s->best_pages << PAGE_SHIFT);
	else
		json_null(j, "ram_bytes");
	json_object_end(j);
}
