/* store/zcodec: pages come back, and no input makes the decoders leave their buffers. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <cmocka.h>

#include "pages.h"
#include "store/zcodec.h"

static const enum zpool_codec codecs[] = { ZPOOL_LZ4, ZPOOL_ZSTD };

struct fixture {
	struct zcodec c;
	struct rand r;
	void *work;
	uint8_t *page;       /* between two pages that cannot be touched */
	uint8_t *src_end;    /* where such a page begins */
	void *map;
};

#define MAP_BYTES (6 * PAGE_SIZE)

/* The codecs are built without sanitizers, so guard pages watch them: guard page guard input guard. */
static void setup(struct fixture *f, enum zpool_codec codec)
{
	size_t n = zcodec_work_bytes(codec);

	rand_seed(&f->r, 7 + codec);
	f->work = aligned_alloc(64, ALIGN_UP(n, 64));
	assert_int_equal(zcodec_init(&f->c, codec, f->work, n), 0);
	uint8_t *m = mmap(NULL, MAP_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_true(m != MAP_FAILED);
	f->map = m;
	f->page = m + PAGE_SIZE;
	f->src_end = m + 4 * PAGE_SIZE;
	assert_int_equal(mprotect(f->page, PAGE_SIZE, PROT_READ | PROT_WRITE), 0);
	assert_int_equal(mprotect(f->src_end - PAGE_SIZE, PAGE_SIZE, PROT_READ | PROT_WRITE), 0);
}

static void teardown(struct fixture *f)
{
	munmap(f->map, MAP_BYTES);
	free(f->work);
}

/* Puts the input right before the guard page and decodes it. */
static int decode(struct fixture *f, const uint8_t *src, size_t len)
{
	uint8_t *at = f->src_end - len;

	memcpy(at, src, len);
	return zcodec_decompress(&f->c, f->page, at, len);
}

static void pages_come_back(void **state)
{
	uint8_t page[PAGE_SIZE], dst[ZCODEC_MAX];

	(void)state;
	for (size_t k = 0; k < ARRAY_SIZE(codecs); k++) {
		struct fixture f;
		int longest = 0;

		setup(&f, codecs[k]);
		for (size_t random = 0; random < PAGE_SIZE; random += 40) {
			page_make(&f.r, page, random);
			int n = zcodec_compress(&f.c, dst, page);

			if (n == -E2BIG) {
				assert_true(random > 2000);
				continue;
			}
			assert_true(n > 0 && n <= (int)ZCODEC_MAX);
			assert_int_equal(decode(&f, dst, (size_t)n), 0);
			assert_memory_equal(f.page, page, PAGE_SIZE);
			longest = n > longest ? n : longest;
		}
		assert_true(longest > (int)ZCODEC_MAX * 9 / 10);
		teardown(&f);
	}
}

static void an_incompressible_page_is_refused(void **state)
{
	uint8_t page[PAGE_SIZE], dst[ZCODEC_MAX];

	(void)state;
	for (size_t k = 0; k < ARRAY_SIZE(codecs); k++) {
		struct fixture f;

		setup(&f, codecs[k]);
		page_make(&f.r, page, PAGE_SIZE);
		assert_int_equal(zcodec_compress(&f.c, dst, page), -E2BIG);
		teardown(&f);
	}
}

static void a_cut_input_is_an_error(void **state)
{
	uint8_t page[PAGE_SIZE], dst[ZCODEC_MAX];

	(void)state;
	for (size_t k = 0; k < ARRAY_SIZE(codecs); k++) {
		struct fixture f;

		setup(&f, codecs[k]);
		page_make(&f.r, page, 700);
		int n = zcodec_compress(&f.c, dst, page);

		assert_true(n > 0);
		for (int cut = 0; cut < n; cut++)
			assert_int_equal(decode(&f, dst, (size_t)cut), -EIO);
		teardown(&f);
	}
}

/* There is no checksum here, so some damage decodes to another page; none may be worse. */
static void damaged_and_random_input_stays_inside_the_page(void **state)
{
	uint8_t page[PAGE_SIZE], dst[ZCODEC_MAX], bad[ZCODEC_MAX];
	unsigned refused = 0;

	(void)state;
	for (size_t k = 0; k < ARRAY_SIZE(codecs); k++) {
		struct fixture f;

		setup(&f, codecs[k]);
		for (int i = 0; i < 10000; i++) {
			page_make(&f.r, page, rand_below(&f.r, 2500));
			int n = zcodec_compress(&f.c, dst, page);

			assert_true(n > 0);
			memcpy(bad, dst, (size_t)n);
			for (uint64_t hits = 1 + rand_below(&f.r, 8); hits > 0; hits--)
				bad[rand_below(&f.r, i % 2 ? (uint64_t)n : 16)] = (uint8_t)rand_u64(&f.r);
			int err = decode(&f, bad, (size_t)n);

			assert_true(err == 0 || err == -EIO);
			refused += err != 0;
			for (int j = 0; j < n; j++)
				bad[j] = (uint8_t)rand_u64(&f.r);
			err = decode(&f, bad, (size_t)n);
			assert_true(err == 0 || err == -EIO);
			/* A good page after a bad one: no state is left behind. */
			assert_int_equal(decode(&f, dst, (size_t)n), 0);
			assert_memory_equal(f.page, page, PAGE_SIZE);
		}
		teardown(&f);
	}
	assert_true(refused > 1000);
}

static void init_refuses_what_it_cannot_use(void **state)
{
	static uint8_t work[400 * KIB] __attribute__((aligned(64)));
	struct zcodec c;

	(void)state;
	for (size_t k = 0; k < ARRAY_SIZE(codecs); k++) {
		size_t n = zcodec_work_bytes(codecs[k]);

		assert_true(n < sizeof(work));
		assert_int_equal(zcodec_init(&c, codecs[k], work, n - 1), -EINVAL);
		assert_int_equal(zcodec_init(&c, codecs[k], work + 8, n), -EINVAL);
	}
	assert_int_equal(zcodec_init(&c, (enum zpool_codec)9, work, sizeof(work)), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pages_come_back),
		cmocka_unit_test(an_incompressible_page_is_refused),
		cmocka_unit_test(a_cut_input_is_an_error),
		cmocka_unit_test(damaged_and_random_input_stays_inside_the_page),
		cmocka_unit_test(init_refuses_what_it_cannot_use),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
