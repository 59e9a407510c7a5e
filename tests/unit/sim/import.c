/*
 * What importers stand on, against naive models: packed sources, numbers for
 * names, footprints, numbers in text. The formats themselves are tested through
 * the command (tests/cli/test_import.py).
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>
#include <lzma.h>
#include <zlib.h>
#include <zstd.h>

#include "base/rand.h"
#include "sim/footprint.h"
#include "sim/import/reader.h"
#include "failalloc.h"

static struct rand rng;

/* Bytes in an unnamed file, read from its start. */
static int file_of(const void *bytes, size_t n)
{
	int fd = memfd_create("import", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, n), n);
	lseek(fd, 0, SEEK_SET);
	return fd;
}

/* The packers: each returns how many bytes. */

static size_t pack_plain(uint8_t *dst, size_t room, const uint8_t *src, size_t n)
{
	(void)room;
	memcpy(dst, src, n);
	return n;
}

static size_t pack_zstd(uint8_t *dst, size_t room, const uint8_t *src, size_t n)
{
	size_t got = ZSTD_compress(dst, room, src, n, 1);

	assert_false(ZSTD_isError(got));
	return got;
}

static size_t pack_gzip(uint8_t *dst, size_t room, const uint8_t *src, size_t n)
{
	z_stream z = { .next_in = (uint8_t *)src, .avail_in = (uInt)n, .next_out = dst, .avail_out = (uInt)room };

	assert_int_equal(deflateInit2(&z, 1, Z_DEFLATED, 31, 8, Z_DEFAULT_STRATEGY), Z_OK);
	assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
	size_t got = room - z.avail_out;

	deflateEnd(&z);
	return got;
}

static size_t pack_xz(uint8_t *dst, size_t room, const uint8_t *src, size_t n)
{
	size_t got = 0;

	assert_int_equal(lzma_easy_buffer_encode(0, LZMA_CHECK_CRC32, NULL, src, n, dst, &got, room), LZMA_OK);
	return got;
}

typedef size_t packer(uint8_t *dst, size_t room, const uint8_t *src, size_t n);

static packer *const packers[] = { pack_plain, pack_zstd, pack_gzip, pack_xz };

#define TEXT_MAX ((size_t)1 << 20)
#define PACKED_MAX (TEXT_MAX + 65536)

/* Lines of all lengths; the last may lack its end. Returns how many. */
static unsigned some_lines(char *text, size_t *n)
{
	size_t want = 1 + rand_below(&rng, TEXT_MAX - 1000);
	unsigned lines = 0;

	for (*n = 0; *n < want; lines++) {
		size_t len = rand_below(&rng, rand_below(&rng, 50) == 0 ? 900 : 40);

		memset(text + *n, 'a' + (int)(lines % 26), len);
		*n += len;
		text[(*n)++] = '\n';
	}
	if (*n > 1 && text[*n - 2] != '\n' && rand_below(&rng, 2) == 0)
		--*n;
	return lines;
}

static void check_lines(int fd, const char *text, size_t n, unsigned lines)
{
	struct source *s = malloc(sizeof(*s));
	const char *line;
	size_t len, at = 0;
	int err;

	assert_int_equal(source_open(s, fd), 0);
	while ((line = source_line(s, &len, &err)) != NULL) {
		const char *lf = memchr(text + at, '\n', n - at);

		assert_int_equal(len, lf != NULL ? (size_t)(lf - text) - at : n - at);
		assert_memory_equal(line, text + at, len);
		at += len + (lf != NULL);
	}
	assert_int_equal(err, 0);
	assert_int_equal(at, n);
	assert_int_equal(s->line, lines);
	source_close(s);
	free(s);
}

static void packed_lines_come_out(void **state)
{
	char *text = malloc(TEXT_MAX);
	uint8_t *packed = malloc(2 * PACKED_MAX);

	(void)state;
	rand_seed(&rng, 1);
	for (unsigned i = 0; i < 40; i++) {
		packer *pack = packers[i % ARRAY_SIZE(packers)];
		size_t n, half;
		unsigned lines = some_lines(text, &n);

		/* In two members, one of them empty at times. */
		half = rand_below(&rng, 3) == 0 ? 0 : rand_below(&rng, n);
		size_t got = pack(packed, PACKED_MAX, (uint8_t *)text, half);

		got += pack(packed + got, PACKED_MAX, (uint8_t *)text + half, n - half);
		int fd = file_of(packed, got);

		check_lines(fd, text, n, lines);
		close(fd);
	}
	free(packed);
	free(text);
}

