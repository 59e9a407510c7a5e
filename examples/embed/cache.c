/*
 * A key-value cache that holds more than the RAM it takes.
 *
 *     cc -O2 cache.c $(pkg-config --cflags --libs steward) -o cache
 *     ./cache SIZE_MIB BUDGET_MIB <commands
 *
 * Commands, one a line, answered on stdout: "set KEY VALUE" (ok), "get KEY" (the value, or "-"), "clear" (ok), "stats".
 *
 * One region: an index in front, pinned because every command touches it, and a ring of entries behind it. Entries are appended;
 * when the ring comes round, the oldest are overwritten, and are gone by that. Those nobody has
 * asked for in a while are compressed, not in the way, and there when they are wanted.
 */
#include <err.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <steward/steward.h>

#define WAYS 4 /* places in the index where a key may be */

struct entry {
	uint64_t position; /* its own: where it was written, counted from the start of time */
	uint32_t key_bytes, value_bytes;
	char data[];       /* key, value */
};

static struct stw_region *region;
static uint64_t *index_;   /* position + 1 of an entry; 0: none */
static size_t nr_sets;
static char *ring;
static uint64_t ring_bytes, head; /* where the next entry goes */

static void open_cache(size_t bytes, size_t budget)
{
	struct stw_memory_config config = STW_MEMORY_CONFIG;
	/* A place in the index for each 512 bytes, but not more than a quarter of the budget. */
	size_t index_bytes = bytes / 64 < budget / 4 ? bytes / 64 : budget / 4;

	config.bytes = index_bytes + bytes;
	config.budget = budget;
	config.swap_dir = getenv("TMPDIR") != NULL ? getenv("TMPDIR") : "/var/tmp";
	region = stw_memory_open(&config);
	if (region == NULL || stw_pin(region, 0, index_bytes) != 0)
		errx(1, "%s", stw_error());
	index_ = stw_address(region);
	nr_sets = index_bytes / sizeof(uint64_t) / WAYS;
	ring = (char *)stw_address(region) + index_bytes;
	ring_bytes = bytes;
}

static uint64_t *set_of(const char *key)
{
	uint64_t hash = 0xcbf29ce484222325u; /* FNV-1a */

	for (; *key != '\0'; key++)
		hash = (hash ^ (unsigned char)*key) * 0x100000001b3u;
	return &index_[(hash ^ hash >> 32) % nr_sets * WAYS];
}

static size_t entry_bytes(size_t key, size_t value)
{
	return (sizeof(struct entry) + key + value + 7) & ~(size_t)7;
}

/* The entry, unless the ring has come round since. */
static struct entry *entry_at(uint64_t place)
{
	if (place == 0 || head - (place - 1) > ring_bytes)
		return NULL;
	struct entry *e = (struct entry *)(ring + (place - 1) % ring_bytes);

	return e->position == place - 1 ? e : NULL;
}

/* Which of the set is the key's, or the one that is to be its: the oldest. */
static uint64_t *find(const char *key, struct entry **found)
{
	uint64_t *set = set_of(key), *oldest = set;
	size_t len = strlen(key);

	for (unsigned i = 0; i < WAYS; i++) {
		struct entry *e = entry_at(set[i]);

		if (e != NULL && e->key_bytes == len && memcmp(e->data, key, len) == 0) {
			*found = e;
			return &set[i];
		}
		if (set[i] < *oldest)
			oldest = &set[i];
	}
	*found = NULL;
	return oldest;
}

static const char *set(const char *key, const char *value)
{
	size_t key_bytes = strlen(key), value_bytes = strlen(value), bytes = entry_bytes(key_bytes, value_bytes);
	uint64_t end = ring_bytes - head % ring_bytes;
	struct entry *old;

	if (bytes > ring_bytes / 4)
		return "too large";
	/* An entry lies in one piece: what is left at the end of the ring stays empty. */
	if (bytes > end)
		head += end;
	uint64_t *place = find(key, &old);
	struct entry *e = (struct entry *)(ring + head % ring_bytes);

	*e = (struct entry){ head, (uint32_t)key_bytes, (uint32_t)value_bytes };
	memcpy(e->data, key, key_bytes);
	memcpy(e->data + key_bytes, value, value_bytes);
	*place = head + 1;
	head += bytes;
	return "ok";
}

static void get(const char *key)
{
	struct entry *e;

	find(key, &e);
	if (e != NULL)
		printf("%.*s\n", (int)e->value_bytes, e->data + e->key_bytes);
	else
		puts("-");
}

static void clear(void)
{
	memset(index_, 0, nr_sets * WAYS * sizeof(*index_));
	if (stw_discard(region, (size_t)(ring - (char *)stw_address(region)), ring_bytes) != 0)
		errx(1, "%s", stw_error());
	/* Positions never come again. */
	head += ring_bytes - head % ring_bytes;
}

static void stats(void)
{
	struct stw_stats s;

	if (stw_stats(region, &s, sizeof(s)) != 0)
		errx(1, "%s", stw_error());
	printf("resident %llu KiB, compressed into %llu KiB, out %llu KiB\n", (unsigned long long)s.resident >> 10,
	       (unsigned long long)s.pool >> 10, (unsigned long long)s.out >> 10);
}

static void command(char *line)
{
	char *verb = strtok(line, " "), *key = strtok(NULL, " "), *value = strtok(NULL, "");

	if (verb != NULL && key != NULL && value != NULL && strcmp(verb, "set") == 0)
		puts(set(key, value));
	else if (verb != NULL && key != NULL && strcmp(verb, "get") == 0)
		get(key);
	else if (verb != NULL && strcmp(verb, "clear") == 0)
		clear(), puts("ok");
	else if (verb != NULL && strcmp(verb, "stats") == 0)
		stats();
	else
		puts("what?");
}

int main(int argc, char **argv)
{
	size_t size = argc == 3 ? strtoul(argv[1], NULL, 10) << 20 : 0, budget = argc == 3 ? strtoul(argv[2], NULL, 10) << 20 : 0;
	char *line = NULL;
	size_t room = 0;
	ssize_t len;

	if (size == 0 || budget == 0)
		errx(2, "usage: cache SIZE_MIB BUDGET_MIB <commands");
	open_cache(size, budget);
	while ((len = getline(&line, &room, stdin)) > 0) {
		if (line[len - 1] == '\n')
			line[len - 1] = '\0';
		command(line);
	}
	free(line);
	return stw_close(region) == 0 ? 0 : 1;
}
