/* The recording of a run: what is put comes back, the ring keeps the newest, and cuts and damage cost what they touch. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/rand.h"
#include "cli/flight/flight.h"

#define RING 8192
#define BLOCKS 5000

static const struct flight_run a_run = { .launcher = 7, .began = 5, .interval_ns = 9, .command = "job -x", .from = "--ram",
					 .area = { "pool", "file:/tmp" }, .pool = { true }, .nr_areas = 2 };

static uint64_t any(struct rand *r)
{
	return rand_u64(r) >> rand_below(r, 64);
}

static void fill(struct rand *r, void *words, size_t bytes)
{
	for (size_t i = 0; i < bytes / sizeof(uint64_t); i++)
		((uint64_t *)words)[i] = any(r);
}

static void fill_sample(struct rand *r, struct sample *s)
{
	s->ram = any(r);
	s->reserved = any(r);
	s->free = any(r);
	s->asked = any(r);
	fill(r, &s->use, sizeof(s->use));
	fill(r, &s->frames, sizeof(s->frames));
	fill(r, &s->heap, sizeof(s->heap));
	fill(r, s->counter, sizeof(s->counter));
	s->fault_ns.count = any(r);
	for (unsigned i = 0; i < 20; i++)
		s->fault_ns.bucket[rand_below(r, HIST_BUCKETS)] = any(r);
	s->nr_areas = 2;
	s->area[1] = (struct sample_area){ .name = "file:/tmp", .used = any(r), .errors = any(r), .state = SWAP_FAILING };
	s->area[0] = (struct sample_area){ .name = "pool", .pool = true };
	s->nr = (unsigned)rand_below(r, 4);
	s->process = s->nr > 0 ? calloc(s->nr, sizeof(*s->process)) : NULL;
	for (unsigned i = 0; i < s->nr; i++) {
		struct sample_process *p = &s->process[i];

		*p = (struct sample_process){ .pid = (int32_t)rand_below(r, 99999), .state = LEDGER_ENGAGED, .comm = "a b", .start = any(r) };
		fill(r, &p->use, sizeof(p->use));
		fill(r, &p->heap, sizeof(p->heap));
		fill(r, p->counter, sizeof(p->counter));
	}
}

static void what_is_put_comes_back(void **state)
{
	struct flight_bytes b = { 0 };
	struct flight_run run;
	struct rand r;

	(void)state;
	rand_seed(&r, 1);
	flight_put_run(&b, &a_run);
	assert_true(flight_get_run(b.bytes, b.len, &run));
	assert_string_equal(run.command, "job -x");
	for (unsigned n = 0; n < 200; n++) {
		struct sample in = { 0 }, out = { 0 };

		fill_sample(&r, &in);
		b.len = 0;
		flight_put_sample(&b, &in);
		assert_false(b.failed);
		assert_true(flight_get_sample(&run, b.bytes, b.len, &out));
		assert_int_equal(in.nr, out.nr);
		if (in.nr > 0)
			assert_memory_equal(in.process, out.process, in.nr * sizeof(*in.process));
		/* Cut anywhere it is none. */
		struct sample cut = { 0 };

		assert_false(flight_get_sample(&run, b.bytes, rand_below(&r, b.len), &cut));
		sample_free(&cut);
		free(in.process);
		free(out.process);
		in.process = out.process = NULL;
		assert_memory_equal(&in, &out, sizeof(in));
		sample_free(&out);
	}
	free(b.bytes);
}

static void counters_are_known_by_their_names(void **state)
{
	/* launcher, began, interval; command, from; counters: one that is not known, and pgfault; no areas. */
	static const uint8_t of_another_version[] = "\x03\x01\x02\x03\x01" "c\x01" "f\x0bpgx pgfault\x00";
	static const uint8_t sample[] = "\x00\x00\x00\x02\x05\x06\x00\x00\x00\x00";
	struct flight_run run;
	struct sample s = { 0 };

	(void)state;
	assert_true(flight_get_run(of_another_version, sizeof(of_another_version) - 1, &run));
	assert_true(flight_get_sample(&run, sample, sizeof(sample) - 1, &s));
	assert_int_equal(s.counter[VM_pgfault], 6);
	assert_int_equal(s.counter[VM_pgminor], 0);
}

