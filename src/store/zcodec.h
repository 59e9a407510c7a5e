/*
 * One page in, at most ZCODEC_MAX bytes out, and back: lz4 or zstd, in memory
 * that the caller gives once. Compressing and decompressing use separate state,
 * so one thread may do either while another does the other.
 */
#ifndef STW_STORE_ZCODEC_H
#define STW_STORE_ZCODEC_H

#include "base/types.h"

enum zpool_codec {
	ZPOOL_LZ4,  /* fast: the default */
	ZPOOL_ZSTD, /* level 1: about a quarter smaller, several times slower */
};

/*
 * The longest result that is kept. With its header it is a 3/4 page; more saves
 * so little that the page is better off uncompressed in another store.
 */
#define ZCODEC_MAX (3 * PAGE_SIZE / 4 - 8)

struct zcodec {
	enum zpool_codec codec;
	void *compressor;   /* codec state; inside the caller's memory */
	void *decompressor; /* the same; NULL for lz4 */
};

/* Bytes that zcodec_init needs. */
size_t zcodec_work_bytes(enum zpool_codec codec);
/* work: 64-byte aligned, alive as long as *c. -EINVAL: misaligned, too small, unknown codec. */
int zcodec_init(struct zcodec *c, enum zpool_codec codec, void *work, size_t work_bytes);
/* Bytes written to dst[0..ZCODEC_MAX), or -E2BIG: the page does not compress to that. */
int zcodec_compress(struct zcodec *c, void *dst, const void *page);
/* Fills page from src. -EIO: src is not what zcodec_compress made; page holds anything, nothing else is touched. */
int zcodec_decompress(struct zcodec *c, void *page, const void *src, size_t len);

#endif
