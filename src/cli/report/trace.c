/* A trace: how much memory is enough for it, as steward plan says without options. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli/msg.h"
#include "cli/plan/plan.h"
#include "cli/report/report.h"
#include "cli/sim/args.h"

struct input {
	struct plan plan;
	struct plan_request request;
};

static void free_trace(void *input)
{
	struct input *i = input;

	plan_free(&i->plan);
	free(i->request.trace);
	free(i);
}

static void *read_trace(const char *path, int *status)
{
	struct input *i = calloc(1, sizeof(*i));

	if (i != NULL)
		i->request = (struct plan_request){ .trace = strdup(path), .slowdown_permille = PLAN_SLOWDOWN, .points = PLAN_POINTS };
	if (i == NULL || i->request.trace == NULL) {
		free(i);
		*status = msg_fail(1, path, "%s; try again with more memory", strerror(ENOMEM));
		return NULL;
	}
	i->plan.request = &i->request;
	*status = simargs_config(&(struct simargs){ 0 }, &i->request.machine);
	if (*status == 0)
		*status = plan_make(&i->plan);
	if (*status == 0)
		return i;
	free_trace(i);
	return NULL;
}

static int put(struct html *h, const void *input, const char *path)
{
	(void)path;
	plan_page(&((const struct input *)input)->plan, h);
	return 0;
}

static int figures(const void *input, int fd)
{
	return plan_write(&((const struct input *)input)->plan, fd);
}

const struct report_kind report_trace = { "STWTRACE", read_trace, put, figures, free_trace };
