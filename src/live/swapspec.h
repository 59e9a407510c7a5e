/* One swap area of a run, as `steward run --swap` describes it and the ledger carries it to the processes. */
#ifndef STW_LIVE_SWAPSPEC_H
#define STW_LIVE_SWAPSPEC_H

#include "base/fmt.h"

#define SWAP_SPECS 6 /* areas of a run, at most */
#define SWAP_PATH_MAX 256
#define SWAP_CONNECTIONS_MAX 8

enum swap_kind {
	SWAP_POOL,     /* compressed, in memory */
	SWAP_NAMELESS, /* a file without a name in the directory `path`: each process makes one, its children share it */
	SWAP_NAMED,    /* the file or block device `path`: all processes share it */
	SWAP_NBD,      /* an export of an NBD server, of the URI `path`: all processes share it */
};

enum swap_codec { SWAP_LZ4, SWAP_ZSTD, SWAP_AUTO };

/* Worse ones come later. */
enum swap_state {
	SWAP_OK,
	SWAP_FULL,    /* has had no room for some page */
	SWAP_FAILING, /* writes have failed for good: it takes no more */
	SWAP_DEAD,    /* reads too */
};

struct swap_spec {
	uint8_t kind;   /* enum swap_kind */
	uint8_t codec;  /* enum swap_codec; pool. No process ever sees SWAP_AUTO */
	bool direct;    /* file: not without O_DIRECT */
	bool encrypt;   /* file, NBD */
	bool has_prio, has_bytes; /* said by the user */
	uint8_t connections; /* NBD: to the server */
	uint32_t deadline_s; /* NBD: so long a page is waited for while the server is away */
	uint64_t rate;  /* NBD: bytes a second, 0: no limit */
	int32_t prio;   /* higher is used first, the same in turn */
	uint64_t bytes; /* pool: memory that it may take in a process; 0: its share of the budget. Others: what fits there */
	char path[SWAP_PATH_MAX];
	char mirror[SWAP_PATH_MAX]; /* NBD: URI of a second export with the same pages; empty: none */
};

/* "ok", "full" … */
const char *swap_state_name(enum swap_state state);
/* "pool", "file:PATH" or the URI. */
void swap_spec_name(struct fmt *f, const struct swap_spec *s);
/* The same with what it is like: "pool (zstd, at most 1 GiB, prio 5)". */
void swap_spec_describe(struct fmt *f, const struct swap_spec *s);

#endif
