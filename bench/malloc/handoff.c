/*
 * handoff: producers make blocks, consumers free them, all the time and all of them. Every free is remote, and
 * a producer never frees anything itself: does what comes back reach it, at what price, and how much is under
 * way meanwhile?
 *
 * Blocks go in batches through a ring with one lock, so that its price is small beside that of a batch.
 */
#include <pthread.h>

#include "base/rand.h"
#include "bench.h"

enum { BATCH = 128, RING = 32 };

struct batch {
	struct block blocks[BATCH];
};

static size_t pairs = 1, batches = 80000, size_max = 256;

/* One producer and one consumer. */
struct pair {
	struct rand r; /* the producer's */
	pthread_mutex_t lock;
	pthread_cond_t moved;
	size_t put, taken;      /* lock */
	struct batch ring[RING]; /* [taken, put) are the consumer's, the others the producer's */
};

static void wait_while(struct pair *p, size_t distance)
{
	pthread_mutex_lock(&p->lock);
	while (p->put - p->taken == distance)
		pthread_cond_wait(&p->moved, &p->lock);
	pthread_mutex_unlock(&p->lock);
}

static void step(struct pair *p, size_t *counter)
{
	pthread_mutex_lock(&p->lock);
	++*counter;
	pthread_cond_signal(&p->moved);
	pthread_mutex_unlock(&p->lock);
}

static void *produce(void *arg)
{
	struct pair *p = arg;

	for (size_t i = 0; i < batches / pairs; i++) {
		struct batch *b = &p->ring[i % RING];

		wait_while(p, RING);
		for (size_t k = 0; k < BATCH; k++)
			b->blocks[k] = block_new(8 + rand_below(&p->r, size_max - 7));
		step(p, &p->put);
	}
	return NULL;
}

static void consume(struct pair *p)
{
	for (size_t i = 0; i < batches / pairs; i++) {
		struct batch *b = &p->ring[i % RING];

		wait_while(p, 0);
		for (size_t k = 0; k < BATCH; k++)
			block_free(&b->blocks[k]);
		step(p, &p->taken);
	}
}

static void both(void *arg, size_t me)
{
	struct pair *p = arg;
	pthread_t producer;

	rand_seed(&p->r, me);
	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->moved, NULL);
	if (pthread_create(&producer, NULL, produce, p) != 0)
		abort();
	consume(p);
	pthread_join(producer, NULL);
}

int main(int argc, char **argv)
{
	const struct bench_option options[] = { { "pairs", &pairs }, { "batches", &batches }, { "size-max", &size_max },
		{ NULL, NULL } };

	bench_options(argc, argv, options);
	bench_threads(pairs, both, bench_table(pairs, sizeof(struct pair)), sizeof(struct pair));
	bench_report("pairs=%zu blocks=%zu", pairs, batches / pairs * pairs * BATCH);
	return 0;
}
