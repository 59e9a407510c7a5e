/*
 * What every fuzz target defines: one call, one input; it returns 0, or the
 * program ends. replay.c calls it; so does libFuzzer, if a target is linked
 * with -fsanitize=fuzzer instead of replay.c.
 */
#ifndef STW_FUZZ_TARGET_H
#define STW_FUZZ_TARGET_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
