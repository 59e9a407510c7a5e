/*
 * oracleGeneral of libCacheSim, the form in which most public traces of block
 * storage and caches come (there as .oracleGeneral.zst). Records of 24 bytes,
 * packed, little-endian:
 *
 *     0 u32 time, s    4 u64 object    12 u32 bytes    16 i64 when it comes again (not used)
 *
 * A request is one read of one page, whatever its size: an object is a page.
 * Objects below 2^35, where 47-bit addresses end, are the page of that number, so
 * that blocks that are neighbours stay it. Others, hashes of keys mostly, get
 * pages from 2^35 on in order of appearance, which costs 24 bytes of memory each.
 * Times are when requests came, not what a program took, and are left out.
 */
#include "sim/import/reader.h"

#define RECORD_BYTES 24u
#define OBJECT_AT 4
#define DIRECT_MAX ((uint64_t)1 << 35)

int import_oracle(struct import *im)
{
	const uint8_t *record;
	uint64_t object;
	int err = import_task(im, 0, "oracleGeneral", strlen("oracleGeneral"));

	if (err != 0)
		return err;
	while ((record = source_record(&im->source, RECORD_BYTES, &err)) != NULL) {
		memcpy(&object, record + OBJECT_AT, sizeof(object));
		if (object >= DIRECT_MAX) {
			uint32_t number;
			bool is_new;

			if (ids_number(&im->objects, object, &number, &is_new) != 0)
				return import_fail(im, -ENOMEM, "there is no memory for more objects");
			object = DIRECT_MAX + number;
		}
		err = import_page(im, object, 1, TRACE_R);
		if (err != 0)
			return err;
	}
	return import_end(im, err);
}
