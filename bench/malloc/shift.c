/*
 * shift: fragmentation over time. The program fills its memory with blocks of one size, frees all but one in
 * twenty, at random, and goes on with larger ones: can holes between the survivors of all times be used? What
 * is live never exceeds live_kib; peak RSS beside it is what fragmentation costs.
 *
 * The blocks are a list through themselves, so that there is no table beside the heap. A block is checked when
 * it is freed: the list is walked in the order of allocation.
 */
#include "base/rand.h"
#include "bench.h"
#include "node.h"

static size_t fill_mib = 96, survivors_percent = 5, growth_percent = 40, rounds = 6, size_first = 64;

/* Frees all but survivors_percent; returns what stays live. */
static size_t thin(struct node **list, struct rand *r)
{
	size_t live = 0;

	while (*list != NULL) {
		struct node *n = *list;

		if (rand_below(r, 100) < survivors_percent) {
			live += n->size;
			list = &n->next;
		} else {
			*list = n->next;
			node_free(n);
		}
	}
	return live;
}

int main(int argc, char **argv)
{
	const struct bench_option options[] = { { "fill-mib", &fill_mib }, { "survivors-percent", &survivors_percent },
		{ "growth-percent", &growth_percent }, { "rounds", &rounds }, { "size-first", &size_first }, { NULL, NULL } };
	struct node *old = NULL; /* survivors of all rounds, which nobody frees before the end */
	size_t old_live = 0, peak = 0, size = size_first;
	struct rand r;

	bench_options(argc, argv, options);
	rand_seed(&r, 1);
	for (size_t round = 0; round < rounds; round++, size += size * growth_percent / 100) {
		struct node *list = NULL, **end = &list;
		size_t live = 0;

		while (old_live + live < fill_mib << 20) {
			list = node_new(size + rand_below(&r, size / 4), list);
			live += list->size;
		}
		peak = peak < old_live + live ? old_live + live : peak;
		old_live += thin(&list, &r);
		while (*end != NULL)
			end = &(*end)->next;
		*end = old;
		old = list;
	}
	size_t rss = bench_rss_kib();

	survivors_percent = 0;
	thin(&old, &r);
	bench_report("live_kib=%zu old_kib=%zu old_rss_kib=%zu", peak / 1024, old_live / 1024, rss);
	return 0;
}