/* Through a pipe, in pieces of a few bytes. */
static void slow_sources_are_waited_for(void **state)
{
	static const char text[] = "first\nsecond\n\nlast";
	uint8_t packed[1000];

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(packers); i++) {
		size_t n = packers[i](packed, sizeof(packed), (const uint8_t *)text, strlen(text));
		int fd[2];

		assert_int_equal(pipe(fd), 0);
		pid_t pid = fork();

		if (pid == 0) {
			for (size_t at = 0; at < n; at++) {
				/* As long as it is looked at for a magic. */
				if (at < 16)
					usleep(1000);
				if (write(fd[1], packed + at, 1) != 1)
					_exit(1);
			}
			_exit(0);
		}
		close(fd[1]);
		check_lines(fd[0], text, strlen(text), 4);
		close(fd[0]);
		waitpid(pid, NULL, 0);
	}
}

/* Reads records of one byte to the end; how many there were, and err. */
static size_t read_bytes(int fd, int *err)
{
	struct source *s = malloc(sizeof(*s));
	size_t n = 0;

	*err = source_open(s, fd);
	if (*err == 0) {
		while (source_record(s, 1, err) != NULL)
			n++;
	}
	source_close(s);
	free(s);
	return n;
}

static void damage_is_never_the_end(void **state)
{
	uint8_t text[3000], packed[4000], bad[4000];
	int err;

	(void)state;
	rand_seed(&rng, 2);
	for (unsigned i = 0; i < sizeof(text); i++)
		text[i] = (uint8_t)rand_below(&rng, 16);
	for (unsigned i = 1; i < ARRAY_SIZE(packers); i++) {
		size_t n = packers[i](packed, sizeof(packed), text, sizeof(text));

		/* Six bytes are the longest magic: with less it is taken for plain. */
		for (size_t cut = 6; cut < n; cut++) {
			int fd = file_of(packed, cut);

			read_bytes(fd, &err);
			assert_int_equal(err, -ENODATA);
			close(fd);
		}
		for (unsigned round = 0; round < 300; round++) {
			memcpy(bad, packed, n);
			bad[6 + rand_below(&rng, n - 6)] ^= (uint8_t)(1 + rand_below(&rng, 255));
			int fd = file_of(bad, n);
			size_t got = read_bytes(fd, &err);

			/* Some bytes of gzip's header mean nothing, and these zstd frames have no checksum. */
			if (err == 0)
				assert_true(i != 3 && got <= 2 * sizeof(text));
			else
				assert_true(err == -EBADMSG || err == -ENODATA || err == -ENOMEM);
			close(fd);
		}
	}
}

static void records_are_whole_or_told(void **state)
{
	uint8_t bytes[100] = { 0 };
	struct source *s = malloc(sizeof(*s));
	int fd = file_of(bytes, sizeof(bytes)), err;

	(void)state;
	assert_int_equal(source_open(s, fd), 0);
	for (unsigned i = 0; i < 4; i++)
		assert_non_null(source_record(s, 24, &err));
	assert_int_equal(s->offset, 96);
	assert_null(source_record(s, 24, &err));
	assert_int_equal(err, -ENODATA);
	source_close(s);
	close(fd);
	free(s);
}

static void names_get_numbers_in_order(void **state)
{
	static uint64_t name[5000];
	struct ids ids = { 0 };
	unsigned n = 0;

	(void)state;
	rand_seed(&rng, 3);
	for (unsigned i = 0; i < 20000; i++) {
		uint64_t ask = rand_below(&rng, 2000) * (rand_below(&rng, 2) == 0 ? 4096 : 0x100000001u);
		unsigned k = 0;
		uint32_t number;
		bool is_new;

		while (k < n && name[k] != ask)
			k++;
		if (rand_below(&rng, 4) == 0) {
			/* It may fail only when it grows, and then nothing has happened. */
			fail_nth = 1 + (unsigned)rand_below(&rng, 2);
			int err = ids_number(&ids, ask, &number, &is_new);

			fail_nth = 0;
			if (err != 0) {
				assert_int_equal(err, -ENOMEM);
				continue;
			}
		} else {
			assert_int_equal(ids_number(&ids, ask, &number, &is_new), 0);
		}
		assert_int_equal(is_new, k == n);
		assert_int_equal(number, k);
		if (k == n)
			name[n++] = ask;
	}
	assert_true(n > 3000);
	ids_free(&ids);
}

