/*
 * What happened, and what to change. The first that holds:
 *
 *     somebody was stopped or killed for want of memory     its message says what to raise
 *     nothing was paged                                     the budget could be smaller
 *     threads waited for more than a fifth of the time      the budget that would be enough
 *     else                                                  what it saved, and at what price
 */
#include <ctype.h>
#include <string.h>

#include "base/size.h"
#include "cli/figures/figures.h"
#include "cli/report/report.h"
#include "cli/run/budget.h"
#include "cli/table.h"

#define MUCH_PER_MILLE 200

/* A figure of the summary: an engaged process knows its own peaks better than samples do, which know of all. */
static uint64_t figure(const struct figures *f, const char *name)
{
	for (unsigned i = 0; i < f->nr; i++)
		if (strcmp(f->figure[i].name, name) == 0)
			return (uint64_t)f->figure[i].value;
	return 0;
}

static uint64_t recorded_ns(const struct history *run)
{
	return (uint64_t)(run->ns[run->n - 1] - run->ns[0]);
}

/* A round budget that holds so much: a multiple of an eighth of its power of two, at least of a MiB. */
static uint64_t round_up(uint64_t size)
{
	uint64_t step = MIB;

	while (step * 16 < size)
		step *= 2;
	return ALIGN_UP(size, step);
}

static void put_nothing(struct fmt *f, uint64_t peak, uint64_t budget)
{
	uint64_t enough = MAX(round_up(peak + peak / 8), BUDGET_FLOOR);

	put_bytes(f, "Nothing was paged: at most ", peak, "");
	put_bytes(f, " of ", budget, " were used");
	if (enough < budget)
		put_bytes(f, ", so a budget of ", enough, " would do");
	fmt_char(f, '.');
}

static void put_paged(struct fmt *f, const struct history *run, uint64_t need, uint64_t budget)
{
	uint64_t ns = recorded_ns(run), stall = history_last(run)->counter[VM_stall_ns] - run->sample[0].counter[VM_stall_ns];
	bool much = stall * 1000 > ns * MUCH_PER_MILLE;

	put_bytes(f, "It ran in ", budget, "");
	put_bytes(f, " instead of ", need, " and waited for pages ");
	put_percent(f, "", stall, ns, stall <= ns ? " % of the time" : " % of the time, all its threads together");
	if (much)
		put_bytes(f, ": too little for what it keeps touching; with ", round_up(need + need / 8), " it would not page at all.");
	else
		fmt_str(f, ": the budget is about right.");
}

const char *report_headline(const struct history *run, char *buf, size_t size)
{
	const struct sample *last = history_last(run);
	uint64_t peak = (ledger_usage_total(&run->peak) + last->reserved) << PAGE_SHIFT, need = run->need_max << PAGE_SHIFT;
	struct figures figures = { 0 };
	struct fmt f;

	fmt_init(&f, buf, size);
	if (run->fatal[0] != '\0') {
		fmt_char(&f, (char)toupper((unsigned char)run->fatal[0]));
		fmt_str(&f, run->fatal + 1);
		fmt_char(&f, '.');
		return buf;
	}
	if (figures_of(&figures, history_figures, run) != 0) {
		fmt_str(&f, "The figures of the summary cannot be read.");
		return buf;
	}
	if (last->counter[VM_pswpout] == 0)
		put_nothing(&f, MAX(peak, figure(&figures, "peak.total_bytes")), last->ram << PAGE_SHIFT);
	else
		put_paged(&f, run, MAX(need, figure(&figures, "need_peak_bytes")), last->ram << PAGE_SHIFT);
	if (!run->ended)
		fmt_str(&f, " The recording breaks off: the run goes on, or its launcher was killed.");
	figures_free(&figures);
	return buf;
}
