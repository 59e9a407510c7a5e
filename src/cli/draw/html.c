#include "cli/draw/html.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli/msg.h"
#include "cli/outfile.h"
#include "cli/draw/utf8.h"

/* Colours are those of Okabe and Ito, told apart with any colour vision, darker on light ground; dashes do without. */
static const char head[] =
	"<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n"
	"<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n";
static const char style[] =
	"<style>\n"
	":root { color-scheme: light dark; --bg: #fff; --fg: #1a1a1a; --soft: #5c5c5c; --line: #d8d8d8; --mark: #b00020;\n"
	"  --c0: #0060a0; --c1: #c04a00; --c2: #00755a; --c3: #8f3f76; --c4: #6b5900; --c5: #2080b8; --c6: #555; --c7: #222; }\n"
	"@media (prefers-color-scheme: dark) { :root { --bg: #16181b; --fg: #e8e8e8; --soft: #a8a8a8; --line: #3a3d42;\n"
	"  --mark: #ff8a8a; --c0: #56b4e9; --c1: #e69f00; --c2: #2fc79a; --c3: #e39bc8; --c4: #f0e442; --c5: #8ac6ff;\n"
	"  --c6: #aaa; --c7: #eee; } }\n"
	"body { background: var(--bg); color: var(--fg); font: 16px/1.5 system-ui, sans-serif; max-width: 62rem;\n"
	"  margin: 2rem auto; padding: 0 1rem; }\n"
	"h1 { font-size: 1rem; color: var(--soft); font-weight: 600; margin: 0; }\n"
	".headline { font-size: 1.5rem; line-height: 1.35; margin: .3rem 0 1.5rem; }\n"
	"h2 { font-size: 1.15rem; margin: 2.2rem 0 .5rem; }\n"
	"figure { margin: 1rem 0 1.6rem; }\n"
	"figcaption { font-weight: 600; }\n"
	"svg.chart { width: 100%; height: auto; display: block; }\n"
	"svg text { fill: var(--soft); font-size: 12px; font-family: inherit; }\n"
	"svg .mark { fill: var(--mark); }\n"
	".grid { stroke: var(--line); stroke-width: 1; }\n"
	".axis { stroke: var(--soft); stroke-width: 1; }\n"
	".markline { stroke: var(--mark); stroke-width: 1.5; stroke-dasharray: 3 3; }\n"
	".s { fill: none; stroke-width: 2; stroke-linejoin: round; }\n"
	".s0 { stroke: var(--c0); }\n"
	".s1 { stroke: var(--c1); stroke-dasharray: 7 3; }\n"
	".s2 { stroke: var(--c2); stroke-dasharray: 2 3; }\n"
	".s3 { stroke: var(--c3); stroke-dasharray: 9 3 2 3; }\n"
	".s4 { stroke: var(--c4); stroke-dasharray: 12 4; }\n"
	".s5 { stroke: var(--c5); stroke-width: 3.5; }\n"
	".s6 { stroke: var(--c6); stroke-dasharray: 4 2 1 2 1 2; }\n"
	".s7 { stroke: var(--c7); stroke-dasharray: 1 4; }\n"
	".legend { display: flex; flex-wrap: wrap; gap: .1rem 1.2rem; font-size: .85rem; color: var(--soft); }\n"
	".legend svg { width: 34px; height: 10px; margin-right: .4rem; }\n"
	".wide { overflow-x: auto; }\n"
	"table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }\n"
	"th, td { white-space: nowrap; padding: .2rem .8rem; border-bottom: 1px solid var(--line); text-align: right; vertical-align: top; }\n"
	"th.t, td.t { text-align: left; }\n"
	"td.t:last-child { white-space: normal; }\n"
	"th { color: var(--soft); font-weight: 600; }\n"
	"</style>\n";

void html_escape(FILE *f, const char *text)
{
	const unsigned char *s = (const unsigned char *)text;

	while (*s != '\0') {
		unsigned n = utf8_len(s);

		/* Control characters are not allowed, not even as references. */
		if (n == 0 || (*s < 0x20 && *s != '\n' && *s != '\t') || *s == 0x7f)
			fputs("\xef\xbf\xbd", f);
		else if (*s == '&' || *s == '<' || *s == '>' || *s == '"')
			fprintf(f, "&#%u;", *s);
		else
			fwrite(s, 1, n, f);
		s += MAX(n, 1u);
	}
}

static void element(struct html *h, const char *tag, const char *class, const char *text)
{
	fprintf(h->f, "<%s%s%s%s>", tag, class != NULL ? " class=\"" : "", class != NULL ? class : "", class != NULL ? "\"" : "");
	html_escape(h->f, text);
	fprintf(h->f, "</%s>", tag);
}

int html_begin(struct html *h, const char *title, const char *headline)
{
	*h = (struct html){ 0 };
	h->f = open_memstream(&h->text, &h->len);
	if (h->f == NULL)
		return -ENOMEM;
	fputs(head, h->f);
	element(h, "title", NULL, title);
	fprintf(h->f, "\n%s</head>\n<body>\n", style);
	element(h, "h1", NULL, title);
	element(h, "p", "headline", headline);
	fputc('\n', h->f);
	return 0;
}

void html_section(struct html *h, const char *title)
{
	if (h->open)
		fputs("</section>\n", h->f);
	h->open = true;
	fputs("<section>\n", h->f);
	element(h, "h2", NULL, title);
	fputc('\n', h->f);
}

void html_text(struct html *h, const char *text)
{
	element(h, "p", NULL, text);
	fputc('\n', h->f);
}

static bool is_text(const char *head_of, unsigned i)
{
	return i == 0 || head_of[0] == '<';
}

void html_table(struct html *h, const char *const *heads, unsigned n)
{
	fputs("<div class=\"wide\"><table>\n<tr>", h->f);
	for (unsigned i = 0; i < n; i++)
		element(h, "th", is_text(heads[i], i) ? "t" : NULL, heads[i] + (heads[i][0] == '<'));
	fputs("</tr>\n", h->f);
}

void html_row(struct html *h, const char *const *heads, const char *const *cells, unsigned n)
{
	fputs("<tr>", h->f);
	for (unsigned i = 0; i < n; i++)
		element(h, "td", is_text(heads[i], i) ? "t" : NULL, cells[i]);
	fputs("</tr>\n", h->f);
}

void html_table_end(struct html *h)
{
	fputs("</table></div>\n", h->f);
}

static int write_page(const char *text, size_t len, const char *path)
{
	struct outfile out;
	int err = outfile_open(&out, path);

	if (err != 0)
		return err;
	err = write_all(out.fd, text, len);
	if (err == 0)
		return outfile_commit(&out);
	outfile_drop(&out);
	return err;
}

int html_finish(struct html *h, const char *path)
{
	int err;

	if (h->open)
		fputs("</section>\n", h->f);
	fputs("</body>\n</html>\n", h->f);
	err = h->failed || ferror(h->f) ? -ENOMEM : 0;
	if (fclose(h->f) != 0)
		err = -ENOMEM;
	if (err == 0)
		err = write_page(h->text, h->len, path);
	free(h->text);
	return err == 0 ? 0 : msg_fail(1, path, "%s; name a file that can be written", strerror(-err));
}