static void fill_map(struct rand *r, struct flight_map *m, struct flight_area area[3], struct flight_part part[6])
{
	static const unsigned parts[] = { 1, 4, 1 };

	*m = (struct flight_map){ .pid = 9, .start = any(r), .area = area, .nr = 3, .part = part, .nr_parts = 6 };
	fill(r, part, 6 * sizeof(*part));
	for (unsigned i = 0, at = 0, page = 7; i < 3; at += parts[i++]) {
		area[i] = (struct flight_area){ .start = page, .pages = parts[i] > 1 ? 31 : 5, .name = "[heap]", .rights = "rw-p",
						.managed = parts[i] > 1, .own = i == 2, .first = at, .parts = parts[i],
						.part_pages = parts[i] > 1 ? 9 : 5 };
		page += (unsigned)area[i].pages + i * 100;
	}
}

static void maps_come_back(void **state)
{
	struct flight_map in, out = { 0 };
	struct flight_area area[3];
	struct flight_part part[6];
	struct flight_bytes b = { 0 };
	struct rand r;

	(void)state;
	rand_seed(&r, 2);
	for (unsigned n = 0; n < 100; n++) {
		fill_map(&r, &in, area, part);
		b.len = 0;
		flight_put_map(&b, &in);
		assert_true(flight_get_map(b.bytes, b.len, &out));
		assert_int_equal(out.start, in.start);
		assert_int_equal(out.nr_parts, in.nr_parts);
		assert_memory_equal(out.area, area, sizeof(area));
		assert_memory_equal(out.part, part, sizeof(part));
		assert_false(flight_get_map(b.bytes, rand_below(&r, b.len), &out));
	}
	/* Parts that do not fill their area. */
	area[1].part_pages = 8;
	area[1].pages = 33;
	b.len = 0;
	flight_put_map(&b, &in);
	assert_false(flight_get_map(b.bytes, b.len, &out));
	flight_map_free(&out);
	free(b.bytes);
}

static void decisions_come_back(void **state)
{
	struct flight_oom_task task[2] = { { .pid = 3, .name = "a", .resident = 5, .adj = -1000, .never = true },
					   { .pid = 4, .name = "b c", .swapped = 1 << 20, .tables_bytes = 8192, .adj = 7, .points = -12345 } };
	struct flight_oom in = { .what = "out of memory", .victim = 1, .task = task, .nr = 2 }, out = { 0 };
	struct flight_bytes b = { 0 };

	(void)state;
	flight_put_oom(&b, &in);
	for (size_t len = 0; len < b.len; len++)
		assert_false(flight_get_oom(b.bytes, len, &out));
	assert_true(flight_get_oom(b.bytes, b.len, &out));
	assert_string_equal(out.what, in.what);
	assert_int_equal(out.victim, 1);
	assert_memory_equal(out.task, task, sizeof(task));
	flight_oom_free(&out);
	free(b.bytes);
}

/* --- a file --- */

struct file {
	char path[64];
	uint8_t bytes[2 * RING + FLIGHT_HEADER];
	size_t size;
};

static void event_of(struct flight_bytes *b, unsigned n)
{
	struct flight_event e = { .bad = n % 2 };

	/* Of many lengths; the text says which it is. */
	snprintf(e.text, sizeof(e.text), "%u %.*s", n, (int)(n * 7 % 300), "................................................................"
		 "..............................................................................................................................");
	flight_put_event(b, &e);
}

static int open_ring(struct file *f, struct flight_ring *ring)
{
	strcpy(f->path, "/tmp/steward-flight-XXXXXX");
	int fd = mkstemp(f->path);

	assert_int_equal(flight_create(ring, f->path, RING, &a_run), 0);
	unlink(f->path);
	return fd;
}

static void write_event(struct flight_ring *ring, unsigned n)
{
	event_of(flight_begin(ring), n);
	assert_int_equal(flight_write(ring, FLIGHT_EVENT, n), 0);
}

