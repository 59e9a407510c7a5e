/* The launcher's thread that compresses pages for the programs of the run: store/kcompressd.h. */
#ifndef STW_CLI_RUN_COMPRESSOR_H
#define STW_CLI_RUN_COMPRESSOR_H

#include "live/ledger.h"

#define COMPRESSOR_PAGES 24 /* that it takes once it works: stack, pages, the codec's tables (lz4 9, zstd 20 seen) */

/* Starts it if there is a second CPU; without it every program does its own work. Signals are blocked already. */
void compressor_start(struct ledger *l);
void compressor_stop(struct ledger *l);

#endif
