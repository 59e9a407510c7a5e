/*
 * A sample stands for the bytes counted since the one before, its weight. For
 * chunks these are exact: every one of them is counted, and one of s bytes is a
 * sample with probability s / period.
 *
 * Slots are counted when they leave their slab, not at each malloc, and who
 * finds the cache empty is mostly who allocates and frees again and again. So
 * some requests in a row are samples, until BURST of them were not freed at
 * once (or PATIENCE were). What remains says how the bytes in use are divided
 * among sites, not how many there are. That the slabs know, for each size: so the
 * weights of a class are scaled to its slots in use (scaled).
 *
 * Samples are in a table out of line (addrtable.h), keyed by the address.
 */
#include "malloc/profile.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fmt.h"
#include "malloc/addrtable.h"
#include "malloc/control.h"
#include "malloc/heapstat.h"
#include "steward/malloc.h"

#define API __attribute__((visibility("protected")))
#define FRAMES_MAX 32
#define BURST 8
#define PATIENCE 256

enum { ADDR, BYTES, WEIGHT, FRAMES, FIRST_FRAME, ENTRY_WORDS = FIRST_FRAME + FRAMES_MAX };

_Atomic size_t profile_period;

static backtrace_fn *unwind;
static struct addr_table samples = { .words = ENTRY_WORDS };
static char path[PATH_MAX];

/* Bytes since the last sample, and how many are to come before the next. */
struct counter {
	size_t since, target;
};

static __thread struct {
	struct counter slots, chunks;
	size_t weight;          /* of the sample that is due */
	unsigned burst, patience; /* of the row that is under way */
	size_t burst_weight;    /* of each in it */
	const void *last;       /* the newest sample; NULL: it is gone */
	uint64_t random_state;
} me __attribute__((tls_model("initial-exec")));

/* Between half a period and one and a half: what comes at regular distances is not to be met always or never. */
static size_t next_target(void)
{
	size_t period = atomic_load_explicit(&profile_period, memory_order_relaxed);

	me.random_state = (me.random_state ^ (uintptr_t)&me ^ process_secret()) * 6364136223846793005u + 1442695040888963407u;
	return period / 2 + (me.random_state >> 32) % period;
}

static bool is_due(struct counter *c)
{
	if (c->target == 0)
		c->target = next_target();
	if (c->since < c->target)
		return false;
	me.weight = c->since;
	c->since = 0;
	c->target = next_target();
	return true;
}

void profile_refilled(size_t bytes)
{
	me.slots.since += bytes;
}

/* One of a chunk's size. */
static bool chunk_wants(size_t bytes)
{
	/* Each of these is a sample, and stands for itself. */
	if (bytes >= atomic_load_explicit(&profile_period, memory_order_relaxed)) {
		me.weight = bytes;
		return true;
	}
	me.chunks.since += bytes;
	return is_due(&me.chunks);
}

bool profile_wants(size_t bytes)
{
	if (bytes > SLOT_MAX || tcache_own == NULL)
		return chunk_wants(bytes);
	if (me.burst != 0) {
		me.burst -= me.last != NULL;
		if (--me.patience == 0)
			me.burst = 0;
		me.weight = me.burst_weight;
		return true;
	}
	if (!is_due(&me.slots))
		return false;
	me.burst = BURST;
	me.patience = PATIENCE;
	me.weight = me.burst_weight = me.weight / BURST;
	return true;
}

static void insert(uintptr_t *entry, void *mem, size_t bytes)
{
	entry[ADDR] = (uintptr_t)mem;
	entry[BYTES] = MAX(bytes, (size_t)1);
	entry[FRAMES] = unwind(&entry[FIRST_FRAME], FRAMES_MAX);
	addr_insert(&samples, entry);
}

void profile_add(void *mem, size_t bytes)
{
	uintptr_t entry[ENTRY_WORDS] = { [WEIGHT] = me.weight };

	insert(entry, mem, bytes);
	me.last = mem;
}

void profile_forget(void *mem)
{
	if (me.last == mem)
		me.last = NULL;
	addr_remove(&samples, (uintptr_t)mem, NULL);
}

/* What a block grows by counts as a request; it may make the block a sample, or add to its weight. */
void profile_resized(void *from, void *to, size_t old, size_t bytes)
{
	uintptr_t entry[ENTRY_WORDS] = { 0 };
	bool known = addr_remove(&samples, (uintptr_t)from, entry);

	if (bytes < old)
		entry[WEIGHT] = (uintptr_t)((unsigned __int128)entry[WEIGHT] * bytes / old);
	else if (chunk_wants(bytes - old))
		entry[WEIGHT] += me.weight;
	if (known || entry[WEIGHT] != 0)
		insert(entry, to, bytes);
}

/*
 * Writing: the legacy text format of gperftools, which pprof and jeprof read.
 * "heapprofile" without a rate: the numbers are to be taken as they are.
 */

struct writer {
	int fd, err;
	struct fmt f;
	char buf[4096];
};

static void flush(struct writer *w)
{
	for (size_t done = 0; done < w->f.len && w->err == 0;) {
		ssize_t n = write(w->fd, w->buf + done, w->f.len - done);

		if (n > 0)
			done += (size_t)n;
		else if (n == 0 || errno != EINTR)
			w->err = n == 0 ? EIO : errno;
	}
	fmt_init(&w->f, w->buf, sizeof(w->buf));
}

