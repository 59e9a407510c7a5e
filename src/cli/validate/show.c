/* What steward validate prints: a line a case, and beneath it why a prediction misses or a run was killed. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/json.h"
#include "cli/msg.h"
#include "cli/outfile.h"
#include "cli/table.h"
#include "cli/validate/validate.h"

static int by_size(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

struct validate_spread validate_spread(const struct validate_outcome *o, unsigned n)
{
	uint64_t v[VALIDATE_RUNS_MAX];
	struct validate_spread s = { 0 };

	for (unsigned i = 0; i < n; i++) {
		if (o[i].killed)
			s.killed++;
		else
			v[s.n++] = o[i].majflt;
	}
	if (s.n == 0)
		return s;
	qsort(v, s.n, sizeof(*v), by_size);
	s.min = v[0];
	s.max = v[s.n - 1];
	s.median = (v[(s.n - 1) / 2] + v[s.n / 2]) / 2;
	return s;
}

uint64_t validate_polled_every(const struct validate_case *c)
{
	uint64_t ns[VALIDATE_RUNS_MAX];
	unsigned n = 0;

	/* A reader that sleeps for 5 ms is back later than that, and on a busy machine much later. */
	for (unsigned i = 0; i < c->nr_real; i++)
		if (c->real[i].polls > 0 && !c->real[i].killed)
			ns[n++] = (uint64_t)(c->real[i].seconds * 1e9 / (double)c->real[i].polls);
	if (n == 0)
		return VALIDATE_POLL_NS;
	qsort(ns, n, sizeof(*ns), by_size);
	return MAX(ns[n / 2], VALIDATE_POLL_NS);
}

double validate_error(const struct validate_case *c)
{
	struct validate_spread real = validate_spread(c->real, c->nr_real), model = validate_spread(c->model, c->nr_model);

	if (real.n == 0 || model.n == 0 || real.median == 0)
		return 0;
	return ((double)model.median / (double)real.median - 1) * 100;
}

unsigned validate_exact(const struct validate_case *c)
{
	unsigned exact = 0;

	for (unsigned i = 0; i < c->nr_real; i++) {
		unsigned k = 0;

		while (k < c->nr_model && (c->real[i].killed != c->model[k].killed ||
					   (c->real[i].killed ? c->real[i].touches != c->model[k].touches :
								c->real[i].majflt != c->model[k].majflt)))
			k++;
		exact += k < c->nr_model;
	}
	return exact;
}

bool validate_holds(const struct validate_case *c)
{
	struct validate_spread real = validate_spread(c->real, c->nr_real), model = validate_spread(c->model, c->nr_model);
	double error = validate_error(c);

	if (c->target == 0 || (real.n == 0 && model.n == 0))
		return true;
	return real.n > 0 && model.n > 0 && error <= c->target && error >= -c->target;
}

void validate_show_head(void)
{
	printf("\n%-8s %6s %5s  %-36s %-36s\n", "", "", "", "kernel: major faults", "model");
	printf("%-8s %6s %5s %9s %9s %9s %6s %9s %9s %9s %6s %6s %8s\n", "workload", "touches", "stats", "min", "median", "max",
	       "killed", "min", "median", "max", "killed", "exact", "error");
}

void validate_show_spread(const struct validate_outcome *o, unsigned n)
{
	struct validate_spread s = validate_spread(o, n);

	if (s.n == 0)
		printf(" %9s %9s %9s", "-", "-", "-");
	else
		printf(" %9llu %9llu %9llu", (unsigned long long)s.min, (unsigned long long)s.median, (unsigned long long)s.max);
	printf(" %2u/%-3u", s.killed, n);
}

/* Where the killed ones were, "at touch 488790" or "at touches 488790 to 500000". */
static void put_killed(const char *who, const struct validate_outcome *o, unsigned n)
{
	uint64_t min = UINT64_MAX, max = 0;

	for (unsigned i = 0; i < n; i++) {
		if (!o[i].killed)
			continue;
		min = MIN(min, o[i].touches);
		max = MAX(max, o[i].touches);
	}
	if (max == 0)
		printf("%s: none", who);
	else if (min == max)
		printf("%s: at touch %llu", who, (unsigned long long)min);
	else
		printf("%s: at touches %llu to %llu", who, (unsigned long long)min, (unsigned long long)max);
}

static void explain_killed(const struct validate_case *c)
{
	const char *why = NULL;

	for (unsigned i = 0; i < c->nr_model && why == NULL; i++)
		why = c->model[i].killed ? c->model[i].why : NULL;
	printf("         killed, ");
	/* Nobody counts the touches of a program. */
	if (c->limit_bytes == 0)
		put_killed("kernel", c->real, c->nr_real);
	put_killed(c->limit_bytes == 0 ? "; model" : "model", c->model, c->nr_model);
	if (why == NULL) {
		printf(".\n         The model is not killed at these phases of the statistics' clock; it may be at others.\n");
		return;
	}
	printf(".\n         The inactive list is empty, and by statistics that are up to 2 s old it is not low. Active pages\n"
	       "         alone keep no pass of reclaim going, so nothing is found although swap is free. The model:\n"
	       "         %s.\n", why);
}

