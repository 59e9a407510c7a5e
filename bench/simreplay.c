/*
 * simreplay: the simulator as a whole, one core, in figures that bench/sim.py prints and compares.
 *
 *   zipf OBJECTS REQUESTS STEWARD ORACLE     one sequence of pages, zipf 1.0, as two files: a trace of Steward and one of
 *                                            libCacheSim (oracleGeneral)
 *   replay TRACE FRAMES POLICY linux|exact   replays it on a machine that has so many frames for it
 *   hits TOUCHES                             touches of 64 pages, which any TLB holds, from a trace in memory
 *   memory FRAMES                            what a machine with so many frames in use costs
 *   stream TOUCHES FAR                       a trace of any length, made while it is read, through a pipe, of which one touch in FAR
 *                                            misses the TLB: the most memory that it took
 *
 * linux: reclaim in batches of 32, accessed bits as x86 has them. exact: one page at a time, every use seen, the first
 * touch of a page no use of it, as simulators of caches count; so misses are theirs.
 *
 * Output: "key value" lines. Times are of this process's CPU, and reading and decoding the trace is in them.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/rand.h"
#include "sim/engine.h"

enum { HIT_PAGES = 64 };

static void die(const char *what)
{
	fprintf(stderr, "simreplay: %s\n", what);
	exit(1);
}

static void *must(void *p)
{
	if (p == NULL)
		die("no memory");
	return p;
}

static double cpu_seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec * 1e-9;
}

static uint64_t resident_bytes(void)
{
	unsigned long long size, resident = 0;
	FILE *f = must(fopen("/proc/self/statm", "re"));

	if (fscanf(f, "%llu %llu", &size, &resident) != 2)
		die("/proc/self/statm");
	fclose(f);
	return resident * PAGE_SIZE;
}

/* Not ru_maxrss: that of whoever started the process is in it. */
static uint64_t peak_bytes(void)
{
	unsigned long long kib = 0;
	FILE *f = must(fopen("/proc/self/status", "re"));
	char line[256];

	while (fgets(line, sizeof(line), f) != NULL && sscanf(line, "VmHWM: %llu", &kib) != 1)
		;
	fclose(f);
	if (kib == 0)
		die("/proc/self/status");
	return kib * 1024;
}

/* Draws ranks of a zipf law with exponent 1 by inverting its distribution, from a table of where to begin. */
struct zipf {
	double *sum;
	uint32_t *begin;
	uint32_t n, parts;
	struct rand rand;
};

static void zipf_make(struct zipf *z, uint32_t n)
{
	double total = 0;

	*z = (struct zipf){ .sum = must(malloc(n * sizeof(double))), .n = n, .parts = 1 << 16 };
	z->begin = must(malloc((z->parts + 1) * sizeof(*z->begin)));
	rand_seed(&z->rand, 1);
	for (uint32_t i = 0; i < n; i++)
		z->sum[i] = total += 1.0 / (i + 1);
	for (uint32_t i = 0, p = 0; p <= z->parts; p++) {
		while (i < n - 1 && z->sum[i] <= total * p / z->parts)
			i++;
		z->begin[p] = i;
	}
}

static uint32_t zipf_draw(struct zipf *z)
{
	double u = (double)rand_below(&z->rand, (uint64_t)1 << 53) * 0x1p-53;
	uint32_t part = (uint32_t)(u * z->parts), low = z->begin[part], high = z->begin[part + 1];

	u *= z->sum[z->n - 1];
	while (low < high) {
		uint32_t middle = (low + high) / 2;

		if (z->sum[middle] > u)
			high = middle;
		else
			low = middle + 1;
	}
	/* Scattered, so that hot pages are not neighbours: one to one, because 40503 is a prime that divides no n used here. */
	return (uint32_t)((uint64_t)low * 40503 % z->n);
}

static struct trace_writer *writer(int fd)
{
	struct trace_writer *w;