static void footprints_count_pages_once(void **state)
{
	static bool touched[3][4096];
	static const uint64_t base[3] = { 0, ((uint64_t)1 << 52) - 4096, 12345 };
	static const uint32_t task[3] = { 0, (1 << 20) - 1, 0 };
	struct footprint f = { 0 };
	uint64_t pages = 0;

	(void)state;
	rand_seed(&rng, 4);
	for (unsigned i = 0; i < 30000; i++) {
		unsigned t = (unsigned)rand_below(&rng, 3), page = (unsigned)rand_below(&rng, 4096);

		fail_nth = rand_below(&rng, 2) == 0;
		int got = footprint_add(&f, task[t], base[t] + page);

		fail_nth = 0;
		if (got < 0) {
			assert_int_equal(got, -ENOMEM);
			continue;
		}
		assert_int_equal(got, !touched[t][page]);
		pages += !touched[t][page];
		touched[t][page] = true;
		assert_int_equal(f.pages, pages);
	}
	/* Far apart: a chunk each, so that the table grows. */
	for (uint64_t i = 0; i < 5000; i++)
		assert_int_equal(footprint_add(&f, 7, i << 20), 1);
	for (uint64_t i = 0; i < 5000; i++)
		assert_int_equal(footprint_add(&f, 7, i << 20), 0);
	assert_int_equal(f.pages, pages + 5000);
	footprint_free(&f);
}

static void numbers_in_text(void **state)
{
	char text[64];
	uint64_t v;

	(void)state;
	rand_seed(&rng, 5);
	for (unsigned i = 0; i < 10000; i++) {
		uint64_t want = rand_u64(&rng) >> rand_below(&rng, 64);
		int len = snprintf(text, sizeof(text), i % 2 == 0 ? "%llx," : "%llX ", (unsigned long long)want);

		assert_ptr_equal(parse_hex(text, &v), text + len - 1);
		assert_int_equal(v, want);
		len = snprintf(text, sizeof(text), "%llu,", (unsigned long long)want);
		assert_ptr_equal(parse_decimal(text, &v), text + len - 1);
		assert_int_equal(v, want);
		assert_ptr_equal(parse_number(text, &v), text + len - 1);
		assert_int_equal(v, want);
		snprintf(text, sizeof(text), "0x%llx", (unsigned long long)want);
		assert_non_null(parse_number(text, &v));
		assert_int_equal(v, want);
	}
	assert_null(parse_hex("11112222333344445", &v));
	assert_null(parse_decimal("18446744073709551616", &v));
	assert_null(parse_decimal("99999999999999999999", &v));
	assert_null(parse_decimal("x", &v));
	assert_null(parse_number("0x", &v));
}

static void no_memory_is_told(void **state)
{
	static const char text[] = "page,task\n1,a\n2,b\n";
	const struct importer *csv = importer_find("csv");
	struct import_error error;
	uint8_t packed[3][200];
	size_t n[3];
	unsigned nth;
	int err = 0;

	(void)state;
	for (unsigned i = 0; i < 3; i++)
		n[i] = packers[i + 1](packed[i], sizeof(packed[i]), (const uint8_t *)text, strlen(text));
	for (unsigned i = 0; i < 3; i++) {
		for (nth = 1;; nth++) {
			int in = file_of(packed[i], n[i]), out = file_of("", 0);

			fail_nth = nth;
			err = import_run(csv, in, out, &error);
			close(in);
			close(out);
			if (fail_nth > 0)
				break;
			assert_int_equal(err, -ENOMEM);
			assert_int_equal(error.err, -ENOMEM);
			assert_non_null(error.what);
		}
		fail_nth = 0;
		assert_int_equal(err, 0);
		assert_true(nth > 8);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(packed_lines_come_out),
		cmocka_unit_test(slow_sources_are_waited_for),
		cmocka_unit_test(damage_is_never_the_end),
		cmocka_unit_test(records_are_whole_or_told),
		cmocka_unit_test(names_get_numbers_in_order),
		cmocka_unit_test(footprints_count_pages_once),
		cmocka_unit_test(numbers_in_text),
		cmocka_unit_test(no_memory_is_told),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
