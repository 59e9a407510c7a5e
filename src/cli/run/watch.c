/*
 * A process owns its slot until it is gone, and cannot always say goodbye:
 * kill -9 leaves grant and counters behind. So the launcher looks. Gone is
 *
 *   - a pid that does not exist,
 *   - a pid whose start time is another: the number was given away again,
 *   - a zombie without further threads: its memory is free already. (A thread
 *     group whose leader has left also shows Z; its threads go on.)
 *
 * A slot whose start time is still 0 is being claimed at this moment.
 *
 * The scan reads only slots that were ever claimed, because each look at a new
 * page of the ledger costs a page. Slots are claimed lowest first, and only
 * the launcher frees them; so above the highest one seen, the first free slot
 * is the end.
 *
 * The figures of a live process are read while it writes them. Each is one
 * aligned word; a sum may be off by what changed during the copy. One that has
 * no engine (yet) writes none; what its slot has is of the image before the last
 * exec. Of that the kernel is asked, and of what processes share (parts.c).
 */
#include "cli/run/watch.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cli/msg.h"
#include "cli/procmem.h"
#include "cli/procstat.h"
#include "cli/run/lend.h"
#include "cli/run/parts.h"

static bool is_gone(int32_t pid, uint64_t start_time, struct procstat *s)
{
	int err = procstat_read(pid, s);

	if (err != 0)
		return (err == -ENOENT || err == -ESRCH) && kill(pid, 0) != 0 && errno == ESRCH;
	if (start_time != 0 && s->start != start_time)
		return true;
	return procstat_ended(s);
}

bool watch_is_gone(int32_t pid, uint64_t start_time)
{
	struct procstat s;

	return is_gone(pid, start_time, &s);
}

void watch_signal(int32_t pid, uint64_t start_time, int sig)
{
	/* A pidfd, because the pid may be somebody else's between the look and the signal. */
	int fd = (int)syscall(SYS_pidfd_open, pid, 0);

	if (fd < 0)
		return;
	if (!watch_is_gone(pid, start_time))
		syscall(SYS_pidfd_send_signal, fd, sig, NULL, 0);
	close(fd);
}

static void add_usage(struct ledger_usage *sum, const struct ledger_usage *u)
{
	sum->managed += u->managed;
	sum->pool += u->pool;
	sum->own += u->own;
	sum->unmanaged += u->unmanaged;
	sum->swapped += u->swapped;
	sum->pooled += u->pooled;
	sum->pool_bytes += u->pool_bytes;
	sum->filed += u->filed;
}

/* Failures are told once, when the first process meets them. */
static void see_state(struct watch *w, unsigned i, uint32_t state)
{
	char name[SWAP_PATH_MAX + 8];
	struct fmt f;

	if (state <= w->area[i].worst)
		return;
	w->area[i].worst = state;
	fmt_init(&f, name, sizeof(name));
	swap_spec_name(&f, &w->ledger->swap[i]);
	if (state == SWAP_FAILING)
		msg_note("%s: writes fail; what is in it can still be read, other pages go elsewhere or stay in memory", name);
}

/* What the processes have in each swap area. */
static void add_areas(struct watch *w, struct ledger_area *sum, const struct ledger_slot *s)
{
	for (unsigned i = 0; i < w->ledger->nr_swap; i++) {
		sum[i].used += s->area[i].used;
		see_state(w, i, s->area[i].worst);
	}
}

static void take_areas(struct watch *w, const struct ledger_area *now)
{
	for (unsigned i = 0; i < w->ledger->nr_swap; i++)
		w->area[i].used = MAX(w->area[i].used, now[i].used);
}

/* What was in the stores at one moment. */
static void take_stores(struct watch *w, const struct ledger_usage *u)
{
	if (u->pooled > w->pooled_peak) {
		w->pooled_peak = u->pooled;
		w->pool_bytes = u->pool_bytes;
		w->pool_frames = u->pool;
	}
}

/* One that has ended counts for itself. */
static void take_gone_areas(struct watch *w, const struct ledger_slot *s)
{
	struct ledger_area area[SWAP_SPECS] = { 0 };

	add_areas(w, area, s);
	take_areas(w, area);
	for (unsigned i = 0; i < w->ledger->nr_swap; i++)
		w->area[i].errors += s->area[i].errors;
}

static void tell_message(struct watch *w, unsigned i)
{
	struct ledger_slot *s = &w->ledger->slot[i];
	char message[sizeof(s->message)];

	if (w->told[i])
		return;
	w->told[i] = true;
	memcpy(message, s->message, sizeof(message));
	message[sizeof(message) - 1] = '\0';
	msg_note("%s", message);
	if (w->fatal[0] == '\0')
		memcpy(w->fatal, message, sizeof(message));
}

