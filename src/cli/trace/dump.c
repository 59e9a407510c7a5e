/* steward trace dump: one line an event. steward-trace(1) has the form, which does not change. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/fmt.h"
#include "cli/msg.h"
#include "cli/trace/trace.h"
#include "sim/trace_format.h"

#define BATCH 256

static void put_flags(struct fmt *f, unsigned flags)
{
	static const struct {
		unsigned bit;
		const char *name;
	} names[] = {
		{ TRACE_MAP_SHARED, ",shared" }, { TRACE_MAP_HEAP, ",heap" }, { TRACE_MAP_STACK, ",stack" },
		{ TRACE_MAP_LOCKED, ",locked" },
	};

	fmt_str(f, " flags=");
	fmt_char(f, flags & TRACE_R ? 'r' : '-');
	fmt_char(f, flags & TRACE_W ? 'w' : '-');
	fmt_char(f, flags & TRACE_X ? 'x' : '-');
	for (unsigned i = 0; i < ARRAY_SIZE(names); i++)
		fmt_str(f, flags & names[i].bit ? names[i].name : "");
}

static void put_text(struct fmt *f, const struct trace_event *e)
{
	fmt_str(f, " \"");
	for (uint32_t i = 0; i < e->text_len; i++) {
		unsigned char c = (unsigned char)e->text[i];

		if (c < 0x20 || c == 0x7f) {
			fmt_str(f, "\\x");
			fmt_char(f, "0123456789abcdef"[c >> 4]);
			fmt_char(f, "0123456789abcdef"[c & 15]);
			continue;
		}
		if (c == '"' || c == '\\')
			fmt_char(f, '\\');
		fmt_char(f, (char)c);
	}
	fmt_char(f, '"');
}

/* What arg is, for each op that has one. */
static void put_arg(struct fmt *f, const struct trace_event *e)
{
	switch (e->op) {
	case TRACE_FORK:
		fmt_str(f, " child=");
		break;
	case TRACE_TIME:
		fmt_str(f, " ns=");
		break;
	case TRACE_MREMAP:
		fmt_str(f, " to=");
		fmt_hex(f, e->arg);
		return;
	default:
		fmt_str(f, " at=");
	}
	fmt_u64(f, e->arg);
}

static void put_event(struct fmt *f, uint64_t number, const struct trace_event *e)
{
	unsigned has = trace_shapes[e->op].fields;

	fmt_u64(f, number);
	fmt_char(f, ' ');
	if (has & TRACE_HAS_TASK) {
		fmt_u64(f, e->task);
		fmt_char(f, '.');
		fmt_u64(f, e->thread);
	} else {
		fmt_char(f, '-');
	}
	fmt_char(f, ' ');
	fmt_str(f, trace_op_name(e->op));
	if (has & TRACE_HAS_FLAGS)
		put_flags(f, e->flags);
	if (has & TRACE_HAS_VPN) {
		fmt_str(f, " page=");
		fmt_hex(f, e->vpn);
	}
	if (has & TRACE_HAS_N) {
		fmt_str(f, " n=");
		fmt_u64(f, e->n);
	}
	if (has & TRACE_HAS_FILE) {
		fmt_str(f, " file=");
		fmt_u64(f, e->file);
	}
	if (has & TRACE_HAS_ARG)
		put_arg(f, e);
	if (has & TRACE_HAS_TEXT)
		put_text(f, e);
	fmt_char(f, '\n');
}

int trace_dump(struct tracefile *t, const struct trace_request *o)
{
	static struct trace_event e[BATCH];
	/* Every byte of a text may take four. */
	static char line[4 * TRACE_TEXT_MAX + 256];
	uint64_t number = 0, end = o->count < UINT64_MAX - o->from ? o->from + o->count : UINT64_MAX;
	struct trace_error error;
	long n = 0;

	while (number < end && (n = trace_read(t->reader, e, BATCH, &error)) > 0) {
		for (long i = 0; i < n && number < end; i++, number++) {
			struct fmt f;

			if (number < o->from)
				continue;
			fmt_init(&f, line, sizeof(line));
			put_event(&f, number, &e[i]);
			fwrite(line, 1, f.len, stdout);
		}
		if (ferror(stdout))
			break;
	}
	/* What came before the damage is good, and comes out before the message. */
	if (fflush(stdout) != 0 || ferror(stdout))
		return msg_fail(1, "standard output", "%s; send it somewhere else", strerror(errno));
	return n < 0 ? tracefile_fail(t, &error) : 0;
}
