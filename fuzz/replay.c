/*
 * Runs a fuzz target without a fuzzer: every file of its corpus as it is, then
 * inputs made of them at random. The same seed and corpus make the same inputs.
 *
 *     fuzz-TARGET [-n COUNT] [-s SEED] FILE|DIRECTORY...
 *
 * The target runs in a child, because it fails by ending; the input it ended
 * with stands in shared memory, and is written to ./crash-TARGET-NUMBER.
 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/rand.h"
#include "target.h"

#define INPUT_MAX 8192
#define SEEDS_MAX 256

struct input {
	size_t size;
	uint8_t bytes[INPUT_MAX];
};

struct now {
	uint64_t number;
	struct input input;
};

static struct input *seed_input[SEEDS_MAX];
static unsigned nr_seeds;
static struct now *now;

static void give_up(const char *what)
{
	perror(what);
	exit(2);
}

static void load_file(const char *path)
{
	FILE *f = fopen(path, "re");
	struct input *in = malloc(sizeof(*in));

	if (f == NULL || in == NULL || nr_seeds == SEEDS_MAX)
		give_up(path);
	in->size = fread(in->bytes, 1, INPUT_MAX, f);
	fclose(f);
	seed_input[nr_seeds++] = in;
}

static void load(const char *path)
{
	struct dirent **entry;
	struct stat st;

	if (stat(path, &st) != 0)
		give_up(path);
	if (!S_ISDIR(st.st_mode)) {
		load_file(path);
		return;
	}
	int n = scandir(path, &entry, NULL, alphasort);

	if (n < 0)
		give_up(path);
	for (int i = 0; i < n; i++) {
		char name[4096];

		snprintf(name, sizeof(name), "%s/%s", path, entry[i]->d_name);
		if (entry[i]->d_name[0] != '.')
			load_file(name);
		free(entry[i]);
	}
	free(entry);
}

/* One of the small changes that decoders stumble over. */
static void change(struct input *in, struct rand *r)
{
	static const uint8_t edge[] = { 0x00, 0x01, 0x0f, 0x7f, 0x80, 0xf0, 0xff };
	size_t at = rand_below(r, in->size + 1), n = rand_below(r, 64);
	const struct input *other = seed_input[rand_below(r, nr_seeds)];

	switch (rand_below(r, 6)) {
	case 0: /* a bit */
		in->bytes[at % INPUT_MAX] ^= (uint8_t)(1 << rand_below(r, 8));
		break;
	case 1: /* a byte from the edges of its range */
		in->bytes[at % INPUT_MAX] = edge[rand_below(r, sizeof(edge))];
		break;
	case 2: /* cut */
		in->size = at;
		break;
	case 3: /* bytes at random */
		for (; n > 0 && at < INPUT_MAX; n--, at++)
			in->bytes[at] = (uint8_t)rand_u64(r);
		in->size = MAX(in->size, at);
		break;
	case 4: /* a part twice */
		n = MIN(n, MIN(in->size - at, INPUT_MAX - in->size));
		memmove(in->bytes + at + n, in->bytes + at, in->size - at);
		in->size += n;
		break;
	case 5: /* the end of another one */
		if (at < other->size) {
			memcpy(in->bytes + at, other->bytes + at, other->size - at);
			in->size = other->size;
		}
		break;
	}
}

static void run_one(uint64_t number)
{
	now->number = number;
	LLVMFuzzerTestOneInput(now->input.bytes, now->input.size);
}

static void run_corpus(uint64_t count, uint64_t seed)
{
	(void)seed;
	for (uint64_t i = 0; i < count; i++) {
		now->input = *seed_input[i];
		run_one(i);
	}
}

static void run_random(uint64_t count, uint64_t seed)
{
	struct rand r;

	rand_seed(&r, seed);
	for (uint64_t i = 0; i < count; i++) {
		now->input = *seed_input[rand_below(&r, nr_seeds)];
		for (uint64_t changes = 1 + rand_below(&r, 4); changes > 0; changes--)
			change(&now->input, &r);
		run_one(i);
	}
}

static void keep_input(const char *program)
{
	const char *base = strrchr(program, '/');
	char name[256];
	FILE *f;

	base = base != NULL ? base + 1 : program;
	snprintf(name, sizeof(name), "crash-%s-%llu", base, (unsigned long long)now->number);
	f = fopen(name, "we");
	if (f == NULL || fwrite(now->input.bytes, 1, now->input.size, f) != now->input.size || fclose(f) != 0)
		give_up(name);
	printf("# input %llu, kept as %s; to see it again: %s %s\n", (unsigned long long)now->number, name, base, name);
}

/* 0, or 1: the target ended. */
static int test(const char *program, unsigned nr, const char *name, void (*run)(uint64_t, uint64_t), uint64_t count,
		uint64_t seed)
{
	int status;

	fflush(stdout);
	pid_t pid = fork();

	if (pid == 0) {
		run(count, seed);
		exit(0);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		give_up("fork");
	printf("%sok %u - %s\n", status == 0 ? "" : "not ", nr, name);
	if (status == 0)
		return 0;
	if (WIFSIGNALED(status))
		printf("# ended by signal %d\n", WTERMSIG(status));
	keep_input(program);
	return 1;
}

int main(int argc, char **argv)
{
	uint64_t count = 0, seed = 1;
	int opt, failed;

	while ((opt = getopt(argc, argv, "n:s:")) >= 0) {
		if (opt == '?')
			return 2;
		*(opt == 'n' ? &count : &seed) = strtoull(optarg, NULL, 0);
	}
	for (int i = optind; i < argc; i++)
		load(argv[i]);
	if (nr_seeds == 0) {
		fprintf(stderr, "usage: %s [-n COUNT] [-s SEED] FILE|DIRECTORY...\n", argv[0]);
		return 2;
	}
	now = mmap(NULL, sizeof(*now), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (now == MAP_FAILED)
		give_up("mmap");
	printf("1..2\n");
	failed = test(argv[0], 1, "the files of the corpus", run_corpus, nr_seeds, seed);
	failed += test(argv[0], 2, "inputs made of them at random", run_random, count, seed);
	return failed != 0;
}
