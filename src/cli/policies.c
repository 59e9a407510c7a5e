#include "cli/policies.h"

#include <stdio.h>
#include <string.h>

#include "cli/msg.h"
#include "mm/machine.h"

int policy_number(const char *what, const char *name, bool live)
{
	const struct policy *p;
	char known[256] = "";
	size_t len = 0;

	for (unsigned i = 0; (p = policy_nth(i)) != NULL; i++) {
		if (live && !p->sampled)
			continue;
		if (strcmp(p->name, name) == 0)
			return (int)i;
		if (len < sizeof(known))
			len += (size_t)snprintf(known + len, sizeof(known) - len, "%s%s", len == 0 ? "" : ", ", p->name);
	}
	return -msg_fail(EXIT_USAGE, what, "\"%s\" is %s; use one of %s", name,
			 policy_find(name) != NULL ? "for steward sim only" : "unknown", known);
}
