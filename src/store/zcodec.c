/*
 * lz4 and zstd without libc's allocator: lz4 takes its hash table from us, zstd
 * its contexts ("static" contexts never allocate).
 *
 * zstd's frames carry no content size and no checksum: the pool knows the one
 * and swap.c makes its own. They keep the magic number, though it says nothing
 * here: without it zstd (1.5.4) reads four bytes of any input, however short.
 * Both decoders take the exact length of the input and of the page and stay
 * inside them whatever the input is.
 */
#define ZSTD_STATIC_LINKING_ONLY
#include <zstd.h>
#include <lz4.h>

#include <errno.h>

#include "base/assert.h"
#include "store/zcodec.h"

#define ZSTD_LEVEL 1
#define ALIGNMENT 64

static size_t zstd_compressor_bytes(void)
{
	return ALIGN_UP(ZSTD_estimateCCtxSize_usingCParams(ZSTD_getCParams(ZSTD_LEVEL, PAGE_SIZE, 0)), ALIGNMENT);
}

size_t zcodec_work_bytes(enum zpool_codec codec)
{
	if (codec == ZPOOL_ZSTD)
		return zstd_compressor_bytes() + ALIGN_UP(ZSTD_estimateDCtxSize(), ALIGNMENT);
	return ALIGN_UP((size_t)LZ4_sizeofState(), ALIGNMENT);
}

static int zstd_init(struct zcodec *c, uint8_t *work)
{
	size_t head = zstd_compressor_bytes();
	ZSTD_CCtx *cctx = ZSTD_initStaticCCtx(work, head);
	ZSTD_DCtx *dctx = ZSTD_initStaticDCtx(work + head, ALIGN_UP(ZSTD_estimateDCtxSize(), ALIGNMENT));

	if (cctx == NULL || dctx == NULL)
		return -EINVAL;
	if (ZSTD_isError(ZSTD_CCtx_setParameter(cctx, ZSTD_c_compressionLevel, ZSTD_LEVEL)) ||
	    ZSTD_isError(ZSTD_CCtx_setParameter(cctx, ZSTD_c_contentSizeFlag, 0)))
		return -EINVAL;
	c->compressor = cctx;
	c->decompressor = dctx;
	return 0;
}

int zcodec_init(struct zcodec *c, enum zpool_codec codec, void *work, size_t work_bytes)
{
	if ((codec != ZPOOL_LZ4 && codec != ZPOOL_ZSTD) || (uintptr_t)work % ALIGNMENT != 0 ||
	    work_bytes < zcodec_work_bytes(codec))
		return -EINVAL;
	*c = (struct zcodec){ .codec = codec };
	if (codec == ZPOOL_ZSTD)
		return zstd_init(c, work);
	c->compressor = work;
	return 0;
}

int zcodec_compress(struct zcodec *c, void *dst, const void *page)
{
	if (c->codec == ZPOOL_ZSTD) {
		size_t n = ZSTD_compress2(c->compressor, dst, ZCODEC_MAX, page, PAGE_SIZE);

		/* The only error that a valid context and a bounded input leave is "does not fit". */
		return ZSTD_isError(n) ? -E2BIG : (int)n;
	}
	int n = LZ4_compress_fast_extState(c->compressor, page, dst, (int)PAGE_SIZE, (int)ZCODEC_MAX, 1);

	return n > 0 ? n : -E2BIG;
}

int zcodec_decompress(struct zcodec *c, void *page, const void *src, size_t len)
{
	DEBUG_ASSERT(len <= ZCODEC_MAX);
	if (c->codec == ZPOOL_ZSTD)
		return ZSTD_decompressDCtx(c->decompressor, page, PAGE_SIZE, src, len) == PAGE_SIZE ? 0 : -EIO;
	return LZ4_decompress_safe(src, page, (int)len, (int)PAGE_SIZE) == (int)PAGE_SIZE ? 0 : -EIO;
}
