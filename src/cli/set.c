/*
 * steward set: changes the budget of a run that goes on. It only asks, in the ledger; the launcher does it (run/resize.c).
 * It ends when the budget is reached, or when it is clear that it cannot be.
 */
#include "cli/set.h"

#include <stdarg.h>
#include <stdio.h>
#include <time.h>

#include "base/size.h"
#include "cli/commands.h"
#include "cli/msg.h"
#include "cli/procstat.h"
#include "cli/run/budget.h"
#include "cli/runs.h"
#include "cli/table.h"

#define POLL_NS 20000000
#define PATIENCE_POLLS 500 /* 10 s without any change: nobody is at work */

struct set {
	uint64_t ram_bytes; /* 0: none was given */
};

static const struct option_row rows[] = {
	{ "ram", '\0', "SIZE", "the budget that the run is to have: 128M, 1.5G, 2GiB" },
};

static int set_option(void *ctx, unsigned row, const char *value)
{
	struct set *s = ctx;

	(void)row;
	return options_ram(value, "128M or 1.5G", &s->ram_bytes);
}

const struct option_set set_options = {
	.command = "set",
	.usage = "--ram SIZE [RUN]",
	.summary = "Changes the budget of a run. RUN is the pid of a steward run, or of a process in it; the only one, if none is named.",
	.rows = rows,
	.nr = ARRAY_SIZE(rows),
	.mixed = true,
	.set = set_option,
};

static const char *pages_text(uint64_t pages)
{
	return size_text(pages << PAGE_SHIFT);
}

static void __attribute__((format(printf, 3, 4))) refuse(struct set_refusal *r, const char *what, const char *why, ...)
{
	va_list args;

	r->what = what;
	va_start(args, why);
	vsnprintf(r->why, sizeof(r->why), why, args);
	va_end(args);
}

void set_check(const struct ledger *l, uint64_t pages, struct set_refusal *r)
{
	uint64_t least = ALIGN_UP(2 * l->reserved_pages, MIB >> PAGE_SHIFT);

	r->what = NULL;
	if (l->record_ns != 0)
		refuse(r, "set", "that is a recording, which has no budget; name a steward run");
	else if (!runs_watched(l))
		refuse(r, "set", "the launcher of that run has ended, and nobody divides its budget any more; end its processes");
	else if (pages < least)
		refuse(r, "--ram", "%s is too small; the smallest that works is %s", pages_text(pages), pages_text(least));
	else if (pages > l->ram_max_pages)
		refuse(r, "--ram", "%s is more than that run can use; give up to %s, or start it again", pages_text(pages),
		       pages_text(l->ram_max_pages));
}

/* Nobody is there, or who is there is stopped. */
static bool deaf(const struct ledger *l)
{
	struct procstat stat;

	return !runs_watched(l) || procstat_read(l->launcher, &stat) != 0 || procstat_stopped(&stat);
}

/* Until it is reached or given up, or somebody has asked for something else. False: nobody is at work. */
static bool wait_for(struct ledger *l, uint64_t pages)
{
	const struct timespec pause = { .tv_nsec = POLL_NS };
	uint64_t seen = atomic_load(&l->ram_pages);

	for (unsigned quiet = 0; atomic_load(&l->ram_asked) == pages; quiet++) {
		if (quiet > PATIENCE_POLLS || deaf(l))
			return false;
		nanosleep(&pause, NULL);
		if (atomic_load(&l->ram_pages) != seen)
			quiet = 0;
		seen = atomic_load(&l->ram_pages);
	}
	return true;
}

static int change(struct ledger *l, uint64_t pages)
{
	uint64_t before = atomic_load(&l->ram_pages), now, wish = pages;

	atomic_store(&l->ram_asked, pages);
	/* Refused, it is not to be done later all the same. */
	if (!wait_for(l, pages) && atomic_compare_exchange_strong(&l->ram_asked, &wish, 0))
		return msg_fail(1, "set", "the launcher of that run does not answer; is it stopped?");
	now = atomic_load(&l->ram_pages);
	if (now != pages)
		return msg_fail(1, "--ram", "%s cannot be reached, because processes of the run need more; it is %s now, the smallest that "
				"works is about %s", pages_text(pages), pages_text(now), pages_text(ledger_least(l)));
	printf("%d: %s, was %s\n", l->launcher, pages_text(now), pages_text(before));
	return 0;
}

int set_main(int argc, char **argv)
{
	struct set s = { 0 };
	struct set_refusal refusal;
	struct runs_one run;
	int err, first;

	err = options_parse(&set_options, argc, argv, &s, &first);
	if (err != 0)
		return err;
	if (argc - first > 1)
		return msg_fail(EXIT_USAGE, argv[first + 1], "one run at a time; steward set --ram SIZE %s", argv[first]);
	if (s.ram_bytes == 0)
		return msg_fail(EXIT_USAGE, "set", "nothing to set; give --ram SIZE");
	err = runs_open(&run, argv[first], true);
	if (err != 0)
		return err;
	set_check(run.ledger, s.ram_bytes >> PAGE_SHIFT, &refusal);
	if (refusal.what != NULL)
		err = msg_fail(1, refusal.what, "%s", refusal.why);
	else
		err = change(run.ledger, s.ram_bytes >> PAGE_SHIFT);
	runs_close(&run);
	return err;
}
