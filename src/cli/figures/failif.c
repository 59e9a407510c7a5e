#include "cli/figures/failif.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "cli/figures/condition.h"
#include "cli/msg.h"

int failif_add(struct failif *f, const char *text)
{
	if (f->nr == FAILIF_MAX)
		return msg_fail(EXIT_USAGE, "--fail-if", "more than %d of them; join some with \"or\"", FAILIF_MAX);
	f->text[f->nr++] = text;
	return 0;
}

static int bad_condition(const char *text, const struct condition *c)
{
	if (c->at_len == 0)
		return msg_fail(EXIT_USAGE, "--fail-if", "\"%s\": %s; write it as 'major>1000'", text, c->what);
	return msg_fail(EXIT_USAGE, "--fail-if", "\"%s\": %s: \"%.*s\"; write it as 'major>1000'", text, c->what, c->at_len, c->at);
}

static int cannot(int err)
{
	return msg_fail(1, "--fail-if", "%s; try again with more memory", strerror(-err));
}

int failif_check(const struct failif *f, int (*write)(const void *ctx, int fd), const void *ctx)
{
	struct figures figures;
	struct condition c;
	int err = 0;

	if (f->nr == 0)
		return 0;
	err = figures_of(&figures, write, ctx);
	if (err != 0)
		return cannot(err);
	for (unsigned i = 0; i < f->nr && err == 0; i++)
		if (condition_eval(&c, f->text[i], &figures) != 0)
			err = bad_condition(f->text[i], &c);
	figures_free(&figures);
	return err;
}

/* "peak.total_bytes is 1234" */
static void put_used(char *text, size_t size, const struct condition *c)
{
	size_t len = 0;

	text[0] = '\0';
	for (unsigned i = 0; i < c->nr_used && len < size; i++) {
		const struct figure *f = c->used[i];

		len += (size_t)snprintf(text + len, size - len, "%s%s is %.*f", i > 0 ? ", " : "", f->name,
					f->value == floor(f->value) ? 0 : 2, f->value);
	}
}

int failif_test(const struct failif *f, int (*write)(const void *ctx, int fd), const void *ctx)
{
	struct figures figures;
	char used[512];
	int err, status = 0;

	if (f->nr == 0)
		return 0;
	err = figures_of(&figures, write, ctx);
	if (err != 0)
		return cannot(err);
	for (unsigned i = 0; i < f->nr; i++) {
		struct condition c;

		if (condition_eval(&c, f->text[i], &figures) != 0) {
			status = bad_condition(f->text[i], &c);
		} else if (c.holds) {
			put_used(used, sizeof(used), &c);
			status = msg_fail(EXIT_FAILIF, f->text[i], "%s; that is what --fail-if forbids", used);
		}
	}
	figures_free(&figures);
	return status;
}
