#include "cli/see/interval.h"

#include <stdlib.h>
#include <string.h>

#include "cli/msg.h"

#define NS_MIN 10000000u                      /* 10 ms: below it the pagers write nothing new */
#define NS_MAX ((uint64_t)86400 * 1000000000) /* a day */

bool interval_has_unit(const char *text)
{
	size_t len = strlen(text);

	return len > 0 && text[len - 1] == 's';
}

int interval_parse(const char *text, uint64_t *ns)
{
	size_t digits = strspn(text, "0123456789.");
	const char *unit = text + digits;
	char *end;
	double value = strtod(text, &end) * (strcmp(unit, "ms") == 0 ? 1e6 : 1e9);

	if (digits == 0 || end != unit || (*unit != '\0' && strcmp(unit, "s") != 0 && strcmp(unit, "ms") != 0))
		return msg_fail(EXIT_USAGE, text, "not an interval; write it as 1s, 0.5 or 200ms");
	if (value < NS_MIN || value > (double)NS_MAX)
		return msg_fail(EXIT_USAGE, text, "an interval is from 10ms to a day; give another");
	*ns = (uint64_t)value;
	return 0;
}
