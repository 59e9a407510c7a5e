#include "embed/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/fmt.h"
#include "base/sys.h"
#include "embed/region.h"

static __thread char message[256];

EXPORT const char *stw_error(void)
{
	return message[0] != '\0' ? message : "no error";
}

int error_set(int err, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(message, sizeof(message), format, args);
	va_end(args);
	return err;
}

const char *error_words(int err)
{
	const char *words = strerrordesc_np(-err);

	return words != NULL ? words : "unknown error";
}

void error_say(const char *text)
{
	char line[400];
	struct fmt f;

	fmt_init(&f, line, sizeof(line) - 1);
	fmt_str(&f, "steward: ");
	fmt_str(&f, text);
	line[f.len++] = '\n';
	sys_write(STDERR_FILENO, line, f.len);
}
