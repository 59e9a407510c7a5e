/*
 * Fuzz target: a recording of a run. Whatever the file is, it is refused with a reason and a place in it, or its records lie in it,
 * in order, and can be looked at. The first byte says whether what follows is a file or the payload of a sample: the checksums of a file
 * keep most of what is tried away from the payloads.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli/flight/flight.h"
#include "target.h"

static void require(bool holds)
{
	if (!holds)
		abort();
}

static void look(const struct flight_run *run, enum flight_kind kind, const uint8_t *payload, size_t bytes)
{
	struct sample s = { 0 };
	struct flight_map map = { 0 };
	struct flight_oom oom = { 0 };
	struct flight_event e;
	const char *json;
	char fatal[64];
	size_t len;

	if (kind == FLIGHT_SAMPLE && flight_get_sample(run, payload, bytes, &s))
		require(s.nr <= LEDGER_SLOTS && s.nr_areas <= SWAP_SPECS);
	if (kind == FLIGHT_EVENT && flight_get_event(payload, bytes, &e))
		require(strlen(e.text) < sizeof(e.text));
	if (kind == FLIGHT_MAP && flight_get_map(payload, bytes, &map)) {
		for (unsigned i = 0; i < map.nr; i++)
			require(map.area[i].first + map.area[i].parts <= map.nr_parts);
	}
	if (kind == FLIGHT_OOM && flight_get_oom(payload, bytes, &oom))
		require(oom.victim <= oom.nr && oom.nr <= LEDGER_SLOTS);
	if (kind == FLIGHT_END && flight_get_end(payload, bytes, fatal, sizeof(fatal), &json, &len))
		require(json + len <= (const char *)payload + bytes);
	sample_free(&s);
	flight_map_free(&map);
	flight_oom_free(&oom);
}

static void look_at_file(const uint8_t *data, size_t size)
{
	struct flight f;
	const char *what = NULL;
	uint64_t at = 0;
	int err = flight_parse(&f, data, size, &at, &what);

	require(err == 0 || (err == -EINVAL && what != NULL && at <= size + sizeof(struct flight_file)));
	if (err != 0)
		return;
	require(f.damage_at <= size);
	for (size_t i = 0; i < f.nr; i++) {
		require(i == 0 || f.record[i].seq > f.record[i - 1].seq);
		require(f.record[i].payload >= data && f.record[i].payload + f.record[i].bytes <= data + size);
		look(&f.run, f.record[i].kind, f.record[i].payload, f.record[i].bytes);
	}
	flight_free(&f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct flight_run run = { .nr_counters = 1 };

	if (size == 0)
		return 0;
	uint8_t *copy = malloc(size);

	require(copy != NULL);
	memcpy(copy, data + 1, size - 1);
	if (data[0] == 'F') {
		look_at_file(copy, size - 1);
	} else if (data[0] == 'R') {
		(void)flight_get_run(copy, size - 1, &run);
	} else {
		for (unsigned kind = FLIGHT_SAMPLE; kind < FLIGHT_KINDS; kind++)
			look(&run, (enum flight_kind)kind, copy, size - 1);
	}
	free(copy);
	return 0;
}
