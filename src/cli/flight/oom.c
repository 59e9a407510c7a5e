/* The payload of a decision of the OOM killer: the table that it was made from. */
#include <stdlib.h>

#include "cli/flight/flight.h"

void flight_put_oom(struct flight_bytes *b, const struct flight_oom *o)
{
	pack_text(b, o->what);
	pack_number(b, o->victim);
	pack_number(b, o->nr);
	for (unsigned i = 0; i < o->nr; i++) {
		const struct flight_oom_task *t = &o->task[i];

		pack_group(b, (const uint64_t[]){ (uint64_t)t->pid, t->resident, t->swapped, t->tables_bytes, zigzag(t->adj), t->never,
						 zigzag(t->points) }, 7);
		pack_text(b, t->name);
	}
}

static void get_task(struct source *s, struct flight_oom_task *t)
{
	uint64_t n[7];

	unpack_group(s, n, 7);
	*t = (struct flight_oom_task){ .pid = (int32_t)n[0], .resident = n[1], .swapped = n[2], .tables_bytes = n[3],
				       .adj = unzigzag(n[4]), .never = n[5] != 0, .points = unzigzag(n[6]) };
	unpack_text(s, t->name, sizeof(t->name));
}

bool flight_get_oom(const uint8_t *payload, size_t bytes, struct flight_oom *o)
{
	struct source s = { .at = payload, .end = payload + bytes };
	struct flight_oom_task *task;
	uint64_t victim, nr;

	o->nr = 0;
	unpack_text(&s, o->what, sizeof(o->what));
	victim = unpack_number(&s);
	nr = unpack_number(&s);
	if (s.bad || nr > LEDGER_SLOTS || victim > nr)
		return false;
	task = reallocarray(o->task, MAX(nr, 1), sizeof(*task));
	if (task == NULL)
		return false;
	o->task = task;
	o->victim = (unsigned)victim;
	while (o->nr < nr && !s.bad)
		get_task(&s, &task[o->nr++]);
	return !s.bad;
}

void flight_oom_free(struct flight_oom *o)
{
	free(o->task);
	*o = (struct flight_oom){ 0 };
}
