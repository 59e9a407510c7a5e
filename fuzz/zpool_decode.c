/*
 * Fuzz target: a damaged object of the compressed pool. Byte 0 chooses the
 * codec, the rest is the object. The codecs are built without sanitizers, so
 * both buffers end where memory ends: one byte too far is a segmentation fault.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "store/zcodec.h"
#include "target.h"

/* A page whose neighbours cannot be touched. */
static uint8_t *guarded_page(void)
{
	uint8_t *m = mmap(NULL, 3 * PAGE_SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (m == MAP_FAILED || mprotect(m + PAGE_SIZE, PAGE_SIZE, PROT_READ | PROT_WRITE) != 0)
		abort();
	return m + PAGE_SIZE;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct zcodec codec[2];
	static uint8_t *page, *input;
	uint8_t back[ZCODEC_MAX];

	if (page == NULL) {
		page = guarded_page();
		input = guarded_page();
		for (unsigned i = 0; i < 2; i++) {
			size_t n = ALIGN_UP(zcodec_work_bytes(i), 64);

			if (zcodec_init(&codec[i], i, aligned_alloc(64, n), n) != 0)
				abort();
		}
	}
	if (size < 1 || size - 1 > ZCODEC_MAX)
		return 0;
	struct zcodec *c = &codec[data[0] & 1];
	uint8_t *src = input + PAGE_SIZE - (size - 1);

	memcpy(src, data + 1, size - 1);
	memset(page, 0x55, PAGE_SIZE);
	if (zcodec_decompress(c, page, src, size - 1) != 0)
		return 0;
	/* What decodes is a page, and the decoder has written all of it. */
	uint8_t *copy = malloc(PAGE_SIZE);

	memcpy(copy, page, PAGE_SIZE);
	memset(page, 0xaa, PAGE_SIZE);
	if (zcodec_decompress(c, page, src, size - 1) != 0 || memcmp(page, copy, PAGE_SIZE) != 0)
		abort();
	/* It survives the way out and in again. */
	int n = zcodec_compress(c, back, page);

	memset(page, 0, PAGE_SIZE);
	if (n >= 0 && (zcodec_decompress(c, page, back, (size_t)n) != 0 || memcmp(page, copy, PAGE_SIZE) != 0))
		abort();
	free(copy);
	return 0;
}
