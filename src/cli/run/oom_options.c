/* The values of the --oom-… options. */
#include <stdlib.h>
#include <string.h>

#include "cli/msg.h"
#include "cli/run/oom.h"

#define GRACE_MAX_S 86400

int oom_set_policy(struct oom_options *o, const char *value)
{
	static const char *const names[] = {
		[OOM_BADNESS] = "badness", [OOM_LARGEST] = "largest", [OOM_YOUNGEST] = "youngest", [OOM_GROWING] = "growing",
	};

	for (unsigned i = 0; i < ARRAY_SIZE(names); i++) {
		if (strcmp(value, names[i]) == 0) {
			o->policy = (enum oom_policy)i;
			return 0;
		}
	}
	return msg_fail(EXIT_USAGE, "--oom-policy", "\"%s\" is unknown; use badness, largest, youngest or growing", value);
}

static int add(struct oom_patterns *p, const char *option, const char *value)
{
	if (value[0] == '\0')
		return msg_fail(EXIT_USAGE, option, "the pattern is empty; give a process name, or a pattern as of the shell");
	if (p->nr == OOM_PATTERNS)
		return msg_fail(EXIT_USAGE, option, "more than %d patterns; write some as one, with * or [...]", OOM_PATTERNS);
	p->text[p->nr++] = value;
	return 0;
}

int oom_set_prefer(struct oom_options *o, const char *value)
{
	return add(&o->prefer, "--oom-prefer", value);
}

int oom_set_avoid(struct oom_options *o, const char *value)
{
	return add(&o->avoid, "--oom-avoid", value);
}

int oom_set_grace(struct oom_options *o, const char *value)
{
	static const struct { const char *name; uint64_t ns; } units[] = {
		{ "ms", 1000000 }, { "s", 1000000000 }, { "m", 60000000000 }, { "", 1000000000 },
	};
	char *end;
	unsigned long n = strtoul(value, &end, 10);

	for (unsigned i = 0; i < ARRAY_SIZE(units) && value[0] >= '0' && value[0] <= '9'; i++) {
		/* The first test keeps the product within 64 bits. */
		if (strcmp(end, units[i].name) != 0 || n > GRACE_MAX_S * 1000ul || n * units[i].ns > GRACE_MAX_S * UINT64_C(1000000000))
			continue;
		o->grace_ns = n * units[i].ns;
		return 0;
	}
	return msg_fail(EXIT_USAGE, "--oom-grace", "\"%s\" is not a time up to a day; write it as 500ms, 5s or 2m", value);
}
