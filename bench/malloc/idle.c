/*
 * idle: is memory given back? A program makes sessions, blocks of mixed sizes that live and die together, ends
 * nine in ten of them, chosen at random, and then sleeps: it calls nothing that could do the work of giving
 * back. Resident size before, at the peak, right after the freeing and ten seconds later, beside what is live.
 *
 * --session 1 makes every block a session of its own: hardly a page is free as a whole then, and nothing
 * helps.
 */
#include <time.h>

#include "base/rand.h"
#include "bench.h"
#include "node.h"

static size_t fill_mib = 128, session = 512, keep_percent = 10, sleep_s = 10, size_max = 2048;

/* Makes sessions until fill_mib are live; returns the bytes. */
static size_t fill(struct node **sessions, size_t most, struct rand *r)
{
	size_t live = 0;

	for (size_t i = 0; i < most && live < fill_mib << 20; i++) {
		for (size_t k = 0; k < session; k++) {
			/* Small ones are commoner. */
			size_t size = NODE_SIZE_MIN + rand_below(r, 1 + rand_below(r, size_max - NODE_SIZE_MIN));

			sessions[i] = node_new(size, sessions[i]);
			live += size;
		}
	}
	return live;
}

/* Ends all sessions but keep_percent; returns the bytes freed. */
static size_t thin(struct node **sessions, size_t most, struct rand *r)
{
	size_t freed = 0;

	for (size_t i = 0; i < most; i++) {
		if (rand_below(r, 100) < keep_percent)
			continue;
		for (struct node *n = sessions[i], *next; n != NULL; n = next) {
			next = n->next;
			freed += n->size;
			node_free(n);
		}
	}
	return freed;
}

int main(int argc, char **argv)
{
	const struct bench_option options[] = { { "fill-mib", &fill_mib }, { "session", &session },
		{ "keep-percent", &keep_percent }, { "sleep", &sleep_s }, { "size-max", &size_max }, { NULL, NULL } };
	struct rand r;

	bench_options(argc, argv, options);
	size_t most = (fill_mib << 20) / (session * NODE_SIZE_MIN) + 1, start_kib = bench_rss_kib();
	struct node **sessions = bench_table(most, sizeof(*sessions));

	rand_seed(&r, 1);
	size_t live = fill(sessions, most, &r), peak_kib = bench_rss_kib();

	live -= thin(sessions, most, &r);
	size_t freed_kib = bench_rss_kib();

	nanosleep(&(struct timespec){ (time_t)sleep_s, 0 }, NULL);
	bench_report("start_kib=%zu peak_kib=%zu live_kib=%zu freed_kib=%zu later_kib=%zu", start_kib, peak_kib, live / 1024,
		     freed_kib, bench_rss_kib());
	return 0;
}
