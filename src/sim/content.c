/* Bytes of a task's memory, as a program would read and write them: for tests and for tools that look inside. */
#include "sim/engine.h"

#include <errno.h>
#include <string.h>

#include "base/assert.h"

/* One page at a time: touched through the MMU, then the bytes at the home of the frame that it named. */
static int transfer(struct sim *s, struct sim_task *t, unsigned thread, uint64_t address, uint8_t *buf, size_t n,
		    bool store)
{
	struct sim_cpu *c = sim_cpu_of(s, t, thread);

	ASSERT(s->config.content);
	while (n > 0) {
		uint64_t offset = address % PAGE_SIZE;
		size_t part = MIN(n, PAGE_SIZE - offset);
		pfn_t pfn;
		int err = t->end != SIM_RUNS ? -ESRCH :
			sim_touch(s, t, c, vpn_of(address), store ? MMU_WRITE : MMU_READ, 1, &pfn);

		if (err != 0)
			return err;
		uint8_t *at = (uint8_t *)frame_home(&s->m.phys, pfn_frame(&s->m.phys, pfn)) + offset;

		memcpy(store ? at : buf, store ? buf : at, part);
		address += part;
		buf += part;
		n -= part;
	}
	return 0;
}

int sim_load(struct sim *s, struct sim_task *t, unsigned thread, uint64_t address, void *buf, size_t n)
{
	return transfer(s, t, thread, address, buf, n, false);
}

int sim_store(struct sim *s, struct sim_task *t, unsigned thread, uint64_t address, const void *buf, size_t n)
{
	return transfer(s, t, thread, address, (uint8_t *)buf, n, true);
}
