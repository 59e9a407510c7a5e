/*
 * Reads that faults wait for, while others are served.
 *
 *     fault on an absent block ──► a free flight: its read starts, the thread goes on waiting
 *                                            │ the disk has it: landed_fd
 *     block put to its place, thread woken ◄─┘
 *
 * Threads that fault by themselves so wait for their own reads only, as they would for a kernel. A program of one thread
 * has nothing of it: its reads are waited for at once, which takes three system calls less.
 *
 * Law: the block of a flight is absent, and in no slot of ahead.c. Whoever holds the lock and wants such a block lands it;
 * whoever makes it a hole has it read again (flight_forget).
 */
#include <errno.h>

#include "base/sys.h"
#include "embed/error.h"
#include "embed/file.h"
#include "live/clock.h"
#include "live/host.h"

struct flight *flight_of(struct file_region *f, uint32_t block)
{
	for (uint32_t i = 0; i < f->nr_flights && f->flying > 0; i++)
		if (f->flight[i].busy && f->flight[i].block == block)
			return &f->flight[i];
	return NULL;
}

static void end(struct file_region *f, struct flight *fl)
{
	fl->busy = false;
	f->flying--;
	f->wait_ns += now_ns() - fl->since;
}

/* It is there, or will never be. */
static void land(struct file_region *f, struct flight *fl)
{
	int err;

	aio_wait(&f->flight_aio, &fl->op);
	end(f, fl);
	err = file_read_end(f, &fl->op);
	if (err == 0)
		err = file_make_room(f, 1);
	if (err == 0) {
		file_place(f, fl->block, 1, fl->op.data, &fl->write);
		return;
	}
	error_say(stw_error());
	file_poison(f, fl->block);
	host_wake(f->region.server.uffd, block_address(f, fl->block), f->page);
}

bool flight_start(struct file_region *f, uint32_t block, bool write)
{
	struct flight *fl = &f->flight[0];

	if (f->flying == f->nr_flights)
		return false;
	while (fl->busy)
		fl++;
	fl->block = block;
	fl->write = write;
	fl->busy = true;
	fl->since = now_ns();
	f->flying++;
	file_read_start(f, &f->flight_aio, &fl->op, block, 1, f->buffer + f->buffer_bytes - ((size_t)(fl - f->flight + 1) << f->page_shift));
	/* The kernel would not have it so, and nobody will hear of it. */
	if (fl->op.done)
		land(f, fl);
	return true;
}

void flight_land(struct file_region *f)
{
	if (f->flying == 0)
		return;
	aio_reap(&f->flight_aio);
	for (uint32_t i = 0; i < f->nr_flights; i++)
		if (f->flight[i].busy && f->flight[i].op.done)
			land(f, &f->flight[i]);
}

bool flight_take(struct file_region *f, uint32_t block)
{
	struct flight *fl = flight_of(f, block);

	if (fl == NULL)
		return false;
	land(f, fl);
	return blocks_has(&f->blocks, block, BLOCK_PRESENT);
}

void flight_forget(struct file_region *f, uint32_t first, uint32_t stop)
{
	for (uint32_t i = 0; i < f->nr_flights; i++) {
		struct flight *fl = &f->flight[i];

		if (!fl->busy || fl->block < first || fl->block >= stop)
			continue;
		aio_wait(&f->flight_aio, &fl->op);
		end(f, fl);
		host_wake(f->region.server.uffd, block_address(f, fl->block), f->page);
	}
}