/* Apart: it is large, and only what is used of it is to take memory. */
static struct lend lend;

void watch_init(struct watch *w, struct ledger *l)
{
	memset(w, 0, sizeof(*w));
	w->ledger = lend.ledger = l;
	lend.untouched = procmem_read_untouched;
}

static uint64_t processes(const struct ledger *l)
{
	uint64_t n = 0;

	for (uint32_t i = 0, used = atomic_load(&l->slots_used); i < used; i++)
		n += atomic_load(&l->slot[i].pid) != 0;
	return n;
}

/*
 * While processes come and go the parts of the looks at each add up to more than there is: each of a hundred children that appear one
 * after the other has half, a third, a fourth of what all share. Then no more is believed than the budget.
 */
static void bound(const struct ledger *l, struct ledger_usage *now, uint64_t *need)
{
	uint64_t total = ledger_usage_total(now), excess = MIN(total - MIN(total, atomic_load(&l->ram_pages)), now->unmanaged);

	now->unmanaged -= excess;
	*need -= excess;
}

void watch_scan(struct watch *w, uint64_t now_ns)
{
	struct ledger_area area[SWAP_SPECS] = { 0 };
	struct ledger_usage now = { 0 };
	uint64_t need = 0, together = processes(w->ledger), gone_before = w->ledger->gone.processes;

	for (unsigned i = 0; i < LEDGER_SLOTS; i++) {
		struct ledger_slot *s = &w->ledger->slot[i];
		int32_t pid = atomic_load(&s->pid);

		if (pid == 0 && i >= w->slots)
			break;
		if (pid == 0)
			continue;
		w->slots = MAX(w->slots, i + 1);
		struct procstat stat = { 0 };
		bool gone = is_gone(pid, s->start_time, &stat);

		if (atomic_load(&s->state) == LEDGER_FATAL)
			tell_message(w, i);
		if (gone) {
			/* Its memory is free: it counts no more with the others, only for itself. */
			take_stores(w, &s->now);
			take_gone_areas(w, s);
			w->told[i] = false;
			if (i < KCOMPRESSD_RINGS)
				kcompressd_forget(&w->ledger->kcompressd, i);
			if (i < REMOTE_RINGS)
				remote_forget(&w->ledger->remote, i);
			lend_forget(&lend, i);
			ledger_retire(w->ledger, s);
			continue;
		}
		struct ledger_usage usage = part_of(i, s, together);

		if (atomic_load(&s->state) == LEDGER_NATIVE)
			lend_look(&lend, i, stat.faults, usage.unmanaged, now_ns);
		else
			lend_forget(&lend, i);

		add_usage(&now, &usage);
		add_areas(w, area, s);
		need += usage.managed + usage.swapped + usage.unmanaged;
	}

	if (processes(w->ledger) != together || w->ledger->gone.processes != gone_before)
		bound(w->ledger, &now, &need);
	if (ledger_usage_total(&now) > ledger_usage_total(&w->peak))
		w->peak = now;
	w->need_peak = MAX(w->need_peak, need);
	take_stores(w, &now);
	take_areas(w, area);
}

static void take_peak(struct watch_total *t, const struct ledger_usage *peak, uint64_t need_peak)
{
	if (ledger_usage_total(peak) > ledger_usage_total(&t->peak))
		t->peak = *peak;
	t->need_peak = MAX(t->need_peak, need_peak);
}

void watch_total(const struct watch *w, struct watch_total *t)
{
	const struct ledger_gone *gone = &w->ledger->gone;

	*t = (struct watch_total){ .processes = gone->processes, .fault_ns = gone->fault_ns };
	memcpy(t->counter, gone->counter, sizeof(t->counter));
	/* A single process knows its peak exactly; the samples see several at once. */
	take_peak(t, &w->peak, w->need_peak);
	take_peak(t, &gone->peak, gone->need_peak);
	for (unsigned i = 0; i < w->slots; i++) {
		const struct ledger_slot *s = &w->ledger->slot[i];

		if (atomic_load(&s->pid) == 0)
			continue;
		t->processes++;
		t->running++;
		take_peak(t, &s->peak, s->need_peak);
		for (unsigned c = 0; c < VM_COUNTER_NR; c++)
			t->counter[c] += s->counter[c];
		hist_merge(&t->fault_ns, &s->fault_ns);
	}
}