	if (fd < 0 || trace_writer_open(&w, fd, false) != 0 ||
	    trace_write(w, &(struct trace_event){ .op = TRACE_TASK, .text = "bench", .text_len = 5 }) != 0)
		die("the trace cannot be written");
	return w;
}

static void write_touch(struct trace_writer *w, uint64_t page)
{
	/* Writes: a page that is only read needs no frame. */
	if (trace_write(w, &(struct trace_event){ .op = TRACE_ACCESS, .flags = TRACE_W, .vpn = page, .n = 1 }) != 0)
		die("the trace cannot be written");
}

static int zipf_main(uint32_t objects, uint64_t requests, const char *steward, const char *oracle)
{
	int fd = open(steward, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	struct trace_writer *w = writer(fd);
	FILE *f = must(fopen(oracle, "we"));
	struct zipf z;

	zipf_make(&z, objects);
	for (uint64_t i = 0; i < requests; i++) {
		struct __attribute__((packed)) {
			uint32_t time;
			uint64_t object;
			uint32_t size;
			int64_t next;
		} record = { .time = (uint32_t)(i >> 20), .object = zipf_draw(&z), .size = 1, .next = -1 };

		write_touch(w, record.object);
		if (fwrite(&record, sizeof(record), 1, f) != 1)
			die("the trace of libCacheSim cannot be written");
	}
	if (fclose(f) != 0 || trace_writer_close(w) != 0 || close(fd) != 0)
		die("the traces cannot be written");
	return 0;
}

static struct sim *make_machine(uint64_t frames, const char *policy, bool exact)
{
	struct sim_config_error error;
	struct sim_config c;

	sim_config_default(&c);
	c.cpus = 1;
	c.nr_zones = c.nr_nodes = 1;
	/* Room for tables, and so much that the zone's own watermarks do not matter. */
	c.zone[0] = (struct sim_zone_config){ .name = "Normal", .size_bytes = ALIGN_UP(frames * 2 + 65536, 1024) * PAGE_SIZE };
	c.limit_bytes = frames * PAGE_SIZE;
	c.limit_tables = false;
	c.limit_flush_ns = 0;
	c.reclaim_batch = exact ? 1 : 32;
	c.fault_young = !exact;
	c.flush_young = exact;
	c.nr_swaps = 1;
	c.swap[0] = (struct sim_swap_config){ .kind = SIM_SWAP_COMPRESSED, .size_bytes = 64 * GIB, .read_ns = 1000, .write_ns = 3000 };
	snprintf(c.policy, sizeof(c.policy), "%s", policy);
	struct sim *s = sim_create(&c, &error);

	if (s == NULL)
		die(error.text);
	return s;
}

static void replay(struct sim *s, int fd)
{
	struct trace_error error;
	struct trace_reader *r = fd < 0 ? NULL : trace_reader_open(fd, &error);
	unsigned source;

	if (r == NULL || sim_replay(s, &r, 1, &source, &error) != 0)
		die("the trace cannot be replayed");
	trace_reader_close(r);
}

static uint64_t misses(const struct sim *s)
{
	const struct sim_task *t = s->task[0];

	return t->faults[SIM_MINOR] + t->faults[SIM_MAJOR];
}

static void report(const struct sim *s, double seconds)
{
	const struct mmu_stat *mmu = mmu_stat(s->cpu[0].mmu);

	printf("touches %" PRIu64 "\nseconds %.3f\nrate %.2f\nmiss_ratio %.6f\nwalks %.6f\n", s->touches, seconds,
	       (double)s->touches / seconds / 1e6, (double)misses(s) / (double)s->touches,
	       (double)mmu->walks / (double)s->touches);
}

static int replay_main(const char *trace, uint64_t frames, const char *policy, const char *how)
{
	struct sim *s = make_machine(frames, policy, strcmp(how, "exact") == 0);
	double start = cpu_seconds();

	replay(s, open(trace, O_RDONLY | O_CLOEXEC));
	report(s, cpu_seconds() - start);
	sim_destroy(s);
	return 0;
}

static int hits_main(uint64_t touches)
{
	int fd = memfd_create("hits", MFD_CLOEXEC);
	struct trace_writer *w = writer(fd);
	struct rand r;

	rand_seed(&r, 1);
	for (uint64_t i = 0; i < touches; i++)
		write_touch(w, rand_below(&r, HIT_PAGES));
	if (trace_writer_close(w) != 0 || lseek(fd, 0, SEEK_SET) != 0)
		die("the trace cannot be written");
	struct sim *s = make_machine(4096, "two-list", false);
	double start = cpu_seconds();

	replay(s, fd);
	report(s, cpu_seconds() - start);
	sim_destroy(s);
	return 0;
}

static int memory_main(uint64_t frames)
{
	uint64_t before = resident_bytes();
	struct sim *s = make_machine(frames, "two-list", false);
	const char *error;

	sim_event(s, &(struct trace_event){ .op = TRACE_TASK, .text = "bench", .text_len = 5 }, &error);
	for (uint64_t i = 0; i < frames; i++)
		if (sim_event(s, &(struct trace_event){ .op = TRACE_ACCESS, .flags = TRACE_W, .vpn = i, .n = 1 }, &error) != 0)
			die(error);
	printf("frames %" PRIu64 "\nbytes_a_frame %.1f\n", s->m.charged, (double)(resident_bytes() - before) / (double)s->m.charged);
	sim_destroy(s);
	return 0;
}

/* A touch of 1 in far goes anywhere, so that there are faults and reclaim all the time. */
static void write_stream(int fd, uint64_t touches, uint64_t far)
{
	struct trace_writer *w = writer(fd);
	struct rand r;

	rand_seed(&r, 1);
	for (uint64_t i = 0; i < touches; i++)
		write_touch(w, rand_below(&r, i % far == 0 ? 20000 : HIT_PAGES));
	if (trace_writer_close(w) != 0)
		die("the trace cannot be written");
	_exit(0);
}

static int stream_main(uint64_t touches, uint64_t far)
{
	struct sim *s = make_machine(10000, "two-list", false);
	int fd[2];

	if (pipe2(fd, O_CLOEXEC) != 0 || fflush(stdout) != 0)
		die("no pipe");
	if (fork() == 0) {
		close(fd[0]);
		write_stream(fd[1], touches, far);
	}
	close(fd[1]);
	double start = cpu_seconds();

	replay(s, fd[0]);
	report(s, cpu_seconds() - start);
	printf("bytes_peak %" PRIu64 "\n", peak_bytes());
	wait(NULL);
	sim_destroy(s);
	return 0;
}

static int usage(void)
{
	fprintf(stderr, "usage: simreplay zipf OBJECTS REQUESTS STEWARD ORACLE | replay TRACE FRAMES POLICY linux|exact |\n"
			"       hits TOUCHES | memory FRAMES | stream TOUCHES FAR\n");
	return 2;
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";

	if (strcmp(what, "zipf") == 0 && argc == 6)
		return zipf_main((uint32_t)atoll(argv[2]), (uint64_t)atoll(argv[3]), argv[4], argv[5]);
	if (strcmp(what, "replay") == 0 && argc == 6)
		return replay_main(argv[2], (uint64_t)atoll(argv[3]), argv[4], argv[5]);
	if (strcmp(what, "stream") == 0 && argc == 4)
		return stream_main((uint64_t)atoll(argv[2]), (uint64_t)atoll(argv[3]));
	if (argc != 3)
		return usage();
	if (strcmp(what, "hits") == 0)
		return hits_main((uint64_t)atoll(argv[2]));
	if (strcmp(what, "memory") == 0)
		return memory_main((uint64_t)atoll(argv[2]));
	return usage();
}