/* The model's run that is nearest to the kernel's median. */
static const struct validate_outcome *nearest(const struct validate_case *c, uint64_t majflt)
{
	const struct validate_outcome *best = NULL;
	uint64_t least = UINT64_MAX;

	for (const struct validate_outcome *o = c->model; o < c->model + c->nr_model; o++) {
		uint64_t off = o->majflt > majflt ? o->majflt - majflt : majflt - o->majflt;

		if (o->killed || off >= least)
			continue;
		least = off;
		best = o;
	}
	return best;
}

static void explain_miss(const struct validate_case *c)
{
	struct validate_spread real = validate_spread(c->real, c->nr_real), model = validate_spread(c->model, c->nr_model);
	const struct validate_outcome *near = nearest(c, real.median);

	printf("         miss: ");
	if (real.n == 0 || near == NULL)
		printf("%s was killed in every run, so there is no number to compare.\n",
		       real.n == 0 ? "the kernel's process" : "the model's");
	else if (model.median >= real.min && model.median <= real.max)
		printf("the prediction is within the kernel's own band; when statistics are refreshed in a run is chance.\n");
	else if (near->majflt * 100 >= real.median * (100 - (uint64_t)c->target) &&
		 near->majflt * 100 <= real.median * (100 + (uint64_t)c->target))
		printf("with the statistics refreshed at another moment the model has %llu, and so it was here more often.\n",
		       (unsigned long long)near->majflt);
	else
		printf("at no phase of the statistics' clock is the model near; this kernel reclaims by other rules than the model's\n"
		       "         (policy two-list: Linux 6.12 without MGLRU), or something else took memory or time.\n");
}

void validate_show(const struct validate_case *c)
{
	if (c->limit_bytes != 0)
		printf("%-8s %6.1fM %5s", c->workload, (double)c->limit_bytes / 0x1p20, c->polled ? "5 ms" : "2 s");
	else
		printf("%-8s %6uk %5s", c->workload, c->thousands, c->polled ? "5 ms" : "2 s");
	validate_show_spread(c->real, c->nr_real);
	validate_show_spread(c->model, c->nr_model);
	printf(" %3u/%-2u", validate_exact(c), c->nr_real);
	if (validate_spread(c->real, c->nr_real).n > 0 && validate_spread(c->model, c->nr_model).n > 0)
		printf(" %+7.2f%%", validate_error(c));
	else
		printf(" %8s", "-");
	printf("%s\n", c->target == 0 ? "" : validate_holds(c) ? " ok" : " MISS");
	if (validate_spread(c->real, c->nr_real).killed > 0)
		explain_killed(c);
	if (!validate_holds(c))
		explain_miss(c);
	fflush(stdout);
}

void validate_put_outcomes(struct json *j, const char *key, const struct validate_outcome *o, unsigned n)
{
	json_array(j, key);
	for (unsigned i = 0; i < n; i++) {
		json_object(j, NULL);
		json_u64(j, "major_faults", o[i].majflt);
		json_u64(j, "minor_faults", o[i].minflt);
		json_u64(j, "touches", o[i].touches);
		json_fixed(j, "seconds", (uint64_t)(o[i].seconds * 1e6), 6);
		json_bool(j, "oom_killed", o[i].killed);
		if (o[i].polls != 0)
			json_u64(j, "polls", o[i].polls);
		if (o[i].kernel_bytes != 0)
			json_u64(j, "kernel_bytes", o[i].kernel_bytes);
		if (o[i].faults != 0)
			json_u64(j, "faults", o[i].faults);
		if (o[i].stalls != 0)
			json_u64(j, "stalls", o[i].stalls);
		if (o[i].frames != 0)
			json_u64(j, "frames", o[i].frames);
		if (o[i].why[0] != '\0')
			json_string(j, "oom", o[i].why);
		json_object_end(j);
	}
	json_array_end(j);
}

/* Of all cases of a kernel. */
struct report {
	const struct validate_case *cases;
	unsigned n;
	const struct validate_place *place;
	const struct validate_costs *costs;
};

static void put_report(struct json *j, const void *what)
{
	const struct report *r = what;

	json_object(j, NULL);
	json_u64(j, "limit_bytes", r->place->limit_bytes);
	json_u64(j, "swappiness", r->place->swappiness);
	json_fixed(j, "touch_ns", (uint64_t)(r->costs->touch_ns * 100), 2);
	json_fixed(j, "major_fault_ns", (uint64_t)(r->costs->fault_ns * 100), 2);
	json_array(j, "cases");
	for (const struct validate_case *c = r->cases; c < r->cases + r->n; c++) {
		if (c->nr_real == 0)
			continue;
		json_object(j, NULL);
		json_string(j, "workload", c->workload);
		json_u64(j, "touches", (uint64_t)c->thousands * 1000);
		json_bool(j, "statistics_polled", c->polled);
		json_bool(j, "holds", validate_holds(c));
		validate_put_outcomes(j, "kernel", c->real, c->nr_real);
		validate_put_outcomes(j, "model", c->model, c->nr_model);
		json_object_end(j);
	}
	json_array_end(j);
	json_object_end(j);
}

int validate_json(const char *file, const struct validate_case *cases, unsigned n, const struct validate_place *p,
		  const struct validate_costs *costs)
{
	return outfile_json(file, put_report, &(struct report){ cases, n, p, costs });
}
