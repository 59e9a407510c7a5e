/* cli/run/swapspec.c: what is written is what is read, and what is wrong is said. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "base/rand.h"
#include "cli/run/swapspec.h"

static struct swap_spec parsed(const char *text)
{
	struct swap_specs s = { .nr = 0 };
	struct swap_complaint complaint;

	if (swap_specs_add(&s, text, &complaint) != 0)
		fail_msg("%s: %s", text, complaint.text);
	assert_int_equal(s.nr, 1);
	return s.spec[0];
}

static void places_are_read_with_what_is_said_of_them(void **state)
{
	struct swap_spec s;

	(void)state;
	s = parsed("pool");
	assert_true(s.kind == SWAP_POOL && s.codec == SWAP_LZ4 && !s.has_bytes && !s.has_prio && s.bytes == 0);
	s = parsed("pool:zstd,max=1.5G,prio=32767");
	assert_true(s.kind == SWAP_POOL && s.codec == SWAP_ZSTD && s.has_bytes && s.bytes == 3 * GIB / 2 && s.prio == 32767);
	s = parsed("pool:auto");
	assert_int_equal(s.codec, SWAP_AUTO);
	s = parsed("file:/var/tmp");
	assert_true(s.kind == SWAP_NAMELESS && !s.direct && !s.has_bytes && !s.has_prio);
	assert_string_equal(s.path, "/var/tmp");
	s = parsed("file:a:b c=d,direct,encrypt,size=4096,prio=0");
	assert_true(s.direct && s.encrypt && s.has_bytes && s.bytes == 4096 && s.has_prio && s.prio == 0);
	assert_string_equal(s.path, "a:b c=d");
	s = parsed("nbd://host:10810/export");
	assert_true(s.kind == SWAP_NBD && s.connections == 2 && s.deadline_s == 30 && s.rate == 0 && !s.has_bytes);
	assert_string_equal(s.path, "nbd://host:10810/export");
	assert_string_equal(parsed("nbd://a/,mirror=nbds://b/x").mirror, "nbds://b/x");
	s = parsed("nbds+unix:///x?socket=/a,,b&tls-certificates=/c,size=1G,connections=8,deadline=5,rate=100M,prio=2");
	assert_true(s.kind == SWAP_NBD && s.connections == 8 && s.deadline_s == 5 && s.rate == 100 * MIB && s.bytes == GIB);
	assert_string_equal(s.path, "nbds+unix:///x?socket=/a,b&tls-certificates=/c");
}

static void a_comma_of_a_path_is_written_twice(void **state)
{
	(void)state;
	assert_string_equal(parsed("file:,,a,,,,b,,,direct").path, ",a,,b,");
	assert_true(parsed("file:,,a,,,,b,,,direct").direct);
	assert_string_equal(parsed("file:size,,").path, "size,");
}

static void what_is_wrong_is_said(void **state)
{
	static const struct {
		const char *text, *why;
	} cases[] = {
		{ "", "\"\" is no place to swap to; use pool, file:PATH or nbd://HOST/EXPORT" },
		{ "zram", "\"zram\" is no place to swap to; use pool, file:PATH or nbd://HOST/EXPORT" },
		{ "poo:lz4", "\"poo:lz4\" is no place to swap to; use pool, file:PATH or nbd://HOST/EXPORT" },
		{ "pool:", "\"\" is no way to compress; use lz4, zstd or auto" },
		{ "pool:gzip", "\"gzip\" is no way to compress; use lz4, zstd or auto" },
		{ "pool,size=1G", "\"size\" is no option of pool; use max=SIZE or prio=N" },
		{ "pool,direct", "\"direct\" is no option of pool; use max=SIZE or prio=N" },
		{ "pool,", "\"\" is no option of pool; use max=SIZE or prio=N" },
		{ "file", "file has no path; write file:PATH, a directory, a file or a block device" },
		{ "file:,size=1G", "file has no path; write file:PATH, a directory, a file or a block device" },
		{ "file:x,max=1G", "\"max\" is no option of file; use size=SIZE, direct, encrypt or prio=N" },
		{ "file:x,direct=1", "\"direct\" is no option of file; use size=SIZE, direct, encrypt or prio=N" },
		{ "file:x,size=", "size= is not a size; write it as size=4G" },
		{ "pool,max=lots", "max=lots is not a size; write it as max=4G" },
		{ "file:x,size=99999999999P", "size=99999999999P is not a size; write it as size=4G" },
		{ "file:x,size=4095", "size=4095 holds no page; give more, or leave the area out" },
		{ "nbd://host/x,direct", "\"direct\" is no option of nbd; use size=SIZE, encrypt, mirror=URI, connections=N, deadline=SECONDS, rate=SIZE or prio=N" },
		{ "nbd://host/x,mirror=host", "mirror=host is no export; write it as mirror=nbd://HOST/EXPORT" },
		{ "nbd://host/x,mirror=nbd://host/x", "the mirror is the same export; give another one" },
		{ "nbd://host/x,connections=9", "connections=9 is no number of connections; give a number from 1 to 8" },
		{ "nbd://host/x,deadline=0", "deadline=0 is no number of seconds; give a number from 1 to 86400" },
		{ "nbd://host/x,rate=1k", "rate=1k is no rate; write bytes a second, as rate=100M" },
		{ "pool,encrypt", "\"encrypt\" is no option of pool; use max=SIZE or prio=N" },
		{ "pool,rate=1M", "\"rate\" is no option of pool; use max=SIZE or prio=N" },
		{ "nbd:host", "\"nbd:host\" is no place to swap to; use pool, file:PATH or nbd://HOST/EXPORT" },
		{ "pool,prio=-1", "prio=-1 is no priority; give a number from 0 to 32767" },
		{ "pool,prio=32768", "prio=32768 is no priority; give a number from 0 to 32767" },
		{ "pool,prio=99999999999999999999", "prio=99999999999999999999 is no priority; give a number from 0 to 32767" },
		{ "pool,prio= 1", "prio= 1 is no priority; give a number from 0 to 32767" },
		{ "pool,prio=1x", "prio=1x is no priority; give a number from 0 to 32767" },
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		struct swap_specs s = { .nr = 0 };
		struct swap_complaint complaint;

		assert_int_equal(swap_specs_add(&s, cases[i].text, &complaint), -EINVAL);
		assert_string_equal(complaint.text, cases[i].why);
		assert_int_equal(s.nr, 0);
	}
}

static void long_paths_are_refused(void **state)
{
	struct swap_specs s = { .nr = 0 };
	struct swap_complaint complaint;
	char text[1024];

	(void)state;
	for (size_t len = 250; len < 600; len++) {
		memset(text, 'x', sizeof(text));
		memcpy(text, "file:", 5);
		text[5 + len] = '\0';
		s.nr = 0;
		assert_int_equal(swap_specs_add(&s, text, &complaint) == 0, len < SWAP_PATH_MAX);
	}
}

static void the_same_place_twice_is_refused(void **state)
{
	struct swap_specs s = { .nr = 0 };
	struct swap_complaint complaint;
	char text[32];

	(void)state;
	assert_int_equal(swap_specs_add(&s, "pool", &complaint), 0);
	assert_int_equal(swap_specs_add(&s, "pool:zstd", &complaint), -EINVAL);
	assert_string_equal(complaint.text, "there is a pool already; give one");
	assert_int_equal(swap_specs_add(&s, "file:a", &complaint), 0);
	assert_int_equal(swap_specs_add(&s, "file:a,prio=3", &complaint), -EINVAL);
	assert_string_equal(complaint.text, "a is given twice; give it once");
	for (unsigned i = 2; i < SWAP_SPECS; i++) {
		snprintf(text, sizeof(text), "file:%u", i);
		assert_int_equal(swap_specs_add(&s, text, &complaint), 0);
	}
	assert_int_equal(swap_specs_add(&s, "file:b", &complaint), -EINVAL);
	assert_string_equal(complaint.text, "there are more than 6; leave some out");
}

/* An oracle of the order: the highest priority that is left comes next, the first of several; those without come at last. */
static void settling_puts_them_in_order(void **state)
{
	struct rand r;

	(void)state;
	rand_seed(&r, 1);
	for (unsigned round = 0; round < 2000; round++) {
		struct swap_specs s = { .nr = 0 };
		struct swap_complaint complaint;
		int prio[SWAP_SPECS];
		unsigned n = 1 + (unsigned)rand_below(&r, SWAP_SPECS);

		for (unsigned i = 0; i < n; i++) {
			char text[32];

			prio[i] = (int)rand_below(&r, 4) - 1;
			snprintf(text, sizeof(text), prio[i] < 0 ? "file:%u" : "file:%u,prio=%d", i, prio[i]);
			assert_int_equal(swap_specs_add(&s, text, &complaint), 0);
		}
		swap_specs_settle(&s);
		for (unsigned k = 0; k < n; k++) {
			unsigned best = 0;
			char name[16];

			for (unsigned i = 1; i < n; i++)
				if (prio[i] > prio[best])
					best = i;
			snprintf(name, sizeof(name), "%u", best);
			assert_string_equal(s.spec[k].path, name);
			assert_true(prio[best] >= 0 ? s.spec[k].prio == prio[best] : s.spec[k].prio < 0);
			prio[best] = -2;
		}
		/* Those without a priority have each one of their own: they are not used in turn. */
		for (unsigned k = 1; k < n; k++)
			assert_true(s.spec[k].prio >= 0 || s.spec[k].prio < s.spec[k - 1].prio);
	}
}

static void auto_packs_tightly_where_nothing_is_below(void **state)
{
	(void)state;
	for (unsigned others = 0; others < 2; others++) {
		struct swap_specs s = { .nr = 0 };
		struct swap_complaint complaint;

		assert_int_equal(swap_specs_add(&s, "pool:auto", &complaint), 0);
		if (others)
			assert_int_equal(swap_specs_add(&s, "file:x", &complaint), 0);
		swap_specs_settle(&s);
		assert_int_equal(s.spec[0].codec, others ? SWAP_LZ4 : SWAP_ZSTD);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(places_are_read_with_what_is_said_of_them),
		cmocka_unit_test(a_comma_of_a_path_is_written_twice),
		cmocka_unit_test(what_is_wrong_is_said),
		cmocka_unit_test(long_paths_are_refused),
		cmocka_unit_test(the_same_place_twice_is_refused),
		cmocka_unit_test(settling_puts_them_in_order),
		cmocka_unit_test(auto_packs_tightly_where_nothing_is_below),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
