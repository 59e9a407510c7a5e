/* steward ps: the runs of this machine and their processes. */
#include <stdio.h>
#include <unistd.h>

#include "cli/commands.h"
#include "cli/json.h"
#include "cli/msg.h"
#include "cli/see/sample.h"
#include "cli/see/show.h"

#define SCHEMA 1

static const struct option_row rows[] = {
	{ "json", '\0', NULL, "print it as JSON" },
};

const struct option_set ps_options = {
	.command = "ps",
	.usage = "[OPTION…] [RUN]",
	.summary = "Lists runs and their processes. RUN is the pid of a steward run, or of a process in one; all, if none is named.",
	.rows = rows,
	.nr = ARRAY_SIZE(rows),
	.mixed = true,
	.set = options_set_flag,
};

/* --- for people --- */

static void print_head(void)
{
	printf("%7s %-7s %6s %8s %6s %7s %9s %9s %6s %s\n", "PID", "STATE", "BUDGET", "RESIDENT", "POOL", "SWAPPED", "FAULTS",
	       "MAJOR", "STALL", "COMMAND");
}

static void print_row(int32_t pid, const char *state, uint64_t budget, const struct ledger_usage *use,
		      const uint64_t *counter, uint64_t age_ns, const char *indent, const char *command)
{
	printf("%7d %-7s %6s %8s %6s %7s %9llu %9llu %5s%% %s%s\n", pid, state, show_pages(budget),
	       show_pages(sample_resident(use)), show_pages(use->pool), show_pages(use->swapped),
	       (unsigned long long)counter[VM_pgfault], (unsigned long long)counter[VM_pgmajfault],
	       show_share(counter[VM_stall_ns], age_ns), indent, command);
}

static void print_run(const struct sample *s)
{
	print_row(s->launcher, s->watched ? "run" : "left", s->ram, &s->use, s->counter, s->age_ns, "", s->command);
	for (unsigned i = 0; i < s->nr; i++) {
		const struct sample_process *p = &s->process[i];

		print_row(p->pid, sample_state(p->state), p->granted, &p->use, p->counter, p->age_ns, "  ", p->comm);
	}
}

/* --- for programs --- */

static void write_run(struct json *j, const struct sample *s)
{
	json_object(j, NULL);
	show_json_run(j, s);
	json_array(j, "processes");
	for (unsigned i = 0; i < s->nr; i++) {
		json_object(j, NULL);
		show_json_process(j, &s->process[i]);
		json_object_end(j);
	}
	json_array_end(j);
	json_object_end(j);
}

/* --- both --- */

static int show(const struct runs *r, bool as_json)
{
	struct sample s = { 0 };
	struct json j;
	int err = 0;

	fflush(stdout);
	json_init(&j, STDOUT_FILENO);
	if (as_json) {
		json_object(&j, NULL);
		json_u64(&j, "schema", SCHEMA);
		json_array(&j, "runs");
	} else if (r->nr > 0) {
		print_head();
	}
	for (unsigned i = 0; i < r->nr && err == 0; i++) {
		err = sample_take(&s, r->run[i].ledger);
		if (err == 0 && as_json)
			write_run(&j, &s);
		else if (err == 0)
			print_run(&s);
	}
	sample_free(&s);
	if (as_json) {
		json_array_end(&j);
		json_object_end(&j);
	}
	return err != 0 ? err : show_finish(as_json ? &j : NULL);
}

static void say_others(const struct runs *r)
{
	if (r->strangers > 0)
		msg_note("%u more of another version of Steward; use the steward command of that version", r->strangers);
	if (r->elsewhere > 0)
		msg_note("%u more in other PID namespaces; call steward in there", r->elsewhere);
	if (r->nr + r->strangers + r->elsewhere == 0)
		msg_note("no runs that you may see; steward run starts one");
}

static int show_all(bool as_json)
{
	struct runs r;
	int err = runs_find(&r);

	if (err != 0)
		return err;
	err = show(&r, as_json);
	say_others(&r);
	runs_free(&r);
	return err;
}

int ps_main(int argc, char **argv)
{
	struct runs_one one;
	struct runs only = { .run = &one, .nr = 1 };
	bool as_json = false;
	int err, first;

	err = options_parse(&ps_options, argc, argv, &as_json, &first);
	if (err != 0)
		return err;
	if (argc - first > 1)
		return msg_fail(EXIT_USAGE, argv[first + 1], "one run at a time; leave it out");
	if (first == argc)
		return show_all(as_json);
	err = runs_open(&one, argv[first], false);
	if (err != 0)
		return err;
	err = show(&only, as_json);
	runs_close(&one);
	return err;
}