/* The bytes in use of a class and the weights of its samples. */
struct class_sum {
	size_t bytes, weight;
	bool slots; /* it has slabs */
};

struct sums {
	struct class_sum classes[NR_CLASSES];
	size_t blocks, bytes; /* of the whole profile */
	struct writer *w;
};

static void add_weight(void *ctx, const uintptr_t *entry)
{
	struct sums *sums = ctx;

	if (entry[BYTES] <= SLOT_MAX) {
		struct class_sum *c = &sums->classes[slot_class(entry[BYTES])];

		c->weight += entry[WEIGHT];
		c->bytes += class_bytes(slot_class(entry[BYTES]));
	}
}

/* What a sample stands for. */
static size_t scaled(const struct sums *sums, const uintptr_t *entry)
{
	const struct class_sum *c;

	if (entry[BYTES] > SLOT_MAX)
		return entry[WEIGHT];
	c = &sums->classes[slot_class(entry[BYTES])];
	if (!c->slots || c->weight == 0)
		return entry[WEIGHT];
	return (size_t)((unsigned __int128)c->bytes * entry[WEIGHT] / c->weight);
}

static size_t blocks_of(const uintptr_t *entry, size_t bytes)
{
	return MAX(bytes / entry[BYTES], (size_t)1);
}

static void add_total(void *ctx, const uintptr_t *entry)
{
	struct sums *sums = ctx;
	size_t bytes = scaled(sums, entry);

	sums->bytes += bytes;
	sums->blocks += blocks_of(entry, bytes);
}

static void numbers(struct fmt *f, size_t blocks, size_t bytes)
{
	fmt_u64(f, blocks);
	fmt_str(f, ": ");
	fmt_u64(f, bytes);
	fmt_str(f, " [");
	fmt_u64(f, blocks);
	fmt_str(f, ": ");
	fmt_u64(f, bytes);
	fmt_str(f, "] @");
}

static void write_sample(void *ctx, const uintptr_t *entry)
{
	struct sums *sums = ctx;
	struct writer *w = sums->w;
	size_t bytes = scaled(sums, entry);

	numbers(&w->f, blocks_of(entry, bytes), bytes);
	for (size_t i = 0; i < MIN(entry[FRAMES], (uintptr_t)FRAMES_MAX); i++) {
		fmt_char(&w->f, ' ');
		fmt_hex(&w->f, entry[FIRST_FRAME + i]);
	}
	fmt_char(&w->f, '\n');
	flush(w);
}

static void write_libraries(struct writer *w)
{
	int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
	ssize_t n;

	fmt_str(&w->f, "\nMAPPED_LIBRARIES:\n");
	flush(w);
	while (fd >= 0 && (n = read(fd, w->buf, sizeof(w->buf))) > 0) {
		w->f.len = (size_t)n;
		flush(w);
	}
	if (fd >= 0)
		close(fd);
}

static void sum_up(struct sums *sums)
{
	uintptr_t room[ENTRY_WORDS];
	struct heap_stat heap;

	heap_stat(&heap);
	for (unsigned class = 0; class < NR_CLASSES; class++) {
		sums->classes[class].bytes = heap_slots_used(&heap, class) * class_bytes(class);
		sums->classes[class].slots = heap.sum.classes[class].slots != 0;
	}
	addr_each(&samples, room, add_weight, sums);
	addr_each(&samples, room, add_total, sums);
}

API int stw_malloc_profile(int fd)
{
	struct writer w = { .fd = fd };
	struct sums sums = { .w = &w };
	uintptr_t room[ENTRY_WORDS];
	int saved_errno = errno;

	if (!profile_is_on())
		return ENOTSUP;
	sum_up(&sums);
	fmt_init(&w.f, w.buf, sizeof(w.buf));
	fmt_str(&w.f, "heap profile: ");
	numbers(&w.f, sums.blocks, sums.bytes);
	fmt_str(&w.f, " heapprofile\n");
	flush(&w);
	addr_each(&samples, room, write_sample, &sums);
	write_libraries(&w);
	errno = saved_errno;
	return w.err;
}

bool profile_start(const char *file, size_t len, size_t period, backtrace_fn *fn)
{
	size_t at = 0;

	if (len == 0 || period == 0 || fn == NULL)
		return false;
	unwind = fn;
	/* The program may change its directory. */
	if (file[0] != '/' && getcwd(path, sizeof(path)) != NULL) {
		at = strlen(path);
		path[at++] = '/';
	}
	if (at + len + 12 > sizeof(path))
		return false;
	memcpy(path + at, file, len);
	path[at + len] = '.';
	path[at + len + 1] = '\0';
	atomic_store(&profile_period, period);
	return true;
}

void profile_exit(void)
{
	char name[PATH_MAX];
	struct fmt f;
	int fd;

	if (!profile_is_on())
		return;
	fmt_init(&f, name, sizeof(name));
	fmt_str(&f, path);
	fmt_u64(&f, (uint64_t)getpid());
	fd = open(name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	if (fd >= 0 && stw_malloc_profile(fd) != 0)
		unlink(name);
	if (fd >= 0)
		close(fd);
}
