#include "live/swapspec.h"

#include "base/size.h"

const char *swap_state_name(enum swap_state state)
{
	static const char *const names[] = { [SWAP_OK] = "ok", [SWAP_FULL] = "full", [SWAP_FAILING] = "failing", [SWAP_DEAD] = "dead" };

	return names[state < SWAP_DEAD ? state : SWAP_DEAD];
}

void swap_spec_name(struct fmt *f, const struct swap_spec *s)
{
	if (s->kind == SWAP_POOL) {
		fmt_str(f, "pool");
		return;
	}
	if (s->kind != SWAP_NBD)
		fmt_str(f, "file:");
	fmt_str(f, s->path);
}

void swap_spec_describe(struct fmt *f, const struct swap_spec *s)
{
	swap_spec_name(f, s);
	fmt_str(f, " (");
	if (s->kind == SWAP_POOL)
		fmt_str(f, s->codec == SWAP_ZSTD ? "zstd" : "lz4");
	if (s->kind == SWAP_POOL && s->has_bytes)
		fmt_str(f, ", ");
	if (s->kind != SWAP_POOL || s->has_bytes) {
		fmt_str(f, "at most ");
		fmt_size(f, s->bytes);
	}
	if (s->mirror[0] != '\0') {
		fmt_str(f, ", mirror ");
		fmt_str(f, s->mirror);
	}
	if (s->rate != 0) {
		fmt_str(f, ", ");
		fmt_size(f, s->rate);
		fmt_str(f, " a second");
	}
	if (s->encrypt)
		fmt_str(f, ", encrypted");
	if (s->direct)
		fmt_str(f, ", direct");
	if (s->has_prio) {
		fmt_str(f, ", prio ");
		fmt_i64(f, s->prio);
	}
	fmt_char(f, ')');
}