static void make_file(struct file *f, unsigned blocks)
{
	struct flight_ring ring;
	int fd = open_ring(f, &ring);

	for (unsigned n = 0; n < blocks; n++)
		write_event(&ring, n);
	flight_close(&ring);
	f->size = (size_t)pread(fd, f->bytes, sizeof(f->bytes), 0);
	close(fd);
}

static void check_records(const struct flight *f)
{
	for (size_t i = 0; i < f->nr; i++) {
		struct flight_event e;

		assert_true(i == 0 || f->record[i].seq > f->record[i - 1].seq);
		assert_int_equal(f->record[i].seq, f->record[i].ns);
		assert_true(flight_get_event(f->record[i].payload, f->record[i].bytes, &e));
		assert_int_equal(strtoul(e.text, NULL, 10), f->record[i].seq);
	}
}

static void parse(struct flight *f, const uint8_t *bytes, size_t size)
{
	const char *what;
	uint64_t at;

	assert_int_equal(flight_parse(f, bytes, size, &at, &what), 0);
	check_records(f);
}

static void the_ring_keeps_the_newest_whenever_it_ends(void **state)
{
	static struct file file;
	struct flight_ring ring;
	int fd = open_ring(&file, &ring);

	(void)state;
	for (unsigned blocks = 1; blocks < BLOCKS; blocks++) {
		struct flight f;

		write_event(&ring, blocks - 1);
		file.size = (size_t)pread(fd, file.bytes, sizeof(file.bytes), 0);
		assert_true(file.size <= FLIGHT_HEADER + RING);
		parse(&f, file.bytes, file.size);
		assert_int_equal(f.damage_at, 0);
		assert_true(f.nr > 0 && f.record[f.nr - 1].seq == blocks - 1);
		assert_int_equal(f.record[0].seq, blocks - f.nr);
		/* No block is longer than 300 bytes: that much may be lost where the newest meets the oldest, and at the end. */
		assert_true(f.nr == blocks || f.nr * 300 > RING - 600);
		flight_free(&f);
	}
	flight_close(&ring);
	close(fd);
}

static void a_cut_costs_what_is_cut_off(void **state)
{
	static struct file file;
	struct flight whole, f;

	(void)state;
	make_file(&file, 15);
	parse(&whole, file.bytes, file.size);
	for (size_t size = FLIGHT_HEADER; size < file.size; size++) {
		size_t fits = 0;

		parse(&f, file.bytes, size);
		while (whole.record[fits].payload + whole.record[fits].bytes <= file.bytes + size)
			fits++;
		assert_int_equal(f.nr, fits);
		uint64_t end = fits > 0 ? ALIGN_UP((uint64_t)(f.record[fits - 1].payload - file.bytes) + f.record[fits - 1].bytes,
						   FLIGHT_ALIGN) : FLIGHT_HEADER;

		assert_int_equal(f.damage_at, end < size ? end : 0);
		flight_free(&f);
	}
	flight_free(&whole);
}

static void damage_costs_the_block_that_it_is_in(void **state)
{
	static struct file file;
	struct flight whole, f;

	(void)state;
	make_file(&file, 300);
	parse(&whole, file.bytes, file.size);
	for (size_t i = 1; i + 1 < whole.nr; i++) {
		const struct flight_record *r = &whole.record[i];
		size_t begin = (size_t)(r->payload - file.bytes) - sizeof(struct flight_block);

		for (size_t at = begin; at < begin + sizeof(struct flight_block) + r->bytes; at += 13) {
			file.bytes[at] ^= 0x10;
			parse(&f, file.bytes, file.size);
			assert_int_equal(f.nr, whole.nr - 1);
			assert_true(f.damage_at != 0);
			flight_free(&f);
			file.bytes[at] ^= 0x10;
		}
	}
	flight_free(&whole);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_put_comes_back),
		cmocka_unit_test(counters_are_known_by_their_names),
		cmocka_unit_test(maps_come_back),
		cmocka_unit_test(decisions_come_back),
		cmocka_unit_test(the_ring_keeps_the_newest_whenever_it_ends),
		cmocka_unit_test(a_cut_costs_what_is_cut_off),
		cmocka_unit_test(damage_costs_the_block_that_it_is_in),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
