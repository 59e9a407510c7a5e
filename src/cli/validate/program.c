/*
 * A program instead of a sequence: its trace on the model, the program itself under the kernel's limit.
 *
 * Budgets are shares of what the program takes without a limit (the group's peak, so its anonymous memory and the
 * kernel's for it; its files count elsewhere, because whoever read them before pays for them). Where it cannot be
 * known from the trace, the model is told what the real run showed: how long the program takes by itself, and
 * how much of the group's memory is the kernel's and no page table.
 *
 * The program is started once for each real run, with its standard output into /dev/null, and on one CPU as the model
 * has one. It should do the same thing each time: that the trace is of another run is the one thing that cannot be
 * helped.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cli/msg.h"
#include "cli/trace/tracefile.h"
#include "cli/validate/validate.h"
#include "sim/engine.h"

#define NO_LIMIT (UINT64_C(1) << 46)
#define PHASES 8

/* What the trace and a run without a limit say. */
struct program {
	const char *trace;
	char *const *argv;
	uint64_t footprint;   /* bytes: of the group, kernel's included */
	uint64_t extra_bytes; /* of these, kernel's and no page table */
	double access_ns;
};

/* The most that tasks and their tables took, in pages. */
struct peaks {
	uint64_t tables, charged;
};

static void take_outcome(const struct sim *s, struct validate_outcome *out, struct peaks *peaks)
{
	for (uint32_t i = 0; i < s->nr_tasks; i++) {
		out->majflt += s->task[i] != NULL ? s->task[i]->faults[SIM_MAJOR] : 0;
		out->minflt += s->task[i] != NULL ? s->task[i]->faults[SIM_MINOR] : 0;
	}
	out->touches = s->touches;
	out->killed = s->nr_oom > 0;
	if (s->nr_oom > 0)
		snprintf(out->why, sizeof(out->why), "%s", s->oom[0].text);
	for (unsigned i = 0; i < s->nr_samples; i++) {
		peaks->tables = MAX(peaks->tables, s->sample[i].tables);
		peaks->charged = MAX(peaks->charged, s->sample[i].charged);
	}
}

static int replay(const struct program *p, const struct sim_config *c, uint64_t phase_ns, struct validate_outcome *out,
		  struct peaks *peaks)
{
	struct sim_config_error config_error;
	struct trace_error error;
	struct tracefile file;
	unsigned source;
	int status = tracefile_open(&file, p->trace);
	struct sim *s;

	*out = (struct validate_outcome){ 0 };
	if (status != 0)
		return status;
	s = sim_create(c, &config_error);
	if (s == NULL)
		status = msg_fail(1, "validate", "no memory for the model; free some");
	if (s != NULL) {
		s->cpu[0].now = (double)phase_ns;
		if (sim_replay(s, &file.reader, 1, &source, &error) != 0)
			status = tracefile_fail(&file, &error);
		take_outcome(s, out, peaks);
		out->seconds = (sim_now(s) - (double)phase_ns) / 1e9;
		sim_destroy(s);
	}
	tracefile_close(&file);
	return status;
}

static void machine_for(struct sim_config *c, const struct validate_place *place, const struct validate_costs *costs,
			const struct program *p, uint64_t limit)
{
	validate_machine(c, place, costs, 0);
	c->access_ns = p->access_ns;
	c->limit_files = false;
	c->limit_bytes = limit == 0 ? 0 : ALIGN_DOWN(limit - MIN(limit / 2, p->extra_bytes), PAGE_SIZE);
}

static int failed(const struct program *p, int err, const char *why)
{
	if (err == -EINTR)
		return msg_fail(130, p->argv[0], "interrupted; everything is taken down");
	return msg_fail(1, p->argv[0], "%s (%s); try the command by itself", why, strerror(-err));
}

/* Without a limit, for real and on the model. */
static int get_to_know(struct program *p, struct validate_place place, const struct validate_costs *costs)
{
	struct peaks peaks = { 0 };
	struct validate_outcome real, model;
	struct sim_config c;
	const char *why;
	int err, status;

	place.limit_bytes = NO_LIMIT;
	err = validate_real_program(&place, p->argv, 0, &real, &why);
	if (err != 0)
		return failed(p, err, why);
	p->access_ns = 1;
	machine_for(&c, &place, costs, p, 0);
	status = replay(p, &c, 0, &model, &peaks);
	if (status != 0)
		return status;
	p->footprint = real.peak_bytes;
	p->extra_bytes = real.kernel_bytes - MIN(real.kernel_bytes, peaks.tables << PAGE_SHIFT);
	p->access_ns = real.seconds * 1e9 / (double)MAX(model.touches, 1u);
	printf("\n%s: %.2f s, %.1f MiB, of these %.1f MiB the kernel's; the model has %.1f MiB with its tables.\n"
	       "Minor faults: %llu, model %llu.\n",
	       p->argv[0], real.seconds, (double)real.peak_bytes / 0x1p20, (double)real.kernel_bytes / 0x1p20,
	       (double)((peaks.tables + peaks.charged) << PAGE_SHIFT) / 0x1p20, (unsigned long long)real.minflt,
	       (unsigned long long)model.minflt);
	return 0;
}

static int run_share(const struct program *p, struct validate_place place, const struct validate_costs *costs,
		     struct validate_case *c, unsigned runs)
{
	struct peaks peaks = { 0 };
	struct sim_config config;
	const char *why;
	int status = 0;

	place.limit_bytes = c->limit_bytes;
	for (; c->nr_real < runs; c->nr_real++) {
		int err = validate_real_program(&place, p->argv, c->polled ? VALIDATE_POLL_NS : 0, &c->real[c->nr_real], &why);

		if (err != 0)
			return failed(p, err, why);
	}
	machine_for(&config, &place, costs, p, c->limit_bytes);
	if (c->polled)
		config.limit_flush_ns = c->poll_ns = validate_polled_every(c);
	for (; c->nr_model < PHASES && status == 0; c->nr_model++)
		status = replay(p, &config, config.limit_flush_ns * c->nr_model / PHASES, &c->model[c->nr_model], &peaks);
	if (status == 0)
		validate_show(c);
	return status;
}

int validate_program(const char *trace, char *const *argv, const struct validate_place *place,
		     const struct validate_costs *costs, struct validate_case *cases, unsigned runs)
{
	static const struct {
		const char *name;
		unsigned percent;
		bool polled;
	} shares[VALIDATE_SHARES] = {
		{ "75 %", 75, true }, { "50 %", 50, true }, { "25 %", 25, true }, { "75 %", 75, false }, { "50 %", 50, false },
		{ "25 %", 25, false },
	};
	struct program p = { .trace = trace, .argv = argv };
	int status = get_to_know(&p, *place, costs);

	if (status == 0)
		validate_show_head();
	for (unsigned i = 0; i < VALIDATE_SHARES && status == 0; i++) {
		cases[i] = (struct validate_case){ .workload = shares[i].name, .polled = shares[i].polled };
		/* As they are, when statistics are refreshed in a run is chance: told, not judged. */
		cases[i].target = cases[i].polled ? 25 : 0;
		cases[i].limit_bytes = ALIGN_DOWN(p.footprint / 100 * shares[i].percent, PAGE_SIZE);
		status = run_share(&p, *place, costs, &cases[i], runs);
	}
	return status;
}
