/*
 * Sorts records in less memory than they take: an array that is larger than RAM is used like any other.
 *
 *     cc -O2 sort.c $(pkg-config --cflags --libs steward) -o sort
 *     ./sort BUDGET_MIB <records >sorted_records
 *
 * A record has 100 bytes, of which the first ten are its key, as in the sort benchmarks. Records are read into a region; each
 * piece that fits into memory is sorted in place by qsort; then the pieces are merged straight to
 * stdout, and what has been written out is discarded, so that nobody stores it any more.
 */
#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <steward/steward.h>

#define MOST ((size_t)1 << 40) /* bytes of records; addresses cost nothing until they are touched */
#define PIECES 1024
#define DONE_BYTES ((size_t)1 << 20) /* are discarded at once */

struct record {
	char key[10];
	char data[90];
};

struct piece {
	const struct record *next, *end, *kept; /* from kept on it is still there */
};

static struct stw_region *region;

static struct record *open_records(size_t budget)
{
	struct stw_memory_config config = STW_MEMORY_CONFIG;

	config.bytes = MOST;
	config.budget = budget;
	config.swap_dir = getenv("TMPDIR") != NULL ? getenv("TMPDIR") : "/var/tmp";
	config.swap_bytes = (size_t)1 << 36;
	region = stw_memory_open(&config);
	if (region == NULL)
		errx(1, "%s", stw_error());
	return stw_address(region);
}

static int compare(const void *a, const void *b)
{
	return memcmp(((const struct record *)a)->key, ((const struct record *)b)->key, sizeof(((struct record *)0)->key));
}

/* Reads all records, and sorts them piece by piece. Returns how many pieces there are. */
static unsigned read_pieces(struct record *records, size_t piece_records, struct piece *pieces)
{
	struct record *at = records;
	unsigned n = 0;

	for (size_t got = 1; got > 0 && n < PIECES; at += got) {
		got = fread(at, sizeof(*at), piece_records, stdin);
		qsort(at, got, sizeof(*at), compare);
		if (got > 0)
			pieces[n++] = (struct piece){ at, at + got, at };
	}
	if (ferror(stdin) || !feof(stdin))
		errx(1, "cannot read, or more than %d pieces: give it more memory", PIECES);
	return n;
}

/* What lies before the next record of the piece has been written out. */
static void discard(struct piece *p)
{
	size_t offset = (size_t)((const char *)p->kept - (const char *)stw_address(region));
	size_t bytes = (size_t)((const char *)p->next - (const char *)p->kept);

	if (bytes < DONE_BYTES)
		return;
	if (stw_discard(region, offset, bytes) != 0)
		errx(1, "%s", stw_error());
	p->kept = p->next;
}

/* Of a heap of pieces, the smallest next record at the top, the piece at i may be too large for its place. */
static void sink(struct piece *heap, unsigned n, unsigned i)
{
	for (;;) {
		unsigned least = i;

		for (unsigned child = 2 * i + 1; child <= 2 * i + 2 && child < n; child++)
			if (compare(heap[child].next, heap[least].next) < 0)
				least = child;
		if (least == i)
			return;
		struct piece p = heap[i];

		heap[i] = heap[least];
		heap[least] = p;
		i = least;
	}
}

static void merge(struct piece *heap, unsigned n)
{
	for (unsigned i = n; i-- > 0;)
		sink(heap, n, i);
	while (n > 0) {
		if (fwrite(heap->next++, sizeof(struct record), 1, stdout) != 1)
			err(1, "cannot write");
		discard(heap);
		if (heap->next == heap->end)
			*heap = heap[--n];
		sink(heap, n, 0);
	}
	if (fflush(stdout) != 0)
		err(1, "cannot write");
}

int main(int argc, char **argv)
{
	size_t budget = argc == 2 ? strtoul(argv[1], NULL, 10) << 20 : 0;
	static struct piece pieces[PIECES];
	struct stw_stats s;

	if (budget == 0)
		errx(2, "usage: sort BUDGET_MIB <records >sorted_records");
	struct record *records = open_records(budget);

	merge(pieces, read_pieces(records, budget / 2 / sizeof(*records), pieces));
	if (stw_stats(region, &s, sizeof(s)) == 0)
		fprintf(stderr, "sort: budget %zu MiB: %llu MiB left memory, %llu MiB came back\n", budget >> 20,
			(unsigned long long)s.pages_out >> 8, (unsigned long long)s.pages_in >> 8);
	return stw_close(region) == 0 ? 0 : 1;
}
