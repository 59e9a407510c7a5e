#include "cli/run/compressor.h"

#include <pthread.h>
#include <sched.h>

#define WORK_BYTES (512 * KIB)

static pthread_t thread;
static bool started;

static int process_of(void *ctx, unsigned ring)
{
	struct ledger *l = ctx;

	return atomic_load(&l->slot[ring].pid);
}

static void *run(void *arg)
{
	/* Untouched beyond what the codec needs. */
	static uint8_t work[WORK_BYTES] __attribute__((aligned(64)));
	struct ledger *l = arg;

	kcompressd_run(&l->kcompressd, ledger_zpool_codec(l), work, sizeof(work), process_of, l);
	return NULL;
}

void compressor_start(struct ledger *l)
{
	cpu_set_t cpus;

	if (sched_getaffinity(0, sizeof(cpus), &cpus) != 0 || CPU_COUNT(&cpus) < 2)
		return;
	started = pthread_create(&thread, NULL, run, l) == 0;
	atomic_store(&l->kcompressd.running, started);
}

void compressor_stop(struct ledger *l)
{
	if (!started)
		return;
	kcompressd_stop(&l->kcompressd);
	pthread_join(thread, NULL);
	started = false;
}
