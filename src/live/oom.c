/*
 * Out of room: frames and stores are full, reclaim finds nothing, and the run has no page that is free.
 *
 * Who has to go is not this process's to say, because it knows only itself. It says in its slot that it is out of room
 * and goes on trying; the supervisor (cli/run/oom.c) sees that, ends somebody, and answers when that process is gone:
 *
 *     NONE ──► ASKED ──► GO_ON ──► NONE, and after a while perhaps ASKED again
 *       ▲        │  └──► REFUSED: nobody may be ended; the program is stopped by its own engine
 *       └────────┘ room has come from elsewhere
 *
 * The one that is ended may be this one. A supervisor that does not answer (stopped, or busy with one that
 * will not die) is waited for as long as the ledger says, and then taken for one that refused.
 */
#include "live/clock.h"
#include "live/engine.h"

#define RETRY_NS 1000000000 /* 1 s from an answer to the next question: what came back may be in other hands first */

static uint64_t asked_at, retry_until;

static void ask(struct ledger_slot *s, uint64_t now)
{
	asked_at = now;
	atomic_store(&s->oom, LEDGER_OOM_ASKED);
}

bool oom_wait(void)
{
	struct ledger_slot *s = engine.slot;
	uint64_t now = now_ns(), patience = engine.ledger->oom_patience_ns;

	switch (atomic_load(&s->oom)) {
	case LEDGER_OOM_NONE:
		if (now >= retry_until && patience > 0)
			ask(s, now);
		return patience > 0;
	case LEDGER_OOM_ASKED:
		return now - asked_at < patience;
	case LEDGER_OOM_GO_ON:
		retry_until = now + RETRY_NS;
		atomic_store(&s->oom, LEDGER_OOM_NONE);
		return true;
	default:
		return false;
	}
}

void oom_relieved(void)
{
	uint32_t asked = LEDGER_OOM_ASKED;

	if (atomic_load_explicit(&engine.slot->oom, memory_order_relaxed) == asked)
		atomic_compare_exchange_strong(&engine.slot->oom, &asked, LEDGER_OOM_NONE);
}
