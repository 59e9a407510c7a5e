/* The steward command: a table of subcommands. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/commands.h"
#include "cli/msg.h"

static int help_main(int argc, char **argv);
static int version_main(int argc, char **argv);

static const struct command commands[] = {
	{ "run", run_main, "run a program inside a memory budget", &run_options },
	{ "top", top_main, "show a run at work", &top_options },
	{ "ps", ps_main, "list runs and their processes", &ps_options },
	{ "stat", stat_main, "print sizes and rates of a run, line by line", &stat_options },
	{ "maps", maps_main, "say where the pages of a process are", &maps_options },
	{ "diff", diff_main, "compare the figures of two runs or simulations", &diff_options },
	{ "report", report_main, "make a page for a browser of a run, trace or simulation", &report_options },
	{ "set", set_main, "change the budget of a run", &set_options },
	{ "record", record_main, "record what a program does to its memory", &record_options },
	{ "sim", sim_main, "replay traces on a modelled machine", &sim_options },
	{ "plan", plan_main, "say how much memory the program of a trace needs", &plan_options },
	{ "validate", validate_main, "compare the model with this machine's kernel", &validate_options },
	{ "bench", bench_main, "measure what paging costs here, with the kernel and with Steward", &bench_options },
	{ "import", import_main, "make a trace from one of another format", &import_options },
	{ "trace", trace_main, "say what is in a trace", &trace_options },
	{ "doctor", doctor_main, "say what this machine and user allow", &doctor_options },
	{ "explain", explain_main, "explain memory management with a machine's or program's numbers", &explain_options },
	{ "completion", completion_main, "print what makes a shell complete all this", &completion_options },
	{ "help", help_main, "print this, or the help of a command", NULL },
	{ "version", version_main, "print the version", NULL },
};

const struct command *command_nth(unsigned n)
{
	return n < ARRAY_SIZE(commands) ? &commands[n] : NULL;
}

static const struct command *find(const char *name)
{
	if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0)
		name = "help";
	if (strcmp(name, "--version") == 0)
		name = "version";
	for (unsigned i = 0; i < ARRAY_SIZE(commands); i++) {
		if (strcmp(commands[i].name, name) == 0)
			return &commands[i];
	}
	return NULL;
}

static int unknown(const char *name)
{
	return msg_fail(EXIT_USAGE, name, "unknown command; see steward --help");
}

/* What was printed has arrived, or the exit status says that it has not. */
static int finish_stdout(void)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return 0;
	return msg_fail(1, "standard output", "%s; send it somewhere else", strerror(errno));
}

static int help_main(int argc, char **argv)
{
	if (argc > 2)
		return msg_fail(EXIT_USAGE, argv[2], "one command at a time; steward help %s", argv[1]);
	if (argc == 2) {
		const struct command *c = find(argv[1]);

		if (c == NULL)
			return unknown(argv[1]);
		if (c->options != NULL) {
			options_help(c->options);
			return finish_stdout();
		}
	}
	printf("Usage: steward COMMAND [ARG…]\nRuns programs in less memory than they need.\n\n");
	for (unsigned i = 0; i < ARRAY_SIZE(commands); i++)
		printf("  %-10s %s\n", commands[i].name, commands[i].summary);
	printf("\nsteward COMMAND --help tells more, and so does man steward.\n");
	return finish_stdout();
}

static int version_main(int argc, char **argv)
{
	if (argc > 1)
		return msg_fail(EXIT_USAGE, argv[1], "version takes no argument; leave it out");
	printf("steward " STW_VERSION "\n");
	return finish_stdout();
}

/*
 * A standard stream that is closed must not become one of our own descriptors:
 * messages would go into it. Close-on-exec, so the command finds it closed again.
 */
static void fill_standard_streams(void)
{
	int fd;

	do {
		fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	} while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		close(fd);
}

int main(int argc, char **argv)
{
	const struct command *c;
	int status;

	fill_standard_streams();

	if (argc < 2)
		return msg_fail(EXIT_USAGE, "command", "none given; see steward --help");
	c = find(argv[1]);
	if (c == NULL)
		return unknown(argv[1]);
	status = c->main(argc - 1, argv + 1);
	return status == OPTIONS_HELP ? finish_stdout() : status;
}
