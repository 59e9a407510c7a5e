/*
 * The keeper: a second process of the launcher that does nothing but outlive it.
 *
 * `kill -9` of the launcher must end the run, as `kill -9` of a program ends
 * the program. PR_SET_PDEATHSIG alone does not do that: it reaches the command
 * and nothing that the command started, and the kernel forgets it when the
 * command changes its user. Handing it down at each fork would be wrong, because a
 * child may well outlive its parent in a run that goes on; a thread in each
 * process would be one too many while a program fits. The ledger knows every
 * process of the run, daemons and other sessions included. So:
 *
 *   launcher ──dies──► kernel ──PDEATHSIG──► keeper: over = 1, then SIGKILL to every slot
 *                                            process that claims a slot: over? then it ends itself
 *
 * One pass is enough: over is set before a slot is read, and read after a slot is
 * claimed, so a process that is starting at this moment is seen by one of the two.
 *
 * In a session of its own, it survives the signal that a shell sends to the whole
 * job; it holds no descriptor that somebody may be waiting for. Programs without the
 * library are not in the ledger: of those only the command itself ends.
 */
#include "cli/run/keeper.h"

#include <errno.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/sys.h"
#include "cli/run/watch.h"

static void end_process(const struct ledger_slot *s)
{
	int32_t pid = atomic_load(&s->pid);

	/* Start time 0: it is claiming the slot, and looks at over next. */
	if (pid != 0 && s->start_time != 0)
		watch_signal(pid, s->start_time, SIGKILL);
}

static void wait_for_death(pid_t launcher)
{
	sigset_t told;

	sigemptyset(&told);
	sigaddset(&told, SIGTERM);
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	while (getppid() == launcher)
		sigwaitinfo(&told, NULL);
}

static void __attribute__((noreturn)) keep(struct ledger *l, pid_t launcher)
{
	setsid();
	prctl(PR_SET_NAME, "stw-keeper");
	sys_close_range(0, ~0u, 0);
	wait_for_death(launcher);

	atomic_store(&l->over, 1);
	for (uint32_t i = 0, used = atomic_load(&l->slots_used); i < used; i++)
		end_process(&l->slot[i]);
	_exit(0);
}

pid_t keeper_start(struct ledger *l)
{
	pid_t launcher = getpid(), pid = fork();

	if (pid == 0)
		keep(l, launcher);
	return pid > 0 ? pid : -errno;
}

void keeper_stop(pid_t keeper)
{
	kill(keeper, SIGKILL);
	waitpid(keeper, NULL, 0);
}
