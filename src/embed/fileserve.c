/* Faults of a file region: those that wait at once are served at once, with their reads in flight together. */
#include <errno.h>
#include <string.h>

#include "base/sys.h"
#include "base/uffd.h"
#include "embed/error.h"
#include "embed/file.h"
#include "live/clock.h"
#include "live/host.h"

#define MIXED_FAULTS 64 /* of one thread in a row, after which it is taken for the only one */
#define WRITES (UFFD_PAGEFAULT_FLAG_WRITE | UFFD_PAGEFAULT_FLAG_WP)

/* Absent blocks that are waited for, ascending. */
struct wanted {
	uint32_t block[SERVER_BATCH];
	bool write[SERVER_BATCH];
	unsigned n;
};

static void want(struct wanted *w, uint32_t block, bool write)
{
	unsigned at = w->n;

	while (at > 0 && w->block[at - 1] > block)
		at--;
	if (at > 0 && w->block[at - 1] == block) {
		w->write[at - 1] |= write;
		return;
	}
	for (unsigned i = w->n++; i > at; i--) {
		w->block[i] = w->block[i - 1];
		w->write[i] = w->write[i - 1];
	}
	w->block[at] = block;
	w->write[at] = write;
}

void file_poison(struct file_region *f, uint32_t block)
{
	f->poisoned = true;
	host_poison(f->region.server.uffd, block_address(f, block), f->page);
}

/* The block, and what follows it of a stream. */
static void bring_stream(struct file_region *f, uint32_t block, bool write, uint32_t window)
{
	uint32_t blocks[BATCH], n;
	bool writes[BATCH];
	int err[BATCH];

	for (uint32_t done = 0; done < window; done += n) {
		n = MIN(window - done, f->batch);
		for (uint32_t i = 0; i < n; i++) {
			blocks[i] = block + done + i;
			writes[i] = write && done + i == 0;
		}
		if (file_bring(f, blocks, writes, err, n) == 0)
			continue;
		/* The others are not waited for. */
		if (done == 0 && err[0] != 0) {
			error_say(stw_error());
			file_poison(f, block);
		}
		return;
	}
	ahead_read_on(f, block + window, window);
}

static void bring_all(struct file_region *f, const struct wanted *w)
{
	int err[SERVER_BATCH];
	unsigned n;

	for (unsigned done = 0; done < w->n; done += n) {
		n = MIN(w->n - done, f->batch);
		if (file_bring(f, w->block + done, w->write + done, err, n) == 0)
			continue;
		error_say(stw_error());
		for (unsigned i = 0; i < n; i++)
			if (err[i] != 0)
				file_poison(f, w->block[done + i]);
	}
}

/*
 * Whoever writes one block after the other will write the next ones, too: they may be written as well, twice as many each
 * time. If he stops, some are written to the file that need not be.
 */
static void allow_write(struct file_region *f, uint32_t block)
{
	bool goes_on = f->write_window > 0 && block == f->write_next;
	uint32_t n = 1;

	if (!f->writable || blocks_has(&f->blocks, block, BLOCK_DIRTY))
		return;
	f->written_faults++;
	f->write_window = goes_on ? MIN(f->write_window * 2, f->window_max) : 1;
	while (n < f->write_window && block + n < f->blocks.nr && blocks_has(&f->blocks, block + n, BLOCK_PRESENT))
		n++;
	f->write_next = block + n;
	file_make_dirty(f, block, n);
}

/* It is present, or is now, because it was being read ahead. */
static bool have(struct file_region *f, uint32_t block, bool go_on)
{
	return blocks_has(&f->blocks, block, BLOCK_PRESENT) || ahead_take(f, block, go_on);
}

/*
 * A page of the block is missing that was there: somebody has called madvise. It is brought again, as it is in the file,
 * because a fault must not come for ever.
 */
static bool was_dropped(struct file_region *f, const struct server_fault *fault, uint32_t block)
{
	unsigned char resident = 1;

	if (!blocks_has(&f->blocks, block, BLOCK_PRESENT) || (fault->flags & UFFD_PAGEFAULT_FLAG_WP))
		return false;
	/* Or it has come since, for another thread. */
	return sys_call3(SYS_mincore, (long)fault->address, PAGE_SIZE, (long)&resident) == 0 && !(resident & 1);
}

static void sort_out(struct file_region *f, const struct server_fault *fault, struct wanted *w)
{
	uint32_t block = block_of(f, fault->address);
	bool write = fault->flags & WRITES;

	f->faults++;
	if (fault->thread != f->thread && f->thread != 0)
		f->mixed = f->faults;
	f->thread = fault->thread;
	if (was_dropped(f, fault, block)) {
		file_drop(f, block);
		blocks_forget(&f->blocks, block);
	}
	struct flight *fl = flight_of(f, block);

	if (fl != NULL)
		fl->write |= write;
	else if (!have(f, block, true))
		want(w, block, write);
	else if (write)
		allow_write(f, block);
}

/* More than one has faulted lately: each is to wait for its own read only. */
static bool several_threads(const struct file_region *f)
{
	return f->mixed != 0 && f->faults - f->mixed < MIXED_FAULTS;
}

/* As many as there are flights for; the others are left. */
static void fly(struct file_region *f, struct wanted *w)
{
	unsigned n = 0;

	while (n < w->n && flight_start(f, w->block[n], w->write[n]))
		n++;
	w->n -= n;
	memmove(w->block, w->block + n, w->n * sizeof(w->block[0]));
	memmove(w->write, w->write + n, w->n * sizeof(w->write[0]));
}

/* Streams first, because they may bring what others want; then all that is left, while nothing more is read ahead. */
static void bring(struct file_region *f, const struct wanted *w)
{
	struct wanted rest = { .n = 0 }, missing = { .n = 0 };
	bool known;

	for (unsigned i = 0; i < w->n; i++) {
		uint32_t window = have(f, w->block[i], true) ? 0 : ahead_window(f, w->block[i], &known);

		if (window > 0 && known)
			bring_stream(f, w->block[i], w->write[i], window);
		else
			want(&rest, w->block[i], w->write[i]);
	}
	for (unsigned i = 0; i < rest.n; i++) {
		if (!have(f, rest.block[i], false))
			want(&missing, rest.block[i], rest.write[i] || file_expects_write(f));
		else if (rest.write[i])
			allow_write(f, rest.block[i]);
	}
	if (several_threads(f))
		fly(f, &missing);
	bring_all(f, &missing);
}

void file_fault(void *ctx, const struct server_fault *faults, unsigned n)
{
	struct file_region *f = ctx;
	struct wanted w = { .n = 0 };
	uint64_t start = now_ns();

	engine_lock_take(&f->lock);
	flight_land(f);
	for (unsigned i = 0; i < n && !f->region.closing; i++)
		sort_out(f, &faults[i], &w);
	f->majors += w.n;
	bring(f, &w);
	for (unsigned i = 0; i < n; i++)
		if (flight_of(f, block_of(f, faults[i].address)) == NULL)
			host_wake(f->region.server.uffd, faults[i].address, PAGE_SIZE);
	/* What is in flight is counted when it lands. */
	f->wait_ns += n > 0 ? now_ns() - start : 0;
	/* While they go on: the next one need not wait for what leaves. That it cannot is for the next one to hear. */
	if (!f->region.closing)
		file_make_room(f, f->spare);
	engine_lock_drop(&f->lock);
}
