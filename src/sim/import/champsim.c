/*
 * ChampSim's input_instr (inc/trace_instruction.h there; traces are .xz or
 * .gz): one record of 64 bytes an instruction,
 *
 *     0 u64 ip   8 u8 is branch, taken   10 u8 registers[2 + 4]   16 u64 memory written[2]   32 u64 memory read[4]
 *
 * with 0 where there is no operand. Sizes are not known: an operand touches one
 * page. An instruction is executed, then reads, then writes.
 */
#include "sim/import/reader.h"

#define RECORD_BYTES 64u
#define NR_WRITTEN 2
#define NR_READ 4

static int touch_all(struct import *im, const uint64_t *address, unsigned n, uint8_t flag)
{
	int err = 0;

	for (unsigned i = 0; i < n && err == 0; i++) {
		if (address[i] != 0)
			err = import_touch(im, address[i], 1, 1, flag);
	}
	return err;
}

int import_champsim(struct import *im)
{
	uint64_t word[RECORD_BYTES / sizeof(uint64_t)];
	const uint8_t *record;
	int err = import_task(im, 0, "ChampSim", strlen("ChampSim"));

	if (err != 0)
		return err;
	while ((record = source_record(&im->source, RECORD_BYTES, &err)) != NULL) {
		memcpy(word, record, sizeof(word));
		err = import_touch(im, word[0], 1, 1, TRACE_X);
		if (err == 0)
			err = touch_all(im, word + 4, NR_READ, TRACE_R);
		if (err == 0)
			err = touch_all(im, word + 2, NR_WRITTEN, TRACE_W);
		if (err != 0)
			return err;
	}
	return import_end(im, err);
}
