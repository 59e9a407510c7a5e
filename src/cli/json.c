#include "cli/json.h"

#include <string.h>

#include "base/fmt.h"
#include "cli/msg.h"
#include "cli/draw/utf8.h"

static void flush(struct json *j)
{
	if (j->err == 0)
		j->err = write_all(j->fd, j->buf, j->len);
	j->len = 0;
}

static void put(struct json *j, const char *text, size_t len)
{
	while (len > 0) {
		size_t n = MIN(len, sizeof(j->buf) - j->len);

		memcpy(j->buf + j->len, text, n);
		j->len += n;
		text += n;
		len -= n;
		if (j->len == sizeof(j->buf))
			flush(j);
	}
}

static void put_str(struct json *j, const char *text)
{
	put(j, text, strlen(text));
}

static void new_line(struct json *j)
{
	if (j->in_line > 0)
		return;
	put_str(j, "\n");
	for (unsigned i = 0; i < j->depth; i++)
		put_str(j, "\t");
}

static void put_string(struct json *j, const char *text)
{
	const unsigned char *s = (const unsigned char *)text;

	put_str(j, "\"");
	while (*s != '\0') {
		unsigned n = utf8_len(s);

		if (n == 0) {
			put_str(j, "\\ufffd");
			n = 1;
		} else if (*s < 0x20) {
			char hex[8] = { '\\', 'u', '0', '0', (char)('0' + (*s >> 4)), "0123456789abcdef"[*s & 15] };

			put(j, hex, 6);
		} else {
			if (*s == '"' || *s == '\\')
				put_str(j, "\\");
			put(j, (const char *)s, n);
		}
		s += n;
	}
	put_str(j, "\"");
}

/* Everything in front of a value: comma, line, key. */
static void begin(struct json *j, const char *key)
{
	if (!j->first)
		put_str(j, j->in_line > 0 ? ", " : ",");
	j->first = false;
	if (j->depth > 0)
		new_line(j);
	if (key != NULL) {
		put_string(j, key);
		put_str(j, ": ");
	}
}

void json_init(struct json *j, int fd)
{
	*j = (struct json){ .fd = fd, .first = true };
}

void json_init_line(struct json *j, int fd)
{
	json_init(j, fd);
	j->in_line = 1;
}

int json_finish(struct json *j)
{
	put_str(j, "\n");
	flush(j);
	return j->err;
}

void json_object(struct json *j, const char *key)
{
	begin(j, key);
	put_str(j, "{");
	j->depth++;
	j->first = true;
}

void json_object_end(struct json *j)
{
	j->depth--;
	if (!j->first)
		new_line(j);
	put_str(j, "}");
	j->first = false;
}

void json_array(struct json *j, const char *key)
{
	begin(j, key);
	put_str(j, "[");
	j->depth++;
	j->first = true;
	j->in_line++;
}

void json_array_end(struct json *j)
{
	j->depth--;
	put_str(j, "]");
	j->first = false;
	j->in_line--;
}

void json_fixed(struct json *j, const char *key, uint64_t value, unsigned decimals)
{
	char text[32];
	struct fmt f;

	begin(j, key);
	fmt_init(&f, text, sizeof(text));
	fmt_fixed(&f, value, decimals);
	put(j, text, f.len);
}

void json_u64(struct json *j, const char *key, uint64_t value)
{
	json_fixed(j, key, value, 0);
}

void json_i64(struct json *j, const char *key, int64_t value)
{
	char text[32];
	struct fmt f;

	begin(j, key);
	fmt_init(&f, text, sizeof(text));
	fmt_i64(&f, value);
	put(j, text, f.len);
}

void json_bool(struct json *j, const char *key, bool value)
{
	begin(j, key);
	put_str(j, value ? "true" : "false");
}

void json_null(struct json *j, const char *key)
{
	begin(j, key);
	put_str(j, "null");
}

void json_string(struct json *j, const char *key, const char *value)
{
	begin(j, key);
	put_string(j, value);
}

void json_hist(struct json *j, const char *key, const struct hist *h)
{
	json_object(j, key);
	json_u64(j, "count", h->count);
	json_u64(j, "sum", h->sum);
	json_u64(j, "p50", hist_quantile(h, 500));
	json_u64(j, "p90", hist_quantile(h, 900));
	json_u64(j, "p99", hist_quantile(h, 990));
	json_u64(j, "p999", hist_quantile(h, 999));
	json_u64(j, "max", h->max);
	json_object(j, "histogram");
	for (unsigned i = 0; i < HIST_BUCKETS; i++) {
		char floor[24];
		struct fmt f;

		if (h->bucket[i] == 0)
			continue;
		fmt_init(&f, floor, sizeof(floor));
		fmt_u64(&f, hist_floor(i));
		json_u64(j, floor, h->bucket[i]);
	}
	json_object_end(j);
	json_object_end(j);
}
