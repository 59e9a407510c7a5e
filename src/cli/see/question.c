#include "cli/see/question.h"

#include <errno.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/procstat.h"
#include "cli/run/watch.h"

#define LOOK_NS 2000000  /* 2 ms between two looks at the slot; a pager wakes up every 20 */
#define LOOKS_MAX 1500   /* three seconds: a busy machine may take one */

static void wait_a_moment(void)
{
	nanosleep(&(struct timespec){ .tv_nsec = LOOK_NS }, NULL);
}

/* The slot is ours to write to. Another asker's question may be in it, or what one has left that is gone. */
static int take(_Atomic uint32_t *asked, uint32_t mine)
{
	for (unsigned n = 0; n < LOOKS_MAX; n++) {
		uint32_t word = atomic_load(asked);
		bool left = ask_state(word) != ASK_ANSWERING && watch_is_gone(ask_asker(word), 0);

		if ((ask_state(word) == ASK_IDLE || left) && atomic_compare_exchange_strong(asked, &word, mine))
			return 0;
		wait_a_moment();
	}
	return -ETIMEDOUT;
}

static int wait_for_answer(const struct ledger_slot *s, _Atomic uint32_t *asked, uint32_t mine)
{
	for (unsigned n = 0; n < LOOKS_MAX; n++) {
		uint32_t word = atomic_load(asked);

		if (ask_state(word) == ASK_ANSWERED)
			return 0;
		/* It has ended, or become another program. */
		if (ask_state(word) == ASK_IDLE || atomic_load(&s->state) != LEDGER_ENGAGED)
			return -ESTALE;
		wait_a_moment();
	}
	atomic_compare_exchange_strong(asked, &mine, ASK_IDLE);
	return -ETIMEDOUT;
}

static int ask_some(struct ledger *l, unsigned i, struct ask_range *range, unsigned nr, struct ask *head)
{
	struct ledger_slot *s = &l->slot[i];
	struct ask *a = &l->ask[i];
	uint32_t taken = ask_word((int32_t)getpid(), ASK_TAKEN), asking = ask_word((int32_t)getpid(), ASK_ASKED);
	int err = take(&s->asked, taken);

	if (err != 0)
		return err;
	memcpy(a->range, range, nr * sizeof(*range));
	a->nr = nr;
	if (!atomic_compare_exchange_strong(&s->asked, &taken, asking))
		return -ESTALE;
	err = wait_for_answer(s, &s->asked, asking);
	if (err != 0)
		return err;
	memcpy(range, a->range, nr * sizeof(*range));
	head->levels = MIN(a->levels, PT_LEVELS_MAX);
	memcpy(head->table_frames, a->table_frames, sizeof(head->table_frames));
	atomic_store(&s->asked, ASK_IDLE);
	return 0;
}

int question_ask(struct ledger *l, unsigned i, struct ask_range *range, unsigned nr, struct ask *head)
{
	if (atomic_load(&l->slot[i].state) != LEDGER_ENGAGED)
		return -ESTALE;
	/* Whoever stopped it may take days to let it go on. */
	if (procstat_is_stopped(atomic_load(&l->slot[i].pid)))
		return -ETIMEDOUT;
	for (unsigned done = 0; done < nr; done += ASK_RANGES) {
		int err = ask_some(l, i, range + done, MIN(nr - done, ASK_RANGES), head);

		if (err != 0)
			return err;
	}
	return 0;
}
